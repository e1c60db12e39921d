//! Peers that no Service name leads to: controllers, DNS, nodes, what no source names.

use super::*;

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
    database.exchange = Exchange::postgres(crate::matrix::SslMode::Prefer);
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

#[test]
fn wildcards_answer_as_their_api_says() {
    use crate::world::EntranceKind::{HttpRoute, Ingress};
    #[track_caller]
    fn check_answers(own: &str, host: &str, ingress: bool, route: bool) {
        assert_eq!(
            (host::answers(Ingress, own, host), host::answers(HttpRoute, own, host)),
            (ingress, route),
            "{own} {host}"
        );
    }
    check_answers("a.example", "a.example", true, true);
    check_answers("a.example", "b.example", false, false);
    check_answers("*.example", "a.example", true, true);
    check_answers("*.example", "b.a.example", false, true);
    check_answers("*.example", "example", false, false);
    check_answers("*.example", ".example", false, false);
    check_answers("*.example", "aexample", false, false);
    check_answers("*", "a.example", false, false);
}
