//! Mistakes that have a name of their own: more useful to read than "denied".
//!
//! Those of an edge's policies explain a denial; [`all`] looks at every policy.

mod dead;
mod ports;
mod redundant;
mod shapes;
mod witness;

use std::collections::BTreeSet;

use super::view::View;
use super::wider::rule_ports;
use crate::finding::{Code, Finding, Severity};
use crate::judge::Declared;
use crate::matrix::{Exchange, Peer, PeerKind, ResolvedEdge};
use crate::policy::{
    Answer, Direction, End, NamespaceMatch, PeerMatch, Peers, Policy, PolicyPeer, PortMatch, Ports, Rule,
};
use crate::source::Place;
use crate::world::labels::{NAMESPACE_NAME, Selector};
use crate::world::{Phase, Pod, PodId};

pub(super) use self::shapes::selector_for_address;

/// What is wrong with the policies themselves, as far as `found` does not blame the same rule or peer already: one mistake is told once, by its most telling name.
pub(super) fn all(view: &View<'_>, found: &[Finding]) -> Vec<Finding> {
    let blamed: BTreeSet<&Place> = found.iter().filter_map(|finding| finding.place.as_ref()).collect();
    let mut lints = dead::rules(view);
    lints.extend(shapes::shapes(view));
    lints.extend(ports::ports(view));
    let rules = view.policies.policies.iter().flat_map(witness::rules);
    let mut wrong_rules: BTreeSet<Place> = BTreeSet::new();
    for rule in rules {
        let places = places(rule);
        if places.iter().any(|place| blamed.contains(place)) {
            wrong_rules.extend(places.into_iter().cloned());
        }
    }
    lints.extend(redundant::redundant(view, &wrong_rules));
    // An error or warning about a rule says enough; a note beside it would only repeat it.
    lints.retain(|lint| {
        lint.code.severity() > Severity::Note || lint.place.as_ref().is_none_or(|place| !wrong_rules.contains(place))
    });
    lints.extend(dead::policies(view));
    lints
}

/// Every place in a rule at which a finding may point.
fn places(rule: &Rule) -> Vec<&Place> {
    let peers = match &rule.peers {
        Peers::Any => &[],
        Peers::Listed(peers) => peers.as_slice(),
    };
    let ports = match &rule.ports {
        Ports::All => &[],
        Ports::Listed(ports) => ports.as_slice(),
    };
    let inner = peers.iter().map(|peer| &peer.place).chain(ports.iter().map(|port| &port.place));
    std::iter::once(&rule.place).chain(inner).collect()
}

/// The policies that select a pod at one end of an edge.
fn relevant<'v>(view: &View<'v>) -> Vec<&'v Policy> {
    let edges = view.intended.edges.iter();
    let ends = edges.flat_map(|edge| edge.from.iter().chain(&edge.to)).flat_map(known_pods);
    let pods: BTreeSet<PodId> = ends.chain(&view.subject.pods).copied().collect();
    let selects = |policy: &&Policy| pods.iter().any(|id| policy.selects(view.world.pod(*id)));
    view.policies.policies.iter().filter(selects).collect()
}

/// A rule at one end that names the Service port of the right peer instead of its pod port.
pub(super) fn service_port(view: &View<'_>, edge: &ResolvedEdge, direction: Direction) -> Option<Finding> {
    for target in &edge.to {
        let (Some((service, port)), PeerKind::Pods { pods: targets, .. }) = (&target.service, &target.kind) else {
            continue;
        };
        if target.ports.contains(port) || target.ports.is_empty() {
            continue;
        }
        let sources = edge.from.iter().flat_map(known_pods).copied();
        let (own, others): (Vec<PodId>, Vec<PodId>) = match direction {
            Direction::Egress => (sources.collect(), targets.clone()),
            Direction::Ingress => (targets.clone(), sources.collect()),
        };
        for pod in own.iter().map(|id| view.world.pod(*id)) {
            for policy in view.policies_of(pod) {
                let rules = policy.rules(direction).unwrap_or_default();
                for (index, rule) in rules.iter().enumerate() {
                    let right_peer = others.iter().any(|other| matches_pod(view, policy, rule, view.world.pod(*other)));
                    let Some(place) = names_port(rule, edge, *port).filter(|_| right_peer) else { continue };
                    if target.ports.iter().any(|own| rule_ports(rule, None).contains(edge.edge.protocol, *own)) {
                        continue;
                    }
                    let ports: Vec<String> = target.ports.iter().map(ToString::to_string).collect();
                    let ports = ports.join(", ");
                    let message = format!(
                        "{direction}[{index}] names port {port}, the Service port of {service}; policies see the pod port {ports}, so `{}` is denied",
                        edge.edge.name
                    );
                    let fix = format!("write `port: {ports}` instead of `port: {port}`");
                    let object = format!("NetworkPolicy/{}", policy.name);
                    return Some(
                        Finding::new(Code::ServicePortUsed, object, message, fix).at(place).on(&edge.edge.name),
                    );
                }
            }
        }
    }
    None
}

fn known_pods(peer: &Peer) -> &[PodId] {
    match &peer.kind {
        PeerKind::Pods { pods, .. } => pods,
        PeerKind::AnyPod | PeerKind::Blocks { .. } | PeerKind::Unresolved => &[],
    }
}

/// Where a rule names exactly this port.
fn names_port(rule: &Rule, edge: &ResolvedEdge, port: u16) -> Option<Place> {
    let Ports::Listed(ports) = &rule.ports else { return None };
    let named = ports.iter().find(|p| p.protocol == edge.edge.protocol && p.ports == PortMatch::Range(port, port));
    named.map(|port| port.place.clone())
}

fn matches_pod(view: &View<'_>, policy: &Policy, rule: &Rule, pod: &Pod) -> bool {
    let Peers::Listed(peers) = &rule.peers else { return true };
    peers.iter().any(|peer| match &peer.matches {
        PeerMatch::Pods { namespaces, pods } => {
            view.selects_namespace(policy, namespaces, &pod.name.namespace) && pods.matches(&pod.labels)
        }
        PeerMatch::Block { net, except } => pod
            .addresses
            .iter()
            .any(|address| net.contains(address) && !except.iter().any(|hole| hole.contains(address))),
    })
}

/// DNS over TCP denied where the same rule admits UDP: `denied` is the answer for TCP.
pub(super) fn dns_without_tcp(view: &View<'_>, edge: &ResolvedEdge, denied: &Answer) -> Option<Finding> {
    if edge.edge.exchange != Exchange::DnsTcp {
        return None;
    }
    let udp = view.allowed().find(|other| other.edge.exchange == Exchange::DnsUdp)?;
    let sources = udp.from.iter().flat_map(known_pods);
    let mut answers = sources.flat_map(|from| {
        let targets = udp.to.iter().flat_map(|peer| known_pods(peer).iter().map(move |to| (*to, &peer.ports)));
        targets.flat_map(move |(to, ports)| ports.iter().map(move |port| (*from, to, *port)))
    });
    let rule = answers.find_map(|(from, to, port)| {
        let answer = view.engine.verdict(End::Pod(from), End::Pod(to), port, udp.edge.protocol);
        let side = answer.egress;
        (side.declared == Declared::Allowed).then_some(side.decided_by).flatten()
    })?;
    let port = denied.port;
    let message = format!(
        "egress[{}] admits DNS over UDP and not over TCP: answers that do not fit into a datagram are lost",
        rule.index
    );
    let fix = format!("add `{{protocol: TCP, port: {port}}}` to the ports of this rule");
    let object = rule.policy.object();
    Some(Finding::new(Code::DnsWithoutTcp, object, message, fix).at(rule.place).on(&edge.edge.name))
}

/// Selectors of the subject's policies that hit nothing.
pub(super) fn subject_selectors(view: &View<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for policy in view.subject_policies() {
        for direction in [Direction::Ingress, Direction::Egress] {
            for (index, rule) in policy.rules(direction).unwrap_or_default().iter().enumerate() {
                found.extend(idle_peers(view, policy, rule, &format!("{direction}[{index}]")));
            }
        }
    }
    found
}

/// Selectors in the peer's own policies that hit nothing, in rules that are about the edge's port.
pub(super) fn peer_selectors(
    view: &View<'_>,
    edge: &ResolvedEdge,
    direction: Direction,
    denied: &Answer,
) -> Vec<Finding> {
    let peers = match direction {
        Direction::Ingress => &edge.to,
        Direction::Egress => &edge.from,
    };
    let mut found = Vec::new();
    for pod in peers.iter().flat_map(known_pods).map(|id| view.world.pod(*id)) {
        for policy in view.policies_of(pod) {
            for (index, rule) in policy.rules(direction).unwrap_or_default().iter().enumerate() {
                let destination = (direction == Direction::Ingress).then_some(pod);
                if rule_ports(rule, destination).contains(denied.protocol, denied.port) {
                    let idle = idle_peers(view, policy, rule, &format!("{direction}[{index}]"));
                    found.extend(idle.into_iter().map(|finding| finding.on(&edge.edge.name)));
                }
            }
        }
    }
    found
}

fn idle_peers(view: &View<'_>, policy: &Policy, rule: &Rule, rule_name: &str) -> Vec<Finding> {
    let Peers::Listed(peers) = &rule.peers else { return Vec::new() };
    peers.iter().filter_map(|peer| idle(view, policy, peer, rule_name)).collect()
}

fn idle(view: &View<'_>, policy: &Policy, peer: &PolicyPeer, rule_name: &str) -> Option<Finding> {
    let PeerMatch::Pods { namespaces, pods } = &peer.matches else { return None };
    let within: BTreeSet<&str> = match namespaces {
        NamespaceMatch::Own => BTreeSet::from([policy.name.namespace.as_str()]),
        NamespaceMatch::Selected(_) => {
            let names = view.world.namespaces.keys().map(String::as_str);
            names.filter(|name| view.selects_namespace(policy, namespaces, name)).collect()
        }
    };
    let hit = |pod: &Pod| within.contains(pod.name.namespace.as_str()) && pods.matches(&pod.labels);
    let unseen = |name: &&str| view.world.unseen("Pod", name).is_some();
    if within.iter().any(unseen) || (within.is_empty() && view.world.unseen_anywhere("Namespace").is_some()) {
        return None;
    }
    let (message, fix) = if let (NamespaceMatch::Selected(selector), true) = (namespaces, within.is_empty()) {
        no_namespace(view, selector)
    } else if view.world.pods().any(|(_, pod)| pod.phase == Phase::Live && hit(pod)) {
        return None;
    } else {
        let place = match within.first() {
            Some(one) if within.len() == 1 => (*one).to_owned(),
            _ => format!("{} namespaces", within.len()),
        };
        let fix = "compare with the labels of the running pods (`kubectl get pods --show-labels`)";
        (format!("no known pod of {place} has the labels {pods}"), fix.to_owned())
    };
    let object = format!("NetworkPolicy/{}", policy.name);
    Some(
        Finding::new(Code::SelectorMatchesNothing, object, format!("{rule_name}: {message}"), fix)
            .at(peer.place.clone()),
    )
}

/// The guide's own chart selects namespaces by a label `name`, which nobody sets: only [`NAMESPACE_NAME`] is automatic.
fn no_namespace(view: &View<'_>, selector: &Selector) -> (String, String) {
    match selector.match_labels.get("name") {
        Some(name) => {
            let there = if view.world.namespaces.contains_key(name) { "exists, but" } else { "is not known here, and" };
            (
                format!(
                    "no namespace has the label name={name}: the namespace {name} {there} Kubernetes sets no such label by itself"
                ),
                format!("write `{NAMESPACE_NAME}: {name}` instead of `name: {name}`"),
            )
        }
        None => (
            format!("no known namespace has the labels {selector}"),
            format!("select the namespace by its automatic label `{NAMESPACE_NAME}`"),
        ),
    }
}

/// Peers that selectors do not reach.
pub(super) fn host_network(view: &View<'_>, edge: &ResolvedEdge) -> Option<Finding> {
    let mut hosted = edge.from.iter().chain(&edge.to).flat_map(known_pods).map(|id| view.world.pod(*id));
    let pod = hosted.find(|pod| pod.host_network && pod.phase == Phase::Live)?;
    let message =
        format!("{} runs in its node's network: no pod selector reaches it, and no policy applies to it", pod.name);
    let fix = "allow its node's addresses by ipBlock, or take it out of the host's network";
    Some(
        Finding::new(Code::HostNetworkPeer, format!("Pod/{}", pod.name), message, fix)
            .at(pod.place.clone())
            .on(&edge.edge.name),
    )
}

#[cfg(test)]
mod tests;
