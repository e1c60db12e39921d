//! Pods that stand for all others: the known ones folded into classes, and one for whatever a selector may meet tomorrow.
//!
//! A rule is compared with others over these. Over the known pods that is a proof; the witnesses keep a rule from being called redundant
//! only because the pods that it is there for have not come yet.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;

use crate::judge::audit::addresses::borders;
use crate::policy::{NamespaceMatch, PeerMatch, Peers, Policy, PortMatch, Ports, Rule};
use crate::source::Place;
use crate::world::labels::{NAMESPACE_NAME, Requirement, Selector, Test};
use crate::world::{ContainerPort, Labels, Namespace, ObjectName, Phase, Pod, Protocol, World};

/// Most witnesses of one selector, and most labels that are tried beside them.
const MOST: usize = 16;

/// Label sets that a selector selects, with nothing more on them than it asks for. Empty when nothing can ever fit.
pub(super) fn witnesses(selector: &Selector) -> Vec<Labels> {
    let mut tests: BTreeMap<&str, Vec<Test>> = BTreeMap::new();
    for (key, value) in &selector.match_labels {
        tests.entry(key).or_default().push(Test::In(BTreeSet::from([value.clone()])));
    }
    for Requirement { key, test } in &selector.expressions {
        tests.entry(key).or_default().push(test.clone());
    }
    let mut found = vec![Labels::new()];
    for (key, tests) in tests {
        let values = values(&tests);
        let longer = found.iter().flat_map(|labels| {
            values.iter().map(move |value| {
                let mut labels = labels.clone();
                labels.extend(value.clone().map(|value| (key.to_owned(), value)));
                labels
            })
        });
        found = longer.take(MOST).collect();
    }
    found
}

/// The values that one key may have, `None` for the key's absence.
fn values(tests: &[Test]) -> Vec<Option<String>> {
    let holds = |value: Option<&str>| tests.iter().all(|test| test.holds(value));
    if holds(None) {
        return vec![None];
    }
    let listed = tests.iter().find_map(|test| match test {
        Test::In(values) => Some(values.iter().cloned().collect::<Vec<_>>()),
        _ => None,
    });
    // More fresh values than a selector can exclude are never needed: each `NotIn` value takes one away at most.
    let excluded: usize = tests.iter().map(|test| if let Test::NotIn(values) = test { values.len() } else { 0 }).sum();
    let fresh = || (0..=excluded).map(|n| format!("x{n}")).collect();
    let candidates: Vec<String> = listed.unwrap_or_else(fresh);
    let mut fitting = candidates.into_iter().filter(|value| holds(Some(value)));
    let has_list = tests.iter().any(|test| matches!(test, Test::In(_)));
    fitting.by_ref().take(if has_list { MOST } else { 1 }).map(Some).collect()
}

/// A world of classes and witnesses, as far as these policies can tell pods apart.
pub(super) fn world(known: &World, policies: &[&Policy]) -> World {
    let mut world = World { namespaces: known.namespaces.clone(), nodes: known.nodes.clone(), ..World::default() };
    let cuts = borders(policies.iter().flat_map(|policy| rules(policy)).flat_map(blocks));
    world.pods = classes(known, &cuts);
    let mut cast = Cast { negatives: negatives(policies), ports: named_ports(policies), world: &mut world };
    for policy in policies {
        cast.add(&policy.name.namespace, &policy.pod_selector, &policy.place);
        for rule in rules(policy) {
            let Peers::Listed(peers) = &rule.peers else {
                cast.anywhere(&Selector::default(), &Selector::default(), &rule.place);
                continue;
            };
            for peer in peers {
                match &peer.matches {
                    PeerMatch::Pods { namespaces: NamespaceMatch::Own, pods } => {
                        cast.add(&policy.name.namespace, pods, &peer.place);
                    }
                    PeerMatch::Pods { namespaces: NamespaceMatch::Selected(namespaces), pods } => {
                        cast.anywhere(namespaces, pods, &peer.place);
                    }
                    PeerMatch::Block { .. } => {}
                }
            }
        }
    }
    world
}

/// One pod of each class of known pods that no rule can tell apart.
fn classes(known: &World, cuts: &BTreeSet<IpAddr>) -> Vec<Pod> {
    let mut seen = HashSet::new();
    let live = known.pods().map(|(_, pod)| pod).filter(|pod| pod.phase == Phase::Live);
    live.filter(|pod| {
        let pieces: Vec<(bool, Option<IpAddr>)> = pod
            .addresses
            .iter()
            .map(|address| {
                let address = address.to_canonical();
                (address.is_ipv4(), cuts.range(..=address).next_back().copied())
            })
            .collect();
        let ports: Vec<_> = pod.ports.iter().map(|port| (port.name.clone(), port.number, port.protocol)).collect();
        // A pod in its node's network is told by its node's addresses.
        let node = pod.host_network.then(|| pod.node.clone());
        seen.insert((&pod.name.namespace, &pod.labels, ports, node, pieces, pod.template))
    })
    .cloned()
    .collect()
}

pub(super) fn rules(policy: &Policy) -> impl Iterator<Item = &Rule> {
    policy.ingress.iter().chain(&policy.egress).flatten()
}

pub(super) fn blocks(rule: &Rule) -> Vec<&ipnet::IpNet> {
    let Peers::Listed(peers) = &rule.peers else { return Vec::new() };
    let nets = peers.iter().flat_map(|peer| match &peer.matches {
        PeerMatch::Block { net, except } => std::iter::once(net).chain(except).collect(),
        PeerMatch::Pods { .. } => Vec::new(),
    });
    nets.collect()
}

/// Labels that some selector forbids: a pod that has one may be where a narrower rule does not reach.
fn negatives(policies: &[&Policy]) -> Vec<(String, String)> {
    let mut found = BTreeSet::new();
    let peers = policies.iter().flat_map(|policy| rules(policy)).flat_map(|rule| match &rule.peers {
        Peers::Any => &[],
        Peers::Listed(peers) => peers.as_slice(),
    });
    let of_peers = peers.filter_map(|peer| match &peer.matches {
        PeerMatch::Pods { pods, .. } => Some(pods),
        PeerMatch::Block { .. } => None,
    });
    for selector in of_peers.chain(policies.iter().map(|policy| &policy.pod_selector)) {
        for Requirement { key, test } in &selector.expressions {
            match test {
                Test::NotIn(values) => found.extend(values.iter().map(|value| (key.clone(), value.clone()))),
                Test::DoesNotExist => {
                    found.insert((key.clone(), "x0".to_owned()));
                }
                Test::In(_) | Test::Exists => {}
            }
        }
    }
    found.into_iter().take(MOST).collect()
}

/// Every port name that a rule asks for, each at a number of its own: a name that happens to have a rule's number today may move.
fn named_ports(policies: &[&Policy]) -> Vec<ContainerPort> {
    let mut names: BTreeSet<(&str, Protocol)> = BTreeSet::new();
    for rule in policies.iter().flat_map(|policy| rules(policy)) {
        let Ports::Listed(ports) = &rule.ports else { continue };
        names.extend(ports.iter().filter_map(|port| match &port.ports {
            PortMatch::Named(name) => Some((name.as_str(), port.protocol)),
            _ => None,
        }));
    }
    let numbers = (1..u16::MAX).rev();
    let port = |((name, protocol), number): ((&str, Protocol), u16)| ContainerPort {
        name: Some(name.to_owned()),
        number,
        protocol,
    };
    names.into_iter().zip(numbers).map(port).collect()
}

struct Cast<'w> {
    negatives: Vec<(String, String)>,
    ports: Vec<ContainerPort>,
    world: &'w mut World,
}

impl Cast<'_> {
    /// The witnesses of a selector in one namespace.
    fn add(&mut self, namespace: &str, selector: &Selector, place: &Place) {
        for labels in witnesses(selector) {
            let with = self.negatives.iter().map(|(key, value)| {
                let mut labels = labels.clone();
                labels.entry(key.clone()).or_insert_with(|| value.clone());
                labels
            });
            let all: BTreeSet<Labels> = with.filter(|with| selector.matches(with)).chain([labels.clone()]).collect();
            for labels in all {
                let pod = self.pod(namespace, labels, place);
                self.world.pods.push(pod);
            }
        }
    }

    /// The same in a namespace that has what a selector asks for, and nothing else.
    fn anywhere(&mut self, namespaces: &Selector, pods: &Selector, place: &Place) {
        for mut labels in witnesses(namespaces) {
            let name = match labels.get(NAMESPACE_NAME) {
                Some(name) => name.clone(),
                // No namespace has a space in its name.
                None => format!("a namespace with {namespaces}"),
            };
            labels.insert(NAMESPACE_NAME.to_owned(), name.clone());
            let namespace = Namespace { labels, place: Some(place.clone()) };
            self.world.namespaces.entry(name.clone()).or_insert(namespace);
            self.add(&name, pods, place);
        }
    }

    fn pod(&self, namespace: &str, labels: Labels, place: &Place) -> Pod {
        Pod {
            name: ObjectName::new(namespace, format!("witness-{}", self.world.pods.len())),
            workload: None,
            template: true,
            labels,
            images: Vec::new(),
            ports: self.ports.clone(),
            addresses: Vec::new(),
            proxies: crate::world::Proxies::default(),
            dns: crate::world::PodDns::default(),
            host_network: false,
            node: None,
            phase: Phase::Live,
            ready: None,
            ready_since: None,
            leaving: false,
            place: place.clone(),
        }
    }
}
