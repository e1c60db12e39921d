//! The engine against a naive oracle, on random small clusters.
//!
//! The oracle is written from the API's text alone, over policies as they were generated, and answers yes or no for one fully known
//! connection. Where the cluster hides a fact (labels of a namespace known by reference, the address of a pod, a node), it is asked for every
//! way the fact could turn out: a verdict must hold in all of them, and without a hidden fact there must be one.

use std::collections::BTreeMap;
use std::net::IpAddr;

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::clusters::{NUMBERS, parsed, some_end, some_world, spec};
use super::{cases, read, tier_oracle};
use crate::policy::Declared;
use crate::policy::{Answer, Dialect, End, Engine, Family};
use crate::world::{ContainerPort, Labels, Pod, PodId, Protocol, World};

/// `spec` as the API has it: every field may be missing.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    pub(super) namespace: &'static str,
    pub(super) pod_selector: Selector,
    pub(super) ingress: Option<Vec<Rule>>,
    pub(super) egress: Option<Vec<Rule>>,
    pub(super) policy_types: Option<Vec<&'static str>>,
}

#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) peers: Option<Vec<Peer>>,
    pub(super) ports: Option<Vec<Port>>,
}

#[derive(Debug, Clone)]
pub(super) enum Peer {
    Pods { namespaces: Option<Selector>, pods: Option<Selector> },
    Block { net: Net, except: Vec<Net> },
}

/// A net of IPv4 or IPv6, as address and prefix length; may have host bits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Net(pub(super) &'static str, pub(super) u8);

#[derive(Debug, Clone)]
pub(super) struct Port {
    pub(super) protocol: Option<Protocol>,
    pub(super) port: Option<Result<u16, &'static str>>,
    pub(super) end_port: Option<u16>,
}

#[derive(Debug, Clone)]
pub(super) struct Selector {
    pub(super) labels: Vec<(&'static str, &'static str)>,
    pub(super) expressions: Vec<(&'static str, &'static str, Vec<&'static str>)>,
}

// --- as JSON, for the engine ------------------------------------------------------------------------------------------------------------

impl Spec {
    pub(super) fn json(&self, index: usize) -> Value {
        let rules = |rules: &Option<Vec<Rule>>, key: &str| match rules {
            Some(rules) => rules.iter().map(|rule| rule.json(key)).collect(),
            None => Value::Null,
        };
        json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": format!("p{index}"), "namespace": self.namespace},
            "spec": {
                "podSelector": self.pod_selector.json(),
                "ingress": rules(&self.ingress, "from"),
                "egress": rules(&self.egress, "to"),
                "policyTypes": self.policy_types,
            },
        })
    }
}

impl Rule {
    fn json(&self, key: &str) -> Value {
        let peers = self.peers.as_ref().map(|peers| peers.iter().map(Peer::json).collect::<Vec<_>>());
        let ports = self.ports.as_ref().map(|ports| ports.iter().map(Port::json).collect::<Vec<_>>());
        json!({key: peers, "ports": ports})
    }
}

impl Peer {
    fn json(&self) -> Value {
        match self {
            Self::Pods { namespaces, pods } => json!({
                "namespaceSelector": namespaces.as_ref().map(Selector::json),
                "podSelector": pods.as_ref().map(Selector::json),
            }),
            Self::Block { net, except } => {
                let text = |net: &Net| format!("{}/{}", net.0, net.1);
                json!({"ipBlock": {"cidr": text(net), "except": except.iter().map(text).collect::<Vec<_>>()}})
            }
        }
    }
}

impl Port {
    fn json(&self) -> Value {
        let port = self.port.map(|port| port.map_or_else(|name| json!(name), |number| json!(number)));
        json!({"protocol": self.protocol.map(Protocol::as_str), "port": port, "endPort": self.end_port})
    }
}

impl Selector {
    pub(super) fn json(&self) -> Value {
        let labels: BTreeMap<_, _> = self.labels.iter().copied().collect();
        let expressions: Vec<Value> = self
            .expressions
            .iter()
            .map(|(key, operator, values)| json!({"key": key, "operator": operator, "values": values}))
            .collect();
        json!({"matchLabels": labels, "matchExpressions": expressions})
    }
}

// --- the oracle -------------------------------------------------------------------------------------------------------------------------

/// One end with every fact known.
#[derive(Debug, Clone)]
pub(super) struct Known {
    /// Namespace, its labels, the pod's labels; `None` for an address.
    pub(super) pod: Option<(String, Labels, Labels)>,
    pub(super) ports: Vec<ContainerPort>,
    /// In its node's network, or the node itself.
    pub(super) host: bool,
    pub(super) node: Option<String>,
    pub(super) node_labels: Labels,
    pub(super) addresses: Vec<IpAddr>,
}

impl Known {
    /// The addresses by which a net can mean it.
    pub(super) fn by_net(&self, ask: Ask<'_>) -> impl Iterator<Item = &IpAddr> {
        let in_cluster = self.pod.is_some() || self.host;
        let by_net = ask.dialect == Dialect::Upstream || !in_cluster;
        self.addresses.iter().filter(move |address| by_net && Family::of(**address) == ask.family)
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) from: &'a Known,
    pub(super) to: &'a Known,
    itself: bool,
    pub(super) family: Family,
    pub(super) port: u16,
    pub(super) protocol: Protocol,
    pub(super) dialect: Dialect,
    /// The open points of the tiers.
    pub(super) choice: tier_oracle::Choice,
    /// The open point: whether a named port counts for a pod that an ipBlock holds.
    named_in_block: bool,
}

fn oracle(policies: &[Spec], tiers: &[tier_oracle::Spec], ask: Ask<'_>) -> bool {
    if ask.itself {
        return true;
    }
    let one_host = ask.from.host != ask.to.host;
    let own_node = one_host && ask.from.node.is_some() && ask.from.node == ask.to.node;
    side(policies, tiers, ask, own_node, false) && side(policies, tiers, ask, own_node, true)
}

/// Admin, then NetworkPolicy, then Baseline; whoever decides first.
fn side(policies: &[Spec], tiers: &[tier_oracle::Spec], ask: Ask<'_>, own_node: bool, ingress: bool) -> bool {
    let own = if ingress { ask.to } else { ask.from };
    if own.pod.is_none() || own.host {
        return true;
    }
    let network_policies = network_policies(policies, ask, ingress);
    let after_admin = || match network_policies {
        Some(admitted) => Some(admitted || own_node),
        None => tier_oracle::decision(tiers, false, ask, ingress),
    };
    let allowed = tier_oracle::decision(tiers, true, ask, ingress).or_else(after_admin).unwrap_or(true);
    allowed || (own_node && ask.choice.own_node_wins)
}

/// Whether a rule admits; `None` when no policy isolates the pod.
fn network_policies(policies: &[Spec], ask: Ask<'_>, ingress: bool) -> Option<bool> {
    let (own, peer) = if ingress { (ask.to, ask.from) } else { (ask.from, ask.to) };
    let (namespace, _, labels) = own.pod.as_ref()?;
    let mut isolated = false;
    for policy in policies {
        if policy.namespace != namespace || !selects(&policy.pod_selector, labels) {
            continue;
        }
        let types = policy.policy_types.clone().unwrap_or_default();
        let applies = match (types.is_empty(), ingress) {
            (true, true) => true,
            (true, false) => policy.egress.as_ref().is_some_and(|rules| !rules.is_empty()),
            (false, true) => types.contains(&"Ingress"),
            (false, false) => types.contains(&"Egress"),
        };
        if !applies {
            continue;
        }
        isolated = true;
        let rules = if ingress { &policy.ingress } else { &policy.egress };
        for rule in rules.iter().flatten() {
            let peers = rule.peers.as_deref().unwrap_or_default();
            let by_ports = |through_block: bool| {
                let ports = rule.ports.as_deref().unwrap_or_default();
                ports.is_empty() || ports.iter().any(|port| port_fits(port, ask, through_block))
            };
            if peers.is_empty() && by_ports(false) {
                return Some(true);
            }
            for item in peers {
                if peer_fits(item, policy.namespace, peer, ask) && by_ports(matches!(item, Peer::Block { .. })) {
                    return Some(true);
                }
            }
        }
    }
    isolated.then_some(false)
}

fn peer_fits(peer: &Peer, own_namespace: &str, other: &Known, ask: Ask<'_>) -> bool {
    match peer {
        Peer::Pods { namespaces, pods } => {
            let Some((namespace, namespace_labels, labels)) = &other.pod else { return false };
            let there = match namespaces {
                None => namespace == own_namespace,
                Some(selector) => selects(selector, namespace_labels),
            };
            !other.host && there && pods.as_ref().is_none_or(|selector| selects(selector, labels))
        }
        Peer::Block { net, except } => {
            let mut by_net = other.by_net(ask);
            by_net.any(|address| inside(*net, *address) && !except.iter().any(|net| inside(*net, *address)))
        }
    }
}

fn port_fits(port: &Port, ask: Ask<'_>, through_block: bool) -> bool {
    if port.protocol.unwrap_or(Protocol::Tcp) != ask.protocol {
        return false;
    }
    match port.port {
        None => true,
        Some(Ok(number)) => number <= ask.port && ask.port <= port.end_port.unwrap_or(number),
        Some(Err(name)) => {
            let is_pod = ask.to.pod.is_some() && !ask.to.host;
            let mut ports = ask.to.ports.iter();
            let named =
                ports.any(|p| p.name.as_deref() == Some(name) && p.protocol == ask.protocol && p.number == ask.port);
            is_pod && named && (!through_block || ask.named_in_block)
        }
    }
}

pub(super) fn selects(selector: &Selector, labels: &Labels) -> bool {
    for (key, value) in &selector.labels {
        if labels.get(*key).map(String::as_str) != Some(*value) {
            return false;
        }
    }
    for (key, operator, values) in &selector.expressions {
        let value = labels.get(*key);
        let listed = value.is_some_and(|value| values.contains(&value.as_str()));
        let fits = match *operator {
            "In" => listed,
            "NotIn" => !listed,
            "Exists" => value.is_some(),
            _ => value.is_none(),
        };
        if !fits {
            return false;
        }
    }
    true
}

/// Bit by bit.
pub(super) fn inside(net: Net, address: IpAddr) -> bool {
    let bits = |address: IpAddr| -> Vec<bool> {
        let octets = match address {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        octets.iter().flat_map(|octet| (0..8).rev().map(move |bit| octet >> bit & 1 == 1)).collect()
    };
    let (base, address) = (bits(net.0.parse().unwrap()), bits(address));
    base.len() == address.len() && base.iter().zip(&address).take(net.1.into()).all(|(a, b)| a == b)
}

// --- every way that hidden facts could turn out -------------------------------------------------------------------------------------------

fn ways(world: &World, end: End) -> Vec<Known> {
    let pod = match end {
        End::Pod(PodId(index)) => &world.pods[index],
        End::Address(address) => {
            let holder = world.pods.iter().find(|pod| !pod.host_network && pod.addresses.contains(&address));
            let node = world.nodes.iter().find(|(_, node)| node.addresses.contains(&address)).map(|(name, _)| name);
            let Some(holder) = holder else {
                let (host, node) = (node.is_some(), node.cloned());
                let node_labels = node.iter().flat_map(|node| world.nodes[node].labels.clone()).collect();
                return vec![Known { pod: None, ports: vec![], host, node, node_labels, addresses: vec![address] }];
            };
            return ways_of(world, holder, &[vec![address]]);
        }
    };
    if !pod.addresses.is_empty() {
        return ways_of(world, pod, std::slice::from_ref(&pod.addresses));
    }
    let candidates = [
        &["10.0.0.2"][..],
        &["198.51.100.1"],
        &["fd00::2"],
        &["2001:db8::9"],
        &["10.0.1.9", "fd00::6"],
        &["10.0.0.1", "2001:db8::9"],
    ];
    ways_of(world, pod, &candidates.map(parsed))
}

fn ways_of(world: &World, pod: &Pod, addresses: &[Vec<IpAddr>]) -> Vec<Known> {
    let namespace = &world.namespaces[&pod.name.namespace];
    let hidden_labels: &[Option<&str>] =
        if namespace.place.is_some() { &[None] } else { &[None, Some("x"), Some("y"), Some("")] };
    let nodes: Vec<Option<String>> = match &pod.node {
        Some(node) => vec![Some(node.clone())],
        None => ["n1", "n2", "n3"].iter().map(|node| Some((*node).to_owned())).collect(),
    };
    let mut ways = Vec::new();
    for addresses in addresses {
        for extra in hidden_labels {
            for node in &nodes {
                let mut namespace_labels = namespace.labels.clone();
                namespace_labels.extend(extra.map(|value| ("k".to_owned(), value.to_owned())));
                for node_labels in labels_of_node(world, node.as_deref(), pod.host_network) {
                    ways.push(Known {
                        pod: Some((pod.name.namespace.clone(), namespace_labels.clone(), pod.labels.clone())),
                        ports: pod.ports.clone(),
                        host: pod.host_network,
                        node: node.clone(),
                        node_labels,
                        addresses: addresses.clone(),
                    });
                }
            }
        }
    }
    ways
}

/// Only a pod in the network of a node that is not known by its object hides labels of a node.
fn labels_of_node(world: &World, node: Option<&str>, host: bool) -> Vec<Labels> {
    match node.and_then(|node| world.nodes.get(node)) {
        Some(node) => vec![node.labels.clone()],
        None if host => {
            let values = [None, Some("x"), Some("y"), Some("")];
            values.map(|value| value.map(|value| ("k".to_owned(), value.to_owned())).into_iter().collect()).to_vec()
        }
        None => vec![Labels::new()],
    }
}

/// The verdict of one way: `None` when the two ends share no family.
fn in_one_way(
    policies: &[Spec],
    tiers: &[tier_oracle::Spec],
    ask: Ask<'_>,
    asked: (End, End),
) -> Option<(Declared, Vec<(Family, Declared)>)> {
    let has = |end: &Known, family| end.addresses.iter().any(|address| Family::of(*address) == family);
    let as_pod = |end: End| matches!(end, End::Pod(_));
    let mut by_family = Vec::new();
    for family in Family::ALL {
        // Against a bare address its family is asked for, whatever the pod has.
        let from = has(ask.from, family) || (as_pod(asked.0) && ask.to.pod.is_none());
        let to = has(ask.to, family) || (as_pod(asked.1) && ask.from.pod.is_none());
        if from && to {
            let fits = oracle(policies, tiers, Ask { family, ..ask });
            by_family.push((family, if fits { Declared::Allowed } else { Declared::Denied }));
        }
    }
    let worst = by_family.iter().map(|(_, declared)| *declared).reduce(Declared::and)?;
    Some((worst, by_family))
}

/// Every pair of ways that can be true together, and whether the two ends are one pod.
fn pairs(world: &World, from: End, to: End) -> (Vec<(Known, Known)>, bool) {
    let (froms, tos) = (ways(world, from), ways(world, to));
    let pod_of = |end: End| match end {
        End::Pod(PodId(index)) => Some(index),
        End::Address(address) => world.pods.iter().position(|p| !p.host_network && p.addresses.contains(&address)),
    };
    let itself = pod_of(from).is_some_and(|index| {
        let pod = &world.pods[index];
        pod_of(to) == Some(index) && !pod.template && !pod.host_network
    });
    let mut pairs = Vec::new();
    for (i, a) in froms.iter().enumerate() {
        for (j, b) in tos.iter().enumerate() {
            // One namespace has one set of labels, and a pod that talks to itself is one pod.
            let two_sets = matches!((&a.pod, &b.pod), (Some(a), Some(b)) if a.0 == b.0 && a.1 != b.1);
            if !two_sets && (!itself || froms.len() != tos.len() || i == j) {
                pairs.push((a.clone(), b.clone()));
            }
        }
    }
    (pairs, itself)
}

pub(super) fn compare(
    world: &World,
    policies: &[Spec],
    tiers: &[tier_oracle::Spec],
    dialect: Dialect,
    (from, to): (End, End),
) -> Result<(), TestCaseError> {
    let items = policies.iter().enumerate().map(|(index, spec)| spec.json(index));
    let text = Value::Array(items.chain(tiers.iter().enumerate().map(|(index, spec)| spec.json(index))).collect());
    let (set, findings) = read(&json!({"apiVersion": "v1", "kind": "List", "items": text}).to_string());
    prop_assert_eq!((set.policies.len(), set.tiers.len()), (policies.len(), tiers.len()), "{:?}\n{}", findings, text);
    let engine = Engine::new(world, &set).with_dialect(dialect);
    let (pairs, itself) = pairs(world, from, to);
    let choices = tier_oracle::choices(tiers, &world.pods);
    // The tiers have many open points: some of the ways are enough to catch a verdict that does not hold.
    let step = 1 + pairs.len() * choices.len() / 600;
    for protocol in Protocol::ALL {
        for port in NUMBERS {
            let answer = engine.verdict(from, to, port, protocol);
            let mut outcomes = Vec::new();
            for (a, b) in pairs.iter().step_by(step) {
                for named_in_block in [false, true] {
                    for choice in choices.iter().copied() {
                        let family = Family::V4;
                        let ask =
                            Ask { from: a, to: b, itself, family, port, protocol, named_in_block, dialect, choice };
                        outcomes.extend(in_one_way(policies, tiers, ask, (from, to)));
                    }
                }
            }
            holds_in_all(&answer, &outcomes)
                .map_err(|error| TestCaseError::fail(format!("{error}: {}\n{text}", answer.sentence())))?;
            // One open point may show at both ends of a connection, and there it is one and the same; the engine judges each end by itself.
            let sure = pairs.len() == 1 && !tier_oracle::has_open_ports(tiers);
            if answer.declared == Declared::Unknown && sure && !outcomes.is_empty() {
                let differ = outcomes.iter().any(|(declared, _)| *declared != outcomes[0].0);
                prop_assert!(differ, "unknown without a reason: {}\n{}", text, answer.sentence());
            }
        }
        agrees_with_admitted(&engine, from, to, protocol)?;
    }
    Ok(())
}

/// A verdict, of both families together and of each, is true however the hidden facts turn out.
fn holds_in_all(answer: &Answer, outcomes: &[(Declared, Vec<(Family, Declared)>)]) -> Result<(), TestCaseError> {
    for (declared, by_family) in outcomes {
        if answer.declared != Declared::Unknown {
            prop_assert_eq!(answer.declared, *declared, "{:?}", by_family);
        }
        for (family, declared) in &answer.by_family {
            let other = by_family.iter().find(|(f, _)| f == family);
            if let Some((_, other)) = other.filter(|_| *declared != Declared::Unknown) {
                prop_assert_eq!(declared, other, "{}", family);
            }
        }
    }
    Ok(())
}

/// One pass over the rules says the same as one question for each port.
fn agrees_with_admitted(engine: &Engine<'_>, from: End, to: End, protocol: Protocol) -> Result<(), TestCaseError> {
    let admitted = engine.admitted(from, to);
    prop_assert!(admitted.traffic.allowed.intersect(&admitted.traffic.unknown).is_empty());
    for port in [1, 2, 79, 80, 81, 82, 442, 443, 444, 65534, 65535] {
        let answer = engine.verdict(from, to, port, protocol);
        prop_assert_eq!(admitted.traffic.declared(protocol, port), answer.declared, "{}", answer.sentence());
        let by_family: Vec<(Family, Declared)> =
            admitted.by_family.iter().map(|(family, traffic)| (*family, traffic.declared(protocol, port))).collect();
        prop_assert_eq!(by_family, answer.by_family);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(800), max_local_rejects: u32::MAX, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_says_what_the_text_says(
        world in some_world(),
        policies in prop::collection::vec(spec(), 0..8),
        ends in prop::collection::vec((some_end(), some_end()), 1..3),
        dialect in select(&[Dialect::Upstream, Dialect::Upstream, Dialect::Cilium][..]),
    ) {
        for ends in ends {
            compare(&world, &policies, &[], dialect, ends)?;
        }
    }
}

/// Clusters in which everything is allowed, or nothing, would prove nothing.
#[test]
fn random_clusters_are_mixed() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let cases = (some_world(), prop::collection::vec(spec(), 0..8), some_end(), some_end());
    let mut counts = BTreeMap::new();
    for _ in 0..400 {
        let (world, policies, from, to) = cases.new_tree(&mut runner).unwrap().current();
        let text: Vec<Value> = policies.iter().enumerate().map(|(index, spec)| spec.json(index)).collect();
        let (set, _) = read(&json!({"apiVersion": "v1", "kind": "List", "items": text}).to_string());
        let answer = Engine::new(&world, &set).verdict(from, to, 80, Protocol::Tcp);
        let ruled = answer.egress.decided_by.is_some() || answer.ingress.decided_by.is_some();
        *counts.entry((answer.declared, ruled)).or_insert(0) += 1;
    }
    let at_least = [((Declared::Allowed, true), 30), ((Declared::Denied, false), 60), ((Declared::Unknown, false), 30)];
    for (kind, least) in at_least {
        assert!(counts.get(&kind).is_some_and(|count| *count >= least), "{kind:?}: {counts:?}");
    }
}
