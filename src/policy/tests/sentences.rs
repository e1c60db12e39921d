//! The one sentence of an answer, whole.

use super::ask;

#[track_caller]
fn check(specs: &[&str], from: &str, to: &str, port: &str, expect: &str) {
    assert_eq!(ask(specs, from, to, port).sentence(), expect);
}

const DENY_OUT: &str = "{podSelector: {matchLabels: {app: db}}, policyTypes: [Egress]}";

#[test]
fn allowed() {
    check(&[], "a/db", "b/web", "80/TCP", "allowed: egress of a/db is not isolated; ingress of b/web is not isolated");
    check(
        &["{ingress: [{ports: [{port: 1}]}, {}]}"],
        "203.0.113.7",
        "a/web",
        "80/TCP",
        "allowed: 203.0.113.7 is no pod, so no policy applies to it; ingress of a/web by ingress[1] of a/p0 (p.yaml:4:40)",
    );
    check(
        &[DENY_OUT],
        "a/db",
        "10.9.0.1",
        "80/TCP",
        "allowed: a/db and its own node always reach each other; node/n1 (10.9.0.1) is no pod, so no policy applies to it",
    );
}

#[test]
fn denied() {
    check(
        &[DENY_OUT],
        "a/db",
        "b/web",
        "5432/TCP",
        "denied: egress of a/db is isolated by a/p0 (p.yaml:1:1) and no rule admits b/web:5432/TCP",
    );
    check(
        &[DENY_OUT],
        "a/db",
        "2001:db8::1",
        "5432/TCP",
        "denied: egress of a/db is isolated by a/p0 (p.yaml:1:1) and no rule admits [2001:db8::1]:5432/TCP",
    );
    check(
        &[DENY_OUT, "{podSelector: {matchLabels: {app: web}}}"],
        "a/db",
        "a/web2",
        "80/TCP",
        "denied: egress of a/db is isolated by a/p0 (p.yaml:1:1) and no rule admits a/web2:80/TCP; \
         and ingress of a/web2 is isolated by a/p1 (p.yaml:6:1) and no rule admits a/db to 80/TCP",
    );
}

/// What the nearest rule lacks.
#[track_caller]
fn nearest(rules: &str, from: &str, to: &str, port: &str, expect: (usize, &str)) {
    let answer = ask(&[&format!("{{ingress: [{rules}]}}")], from, to, port);
    let nearest = answer.ingress.nearest.expect("a nearest miss");
    assert_eq!((nearest.rule.index, nearest.why.as_str()), expect);
}

#[test]
fn nearest_misses() {
    let blue = "{from: [{namespaceSelector: {matchLabels: {name: blue}}}]}";
    nearest(blue, "b/web", "a/web", "80/TCP", (0, "namespace b lacks label name=blue"));
    nearest(
        "{from: [{podSelector: {}}]}",
        "b/web",
        "a/web",
        "80/TCP",
        (0, "it selects pods of namespace a only, and b/web is in b"),
    );
    nearest(
        "{from: [{podSelector: {matchLabels: {app: web}}}]}",
        "a/db",
        "a/web",
        "80/TCP",
        (0, "pod a/db has label app=db, not app=web"),
    );
    nearest("{ports: [{protocol: UDP}]}", "b/web", "a/web", "80/TCP", (0, "it allows UDP only"));
    nearest(
        "{ports: [{port: 443}, {port: 90, endPort: 99}, {port: http}]}",
        "b/web",
        "a/web",
        "80/TCP",
        (0, "it allows TCP 443, 90-99, `http` (8080 there) only, and the connection goes to 80"),
    );
    nearest(
        "{ports: [{port: https}]}",
        "b/web",
        "a/web",
        "80/TCP",
        (0, "it allows TCP `https` (no TCP port of that name there) only, and the connection goes to 80"),
    );
    nearest(
        "{from: [{ipBlock: {cidr: 10.0.0.0/8}}]}",
        "203.0.113.7",
        "a/web",
        "80/TCP",
        (0, "203.0.113.7 is not in 10.0.0.0/8"),
    );
    nearest(
        "{from: [{ipBlock: {cidr: 0.0.0.0/0, except: [203.0.113.0/24]}}]}",
        "203.0.113.7",
        "a/web",
        "80/TCP",
        (0, "203.0.113.7 is in 203.0.113.0/24, which is excepted from 0.0.0.0/0"),
    );
    nearest(
        "{from: [{namespaceSelector: {}}]}",
        "b/far-host",
        "a/web",
        "80/TCP",
        (0, "b/far-host is in its node's network, where selectors do not reach it"),
    );
    // The right peer on the wrong port is nearer than the wrong peer on the right port; fewer unmet labels are nearer.
    let web_443 = "{from: [{namespaceSelector: {}, podSelector: {matchLabels: {app: web}}}], ports: [{port: 443}]}";
    nearest(
        &format!("{blue}, {web_443}"),
        "b/web",
        "a/web",
        "80/TCP",
        (1, "it allows TCP 443 only, and the connection goes to 80"),
    );
    let two = "{from: [{namespaceSelector: {matchLabels: {name: blue}}, podSelector: {matchLabels: {app: db}}}]}";
    nearest(&format!("{two}, {blue}"), "b/web", "a/web", "80/TCP", (1, "namespace b lacks label name=blue"));
}
