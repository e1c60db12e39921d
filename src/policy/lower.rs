//! NetworkPolicy objects → [`Policy`]s: the API's defaulting and validation.
//!
//! Sources: `pkg/apis/networking/v1/defaults.go`, `pkg/apis/networking/validation/validation.go`,
//! `apimachinery/pkg/apis/meta/v1/validation`. A policy that fails validation is left out, as no cluster has it.

mod tiers;

use std::collections::HashMap;

use serde::de::DeserializeOwned;

use super::model::{
    NamespaceMatch, PeerMatch, Peers, Policy, PolicyPeer, PolicyPort, PolicySet, PortMatch, Ports, Rule,
};
use super::tiers::TierPolicy;
use super::unmodelled::{self, Effect, Unmodelled};
use super::{cidr, raw};
use crate::finding::{Code, Finding};
use crate::source::de::{self, UnknownKeys};
use crate::source::{Node, Place, Value};
use crate::world::labels::{self, Requirement, Selector, Test};
use crate::world::{Labels, NotCovered, Object, ObjectName, Protocol};

/// Collects policies out of API objects; objects of other kinds are passed over.
#[derive(Debug, Default, Clone)]
pub struct PolicyBuilder {
    policies: Vec<Option<Policy>>,
    by_name: HashMap<ObjectName, usize>,
    tiers: Vec<TierPolicy>,
    unmodelled: Vec<Unmodelled>,
    findings: Vec<Finding>,
}

impl PolicyBuilder {
    /// Takes one object.
    pub fn add(&mut self, object: &Object) {
        if object.kind == "NetworkPolicy" && ["networking.k8s.io", "extensions"].contains(&object.group()) {
            if object.api_version == "networking.k8s.io/v1" {
                return self.add_policy(object);
            }
            // extensions/v1beta1 was removed in Kubernetes 1.16, and there never was another version of networking.k8s.io.
            let message =
                "no API server of today knows this apiVersion of NetworkPolicy: it is left out and opens nothing";
            let fix = "write `apiVersion: networking.k8s.io/v1`";
            self.findings.push(Finding::new(Code::InvalidPolicy, object.label(), message, fix).at(object.place()));
            return;
        }
        if let Some(kind) = tiers::kind_of(object) {
            return self.add_tier_policy(object, kind);
        }
        if let Some(unmodelled) = unmodelled::recognise(object) {
            let message = format!("{} is not evaluated: verdicts that it can change are unknown", object.label());
            let fix = "read its rules by hand; `portreeve probe` shows what really works";
            self.findings.push(Finding::new(Code::KindNotModelled, object.label(), message, fix).at(object.place()));
            self.unmodelled.push(unmodelled);
        }
    }

    /// Takes note of policies that may exist and are not shown. Kinds that are no policies are passed over.
    pub fn unseen(&mut self, group: &str, kind: &str, gap: &NotCovered) {
        self.unmodelled.extend(unmodelled::unseen(group, kind, gap));
    }

    /// Takes note of a file that cannot be read: any policy may stand in it.
    pub fn unread(&mut self, gap: &NotCovered) {
        self.unmodelled.push(unmodelled::unread(gap));
    }

    /// The policies that would exist in a cluster, and what was wrong with the others.
    pub fn finish(mut self) -> (PolicySet, Vec<Finding>) {
        self.warn_of_equal_priorities();
        let policies = PolicySet::new(self.policies.into_iter().flatten().collect(), self.unmodelled);
        (policies.with_tiers(self.tiers), self.findings)
    }

    fn add_policy(&mut self, object: &Object) {
        if let Some((node, why)) = not_in_file(object) {
            let message = format!("a part of this policy is {why}: what it admits and isolates is unknown");
            let fix = "give the file as it will be applied";
            let place = object.document.place(node);
            self.findings.push(Finding::new(Code::ValueUnknown, object.label(), message, fix).at(place));
            self.unmodelled.push(Unmodelled {
                object: object.label(),
                place: object.place(),
                scope: unmodelled::written_namespace(object),
                effect: Effect::Adds,
                only: None,
                why: "has parts that are not in the file",
            });
            return;
        }
        let mut lowering = Lowering { object, findings: Vec::new(), refused: false };
        let policy = lowering.policy();
        self.findings.append(&mut lowering.findings);
        let Some(policy) = policy else { return };
        // A name out of generateName is a new object each time.
        if !policy.name.name.ends_with('*')
            && let Some(earlier) = self.by_name.insert(policy.name.clone(), self.policies.len())
            && let Some(earlier) = self.policies.get_mut(earlier).and_then(Option::take)
        {
            let message = format!(
                "NetworkPolicy {} stands here and again at {}: the later one was taken, as `kubectl apply` does",
                earlier.name, policy.place
            );
            let fix = "keep one of the two, or give them different names";
            self.findings.push(Finding::new(Code::NotCovered, object.label(), message, fix).at(earlier.place));
        }
        self.policies.push(Some(policy));
    }
}

/// The first value of the spec, or of the name and namespace, that the file does not hold.
fn not_in_file(object: &Object) -> Option<(&Node, &'static str)> {
    let root = &object.document.root;
    let paths = ["/metadata/namespace", "/metadata/name", "/spec"];
    paths.iter().filter_map(|path| root.at_path(path)).find_map(first_opaque)
}

fn first_opaque(node: &Node) -> Option<(&Node, &'static str)> {
    match &node.value {
        Value::Opaque(why) => Some((node, why)),
        Value::Seq(items) => items.iter().find_map(first_opaque),
        Value::Map(entries) => entries.iter().find_map(|(_, node)| first_opaque(node)),
        _ => None,
    }
}

/// One policy on its way; every reason to refuse it is noted, not only the first.
struct Lowering<'o> {
    object: &'o Object,
    findings: Vec<Finding>,
    refused: bool,
}

/// The node under a key, or the node itself: places are found even where defaults stand.
fn child<'n>(node: &'n Node, key: &str) -> &'n Node {
    node.get(key).unwrap_or(node)
}

fn item(node: &Node, index: usize) -> &Node {
    node.items().get(index).unwrap_or(node)
}

impl Lowering<'_> {
    fn place(&self, node: &Node) -> Place {
        self.object.document.place(node)
    }

    fn refuse(&mut self, node: &Node, what: impl std::fmt::Display, fix: &str) {
        self.refused = true;
        let effect = if self.object.kind == "NetworkPolicy" { "opens" } else { "decides" };
        let message = format!("{what}: the API server refuses this policy, so it is left out and {effect} nothing");
        let place = self.place(node);
        self.findings.push(Finding::new(Code::InvalidPolicy, self.object.label(), message, fix).at(place));
    }

    fn policy(&mut self) -> Option<Policy> {
        let object = self.object;
        if !object.name.ends_with('*') && !labels::is_dns_subdomain(&object.name) {
            let at = object.document.root.at_path("/metadata/name").unwrap_or(&object.document.root);
            self.refuse(at, "the name is no lower-case DNS name", "use lower-case letters, digits, `-` and `.`");
        }
        let spec = child(&object.document.root, "spec");
        let raw = if object.document.root.get("spec").is_some() { self.read(spec)? } else { raw::Spec::default() };
        let pod_selector = self.selector(raw.pod_selector, child(spec, "podSelector"));
        let types = self.policy_types(raw.policy_types, raw.egress.as_ref().is_some_and(|e| !e.is_empty()), spec);
        let ingress = raw.ingress.unwrap_or_default().into_iter().map(|rule| (rule.from, rule.ports)).collect();
        let ingress = self.rules(ingress, child(spec, "ingress"), "from");
        let egress = raw.egress.unwrap_or_default().into_iter().map(|rule| (rule.to, rule.ports)).collect();
        let egress = self.rules(egress, child(spec, "egress"), "to");
        let (isolates_ingress, isolates_egress) = types;
        (!self.refused).then(|| Policy {
            name: ObjectName::new(object.namespace.as_deref().unwrap_or("default"), &object.name),
            place: object.place(),
            labels: meta(object, "labels", |_| true),
            annotations: meta(object, "annotations", says_owner),
            pod_selector,
            ingress: isolates_ingress.then_some(ingress),
            egress: isolates_egress.then_some(egress),
        })
    }

    fn read<T: DeserializeOwned>(&mut self, spec: &Node) -> Option<T> {
        let mut warnings = Vec::new();
        let result = de::read(&self.object.document, spec, UnknownKeys::Warn, &mut warnings);
        for warning in warnings {
            let fix = "correct the key: as it stands it has no effect, or `kubectl apply` refuses the whole policy";
            let finding =
                Finding::new(Code::UnknownKey, self.object.label(), format!("spec: {}", warning.message), fix);
            self.findings.push(finding.at(warning.place));
        }
        result
            .map_err(|error| {
                self.refuse(
                    spec,
                    format_args!("spec: {}", error.message),
                    "write the value in the type the API asks for",
                );
                if let Some(finding) = self.findings.last_mut() {
                    finding.place = Some(error.place);
                }
            })
            .ok()
    }

    /// Which directions the policy isolates: (ingress, egress).
    ///
    /// `SetDefaults_NetworkPolicy`: without types it is Ingress, and Egress only if there is an egress rule.
    fn policy_types(&mut self, types: Option<Vec<Option<String>>>, has_egress: bool, spec: &Node) -> (bool, bool) {
        let types = types.unwrap_or_default();
        if types.is_empty() {
            return (true, has_egress);
        }
        let node = child(spec, "policyTypes");
        if types.len() > 2 {
            self.refuse(node, "policyTypes has more than two items", "name Ingress and Egress at most once");
        }
        let (mut ingress, mut egress) = (false, false);
        for (index, name) in types.iter().enumerate() {
            match name.as_deref() {
                Some("Ingress") => ingress = true,
                Some("Egress") => egress = true,
                _ => self.refuse(
                    item(node, index),
                    "policyTypes knows only Ingress and Egress",
                    "write `Ingress` or `Egress`, with this capital",
                ),
            }
        }
        (ingress, egress)
    }

    fn rules(&mut self, raw: Vec<raw::Rule>, node: &Node, key: &str) -> Vec<Rule> {
        let rules = raw.into_iter().enumerate().map(|(index, (peers, ports))| {
            let node = item(node, index);
            let peers_node = child(node, key);
            let peers: Vec<PolicyPeer> = peers
                .unwrap_or_default()
                .into_iter()
                .enumerate()
                .filter_map(|(index, peer)| self.peer(peer, item(peers_node, index)))
                .collect();
            let ports_node = child(node, "ports");
            let ports: Vec<PolicyPort> = ports
                .unwrap_or_default()
                .into_iter()
                .enumerate()
                .filter_map(|(index, port)| self.port(port, item(ports_node, index)))
                .collect();
            // A refused peer or port leaves an empty list behind, but then the whole policy is dropped: it never turns into "any".
            Rule {
                place: self.place(node),
                peers: if peers.is_empty() { Peers::Any } else { Peers::Listed(peers) },
                ports: if ports.is_empty() { Ports::All } else { Ports::Listed(ports) },
            }
        });
        rules.collect()
    }

    fn peer(&mut self, raw: raw::Peer, node: &Node) -> Option<PolicyPeer> {
        let raw::Peer { pod_selector, namespace_selector, ip_block } = raw;
        let matches = match (pod_selector, namespace_selector, ip_block) {
            (None, None, None) => {
                let fix = "write `podSelector: {}`, `namespaceSelector: {}` or an ipBlock; to mean everybody, leave the list out";
                self.refuse(node, "a peer names nobody", fix);
                return None;
            }
            (None, None, Some(block)) => self.block(block, child(node, "ipBlock"))?,
            (_, _, Some(_)) => {
                self.refuse(node, "a peer has an ipBlock beside a selector", "make them two items of the list");
                return None;
            }
            (pods, namespaces, None) => PeerMatch::Pods {
                namespaces: match namespaces {
                    Some(raw) => NamespaceMatch::Selected(self.selector(raw, child(node, "namespaceSelector"))),
                    None => NamespaceMatch::Own,
                },
                pods: self.selector(pods.unwrap_or_default(), child(node, "podSelector")),
            },
        };
        Some(PolicyPeer { place: self.place(node), matches })
    }

    fn block(&mut self, raw: raw::Block, node: &Node) -> Option<PeerMatch> {
        let net = self.cidr(&raw.cidr, child(node, "cidr"))?;
        let except_node = child(node, "except");
        let mut except = Vec::new();
        for (index, text) in raw.except.unwrap_or_default().into_iter().enumerate() {
            let node = item(except_node, index);
            let Some(inner) = self.cidr(&text.unwrap_or_default(), node) else { continue };
            // `Contains(exceptCIDR.IP)` and a longer prefix.
            if net.contains(&inner.network()) && inner.prefix_len() > net.prefix_len() {
                except.push(inner);
            } else {
                self.refuse(
                    node,
                    format_args!("except {inner} is no strict part of {net}"),
                    "name a smaller net inside the cidr",
                );
            }
        }
        Some(PeerMatch::Block { net, except })
    }

    fn cidr(&mut self, text: &str, node: &Node) -> Option<ipnet::IpNet> {
        let Some(cidr) = cidr::parse(text) else {
            self.refuse(node, "this is no CIDR", "write a net such as 10.0.0.0/8, or one address as 10.0.0.1/32");
            return None;
        };
        if let Some(loose) = cidr.loose {
            let message =
                format!("this CIDR {loose} and means {}: API servers from 1.36 on refuse it in new policies", cidr.net);
            let finding = Finding::new(Code::HostBits, self.object.label(), message, format!("write {}", cidr.net));
            let place = self.place(node);
            self.findings.push(finding.at(place));
        }
        Some(cidr.net)
    }

    fn port(&mut self, raw: raw::Port, node: &Node) -> Option<PolicyPort> {
        let before = self.refused;
        self.refused = false;
        // `SetDefaults_NetworkPolicyPort`: TCP when left out.
        let protocol = raw.protocol.map_or(Some(Protocol::Tcp), |text| Protocol::parse(&text));
        if protocol.is_none() {
            self.refuse(child(node, "protocol"), "the protocol is none of TCP, UDP, SCTP", "write it in capitals");
        }
        let end_node = child(node, "endPort");
        let ports = match (raw.port, raw.end_port) {
            (None, None) => PortMatch::All,
            (None, Some(_)) => {
                self.refuse(end_node, "endPort stands without port", "add `port`, the first port of the range");
                PortMatch::All
            }
            (Some(raw::NumberOrName::Name(name)), end) => {
                if end.is_some() {
                    self.refuse(end_node, "endPort stands beside a named port", "give `port` as a number");
                }
                if !is_port_name(&name) {
                    let fix = "a number stands without quotes; a name has 1 to 15 lower-case letters, digits and `-`, one letter at least";
                    self.refuse(child(node, "port"), "this is no port name", fix);
                }
                PortMatch::Named(name)
            }
            (Some(raw::NumberOrName::Number(from)), end) => {
                let to = end.map_or(from, i64::from);
                if to < from {
                    self.refuse(end_node, "endPort is less than port", "make endPort the last port of the range");
                }
                if let (Some(from), Some(to)) = (port_number(from), port_number(to)) {
                    PortMatch::Range(from, to)
                } else {
                    let fix = "write a port from 1 to 65535";
                    self.refuse(child(node, "port"), "a port is not from 1 to 65535", fix);
                    PortMatch::All
                }
            }
        };
        let fine = !self.refused;
        self.refused |= before;
        fine.then_some(PolicyPort { place: self.place(node), protocol: protocol.unwrap_or_default(), ports })
    }

    fn selector(&mut self, raw: raw::Selector, node: &Node) -> Selector {
        let labels_node = child(node, "matchLabels");
        let match_labels: Labels = raw
            .match_labels
            .unwrap_or_default()
            .into_iter()
            .map(|(key, value)| (key, value.unwrap_or_default()))
            .collect();
        for (key, value) in &match_labels {
            if let Err(why) = labels::check_key(key).and_then(|()| labels::check_value(value)) {
                self.refuse(child(labels_node, key), why, "correct the label");
            }
        }
        let node = child(node, "matchExpressions");
        let expressions = raw.match_expressions.unwrap_or_default().into_iter().enumerate();
        let expressions = expressions.filter_map(|(index, raw)| self.requirement(raw, item(node, index))).collect();
        Selector { match_labels, expressions }
    }

    fn requirement(&mut self, raw: raw::Requirement, node: &Node) -> Option<Requirement> {
        let values: Vec<String> = raw.values.unwrap_or_default().into_iter().map(Option::unwrap_or_default).collect();
        if let Err(why) = labels::check_key(&raw.key) {
            self.refuse(child(node, "key"), why, "correct the key");
        }
        for (index, value) in values.iter().enumerate() {
            if let Err(why) = labels::check_value(value) {
                self.refuse(item(child(node, "values"), index), why, "correct the value");
            }
        }
        let test = match (raw.operator.as_str(), values.is_empty()) {
            ("In", false) => Test::In(values.into_iter().collect()),
            ("NotIn", false) => Test::NotIn(values.into_iter().collect()),
            ("Exists", true) => Test::Exists,
            ("DoesNotExist", true) => Test::DoesNotExist,
            ("In" | "NotIn", true) => {
                self.refuse(node, "In and NotIn need values", "add `values`, or use Exists or DoesNotExist");
                return None;
            }
            ("Exists" | "DoesNotExist", false) => {
                self.refuse(
                    child(node, "values"),
                    "Exists and DoesNotExist take no values",
                    "remove `values`, or use In or NotIn",
                );
                return None;
            }
            _ => {
                let fix = "write In, NotIn, Exists or DoesNotExist";
                self.refuse(child(node, "operator"), "this is no operator of a label selector", fix);
                return None;
            }
        };
        Some(Requirement { key: raw.key, test })
    }
}

fn port_number(number: i64) -> Option<u16> {
    u16::try_from(number).ok().filter(|number| *number != 0)
}

/// `validation.IsValidPortName` (RFC 6335 §5.1, lower case).
fn is_port_name(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && name.bytes().any(|b| b.is_ascii_lowercase())
        && !name.contains("--")
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// Text entries below `metadata`.
fn meta(object: &Object, key: &str, keep: impl Fn(&str) -> bool) -> Labels {
    let entries = object.document.root.get("metadata").and_then(|meta| meta.get(key)).map_or(&[][..], Node::entries);
    entries
        .iter()
        .filter(|(key, _)| keep(&key.text))
        .filter_map(|(key, node)| Some((key.text.to_string(), node.text()?.to_owned())))
        .collect()
}

fn says_owner(key: &str) -> bool {
    ["meta.helm.sh/", "argocd.argoproj.io/", "portreeve.io/"].iter().any(|prefix| key.starts_with(prefix))
}
