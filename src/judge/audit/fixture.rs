//! The guide's cluster as the tests of this folder and of `verify` see it, with the edges that resolving it gives.

use std::sync::Arc;

use crate::matrix::{
    Edge, Exchange, Expect, Party, Peer, PeerKind, Provenance, Resolution, ResolvedEdge, Subject, Target,
};
use crate::policy::render::{self, Directions};
use crate::policy::{PolicyBuilder, PolicySet};
use crate::source::yaml;
use crate::world::labels::matches_all;
use crate::world::lower::WorldBuilder;
use crate::world::{Labels, ObjectName, PodId, Protocol, World, objects};

/// The files of the guide's world, with the stranger.
pub(crate) fn guide_files() -> Vec<(String, String)> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut paths: Vec<_> = std::fs::read_dir(root.join("guide-world")).unwrap().map(|e| e.unwrap().path()).collect();
    paths.push(root.join("guide-world-variants/stranger.yaml"));
    paths.sort();
    let name = |path: &std::path::Path| path.file_name().unwrap().to_string_lossy().into_owned();
    paths.iter().map(|path| (name(path), std::fs::read_to_string(path).unwrap())).collect()
}

/// Lowers files, all of which must be sound.
#[track_caller]
pub(crate) fn load(files: &[(String, String)]) -> (World, PolicySet) {
    let (mut world, mut policies, mut problems) = (WorldBuilder::default(), PolicyBuilder::default(), Vec::new());
    for (name, text) in files {
        let (documents, error) = yaml::parse(&Arc::from(name.as_str()), text);
        assert_eq!(error, None, "{text}");
        for object in documents.into_iter().flat_map(|document| objects(document, &mut problems)) {
            world.add(&object);
            policies.add(&object);
        }
    }
    let (policies, findings) = policies.finish();
    assert_eq!((problems, findings), (Vec::new(), Vec::new()));
    (world.finish().0, policies)
}

/// `a=b,c=d` as labels.
pub(crate) fn labels(text: &str) -> Labels {
    text.split(',').filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

/// Pods by labels.
pub(crate) fn pods(world: &World, namespace: &str, selector: &str, ports: &[u16]) -> Peer {
    let selector = labels(selector);
    let fits = world.pods().filter(|(_, pod)| pod.name.namespace == namespace && matches_all(&selector, &pod.labels));
    let pods: Vec<PodId> = fits.map(|(id, _)| id).collect();
    let kind = PeerKind::Pods { namespace: namespace.into(), selector, pods };
    Peer { kind, ports: ports.to_vec(), service: None, by_default: false }
}

/// Addresses.
pub(crate) fn blocks(nets: &[&str], except: &[&str], ports: &[u16], by_default: bool) -> Peer {
    let parse = |nets: &[&str]| nets.iter().map(|net| net.parse().unwrap()).collect();
    let kind = PeerKind::Blocks { nets: parse(nets), except: parse(except), host: None };
    Peer { kind, ports: ports.to_vec(), service: None, by_default }
}

/// Any pod.
pub(crate) fn any_pod(ports: &[u16]) -> Peer {
    Peer { kind: PeerKind::AnyPod, ports: ports.to_vec(), service: None, by_default: false }
}

/// The subject of the guide's world.
pub(crate) const MAS: &str = "app.kubernetes.io/component=mas";

/// An edge between resolved peers.
pub(crate) fn edge(name: &str, protocol: Protocol, expect: Expect, from: Peer, to: Peer) -> ResolvedEdge {
    let provenance = Provenance { place: None, section: "guide".into(), says: name.into() };
    // By the names of the guide's edges.
    let party = |is_subject| if is_subject { Party::Subject } else { Party::AnyPod };
    let target = Target {
        party: party(name.ends_with("-to-mas")),
        port: crate::matrix::Port::Unknown { default: None },
        place: None,
    };
    let edge = Edge {
        name: name.into(),
        from: vec![party(name.starts_with("mas-to-"))],
        to: vec![target],
        protocol,
        expect,
        tier: 0,
        breaks: "nobody can log in".into(),
        provenance: vec![provenance],
        exchange: match name {
            "mas-to-dns-udp" => Exchange::DnsUdp,
            "mas-to-dns-tcp" => Exchange::DnsTcp,
            _ => Exchange::Tcp,
        },
    };
    ResolvedEdge { edge, from: vec![from], to: vec![to] }
}

/// The guide's edges over its world.
pub(crate) fn guide(world: &World) -> Resolution {
    use Expect::{Allow, Deny};
    use Protocol::{Tcp, Udp};
    let mas = |ports: &[u16]| pods(world, "matrix", MAS, ports);
    let synapse = |ports: &[u16]| pods(world, "matrix", "app.kubernetes.io/component=synapse", ports);
    let traefik = |ports: &[u16]| pods(world, "traefik", "app.kubernetes.io/name=traefik", ports);
    let dns = || pods(world, "kube-system", "k8s-app=kube-dns", &[53]);
    let through = |namespace: &str, name: &str, port: u16, peer: Peer| Peer {
        service: Some((ObjectName::new(namespace, name), port)),
        ..peer
    };
    let mut authelia =
        edge("mas-to-authelia", Tcp, Allow, mas(&[]), through("traefik", "traefik", 443, traefik(&[8443])));
    authelia.to.push(blocks(&["198.51.100.7/32", "203.0.113.10/32"], &[], &[443], false));
    let mail = pods(world, "mail", "app.kubernetes.io/name=exim-relay", &[8025]);
    let stranger = pods(world, "matrix", "app.kubernetes.io/name=portreeve-stranger", &[9691]);
    let edges = vec![
        edge("traefik-to-mas", Tcp, Allow, traefik(&[]), mas(&[8080])),
        edge("synapse-to-mas", Tcp, Allow, synapse(&[]), mas(&[8080])),
        edge("mas-to-postgres", Tcp, Allow, mas(&[]), pods(world, "postgres", "cnpg.io/cluster=matrix-db", &[5432])),
        edge("mas-to-synapse", Tcp, Allow, mas(&[]), through("matrix", "matrix-synapse-synapse", 80, synapse(&[8008]))),
        authelia,
        edge("mas-to-dns-udp", Udp, Allow, mas(&[]), dns()),
        edge("mas-to-dns-tcp", Tcp, Allow, mas(&[]), dns()),
        edge("mas-to-smtp", Tcp, Allow, mas(&[]), through("mail", "exim-relay", 587, mail)),
        edge("stranger-to-mas", Tcp, Deny, any_pod(&[]), mas(&[8080])),
        edge("mas-to-stranger", Tcp, Deny, mas(&[]), stranger),
    ];
    let subject = Subject { namespace: "matrix".into(), selector: labels(MAS), pods: mas_pods(world) };
    Resolution { subject: Some(subject), edges, findings: Vec::new() }
}

fn mas_pods(world: &World) -> Vec<PodId> {
    match pods(world, "matrix", MAS, &[]).kind {
        PeerKind::Pods { pods, .. } => pods,
        _ => Vec::new(),
    }
}

/// The matrix of the guide.
pub(crate) fn name() -> ObjectName {
    ObjectName { name: "mas".into(), namespace: "matrix".into() }
}

/// The policy that is rendered for the guide's world.
pub(crate) fn rendered(world: &World) -> String {
    render::network_policy(&guide(world), &name(), Directions::Both).unwrap().yaml
}
