//! Random small clusters and policies: tiny alphabets, so that things meet.

use std::net::IpAddr;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::oracle::{Net, Peer, Port, Rule, Selector, Spec};
use super::{container_port, place, pod};
use crate::policy::End;
use crate::world::labels::NAMESPACE_NAME;
use crate::world::{Labels, Namespace, Node, Pod, PodId, Protocol, World};

const VALUES: [&str; 3] = ["x", "y", ""];
pub(super) const NUMBERS: [u16; 5] = [1, 80, 81, 443, 65535];

pub(super) fn selector(keys: &'static [&'static str]) -> impl Strategy<Value = Selector> {
    let values = subsequence(VALUES.to_vec(), 1..=2);
    let with_values = (select(keys), select(&["In", "NotIn"][..]), values);
    let without = (select(keys), select(&["Exists", "DoesNotExist"][..]), Just(Vec::new()));
    let expression = prop_oneof![with_values, without];
    let label = (select(keys), select(&VALUES[..]));
    prop_oneof![
        3 => Just(Selector { labels: vec![], expressions: vec![] }),
        3 => label.clone().prop_map(|label| Selector { labels: vec![label], expressions: vec![] }),
        2 => (prop::collection::vec(label, 0..2), prop::collection::vec(expression, 1..3))
            .prop_map(|(labels, expressions)| Selector { labels, expressions }),
    ]
}

pub(super) fn namespace_selector() -> impl Strategy<Value = Selector> {
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
        3 => select(&["http", "dns"][..]).prop_map(|name| (Some(Err(name)), None)),
    ];
    let port = (protocol, port).prop_map(|(protocol, (port, end_port))| Port { protocol, port, end_port });
    let peers = prop::option::weighted(0.8, prop::collection::vec(peer, 0..3));
    let ports = prop::option::weighted(0.8, prop::collection::vec(port, 0..3));
    (peers, ports).prop_map(|(peers, ports)| Rule { peers, ports })
}

pub(super) fn spec() -> impl Strategy<Value = Spec> {
    let rules = || prop::option::weighted(0.8, prop::collection::vec(rule(), 0..3));
    let types = prop::option::weighted(0.7, subsequence(vec!["Ingress", "Egress"], 0..=2));
    let subject = prop_oneof![
        1 => Just(Selector { labels: vec![], expressions: vec![] }),
        1 => selector(&["k", "l"]),
    ];
    (select(&["n0", "n0", "n1", "n2"][..]), subject, rules(), rules(), types).prop_map(
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
    (select(&["n0", "n0", "n1", "n2"][..]), some_labels(&["k", "l"]), ports, 0..8_usize, node, 0..8_usize).prop_map(
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

pub(super) fn parsed(addresses: &[&str]) -> Vec<IpAddr> {
    addresses.iter().map(|address| address.parse().unwrap()).collect()
}

pub(super) fn some_world() -> impl Strategy<Value = World> {
    let pods = (some_pod(0), some_pod(1), some_pod(2), some_pod(3), some_pod(4));
    (pods, some_labels(&["k"]), some_labels(&["k"])).prop_map(|((a, b, c, d, e), n0, n1)| {
        let namespace = |name: &str, mut labels: Labels, known: bool| {
            labels.insert(NAMESPACE_NAME.to_owned(), name.to_owned());
            (name.to_owned(), Namespace { labels, place: known.then(place) })
        };
        let nodes = NODES.iter().map(|(name, addresses)| {
            (
                (*name).to_owned(),
                Node {
                    labels: Labels::from([("k".to_owned(), (if *name == "n1" { "x" } else { "y" }).to_owned())]),
                    addresses: parsed(addresses),
                    place: place(),
                },
            )
        });
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

pub(super) fn some_end() -> impl Strategy<Value = End> {
    let addresses =
        ["203.0.113.7", "10.0.0.1", "10.0.0.2", "10.0.1.2", "fd00::1", "2001:db8::1", "10.9.0.1", "fd09::2"];
    prop_oneof![
        4 => (0..5_usize).prop_map(|index| End::Pod(PodId(index))),
        1 => select(parsed(&addresses)).prop_map(End::Address),
    ]
}
