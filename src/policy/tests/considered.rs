//! Every rule that was looked at, what it wants, and what would make the nearest one match.

use super::{cluster, end, policies, read};
use crate::policy::{Engine, Explanation, Fits};
use crate::world::Protocol;

fn explain(specs: &[&str], from: &str, to: &str, port: u16) -> Explanation {
    let (set, findings) = read(&policies(specs));
    assert_eq!(findings, []);
    let world = cluster();
    let engine = Engine::new(&world, &set);
    let (from, to) = (end(&world, from), end(&world, to));
    let explanation = engine.explain_all(from, to, port, Protocol::Tcp);
    assert_eq!(explanation.answer, engine.verdict(from, to, port, Protocol::Tcp));
    explanation
}

/// What each rule at the destination says, and what would match.
#[track_caller]
fn check(specs: &[&str], from: &str, port: u16, rules: &[(&str, &str)], would: Option<&str>) {
    let explanation = explain(specs, from, "a/db", port);
    let seen: Vec<(&str, &str)> = (explanation.ingress.policies.iter().flat_map(|policy| &policy.rules))
        .map(|rule| (rule.fits.as_str(), rule.why.as_str()))
        .collect();
    assert_eq!(seen, rules, "{specs:#?}");
    assert_eq!(explanation.ingress.would_match.as_deref(), would, "{specs:#?}");
    // The rules and the verdict agree.
    let allowed = seen.iter().any(|(fits, _)| *fits == Fits::Yes.as_str());
    assert_eq!(explanation.answer.ingress.declared.as_str() == "allowed", allowed);
}

const WEB: &str = "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 5432}]}]}";
const BLUE: &str = "{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: green}}}]}]}";

#[test]
fn each_rule_says_what_it_admits_or_wants() {
    check(&[WEB], "a/web", 5432, &[("yes", "admits 5432/TCP from pods app=web of a")], None);
    check(&[WEB], "a/web", 80, &[("no", "other port: wants 5432/TCP")], Some("would match if the port were 5432/TCP"));
    check(
        &[WEB],
        "b/web",
        5432,
        &[("no", "other namespace: wants a")],
        Some("would match if b/web were in namespace a"),
    );
    check(
        &[BLUE],
        "b/web",
        5432,
        &[("no", "other namespace: wants team=green")],
        Some("would match if namespace b had label team=green"),
    );
    check(
        &[
            "{podSelector: {}, ingress: [{from: [{podSelector: {matchExpressions: [{key: canary, operator: Exists}]}}]}]}",
        ],
        "a/web",
        80,
        &[("no", "other pods: wants canary")],
        Some("would match if pod a/web had label canary"),
    );
    check(
        &["{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 192.0.2.0/24}}]}]}"],
        "198.51.100.1",
        80,
        &[("no", "other address: wants 192.0.2.0/24")],
        Some("would match if 198.51.100.1 were in 192.0.2.0/24"),
    );
    check(
        &[WEB, BLUE],
        "192.0.2.1",
        80,
        &[("no", "no pod: wants pods app=web of a"), ("no", "no pod: wants pods of namespaces team=green")],
        Some("would match if 192.0.2.1 were a pod's address"),
    );
    check(&["{podSelector: {}, policyTypes: [Ingress]}"], "a/web", 80, &[], None);
}

#[test]
fn policies_without_a_say_are_named_with_the_reason() {
    let other = "{podSelector: {matchLabels: {app: cache}}, ingress: []}";
    let egress = "{podSelector: {}, policyTypes: [Egress]}";
    let explanation = explain(&[other, egress, WEB], "a/web", "a/db", 5432);
    let passed: Vec<&str> = explanation.ingress.passed_over.iter().map(|other| other.why.as_str()).collect();
    assert_eq!(passed, ["does not select it: a/db has label app=db, not app=cache", "says nothing about ingress"]);
    assert_eq!(explanation.egress.policies.len(), 1);
}

#[test]
fn no_policy_is_looked_at_where_none_applies() {
    // hostNetwork, an address, and a namespace without policies.
    for from in ["b/host", "192.0.2.1", "b/web"] {
        let explanation = explain(&[WEB], from, "b/web", 80);
        assert!(explanation.egress.policies.is_empty() && explanation.ingress.policies.is_empty(), "{from}");
    }
}
