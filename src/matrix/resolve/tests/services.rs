use super::*;

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
    let variant = include_str!("../../../../tests/fixtures/guide-world-variants/synapse-service-8008.yaml");
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
    let world = guide_world(include_str!("../../../../tests/fixtures/guide-world-variants/stranger.yaml"));
    check(
        out(Party::Stranger, Port::Pod(PortRef::Number(9691))),
        Some(&world),
        "matrix {name=portreeve-stranger} [portreeve-stranger-6c8d7f9b5-s9f3b] 9691",
        &[],
    );
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
