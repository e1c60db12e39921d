//! Edges → rules: one selector and its ports, merged where that changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use serde_json::{Map, Value, json};

use super::{Direction, are_labels, match_labels, peers_field};
use crate::finding::{Code, Finding};
use crate::matrix::{Expect, Party, Peer, PeerKind, ResolvedEdge, Subject};
use crate::world::labels::NAMESPACE_NAME;
use crate::world::{Labels, Protocol};

/// One way to select peers, as one item of `from` or `to`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Selector {
    /// Pods of one namespace.
    Pods { namespace: String, labels: Labels },
    /// Any pod of any namespace.
    AnyPod,
    /// Addresses; `except` lies inside `net`, none of them inside another.
    Block { net: IpNet, except: Vec<IpNet> },
}

/// A rule: every one of its peers on every one of its ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) peers: BTreeSet<Selector>,
    pub(super) ports: BTreeSet<(Protocol, u16)>,
    /// The edges that need it, by name.
    pub(super) edges: BTreeSet<String>,
}

/// Ports at the destination, and the names of the edges that need them.
type Needs = (BTreeSet<(Protocol, u16)>, BTreeSet<String>);

/// The allow edges, by name: the order in which sources list them must not reach the policy.
pub(super) fn sorted(edges: &[ResolvedEdge]) -> Vec<&ResolvedEdge> {
    let mut edges: Vec<_> = edges.iter().filter(|edge| edge.edge.expect == Expect::Allow).collect();
    edges.sort_by(|a, b| a.edge.name.cmp(&b.edge.name));
    edges
}

/// Whether a peer has the subject's pods in it.
pub(super) fn covers(peer: &Peer, subject: &Subject) -> bool {
    match &peer.kind {
        PeerKind::AnyPod => true,
        PeerKind::Pods { namespace, selector, pods } => {
            *namespace == subject.namespace
                && (*selector == subject.selector
                    || pods.iter().any(|pod| subject.pods.contains(pod))
                    || selector.iter().all(|(key, value)| subject.selector.get(key) == Some(value)))
        }
        PeerKind::Blocks { .. } | PeerKind::Unresolved => false,
    }
}

/// The rules that edges need at the subject in one direction. What cannot be written is reported.
pub(super) fn rules(
    subject: &Subject,
    edges: &[&ResolvedEdge],
    direction: Direction,
    left_out: &mut Vec<Finding>,
) -> Vec<Rule> {
    // First by selector: edges to the same pods share a rule …
    let mut by_selector: BTreeMap<Selector, Needs> = BTreeMap::new();
    for edge in edges {
        for (peer, ports) in needs(subject, edge, direction, left_out) {
            for selector in selectors(peer) {
                let (all_ports, names) = by_selector.entry(selector).or_default();
                all_ports.extend(ports.iter().map(|port| (edge.edge.protocol, *port)));
                names.insert(edge.edge.name.clone());
            }
        }
    }
    // … then selectors with the very same ports and edges: (A ∪ B) × P is A × P ∪ B × P, so nothing is widened.
    let mut merged: BTreeMap<_, BTreeSet<Selector>> = BTreeMap::new();
    for (selector, (ports, names)) in by_selector {
        merged.entry((names, ports)).or_default().insert(selector);
    }
    merged.into_iter().map(|((edges, ports), peers)| Rule { peers, ports, edges }).collect()
}

/// The peers that one edge needs in a direction, each with its ports at the destination.
pub(super) fn needs<'e>(
    subject: &Subject,
    edge: &'e ResolvedEdge,
    direction: Direction,
    left_out: &mut Vec<Finding>,
) -> Vec<(&'e Peer, Vec<u16>)> {
    let mut found = Vec::new();
    let here = match direction {
        Direction::Ingress => &edge.to,
        Direction::Egress => &edge.from,
    };
    if !here.iter().any(|peer| covers(peer, subject)) {
        return found;
    }
    let (there, own_ports): (_, Vec<u16>) = match direction {
        Direction::Ingress => {
            let ports: BTreeSet<u16> =
                edge.to.iter().filter(|p| covers(p, subject)).flat_map(|p| p.ports.iter().copied()).collect();
            (&edge.from, ports.into_iter().collect())
        }
        Direction::Egress => (&edge.to, Vec::new()),
    };
    for peer in there {
        let ports = if direction == Direction::Ingress { own_ports.clone() } else { peer.ports.clone() };
        let why = if selectors(peer).is_empty() {
            "who it is for is not known"
        } else if ports.is_empty() {
            "its pod port is not known, and a rule without a port would open all of them"
        } else {
            found.push((peer, ports));
            continue;
        };
        let message = format!("the policy does not allow `{}`: {why}", edge.edge.name);
        left_out.push(Finding::new(Code::PeerUnknown, edge.edge.name.as_str(), message, fix(edge)).on(&edge.edge.name));
    }
    found
}

fn fix(edge: &ResolvedEdge) -> String {
    let named = edge.edge.to.iter().map(|target| &target.party).chain(&edge.edge.from);
    for party in named {
        if let Party::Unknown { peer } = party {
            return format!("write `peers.{peer}` into the TrafficMatrix");
        }
    }
    "write who it is, with its port, into `peers` or `edges` of the TrafficMatrix, or add the manifests that show it"
        .to_owned()
}

/// How a policy names a peer; empty when it cannot.
pub(super) fn selectors(peer: &Peer) -> Vec<Selector> {
    match &peer.kind {
        PeerKind::Pods { namespace, selector, .. } if are_labels(selector) => {
            vec![Selector::Pods { namespace: namespace.clone(), labels: selector.clone() }]
        }
        PeerKind::AnyPod => vec![Selector::AnyPod],
        PeerKind::Blocks { nets, except, .. } => nets.iter().filter_map(|net| block(*net, except)).collect(),
        PeerKind::Pods { .. } | PeerKind::Unresolved => Vec::new(),
    }
}

/// One `ipBlock`. The API wants each `except` strictly inside its own `cidr`; one that covers the whole net leaves nothing of it.
fn block(net: IpNet, except: &[IpNet]) -> Option<Selector> {
    let net = net.trunc();
    // `contains` is false across families.
    if except.iter().any(|hole| hole.trunc().contains(&net)) {
        return None;
    }
    let mut holes: Vec<IpNet> = except.iter().map(IpNet::trunc).filter(|hole| net.contains(hole)).collect();
    holes.sort();
    holes.dedup();
    let all = holes.clone();
    holes.retain(|hole| !all.iter().any(|other| other != hole && other.contains(hole)));
    Some(Selector::Block { net, except: holes })
}

impl Selector {
    /// One item of `from` or `to` in a policy of the given namespace.
    pub(super) fn to_json(&self, home: &str) -> Value {
        match self {
            Self::Pods { namespace, labels } if namespace == home => json!({ "podSelector": match_labels(labels) }),
            Self::Pods { namespace, labels } => json!({
                "namespaceSelector": { "matchLabels": { NAMESPACE_NAME: namespace } },
                "podSelector": match_labels(labels),
            }),
            Self::AnyPod => json!({ "namespaceSelector": {} }),
            Self::Block { net, except } if except.is_empty() => json!({ "ipBlock": { "cidr": net.to_string() } }),
            Self::Block { net, except } => {
                let except: Vec<String> = except.iter().map(ToString::to_string).collect();
                json!({ "ipBlock": { "cidr": net.to_string(), "except": except } })
            }
        }
    }
}

impl Rule {
    pub(super) fn to_json(&self, direction: Direction, home: &str) -> Value {
        let peers: Vec<Value> = self.peers.iter().map(|peer| peer.to_json(home)).collect();
        let ports: Vec<Value> =
            self.ports.iter().map(|(protocol, port)| json!({ "protocol": protocol.as_str(), "port": port })).collect();
        let mut rule = Map::new();
        rule.insert(peers_field(direction).to_owned(), peers.into());
        rule.insert("ports".to_owned(), ports.into());
        rule.into()
    }
}
