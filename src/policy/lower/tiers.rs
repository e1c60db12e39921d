//! ClusterNetworkPolicy, AdminNetworkPolicy and BaselineAdminNetworkPolicy → [`TierPolicy`]s.
//!
//! Source: the types and their CRD validation in kubernetes-sigs/network-policy-api, `apis/v1alpha2` and `apis/v1alpha1`. What the CRD refuses
//! is left out. What the API's text leaves open makes the whole policy one that is not evaluated: it is never guessed at.

mod ports;

use super::{Lowering, child, first_opaque, item};
use crate::finding::{Code, Finding};
use crate::policy::answer::PolicyKind;
use crate::policy::raw::{self, tiers as raw_tiers};
use crate::policy::tiers::{Action, Tier, TierPeer, TierPeers, TierPods, TierPolicy, TierPort, TierRule};
use crate::policy::unmodelled::{Effect, Unmodelled};
use crate::policy::{Direction, PolicyBuilder, cidr};
use crate::source::Node;
use crate::world::labels::{self, Selector};
use crate::world::{Object, Scope};

const GROUP: &str = "policy.networking.k8s.io";

/// The kind of a cluster-wide policy in the API version that we know.
pub(super) fn kind_of(object: &Object) -> Option<PolicyKind> {
    let version = object.api_version.strip_prefix(GROUP)?;
    match (version, object.kind.as_str()) {
        ("/v1alpha2", "ClusterNetworkPolicy") => Some(PolicyKind::ClusterNetworkPolicy),
        ("/v1alpha1", "AdminNetworkPolicy") => Some(PolicyKind::AdminNetworkPolicy),
        ("/v1alpha1", "BaselineAdminNetworkPolicy") => Some(PolicyKind::BaselineAdminNetworkPolicy),
        _ => None,
    }
}

impl PolicyBuilder {
    pub(super) fn add_tier_policy(&mut self, object: &Object, kind: PolicyKind) {
        let root = &object.document.root;
        let parts = ["/metadata/name", "/spec"].iter().filter_map(|path| root.at_path(path));
        if let Some((node, why)) = parts.clone().find_map(first_opaque) {
            let message = format!("a part of this policy is {why}: what it accepts and denies is unknown");
            let fix = "give the file as it will be applied";
            let place = object.document.place(node);
            self.findings.push(Finding::new(Code::ValueUnknown, object.label(), message, fix).at(place));
            return self.not_evaluated(object, kind, "has parts that are not in the file");
        }
        let mut lowering = Lowering { object, findings: Vec::new(), refused: false };
        let mut open = None;
        let policy = lowering.tier_policy(kind, &mut open);
        self.findings.append(&mut lowering.findings);
        let Some(policy) = policy else { return };
        if let Some(Open { place, why }) = open {
            let message = format!("this policy {why}: verdicts that it can change are unknown");
            let fix = "write it so that every version of the API reads it in one way";
            self.findings.push(Finding::new(Code::KindNotModelled, object.label(), message, fix).at(place));
            return self.not_evaluated(object, kind, why);
        }
        if let Some(earlier) = self.tiers.iter().position(|other| other.kind == kind && other.name == policy.name)
            && !policy.name.ends_with('*')
        {
            let earlier = self.tiers.remove(earlier);
            let message = format!(
                "{} stands here and again at {}: the later one was taken, as `kubectl apply` does",
                earlier.object(),
                policy.place
            );
            let fix = "keep one of the two, or give them different names";
            self.findings.push(Finding::new(Code::NotCovered, object.label(), message, fix).at(earlier.place));
        }
        self.tiers.push(policy);
    }

    fn not_evaluated(&mut self, object: &Object, kind: PolicyKind, why: &'static str) {
        let tier = object.document.root.at_path("/spec/tier").and_then(Node::text);
        let baseline = kind == PolicyKind::BaselineAdminNetworkPolicy
            || (kind == PolicyKind::ClusterNetworkPolicy && tier == Some(Tier::Baseline.as_str()));
        self.unmodelled.push(Unmodelled {
            object: object.label(),
            place: object.place(),
            scope: Scope::Cluster,
            effect: if baseline { Effect::Baseline } else { Effect::Overrides },
            only: None,
            why,
        });
    }

    /// "If two (or more) policies in the same tier with the same priority could match a connection, then the implementation can apply any".
    pub(super) fn warn_of_equal_priorities(&mut self) {
        for (index, policy) in self.tiers.iter().enumerate() {
            let mut earlier = self.tiers.iter().take(index);
            let Some(other) = earlier.find(|other| policy.is_tied_with(other) && share_a_direction(policy, other))
            else {
                continue;
            };
            let message = format!(
                "it has the priority of {} ({}) in the {} tier: where both match and differ, the verdict is unknown",
                other.object(),
                other.place,
                policy.tier.as_str()
            );
            let fix = "give each policy of a tier its own priority";
            let finding = Finding::new(Code::EqualPriority, policy.object(), message, fix);
            self.findings.push(finding.at(policy.place.clone()));
        }
    }
}

fn share_a_direction(a: &TierPolicy, b: &TierPolicy) -> bool {
    [Direction::Ingress, Direction::Egress].iter().any(|d| !a.rules(*d).is_empty() && !b.rules(*d).is_empty())
}

/// Something that the API's text leaves open, as the rest of "the policy ...".
#[derive(Debug)]
struct Open {
    place: crate::source::Place,
    why: &'static str,
}

/// The limits of an API version on lists.
fn at_most(kind: PolicyKind) -> usize {
    if kind == PolicyKind::ClusterNetworkPolicy { 25 } else { 100 }
}

/// A rule of either version.
struct RawRule {
    name: Option<String>,
    action: Option<String>,
    peers: Option<Vec<raw_tiers::Peer>>,
    ports: Option<RawPorts>,
}

enum RawPorts {
    Protocols(Vec<raw_tiers::ByProtocol>),
    Ports(Vec<raw_tiers::AdminPort>),
}

/// A spec of any of the kinds.
struct RawSpec {
    tier: Option<Tier>,
    priority: Option<i64>,
    subject: Option<raw_tiers::Subject>,
    ingress: Vec<RawRule>,
    egress: Vec<RawRule>,
}

fn cluster_rule(rule: raw_tiers::ClusterRule, direction: Direction) -> RawRule {
    let raw_tiers::ClusterRule { name, action, from, to, protocols } = rule;
    let peers = if direction == Direction::Ingress { from } else { to };
    RawRule { name, action, peers, ports: protocols.map(RawPorts::Protocols) }
}

fn admin_rule(rule: raw_tiers::AdminRule, direction: Direction) -> RawRule {
    let raw_tiers::AdminRule { name, action, from, to, ports } = rule;
    let peers = if direction == Direction::Ingress { from } else { to };
    RawRule { name, action, peers, ports: ports.map(RawPorts::Ports) }
}

fn each<T>(rules: Option<Vec<T>>, direction: Direction, lower: fn(T, Direction) -> RawRule) -> Vec<RawRule> {
    rules.unwrap_or_default().into_iter().map(|rule| lower(rule, direction)).collect()
}

/// Keys of a mapping that are set: `null` is absent.
fn set_keys(node: &Node) -> impl Iterator<Item = &str> {
    node.entries().iter().filter(|(_, node)| node.value != crate::source::Value::Null).map(|(key, _)| &*key.text)
}

impl Lowering<'_> {
    fn tier_policy(&mut self, kind: PolicyKind, open: &mut Option<Open>) -> Option<TierPolicy> {
        let object = self.object;
        let root = &object.document.root;
        let at_name = root.at_path("/metadata/name").unwrap_or(root);
        if !object.name.ends_with('*') && !labels::is_dns_subdomain(&object.name) {
            self.refuse(at_name, "the name is no lower-case DNS name", "use lower-case letters, digits, `-` and `.`");
        }
        if kind == PolicyKind::BaselineAdminNetworkPolicy && object.name != "default" {
            self.refuse(at_name, "a BaselineAdminNetworkPolicy has another name than `default`", "name it `default`");
        }
        let spec = child(root, "spec");
        let raw = self.tier_spec(kind, spec)?;
        let priority = (kind != PolicyKind::BaselineAdminNetworkPolicy).then(|| self.priority(raw.priority, spec));
        let subject = self.subject(raw.subject, kind, child(spec, "subject"), open);
        let ingress = self.tier_rules(raw.ingress, Direction::Ingress, kind, child(spec, "ingress"), open);
        let egress = self.tier_rules(raw.egress, Direction::Egress, kind, child(spec, "egress"), open);
        let (tier, subject) = (raw.tier?, subject?);
        (!self.refused).then(|| TierPolicy {
            kind,
            name: object.name.clone(),
            place: object.place(),
            tier,
            priority,
            subject,
            ingress,
            egress,
        })
    }

    fn tier_spec(&mut self, kind: PolicyKind, spec: &Node) -> Option<RawSpec> {
        let (ingress, egress) = (Direction::Ingress, Direction::Egress);
        match kind {
            PolicyKind::NetworkPolicy => None,
            PolicyKind::ClusterNetworkPolicy => {
                let raw: raw_tiers::ClusterSpec = self.read(spec)?;
                let tier = match raw.tier.as_deref() {
                    Some("Admin") => Some(Tier::Admin),
                    Some("Baseline") => Some(Tier::Baseline),
                    _ => {
                        self.refuse(child(spec, "tier"), "the tier is none of Admin, Baseline", "write one of the two");
                        None
                    }
                };
                Some(RawSpec {
                    tier,
                    priority: raw.priority,
                    subject: raw.subject,
                    ingress: each(raw.ingress, ingress, cluster_rule),
                    egress: each(raw.egress, egress, cluster_rule),
                })
            }
            PolicyKind::AdminNetworkPolicy => {
                let raw: raw_tiers::AdminSpec = self.read(spec)?;
                Some(RawSpec {
                    tier: Some(Tier::Admin),
                    priority: raw.priority,
                    subject: raw.subject,
                    ingress: each(raw.ingress, ingress, admin_rule),
                    egress: each(raw.egress, egress, admin_rule),
                })
            }
            PolicyKind::BaselineAdminNetworkPolicy => {
                let raw: raw_tiers::BaselineSpec = self.read(spec)?;
                Some(RawSpec {
                    tier: Some(Tier::Baseline),
                    priority: None,
                    subject: raw.subject,
                    ingress: each(raw.ingress, ingress, admin_rule),
                    egress: each(raw.egress, egress, admin_rule),
                })
            }
        }
    }

    fn priority(&mut self, raw: Option<i64>, spec: &Node) -> u16 {
        let priority = raw.and_then(|raw| u16::try_from(raw).ok()).filter(|priority| *priority <= 1000);
        if priority.is_none() {
            self.refuse(child(spec, "priority"), "the priority is no number from 0 to 1000", "write one");
        }
        priority.unwrap_or_default()
    }

    fn open(&self, open: &mut Option<Open>, node: &Node, why: &'static str) {
        let place = self.place(node);
        open.get_or_insert(Open { place, why });
    }

    fn subject(
        &mut self,
        raw: Option<raw_tiers::Subject>,
        kind: PolicyKind,
        node: &Node,
        open: &mut Option<Open>,
    ) -> Option<TierPods> {
        let fix = "write either `namespaces` or `pods`";
        let Some(raw) = raw else {
            self.refuse(node, "there is no subject", fix);
            return None;
        };
        if set_keys(node).any(|key| !["namespaces", "pods"].contains(&key)) {
            self.open(open, node, "has a subject with a field that this version of the API does not know");
            return Some(TierPods { namespaces: Selector::default(), pods: Selector::default() });
        }
        match (raw.namespaces, raw.pods) {
            (Some(namespaces), None) => Some(self.all_pods(namespaces, child(node, "namespaces"))),
            (None, Some(pods)) => self.namespaced_pod(pods, kind, child(node, "pods")),
            _ => {
                self.refuse(node, "the subject has not exactly one of `namespaces` and `pods`", fix);
                None
            }
        }
    }

    fn all_pods(&mut self, namespaces: raw::Selector, node: &Node) -> TierPods {
        TierPods { namespaces: self.selector(namespaces, node), pods: Selector::default() }
    }

    fn namespaced_pod(&mut self, raw: raw_tiers::NamespacedPod, kind: PolicyKind, node: &Node) -> Option<TierPods> {
        let raw_tiers::NamespacedPod { namespace_selector, pod_selector } = raw;
        // v1alpha2 alone marks the namespaceSelector as optional.
        let needs_namespaces = kind != PolicyKind::ClusterNetworkPolicy && namespace_selector.is_none();
        if pod_selector.is_none() || needs_namespaces {
            let fix = "add the selector; `{}` selects everything";
            self.refuse(node, "`pods` lacks a selector that it needs", fix);
            return None;
        }
        Some(TierPods {
            namespaces: self.selector(namespace_selector.unwrap_or_default(), child(node, "namespaceSelector")),
            pods: self.selector(pod_selector.unwrap_or_default(), child(node, "podSelector")),
        })
    }

    fn tier_rules(
        &mut self,
        raw: Vec<RawRule>,
        direction: Direction,
        kind: PolicyKind,
        node: &Node,
        open: &mut Option<Open>,
    ) -> Vec<TierRule> {
        if raw.len() > at_most(kind) {
            self.too_many(node, "rules");
        }
        let rules = raw.into_iter().enumerate();
        rules.filter_map(|(index, rule)| self.tier_rule(rule, direction, kind, item(node, index), open)).collect()
    }

    fn too_many(&mut self, node: &Node, what: &str) {
        self.refuse(node, format_args!("there are more {what} than the API takes"), "split the policy");
    }

    fn tier_rule(
        &mut self,
        raw: RawRule,
        direction: Direction,
        kind: PolicyKind,
        node: &Node,
        open: &mut Option<Open>,
    ) -> Option<TierRule> {
        if raw.name.is_some_and(|name| name.chars().count() > 100) {
            self.refuse(child(node, "name"), "the name of a rule is longer than 100 characters", "shorten it");
        }
        let action = self.action(raw.action.as_deref(), kind, node);
        let key = if direction == Direction::Ingress { "from" } else { "to" };
        let raw_peers = raw.peers.unwrap_or_default();
        let peers_node = child(node, key);
        if raw_peers.is_empty() {
            let fix = "name a peer; `namespaces: {}` means all pods";
            self.refuse(peers_node, format_args!("a rule has no `{key}`"), fix);
        } else if raw_peers.len() > at_most(kind) {
            self.too_many(peers_node, "peers");
        }
        let by_address =
            raw_peers.iter().any(|p| p.networks.is_some() || p.nodes.is_some() || p.domain_names.is_some());
        let peers: Vec<Option<TierPeer>> = raw_peers
            .into_iter()
            .enumerate()
            .map(|(index, peer)| self.tier_peer(peer, direction, kind, item(peers_node, index), open))
            .collect();
        let ports = raw.ports.map(|ports| match ports {
            RawPorts::Protocols(items) => self.protocols(items, child(node, "protocols"), open),
            RawPorts::Ports(items) => self.admin_ports(items, child(node, "ports"), open),
        });
        let named = ports.iter().flatten().any(|port| matches!(port, TierPort::Named(_)));
        if direction == Direction::Egress && by_address && named {
            let fix = "give the number of the port, or make two rules";
            self.refuse(node, "a rule names a port by name beside peers that are no pods", fix);
        }
        let peers: Option<Vec<TierPeer>> = peers.into_iter().collect();
        if action != Some(Action::Accept) && peers.iter().flatten().any(|peer| matches!(peer, TierPeer::DomainNames)) {
            self.open(open, node, "has `domainNames` in a rule that does not accept, which is not supported");
        }
        Some(TierRule {
            place: self.place(node),
            action: action?,
            peers: peers.map_or(TierPeers::FailClosed, TierPeers::Listed),
            ports,
        })
    }

    fn action(&mut self, raw: Option<&str>, kind: PolicyKind, node: &Node) -> Option<Action> {
        let accept = if kind == PolicyKind::ClusterNetworkPolicy { "Accept" } else { "Allow" };
        let may_pass = kind != PolicyKind::BaselineAdminNetworkPolicy;
        match raw {
            Some(word) if word == accept => Some(Action::Accept),
            Some("Deny") => Some(Action::Deny),
            Some("Pass") if may_pass => Some(Action::Pass),
            _ => {
                let pass = if may_pass { ", Pass" } else { "" };
                let message = format!("the action of a rule is none of {accept}, Deny{pass}");
                self.refuse(child(node, "action"), message, "write one of them");
                None
            }
        }
    }

    /// `None` for a peer that must fail closed.
    fn tier_peer(
        &mut self,
        raw: raw_tiers::Peer,
        direction: Direction,
        kind: PolicyKind,
        node: &Node,
        open: &mut Option<Open>,
    ) -> Option<TierPeer> {
        let known: &[&str] = match direction {
            Direction::Ingress => &["namespaces", "pods"],
            Direction::Egress => &["namespaces", "pods", "nodes", "networks", "domainNames"],
        };
        let (of_version, others): (Vec<&str>, Vec<&str>) = set_keys(node).partition(|key| known.contains(key));
        match (of_version.len(), others.len()) {
            (1, 0) => {}
            (0, 0) => self.refuse(node, "a peer names nobody", "name pods, namespaces, nodes or networks"),
            (0, 1) => {
                self.fails_closed(node, others.first().copied().unwrap_or_default());
                return None;
            }
            (0 | 1, _) => {
                self.open(
                    open,
                    node,
                    "has a peer with a field that this version of the API does not know beside others",
                );
            }
            _ => self.refuse(node, "a peer has more than one field", "make them items of the list"),
        }
        // A refused or open policy is not evaluated: what stands for its peer does not matter.
        let nobody = TierPeer::Networks(Vec::new());
        let raw_tiers::Peer { namespaces, pods, nodes, networks, domain_names } = raw;
        if let Some(namespaces) = namespaces {
            return Some(TierPeer::Pods(self.all_pods(namespaces, child(node, "namespaces"))));
        }
        if let Some(pods) = pods {
            let pods = self.namespaced_pod(pods, kind, child(node, "pods"));
            return Some(pods.map_or(nobody, TierPeer::Pods));
        }
        if let Some(nodes) = nodes {
            return Some(TierPeer::Nodes(self.selector(nodes, child(node, "nodes"))));
        }
        if let Some(networks) = networks {
            return Some(self.networks(networks, child(node, "networks")));
        }
        if let Some(names) = domain_names {
            let node = child(node, "domainNames");
            if names.is_empty() || names.len() > 25 {
                self.refuse(node, "domainNames has not 1 to 25 items", "leave the peer out, or split it");
            }
            return Some(TierPeer::DomainNames);
        }
        Some(nobody)
    }

    fn fails_closed(&mut self, node: &Node, key: &str) {
        let message = format!(
            "a peer has only `{key}`, which no such peer has: its rule fails closed, so it accepts nothing, or denies everything"
        );
        let fix = "use a field that this version of the API has";
        let place = self.place(child(node, key));
        self.findings.push(Finding::new(Code::UnknownKey, self.object.label(), message, fix).at(place));
    }

    fn networks(&mut self, raw: Vec<Option<String>>, node: &Node) -> TierPeer {
        if raw.is_empty() || raw.len() > 25 {
            self.refuse(node, "networks has not 1 to 25 items", "leave the peer out, or split it");
        }
        let mut nets = Vec::new();
        for (index, text) in raw.into_iter().enumerate() {
            let node = item(node, index);
            let cidr = cidr::parse(&text.unwrap_or_default());
            let has_host_bits = |cidr: &cidr::Cidr| cidr.loose == Some(cidr::HOST_BITS);
            // CEL's `isCIDR` takes host bits, and neither leading zeros nor IPv4 in IPv6 spelling.
            match cidr.filter(|cidr| cidr.loose.is_none() || has_host_bits(cidr)) {
                Some(cidr) => {
                    if has_host_bits(&cidr) {
                        let message = format!("this CIDR has host bits set and means {}", cidr.net);
                        let fix = format!("write {}", cidr.net);
                        let place = self.place(node);
                        self.findings.push(Finding::new(Code::HostBits, self.object.label(), message, fix).at(place));
                    }
                    nets.push(cidr.net);
                }
                None => self.refuse(node, "this is no CIDR", "write a net such as 10.0.0.0/8"),
            }
        }
        TierPeer::Networks(nets)
    }
}
