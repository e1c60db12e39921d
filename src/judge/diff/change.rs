//! What changes between two answers, and which policies make it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::policy::{Admitted, Direction, Engine, Family, Policy, PolicySet, PortSet, Traffic, Unmodelled};
use crate::source::Place;
use crate::world::{ObjectName, Pod, World};

/// Ports whose verdict changes, by how it does. What is in no set stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Change {
    /// Denied before, allowed after.
    pub opens: PortSet,
    /// Allowed before, denied after.
    pub closes: PortSet,
    /// One of both is not known, and it may open.
    pub may_open: PortSet,
    /// One of both is not known, and it may close.
    pub may_close: PortSet,
    /// The families it is true of; empty for all that the ends share.
    pub families: Vec<Family>,
}

impl Change {
    /// What changes; one item, or one a family where they differ. Empty when nothing does.
    pub(super) fn between(before: &Admitted, after: &Admitted) -> Vec<Self> {
        let families = |admitted: &Admitted| admitted.by_family.iter().map(|(family, _)| *family).collect::<Vec<_>>();
        if families(before).is_empty() || families(before) != families(after) {
            return Self::of(&before.traffic, &after.traffic).into_iter().collect();
        }
        let mut found: Vec<(Family, Self)> = Vec::new();
        for ((family, before), (_, after)) in before.by_family.iter().zip(&after.by_family) {
            found.extend(Self::of(before, after).map(|change| (*family, change)));
        }
        let all = found.len() == before.by_family.len();
        match found.as_slice() {
            [(_, first), rest @ ..] if all && rest.iter().all(|(_, other)| other == first) => vec![first.clone()],
            _ => found.into_iter().map(|(family, change)| Self { families: vec![family], ..change }).collect(),
        }
    }

    fn of(before: &Traffic, after: &Traffic) -> Option<Self> {
        let denied = |traffic: &Traffic| PortSet::all().minus(&traffic.allowed).minus(&traffic.unknown);
        let (not_before, not_after) = (denied(before), denied(after));
        let change = Self {
            opens: after.allowed.intersect(&not_before),
            closes: before.allowed.intersect(&not_after),
            may_open: after.unknown.intersect(&not_before).union(&before.unknown.intersect(&after.allowed)),
            may_close: before.allowed.intersect(&after.unknown).union(&before.unknown.intersect(&not_after)),
            families: Vec::new(),
        };
        (change != Self::default()).then_some(change)
    }

    /// Whether something opens, or may.
    pub fn is_opening(&self) -> bool {
        !self.opens.is_empty() || !self.may_open.is_empty()
    }

    /// Whether something closes, or may.
    pub fn is_closing(&self) -> bool {
        !self.closes.is_empty() || !self.may_close.is_empty()
    }

    /// Whether a part of it is not known.
    pub fn is_unknown(&self) -> bool {
        !self.may_open.is_empty() || !self.may_close.is_empty()
    }

    /// What needs a look first comes first.
    pub(super) fn rank(&self) -> u8 {
        match (self.opens.is_empty(), self.may_open.is_empty(), self.closes.is_empty()) {
            (false, ..) => 0,
            (true, false, _) => 1,
            (true, true, false) => 2,
            (true, true, true) => 3,
        }
    }
}

/// `opens TCP 80; closes UDP 53 (IPv6)`
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            ("opens", &self.opens),
            ("closes", &self.closes),
            ("may open (not known)", &self.may_open),
            ("may close (not known)", &self.may_close),
        ];
        let said: Vec<String> =
            parts.iter().filter(|(_, set)| !set.is_empty()).map(|(word, set)| format!("{word} {set}")).collect();
        f.write_str(&said.join("; "))?;
        let families: Vec<String> = self.families.iter().map(ToString::to_string).collect();
        if families.is_empty() { Ok(()) } else { write!(f, " ({})", families.join(", ")) }
    }
}

/// How an object differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// Only the right side has it.
    Added,
    /// Only the left side has it.
    Removed,
    /// Both have it, and it says something else.
    Changed,
}

impl What {
    /// The word used everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
        }
    }
}

/// A policy that is not the same on both sides.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyChange {
    /// Its name.
    pub name: ObjectName,
    /// How it differs.
    pub what: What,
    /// Where it stands: on the right side, or on the left where it was removed.
    pub place: Place,
}

/// What makes a change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// A policy that selects one of the ends.
    Policy {
        /// Which.
        policy: PolicyChange,
        /// In which direction it has a say: ingress of the destination, egress of the source.
        direction: Direction,
    },
    /// Labels, named ports, addresses or the namespace's labels of an end differ.
    Moved {
        /// The workload or pod.
        who: String,
    },
    /// A policy of a kind that is not evaluated is on one side only.
    NotEvaluated {
        /// `Kind/namespace/name`.
        object: String,
        /// Where it stands.
        place: Place,
    },
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy { policy: PolicyChange { name, what, place }, direction } => {
                write!(f, "{name} {} ({place}), {direction}", what.as_str())
            }
            Self::Moved { who } => write!(f, "labels, ports or addresses of {who} differ"),
            Self::NotEvaluated { object, place } => {
                write!(f, "{object} ({place}) is on one side only and is not evaluated")
            }
        }
    }
}

/// Everything that differs between two sides, but for the pods.
pub(super) struct Changes {
    pub(super) policies: Vec<PolicyChange>,
    /// Both versions of each, where there are two; in the order of `policies`.
    versions: Vec<Vec<Policy>>,
    unmodelled: Vec<Unmodelled>,
    namespaces: BTreeSet<String>,
}

impl Changes {
    pub(super) fn of(left: &Engine<'_>, right: &Engine<'_>) -> Self {
        let (mut policies, mut versions) = (Vec::new(), Vec::new());
        let (before, after) = (by_name(left.policies()), by_name(right.policies()));
        let names: BTreeSet<&ObjectName> = before.keys().chain(after.keys()).copied().collect();
        for name in names {
            let none = Vec::new();
            let (old, new) = (before.get(name).unwrap_or(&none), after.get(name).unwrap_or(&none));
            let said = |list: &[&Policy]| list.iter().map(|policy| policy.decision()).collect::<Vec<_>>();
            let what = match (old.first(), new.first()) {
                (None, Some(_)) => What::Added,
                (Some(_), None) => What::Removed,
                _ if said(old) == said(new) => continue,
                _ => What::Changed,
            };
            let Some(at) = new.first().or(old.first()) else { continue };
            policies.push(PolicyChange { name: name.clone(), what, place: at.place.clone() });
            versions.push(old.iter().chain(new).map(|policy| (*policy).clone()).collect());
        }
        Self {
            policies,
            versions,
            unmodelled: one_sided(&left.policies().unmodelled, &right.policies().unmodelled),
            namespaces: relabelled(left.world(), right.world()),
        }
    }

    /// What has a say over a pod in a direction; the pod as both sides have it.
    pub(super) fn at(&self, left: &Pod, right: &Pod, direction: Direction) -> Vec<Cause> {
        let selects =
            |policy: &Policy| policy.rules(direction).is_some() && (policy.selects(left) || policy.selects(right));
        let policies = self.policies.iter().zip(&self.versions).filter(|(_, versions)| versions.iter().any(selects));
        let here = |other: &&Unmodelled| other.scope.touches(&left.name.namespace);
        let others =
            self.unmodelled.iter().filter(here).filter(|other| other.only.is_none_or(|only| only == direction));
        policies
            .map(|(policy, _)| Cause::Policy { policy: policy.clone(), direction })
            .chain(others.map(|other| Cause::NotEvaluated { object: other.object.clone(), place: other.place.clone() }))
            .collect()
    }

    /// Whether a namespace has other labels on the other side.
    pub(super) fn is_relabelled(&self, namespace: &str) -> bool {
        self.namespaces.contains(namespace)
    }
}

fn by_name(set: &PolicySet) -> BTreeMap<&ObjectName, Vec<&Policy>> {
    let mut found: BTreeMap<_, Vec<&Policy>> = BTreeMap::new();
    for policy in &set.policies {
        found.entry(&policy.name).or_default().push(policy);
    }
    found
}

/// Policies that are not evaluated and that one side lacks. Their texts are not known here: one that both have may differ all the same.
fn one_sided(left: &[Unmodelled], right: &[Unmodelled]) -> Vec<Unmodelled> {
    let same = |a: &Unmodelled, b: &Unmodelled| {
        (&a.object, &a.scope, a.effect, a.only) == (&b.object, &b.scope, b.effect, b.only)
    };
    let lacks = |list: &[Unmodelled], one: &Unmodelled| !list.iter().any(|other| same(one, other));
    let only = |list: &[Unmodelled], others: &[Unmodelled]| {
        list.iter().filter(|one| lacks(others, one)).cloned().collect::<Vec<_>>()
    };
    let mut found = only(left, right);
    found.extend(only(right, left));
    found
}

fn relabelled(left: &World, right: &World) -> BTreeSet<String> {
    let known = |world: &World, name: &str| {
        world.namespaces.get(name).map(|namespace| (namespace.place.is_some(), namespace.labels.clone()))
    };
    let names = left.namespaces.keys().chain(right.namespaces.keys());
    names.filter(|name| known(left, name) != known(right, name)).cloned().collect()
}
