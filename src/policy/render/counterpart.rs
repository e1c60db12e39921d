//! What a peer's own policies would have to allow: both ends must let a connection through.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::rules::{Rule, Selector, covers, selectors};
use super::text::{line, pods};
use super::{
    DIRECTIONS, Direction, Directions, MATRIX, WARNING, WHAT, is_object_name, match_labels, object, policy_type,
};
use crate::matrix::{ResolvedEdge, Subject};
use crate::source::emit;
use crate::world::{Labels, ObjectName};

/// A proposal for a peer's side. It is never written by portreeve: it would isolate pods that belong to somebody else.
#[derive(Debug, Clone, PartialEq)]
pub struct Counterpart {
    /// The edge it is for.
    pub edge: String,
    /// The peer's namespace.
    pub namespace: String,
    /// The labels that select the peer's pods.
    pub selector: Labels,
    /// The peer in words.
    pub peer: String,
    /// The direction at the peer.
    pub direction: Direction,
    /// What it does to the peer if it is ever the only policy there.
    pub warning: String,
    /// The NetworkPolicy as the API takes it.
    pub policy: Value,
    /// The same as a file, the warning on top.
    pub yaml: String,
}

/// The proposals for edges, in their order. The subject itself, any-pod and addresses have no side to open.
pub(super) fn counterparts(
    subject: &Subject,
    edges: &[&ResolvedEdge],
    name: &ObjectName,
    directions: Directions,
) -> Vec<Counterpart> {
    let mut found = Vec::new();
    for edge in edges {
        let mut nth = 0;
        for ours in DIRECTIONS.into_iter().filter(|d| directions.has(*d)) {
            for side in sides(subject, edge, ours) {
                nth += 1;
                found.push(proposal(subject, edge, side, name, nth));
            }
        }
    }
    found
}

/// The other end of an edge: pods, the direction as seen from them, and the ports at the destination.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Side {
    direction: Direction,
    namespace: String,
    selector: Labels,
    ports: BTreeSet<u16>,
}

fn sides(subject: &Subject, edge: &ResolvedEdge, ours: Direction) -> BTreeSet<Side> {
    let (here, there, direction) = match ours {
        Direction::Ingress => (&edge.to, &edge.from, Direction::Egress),
        Direction::Egress => (&edge.from, &edge.to, Direction::Ingress),
    };
    let here: Vec<_> = here.iter().filter(|peer| covers(peer, subject)).collect();
    let own_ports: BTreeSet<u16> = here.iter().flat_map(|peer| peer.ports.iter().copied()).collect();
    // A set: the order in which a source lists peers must not reach the names.
    let mut found = BTreeSet::new();
    for peer in there.iter().filter(|peer| !here.is_empty() && !covers(peer, subject)) {
        let ports = if ours == Direction::Ingress { own_ports.clone() } else { peer.ports.iter().copied().collect() };
        for selector in selectors(peer) {
            if let (Selector::Pods { namespace, labels: selector }, false) = (selector, ports.is_empty()) {
                found.insert(Side { direction, namespace, selector, ports: ports.clone() });
            }
        }
    }
    found
}

fn proposal(subject: &Subject, edge: &ResolvedEdge, side: Side, name: &ObjectName, nth: usize) -> Counterpart {
    let Side { direction, namespace, selector, ports } = side;
    let peer = pods(&namespace, &selector);
    let warning = format!(
        "If no other policy selects {peer} for {}, this one isolates them: everything else {} them stops. \
         Add it only beside policies that already allow the rest of their traffic.",
        policy_type(direction),
        if direction == Direction::Ingress { "to" } else { "from" },
    );
    let subject_pods = Selector::Pods { namespace: subject.namespace.clone(), labels: subject.selector.clone() };
    let rule = Rule {
        peers: BTreeSet::from([subject_pods]),
        ports: ports.into_iter().map(|port| (edge.edge.protocol, port)).collect(),
        edges: BTreeSet::new(),
    };
    let mut spec = Map::new();
    spec.insert("podSelector".to_owned(), match_labels(&selector));
    spec.insert("policyTypes".to_owned(), json!([policy_type(direction)]));
    spec.insert(direction.to_string(), json!([rule.to_json(direction, &namespace)]));
    let what = format!(
        "The {} side of the edge {}: {}.",
        direction,
        line(&edge.edge.name),
        if direction == Direction::Ingress { "connections from MAS" } else { "connections to MAS" },
    );
    // Without the label of what portreeve keeps: it only proposes this, and whoever applies it owns it.
    let policy = object(
        &object_name(name, &edge.edge.name, nth),
        &namespace,
        &[(MATRIX, &name.name)],
        &[(WHAT, what), (WARNING, warning.clone())],
        &spec,
    );
    let yaml = format!(
        "# A proposal of `portreeve render --counterparts`, to be looked at by whoever owns {peer}.\n# {warning}\n{}",
        emit::to_yaml(&policy)
    );
    Counterpart { edge: edge.edge.name.clone(), namespace, selector, peer, direction, warning, policy, yaml }
}

/// `portreeve-allow-<matrix>-<edge>`, numbered from the second on; letters that no object's name may have become `-`.
fn object_name(name: &ObjectName, edge: &str, nth: usize) -> String {
    let edge: String = edge
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' })
        .take(100)
        .collect();
    let edge = edge.trim_matches('-');
    let number = if nth > 1 { format!("-{nth}") } else { String::new() };
    let full = format!("portreeve-allow-{}-{edge}{number}", name.name);
    if edge.is_empty() || !is_object_name(&full) { format!("portreeve-allow-{}-edge{number}", name.name) } else { full }
}
