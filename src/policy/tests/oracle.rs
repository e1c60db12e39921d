//! The engine against a naive oracle, on random small clusters.
//!
//! The oracle is written from the API's text alone, over policies as they were generated, and answers yes or no for one fully known
//! connection. Where the cluster hides a fact (labels of a namespace known by reference, the address of a pod, a node), it is asked for every
//! way the fact could turn out: a verdict must hold in all of them, and without a hidden fact there must be one.

use std::collections::BTreeMap;
use std::net::IpAddr;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};

use super::{container_port, place, pod, read};
use crate::judge::Declared;
use crate::policy::{End, Engine, Family};
use crate::world::labels::NAMESPACE_NAME;
use crate::world::{ContainerPort, Labels, Namespace, Node, Pod, PodId, Protocol, World};

/// `spec` as the API has it: every field may be missing.
#[derive(Debug, Clone)]
struct Spec {
    namespace: &'static str,
    pod_selector: Selector,
    ingress: Option<Vec<Rule>>,
    egress: Option<Vec<Rule>>,
    policy_types: Option<Vec<&'static str>>,
}

#[derive(Debug, Clone)]
struct Rule {
    peers: Option<Vec<Peer>>,
    ports: Option<Vec<Port>>,
}

#[derive(Debug, Clone)]
enum Peer {
    Pods { namespaces: Option<Selector>, pods: Option<Selector> },
    Block { net: Net, except: Vec<Net> },
}

/// A net of IPv4 or IPv6, as address and prefix length; may have host bits.
#[derive(Debug, Clone, Copy)]
struct Net(&'static str, u8);

#[derive(Debug, Clone)]
struct Port {
    protocol: Option<Protocol>,
    port: Option<Result<u16, &'static str>>,
    end_port: Option<u16>,
}

#[derive(Debug, Clone)]
struct Selector {
    labels: Vec<(&'static str, &'static str)>,
    expressions: Vec<(&'static str, &'static str, Vec<&'static str>)>,
}

// --- as JSON, for the engine ------------------------------------------------------------------------------------------------------------

impl Spec {
    fn json(&self, index: usize) -> Value {
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
    fn json(&self) -> Value {
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
struct Known {
    /// Namespace, its labels, the pod's labels; `None` for an address.
    pod: Option<(String, Labels, Labels)>,
    ports: Vec<ContainerPort>,
    /// In its node's network, or the node itself.
    host: bool,
    node: Option<String>,
    addresses: Vec<IpAddr>,
}

#[derive(Debug, Clone, Copy)]
struct Ask<'a> {
    from: &'a Known,
    to: &'a Known,
    itself: bool,
    family: Family,
    port: u16,
    protocol: Protocol,
    /// The open point: whether a named port counts for a pod that an ipBlock holds.
    named_in_block: bool,
}

fn oracle(policies: &[Spec], ask: Ask<'_>) -> bool {
    if ask.itself {
        return true;
    }
    let one_host = ask.from.host != ask.to.host;
    if one_host && ask.from.node.is_some() && ask.from.node == ask.to.node {
        return true;
    }
    side(policies, ask, false) && side(policies, ask, true)
}

fn side(policies: &[Spec], ask: Ask<'_>, ingress: bool) -> bool {
    let (own, peer) = if ingress { (ask.to, ask.from) } else { (ask.from, ask.to) };
    let Some((namespace, _, labels)) = &own.pod else { return true };
    if own.host {
        return true;
    }
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
                return true;
            }
            for item in peers {
                if peer_fits(item, policy.namespace, peer, ask.family) && by_ports(matches!(item, Peer::Block { .. })) {
                    return true;
                }
            }
        }
    }
    !isolated
}

fn peer_fits(peer: &Peer, own_namespace: &str, other: &Known, family: Family) -> bool {
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
            let mut of_family = other.addresses.iter().filter(|address| Family::of(**address) == family);
            of_family.any(|address| inside(*net, *address) && !except.iter().any(|net| inside(*net, *address)))
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

fn selects(selector: &Selector, labels: &Labels) -> bool {
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
fn inside(net: Net, address: IpAddr) -> bool {
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

// --- random clusters --------------------------------------------------------------------------------------------------------------------

const VALUES: [&str; 3] = ["x", "y", ""];
const NUMBERS: [u16; 5] = [1, 80, 81, 443, 65535];

fn selector(keys: &'static [&'static str]) -> impl Strategy<Value = Selector> {
    let values = subsequence(VALUES.to_vec(), 1..=2);
    let with_values = (select(keys), select(&["In", "NotIn"][..]), values);
    let without = (select(keys), select(&["Exists", "DoesNotExist"][..]), Just(Vec::new()));
    let expression = prop_oneof![with_values, without];
    let label = (select(keys), select(&VALUES[..]));
    prop_oneof![
        2 => Just(Selector { labels: vec![], expressions: vec![] }),
        3 => label.clone().prop_map(|label| Selector { labels: vec![label], expressions: vec![] }),
        2 => (prop::collection::vec(label, 0..2), prop::collection::vec(expression, 1..3))
            .prop_map(|(labels, expressions)| Selector { labels, expressions }),
    ]
}

fn namespace_selector() -> impl Strategy<Value = Selector> {
    let by_name = |operator: &'static str| {
        subsequence(vec!["n0", "n1", "n2"], 1..=2)
            .prop_map(move |names| Selector { labels: vec![], expressions: vec![(NAMESPACE_NAME, operator, names)] })
    };
    prop_oneof![2 => selector(&["k"]), 1 => by_name("In"), 1 => by_name("NotIn")]
}

fn block() -> impl Strategy<Value = Peer> {
    let nets: &'static [(Net, &'static [Net])] = &[
        (Net("0.0.0.0", 0), &[Net("10.0.0.0", 24), Net("0.0.0.0", 1)]),
        (Net("10.0.0.0", 8), &[Net("10.0.1.0", 24), Net("10.9.0.1", 32)]),
        (Net("10.0.0.3", 30), &[Net("10.0.0.1", 32)]),
        (Net("10.0.1.0", 24), &[Net("10.0.1.7", 29), Net("10.0.1.0", 25)]),
        (Net("10.9.0.0", 31), &[]),
        (Net("::", 0), &[Net("fd00::", 64), Net("8000::", 1)]),
        (Net("fd00::", 125), &[Net("fd00::2", 128), Net("fd00::4", 126)]),
    ];
    select(nets).prop_flat_map(|(net, inner)| {
        subsequence(inner.to_vec(), 0..=inner.len()).prop_map(move |except| Peer::Block { net, except })
    })
}

fn rule() -> impl Strategy<Value = Rule> {
    let pods = (prop::option::of(namespace_selector()), prop::option::of(selector(&["k", "l"])))
        .prop_filter_map("a peer names somebody", |(namespaces, pods)| {
            (namespaces.is_some() || pods.is_some()).then_some(Peer::Pods { namespaces, pods })
        });
    let peer = prop_oneof![3 => pods, 2 => block()];
    let protocol = prop::option::of(select(&Protocol::ALL[..]));
    let numbers = (select(&NUMBERS[..]), prop::option::of(select(&NUMBERS[..])))
        .prop_map(|(port, end)| (Some(Ok(port)), end.filter(|end| *end >= port)));
    let port = prop_oneof![
        1 => Just((None, None)),
        3 => numbers,
        2 => select(&["http", "dns"][..]).prop_map(|name| (Some(Err(name)), None)),
    ];
    let port = (protocol, port).prop_map(|(protocol, (port, end_port))| Port { protocol, port, end_port });
    let peers = prop::option::weighted(0.8, prop::collection::vec(peer, 0..3));
    let ports = prop::option::weighted(0.8, prop::collection::vec(port, 0..3));
    (peers, ports).prop_map(|(peers, ports)| Rule { peers, ports })
}

fn spec() -> impl Strategy<Value = Spec> {
    let rules = || prop::option::weighted(0.8, prop::collection::vec(rule(), 0..3));
    let types = prop::option::weighted(0.7, subsequence(vec!["Ingress", "Egress"], 0..=2));
    (select(&["n0", "n1", "n2"][..]), selector(&["k", "l"]), rules(), rules(), types).prop_map(
        |(namespace, pod_selector, ingress, egress, policy_types)| Spec {
            namespace,
            pod_selector,
            ingress,
            egress,
            policy_types,
        },
    )
}

fn some_labels(keys: &'static [&'static str]) -> impl Strategy<Value = Labels> {
    let label = (select(keys), select(&VALUES[..])).prop_map(|(k, v)| (k.to_owned(), v.to_owned()));
    prop::collection::vec(label, 0..3).prop_map(|pairs| pairs.into_iter().collect())
}

/// Addresses, node and network are set from the index, so that no two pods share an address.
fn some_pod(index: usize) -> impl Strategy<Value = Pod> {
    let port = (select(&["http", "dns"][..]), select(&NUMBERS[..]), select(&Protocol::ALL[..]))
        .prop_map(|(name, number, protocol)| container_port(name, number, protocol));
    let ports = prop::collection::vec(port, 0..4);
    let node = prop_oneof![4 => select(&["n1", "n2"][..]).prop_map(Some), 1 => Just(Some("n3")), 1 => Just(None)];
    (select(&["n0", "n1", "n2"][..]), some_labels(&["k", "l"]), ports, 0..8_usize, node, 0..8_usize).prop_map(
        move |(namespace, labels, ports, families, node, kind)| {
            let mut pod = pod(&format!("{namespace}/p{index}"), "", &[]);
            (pod.labels, pod.ports) = (labels, ports);
            pod.node = node.map(str::to_owned);
            pod.host_network = kind == 0;
            pod.template = kind == 1;
            let v4 = format!("10.0.{}.{}", index % 2, index + 1).parse();
            let v6 = format!("fd00::{}", index + 1).parse();
            if pod.template {
                pod.node = None;
            } else if pod.host_network {
                pod.addresses =
                    NODES.iter().filter(|(name, _)| node == Some(*name)).flat_map(|(_, a)| parsed(a)).collect();
            } else {
                pod.addresses = match families {
                    0 => vec![],
                    1..=3 => vec![v4.unwrap()],
                    4 => vec![v6.unwrap()],
                    _ => vec![v4.unwrap(), v6.unwrap()],
                };
            }
            pod
        },
    )
}

const NODES: [(&str, &[&str]); 2] = [("n1", &["10.9.0.1"]), ("n2", &["10.9.0.2", "fd09::2"])];

fn parsed(addresses: &[&str]) -> Vec<IpAddr> {
    addresses.iter().map(|address| address.parse().unwrap()).collect()
}

fn some_world() -> impl Strategy<Value = World> {
    let pods = (some_pod(0), some_pod(1), some_pod(2), some_pod(3), some_pod(4));
    (pods, some_labels(&["k"]), some_labels(&["k"])).prop_map(|((a, b, c, d, e), n0, n1)| {
        let namespace = |name: &str, mut labels: Labels, known: bool| {
            labels.insert(NAMESPACE_NAME.to_owned(), name.to_owned());
            (name.to_owned(), Namespace { labels, place: known.then(place) })
        };
        let nodes = NODES
            .iter()
            .map(|(name, addresses)| ((*name).to_owned(), Node { addresses: parsed(addresses), place: place() }));
        World {
            namespaces: [
                namespace("n0", n0, true),
                namespace("n1", n1, true),
                // Known only by reference.
                namespace("n2", Labels::new(), false),
            ]
            .into(),
            pods: vec![a, b, c, d, e],
            nodes: nodes.collect(),
            ..World::default()
        }
    })
}

fn some_end() -> impl Strategy<Value = End> {
    let addresses =
        ["203.0.113.7", "10.0.0.1", "10.0.0.2", "10.0.1.2", "fd00::1", "2001:db8::1", "10.9.0.1", "fd09::2"];
    prop_oneof![
        4 => (0..5_usize).prop_map(|index| End::Pod(PodId(index))),
        1 => select(parsed(&addresses)).prop_map(End::Address),
    ]
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
                return vec![Known { pod: None, ports: vec![], host, node, addresses: vec![address] }];
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
                ways.push(Known {
                    pod: Some((pod.name.namespace.clone(), namespace_labels, pod.labels.clone())),
                    ports: pod.ports.clone(),
                    host: pod.host_network,
                    node: node.clone(),
                    addresses: addresses.clone(),
                });
            }
        }
    }
    ways
}

/// The verdict of one way: `None` when the two ends share no family.
fn in_one_way(policies: &[Spec], ask: Ask<'_>, asked: (End, End)) -> Option<(Declared, Vec<(Family, Declared)>)> {
    let has = |end: &Known, family| end.addresses.iter().any(|address| Family::of(*address) == family);
    let as_pod = |end: End| matches!(end, End::Pod(_));
    let mut by_family = Vec::new();
    for family in Family::ALL {
        // Against a bare address its family is asked for, whatever the pod has.
        let from = has(ask.from, family) || (as_pod(asked.0) && ask.to.pod.is_none());
        let to = has(ask.to, family) || (as_pod(asked.1) && ask.from.pod.is_none());
        if from && to {
            let fits = oracle(policies, Ask { family, ..ask });
            by_family.push((family, if fits { Declared::Allowed } else { Declared::Denied }));
        }
    }
    let worst = by_family.iter().map(|(_, declared)| *declared).reduce(Declared::and)?;
    Some((worst, by_family))
}

fn compare(
    world: &World,
    policies: &[Spec],
    from: End,
    to: End,
    port: u16,
    protocol: Protocol,
) -> Result<(), TestCaseError> {
    let text = Value::Array(policies.iter().enumerate().map(|(index, spec)| spec.json(index)).collect());
    let (set, findings) = read(&json!({"apiVersion": "v1", "kind": "List", "items": text}).to_string());
    prop_assert_eq!(set.policies.len(), policies.len(), "{:?}", findings);
    let engine = Engine::new(world, &set);
    let answer = engine.verdict(from, to, port, protocol);

    let (froms, tos) = (ways(world, from), ways(world, to));
    let pod_of = |end: End| match end {
        End::Pod(PodId(index)) => Some(index),
        End::Address(address) => world.pods.iter().position(|p| !p.host_network && p.addresses.contains(&address)),
    };
    let itself = pod_of(from).is_some_and(|index| {
        let pod = &world.pods[index];
        pod_of(to) == Some(index) && !pod.template && !pod.host_network
    });
    let mut outcomes = Vec::new();
    for (i, a) in froms.iter().enumerate() {
        for (j, b) in tos.iter().enumerate() {
            // One namespace has one set of labels, and a pod that talks to itself is one pod.
            let same_namespace = matches!((&a.pod, &b.pod), (Some(a), Some(b)) if a.0 == b.0 && a.1 != b.1);
            if same_namespace || (itself && pod_of(from) == pod_of(to) && froms.len() == tos.len() && i != j) {
                continue;
            }
            for named_in_block in [false, true] {
                let ask = Ask { from: a, to: b, itself, family: Family::V4, port, protocol, named_in_block };
                outcomes.extend(in_one_way(policies, ask, (from, to)));
            }
        }
    }
    let hidden = froms.len() > 1 || tos.len() > 1;
    for (declared, by_family) in &outcomes {
        if answer.declared != Declared::Unknown {
            prop_assert_eq!(answer.declared, *declared, "{:?}\n{}\n{}", by_family, text, answer.sentence());
        }
        for (family, declared) in &answer.by_family {
            let other = by_family.iter().find(|(f, _)| f == family);
            if let Some((_, other)) = other.filter(|_| *declared != Declared::Unknown) {
                prop_assert_eq!(declared, other, "{}\n{}\n{}", family, text, answer.sentence());
            }
        }
    }
    if answer.declared == Declared::Unknown && !hidden && !outcomes.is_empty() {
        let differ = outcomes.iter().any(|(declared, _)| *declared != outcomes[0].0);
        prop_assert!(differ, "unknown without a reason: {}\n{}", text, answer.sentence());
    }
    agrees_with_admitted(&engine, from, to, protocol)
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
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_says_what_the_text_says(
        world in some_world(),
        policies in prop::collection::vec(spec(), 0..6),
        ends in prop::collection::vec((some_end(), some_end()), 1..4),
        port in select(&NUMBERS[..]),
        protocol in select(&Protocol::ALL[..]),
    ) {
        for (from, to) in ends {
            compare(&world, &policies, from, to, port, protocol)?;
        }
    }
}
