//! How many pairs of pods are allowed on a port.
//!
//! A pair counts when `b ∈ E(a)` and `a ∈ I(b)`, where E are the classes that the egress of `a` admits and I those that the ingress of `b` admits.
//! Few different E and I exist, and for one E and one I the pairs are a product:
//! `|{a : E(a) = E, a ∈ I}| · |{b : I(b) = I, b ∈ E}|`. So the cost is the size of the sets, not of the pairs.

use std::collections::HashMap;

use super::classes::{Families, Interned};
use super::members::Members;
use super::{Atom, Direction, FREE, Family, Reachability};
use crate::world::Protocol;

/// Ordered pairs of two different pods, by the verdict for one port. Everything else is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PairCount {
    /// All pairs.
    pub pairs: u64,
    /// Allowed for certain.
    pub allowed: u64,
    /// A fact is missing.
    pub unknown: u64,
    /// Left to the engine: one end is in its node's network, has finished, has several addresses of one family, or is in a namespace that
    /// a policy of another kind touches.
    pub left_open: u64,
}

impl PairCount {
    /// Denied for certain.
    pub fn denied(&self) -> u64 {
        self.pairs.saturating_sub(self.allowed + self.unknown + self.left_open)
    }
}

/// Which pairs to count.
#[derive(Clone, Copy)]
struct Question<'q> {
    from: Families,
    to: Families,
    /// Admitted in all of these.
    families: &'q [Family],
    /// Also what is admitted only perhaps.
    perhaps: bool,
    protocol: Protocol,
    port: u16,
}

impl Reachability<'_> {
    /// Counts the pairs of pods by the verdict for a pod port.
    pub fn allowed_pairs(&self, protocol: Protocol, port: u16) -> PairCount {
        let ordered = |pods: usize| (pods as u64).saturating_mul((pods as u64).saturating_sub(1));
        let covered = ordered(self.classes.covered());
        let pairs = ordered(self.world.pods.len());
        let mut count = PairCount { pairs, left_open: pairs - covered, ..PairCount::default() };
        let present = self.classes.kinds_of_families();
        for from in present {
            for to in present {
                let (families, certain) = from.shared(*to);
                let ask = |families: &[Family], perhaps| {
                    self.product(Question { from: *from, to: *to, families, perhaps, protocol, port })
                };
                if families.is_empty() {
                    count.unknown += self.pairs_between(*from, *to);
                    continue;
                }
                let allowed = ask(&families, false);
                // Uncertain families: perhaps admitted in one of the two is enough to be no denial.
                let possible = match families.as_slice() {
                    [a, b] if !certain => ask(&[*a], true) + ask(&[*b], true) - ask(&families, true),
                    families => ask(families, true),
                };
                count.allowed += allowed;
                count.unknown += possible - allowed;
            }
        }
        count
    }

    fn weight(&self, class: u32) -> u64 {
        self.classes.pods(class).len() as u64
    }

    fn of_families(&self, families: Families) -> impl Iterator<Item = u32> {
        let all = self.classes.traits.iter().zip(0..);
        all.filter(move |(traits, _)| traits.families == families).map(|(_, class)| class)
    }

    fn pairs_between(&self, from: Families, to: Families) -> u64 {
        let pods = |families| self.of_families(families).map(|class| self.weight(class)).sum::<u64>();
        let both = pods(from) * pods(to);
        if from == to { both - pods(from) } else { both }
    }

    fn product(&self, ask: Question<'_>) -> u64 {
        let egress = Sides::new(self, Direction::Egress, ask.from, ask);
        let ingress = Sides::new(self, Direction::Ingress, ask.to, ask);
        // w[E, I]: destinations with I that are in E. v[E, I]: sources with E that are in I.
        let w = egress.meet(self, &ingress);
        let v: HashMap<(u32, u32), u64> =
            ingress.meet(self, &egress).into_iter().map(|((i, e), pods)| ((e, i), pods)).collect();
        let mut sum = 0;
        for ((e, i), pods) in &w {
            let sources =
                if ingress.is_all(*i) { egress.total(*e) } else { v.get(&(*e, *i)).copied().unwrap_or_default() };
            sum += pods * sources;
        }
        for ((_, i), pods) in v.iter().filter(|((e, _), _)| egress.is_all(*e)) {
            sum += pods * ingress.total(*i);
        }
        sum += egress.all_total() * ingress.all_total();
        if ask.from == ask.to {
            let itself = |class: &u32| egress.admits(*class, *class) && ingress.admits(*class, *class);
            sum -= self.of_families(ask.from).filter(itself).map(|class| self.weight(class)).sum::<u64>();
        }
        sum
    }

    /// The classes that one side admits on the asked port, seen from a class with this list.
    fn admits(&self, direction: Direction, atoms: &[Atom], named: u32, ask: Question<'_>) -> Members {
        let mut common: Option<Vec<u32>> = None;
        for family in ask.families {
            let mut found = Vec::new();
            let mut all = false;
            for atom in atoms {
                all |= self.reached(direction, *atom, named, *family, ask, &mut found);
            }
            if all {
                continue;
            }
            found.sort_unstable();
            found.dedup();
            common = Some(match common {
                None => found,
                Some(before) => before.into_iter().filter(|class| found.binary_search(class).is_ok()).collect(),
            });
        }
        common.map_or(Members::All, |classes| Members::of(classes, self.classes.len()))
    }

    /// Adds what one atom reaches; `true` when that is everybody.
    fn reached(
        &self,
        direction: Direction,
        atom: Atom,
        named: u32,
        family: Family,
        ask: Question<'_>,
        found: &mut Vec<u32>,
    ) -> bool {
        let set = self.set(atom);
        let part = set.part(family);
        let ports = &self.ports.values[atom.ports as usize];
        let has_name = |named: u32| {
            let mut there = self.classes.named.values[named as usize].iter();
            there.any(|(protocol, name, number)| {
                *number == ask.port
                    && *protocol == ask.protocol
                    && ports.names.iter().any(|(wanted, text)| wanted == protocol && text == name)
            })
        };
        let by_number = ports.numbers.contains(ask.protocol, ask.port);
        // A name through a block is never certain.
        let by_name = !ports.names.is_empty() && (ask.perhaps || !set.is_held());
        let reached = [Some(&part.yes), ask.perhaps.then_some(&part.maybe)].into_iter().flatten();
        for members in reached {
            if by_number || (by_name && direction == Direction::Ingress && has_name(named)) {
                if members.is_all() {
                    return true;
                }
                members.each(self.classes.len(), |class| found.push(class));
            } else if by_name && direction == Direction::Egress {
                members.each(self.classes.len(), |class| {
                    if has_name(self.classes.traits(class).named) {
                        found.push(class);
                    }
                });
            }
        }
        false
    }
}

/// What each class of one end admits.
struct Sides {
    /// By class; `None` for classes of other families.
    of_class: Vec<Option<u32>>,
    members: Vec<Members>,
    /// Pods by set.
    pods: Vec<u64>,
}

impl Sides {
    fn new(reach: &Reachability<'_>, direction: Direction, families: Families, ask: Question<'_>) -> Self {
        let mut keys: Interned<(u32, u32)> = Interned::default();
        let mut sides = Self { of_class: vec![None; reach.classes.len()], members: Vec::new(), pods: Vec::new() };
        for class in reach.of_families(families) {
            let list = reach.lists_of[direction as usize][class as usize];
            // Names in ingress rules are the class's own; in egress rules they are the peer's.
            let named =
                if direction == Direction::Ingress && list != FREE { reach.classes.traits(class).named } else { 0 };
            let id = keys.id((list, named));
            if id as usize == sides.members.len() {
                let atoms = reach.atoms(direction, class);
                sides.members.push(atoms.map_or(Members::All, |atoms| reach.admits(direction, atoms, named, ask)));
                sides.pods.push(0);
            }
            sides.pods[id as usize] += reach.weight(class);
            sides.of_class[class as usize] = Some(id);
        }
        sides
    }

    /// By own set that is not everybody, and by set of the other side: the other side's pods that are in the own set.
    fn meet(&self, reach: &Reachability<'_>, other: &Self) -> HashMap<(u32, u32), u64> {
        let mut met = HashMap::new();
        for (members, id) in self.members.iter().zip(0..).filter(|(members, _)| !members.is_all()) {
            members.each(reach.classes.len(), |class| {
                if let Some(set) = other.of_class[class as usize] {
                    *met.entry((id, set)).or_default() += reach.weight(class);
                }
            });
        }
        met
    }

    fn is_all(&self, set: u32) -> bool {
        self.members[set as usize].is_all()
    }

    fn total(&self, set: u32) -> u64 {
        self.pods[set as usize]
    }

    /// Pods that admit everybody.
    fn all_total(&self) -> u64 {
        self.members.iter().zip(&self.pods).filter(|(members, _)| members.is_all()).map(|(_, pods)| pods).sum()
    }

    fn admits(&self, class: u32, peer: u32) -> bool {
        self.of_class[class as usize].is_some_and(|set| self.members[set as usize].contains(peer))
    }
}
