//! Cluster-wide tiers: one test a sentence of the API.
//!
//! TYPES = `apis/v1alpha2/clusternetworkpolicy_types.go`, OVERVIEW = `site-src/api-overview.md`, both of kubernetes-sigs/network-policy-api.

use super::{ask_set, cluster, end, policies, read};
use crate::policy::{Dialect, Engine, PolicySet};
use crate::world::Protocol;

/// A ClusterNetworkPolicy for the pods of namespace `a`.
fn cnp(name: &str, tier: &str, priority: u16, rules: &str) -> String {
    format!(
        "---\napiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {{name: {name}}}\nspec: {{tier: {tier}, priority: {priority}, subject: {{namespaces: {{matchLabels: {{team: red}}}}}}, {rules}}}\n"
    )
}

fn admin(priority: u16, rules: &str) -> String {
    cnp(&format!("admin{priority}"), "Admin", priority, rules)
}

fn baseline(priority: u16, rules: &str) -> String {
    cnp(&format!("base{priority}"), "Baseline", priority, rules)
}

/// The verdict under NetworkPolicies of namespace `a` and cluster-wide policies, which are clean.
#[track_caller]
fn check(specs: &[&str], tiers: &[String], from: &str, to: &str, port: &str, expect: &str) {
    let (set, findings) = read(&format!("{}{}", policies(specs), tiers.concat()));
    assert_eq!(findings, [], "the policies of a table are clean");
    let answer = ask_set(&set, from, to, port);
    assert_eq!(answer.declared.as_str(), expect, "{from} -> {to}:{port} under {tiers:#?}\n{}", answer.sentence());
}

/// What is said of policies that are not clean.
#[track_caller]
fn check_findings(text: &str, evaluated: usize, unmodelled: usize, expect: &[&str]) {
    let (set, findings) = read(text);
    let said: Vec<String> = findings.iter().map(|f| format!("{} {}", f.code.name(), f.message)).collect();
    let refusal = ": the API server refuses this policy, so it is left out and decides nothing";
    let said: Vec<String> = said.iter().map(|text| text.replace(refusal, "")).collect();
    assert_eq!(said, expect, "{text}");
    assert_eq!((set.tiers.len(), set.unmodelled.len()), (evaluated, unmodelled), "{text}");
}

const ALL: &str = "[{namespaces: {}}]";
const DENY_IN: &str = "{policyTypes: [Ingress]}";
const ADMIT: &str = "{ingress: [{}]}";

fn ingress(action: &str, more: &str) -> String {
    format!("ingress: [{{action: {action}, from: {ALL}{more}}}]")
}

/// OVERVIEW: "there will not be any implicit isolation effects for the Pods selected by the ClusterNetworkPolicy".
#[test]
fn no_implicit_isolation() {
    let only_443 = ingress("Accept", ", protocols: [{tcp: {destinationPort: {number: 443}}}]");
    for tier in [admin(1, &only_443), baseline(1, &only_443)] {
        check(&[], std::slice::from_ref(&tier), "b/web", "a/web", "80/TCP", "allowed");
        check(&[DENY_IN], std::slice::from_ref(&tier), "b/web", "a/web", "80/TCP", "denied");
    }
    // "CNPs with no ingress rules do not affect ingress traffic."
    check(&[], &[admin(1, "egress: []")], "b/web", "a/web", "80/TCP", "allowed");
}

/// TYPES: "If Admin tier has made a final decision (Accept or Deny) on a connection, then no further evaluation is done."
#[test]
fn the_admin_tier_comes_first() {
    check(&[DENY_IN], &[admin(1, &ingress("Accept", ""))], "b/web", "a/web", "80/TCP", "allowed");
    check(&[ADMIT], &[admin(1, &ingress("Deny", ""))], "b/web", "a/web", "80/TCP", "denied");
    check(
        &[],
        &[admin(1, &ingress("Deny", "")), baseline(1, &ingress("Accept", ""))],
        "b/web",
        "a/web",
        "80/TCP",
        "denied",
    );
    // Pods of other namespaces are no subject.
    check(&[], &[admin(1, &ingress("Deny", ""))], "a/web", "b/web", "80/TCP", "allowed");
    // "Accept: any ingress rules at the destination do apply."
    let out = admin(1, &format!("egress: [{{action: Accept, to: {ALL}}}]"));
    check(&[DENY_IN], &[out], "a/db", "a/web", "80/TCP", "denied");
}

/// TYPES: "Pass: Skips all further ClusterNetworkPolicy rules in the current tier for the selected traffic, and passes evaluation to the
/// next tier."
#[test]
fn pass_leads_to_the_next_tier() {
    let pass_then_deny = format!("ingress: [{{action: Pass, from: {ALL}}}, {{action: Deny, from: {ALL}}}]");
    let admin = [admin(1, &pass_then_deny), admin(2, &ingress("Deny", ""))];
    check(&[], &admin, "b/web", "a/web", "80/TCP", "allowed");
    check(&[DENY_IN], &admin, "b/web", "a/web", "80/TCP", "denied");
    let with_base = [admin[0].clone(), baseline(1, &ingress("Deny", ""))];
    check(&[], &with_base, "b/web", "a/web", "80/TCP", "denied");
    // In the last tier the next one is the default: "all pods can communicate with each other".
    let base = [baseline(1, &pass_then_deny), baseline(2, &ingress("Deny", ""))];
    check(&[], &base, "b/web", "a/web", "80/TCP", "allowed");
}

/// Trap 11. TYPES: "v1.NetworkPolicy always makes a final decision for selected pods. Further evaluation only happens for Pods not selected by
/// a v1.NetworkPolicy." We read "selected" per direction.
#[test]
fn baseline_decides_what_no_network_policy_isolates() {
    let base = [baseline(1, &format!("{}, egress: [{{action: Deny, to: {ALL}}}]", ingress("Deny", "")))];
    check(&[], &base, "b/web", "a/web", "80/TCP", "denied");
    check(&[ADMIT], &base, "b/web", "a/web", "80/TCP", "allowed");
    // Isolated for ingress only: egress stays with the Baseline tier.
    check(&[ADMIT], &base, "a/web", "b/web", "80/TCP", "denied");
    check(&[DENY_IN], &[baseline(1, &ingress("Accept", ""))], "b/web", "a/web", "80/TCP", "denied");
}

/// TYPES: "Policies with lower priority values have higher precedence"; "a rule that appears at the top would take the highest precedence".
#[test]
fn the_lower_number_and_the_earlier_rule_win() {
    let (accept, deny) = (ingress("Accept", ""), ingress("Deny", ""));
    check(&[], &[admin(2, &accept), admin(1, &deny)], "b/web", "a/web", "80/TCP", "denied");
    check(&[], &[admin(1000, &deny), admin(0, &accept)], "b/web", "a/web", "80/TCP", "allowed");
    let both = format!(
        "ingress: [{{action: Accept, from: [{{pods: {{podSelector: {{matchLabels: {{app: db}}}}}}}}]}}, {{action: Deny, from: {ALL}}}]"
    );
    check(&[], &[admin(1, &both)], "a/db", "a/web", "80/TCP", "allowed");
    check(&[], &[admin(1, &both)], "b/web", "a/web", "80/TCP", "denied");
}

/// TYPES: "If two (or more) policies in the same tier with the same priority could match a connection, then the implementation can apply any of
/// the matching policies to the connection".
#[test]
fn equal_priorities() {
    let tcp = ", protocols: [{tcp: {destinationPort: {range: {start: 1, end: 100}}}}]";
    let text = [cnp("one", "Admin", 5, &ingress("Accept", "")), cnp("two", "Admin", 5, &ingress("Deny", tcp))].concat();
    let warning = "EqualPriority it has the priority of ClusterNetworkPolicy/one (p.yaml:2:1) in the Admin tier: where both match and differ, the verdict is unknown";
    check_findings(&text, 2, 0, &[warning]);
    let (set, _) = read(&text);
    let answer = ask_set(&set, "b/web", "a/web", "80/TCP");
    assert_eq!(
        answer.sentence(),
        "unknown: ClusterNetworkPolicy/one (p.yaml:2:1) and ClusterNetworkPolicy/two (p.yaml:7:1) both match and differ, and nothing says which comes first: give them different priorities"
    );
    // Only one of them matches.
    assert_eq!(ask_set(&set, "b/web", "a/web", "80/UDP").declared.as_str(), "allowed");
    assert_eq!(ask_set(&set, "b/web", "a/web", "101/TCP").declared.as_str(), "allowed");
    let (set, _) = read(&text.replace("action: Accept", "action: Deny"));
    assert_eq!(ask_set(&set, "b/web", "a/web", "80/TCP").declared.as_str(), "denied");
    // A tier above or a lower number decides before them.
    let (set, _) = read(&format!("{text}{}", cnp("three", "Admin", 4, &ingress("Deny", ""))));
    assert_eq!(ask_set(&set, "b/web", "a/web", "80/TCP").declared.as_str(), "denied");
    check(
        &[],
        &[cnp("one", "Admin", 5, &ingress("Deny", "")), cnp("two", "Baseline", 5, &ingress("Accept", ""))],
        "b/web",
        "a/web",
        "80/TCP",
        "denied",
    );
}

/// TYPES: "Note that host-networked pods are not included in subject selection", nor "in this type of peer".
#[test]
fn host_network_pods() {
    let deny = admin(1, &ingress("Deny", "")).replace("{matchLabels: {team: red}}", "{}");
    check(&[], std::slice::from_ref(&deny), "a/web", "b/far-host", "80/TCP", "allowed");
    check(&[], std::slice::from_ref(&deny), "b/far-host", "a/web", "80/TCP", "allowed");
    check(&[], std::slice::from_ref(&deny), "203.0.113.7", "a/web", "80/TCP", "allowed");
}

/// TYPES: `nodes` "selects the nodeIPs as the peer type"; `networks`: "cluster-internal traffic will be checked against the rule as well. So if
/// you Accept or Deny traffic to 0.0.0.0/0, that will allow or deny all IPv4 pod-to-pod traffic as well."
#[test]
fn nodes_and_networks() {
    let egress = |peer: &str| [admin(1, &format!("egress: [{{action: Deny, to: [{peer}]}}]"))];
    check(&[], &egress("{nodes: {}}"), "a/web", "10.9.0.2", "80/TCP", "denied");
    check(&[], &egress("{nodes: {matchLabels: {zone: west}}}"), "a/web", "b/far-host", "80/TCP", "denied");
    check(&[], &egress("{nodes: {matchLabels: {zone: east}}}"), "a/web", "10.9.0.2", "80/TCP", "allowed");
    check(&[], &egress("{nodes: {}}"), "a/web", "203.0.113.7", "80/TCP", "allowed");
    check(&[], &egress("{nodes: {}}"), "a/web", "b/web", "80/TCP", "allowed");
    check(&[], &egress("{nodes: {}}"), "a/web", "b/lost-host", "80/TCP", "denied");
    check(&[], &egress("{nodes: {matchLabels: {zone: west}}}"), "a/web", "b/lost-host", "80/TCP", "unknown");
    check(&[], &egress("{networks: [0.0.0.0/0]}"), "a/web2", "b/web", "80/TCP", "denied");
    check(&[], &egress("{networks: [0.0.0.0/0]}"), "a/web", "2001:db8::1", "80/TCP", "allowed");
    check(&[], &egress("{networks: [10.0.1.0/24, 203.0.113.0/24]}"), "a/web2", "203.0.113.9", "80/TCP", "denied");
}

/// DOC: "Traffic to and from the node where a Pod is running is always allowed": whether that beats a Deny of a tier is open.
#[test]
fn the_own_node() {
    let deny = [admin(1, "egress: [{action: Deny, to: [{nodes: {}}]}]")];
    check(&[], &deny, "a/web", "10.9.0.1", "80/TCP", "unknown");
    check(&[], &deny, "10.9.0.1", "a/web", "80/TCP", "allowed");
    let base = [baseline(1, "egress: [{action: Deny, to: [{nodes: {}}]}]")];
    check(&[], &base, "a/web", "10.9.0.1", "80/TCP", "unknown");
    check(&["{policyTypes: [Egress]}"], &base, "a/web", "10.9.0.1", "80/TCP", "allowed");
}

/// OVERVIEW: "A Pod connecting to its own Pod IP is not subject to CNP."
#[test]
fn self_traffic() {
    let deny = [admin(1, &ingress("Deny", ""))];
    check(&[], &deny, "a/web", "10.0.0.1", "80/TCP", "allowed");
    check(&[], &deny, "a/template", "a/template", "80/TCP", "denied");
}

/// TYPES: `domainNames` only accept, and only for egress; the addresses of a name are not known here.
#[test]
fn domain_names() {
    let accept = "egress: [{action: Accept, to: [{domainNames: ['*.example.org']}]}, {action: Deny, to: [{networks: [0.0.0.0/0]}]}]";
    check(&[], &[admin(1, accept)], "a/web", "203.0.113.7", "80/TCP", "unknown");
    let first = accept.replace("egress: [", "egress: [{action: Deny, to: [{networks: [203.0.113.0/24]}]}, ");
    check(&[], &[admin(1, &first)], "a/web", "203.0.113.7", "80/TCP", "denied");
    let open = "KindNotModelled this policy has `domainNames` in a rule that does not accept, which is not supported: verdicts that it can change are unknown";
    check_findings(&admin(1, "egress: [{action: Deny, to: [{domainNames: [example.org]}]}]"), 0, 1, &[open]);
}

/// TYPES: "DestinationNamedPort selects a destination port on a pod based on the ContainerPort name": no protocol, and a name may be there twice.
#[test]
fn named_ports() {
    let deny = |name: &str| [admin(1, &ingress("Deny", &format!(", protocols: [{{destinationNamedPort: {name}}}]")))];
    check(&[], &deny("dns"), "b/web", "a/web2", "53/UDP", "denied");
    check(&[], &deny("dns"), "b/web", "a/web2", "53/TCP", "allowed");
    check(&[], &deny("http"), "b/web", "a/web", "8080/TCP", "unknown");
    check(&[], &deny("http"), "b/web", "a/web", "8080/UDP", "allowed");
    check(&[], &deny("http"), "b/web", "a/db", "8080/TCP", "allowed");
}

/// TYPES: "If an implementation sees no fields are set then it can infer that the deployed CRD is of an incompatible version with an unknown
/// field. In that case it should fail closed. For Accept rules: treat the rule as matching no traffic. For Deny and Pass rules: treat the rule as
/// a 'Deny all' rule."
#[test]
fn unknown_peers_fail_closed() {
    let rule = |action: &str, more: &str| {
        let peers = "from: [{namespaces: {}}, {networks: [10.0.0.0/8]}]";
        let (set, findings) = read(&format!(
            "{}{}",
            policies(&[DENY_IN]),
            admin(1, &format!("ingress: [{{action: {action}, {peers}{more}}}]"))
        ));
        assert_eq!(findings.iter().map(|f| f.code.name()).collect::<Vec<_>>(), ["UnknownKey"]);
        set
    };
    let ask = |action: &str, more: &str, to: &str, port: &str| {
        ask_set(&rule(action, more), "b/web", to, port).declared.as_str()
    };
    assert_eq!(ask("Accept", "", "a/web", "80/TCP"), "denied");
    let no_policy = |action: &str, more: &str, port: &str| {
        let mut set = rule(action, more);
        set.policies.clear();
        let set = PolicySet::new(set.policies, set.unmodelled).with_tiers(set.tiers);
        ask_set(&set, "b/web", "a/web", port).declared.as_str()
    };
    assert_eq!(no_policy("Accept", "", "80/TCP"), "allowed");
    assert_eq!(no_policy("Pass", "", "80/TCP"), "denied");
    assert_eq!(no_policy("Deny", "", "80/TCP"), "denied");
    // Whether "deny all" keeps the rule's protocols is open.
    let only_80 = ", protocols: [{tcp: {destinationPort: {number: 80}}}]";
    assert_eq!(no_policy("Deny", only_80, "80/TCP"), "denied");
    assert_eq!(no_policy("Deny", only_80, "81/TCP"), "unknown");
}

/// v1alpha1: Allow instead of Accept, `ports` instead of `protocols`, one BaselineAdminNetworkPolicy without a priority.
#[test]
fn the_forerunners() {
    let old = |kind: &str, name: &str, priority: &str, rules: &str| {
        format!(
            "---\napiVersion: policy.networking.k8s.io/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {{{priority} subject: {{pods: {{namespaceSelector: {{}}, podSelector: {{matchLabels: {{app: web}}}}}}}}, {rules}}}\n"
        )
    };
    let anp = |rules: &str| old("AdminNetworkPolicy", "x", "priority: 7,", rules);
    let banp = |rules: &str| old("BaselineAdminNetworkPolicy", "default", "", rules);
    let ports = ", ports: [{portNumber: {port: 80}}, {portRange: {protocol: UDP, start: 1, end: 9}}, {namedPort: dns}]";
    let allow = anp(&ingress("Allow", ports));
    for (port, expect) in
        [("80/TCP", "allowed"), ("80/UDP", "denied"), ("9/UDP", "allowed"), ("53/UDP", "allowed"), ("81/TCP", "denied")]
    {
        check(&[DENY_IN], std::slice::from_ref(&allow), "b/web", "a/web2", port, expect);
    }
    let deny = banp(&ingress("Deny", ""));
    check(&[], std::slice::from_ref(&deny), "b/web", "c/web", "80/TCP", "denied");
    check(&[ADMIT], std::slice::from_ref(&deny), "b/web", "a/web", "80/TCP", "allowed");
    check(&[], &[anp(&ingress("Pass", "")), deny.clone()], "b/web", "a/web", "80/TCP", "denied");
    check(&[], &[anp(&ingress("Allow", "")), deny.clone()], "b/web", "a/web", "80/TCP", "allowed");
    // One tier engine: a ClusterNetworkPolicy of the Admin tier is ordered with AdminNetworkPolicies.
    check(&[], &[anp(&ingress("Allow", "")), admin(6, &ingress("Deny", ""))], "b/web", "a/web", "80/TCP", "denied");
    check_findings(&banp(&ingress("Pass", "")), 0, 0, &["InvalidPolicy the action of a rule is none of Allow, Deny"]);
    check_findings(
        &anp(&ingress("Accept", "")),
        0,
        0,
        &["InvalidPolicy the action of a rule is none of Allow, Deny, Pass"],
    );
    let other = banp(&ingress("Deny", "")).replace("name: default", "name: other");
    check_findings(&other, 0, 0, &["InvalidPolicy a BaselineAdminNetworkPolicy has another name than `default`"]);
}

/// The CRD's validation: each breaks one thing of a policy that is clean.
#[test]
fn what_the_crd_refuses() {
    let clean = admin(
        5,
        "ingress: [{action: Deny, from: [{namespaces: {}}], protocols: [{tcp: {destinationPort: {number: 80}}}]}], egress: [{action: Accept, to: [{networks: [10.0.0.0/8]}]}]",
    );
    check_findings(&clean, 1, 0, &[]);
    let breaks = [
        ("tier: Admin", "tier: Top", "the tier is none of Admin, Baseline"),
        ("priority: 5", "priority: 1001", "the priority is no number from 0 to 1000"),
        ("priority: 5, ", "", "the priority is no number from 0 to 1000"),
        (
            "subject: {namespaces: {matchLabels: {team: red}}}",
            "subject: {}",
            "the subject has not exactly one of `namespaces` and `pods`",
        ),
        ("action: Deny", "action: Allow", "the action of a rule is none of Accept, Deny, Pass"),
        ("from: [{namespaces: {}}]", "from: []", "a rule has no `from`"),
        ("from: [{namespaces: {}}]", "from: [{}]", "a peer names nobody"),
        ("{namespaces: {}}", "{namespaces: {}, pods: {podSelector: {}}}", "a peer has more than one field"),
        ("{namespaces: {}}", "{pods: {namespaceSelector: {}}}", "`pods` lacks a selector that it needs"),
        ("number: 80", "number: 0", "a port is not from 1 to 65535"),
        ("{number: 80}", "{range: {start: 80, end: 80}}", "the start of a range is not below its end"),
        ("[10.0.0.0/8]", "[10.0.0.0]", "this is no CIDR"),
        ("[10.0.0.0/8]", "[]", "networks has not 1 to 25 items"),
        (
            "{networks: [10.0.0.0/8]}]",
            "{networks: [10.0.0.0/8]}], protocols: [{destinationNamedPort: http}]",
            "a rule names a port by name beside peers that are no pods",
        ),
    ];
    for (find, replace, expect) in breaks {
        assert_eq!(clean.matches(find).count(), 1, "`{find}` stands once");
        check_findings(&clean.replace(find, replace), 0, 0, &[&format!("InvalidPolicy {expect}")]);
    }
}

/// What the text leaves open is not guessed at: the policy is named, and what it can change is unknown.
#[test]
fn open_points_make_the_policy_unknown() {
    let tcp = ingress("Deny", ", protocols: [{tcp: {}}]");
    let why = "KindNotModelled this policy has a protocol without a port, which the overview takes as all ports and the CRD refuses: verdicts that it can change are unknown";
    check_findings(&admin(1, &tcp), 0, 1, &[why]);
    let (set, _) = read(&format!("{}{}", policies(&[ADMIT]), baseline(1, &tcp)));
    assert_eq!(ask_set(&set, "203.0.113.7", "a/web", "80/TCP").declared.as_str(), "allowed");
    assert_eq!(ask_set(&set, "a/web", "b/web", "80/TCP").declared.as_str(), "unknown");
    // What the Admin tier decides, a Baseline policy cannot change.
    let (set, _) = read(&format!("{}{}", admin(1, &ingress("Deny", "")), baseline(1, &tcp)));
    assert_eq!(ask_set(&set, "b/web", "a/web", "80/TCP").declared.as_str(), "denied");
    // A NetworkPolicy with a hole may isolate, and so take the pod out of the Baseline tier; it changes nothing of the Admin tier.
    let hole = policies(&["{ingress: [{from: [{ipBlock: {cidr: '${OFFICE}'}}]}]}"]);
    let with_hole = |tier: &str| {
        let (set, _) = read(&format!("{hole}{tier}"));
        ask_set(&set, "b/web", "a/web", "80/TCP").declared.as_str()
    };
    assert_eq!(with_hole(&baseline(1, &ingress("Deny", ""))), "unknown");
    assert_eq!(with_hole(&admin(1, &ingress("Deny", ""))), "denied");
    assert_eq!(with_hole(&admin(1, &ingress("Accept", ""))), "allowed");
    assert_eq!(with_hole(&admin(1, &ingress("Pass", ""))), "unknown");
    let (set, findings) = read(&admin(1, &ingress("Deny", "")).replace("team: red", "team: '${TEAM}'"));
    assert_eq!((set.unmodelled.len(), findings[0].code.name()), (1, "ValueUnknown"));
    assert_eq!(ask_set(&set, "b/web", "a/web", "80/TCP").declared.as_str(), "unknown");
}

/// The answer names the rule that decides, with its place.
#[test]
fn sentences() {
    let sentence = |specs: &[&str], tiers: &[String]| {
        let (set, _) = read(&format!("{}{}", policies(specs), tiers.concat()));
        ask_set(&set, "203.0.113.7", "a/web", "80/TCP").sentence()
    };
    let by_address = "ingress: [{action: Deny, from: [{serviceAccounts: {}}]}]";
    assert_eq!(
        sentence(&[], &[admin(1, by_address)]),
        "denied: ingress of a/web is denied by ingress[0] of ClusterNetworkPolicy/admin1 (p.yaml:5:95)"
    );
    let (set, _) = read(&admin(1, &ingress("Accept", "")));
    assert_eq!(
        ask_set(&set, "b/web", "a/web", "80/TCP").sentence(),
        "allowed: egress of b/web is not isolated; ingress of a/web by ingress[0] of ClusterNetworkPolicy/admin1 (p.yaml:5:95)"
    );
}

/// The Cilium dialect: a CIDR never means a pod or a node. Upstream tests that an ipBlock matches the addresses of both (trap 16).
#[test]
fn the_cilium_dialect() {
    let (world, everywhere) = (cluster(), "[{ipBlock: {cidr: 0.0.0.0/0}}, {ipBlock: {cidr: '::/0'}}]");
    let (set, _) = read(&policies(&[&format!("{{policyTypes: [Egress], egress: [{{to: {everywhere}}}]}}")]));
    let (tier, _) = read(&admin(1, "egress: [{action: Deny, to: [{networks: [0.0.0.0/0]}]}]"));
    let ask = |set: &PolicySet, dialect: &str, to: &str| {
        let engine = Engine::new(&world, set).with_dialect(Dialect::parse(dialect).unwrap());
        let (from, to) = (end(&world, "a/web2"), end(&world, to));
        let answer = engine.verdict(from, to, 80, Protocol::Tcp);
        assert_eq!(engine.admitted(from, to).traffic.declared(Protocol::Tcp, 80), answer.declared);
        answer
    };
    for to in ["b/web", "10.0.1.1", "b/far-host", "10.9.0.2", "a/pending", "203.0.113.7"] {
        let expect = if to == "203.0.113.7" { "allowed" } else { "denied" };
        assert_eq!(ask(&set, "upstream", to).declared.as_str(), "allowed", "{to}");
        assert_eq!(ask(&set, "cilium", to).declared.as_str(), expect, "{to}");
        let expect = if to == "203.0.113.7" { "denied" } else { "allowed" };
        assert_eq!(ask(&tier, "upstream", to).declared.as_str(), "denied", "{to}");
        assert_eq!(ask(&tier, "cilium", to).declared.as_str(), expect, "{to}");
    }
    assert_eq!(
        ask(&set, "cilium", "b/web").sentence(),
        "denied: egress of a/web2 is isolated by a/p0 (p.yaml:1:1) and no rule admits b/web:80/TCP; nearest: egress[0] of a/p0 (p.yaml:4:40): it names addresses, which for Cilium are never a pod's or a node's, as b/web is"
    );
    assert_eq!(Dialect::parse("calico"), None);
    assert_eq!(Dialect::ALL.map(|dialect| Dialect::parse(dialect.as_str())), Dialect::ALL.map(Some));
}
