//! Pods that no policy of either side can tell apart, as one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::change::Changes;
use crate::judge::audit::borders;
use crate::policy::{Engine, PeerMatch, Peers, PolicySet, Rule};
use crate::world::labels::Selector;
use crate::world::{ObjectName, Phase, Pod, PodId, Protocol, WorkloadKind, World};

/// All classes of two sides.
pub(super) struct Classes {
    pub(super) list: Vec<Class>,
    pub(super) only_left: BTreeSet<String>,
    pub(super) only_right: BTreeSet<String>,
}

/// Pods that are alike on the left side, and alike on the right.
pub(super) struct Class {
    /// Their workloads, or themselves where they have none.
    pub(super) names: BTreeSet<String>,
    /// They are not what they were: every pair of theirs is asked.
    pub(super) moved: bool,
    pub(super) host_network: bool,
    /// One pod, and where there are any another one and one on another node; as both sides have them.
    members: Vec<(PodId, PodId)>,
}

impl Class {
    pub(super) fn first(&self) -> (PodId, PodId) {
        self.members[0]
    }

    /// A pair of members of two classes that stands for all: not a pod and itself, nor a node and a pod on it, which always reach each other.
    pub(super) fn with(&self, to: &Self, world: &World) -> Option<[(PodId, PodId); 2]> {
        let pairs = || self.members.iter().flat_map(|a| to.members.iter().map(move |b| (*a, *b)));
        let distinct = || pairs().filter(|(a, b)| a.0 != b.0 || world.pod(a.0).template);
        let one_node = |a: PodId, b: PodId| {
            let (a, b) = (world.pod(a), world.pod(b));
            (a.host_network || b.host_network) && a.node == b.node
        };
        let apart = distinct().find(|(a, b)| !one_node(a.0, b.0));
        apart.or_else(|| distinct().next()).map(|(a, b)| [a, b])
    }

    fn add(&mut self, member: (PodId, PodId), world: &World) {
        let other_node = |id: PodId| world.pod(id).node != world.pod(self.members[0].0).node;
        let wanted = match self.members.len() {
            0 | 1 => true,
            2 => other_node(member.0) && !self.members.iter().any(|(id, _)| other_node(*id)),
            _ => false,
        };
        if wanted {
            self.members.push(member);
        }
    }
}

/// What the policies of both sides can tell a pod by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    namespace: String,
    labels: Vec<(String, String)>,
    ports: Vec<(String, Protocol, u16)>,
    /// Between which borders of ranges its addresses lie.
    pieces: Vec<(bool, usize)>,
    host_network: bool,
    /// Of pods in its network.
    node: Option<String>,
    template: bool,
    on_node: bool,
}

impl Classes {
    pub(super) fn of(left: &Engine<'_>, right: &Engine<'_>, changes: &Changes) -> Self {
        let telling = Telling::of([left.policies(), right.policies()]);
        let (pairs, only_left, only_right) = matched(left.world(), right.world());
        let mut found: BTreeMap<(Key, Key), Class> = BTreeMap::new();
        for (a, b) in pairs {
            let (old, new) = (left.world().pod(a), right.world().pod(b));
            let keys = (telling.key(old), telling.key(new));
            let moved = keys.0 != keys.1 || changes.is_relabelled(&old.name.namespace);
            let class = found.entry(keys).or_insert_with(|| Class {
                names: BTreeSet::new(),
                moved,
                host_network: old.host_network && new.host_network,
                members: Vec::new(),
            });
            class.names.insert(name(old));
            class.add((a, b), left.world());
        }
        Self { list: found.into_values().collect(), only_left, only_right }
    }
}

/// The workload of a pod, else the pod.
fn name(pod: &Pod) -> String {
    let namespace = &pod.name.namespace;
    match &pod.workload {
        Some(workload) => format!("{namespace}/{}/{}", workload.kind.short(), workload.name),
        None => pod.name.to_string(),
    }
}

type OnlyHere = BTreeSet<String>;
/// Namespace, kind and name of a workload.
type Owner = (String, WorkloadKind, String);

/// Pods of both sides by name, the others by workload.
fn matched(left: &World, right: &World) -> (Vec<(PodId, PodId)>, OnlyHere, OnlyHere) {
    let live = |world: &World| -> BTreeMap<(ObjectName, bool), PodId> {
        let live = world.pods().filter(|(_, pod)| pod.phase == Phase::Live);
        live.map(|(id, pod)| ((pod.name.clone(), pod.template), id)).collect()
    };
    let (old, new) = (live(left), live(right));
    let mut pairs: Vec<(PodId, PodId)> = old.iter().filter_map(|(key, a)| Some((*a, *new.get(key)?))).collect();
    let alone = |own: &BTreeMap<_, PodId>, other: &BTreeMap<_, PodId>| -> Vec<PodId> {
        own.iter().filter(|(key, _)| !other.contains_key(*key)).map(|(_, id)| *id).collect()
    };
    let mut by_workload: BTreeMap<Owner, (Vec<PodId>, Vec<PodId>)> = BTreeMap::new();
    let (mut only_left, mut only_right) = (BTreeSet::new(), BTreeSet::new());
    let of =
        |pod: &Pod| pod.workload.as_ref().map(|owner| (pod.name.namespace.clone(), owner.kind, owner.name.clone()));
    for id in alone(&old, &new) {
        match of(left.pod(id)) {
            Some(owner) => by_workload.entry(owner).or_default().0.push(id),
            None => _ = only_left.insert(name(left.pod(id))),
        }
    }
    for id in alone(&new, &old) {
        match of(right.pod(id)) {
            Some(owner) => by_workload.entry(owner).or_default().1.push(id),
            None => _ = only_right.insert(name(right.pod(id))),
        }
    }
    // A scaled workload has more pods on one side: its others, by whatever name, are what they are compared with.
    let all_of = |world: &World, owner: &Owner| -> Vec<PodId> {
        let same = |pod: &Pod| pod.phase == Phase::Live && of(pod).as_ref() == Some(owner);
        world.pods().filter(|(_, pod)| same(pod)).map(|(id, _)| id).collect()
    };
    for (owner, (a, b)) in by_workload {
        let a = if a.is_empty() { all_of(left, &owner) } else { a };
        let b = if b.is_empty() { all_of(right, &owner) } else { b };
        match (a.as_slice(), b.as_slice()) {
            ([], [first, ..]) => _ = only_right.insert(name(right.pod(*first))),
            ([first, ..], []) => _ = only_left.insert(name(left.pod(*first))),
            _ => pairs.extend(a.iter().flat_map(|a| b.iter().map(move |b| (*a, *b)))),
        }
    }
    (pairs, only_left, only_right)
}

/// What selectors and ranges ask for, over both sides.
struct Telling {
    keys: BTreeSet<String>,
    cuts: Vec<IpAddr>,
}

impl Telling {
    fn of(sets: [&PolicySet; 2]) -> Self {
        let mut keys = BTreeSet::new();
        let mut nets: Vec<IpNet> = Vec::new();
        for policy in sets.iter().flat_map(|set| &set.policies) {
            add(&mut keys, &policy.pod_selector);
            let rules = policy.ingress.iter().chain(&policy.egress).flatten();
            for peer in rules.flat_map(|rule: &Rule| match &rule.peers {
                Peers::Any => &[],
                Peers::Listed(peers) => peers.as_slice(),
            }) {
                match &peer.matches {
                    PeerMatch::Pods { pods, .. } => add(&mut keys, pods),
                    PeerMatch::Block { net, except } => nets.extend(std::iter::once(net).chain(except)),
                }
            }
        }
        Self { keys, cuts: borders(&nets).into_iter().collect() }
    }

    fn key(&self, pod: &Pod) -> Key {
        let asked = pod.labels.iter().filter(|(key, _)| self.keys.contains(*key));
        let named = |port: &crate::world::ContainerPort| Some((port.name.clone()?, port.protocol, port.number));
        let piece = |address: &IpAddr| (address.is_ipv4(), self.cuts.partition_point(|cut| cut <= address));
        Key {
            namespace: pod.name.namespace.clone(),
            labels: asked.map(|(key, value)| (key.clone(), value.clone())).collect(),
            ports: pod.ports.iter().filter_map(named).collect(),
            pieces: pod.addresses.iter().map(piece).collect(),
            host_network: pod.host_network,
            node: pod.node.clone().filter(|_| pod.host_network),
            template: pod.template,
            on_node: pod.node.is_some(),
        }
    }
}

fn add(keys: &mut BTreeSet<String>, selector: &Selector) {
    keys.extend(selector.match_labels.keys().cloned());
    keys.extend(selector.expressions.iter().map(|requirement| requirement.key.clone()));
}
