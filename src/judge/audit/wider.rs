//! What the union of all policies admits at the subject beyond the edges: rule by rule, peer by peer, port by port.
//!
//! A peer is compared with the pods that are known, and with a stranger without labels in every namespace: a selector that today happens to hit only the right pods is not wider, one that admits anybody is.

use std::collections::BTreeSet;

use super::addresses::Addresses;
use super::view::View;
use crate::finding::{Code, Finding};
use crate::matrix::{Peer, PeerKind};
use crate::policy::{
    Direction, Effect, Intervals, NamespaceMatch, PeerMatch, Peers, Policy, PolicyPeer, PortMatch, PortSet, Ports, Rule,
};
use crate::source::Place;
use crate::world::labels::{NAMESPACE_NAME, matches_all};
use crate::world::{Labels, Pod, Protocol};

/// The findings of one direction.
pub(super) fn wider(view: &View<'_>, direction: Direction) -> Vec<Finding> {
    let needed = Needed::of(view, direction);
    let mut found: Vec<Finding> = open(view, direction).into_iter().collect();
    for policy in view.subject_policies() {
        for (index, rule) in policy.rules(direction).unwrap_or_default().iter().enumerate() {
            let check = Check { view, needed: &needed, policy, rule, index, direction };
            match &rule.peers {
                Peers::Any => found.extend(check.anyone()),
                Peers::Listed(peers) => found.extend(peers.iter().filter_map(|peer| check.peer(peer))),
            }
        }
    }
    found
}

/// The one finding when a pod of the subject is not isolated at all.
fn open(view: &View<'_>, direction: Direction) -> Option<Finding> {
    // A policy that is not known may isolate it.
    let namespace = &view.subject.namespace;
    if view.policies.unmodelled_in(namespace).any(|other| other.effect == Effect::Adds)
        || view.world.unseen("NetworkPolicy", namespace).is_some()
    {
        return None;
    }
    let open: Vec<&Pod> = view
        .subject_pods()
        .filter(|pod| !view.subject_policies().any(|policy| policy.selects(pod) && policy.rules(direction).is_some()))
        .collect();
    let first = open.first()?;
    let who = match direction {
        Direction::Ingress => "anybody may open connections to it",
        Direction::Egress => "it may open connections to anybody",
    };
    let fix = "`portreeve render` writes the policy that admits the edges and nothing else";
    let others = if open.len() > 1 { format!(" and {} more", open.len() - 1) } else { String::new() };
    let message = format!("no policy isolates {}{others} for {direction}: {who}, on every port", first.name);
    Some(Finding::new(Code::WiderThanIntended, format!("Pod/{}", first.name), message, fix).at(first.place.clone()))
}

/// What the edges need in one direction.
struct Needed<'v> {
    peers: Vec<(&'v Peer, PortSet)>,
    addresses: Vec<(Addresses, PortSet)>,
}

impl<'v> Needed<'v> {
    fn of(view: &View<'v>, direction: Direction) -> Self {
        let peers: Vec<(&Peer, PortSet)> = view
            .needs(direction)
            .map(|(peer, protocol, ports)| {
                let ports =
                    ports.iter().fold(Intervals::none(), |set, port| set.union(&Intervals::range(*port, *port)));
                (peer, PortSet::of(protocol, ports))
            })
            .collect();
        let addresses = peers
            .iter()
            .filter_map(|(peer, ports)| match &peer.kind {
                PeerKind::Blocks { nets, except, .. } => Some((Addresses::of(nets, except), ports.clone())),
                PeerKind::Pods { pods, .. } => {
                    let own = pods.iter().flat_map(|pod| view.world.pod(*pod).addresses.iter().copied());
                    Some((Addresses::single(own), ports.clone()))
                }
                PeerKind::AnyPod | PeerKind::Unresolved => None,
            })
            .collect();
        Self { peers, addresses }
    }

    /// The ports that edges need with a pod of these labels in this namespace.
    fn ports(&self, namespace: &str, labels: &Labels) -> PortSet {
        let fits = |peer: &Peer| match &peer.kind {
            PeerKind::AnyPod => true,
            PeerKind::Pods { namespace: of, selector, .. } => of == namespace && matches_all(selector, labels),
            PeerKind::Blocks { .. } | PeerKind::Unresolved => false,
        };
        let fitting = self.peers.iter().filter(|(peer, _)| fits(peer));
        fitting.fold(PortSet::none(), |all, (_, ports)| all.union(ports))
    }
}

/// One rule under the eye.
struct Check<'c> {
    view: &'c View<'c>,
    needed: &'c Needed<'c>,
    policy: &'c Policy,
    rule: &'c Rule,
    index: usize,
    direction: Direction,
}

impl Check<'_> {
    fn anyone(&self) -> Option<Finding> {
        let pods = self.ports_with(None).minus(&self.needed.ports("", &Labels::new()));
        let (_, outside) = self.addresses(&Addresses::all());
        let ports = pods.union(&outside);
        (!ports.is_empty()).then(|| self.finding(&self.rule.place, &ports, "anybody"))
    }

    fn peer(&self, peer: &PolicyPeer) -> Option<Finding> {
        match &peer.matches {
            PeerMatch::Block { net, except } => {
                let (addresses, ports) = self.addresses(&Addresses::of(&[*net], except));
                (!ports.is_empty()).then(|| self.finding(&peer.place, &ports, &addresses.describe()))
            }
            PeerMatch::Pods { namespaces, pods } => {
                let strangers =
                    if pods.matches(&Labels::new()) { self.strangers(namespaces) } else { Strangers::default() };
                let mut ports = strangers.ports;
                let mut hit: Vec<String> = Vec::new();
                for (id, pod) in self.view.plain_pods() {
                    let inside = self.selects_namespace(namespaces, &pod.name.namespace) && pods.matches(&pod.labels);
                    if inside && !self.view.is_lone_subject(id) {
                        let surplus =
                            self.ports_with(Some(pod)).minus(&self.needed.ports(&pod.name.namespace, &pod.labels));
                        if !surplus.is_empty() {
                            ports = ports.union(&surplus);
                            hit.push(pod.name.to_string());
                        }
                    }
                }
                let who = match (strangers.who, hit.as_slice()) {
                    (Some(who), _) => who,
                    (None, []) => return None,
                    (None, [one]) => one.clone(),
                    (None, [first, rest @ ..]) => format!("{} pods, for example {first}", rest.len() + 1),
                };
                Some(self.finding(&peer.place, &ports, &who))
            }
        }
    }

    /// Pods without labels that a peer admits.
    fn strangers(&self, namespaces: &NamespaceMatch) -> Strangers {
        let mut found = Strangers::default();
        let mut names: BTreeSet<&str> = self.view.world.namespaces.keys().map(String::as_str).collect();
        names.insert(&self.policy.name.namespace);
        names.retain(|name| self.selects_namespace(namespaces, name));
        // A namespace that is not there yet has its automatic label and nothing else.
        let future = match namespaces {
            NamespaceMatch::Own => false,
            NamespaceMatch::Selected(selector) => {
                selector.matches(&Labels::from([(NAMESPACE_NAME.into(), "?".into())]))
            }
        };
        let ports = self.ports_with(None);
        let open: Vec<&str> = names
            .into_iter()
            .filter(|name| {
                let surplus = ports.minus(&self.needed.ports(name, &Labels::new()));
                found.ports = found.ports.union(&surplus);
                !surplus.is_empty()
            })
            .collect();
        let surplus = if future { ports.minus(&self.needed.ports("?", &Labels::new())) } else { PortSet::none() };
        found.who = match &open[..] {
            _ if !surplus.is_empty() => Some("any pod of any namespace".to_owned()),
            [] => None,
            [one] => Some(format!("any pod of {one}")),
            [first, rest @ ..] => Some(format!("any pod of {} namespaces, for example {first}", rest.len() + 1)),
        };
        found.ports = found.ports.union(&surplus);
        found
    }

    fn selects_namespace(&self, namespaces: &NamespaceMatch, name: &str) -> bool {
        self.view.selects_namespace(self.policy, namespaces, name)
    }

    /// The addresses, and the ports with any of them, that no edge needs.
    fn addresses(&self, all: &Addresses) -> (Addresses, PortSet) {
        let ports = self.ports_with(None);
        let needed = self.needed.addresses.iter().fold(PortSet::none(), |all, (_, ports)| all.union(ports));
        let mut surplus = ports.minus(&needed);
        let mut addresses = if surplus.is_empty() { Addresses::default() } else { all.clone() };
        for protocol in Protocol::ALL {
            // Edges name single ports, so this is short.
            for port in needed.intersect(&ports).get(protocol).iter().flat_map(|(from, to)| from..=to) {
                let covering = self.needed.addresses.iter().filter(|(_, ports)| ports.contains(protocol, port));
                let left = covering.fold(all.clone(), |left, (covered, _)| left.minus(covered));
                if !left.is_empty() {
                    surplus = surplus.union(&PortSet::of(protocol, Intervals::range(port, port)));
                    addresses = addresses.union(&left);
                }
            }
        }
        (addresses, surplus)
    }

    /// The ports of the rule when the other end is this pod (`None`: one without named ports).
    fn ports_with(&self, other: Option<&Pod>) -> PortSet {
        match self.direction {
            Direction::Egress => rule_ports(self.rule, other),
            // The destination is the subject itself.
            Direction::Ingress => {
                let own = self.view.subject_pods().filter(|pod| self.policy.selects(pod));
                own.fold(rule_ports(self.rule, None), |all, pod| all.union(&rule_ports(self.rule, Some(pod))))
            }
        }
    }

    fn finding(&self, place: &Place, ports: &PortSet, who: &str) -> Finding {
        let (direction, word) = match self.direction {
            Direction::Ingress => ("ingress", "from"),
            Direction::Egress => ("egress", "to"),
        };
        let owner = self.policy.owner().map(|owner| format!(" (it belongs to {owner})")).unwrap_or_default();
        let message = format!("{direction}[{}] admits {ports} {word} {who}, which no edge needs{owner}", self.index);
        let fix = format!(
            "narrow this rule to the edges, or accept it: annotation `portreeve.io/accept: {}=<reason>,until=<date>`",
            Code::WiderThanIntended.code()
        );
        Finding::new(Code::WiderThanIntended, format!("NetworkPolicy/{}", self.policy.name), message, fix)
            .at(place.clone())
    }
}

/// Pods that nobody named.
#[derive(Default)]
struct Strangers {
    who: Option<String>,
    ports: PortSet,
}

/// The ports of a rule at a destination; a named port is none where the destination is no known pod.
pub(super) fn rule_ports(rule: &Rule, destination: Option<&Pod>) -> PortSet {
    let Ports::Listed(ports) = &rule.ports else {
        return PortSet::all();
    };
    ports.iter().fold(PortSet::none(), |all, port| {
        let numbers = match &port.ports {
            PortMatch::All => Intervals::all(),
            PortMatch::Range(from, to) => Intervals::range(*from, *to),
            PortMatch::Named(name) => destination
                .into_iter()
                .flat_map(|pod| &pod.ports)
                .filter(|own| own.protocol == port.protocol && own.name.as_deref() == Some(name))
                .fold(Intervals::none(), |set, own| set.union(&Intervals::range(own.number, own.number))),
        };
        all.union(&PortSet::of(port.protocol, numbers))
    })
}
