//! Which rule came closest, and what kept it from admitting.

mod considered;

pub use considered::{Considered, ConsideredPolicy, ConsideredRule, Explanation, Fits, PassedOver};

use super::answer::{NearestMiss, PolicyKind, PolicyRef, RuleRef};
use super::dialect::Dialect;
use super::eval::Engine;
use super::fit::{Scene, named};
use super::model::{Direction, NamespaceMatch, PeerMatch, Peers, Policy, PolicyPeer, PortMatch, Ports, Rule};
use super::party::Kind;
use super::tiers::Ruled;
use crate::world::labels::{NAMESPACE_NAME, Selector};
use crate::world::{Labels, ObjectName, Pod, Protocol};

pub(super) fn policy_ref(policy: &Policy) -> PolicyRef {
    PolicyRef { kind: PolicyKind::NetworkPolicy, name: policy.name.clone(), place: policy.place.clone() }
}

pub(super) fn tier_rule_ref((policy, index): Ruled<'_>, direction: Direction) -> Option<RuleRef> {
    let place = policy.rules(direction).get(index)?.place.clone();
    let name = ObjectName::new("", &policy.name);
    let policy = PolicyRef { kind: policy.kind, name, place: policy.place.clone() };
    Some(RuleRef { policy, direction, index, place })
}

pub(super) fn rule_ref(policy: &Policy, direction: Direction, index: usize) -> Option<RuleRef> {
    let place = policy.rules(direction)?.get(index)?.place.clone();
    Some(RuleRef { policy: policy_ref(policy), direction, index, place })
}

/// How far a rule is from admitting. A fitting peer on the wrong port is nearer than the wrong peer on the right port.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Distance {
    peer: usize,
    port: usize,
}

/// A peer that no label change would make fit counts as this many unmet labels.
const OF_ANOTHER_KIND: usize = 100;

pub(super) fn nearest<'w>(
    engine: &Engine<'w>,
    scene: &Scene<'_, 'w>,
    port: u16,
    protocol: Protocol,
) -> Option<NearestMiss> {
    let pod = scene.own.pod()?;
    let rules = engine
        .isolating(pod, scene.direction)
        .flat_map(|(policy, rules)| rules.iter().enumerate().map(move |(index, rule)| (policy, index, rule)));
    let scored = rules.map(|(policy, index, rule)| {
        let (peer, peer_why) = peer_miss(engine, rule, policy, scene);
        let port_why = port_miss(rule, scene, port, protocol);
        let distance = Distance { peer, port: usize::from(port_why.is_some()) };
        (distance, policy, index, peer_why, port_why)
    });
    let (_, policy, index, peer_why, port_why) = scored.min_by(|a, b| a.0.cmp(&b.0))?;
    let why: Vec<String> = peer_why.into_iter().chain(port_why).collect();
    Some(NearestMiss { rule: rule_ref(policy, scene.direction, index)?, why: why.join(", and ") })
}

/// How many facts keep the other end from being a peer of the rule, and which; 0 and nothing when it is one.
fn peer_miss<'w>(
    engine: &Engine<'w>,
    rule: &'w Rule,
    policy: &'w Policy,
    scene: &Scene<'_, 'w>,
) -> (usize, Option<String>) {
    let Peers::Listed(peers) = &rule.peers else { return (0, None) };
    if peers.iter().any(|peer| engine.peer_fits(peer, policy, scene).is_yes()) {
        return (0, None);
    }
    let misses = peers.iter().map(|peer| one_peer_miss(engine, peer, policy, scene));
    misses.min_by_key(|(count, _)| *count).map_or((0, None), |(count, why)| (count, Some(why)))
}

fn one_peer_miss<'w>(
    engine: &Engine<'w>,
    peer: &'w PolicyPeer,
    policy: &'w Policy,
    scene: &Scene<'_, 'w>,
) -> (usize, String) {
    match (&peer.matches, scene.peer.kind) {
        (PeerMatch::Pods { namespaces, pods }, Kind::Pod(_, pod)) => {
            let mut unmet = namespace_miss(engine, namespaces, policy, pod);
            unmet.extend(pods.unmet(&pod.labels).into_iter().map(|miss| format!("pod {} {miss}", pod.name)));
            (unmet.len().max(1), unmet.join(", "))
        }
        (PeerMatch::Pods { .. }, Kind::Host(..)) => {
            (OF_ANOTHER_KIND, format!("{} is in its node's network, where selectors do not reach it", scene.peer))
        }
        (PeerMatch::Pods { .. }, Kind::Outside) => {
            (OF_ANOTHER_KIND, format!("it selects pods, and {} is no known pod's address", scene.peer))
        }
        (PeerMatch::Block { .. }, Kind::Pod(..) | Kind::Host(..)) if engine.dialect() == Dialect::Cilium => (
            OF_ANOTHER_KIND,
            format!("it names addresses, which for Cilium are never a pod's or a node's, as {} is", scene.peer),
        ),
        (PeerMatch::Block { net, except }, _) => {
            let address = scene.peer.in_family(scene.family).next();
            let why = match address {
                None => format!("{} has no {} address that could be in {net}", scene.peer, scene.family),
                Some(address) => match except.iter().find(|except| except.contains(&address)) {
                    Some(except) => format!("{address} is in {except}, which is excepted from {net}"),
                    None => format!("{address} is not in {net}"),
                },
            };
            // For a pod, a selector is the nearer way to be admitted.
            (if scene.peer.pod().is_some() { OF_ANOTHER_KIND } else { 1 }, why)
        }
    }
}

fn namespace_miss(engine: &Engine<'_>, namespaces: &NamespaceMatch, policy: &Policy, pod: &Pod) -> Vec<String> {
    let name = &pod.name.namespace;
    match namespaces {
        NamespaceMatch::Own if *name == policy.name.namespace => Vec::new(),
        NamespaceMatch::Own => {
            vec![format!("it selects pods of namespace {} only, and {} is in {name}", policy.name.namespace, pod.name)]
        }
        NamespaceMatch::Selected(selector) => unmet_of_namespace(engine.namespace_labels(name), selector, name),
    }
}

fn unmet_of_namespace(labels: Option<&Labels>, selector: &Selector, name: &str) -> Vec<String> {
    let mut labels = labels.cloned().unwrap_or_default();
    labels.insert(NAMESPACE_NAME.to_owned(), name.to_owned());
    selector.unmet(&labels).into_iter().map(|miss| format!("namespace {name} {miss}")).collect()
}

/// What keeps a port from being among those of the rule, if something does.
fn port_miss(rule: &Rule, scene: &Scene<'_, '_>, port: u16, protocol: Protocol) -> Option<String> {
    let Ports::Listed(items) = &rule.ports else { return None };
    let of_protocol: Vec<&PortMatch> =
        items.iter().filter(|item| item.protocol == protocol).map(|item| &item.ports).collect();
    if of_protocol.is_empty() {
        let mut others: Vec<&str> = items.iter().map(|item| item.protocol.as_str()).collect();
        others.sort_unstable();
        others.dedup();
        return Some(format!("it allows {} only", others.join(" and ")));
    }
    let fits = of_protocol.iter().any(|ports| match ports {
        PortMatch::All => true,
        PortMatch::Range(from, to) => (*from..=*to).contains(&port),
        PortMatch::Named(name) => named(scene, name, protocol).any(|number| number == port),
    });
    let texts: Vec<String> = of_protocol.iter().map(|ports| port_text(ports, scene, protocol)).collect();
    (!fits).then(|| format!("it allows {protocol} {} only, and the connection goes to {port}", texts.join(", ")))
}

fn port_text(ports: &PortMatch, scene: &Scene<'_, '_>, protocol: Protocol) -> String {
    match ports {
        PortMatch::All => "all ports".to_owned(),
        PortMatch::Range(from, to) if from == to => from.to_string(),
        PortMatch::Range(from, to) => format!("{from}-{to}"),
        PortMatch::Named(name) => {
            let numbers: Vec<String> = named(scene, name, protocol).map(|number| number.to_string()).collect();
            match (numbers.is_empty(), scene.destination().pod()) {
                (false, _) => format!("`{name}` ({} there)", numbers.join(", ")),
                (true, Some(_)) => format!("`{name}` (no {protocol} port of that name there)"),
                (true, None) => format!("`{name}` (a name, which no address has)"),
            }
        }
    }
}
