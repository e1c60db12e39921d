//! Two sets of policies: between which workloads, and with which addresses, new connections open or close, and which policies do it.
//!
//! Set-valued: every pair is asked once for all its ports. Pods that no policy can tell apart are asked once, and pairs that nothing touches are not asked at all.
//! Established connections are another matter: what a policy change does to them is up to the network plugin.

mod change;
mod classes;

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

pub use change::{Cause, Change, PolicyChange, What};

use self::change::Changes;
use self::classes::{Class, Classes};
use super::audit::{Addresses, borders};
use crate::policy::{Direction, End, Engine, Family, PeerMatch, Peers};
use crate::world::World;

/// What two sets of policies have not in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What changes for whom, sorted.
    pub rows: Vec<Row>,
    /// The policies that are not the same on both sides, by name.
    pub policies: Vec<PolicyChange>,
    /// Workloads and pods on the left side only: nothing is said about them.
    pub only_left: BTreeSet<String>,
    /// The same of the right side.
    pub only_right: BTreeSet<String>,
    /// Workloads, and pods without one, that both sides have.
    pub workloads: usize,
}

/// The same change for every pair of `from` and `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Workloads, pods, or a range of addresses.
    pub from: BTreeSet<String>,
    /// The same of the destinations.
    pub to: BTreeSet<String>,
    /// What changes.
    pub change: Change,
    /// What makes the change: everything that differs and has a say at one of the ends.
    pub because: Vec<Cause>,
}

impl Difference {
    /// How many pairs a kind of change concerns.
    pub fn count(&self, of: impl Fn(&Change) -> bool) -> usize {
        self.rows.iter().filter(|row| of(&row.change)).map(|row| row.from.len() * row.to.len()).sum()
    }
}

/// Compares two sides; each is a world under its policies.
///
/// Pods are matched by name, else by workload. What only one side has is listed and not compared.
pub fn diff(left: &Engine<'_>, right: &Engine<'_>) -> Difference {
    let changes = Changes::of(left, right);
    let classes = Classes::of(left, right, &changes);
    let mut found = Found { left, right, changes: &changes, rows: HashMap::new() };
    let touched: Vec<[bool; 2]> = classes.list.iter().map(|class| found.touched(class)).collect();
    for (from, from_touched) in classes.list.iter().zip(&touched) {
        for (to, to_touched) in classes.list.iter().zip(&touched) {
            let moved = from.moved || to.moved;
            if moved || from_touched[0] || to_touched[1] {
                found.pair(from, to);
            }
        }
    }
    let avoid = Avoid::of([left.world(), right.world()]);
    for (class, touched) in classes.list.iter().zip(&touched) {
        for (direction, touched) in [Direction::Egress, Direction::Ingress].into_iter().zip(touched) {
            if (*touched || class.moved) && !class.host_network {
                found.addresses(class, direction, &avoid);
            }
        }
    }
    let rows = folded(found.rows);
    let workloads = classes.list.iter().flat_map(|class| &class.names).collect::<BTreeSet<_>>().len();
    Difference {
        rows,
        policies: changes.policies,
        only_left: classes.only_left,
        only_right: classes.only_right,
        workloads,
    }
}

/// What makes rows one: source, change and causes.
type Of = (String, Change, Vec<Cause>);

struct Found<'d, 'w> {
    left: &'d Engine<'w>,
    right: &'d Engine<'w>,
    changes: &'d Changes,
    rows: HashMap<Of, BTreeSet<String>>,
}

impl Found<'_, '_> {
    /// Whether anything that differs has a say over a class's egress, and over its ingress.
    fn touched(&self, class: &Class) -> [bool; 2] {
        [Direction::Egress, Direction::Ingress].map(|direction| !self.causes_at(class, direction).is_empty())
    }

    fn causes_at(&self, class: &Class, direction: Direction) -> Vec<Cause> {
        let (left, right) = class.first();
        self.changes.at(self.left.world().pod(left), self.right.world().pod(right), direction)
    }

    fn pair(&mut self, from: &Class, to: &Class) {
        let Some([(a, b), (c, d)]) = from.with(to, self.left.world()) else { return };
        let before = self.left.admitted(End::Pod(a), End::Pod(c));
        let after = self.right.admitted(End::Pod(b), End::Pod(d));
        let changes = Change::between(&before, &after);
        if changes.is_empty() {
            return;
        }
        let mut causes = self.causes_at(from, Direction::Egress);
        causes.extend(self.causes_at(to, Direction::Ingress));
        for class in [from, to].into_iter().filter(|class| class.moved) {
            causes.extend(class.names.iter().take(1).map(|name| Cause::Moved { who: name.clone() }));
        }
        let causes = sorted(causes);
        for change in changes {
            for from in &from.names {
                let row = self.rows.entry((from.clone(), change.clone(), causes.clone())).or_default();
                row.extend(to.names.iter().cloned());
            }
        }
    }

    /// One class and every piece into which its policies, of both sides, cut all addresses.
    fn addresses(&mut self, class: &Class, direction: Direction, avoid: &Avoid) {
        let (left, right) = class.first();
        let cuts: BTreeSet<IpAddr> =
            [(self.left, left), (self.right, right)].into_iter().flat_map(|(e, id)| cuts(e, id, direction)).collect();
        let ends = |id, address| match direction {
            Direction::Egress => (End::Pod(id), End::Address(address)),
            Direction::Ingress => (End::Address(address), End::Pod(id)),
        };
        let own = self.left.world().pod(left);
        let families: BTreeSet<Family> = own.addresses.iter().map(|address| Family::of(*address)).collect();
        let mut ranges: Vec<(Change, Addresses)> = Vec::new();
        let mut whole = true;
        for (piece, sample) in Addresses::all().pieces(&cuts, &avoid.all) {
            let other_family = !families.is_empty() && !families.contains(&Family::of(sample));
            // Pods are compared as pods.
            if avoid.pods.contains(&sample) || other_family {
                continue;
            }
            let (a, c) = ends(left, sample);
            let (b, d) = ends(right, sample);
            let changes = Change::between(&self.left.admitted(a, c), &self.right.admitted(b, d));
            whole &= !changes.is_empty();
            for change in changes {
                let change = Change { families: Vec::new(), ..change };
                match ranges.iter_mut().find(|(other, _)| *other == change) {
                    Some((_, range)) => *range = range.union(&piece),
                    None => ranges.push((change, piece.clone())),
                }
            }
        }
        let mut causes = self.causes_at(class, direction);
        causes.extend(class.names.iter().take(usize::from(class.moved)).map(|name| Cause::Moved { who: name.clone() }));
        let causes = sorted(causes);
        whole &= ranges.len() == 1;
        for (change, range) in ranges {
            let range = if whole { "any address".to_owned() } else { range.describe() };
            for name in &class.names {
                let (from, to) = match direction {
                    Direction::Egress => (name.clone(), range.clone()),
                    Direction::Ingress => (range.clone(), name.clone()),
                };
                self.rows.entry((from, change.clone(), causes.clone())).or_default().insert(to);
            }
        }
    }
}

fn sorted(mut causes: Vec<Cause>) -> Vec<Cause> {
    causes.sort();
    causes.dedup();
    causes
}

/// Where the ranges that the policies of a pod name begin and end.
fn cuts(engine: &Engine<'_>, id: crate::world::PodId, direction: Direction) -> BTreeSet<IpAddr> {
    let pod = engine.world().pod(id);
    let policies = engine.policies().in_namespace(&pod.name.namespace).filter(|policy| policy.selects(pod));
    let peers =
        policies.flat_map(|policy| policy.rules(direction).unwrap_or_default()).flat_map(|rule| match &rule.peers {
            Peers::Any => &[],
            Peers::Listed(peers) => peers.as_slice(),
        });
    let nets = peers.flat_map(|peer| match &peer.matches {
        PeerMatch::Block { net, except } => std::iter::once(net).chain(except).collect::<Vec<_>>(),
        PeerMatch::Pods { .. } => Vec::new(),
    });
    borders(nets)
}

/// Addresses that do not stand for the outside.
struct Avoid {
    all: BTreeSet<IpAddr>,
    pods: BTreeSet<IpAddr>,
}

impl Avoid {
    fn of(worlds: [&World; 2]) -> Self {
        let mut avoid = Self { all: BTreeSet::new(), pods: BTreeSet::new() };
        for world in worlds {
            let plain = world.pods.iter().filter(|pod| !pod.host_network);
            avoid.pods.extend(plain.flat_map(|pod| pod.addresses.iter().copied()));
            avoid.all.extend(world.nodes.values().flat_map(|node| node.addresses.iter().copied()));
            avoid.all.extend(world.services.values().flat_map(crate::world::Service::virtual_addresses));
        }
        avoid.all.extend(avoid.pods.iter().copied());
        avoid
    }
}

/// Rows of one source → rows of all sources with the same destinations.
fn folded(rows: HashMap<Of, BTreeSet<String>>) -> Vec<Row> {
    let mut merged: HashMap<(BTreeSet<String>, Change, Vec<Cause>), BTreeSet<String>> = HashMap::new();
    for ((from, change, because), to) in rows {
        merged.entry((to, change, because)).or_default().insert(from);
    }
    let mut rows: Vec<Row> =
        merged.into_iter().map(|((to, change, because), from)| Row { from, to, change, because }).collect();
    rows.sort_by_cached_key(|row| {
        (row.change.rank(), row.from.clone(), row.to.clone(), row.change.to_string(), row.because.clone())
    });
    rows
}
