//! One small cluster that the tables ask about, and the reading of policies out of YAML.

mod clusters;
mod considered;
mod oracle;
mod reach;
mod refusals;
mod sentences;
mod tier_oracle;
mod tiers;
mod traps;

use std::net::IpAddr;
use std::sync::Arc;

use super::{Answer, End, Engine, PolicyBuilder, PolicySet};
use crate::finding::Finding;
use crate::source::{Place, Position, yaml};
use crate::world::labels::NAMESPACE_NAME;
use crate::world::{ContainerPort, Labels, Namespace, Node, ObjectName, Phase, Pod, PodId, Protocol, World, objects};

/// Reads objects the way every file is read.
fn read(text: &str) -> (PolicySet, Vec<Finding>) {
    let (documents, error) = yaml::parse(&Arc::from("p.yaml"), text);
    assert_eq!(error, None, "{text}");
    let mut builder = PolicyBuilder::default();
    let mut problems = Vec::new();
    for document in documents {
        for object in objects(document, &mut problems) {
            builder.add(&object);
        }
    }
    assert_eq!(problems, []);
    builder.finish()
}

/// Policies `p0`, `p1` … of namespace `a`, each given by its spec.
fn policies(specs: &[&str]) -> String {
    let documents = specs.iter().enumerate().map(|(index, spec)| {
        format!(
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p{index}, namespace: a}}\nspec: {spec}\n"
        )
    });
    documents.collect::<Vec<_>>().join("---\n")
}

fn labels(text: &str) -> Labels {
    let pairs = text.split(',').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap()).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

fn place() -> Place {
    Place::new(&Arc::from("w.yaml"), Position { line: 1, column: 1 })
}

fn pod(name: &str, labels_text: &str, addresses: &[&str]) -> Pod {
    let (namespace, name) = name.split_once('/').unwrap();
    Pod {
        name: ObjectName::new(namespace, name),
        workload: None,
        template: false,
        labels: labels(labels_text),
        images: Vec::new(),
        ports: Vec::new(),
        addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
        proxies: crate::world::Proxies::default(),
        dns: crate::world::PodDns::default(),
        host_network: false,
        node: Some("n1".to_owned()),
        phase: Phase::Live,
        ready: None,
        ready_since: None,
        leaving: false,
        place: place(),
    }
}

fn container_port(name: &str, number: u16, protocol: Protocol) -> ContainerPort {
    ContainerPort { name: Some(name.to_owned()), number, protocol }
}

/// Namespaces `a` and `b` are known; `c` only by reference. `host` and `far-host` share the networks of nodes `n1` and `n2`.
fn cluster() -> World {
    use Protocol::{Tcp, Udp};
    let mut web = pod("a/web", "app=web", &["10.0.0.1", "fd00::1"]);
    web.ports = vec![container_port("http", 8081, Udp), container_port("http", 8080, Tcp)];
    let mut web2 = pod("a/web2", "app=web,canary=yes", &["10.0.0.2"]);
    web2.ports =
        vec![container_port("http", 9090, Tcp), container_port("http", 9091, Tcp), container_port("dns", 53, Udp)];
    let mut pending = pod("a/pending", "app=web", &[]);
    pending.node = None;
    let mut template = pod("a/template", "app=template", &[]);
    (template.template, template.node) = (true, None);
    let mut done = pod("a/done", "app=web", &["10.0.0.9"]);
    done.phase = Phase::Finished;
    let mut host = pod("b/host", "app=web", &["10.9.0.1"]);
    host.host_network = true;
    let mut far_host = pod("b/far-host", "app=web", &["10.9.0.2"]);
    (far_host.host_network, far_host.node) = (true, Some("n2".to_owned()));
    let mut lost_host = pod("b/lost-host", "app=web", &[]);
    (lost_host.host_network, lost_host.node) = (true, Some("n3".to_owned()));
    let pods = vec![
        web,
        web2,
        pod("a/db", "app=db", &["10.0.0.3", "fd00::3"]),
        pod("b/web", "app=web", &["10.0.1.1", "fd00::101"]),
        pod("c/web", "app=web", &["10.0.2.1"]),
        pending,
        template,
        done,
        host,
        far_host,
        lost_host,
    ];
    let namespace = |name: &str, extra: &str, known: bool| {
        let mut labels = labels(extra);
        if known || extra.is_empty() {
            labels.insert(NAMESPACE_NAME.to_owned(), name.to_owned());
        }
        (name.to_owned(), Namespace { labels, place: known.then(place) })
    };
    let node = |name: &str, address: &str| {
        (
            name.to_owned(),
            Node { labels: labels("zone=west"), addresses: vec![address.parse().unwrap()], place: place() },
        )
    };
    World {
        namespaces: [namespace("a", "team=red", true), namespace("b", "team=blue", true), namespace("c", "", false)]
            .into(),
        pods,
        nodes: [node("n1", "10.9.0.1"), node("n2", "10.9.0.2")].into(),
        ..World::default()
    }
}

fn end(world: &World, text: &str) -> End {
    if let Ok(address) = text.parse::<IpAddr>() {
        return End::Address(address);
    }
    End::Pod(PodId(world.pods.iter().position(|pod| pod.name.to_string() == text).expect("a pod of the cluster")))
}

/// Asks for `from → to:port/protocol`, and sees to it that the set-valued answer agrees.
#[track_caller]
fn ask_set(set: &PolicySet, from: &str, to: &str, port: &str) -> Answer {
    let world = cluster();
    let engine = Engine::new(&world, set);
    let (number, protocol) = port.split_once('/').unwrap();
    let (number, protocol) = (number.parse().unwrap(), Protocol::parse(protocol).unwrap());
    let (from, to) = (end(&world, from), end(&world, to));
    let answer = engine.verdict(from, to, number, protocol);
    let admitted = engine.admitted(from, to);
    assert_eq!(admitted.traffic.declared(protocol, number), answer.declared, "admitted: {admitted:?}");
    answer
}

#[track_caller]
fn ask(specs: &[&str], from: &str, to: &str, port: &str) -> Answer {
    let (set, findings) = read(&policies(specs));
    assert_eq!(findings, [], "the policies of a table are clean");
    ask_set(&set, from, to, port)
}

/// The verdict under policies `p0`, `p1` … of namespace `a`.
#[track_caller]
fn check(specs: &[&str], from: &str, to: &str, port: &str, expect: &str) {
    let answer = ask(specs, from, to, port);
    assert_eq!(answer.declared.as_str(), expect, "{from} -> {to}:{port} under {specs:#?}\n{}", answer.sentence());
}

/// How many random clusters a property is tried on: `PORTREEVE_CASES` in the heavy stage, else what an everyday run can afford.
fn cases(everyday: u32) -> u32 {
    std::env::var("PORTREEVE_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(everyday)
}
