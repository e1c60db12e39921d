mod beyond;
mod listener;
mod readiness;
mod services;
mod subject;

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;

use super::*;
use crate::matrix::{Exchange, SubjectRule, Target};
use crate::source::yaml;
use crate::world::lower::WorldBuilder;
use crate::world::{Labels, Protocol, WorkloadKind, objects};

/// The guide's cluster with further objects after it.
fn guide_world(more: &str) -> World {
    let mut builder = WorldBuilder::default();
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/guide-world"));
    let loaded = crate::load::manifests::each(&[folder], &mut |object| builder.add(&object)).unwrap();
    assert_eq!(loaded.problems, []);
    finish(builder, more)
}

fn small_world(text: &str) -> World {
    finish(WorldBuilder::default(), text)
}

fn finish(mut builder: WorldBuilder, more: &str) -> World {
    let (documents, error) = yaml::parse(&Arc::from("more.yaml"), more);
    assert_eq!(error, None);
    let mut problems = Vec::new();
    documents.into_iter().flat_map(|document| objects(document, &mut problems)).for_each(|object| builder.add(&object));
    assert_eq!(problems, []);
    let (world, findings) = builder.finish();
    assert!(findings.iter().all(|finding| finding.message.contains("the later one counts")), "{findings:?}");
    world
}

fn host(host: &str) -> Party {
    Party::Host { host: host.to_owned(), allow_private: Vec::new() }
}

fn service(namespace: &str, name: &str) -> Party {
    Party::Service(ObjectName::new(namespace, name))
}

fn client(number: u16) -> Port {
    Port::Client(PortRef::Number(number))
}

fn edge(name: &str, from: Party, to: Party, port: Port) -> Edge {
    Edge {
        name: name.to_owned(),
        from: vec![from],
        to: vec![Target { party: to, port, place: None }],
        protocol: Protocol::Tcp,
        expect: Expect::Allow,
        tier: 0,
        breaks: String::new(),
        provenance: Vec::new(),
        exchange: Exchange::Tcp,
    }
}

fn out(party: Party, port: Port) -> Edge {
    edge("mas-to-x", Party::Subject, party, port)
}

fn oidc(mut edge: Edge) -> Edge {
    edge.exchange = Exchange::Oidc { issuer: "https://authelia.waadoo.ovh".to_owned() };
    edge
}

fn intent(edges: Vec<Edge>) -> Intent {
    Intent { edges, ..Intent::default() }
}

fn describe(peers: &[Peer], world: Option<&World>) -> String {
    let mut text = String::new();
    for peer in peers {
        let separator = if text.is_empty() { "" } else { " | " };
        text.push_str(separator);
        match &peer.kind {
            PeerKind::Pods { namespace, selector, pods } => {
                let labels: Vec<_> =
                    selector.iter().map(|(k, v)| format!("{}={v}", k.rsplit('/').next().unwrap())).collect();
                write!(text, "{namespace} {{{}}}", labels.join(",")).unwrap();
                let names: Vec<_> = pods.iter().map(|id| world.unwrap().pod(*id).name.name.as_str()).collect();
                write!(text, " [{}]", names.join(",")).unwrap();
            }
            PeerKind::AnyPod => text.push_str("any pod"),
            PeerKind::Blocks { nets, except, host } => {
                let nets: Vec<_> = nets.iter().map(ToString::to_string).collect();
                write!(text, "{}", nets.join(",")).unwrap();
                write!(text, "{}", if except.is_empty() { "" } else { " except inside" }).unwrap();
                if let Some(host) = host {
                    write!(text, " ({host})").unwrap();
                }
            }
            PeerKind::Unresolved => text.push_str("unresolved"),
        }
        peer.ports.iter().for_each(|port| write!(text, " {port}").unwrap());
        peer.service.iter().for_each(|(name, port)| write!(text, " via {name}:{port}").unwrap());
        text.push_str(if peer.by_default { " default" } else { "" });
    }
    text
}

/// Resolves one edge and compares the `to` end and the findings.
#[track_caller]
fn check(edge: Edge, world: Option<&World>, expect: &str, findings: &[&str]) {
    let resolution = resolve(&intent(vec![edge]), world);
    let got: Vec<_> = resolution.findings.iter().map(|f| format!("{} {}", f.code.code(), f.message)).collect();
    assert_eq!(
        (describe(&resolution.edges[0].to, world).as_str(), got),
        (expect, findings.iter().map(|f| (*f).to_owned()).collect())
    );
}

#[track_caller]
fn check_from(edge: Edge, world: Option<&World>, expect: &str, findings: &[&str]) {
    let resolution = resolve(&intent(vec![edge]), world);
    let got: Vec<_> = resolution.findings.iter().map(|f| format!("{} {}", f.code.code(), f.message)).collect();
    assert_eq!(
        (describe(&resolution.edges[0].from, world).as_str(), got),
        (expect, findings.iter().map(|f| (*f).to_owned()).collect())
    );
}
