//! Every pair of classes between which something is admitted.

use std::collections::HashMap;

use super::{Direction, Family, Reachability, Set};
use crate::policy::answer::Traffic;
use crate::world::PodId;

/// How two classes stand to each other, as far as a verdict depends on it.
type Shape = (u32, u32, u128, u128, u32, u8);

/// Atoms whose hits fit into the shape of a pair; classes with more are evaluated pair by pair.
const SHAPED: usize = 32;

impl Reachability<'_> {
    /// Hands over each ordered pair of classes of which some port is allowed or unknown, with the pods of both.
    ///
    /// A class is met with itself too; then the pairs of two different pods of it are meant. Pods without a class are left out: ask for their pairs
    /// with [`Reachability::admitted`]. Costs about as much as there is to hand over.
    pub fn each(&self, mut visit: impl FnMut(&[PodId], &[PodId], &Traffic)) {
        let mut known: HashMap<Shape, Option<Traffic>> = HashMap::new();
        let mut pair = |from: u32, to: u32| {
            if from == to && self.classes.pods(from).len() < 2 {
                return;
            }
            let (a, b) = (self.classes.pods(from), self.classes.pods(to));
            let something = |traffic: Traffic| Some(traffic).filter(|t| !t.allowed.is_empty() || !t.unknown.is_empty());
            match self.shape(from, to) {
                None => {
                    if let Some(traffic) = something(self.between(from, to)) {
                        visit(a, b, &traffic);
                    }
                }
                Some(shape) => {
                    if let Some(traffic) = known.entry(shape).or_insert_with(|| something(self.between(from, to))) {
                        visit(a, b, traffic);
                    }
                }
            }
        };
        let classes = || 0..u32::try_from(self.classes.len()).unwrap_or(u32::MAX);
        let of = |direction| classes().map(|class| self.reaching(direction, class)).collect::<Vec<_>>();
        let (egress, ingress) = (of(Direction::Egress), of(Direction::Ingress));
        let at = |lists: &[Option<Vec<u32>>], class: u32| lists[class as usize].clone();
        for from in classes() {
            // Ends that share no family are unknown whatever the policies say, so no list may shorten the row.
            let apart = self.has_strangers(from);
            match at(&egress, from).filter(|_| !apart) {
                Some(reached) => reached.into_iter().for_each(|to| pair(from, to)),
                None => classes().filter(|to| apart || ingress[*to as usize].is_none()).for_each(|to| pair(from, to)),
            }
        }
        for to in classes() {
            for from in at(&ingress, to).into_iter().flatten() {
                if egress[from as usize].is_none() && !self.has_strangers(from) {
                    pair(from, to);
                }
            }
        }
    }

    /// The classes that a side can reach at all, on any port; `None` when that is everybody.
    fn reaching(&self, direction: Direction, class: u32) -> Option<Vec<u32>> {
        let mut found = Vec::new();
        for atom in self.atoms(direction, class)? {
            for family in Family::ALL {
                let part = self.set(*atom).part(family);
                for members in [&part.yes, &part.maybe] {
                    if members.is_all() {
                        return None;
                    }
                    members.each(self.classes.len(), |class| found.push(class));
                }
                if matches!(self.set(*atom), Set::Selected(_)) {
                    break;
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        Some(found)
    }

    fn has_strangers(&self, class: u32) -> bool {
        let own = self.classes.traits(class).families;
        self.classes.kinds_of_families().iter().any(|other| own.shared(*other).0.is_empty())
    }

    fn shape(&self, from: u32, to: u32) -> Option<Shape> {
        let (a, b) = (self.classes.traits(from), self.classes.traits(to));
        let hits = |direction, own, peer| -> Option<u128> {
            let Some(atoms) = self.atoms(direction, own) else { return Some(0) };
            if atoms.len() > SHAPED {
                return None;
            }
            let hit = |code: u128, atom: &super::Atom| {
                let set = self.set(*atom);
                let bits = |family| {
                    let part = set.part(family);
                    u128::from(part.yes.contains(peer)) | u128::from(part.maybe.contains(peer)) << 1
                };
                let v4 = bits(Family::V4);
                let v6 = if set.is_held() { bits(Family::V6) } else { v4 };
                code << 4 | v4 << 2 | v6
            };
            Some(atoms.iter().fold(0, hit))
        };
        let list = |direction: Direction, class: u32| self.lists_of[direction as usize][class as usize];
        Some((
            list(Direction::Egress, from),
            list(Direction::Ingress, to),
            hits(Direction::Egress, from, to)?,
            hits(Direction::Ingress, to, from)?,
            b.named,
            a.families.with(b.families),
        ))
    }
}
