//! Assertions over the guide's world under its rendered policy.

use std::sync::Arc;

use super::*;
use crate::judge::audit::fixture::{guide, guide_files, load, rendered};

fn parse(text: &str) -> Result<Vec<Assertion>, String> {
    read(&Arc::from("a.yaml"), text).map_err(|error| error.to_string())
}

fn outcomes(files: &[(String, String)], text: &str) -> Vec<Outcome> {
    let (world, policies) = load(files);
    let engine = Engine::new(&world, &policies);
    check(&parse(text).unwrap(), &world, &engine, guide(&world).subject.as_ref())
}

fn files() -> Vec<(String, String)> {
    let mut files = guide_files();
    let policy = rendered(&load(&files).0);
    files.push(("policy.yaml".into(), policy));
    files
}

#[track_caller]
fn verdict_of(from: &str, to: &str, port: &str, expect: Verdict) -> String {
    let text = format!("- {{from: {from}, to: \"{to}\", port: {port}, expect: allow}}");
    let [outcome] = &outcomes(&files(), &text)[..] else { panic!("{text}") };
    assert_eq!(outcome.verdict, expect, "{text}: {}", outcome.because);
    assert_eq!(outcome.holds, expect == Verdict::Allow);
    outcome.because.clone()
}

#[test]
fn services_lead_to_pods_and_pod_ports() {
    use Verdict::{Allow, Deny, Unknown};
    // Service port 80 is pod port 8008; the Service port itself is closed at the pod.
    verdict_of("subject", "matrix/svc/matrix-synapse-synapse", "80", Allow);
    verdict_of("subject", "matrix/svc/matrix-synapse-synapse", "http", Allow);
    verdict_of("subject", "matrix/svc/matrix-synapse-synapse", "8008", Unknown);
    verdict_of("subject", "matrix/deploy/matrix-synapse-synapse", "8008", Allow);
    verdict_of("subject", "matrix/deploy/matrix-synapse-synapse", "http", Allow);
    verdict_of("subject", "matrix/deploy/matrix-synapse-synapse", "80", Deny);
    verdict_of("subject", "traefik/svc/traefik", "443", Allow);
    verdict_of("subject", "traefik/svc/traefik", "80", Deny);
    verdict_of("subject", "mail/svc/exim-relay", "587", Allow);
    verdict_of("subject", "kube-system/svc/kube-dns", "53/udp", Allow);
    verdict_of("subject", "kube-system/svc/kube-dns", "53/tcp", Allow);
    // By its virtual address, which kube-proxy rewrites, and by a pod's own address.
    verdict_of("subject", "10.43.10.21", "80", Allow);
    verdict_of("subject", "10.42.1.21", "8008", Allow);
    // A load balancer's address is rewritten too: MAS to its own public name is MAS to Traefik.
    let because = verdict_of("subject", "203.0.113.10", "443", Allow);
    assert!(because.contains("ingress of traefik/traefik-7f8b6d5c4-t5r9k"), "{because}");
    verdict_of("traefik/svc/traefik", "matrix/svc/mas", "8080", Allow);
    verdict_of("postgres/matrix-db-1", "subject", "8080", Deny);
    verdict_of("subject", "postgres/matrix-db-1", "postgresql", Allow);
}

#[test]
fn addresses_and_ranges() {
    use Verdict::{Allow, Deny, Mixed, Unknown};
    verdict_of("subject", "198.51.100.7", "443", Allow);
    verdict_of("subject", "198.51.100.6", "443", Deny);
    verdict_of("subject", "198.51.100.6/31", "443", Mixed);
    verdict_of("subject", "world", "25", Deny);
    verdict_of("subject", "world", "443", Mixed);
    verdict_of("world", "subject", "8080", Deny);
    // MAS's own node always reaches it; the other one does not.
    verdict_of("node/node-a", "subject", "8080", Allow);
    verdict_of("node/node-b", "subject", "8080", Deny);
    verdict_of("198.51.100.7", "198.51.100.6", "443", Unknown);
}

/// Pods of two families, two that claim one address, and Services before them. The policy opens IPv4 only.
const FAMILIES: &str = "
{apiVersion: v1, kind: Namespace, metadata: {name: a}}
---
{apiVersion: v1, kind: Pod, metadata: {name: both, namespace: a, labels: {app: both}}, spec: {containers: [{name: main, image: example, ports: [{name: web, containerPort: 80}]}]}, status: {phase: Running, podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: client, namespace: a, labels: {app: client}}, spec: {containers: [{name: main, image: example}]}, status: {phase: Running, podIP: 10.0.0.2, podIPs: [{ip: 10.0.0.2}, {ip: 'fd00::2'}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: one, namespace: a, labels: {app: shared}}, spec: {containers: [{name: main, image: example}]}, status: {phase: Running, podIP: 10.0.0.9}}
---
{apiVersion: v1, kind: Pod, metadata: {name: two, namespace: a, labels: {app: shared}}, spec: {containers: [{name: main, image: example}]}, status: {phase: Running, podIP: 10.0.0.9}}
---
{apiVersion: v1, kind: Service, metadata: {name: both, namespace: a}, spec: {clusterIP: 10.96.0.2, ports: [{port: 8000, targetPort: web}], selector: {app: both}}}
---
{apiVersion: v1, kind: Service, metadata: {name: group, namespace: a}, spec: {clusterIP: 10.96.0.5, ports: [{port: 8000, targetPort: 80}], selector: {app: shared}}}
---
{apiVersion: v1, kind: Service, metadata: {name: lost, namespace: a}, spec: {clusterIP: 10.96.0.3, ports: [{port: 8000, targetPort: web}], selector: {app: client}}}
---
{apiVersion: v1, kind: Service, metadata: {name: shared, namespace: a}, spec: {clusterIP: 10.96.0.4, ports: [{port: 8000, targetPort: 80}]}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: shared-1, namespace: a, labels: {kubernetes.io/service-name: shared}}, addressType: IPv4, ports: [{name: '', port: 80}], endpoints: [{addresses: [10.0.0.9]}]}
---
{apiVersion: v1, kind: Service, metadata: {name: portless, namespace: a}, spec: {clusterIP: None}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: portless-1, namespace: a, labels: {kubernetes.io/service-name: portless}}, addressType: IPv4, ports: [], endpoints: [{addresses: [10.0.0.1]}, {addresses: [198.51.100.1]}]}
---
{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: p, namespace: a}, spec: {podSelector: {matchExpressions: [{key: app, operator: In, values: [both, shared]}]}, policyTypes: [Ingress, Egress], ingress: [{from: [{ipBlock: {cidr: 10.0.0.2/32}}, {ipBlock: {cidr: 203.0.113.0/24}}]}]}}
";

#[test]
fn an_address_of_a_pod_is_asked_in_its_own_family() {
    use Verdict::{Allow, Deny, Mixed, Unknown};
    #[track_caller]
    fn check(from: &str, to: &str, port: &str, expect: Verdict) -> String {
        let text = format!("- {{from: \"{from}\", to: \"{to}\", port: {port}, expect: allow}}");
        let [outcome] = &outcomes(&[("w.yaml".into(), FAMILIES.into())], &text)[..] else { panic!("{text}") };
        assert_eq!(outcome.verdict, expect, "{text}: {}", outcome.because);
        outcome.because.clone()
    }
    check("a/client", "a/both", "80", Mixed);
    check("a/client", "10.0.0.1", "80", Allow);
    check("a/client", "fd00::1", "80", Deny);
    check("10.0.0.2", "a/both", "80", Allow);
    check("fd00::2", "a/both", "80", Deny);
    check("10.0.0.2", "10.0.0.1", "80", Allow);
    check("fd00::2", "fd00::1", "80", Deny);
    check("10.0.0.2", "fd00::1", "80", Unknown);
    // A port's name is looked up on the pod that has the address.
    check("a/client", "10.0.0.1", "web", Allow);
    check("a/client", "fd00::1", "web", Deny);
    check("a/client", "10.0.0.2", "web", Unknown);
    // Against ranges too.
    check("203.0.113.0/25", "10.0.0.1", "80", Allow);
    check("203.0.112.0/23", "10.0.0.1", "80", Mixed);
    check("203.0.113.0/25", "fd00::1", "80", Unknown);
    check("fd00::1", "2001:db8::/32", "443", Deny);
    check("fd00::2", "2001:db8::/32", "443", Allow);
    // Whose an address of two live pods is, nobody knows.
    for (from, to) in [("10.0.0.9", "a/both"), ("a/both", "10.0.0.9"), ("10.0.0.9", "203.0.113.0/24")] {
        let because = check(from, to, "80", Unknown);
        assert!(because.contains("10.0.0.9 belongs to two live pods"), "{because}");
    }
    let because = check("a/client", "a/svc/shared", "8000", Unknown);
    assert!(because.contains("10.0.0.9 belongs to two live pods"), "{because}");
    check("a/client", "10.0.0.9", "web", Unknown);
    // A headless Service without ports: the pod with the one address, and the other address as it is.
    check("a/client", "a/svc/portless", "80", Mixed);
    check("a/svc/portless", "a/one", "80", Deny);
    check("a/svc/portless", "203.0.113.7", "80", Unknown);
    // A pod reaches itself, by name, by address, and through a Service that it alone is behind.
    for (from, to, port) in [
        ("a/both", "a/both", "80"),
        ("a/both", "10.0.0.1", "80"),
        ("fd00::1", "a/both", "80"),
        ("10.0.0.1", "10.0.0.1", "80"),
        ("a/both", "a/svc/both", "8000"),
    ] {
        let because = check(from, to, port, Allow);
        assert!(because.contains("talks to itself"), "{because}");
    }
    // Among several pods that says nothing of the others, and of `any-pod` it is none.
    check("any-pod", "a/both", "80", Mixed);
    check("a/both", "any-pod", "80", Deny);
    check("a/one", "a/svc/group", "8000", Deny);
    check("a/svc/group", "a/svc/group", "8000", Deny);
    let because = check("a/client", "a/svc/lost", "8000", Unknown);
    assert_eq!(because, "unknown: Service a/lost: its port 8000 is no port of a/client");
}

/// Who is named by an address is not one of the others.
#[test]
fn an_address_of_a_pod_names_it() {
    let text = "
- {name: client, from: 10.0.0.2, to: a/both, port: 80, expect: allow}
- {name: others, from: any-pod, to: 10.0.0.1, port: 80, expect: deny}
";
    let found = outcomes(&[("w.yaml".into(), FAMILIES.into())], text);
    assert_eq!(found.iter().map(|o| o.verdict).collect::<Vec<_>>(), [Verdict::Allow, Verdict::Deny], "{found:#?}");
}

#[test]
fn what_is_not_there_is_unknown() {
    for (to, port, why) in [
        ("matrix/svc/nothing", "80", "unknown: there is no Service matrix/nothing in the sources"),
        ("matrix/svc/mas", "80", "unknown: Service matrix/mas has no port 80/TCP"),
        ("matrix/nothing", "80", "unknown: there is no pod matrix/nothing in the sources"),
        ("matrix/deploy/nothing", "80", "unknown: the sources show no pod of matrix/deploy/nothing"),
        ("node/nothing", "80", "unknown: there is no node nothing in the sources"),
        ("matrix/deploy/mas", "metrics", "unknown: matrix/mas-6d5f9c7b8-q8w4z has no TCP port named metrics"),
    ] {
        assert_eq!(verdict_of("traefik/deploy/traefik", to, port, Verdict::Unknown), why);
    }
}

/// Name, verdict and whether it holds, a line each.
#[track_caller]
fn holds(text: &str, expect: &[&str]) {
    let found = outcomes(&files(), text);
    let lines: Vec<String> =
        found.iter().map(|o| format!("{} {} {}", o.assertion.name, o.verdict.as_str(), o.holds)).collect();
    assert_eq!(lines, expect, "{found:#?}");
}

#[test]
fn any_pod_and_world_are_the_others() {
    let named = "
- {name: traefik, from: traefik/deploy/traefik, to: subject, port: 8080, expect: allow}
- {name: synapse, from: matrix/deploy/matrix-synapse-synapse, to: matrix/svc/mas, port: 8080, expect: allow}
- {name: issuer, from: subject, to: 198.51.100.7, port: 443, expect: allow}
";
    let open = "
- {name: others, from: any-pod, to: subject, port: 8080, expect: deny}
- {name: elsewhere, from: subject, to: world, port: 443, expect: deny}
";
    holds(
        &format!("{named}{open}"),
        &["traefik allow true", "synapse allow true", "issuer allow true", "others deny true", "elsewhere deny true"],
    );
    // Nobody is named: Traefik is among the others, and may.
    holds(open, &["others mixed false", "elsewhere mixed false"]);
    // One who is named with the same expectation is not another.
    holds(
        "
- {name: traefik, from: traefik/deploy/traefik, to: subject, port: 8080, expect: deny}
- {name: others, from: any-pod, to: subject, port: 8080, expect: deny}
",
        &["traefik allow false", "others mixed false"],
    );
}

#[test]
fn unknown_satisfies_only_unknown() {
    holds(
        "
- {name: a, from: subject, to: matrix/nothing, port: 80, expect: allow}
- {name: b, from: subject, to: matrix/nothing, port: 80, expect: deny}
- {name: c, from: subject, to: matrix/nothing, port: 80, expect: unknown}
",
        &["a unknown false", "b unknown false", "c unknown true"],
    );
}

#[test]
fn yaml_json_and_json_lines() {
    let yaml = "- from: subject\n  to: matrix/svc/mas\n  port: 53/udp\n  expect: deny\n";
    let json = r#"[{"from": "subject", "to": "matrix/svc/mas", "port": "53/udp", "expect": "deny"}]"#;
    let lines = "# comment\n\n{\"from\": \"subject\", \"to\": \"matrix/svc/mas\", \"port\": 53, \"protocol\": \"udp\", \"expect\": \"deny\"}\n{\"from\": \"any-pod\", \"to\": \"world\", \"port\": \"http\", \"expect\": \"unknown\", \"name\": \"n\"}\n";
    let one = |text: &str| {
        let assertion = parse(text).unwrap().remove(0);
        (assertion.name, assertion.to, assertion.port, assertion.protocol, assertion.expect)
    };
    assert_eq!(one(yaml), one(json));
    assert_eq!(one(yaml), one(lines));
    let all = parse(lines).unwrap();
    assert_eq!((all.len(), all[1].place.to_string().as_str(), all[1].name.as_str()), (2, "a.yaml:4:1", "n"));
    assert_eq!(all[0].name, "subject to matrix/svc/mas 53/UDP");
    assert_eq!(parse(""), Ok(Vec::new()));
}

#[track_caller]
fn refused(text: &str, expect: &str) {
    assert_eq!(parse(text).unwrap_err(), expect);
}

#[test]
fn a_bad_list_is_refused_with_its_place() {
    let with = |rest: &str| format!("- from: subject\n  to: any-pod\n  {rest}\n");
    refused(&with("port: 80\n  expect: allow\n  nam: x"), "a.yaml:5:3: unknown key `nam`: did you mean `name`?");
    refused(&with("port: 80\n  expects: allow"), "a.yaml:4:3: unknown key `expects`: did you mean `expect`?");
    refused(&with("port: 80"), "a.yaml:1:3: `expect` is missing");
    refused(
        &with("port: 0\n  expect: allow"),
        "a.yaml:3:9: port: `0` is no port: a number from 1 to 65535 is expected",
    );
    refused(
        &with("port: 80/udp\n  protocol: tcp\n  expect: allow"),
        "a.yaml:4:13: protocol: it contradicts the protocol behind the port: keep one of them",
    );
    refused("from: subject", "a.yaml:1:1: `to` is missing");
    refused("- a\n", "a.yaml:1:3: expected a mapping, found text");
    refused("hello", "a.yaml:1:1: a list of assertions is wanted here: `- {from, to, port, expect}`");
    refused(
        "{\"from\": \"subject\", \"to\": \"nobody\", \"port\": 1, \"expect\": \"allow\"}\n",
        "a.yaml:1:27: to: `nobody` is no endpoint: write ns/pod, ns/deploy/name, ns/svc/name, an address, a CIDR, node/name, subject, any-pod or world",
    );
    refused("{\"from\": \"subject\"}\n{\"from\": \"subject\",, }\n", "a.yaml:1:1: `to` is missing");
    assert!(parse("{\"from\": }}\n").is_err());
}

#[test]
fn outcomes_as_json() {
    let found = outcomes(&files(), "- {name: x, from: subject, to: matrix/svc/mas, port: http, expect: deny}");
    let json = serde_json::to_value(&found[0]).unwrap();
    let keys: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["name", "from", "to", "port", "protocol", "expect", "verdict", "holds", "because"]);
}

/// Each end is looked up once: a long list costs its verdicts and nothing else.
#[test]
fn a_long_list() {
    let (world, policies) = load(&files());
    let engine = Engine::new(&world, &policies);
    let line = |n: usize| {
        format!(
            "{{\"from\": \"subject\", \"to\": \"matrix/svc/matrix-synapse-synapse\", \"port\": {}, \"expect\": \"allow\"}}\n",
            79 + n % 2
        )
    };
    let text: String = (0..5000).map(line).collect();
    let found = check(&parse(&text).unwrap(), &world, &engine, guide(&world).subject.as_ref());
    assert_eq!((found.len(), found.iter().filter(|o| o.holds).count()), (5000, 2500));
}
