//! Random labels and policies, with every part of the API.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Map, Value, json};

use crate::cast::{NAMES, NAMESPACES, OWN, PORTS};
use crate::dice::Dice;

/// Keys and values of pods' labels; an empty value is a value.
const POD_LABELS: [(&str, [&str; 2]); 2] = [("app", ["a", "b"]), ("tier", ["web", ""])];
const NAMESPACE_LABELS: [(&str, [&str; 2]); 2] = [("team", ["red", "blue"]), ("env", ["prod", ""])];
/// Every namespace has it.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";
const PORT_NAMES: [&str; 3] = ["http", "dns", "metrics"];

/// What changes from world to world. Labels that are null are not there.
#[derive(Debug, Clone)]
pub struct World {
    /// In the order of [`NAMESPACES`].
    pub namespaces: Vec<Value>,
    /// In the order of `cast::pods`.
    pub pods: Vec<Value>,
    /// `{"metadata": {"name", "namespace"}, "spec"}`
    pub policies: Vec<Value>,
}

impl World {
    /// Nobody is labelled, nothing is isolated.
    pub fn empty(pods: usize) -> Self {
        let none =
            |labels: &[(&str, [&str; 2])]| labels.iter().map(|(key, _)| ((*key).to_owned(), Value::Null)).collect();
        Self {
            namespaces: vec![Value::Object(none(&NAMESPACE_LABELS)); NAMESPACES.len()],
            pods: vec![Value::Object(none(&POD_LABELS)); pods],
            policies: Vec::new(),
        }
    }

    /// `addresses` are those of the pods, the nodes and the outside, of both families.
    pub fn random(dice: &mut Dice, pods: usize, addresses: &[IpAddr]) -> Self {
        Self {
            namespaces: NAMESPACES.map(|_| labels(dice, &NAMESPACE_LABELS)).to_vec(),
            pods: (0..pods).map(|_| labels(dice, &POD_LABELS)).collect(),
            policies: (0..dice.between(3, 8)).map(|number| policy(dice, number, addresses)).collect(),
        }
    }
}

fn labels(dice: &mut Dice, from: &[(&str, [&str; 2])]) -> Value {
    let pairs = from.iter().map(|(key, values)| {
        let value = if dice.percent(70) { json!(dice.pick(values)) } else { Value::Null };
        ((*key).to_owned(), value)
    });
    Value::Object(pairs.collect())
}

fn policy(dice: &mut Dice, number: u64, addresses: &[IpAddr]) -> Value {
    let mut spec = Map::new();
    if dice.percent(80) {
        spec.insert("podSelector".to_owned(), selector(dice, &POD_LABELS, (OWN, &NAMES)));
    }
    let types: &[&[&str]] = &[&[], &["Ingress"], &["Egress"], &["Ingress", "Egress"]];
    let types = dice.pick(types);
    if !types.is_empty() {
        spec.insert("policyTypes".to_owned(), json!(types));
    }
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        // Rules for a direction that is not among the types are there, too, and mean nothing.
        if dice.percent(75) {
            spec.insert(direction.to_owned(), dice.several(0, 3, |dice| rule(dice, peers, addresses)).into());
        }
    }
    json!({"metadata": {"name": format!("policy-{number}"), "namespace": dice.pick(&NAMESPACES)}, "spec": spec})
}

fn rule(dice: &mut Dice, peers: &str, addresses: &[IpAddr]) -> Value {
    let mut rule = Map::new();
    if dice.percent(80) {
        rule.insert(peers.to_owned(), dice.several(0, 2, |dice| peer(dice, addresses)).into());
    }
    if dice.percent(60) {
        rule.insert("ports".to_owned(), dice.several(0, 3, port).into());
    }
    rule.into()
}

fn peer(dice: &mut Dice, addresses: &[IpAddr]) -> Value {
    let of_pods = selector(dice, &POD_LABELS, (OWN, &NAMES));
    let of_namespaces = selector(dice, &NAMESPACE_LABELS, (NAMESPACE_NAME, &NAMESPACES));
    match dice.between(0, 9) {
        0..=2 => json!({"podSelector": of_pods}),
        3..=4 => json!({"namespaceSelector": of_namespaces}),
        5..=6 => json!({"podSelector": of_pods, "namespaceSelector": of_namespaces}),
        _ => json!({"ipBlock": block(dice, addresses)}),
    }
}

fn selector(dice: &mut Dice, labels: &[(&str, [&str; 2])], fixed: (&str, &[&str])) -> Value {
    match dice.between(0, 9) {
        0..=1 => json!({}),
        2..=4 => json!({"matchLabels": pairs(dice, labels, fixed)}),
        5..=8 => json!({"matchExpressions": dice.several(1, 2, |dice| expression(dice, labels, fixed))}),
        _ => json!({"matchLabels": pairs(dice, labels, fixed), "matchExpressions": [expression(dice, labels, fixed)]}),
    }
}

/// A key and the values that it may have.
fn key<'a>(dice: &mut Dice, labels: &'a [(&str, [&str; 2])], fixed: (&'a str, &'a [&str])) -> (&'a str, &'a [&'a str]) {
    if dice.percent(20) {
        return fixed;
    }
    let (key, values) = dice.pick(labels);
    (key, values)
}

fn pairs(dice: &mut Dice, labels: &[(&str, [&str; 2])], fixed: (&str, &[&str])) -> Value {
    let (key, values) = key(dice, labels, fixed);
    json!({key: dice.pick(values)})
}

fn expression(dice: &mut Dice, labels: &[(&str, [&str; 2])], fixed: (&str, &[&str])) -> Value {
    let (key, values) = key(dice, labels, fixed);
    let operator = *dice.pick(&["In", "NotIn", "Exists", "DoesNotExist"]);
    if operator.ends_with("In") {
        json!({"key": key, "operator": operator, "values": dice.several(1, 2, |dice| *dice.pick(values))})
    } else {
        json!({"key": key, "operator": operator})
    }
}

/// Around one of the addresses, with exceptions around others in it.
fn block(dice: &mut Dice, addresses: &[IpAddr]) -> Value {
    let net = around(dice, addresses, 0);
    let inside: Vec<IpAddr> = addresses.iter().copied().filter(|address| net.contains(address)).collect();
    // An exception must be smaller than its block.
    let most = if net.prefix_len() == net.max_prefix_len() { 0 } else { 2 };
    let except = dice.several(0, most, |dice| around(dice, &inside, net.prefix_len() + 1).to_string());
    if except.is_empty() {
        json!({"cidr": net.to_string()})
    } else {
        json!({"cidr": net.to_string(), "except": except})
    }
}

/// A net that holds one of these addresses, with at least this prefix. New objects may have no bits beyond the prefix (`StrictIPCIDRValidation`).
fn around(dice: &mut Dice, addresses: &[IpAddr], shortest: u8) -> IpNet {
    let address = *dice.pick(addresses);
    let lengths: &[u8] =
        if address.is_ipv4() { &[0, 8, 16, 24, 29, 30, 31, 32] } else { &[0, 16, 56, 64, 112, 125, 127, 128] };
    let allowed: Vec<u8> = lengths.iter().copied().filter(|length| *length >= shortest).collect();
    IpNet::new_assert(address, *dice.pick(&allowed)).trunc()
}

fn port(dice: &mut Dice) -> Value {
    let mut port = Map::new();
    if dice.percent(50) {
        port.insert("protocol".to_owned(), json!(dice.pick(&["TCP", "UDP", "UDP", "SCTP"])));
    }
    match dice.between(0, 9) {
        0..=1 => {}
        2..=5 => drop(port.insert("port".to_owned(), json!(dice.pick(&PORTS)))),
        6..=7 => drop(port.insert("port".to_owned(), json!(dice.pick(&PORT_NAMES)))),
        _ => {
            let first = *dice.pick(&PORTS);
            port.insert("port".to_owned(), json!(first));
            port.insert("endPort".to_owned(), json!(first.max(*dice.pick(&PORTS)) + u16::from(dice.percent(50))));
        }
    }
    port.into()
}
