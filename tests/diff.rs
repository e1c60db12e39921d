//! `portreeve diff`, driven as a user drives it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what is wrong by panicking")]

mod binary;

use std::fmt::Write;
use std::fs;

use serde_json::Value;

use binary::expect;

const CLUSTER: &str = "policies/cluster";
const POLICY: &str = "policies/matrix_portreeve-mas.yaml";

/// Three workloads in two namespaces; `web` has two pods, and its replica `web-2` is on another node.
const WORLD: &str = "\
{apiVersion: v1, kind: Namespace, metadata: {name: a}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: b}}
---
{apiVersion: v1, kind: Pod, metadata: {name: web-1, namespace: a, labels: {app: web, hash: x}}, spec: {nodeName: n1, containers: [{name: c, image: i}]}, status: {podIP: 10.0.0.1}}
---
{apiVersion: v1, kind: Pod, metadata: {name: web-2, namespace: a, labels: {app: web, hash: z}}, spec: {nodeName: n2, containers: [{name: c, image: i}]}, status: {podIP: 10.0.0.2}}
---
{apiVersion: v1, kind: Pod, metadata: {name: db, namespace: b, labels: {app: db}}, spec: {nodeName: n1, containers: [{name: c, image: i}]}, status: {podIP: 10.0.0.3}}
";

fn policy(name: &str, namespace: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n"
    )
}

fn deny(namespace: &str) -> String {
    policy("deny", namespace, "{podSelector: {}, policyTypes: [Ingress]}")
}

fn to_db(ports: &str) -> String {
    let spec = format!(
        "{{podSelector: {{matchLabels: {{app: db}}}}, ingress: [{{from: [{{namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: a}}}}}}], ports: [{ports}]}}]}}"
    );
    policy("db", "b", &spec)
}

/// Compares two texts of policies in the small world.
#[track_caller]
fn compare(code: i32, left: &str, right: &str, more: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (world, left, right) = (put("world.yaml", WORLD), put("a.yaml", left), put("b.yaml", right));
    let args = ["diff", &left, &right, "--world", &world, "-o", "json"];
    serde_json::from_str(&expect(code, &[&args[..], more].concat()).0).unwrap()
}

/// The changes as `from → to: kind ports`, in order.
fn said(json: &Value) -> Vec<String> {
    let names = |value: &Value| {
        value.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect::<Vec<_>>().join("+")
    };
    let mut all = Vec::new();
    for change in json["changes"].as_array().unwrap() {
        let mut text = format!("{} → {}:", names(&change["from"]), names(&change["to"]));
        for kind in ["opens", "closes", "mayOpen", "mayClose"] {
            for (protocol, ports) in change[kind].as_object().unwrap() {
                write!(text, " {kind} {protocol} {}", ports.as_str().unwrap()).unwrap();
            }
        }
        all.push(text);
    }
    all
}

#[test]
fn equal_sides_are_the_same() {
    // In another order, on other lines and under other labels it is the same policy.
    let left = deny("b") + &to_db("{port: 5432}");
    let right = format!("# moved\n{}{}", to_db("{port: 5432}"), deny("b"));
    let json = compare(0, &left, &right, &[]);
    assert_eq!(json["differs"], false);
    assert_eq!(json["policies"], serde_json::json!([]));
}

#[test]
fn a_wider_port_opens_and_a_narrower_one_closes() {
    let (narrow, wide) = (deny("b") + &to_db("{port: 5432}"), deny("b") + &to_db("{port: 5432, endPort: 5440}"));
    let json = compare(1, &narrow, &wide, &[]);
    assert_eq!(said(&json), ["a/web-1+a/web-2 → b/db: opens TCP 5433-5440"]);
    assert_eq!((&json["opens"], &json["closes"]), (&2.into(), &0.into()));
    let because = &json["changes"][0]["because"];
    assert_eq!(because.as_array().unwrap().len(), 1, "{because}");
    assert_eq!(because[0]["object"], "NetworkPolicy/b/db");
    assert_eq!(because[0]["change"], "changed");
    assert_eq!(because[0]["direction"], "ingress");
    assert!(because[0]["place"].as_str().unwrap().ends_with("b.yaml:7:1"), "{because}");

    assert_eq!(said(&compare(1, &wide, &narrow, &[])), ["a/web-1+a/web-2 → b/db: closes TCP 5433-5440"]);
    // What fails is what was asked for.
    compare(0, &wide, &narrow, &["--fail-on", "open"]);
    compare(1, &wide, &narrow, &["--fail-on", "close"]);
    compare(1, &narrow, &wide, &["--fail-on", "open"]);
    compare(0, &narrow, &wide, &["--fail-on", "close"]);
}

#[test]
fn a_first_policy_isolates_and_addresses_are_cut_where_rules_cut_them() {
    let left = "";
    let right = policy(
        "out",
        "b",
        "{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 203.0.113.0/24, except: [203.0.113.128/25]}}], ports: [{port: 443}]}]}",
    );
    let json = compare(1, left, &right, &[]);
    let got = said(&json);
    assert_eq!(got.len(), 2, "{got:#?}");
    // All the rest of IPv4, which is what the pod has, and the pods.
    assert!(got[0].starts_with("b/db → 0.0.0.0/1, 128.0.0.0/2, "), "{got:#?}");
    assert!(got[0].contains("+a/web-1+a/web-2: closes TCP all ports"), "{got:#?}");
    assert_eq!(got[1], "b/db → 203.0.113.0/25: closes TCP 1-442, 444-65535 closes UDP all ports closes SCTP all ports");
    assert_eq!(json["changes"][0]["because"][0]["change"], "added");
}

#[test]
fn what_is_not_known_is_said_so_and_fails() {
    let other =
        "---\n{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {name: x, namespace: b}, spec: {}}\n";
    let json = compare(1, &deny("b"), &(deny("b") + other), &["--fail-on", "open"]);
    assert_eq!(json["opens"], 0);
    assert!(json["notKnown"].as_u64().unwrap() > 0, "{json}");
    let got = said(&json);
    assert!(
        got.iter()
            .any(|row| row
                == "a/web-1+a/web-2+any address → b/db: mayOpen TCP all ports mayOpen UDP all ports mayOpen SCTP all ports"),
        "{got:#?}"
    );
    assert_eq!(json["changes"][0]["because"][0]["object"], "CiliumNetworkPolicy/b/x");
}

#[test]
fn the_guides_world_with_and_without_its_policy() {
    let empty = tempfile::tempdir().unwrap();
    let empty_file = empty.path().join("none.yaml");
    fs::write(&empty_file, "# nothing\n").unwrap();
    let (out, _) = expect(1, &["diff", empty_file.to_str().unwrap(), POLICY, "--world", CLUSTER]);
    let first = out.lines().next().unwrap();
    assert_eq!(first, "differs  new connections: 7 pairs open, 0 pairs close, 0 pairs not known", "{out}");
    let plain = out.split_whitespace().collect::<Vec<_>>().join(" ");
    for wanted in [
        "matrix/deploy/mas → kube-system/deploy/coredns opens TCP 5353; UDP 5353",
        "by matrix/portreeve-mas added (policies/matrix_portreeve-mas.yaml:4:1), egress",
        "traefik/deploy/traefik → matrix/deploy/mas opens TCP 8080",
    ] {
        assert!(plain.contains(wanted), "no `{wanted}` in\n{out}");
    }
    for line in out.lines() {
        assert!(line.chars().count() <= 100, "{line}\n{out}");
    }
    // The same comparison, the other way round.
    let (back, _) =
        expect(1, &["diff", POLICY, empty_file.to_str().unwrap(), "--world", CLUSTER, "--fail-on", "close"]);
    assert!(back.starts_with("differs  new connections: 0 pairs open, 7 pairs close"), "{back}");
    let (twice, _) = expect(0, &["diff", CLUSTER, CLUSTER]);
    assert!(twice.starts_with("same  A and B admit the same new connections\n"), "{twice}");
}

#[test]
fn pods_are_matched_by_name_else_by_workload_and_labels_count() {
    let world = |app: &str, name: &str| {
        format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: ns}}}}\n---\n\
             {{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: ns, labels: {{app: {app}}}, ownerReferences: [{{apiVersion: apps/v1, kind: StatefulSet, name: s, controller: true}}]}}, spec: {{containers: [{{name: c, image: i}}]}}, status: {{podIP: 10.0.0.1}}}}\n---\n\
             {{apiVersion: v1, kind: Pod, metadata: {{name: other, namespace: ns}}, spec: {{containers: [{{name: c, image: i}}]}}, status: {{podIP: 10.0.0.2}}}}\n{}",
            policy("guard", "ns", "{podSelector: {matchLabels: {app: guarded}}, policyTypes: [Ingress]}")
        )
    };
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: String| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (left, right) = (put("a.yaml", world("open", "s-0")), put("b.yaml", world("guarded", "s-1")));
    let json: Value = serde_json::from_str(&expect(1, &["diff", &left, &right, "-o", "json"]).0).unwrap();
    let got = said(&json);
    assert!(
        got.iter().any(|row| row
            == "any address+ns/other → ns/sts/s: closes TCP all ports closes UDP all ports closes SCTP all ports"),
        "{got:#?}"
    );
    assert_eq!(json["changes"][0]["because"][0]["object"], "ns/sts/s");
    assert_eq!(json["policies"], serde_json::json!([]));
}

#[test]
fn without_pods_there_is_nothing_to_compare() {
    let (_, err) = expect(2, &["diff", POLICY, POLICY]);
    assert!(err.contains("give the pods with --world PATH"), "{err}");
}
