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
    let loaded = crate::load::world(&[folder], &mut |object| builder.add(&object)).unwrap();
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

#[test]
fn the_guides_world_resolves_without_a_question() {
    let world = guide_world("");
    let mut dns = edge("mas-to-dns-udp", Party::Subject, Party::ClusterDns, client(53));
    dns.protocol = Protocol::Udp;
    let authelia = edge("mas-to-authelia", Party::Subject, host("authelia.waadoo.ovh"), client(443));
    let edges = vec![
        edge("traefik-to-mas", Party::IngressController(Some("auth.waadoo.ovh".into())), Party::Subject, client(8080)),
        edge("synapse-to-mas", host("matrix-synapse-synapse"), Party::Subject, Port::Pod(PortRef::Name("http".into()))),
        edge("mas-to-postgres", Party::Subject, host("matrix-db-rw.postgres.svc.cluster.local"), client(5432)),
        edge("mas-to-synapse", Party::Subject, host("matrix-synapse-synapse"), client(80)),
        oidc(authelia),
        dns,
        edge("mas-to-smtp", Party::Subject, host("exim-relay.mail.svc"), client(587)),
    ];
    let resolution = resolve(&intent(edges), Some(&world));
    assert_eq!(resolution.findings, []);
    let lines: Vec<_> = resolution
        .edges
        .iter()
        .map(|e| format!("{}: {} → {}", e.edge.name, describe(&e.from, Some(&world)), describe(&e.to, Some(&world))))
        .collect();
    let mas = "matrix {component=mas,instance=matrix-synapse,name=matrix-synapse} [mas-6d5f9c7b8-q8w4z]";
    let traefik = "traefik {instance=traefik-traefik,name=traefik} [traefik-7f8b6d5c4-t5r9k]";
    let synapse = "matrix {component=synapse,instance=matrix-synapse,name=matrix-synapse} [matrix-synapse-synapse-5b7d4f6c9-m2c7d]";
    assert_eq!(
        lines,
        [
            format!("traefik-to-mas: {traefik} → {mas} 8080 via matrix/mas:8080"),
            format!("synapse-to-mas: {synapse} → {mas} 8080 via matrix/mas:8080"),
            format!(
                "mas-to-postgres: {mas} → postgres {{cluster=matrix-db,instanceRole=primary}} [matrix-db-1] 5432 via postgres/matrix-db-rw:5432"
            ),
            format!("mas-to-synapse: {mas} → {synapse} 8008 via matrix/matrix-synapse-synapse:80"),
            format!("mas-to-authelia: {mas} → {traefik} 8443 via traefik/traefik:443"),
            format!(
                "mas-to-dns-udp: {mas} → kube-system {{k8s-app=kube-dns}} [coredns-697968c856-d4s8g] 53 via kube-system/kube-dns:53"
            ),
            format!(
                "mas-to-smtp: {mas} → mail {{instance=mail,name=exim-relay}} [exim-relay-59d8c7f6b-e6j2y] 8025 via mail/exim-relay:587"
            ),
        ]
    );
}

#[test]
fn the_guides_synapse_url_names_the_pod_port() {
    let synapse = "matrix {component=synapse,instance=matrix-synapse,name=matrix-synapse} [matrix-synapse-synapse-5b7d4f6c9-m2c7d] 8008";
    let world = guide_world("");
    check(
        out(host("matrix-synapse-synapse"), client(8008)),
        Some(&world),
        &format!("{synapse} via matrix/matrix-synapse-synapse:80"),
        &["PR027 8008 is the pod port behind Service matrix/matrix-synapse-synapse, not its port; did you mean 80?"],
    );
    let variant = include_str!("../../../tests/fixtures/guide-world-variants/synapse-service-8008.yaml");
    let world = guide_world(variant);
    check(
        out(host("matrix-synapse-synapse"), client(8008)),
        Some(&world),
        &format!("{synapse} via matrix/matrix-synapse-synapse:8008"),
        &[],
    );
    check(
        out(host("matrix-synapse-synapse"), client(9999)),
        Some(&world),
        "unresolved",
        &["PR027 Service matrix/matrix-synapse-synapse has no port 9999/TCP; it has 8008/TCP"],
    );
    check(
        out(host("matrix-synapse-synaps"), client(80)),
        Some(&world),
        "unresolved",
        &["PR027 there is no Service matrix/matrix-synapse-synaps"],
    );
}

const PODS: &str = "
{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: x, labels: {app: a, pod-template-hash: h}}, spec: {containers: [{image: a, ports: [{name: web, containerPort: 80}]}]}, status: {podIP: 10.9.0.1}}
---
{apiVersion: v1, kind: Pod, metadata: {name: b, namespace: x, labels: {app: a}}, spec: {containers: [{image: a, ports: [{name: web, containerPort: 81, protocol: UDP}, {name: web, containerPort: 82}]}]}, status: {podIP: 10.9.0.2}}
---
{apiVersion: v1, kind: Pod, metadata: {name: done, namespace: x, labels: {app: a}}, status: {phase: Failed, podIP: 10.9.0.3}}
---
";

#[track_caller]
fn check_service(text: &str, port: Port, expect: &str, findings: &[&str]) {
    let world = guide_world(&format!("{PODS}{text}"));
    check(out(service("x", "s"), port), Some(&world), expect, findings);
}

#[test]
fn services_lead_to_pod_ports() {
    let of = |spec: &str| {
        format!("{{apiVersion: v1, kind: Service, metadata: {{name: s, namespace: x}}, spec: {spec}}}\n---\n")
    };
    let slice = |ports: &str, endpoints: &str| {
        format!(
            "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: s-1, namespace: x, labels: {{kubernetes.io/service-name: s}}}}, ports: {ports}, endpoints: {endpoints}}}"
        )
    };
    // A named target is another number on each pod; name and protocol must both fit; finished pods are out.
    let named = of("{selector: {app: a}, ports: [{port: 8080, targetPort: web}]}");
    check_service(&named, client(8080), "x {app=a} [a,b] 80 82 via x/s:8080", &[]);
    check_service(&named, Port::Pod(PortRef::Name("web".into())), "x {app=a} [a,b] 80 82 via x/s:8080", &[]);
    check_service(&named, Port::Unknown { default: None }, "x {app=a} [a,b] 80 82 via x/s:8080", &[]);
    check_service(&named, Port::Unknown { default: Some(5432) }, "x {app=a} [a,b] 80 82 via x/s:8080", &[]);
    check_service(
        &named,
        Port::Client(PortRef::Name("x".into())),
        "unresolved",
        &["PR027 Service x/s has no port x/TCP; it has 8080/TCP"],
    );
    check_service(
        &of("{selector: {app: a}, ports: [{port: 8080, targetPort: nope}]}"),
        client(8080),
        "unresolved via x/s:8080",
        &["PR027 Service x/s: targetPort `nope` (TCP) is no port of x/a, x/b"],
    );
    check_service(
        &of("{selector: {app: a}, ports: [{name: p, port: 1}, {name: q, port: 2}]}"),
        Port::Unknown { default: None },
        "unresolved",
        &["PR020 no source says which port of Service x/s is meant"],
    );
    // Headless: nothing rewrites the client's port.
    check_service(
        &of("{selector: {app: a}, clusterIP: None, ports: [{port: 5000, targetPort: 80}]}"),
        client(5000),
        "x {app=a} [a,b] 5000 via x/s:5000",
        &["PR027 Service x/s is headless, so clients reach its pods on 5000, and targetPort 80 is never used"],
    );
    check_service(
        &of("{selector: {app: a}, clusterIP: None, ports: [{port: 80}]}"),
        client(7),
        "x {app=a} [a,b] 7",
        &[],
    );
    // Slices speak before the selector.
    let unnamed = of("{selector: {app: a}, ports: [{port: 8080, targetPort: 1}]}");
    check_service(
        &[unnamed.as_str(), &slice("[{port: 81}]", "[{addresses: [10.9.0.1]}]")].concat(),
        client(8080),
        "x {app=a} [a,b] 81 via x/s:8080",
        &[],
    );
    // Without a selector: pods by reference, then addresses.
    let bare = of("{ports: [{port: 8080}]}");
    check_service(
        &[bare.as_str(), &slice("[{port: 81}]", "[{addresses: [10.9.0.1], targetRef: {kind: Pod, name: a}}]")].concat(),
        client(8080),
        "x {app=a} [a] 81 via x/s:8080",
        &[],
    );
    check_service(
        &[bare.as_str(), &slice("[{port: 81}]", "[{addresses: [192.0.2.7]}]")].concat(),
        client(8080),
        "192.0.2.7/32 81 via x/s:8080",
        &[],
    );
    check_service(
        &bare,
        client(8080),
        "unresolved",
        &["PR027 Service x/s has neither a selector nor endpoints that are known"],
    );
    check_service(
        &of("{selector: {app: gone}, ports: [{port: 8080, targetPort: 81}]}"),
        client(8080),
        "x {app=gone} [] 81 via x/s:8080",
        &["PR027 Service x/s selects no pod that is known"],
    );
    check_service(
        &of("{type: ExternalName, externalName: db.example.org}"),
        client(5432),
        "0.0.0.0/0,::/0 except inside (db.example.org) 5432 default",
        &["PR021 the addresses of db.example.org are not known, so every public address stands in for them"],
    );
    check_service(
        &of("{type: ExternalName, externalName: exim-relay.mail.svc.cluster.local}"),
        client(587),
        "mail {instance=mail,name=exim-relay} [exim-relay-59d8c7f6b-e6j2y] 8025 via mail/exim-relay:587",
        &[],
    );
}

#[test]
fn other_parties() {
    let world = guide_world(PODS);
    let to =
        |party: Party, expect: &str, findings: &[&str]| check(out(party, client(80)), Some(&world), expect, findings);
    to(
        Party::Workload(WorkloadKind::Deployment, ObjectName::new("authentif", "authelia")),
        "authentif {instance=authelia,name=authelia} [authelia-84c6f7d9b-h3n6v] 80",
        &[],
    );
    to(
        Party::Workload(WorkloadKind::Deployment, ObjectName::new("authentif", "x")),
        "unresolved",
        &["PR027 authentif/deploy/x is not among the known pods and workloads"],
    );
    to(Party::Pod(ObjectName::new("x", "a")), "x {app=a} [a] 80", &[]);
    to(
        Party::Selector { namespace: Some("x".into()), labels: Labels::from([("app".into(), "a".into())]) },
        "x {app=a} [a,b] 80",
        &[],
    );
    to(
        Party::Selector { namespace: None, labels: Labels::from([("app".into(), "a".into())]) },
        "matrix {app=a} [] 80",
        &["PR015 the selector matches no known pod in namespace matrix"],
    );
    to(Party::Address("192.0.2.1".parse().unwrap()), "192.0.2.1/32 80", &[]);
    to(
        Party::Address("10.43.40.40".parse().unwrap()),
        "authentif {instance=authelia,name=authelia} [authelia-84c6f7d9b-h3n6v] 9091 via authentif/authelia:80",
        &[],
    );
    to(Party::Address("10.9.0.1".parse().unwrap()), "x {app=a} [a] 80", &[]);
    to(Party::Address("10.9.0.3".parse().unwrap()), "10.9.0.3/32 80", &[]);
    to(Party::Block("192.0.2.0/24".parse().unwrap()), "192.0.2.0/24 80", &[]);
    to(Party::Node("node-a".into()), "192.168.10.11/32 80", &[]);
    to(Party::Node("node-z".into()), "unresolved", &["PR027 the addresses of node node-z are not known"]);
    to(Party::AnyPod, "any pod 80", &[]);
    to(Party::World, "0.0.0.0/0,::/0 except inside 80", &[]);
    to(Party::Stranger, "unresolved", &[]);
    to(host("192.0.2.1"), "192.0.2.1/32 80", &[]);
    to(host("localhost"), "unresolved", &["PR020 localhost is the pod itself: no policy sees that connection"]);
    to(
        Party::Subject,
        "matrix {component=mas,instance=matrix-synapse,name=matrix-synapse} [mas-6d5f9c7b8-q8w4z] 80",
        &[],
    );
    let world = guide_world(include_str!("../../../tests/fixtures/guide-world-variants/stranger.yaml"));
    check(
        out(Party::Stranger, Port::Pod(PortRef::Number(9691))),
        Some(&world),
        "matrix {name=portreeve-stranger} [portreeve-stranger-6c8d7f9b5-s9f3b] 9691",
        &[],
    );
}

#[test]
fn host_network_peers_are_node_addresses() {
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: h, namespace: x, labels: {app: h}}, spec: {hostNetwork: true}, status: {podIP: 192.168.10.11}}";
    let party = || Party::Pod(ObjectName::new("x", "h"));
    let message =
        "PR036 x/h runs in its nodes' network: policies see the nodes' addresses, which stand in for its pods";
    let world = guide_world(pod);
    check(out(party(), client(80)), Some(&world), "192.168.10.11/32,192.168.10.12/32 80", &[message]);
    let mas = "---\n{apiVersion: v1, kind: Pod, metadata: {name: mas, namespace: matrix, labels: {app: mas}}, spec: {containers: [{image: matrix-authentication-service}]}}";
    check(out(party(), client(80)), Some(&small_world(&format!("{pod}\n{mas}"))), "192.168.10.11/32 80", &[message]);
    let unplaced = pod.replace(", status: {podIP: 192.168.10.11}", "");
    check(
        out(party(), client(80)),
        Some(&small_world(&format!("{unplaced}\n{mas}"))),
        "unresolved 80",
        &["PR036 x/h runs in its nodes' network: policies see the nodes' addresses, which are not known"],
    );
}

#[track_caller]
fn check_subject(rule: SubjectRule, text: &str, expect: Result<&str, &str>) {
    let world = small_world(text);
    let resolution = resolve(&Intent { subject: rule, ..Intent::default() }, Some(&world));
    let subject = resolution.subject.map(|s| {
        let names: Vec<_> = s.pods.iter().map(|id| world.pod(*id).name.name.clone()).collect();
        format!("{} {:?} {names:?}", s.namespace, s.selector)
    });
    match expect {
        Ok(expect) => assert_eq!((subject.as_deref(), resolution.findings.as_slice()), (Some(expect), &[][..])),
        Err(expect) => {
            let got: Vec<_> = resolution.findings.iter().map(|f| format!("{} {}", f.code.code(), f.message)).collect();
            assert_eq!((subject, got), (None, vec![format!("PR025 {expect}")]));
        }
    }
}

#[test]
fn the_subject_is_one_workload_or_none() {
    let pod = |name: &str, labels: &str, image: &str| {
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: m, labels: {labels}}}, spec: {{containers: [{{image: side}}, {{image: '{image}'}}]}}}}\n---\n"
        )
    };
    let image = "registry.local:5000/mirror/matrix-authentication-service@sha256:00";
    let one = pod("a", "{app: mas, pod-template-hash: z}", image);
    let ok = Ok("m {\"app\": \"mas\"} [\"a\"]");
    check_subject(SubjectRule::ByImage, &one, ok);
    check_subject(SubjectRule::Image("registry.local:5000/mirror/matrix-authentication-service".into()), &one, ok);
    check_subject(
        SubjectRule::Image("docker.io/x/y:1".into()),
        &pod("a", "{app: mas, pod-template-hash: z}", "x/y:2"),
        ok,
    );
    check_subject(SubjectRule::Named(Party::Pod(ObjectName::new("m", "a"))), &one, ok);
    check_subject(
        SubjectRule::ByImage,
        "",
        Err("no pod runs an image whose path ends in matrix-authentication-service"),
    );
    check_subject(SubjectRule::Image("x/y".into()), &one, Err("no pod runs the image x/y"));
    check_subject(
        SubjectRule::ByImage,
        &pod("a", "{}", image),
        Err("m/a has no label by which a policy could select it"),
    );
    check_subject(
        SubjectRule::Named(Party::AnyPod),
        &one,
        Err("the subject must be a workload, a pod, a Service or a selector with its namespace"),
    );
    // A replica is the same workload, another label set is not.
    let replica = pod("b", "{app: mas, pod-template-hash: w}", image);
    check_subject(SubjectRule::ByImage, &[one.as_str(), &replica].concat(), Ok("m {\"app\": \"mas\"} [\"a\", \"b\"]"));
    check_subject(
        SubjectRule::ByImage,
        &[one.as_str(), &pod("c", "{app: two}", image)].concat(),
        Err("several workloads could be MAS: m/a, m/c"),
    );
    // The labels must not select anything else.
    check_subject(
        SubjectRule::ByImage,
        &[one.as_str(), &pod("d", "{app: mas, x: z}", "other")].concat(),
        Err("the labels that select MAS also select m/d"),
    );
    let labels = Labels::from([("app".to_owned(), "mas".to_owned())]);
    let selector = || SubjectRule::Named(Party::Selector { namespace: Some("m".into()), labels: labels.clone() });
    check_subject(selector(), &one, ok);
    check_subject(
        selector(),
        &[one.as_str(), &pod("d", "{app: mas}", "other")].concat(),
        Err("some of the pods run MAS's image and some do not"),
    );
    // A migration Job with the same image is not the service.
    let job = "{apiVersion: batch/v1, kind: Job, metadata: {name: j, namespace: m}, spec: {template: {metadata: {labels: {job: j}}, spec: {containers: [{image: matrix-authentication-service}]}}}}";
    check_subject(SubjectRule::ByImage, &[one.as_str(), job].concat(), ok);
}

#[test]
fn a_public_name_of_the_cluster_leads_back_in() {
    let issuer = || oidc(edge("mas-to-authelia", Party::Subject, host("authelia.waadoo.ovh"), client(443)));
    let traefik =
        "traefik {instance=traefik-traefik,name=traefik} [traefik-7f8b6d5c4-t5r9k] 8443 via traefik/traefik:443";
    let outside = "0.0.0.0/0,::/0 except inside (authelia.waadoo.ovh) 443 default";
    let default =
        "PR021 the addresses of authelia.waadoo.ovh are not known, so every public address stands in for them";
    check(issuer(), Some(&guide_world("")), traefik, &[]);
    let with_status = |status: &str| {
        format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: traefik, namespace: traefik}}, spec: {{selector: {{app.kubernetes.io/name: traefik, app.kubernetes.io/instance: traefik-traefik}}, ports: [{{name: websecure, port: 443, targetPort: websecure}}]}}, status: {{loadBalancer: {{ingress: {status}}}}}}}"
        )
    };
    check(
        issuer(),
        Some(&guide_world(&with_status("[{ip: 203.0.113.10, ipMode: Proxy}]"))),
        &format!("{traefik} | 203.0.113.10/32 (authelia.waadoo.ovh) 443"),
        &[],
    );
    check(
        issuer(),
        Some(&guide_world(&with_status("[{hostname: lb.example}]"))),
        &format!("{traefik} | {outside}"),
        &[default],
    );
    check(issuer(), Some(&guide_world(&with_status("[]"))), &format!("{traefik} | {outside}"), &[default]);
    // No route answers for the host: it is outside.
    let elsewhere = oidc(out(host("id.example.org"), client(443)));
    check(
        elsewhere,
        Some(&guide_world("")),
        "0.0.0.0/0,::/0 except inside (id.example.org) 443 default",
        &["PR021 the addresses of id.example.org are not known, so every public address stands in for them"],
    );
    // A world without any ingress controller is as blind as none.
    let mas = "{apiVersion: v1, kind: Pod, metadata: {name: mas, namespace: m, labels: {app: mas}}, spec: {containers: [{image: matrix-authentication-service}]}}";
    let controller = "PR021 the pods of the ingress controller are not known; its chart's own label and namespace (traefik) stand in for them";
    check(
        issuer(),
        Some(&small_world(mas)),
        &format!("{outside} | traefik {{name=traefik}} [] 8443 default"),
        &[default, controller],
    );
    // Without a world both stand in.
    check(
        issuer(),
        None,
        &format!("{outside} | traefik {{name=traefik}} [] 8443 default"),
        &[
            default,
            "PR021 the pods of the ingress controller are not known; its chart's own label and namespace (traefik) stand in for them",
        ],
    );
}

#[test]
fn ingress_controllers_are_found_by_route_and_class() {
    let from = |host: Option<&str>| {
        edge("traefik-to-mas", Party::IngressController(host.map(str::to_owned)), Party::Subject, client(8080))
    };
    let traefik = "traefik {instance=traefik-traefik,name=traefik} [traefik-7f8b6d5c4-t5r9k]";
    let nginx = "
---
{apiVersion: v1, kind: Pod, metadata: {name: nginx, namespace: ingress, labels: {app.kubernetes.io/name: ingress-nginx, app.kubernetes.io/component: controller}}, spec: {containers: [{image: registry.k8s.io/ingress-nginx/controller:v1.12.1}]}}
---
";
    let ingress = |class: &str, service: &str| {
        format!(
            "{{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {{name: i, namespace: matrix}}, spec: {{ingressClassName: {class}, rules: [{{host: mas.example, http: {{paths: [{{backend: {{service: {{name: {service}, port: {{number: 8080}}}}}}}}]}}}}]}}}}"
        )
    };
    check_from(from(Some("auth.waadoo.ovh")), Some(&guide_world(nginx)), traefik, &[]);
    check_from(
        from(Some("mas.example")),
        Some(&guide_world(&[nginx, &ingress("nginx", "mas")].concat())),
        "ingress {component=controller,name=ingress-nginx} [nginx]",
        &[],
    );
    check_from(
        from(None),
        Some(&guide_world("")),
        traefik,
        &["PR021 no route says which ingress controller answers; traefik is the only one here"],
    );
    check_from(
        from(None),
        Some(&guide_world(nginx)),
        "unresolved",
        &["PR020 no route says which of traefik, ingress-nginx answers"],
    );
    check_from(
        from(Some("mas.example")),
        Some(&guide_world(&ingress("cilium", "mas"))),
        "unresolved",
        &["PR020 Ingress/matrix/i is served by class cilium, whose pods are not known"],
    );
    check_from(
        from(Some("mas.example")),
        None,
        "traefik {name=traefik} [] default",
        &[
            "PR021 the pods of the ingress controller are not known; its chart's own label and namespace (traefik) stand in for them",
        ],
    );
    // The route must lead to MAS, and to a port that its Service has.
    check_from(
        from(Some("mas.example")),
        Some(&guide_world(&ingress("traefik", "matrix-synapse-synapse"))),
        traefik,
        &["PR027 Ingress/matrix/i sends mas.example to Service matrix/matrix-synapse-synapse, which is not MAS"],
    );
    check_from(
        from(Some("mas.example")),
        Some(&guide_world(&ingress("traefik", "mas").replace("8080", "80"))),
        traefik,
        &["PR027 Ingress/matrix/i sends mas.example to port 80 of Service matrix/mas, which has no such port"],
    );
    let route = "{apiVersion: traefik.io/v1alpha1, kind: IngressRoute, metadata: {name: r, namespace: matrix}, spec: {routes: [{match: Host(`mas.example`), services: [{name: mas, port: 8080}]}]}}";
    check_from(from(Some("mas.example")), Some(&guide_world(&[nginx, route].concat())), traefik, &[]);
    // A Gateway's own pods are marked by it.
    let gateway = "
{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: r, namespace: matrix}, spec: {hostnames: ['*.example'], parentRefs: [{name: g, namespace: gw}], rules: [{backendRefs: [{name: mas, port: 8080}]}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: e, namespace: envoy-gateway-system, labels: {gateway.envoyproxy.io/owning-gateway-name: g, gateway.envoyproxy.io/owning-gateway-namespace: gw}}}
";
    check_from(
        from(Some("mas.example")),
        Some(&guide_world(gateway)),
        "envoy-gateway-system {owning-gateway-name=g,owning-gateway-namespace=gw} [e]",
        &[],
    );
}

#[test]
fn dns_is_the_service_and_nodelocal_beside_it() {
    let dns = || out(Party::ClusterDns, client(53));
    let world = |text: &str| {
        small_world(&format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: mas, namespace: m, labels: {{app: mas}}}}, spec: {{containers: [{{image: matrix-authentication-service}}]}}}}\n---\n{text}"
        ))
    };
    let stand_in = "PR021 the DNS server is not known; pods labelled k8s-app: kube-dns in kube-system stand in for it";
    check(dns(), None, "kube-system {k8s-app=kube-dns} [] 53 default", &[stand_in]);
    check(dns(), Some(&world("")), "kube-system {k8s-app=kube-dns} [] 53 default", &[stand_in]);
    let openshift = "
{apiVersion: v1, kind: Service, metadata: {name: dns-default, namespace: openshift-dns}, spec: {clusterIP: 10.43.0.10, selector: {dns: default}, ports: [{name: dns, port: 53, targetPort: dns-tcp}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: d, namespace: openshift-dns, labels: {dns: default}}, spec: {containers: [{ports: [{name: dns-tcp, containerPort: 5353}]}]}}
---
";
    check(dns(), Some(&world(openshift)), "openshift-dns {dns=default} [d] 5353 via openshift-dns/dns-default:53", &[]);
    let local = "{apiVersion: v1, kind: Pod, metadata: {name: l, namespace: kube-system, labels: {k8s-app: node-local-dns}}, spec: {hostNetwork: true}}";
    check(
        dns(),
        Some(&world(&[openshift, local].concat())),
        "openshift-dns {dns=default} [d] 5353 via openshift-dns/dns-default:53 | 10.43.0.10/32,169.254.20.10/32 53",
        &[],
    );
}

#[test]
fn unknown_peers_are_discovered_only_where_that_is_safe() {
    let postgres = || {
        edge(
            "mas-to-postgres",
            Party::Subject,
            Party::Unknown { peer: "postgres" },
            Port::Unknown { default: Some(5432) },
        )
    };
    let smtp = |port: u16| {
        edge("mas-to-smtp", Party::Subject, Party::Unknown { peer: "smtp" }, Port::Unknown { default: Some(port) })
    };
    let rw =
        "postgres {cluster=matrix-db,instanceRole=primary} [matrix-db-1] 5432 via postgres/matrix-db-rw:5432 default";
    let only = "PR021 no source names postgres; Service postgres/matrix-db-rw is the only one here that can be it";
    check(postgres(), Some(&guide_world("")), rw, &[only]);
    let second = "{apiVersion: v1, kind: Service, metadata: {name: other-rw, namespace: postgres}, spec: {selector: {cnpg.io/cluster: matrix-db}, ports: [{port: 5432}]}}";
    check(
        postgres(),
        Some(&guide_world(second)),
        "unresolved",
        &["PR020 no source says where postgres is; it could be postgres/matrix-db-rw, postgres/other-rw"],
    );
    check(postgres(), None, "unresolved", &["PR020 no source says where postgres is"]);
    // Pods with PostgreSQL's image are surer than a port.
    let proxy = "{apiVersion: v1, kind: Service, metadata: {name: tcp, namespace: x}, spec: {ports: [{port: 5432}]}}";
    check(postgres(), Some(&guide_world(proxy)), rw, &[only]);
    let relay =
        "mail {instance=mail,name=exim-relay} [exim-relay-59d8c7f6b-e6j2y] 8025 via mail/exim-relay:587 default";
    let assumed = "PR021 no source names smtp; Service mail/exim-relay is the only one here that can be it";
    check(smtp(587), Some(&guide_world("")), relay, &[assumed]);
    check(smtp(25), Some(&guide_world("")), relay, &[assumed]);
    check(
        smtp(587),
        None,
        "0.0.0.0/0,::/0 except inside 587 default",
        &["PR021 no source names the mail relay, so every public address stands in for it"],
    );
    check(
        out(Party::Unknown { peer: "otlp" }, Port::Unknown { default: None }),
        None,
        "unresolved",
        &["PR020 no source says where otlp is"],
    );
}

#[test]
fn without_a_world_only_public_names_have_a_default() {
    let inside =
        |host: &str| format!("PR020 `{host}` is a Service, and without manifests or a cluster its pods are not known");
    for name in ["matrix-synapse-synapse", "db.postgres.svc", "db.postgres.svc.cluster.local"] {
        check(out(host(name), client(5432)), None, "unresolved", &[&inside(name)]);
    }
    let mut database = out(host("db.postgres"), client(5432));
    database.exchange = Exchange::Postgres { ssl_mode: crate::matrix::SslMode::Prefer };
    check(database, None, "unresolved", &[&inside("db.postgres")]);
    let private = Party::Host { host: "smtp.example.org".into(), allow_private: vec!["10.1.0.0/16".parse().unwrap()] };
    check(
        out(private, client(587)),
        None,
        "0.0.0.0/0,::/0 except inside (smtp.example.org) 587 default | 10.1.0.0/16 (smtp.example.org) 587",
        &["PR021 the addresses of smtp.example.org are not known, so every public address stands in for them"],
    );
    check(
        out(service("a", "b"), client(80)),
        None,
        "unresolved",
        &["PR020 without manifests or a cluster the pods behind Service a/b are not known"],
    );
    check(out(Party::Subject, client(80)), None, "unresolved", &[]);
}

#[test]
fn hosts_are_read_as_cluster_dns_reads_them() {
    #[track_caller]
    fn check(text: &str, expect: Option<&str>) {
        assert_eq!(
            host::service_name(text, Some("own")).map(|meant| meant.name.to_string()).as_deref(),
            expect,
            "{text}"
        );
    }
    check("db", Some("own/db"));
    check("db.ns", Some("ns/db"));
    check("db.ns.svc", Some("ns/db"));
    check("db.ns.svc.cluster.local", Some("ns/db"));
    check("db-0.db.ns.svc.cluster.local", Some("ns/db"));
    check("auth.example.org", None);
    check("", None);
    check(".ns", None);
}

#[test]
fn an_allowed_target_without_a_port_is_not_written() {
    // In a policy no port means every port.
    let world = guide_world("");
    let target = || Party::Workload(WorkloadKind::Deployment, ObjectName::new("matrix", "matrix-synapse-synapse"));
    check(
        out(target(), Port::Client(PortRef::Name("nope".into()))),
        Some(&world),
        "unresolved",
        &[
            "PR027 matrix/deploy/matrix-synapse-synapse: a TCP port `nope` is not declared by matrix/matrix-synapse-synapse-5b7d4f6c9-m2c7d",
        ],
    );
    check(
        out(target(), Port::Client(PortRef::Name("http".into()))),
        Some(&world),
        "matrix {component=synapse,instance=matrix-synapse,name=matrix-synapse} [matrix-synapse-synapse-5b7d4f6c9-m2c7d] 8008",
        &[],
    );
}

#[test]
fn synapse_opens_its_edge_also_behind_a_proxy() {
    let ess = "
{apiVersion: v1, kind: Service, metadata: {name: ess-synapse, namespace: matrix}, spec: {selector: {app: haproxy}, ports: [{port: 8008}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: haproxy, namespace: matrix, labels: {app: haproxy}}, spec: {containers: [{image: haproxy:3.2}]}}
";
    let inbound = edge("synapse-to-mas", host("ess-synapse"), Party::Subject, client(8080));
    let message =
        "PR021 the Service of Synapse's name leads to a proxy; Synapse's own pods, told by their image, open this edge";
    check_from(
        inbound.clone(),
        Some(&guide_world(ess)),
        "matrix {component=synapse,instance=matrix-synapse,name=matrix-synapse} [matrix-synapse-synapse-5b7d4f6c9-m2c7d]",
        &[message],
    );
    // The other way round the proxy is whom MAS reaches.
    check(
        out(host("ess-synapse"), client(8008)),
        Some(&guide_world(ess)),
        "matrix {app=haproxy} [haproxy] 8008 via matrix/ess-synapse:8008",
        &[],
    );
}
