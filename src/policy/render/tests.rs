//! The guide's edges, rendered; and a strict reading of networking.k8s.io/v1 that refuses everything the API server would refuse.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::matrix::{Edge, Exchange, Expect, Party, Peer, PeerKind, Provenance};
use crate::source::yaml;
use crate::world::{ObjectName, PodId, Protocol};

mod schema;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn pods(namespace: &str, selector: &[(&str, &str)], ports: &[u16]) -> Peer {
    let kind = PeerKind::Pods { namespace: namespace.into(), selector: labels(selector), pods: Vec::new() };
    Peer { kind, ports: ports.to_vec(), service: None, by_default: false }
}

fn blocks(nets: &[&str], except: &[&str], ports: &[u16]) -> Peer {
    let parse = |nets: &[&str]| nets.iter().map(|net| net.parse().unwrap()).collect();
    let kind = PeerKind::Blocks { nets: parse(nets), except: parse(except), host: Some("auth.example.org".into()) };
    Peer { kind, ports: ports.to_vec(), service: None, by_default: false }
}

fn edge(name: &str, protocol: Protocol, from: Vec<Peer>, to: Vec<Peer>) -> ResolvedEdge {
    let provenance =
        Provenance { place: None, section: "guide: NetworkPolicy".into(), says: format!("{name} is needed") };
    let edge = Edge {
        name: name.into(),
        from: Vec::new(),
        to: Vec::new(),
        protocol,
        expect: Expect::Allow,
        tier: 0,
        breaks: "nobody can log in".into(),
        provenance: vec![provenance],
        exchange: Exchange::Tcp,
    };
    ResolvedEdge { edge, from, to }
}

fn mas(ports: &[u16]) -> Peer {
    pods("matrix", &[("app", "mas")], ports)
}

fn guide() -> Resolution {
    let subject = Subject { namespace: "matrix".into(), selector: labels(&[("app", "mas")]), pods: vec![PodId(0)] };
    let traefik = |ports: &[u16]| pods("kube-system", &[("app.kubernetes.io/name", "traefik")], ports);
    let dns = || pods("kube-system", &[("k8s-app", "kube-dns")], &[53]);
    let local = || blocks(&["169.254.20.10/32"], &[], &[53]);
    let world = blocks(&["0.0.0.0/0", "::/0"], &["10.0.0.0/8", "10.1.0.0/16", "fc00::/7"], &[443]);
    let postgres = Peer {
        service: Some((ObjectName::new("postgres", "db-rw"), 5433)),
        ..pods("postgres", &[("cnpg.io/cluster", "db")], &[5432])
    };
    let mut forbidden = edge("stranger-to-mas", Protocol::Tcp, vec![], vec![mas(&[8080])]);
    forbidden.edge.expect = Expect::Deny;
    forbidden.from = vec![Peer { kind: PeerKind::AnyPod, ports: vec![], service: None, by_default: false }];
    let edges = vec![
        edge("traefik-to-mas", Protocol::Tcp, vec![traefik(&[])], vec![mas(&[8080])]),
        edge("synapse-to-mas", Protocol::Tcp, vec![pods("matrix", &[("app", "synapse")], &[])], vec![mas(&[8080])]),
        edge("mas-to-postgres", Protocol::Tcp, vec![mas(&[])], vec![postgres]),
        edge("mas-to-synapse", Protocol::Tcp, vec![mas(&[])], vec![pods("matrix", &[("app", "synapse")], &[8008])]),
        edge("mas-to-authelia", Protocol::Tcp, vec![mas(&[])], vec![traefik(&[8443]), world]),
        edge("mas-to-dns-udp", Protocol::Udp, vec![mas(&[])], vec![dns(), local()]),
        edge("mas-to-dns-tcp", Protocol::Tcp, vec![mas(&[])], vec![dns(), local()]),
        forbidden,
    ];
    Resolution { subject: Some(subject), edges, findings: Vec::new() }
}

fn name() -> ObjectName {
    ObjectName { name: "mas".into(), namespace: "matrix".into() }
}

#[track_caller]
fn render(resolution: &Resolution) -> Rendered {
    let rendered = network_policy(resolution, &name(), Directions::Both).unwrap();
    schema::check(&rendered.policy).unwrap();
    for counterpart in &rendered.counterparts {
        schema::check(&counterpart.policy).unwrap();
    }
    rendered
}

#[test]
fn the_guide_as_a_policy() {
    insta::assert_snapshot!("guide", render(&guide()).yaml);
}

#[test]
fn the_proposals_for_the_peers() {
    let rendered = render(&guide());
    let names: Vec<String> = rendered
        .counterparts
        .iter()
        .map(|c| {
            format!("{} {}/{}", policy_type(c.direction), c.namespace, c.policy["metadata"]["name"].as_str().unwrap())
        })
        .collect();
    insta::assert_snapshot!("proposals", names.join("\n"));
    insta::assert_snapshot!(
        "proposal_for_postgres",
        rendered.counterparts.iter().find(|c| c.edge == "mas-to-postgres").unwrap().yaml
    );
}

/// What is written reads back as the very value that is sent to the API server.
#[test]
fn the_file_is_the_policy() {
    let rendered = render(&guide());
    let (documents, error) = yaml::parse(&Arc::from("x"), &rendered.yaml);
    assert_eq!((documents.len(), error), (1, None));
    let spec = documents[0].root.get("spec").unwrap();
    let egress = rendered.policy["spec"]["egress"].as_array().unwrap();
    assert_eq!(spec.get("egress").unwrap().items().len(), egress.len());
}

#[track_caller]
fn check(change: impl Fn(&mut Resolution), path: &str, expect: &Value) {
    let mut resolution = guide();
    change(&mut resolution);
    assert_eq!(render(&resolution).policy.pointer(path).unwrap_or(&Value::Null), expect, "{path}");
}

#[test]
fn rules_say_exactly_what_edges_need() {
    let only = |edge: ResolvedEdge| move |r: &mut Resolution| r.edges = vec![edge.clone()];
    let to = |peer: Peer| only(edge("e", Protocol::Tcp, vec![mas(&[])], vec![peer]));
    let block = |net: &str, except: &[&str]| match except {
        [] => json!([{"ipBlock": {"cidr": net}}]),
        _ => json!([{"ipBlock": {"cidr": net, "except": except}}]),
    };
    // The pod port, never the Service port of the same peer.
    check(
        |r| r.edges.retain(|e| e.edge.name == "mas-to-postgres"),
        "/spec/egress/0/ports",
        &json!([{"protocol": "TCP", "port": 5432}]),
    );
    check(to(blocks(&["10.1.2.3/8"], &[], &[1])), "/spec/egress/0/to", &block("10.0.0.0/8", &[]));
    check(
        to(blocks(&["10.0.0.0/8"], &["192.168.0.0/16", "10.2.0.0/16", "10.2.3.0/24", "10.1.0.0/16"], &[1])),
        "/spec/egress/0/to",
        &block("10.0.0.0/8", &["10.1.0.0/16", "10.2.0.0/16"]),
    );
    check(to(blocks(&["10.0.0.0/8"], &["10.0.0.0/8"], &[1])), "/spec/egress", &Value::Null);
    check(to(blocks(&["::/0"], &["0.0.0.0/0"], &[1])), "/spec/egress/0/to", &block("::/0", &[]));
    check(
        to(pods("matrix", &[("a", "b")], &[1])),
        "/spec/egress/0/to",
        &json!([{"podSelector": {"matchLabels": {"a": "b"}}}]),
    );
    check(
        to(pods("other", &[], &[1])),
        "/spec/egress/0/to",
        &json!([{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "other"}}, "podSelector": {}}]),
    );
    // A port that is not known opens nothing.
    check(to(pods("other", &[("a", "b")], &[])), "/spec/egress", &Value::Null);
    check(to(pods("other", &[("a", "b")], &[])), "/spec/policyTypes", &json!(["Ingress", "Egress"]));
    // Edges between others are not the subject's, and forbidden ones open nothing.
    check(
        only(edge("e", Protocol::Tcp, vec![pods("a", &[], &[])], vec![pods("b", &[], &[1])])),
        "/spec/egress",
        &Value::Null,
    );
    check(|r| r.edges.retain(|e| e.edge.expect == Expect::Deny), "/spec/ingress", &Value::Null);
    // Any pod is also the subject.
    let any = Peer { kind: PeerKind::AnyPod, ports: vec![], service: None, by_default: false };
    check(
        only(edge("e", Protocol::Sctp, vec![any.clone()], vec![pods("b", &[("c", "d")], &[1])])),
        "/spec/egress/0/ports",
        &json!([{"protocol": "SCTP", "port": 1}]),
    );
    check(
        only(edge("e", Protocol::Tcp, vec![any], vec![mas(&[8080])])),
        "/spec/ingress/0/from",
        &json!([{"namespaceSelector": {}}]),
    );
}

#[test]
fn what_is_not_known_is_left_out_and_reported() {
    let mut resolution = guide();
    let mut smtp = edge("mas-to-smtp", Protocol::Tcp, vec![mas(&[])], vec![]);
    smtp.edge.from = vec![Party::Unknown { peer: "smtp" }];
    smtp.to = vec![Peer { kind: PeerKind::Unresolved, ports: vec![587], service: None, by_default: false }];
    resolution.edges.push(smtp);
    let rendered = render(&resolution);
    assert_eq!(rendered.policy["spec"], render(&guide()).policy["spec"]);
    let [finding] = &rendered.left_out[..] else { panic!("{:?}", rendered.left_out) };
    assert_eq!((finding.code, finding.edge.as_deref()), (Code::PeerUnknown, Some("mas-to-smtp")));
    assert_eq!(finding.fix, "write `peers.smtp` into the TrafficMatrix");
}

#[test]
fn what_cannot_be_rendered_is_refused() {
    #[track_caller]
    fn refused(change: impl Fn(&mut Resolution, &mut ObjectName), code: Code) {
        let (mut resolution, mut name) = (guide(), name());
        change(&mut resolution, &mut name);
        assert_eq!(network_policy(&resolution, &name, Directions::Both).unwrap_err().code, code);
    }
    refused(|r, _| r.subject = None, Code::SubjectUnclear);
    refused(|r, _| r.subject.as_mut().unwrap().selector.clear(), Code::SubjectUnclear);
    refused(|r, _| r.subject.as_mut().unwrap().selector = labels(&[("a b", "c")]), Code::InvalidPolicy);
    refused(|_, n| n.name = "Mas".into(), Code::InvalidPolicy);
    refused(|_, n| n.name = "m".repeat(64), Code::InvalidPolicy);
    refused(|_, n| n.name = String::new(), Code::InvalidPolicy);
}

#[test]
fn one_direction_at_a_time() {
    let rendered = network_policy(&guide(), &name(), Directions::Egress).unwrap();
    schema::check(&rendered.policy).unwrap();
    assert_eq!(rendered.policy["spec"]["policyTypes"], json!(["Egress"]));
    assert_eq!(rendered.policy["spec"].get("ingress"), None);
    assert!(rendered.counterparts.iter().all(|c| c.direction == Direction::Ingress));
}

#[test]
fn a_thousand_edges_fit_into_the_annotations() {
    let mut resolution = guide();
    let many =
        |n: u16| edge(&format!("e{n}"), Protocol::Tcp, vec![mas(&[])], vec![pods("b", &[("n", &n.to_string())], &[n])]);
    resolution.edges = (1..3000).map(many).collect();
    let rendered = render(&resolution);
    assert_eq!(rendered.policy["spec"]["egress"].as_array().unwrap().len(), 2999);
    assert!(rendered.policy["metadata"]["annotations"][EDGES].as_str().unwrap().len() < 140_000);
}

proptest! {
    /// The same edges in any order are the same bytes.
    #[test]
    fn order_does_not_matter(edges in Just(guide().edges).prop_shuffle(), flip in any::<bool>()) {
        let mut resolution = guide();
        resolution.edges = edges;
        if flip {
            for edge in &mut resolution.edges {
                edge.from.reverse();
                edge.to.reverse();
            }
        }
        prop_assert_eq!(render(&resolution), render(&guide()));
    }
}
