//! Every trap of the NetworkPolicy API, one test each, with the sentence that decides it.
//!
//! API = `k8s.io/api/networking/v1/types.go`; DOC = kubernetes.io, concepts, Network Policies; E2E = `test/e2e/network/netpol/network_policy.go`.

use super::{ask, check, read};

const DENY_IN: &str = "{podSelector: {}, policyTypes: [Ingress]}";
const DENY_OUT: &str = "{podSelector: {}, policyTypes: [Egress]}";

/// Trap 1. API: "If no policyTypes are specified … default to Ingress, and Egress if the policy has any egress rules" (`defaults.go`: `len(egress) != 0`).
#[test]
fn policy_types_left_out() {
    for none in ["", ", policyTypes: []", ", policyTypes: null"] {
        let empty = format!("{{podSelector: {{}}, egress: []{none}}}");
        check(&[&empty], "b/web", "a/web", "80/TCP", "denied");
        check(&[&empty], "a/web", "b/web", "80/TCP", "allowed");
        let ruled = format!("{{podSelector: {{}}, egress: [{{ports: [{{port: 53}}]}}]{none}}}");
        check(&[&ruled], "a/web", "b/web", "80/TCP", "denied");
        check(&[&ruled], "a/web", "b/web", "53/TCP", "allowed");
        check(&[&ruled], "b/web", "a/web", "80/TCP", "denied");
    }
    // With types the rules of the other direction are ignored.
    let only_out = "{podSelector: {}, policyTypes: [Egress], ingress: []}";
    check(&[only_out], "b/web", "a/web", "80/TCP", "allowed");
    check(&[only_out], "a/web", "b/web", "80/TCP", "denied");
    let other_rule = "{podSelector: {}, policyTypes: [Ingress], egress: [{}]}";
    check(&[DENY_OUT, other_rule], "a/web", "b/web", "80/TCP", "denied");
}

/// Trap 2. API: "If not specified, this field defaults to TCP."
#[test]
fn protocol_left_out() {
    let spec = "{ingress: [{ports: [{port: 80}]}]}";
    check(&[spec], "b/web", "a/web", "80/TCP", "allowed");
    check(&[spec], "b/web", "a/web", "80/UDP", "denied");
    check(&["{ingress: [{ports: [null]}]}"], "b/web", "a/web", "7/TCP", "allowed");
    check(&["{ingress: [{ports: [{}]}]}"], "b/web", "a/web", "7/UDP", "denied");
}

/// Trap 3. API: "If this field is not provided, this matches all port names and numbers" — of the item's protocol.
#[test]
fn protocol_without_port() {
    let spec = "{ingress: [{ports: [{protocol: UDP}]}]}";
    check(&[spec], "b/web", "a/web", "1/UDP", "allowed");
    check(&[spec], "b/web", "a/web", "65535/UDP", "allowed");
    check(&[spec], "b/web", "a/web", "80/TCP", "denied");
}

/// Trap 4. API: "If this field is empty or missing, this rule matches all …"; a list without rules admits nothing.
#[test]
fn nil_and_empty_lists() {
    for spec in ["{}", "{ingress: []}", "{ingress: null}", "null", "{policyTypes: [Ingress]}"] {
        check(&[spec], "b/web", "a/web", "80/TCP", "denied");
    }
    for rule in ["{}", "null", "{from: []}", "{from: null}", "{ports: []}", "{from: [], ports: null}"] {
        check(&[&format!("{{ingress: [{rule}]}}")], "b/web", "a/web", "80/SCTP", "allowed");
        check(&[&format!("{{ingress: [{rule}]}}")], "203.0.113.7", "a/web", "80/TCP", "allowed");
    }
    let ports = "{ingress: [{from: [], ports: [{port: 80}]}]}";
    check(&[ports], "b/web", "a/web", "81/TCP", "denied");
}

/// Trap 5. API: an empty podSelector "matches all pods in this namespace"; DOC on `from`: one item with both selectors is AND, two items are OR.
#[test]
fn selectors_null_empty_absent_and_combined() {
    for subject in ["podSelector: {}, ", "podSelector: null, ", "", "podSelector: {matchLabels: null}, "] {
        check(&[&format!("{{{subject}policyTypes: [Ingress]}}")], "b/web", "a/db", "80/TCP", "denied");
    }
    check(&["{podSelector: {matchLabels: {app: web}}}"], "b/web", "a/db", "80/TCP", "allowed");
    check(&[DENY_IN], "a/web", "b/web", "80/TCP", "allowed");

    let own = "{ingress: [{from: [{podSelector: {}}]}]}";
    check(&[own], "a/db", "a/web", "80/TCP", "allowed");
    check(&[own], "b/web", "a/web", "80/TCP", "denied");
    let all = "{ingress: [{from: [{namespaceSelector: {}}]}]}";
    check(&[all], "b/web", "a/web", "80/TCP", "allowed");
    check(&[all], "c/web", "a/web", "80/TCP", "allowed");
    check(&[all], "203.0.113.7", "a/web", "80/TCP", "denied");
    let both = "{ingress: [{from: [{namespaceSelector: {matchLabels: {team: red}}, podSelector: {matchLabels: {app: web}}}]}]}";
    check(&[both], "a/web2", "a/web", "80/TCP", "allowed");
    check(&[both], "a/db", "a/web", "80/TCP", "denied");
    check(&[both], "b/web", "a/web", "80/TCP", "denied");
    let either = "{ingress: [{from: [{namespaceSelector: {matchLabels: {team: blue}}}, {podSelector: {matchLabels: {app: web}}}]}]}";
    check(&[either], "b/web", "a/web", "80/TCP", "allowed");
    check(&[either], "a/web2", "a/web", "80/TCP", "allowed");
    check(&[either], "a/db", "a/web", "80/TCP", "denied");
}

/// Trap 7. apimachinery `Requirement.Matches`: NotIn and DoesNotExist match a missing key; matchLabels wants the key.
#[test]
fn operators_on_missing_keys() {
    let from =
        |selector: &str| format!("{{ingress: [{{from: [{{podSelector: {{matchExpressions: [{selector}]}}}}]}}]}}");
    check(&[&from("{key: canary, operator: NotIn, values: [yes-please]}")], "a/db", "a/web", "80/TCP", "allowed");
    check(&[&from("{key: canary, operator: DoesNotExist}")], "a/db", "a/web", "80/TCP", "allowed");
    check(&[&from("{key: canary, operator: DoesNotExist}")], "a/web2", "a/web", "80/TCP", "denied");
    check(&[&from("{key: canary, operator: Exists}")], "a/web2", "a/web", "80/TCP", "allowed");
    check(&[&from("{key: canary, operator: Exists}")], "a/db", "a/web", "80/TCP", "denied");
    check(&[&from("{key: app, operator: In, values: [db, cache]}")], "a/db", "a/web", "80/TCP", "allowed");
    check(&[&from("{key: app, operator: In, values: [cache]}")], "a/db", "a/web", "80/TCP", "denied");
    check(
        &["{ingress: [{from: [{podSelector: {matchLabels: {canary: \"\"}}}]}]}"],
        "a/db",
        "a/web",
        "80/TCP",
        "denied",
    );
}

/// Trap 8. DOC: "The Kubernetes control plane sets an immutable label kubernetes.io/metadata.name on all namespaces". Other labels of a
/// namespace known only by reference are unknown, which matters only where the outcome depends on it.
#[test]
fn namespace_labels() {
    let from = |selector: &str| format!("{{ingress: [{{from: [{{namespaceSelector: {selector}}}]}}]}}");
    let named = |name: &str| from(&format!("{{matchLabels: {{kubernetes.io/metadata.name: {name}}}}}"));
    check(&[&named("b")], "b/web", "a/web", "80/TCP", "allowed");
    check(&[&named("c")], "c/web", "a/web", "80/TCP", "allowed");
    check(&[&named("b")], "c/web", "a/web", "80/TCP", "denied");
    let blue = from("{matchLabels: {team: blue}}");
    check(&[&blue], "c/web", "a/web", "80/TCP", "unknown");
    check(&[&from("{matchExpressions: [{key: team, operator: DoesNotExist}]}")], "c/web", "a/web", "80/TCP", "unknown");
    check(
        &[&from("{matchLabels: {team: blue, kubernetes.io/metadata.name: b}}")],
        "c/web",
        "a/web",
        "80/TCP",
        "denied",
    );
    check(&[&blue, &named("c")], "c/web", "a/web", "80/TCP", "allowed");
    // A peer that certainly fits settles it, within one rule too.
    let either = "{ingress: [{from: [{namespaceSelector: {matchLabels: {team: blue}}}, {namespaceSelector: {}, podSelector: {matchLabels: {app: web}}}]}]}";
    check(&[either], "c/web", "a/web", "80/TCP", "allowed");
    check(&[&blue.replace("}]}]}", "}], ports: [{port: 443}]}]}")], "c/web", "a/web", "80/TCP", "denied");
    let answer = ask(&[&blue], "c/web", "a/web", "80/TCP");
    assert_eq!(answer.sentence(), "unknown: the labels of namespace c are not known: include its Namespace object");
}

/// Trap 9. DOC: "Network policies do not conflict; they are additive … order of evaluation does not affect the policy result."
#[test]
fn policies_are_a_union() {
    let open = "{ingress: [{from: [{podSelector: {matchLabels: {app: db}}}]}]}";
    for specs in [[DENY_IN, open], [open, DENY_IN]] {
        check(&specs, "a/db", "a/web", "80/TCP", "allowed");
        check(&specs, "a/web2", "a/web", "80/TCP", "denied");
    }
    check(&["{ingress: [{}]}", DENY_IN, open], "203.0.113.7", "a/web", "80/UDP", "allowed");
}

/// Trap 10. DOC: "both the egress policy on the source pod and the ingress policy on the destination pod need to allow the connection" — this one.
#[test]
fn both_ends_for_the_same_port() {
    let out =
        "{podSelector: {matchLabels: {app: db}}, policyTypes: [Egress], egress: [{ports: [{port: 80}, {port: 443}]}]}";
    let into = "{podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{port: 443}, {port: 8080}]}]}";
    check(&[out, into], "a/db", "a/web", "443/TCP", "allowed");
    check(&[out, into], "a/db", "a/web", "80/TCP", "denied");
    check(&[out, into], "a/db", "a/web", "8080/TCP", "denied");
    let (set, _) = read(&super::policies(&[out, into]));
    let world = super::cluster();
    let engine = super::Engine::new(&world, &set);
    let admitted = engine.admitted(super::end(&world, "a/db"), super::end(&world, "a/web"));
    assert_eq!(admitted.traffic.allowed.to_string(), "TCP 443");
    assert_eq!(admitted.traffic.unknown.to_string(), "nothing");
}

/// Trap 11. DOC: "the two sorts of isolation … are declared independently".
#[test]
fn isolation_is_per_direction() {
    check(&[DENY_OUT], "b/web", "a/web", "80/TCP", "allowed");
    check(&[DENY_OUT], "a/web", "b/web", "80/TCP", "denied");
    check(&[DENY_IN], "a/web", "b/web", "80/TCP", "allowed");
}

/// Trap 12. A name means the container port of that name and protocol on the destination: on the selected pod for ingress, on each peer pod for
/// egress. DOC: policies "apply equally" to restartable init containers, whose ports are among a pod's.
#[test]
fn named_ports_are_the_destinations() {
    let into = "{podSelector: {}, ingress: [{ports: [{port: http}]}]}";
    check(&[into], "b/web", "a/web", "8080/TCP", "allowed");
    check(&[into], "b/web", "a/web", "8081/TCP", "denied");
    check(&[into], "b/web", "a/web", "8081/UDP", "denied");
    check(&[into], "b/web", "a/web2", "9090/TCP", "allowed");
    check(&[into], "b/web", "a/web2", "8080/TCP", "denied");
    check(&[into], "b/web", "a/db", "8080/TCP", "denied");
    check(&["{ingress: [{ports: [{port: http, protocol: UDP}]}]}"], "b/web", "a/web", "8081/UDP", "allowed");
    let out = "{policyTypes: [Egress], egress: [{to: [{podSelector: {}}], ports: [{port: http}]}]}";
    check(&[out], "a/db", "a/web", "8080/TCP", "allowed");
    check(&[out], "a/db", "a/web2", "9090/TCP", "allowed");
    check(&[out], "a/db", "a/web2", "8080/TCP", "denied");
    let anybody = "{policyTypes: [Egress], egress: [{ports: [{port: http}]}]}";
    check(&[anybody], "a/db", "203.0.113.7", "8080/TCP", "denied");
    check(&[anybody], "a/db", "a/web", "8080/TCP", "allowed");
    let block = |cidr: &str| {
        format!("{{policyTypes: [Egress], egress: [{{to: [{{ipBlock: {{cidr: {cidr}}}}}], ports: [{{port: http}}]}}]}}")
    };
    check(&[&block("203.0.113.0/24")], "a/db", "203.0.113.7", "8080/TCP", "denied");
    // The text is open: the block holds the pod, and the name is the pod's.
    check(&[&block("10.0.0.2/32")], "a/db", "a/web2", "9090/TCP", "unknown");
    check(&[&block("10.0.0.2/32")], "a/db", "a/web2", "8080/TCP", "denied");
}

/// Trap 13. Two containers may give one name (kubernetes#54213); the NetworkPolicy text is silent, so each of them counts, and a UDP port of the
/// name does not hide the TCP one.
#[test]
fn duplicate_port_names() {
    let spec = "{ingress: [{ports: [{port: http}]}]}";
    check(&[spec], "b/web", "a/web2", "9090/TCP", "allowed");
    check(&[spec], "b/web", "a/web2", "9091/TCP", "allowed");
}

/// Trap 14. `containerPort` is informational: "Any port which is listening … will be accessible" (core/v1 Container.ports).
#[test]
fn undeclared_ports_are_reachable() {
    check(&[], "b/web", "a/db", "5432/TCP", "allowed");
    check(&["{ingress: [{ports: [{port: 5432}]}]}"], "b/web", "a/db", "5432/TCP", "allowed");
}

/// Trap 15. API: endPort "indicates that the range of ports from port to endPort if set, inclusive, should be allowed" (KEP-2079).
#[test]
fn end_port_is_inclusive() {
    let spec = "{ingress: [{ports: [{port: 100, endPort: 200}, {port: 300, endPort: 300, protocol: UDP}]}]}";
    for (port, expect) in [("99/TCP", "denied"), ("100/TCP", "allowed"), ("200/TCP", "allowed"), ("201/TCP", "denied")]
    {
        check(&[spec], "b/web", "a/web", port, expect);
    }
    check(&[spec], "b/web", "a/web", "300/UDP", "allowed");
    check(&[spec], "b/web", "a/web", "150/UDP", "denied");
}

/// Trap 16. E2E "should allow egress access to server in CIDR block": a pod's address in an ipBlock admits that pod.
#[test]
fn ip_block_matches_pods() {
    let out = "{policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 10.0.0.2/32}}]}]}";
    check(&[out], "a/db", "a/web2", "80/TCP", "allowed");
    check(&[out], "a/db", "a/web", "80/TCP", "denied");
    check(&[out], "a/db", "10.0.0.2", "80/TCP", "allowed");
    let into =
        "{podSelector: {matchLabels: {canary: yes-please}}, ingress: [{from: [{ipBlock: {cidr: 10.0.2.0/24}}]}]}";
    check(&[&into.replace("{canary: yes-please}", "{app: web}")], "c/web", "a/web2", "80/TCP", "allowed");
}

/// Trap 17. API: except values "will be rejected if they are outside the cidr range"; E2E "overlapping both IPBlock.CIDR and IPBlock.Except is
/// allowed": an exception cuts only its own block.
#[test]
fn except_cuts_its_own_block_only() {
    let cut = "{policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 10.0.0.0/24, except: [10.0.0.2/32]}}]}]}";
    check(&[cut], "a/db", "a/web2", "80/TCP", "denied");
    check(&[cut], "a/db", "10.0.0.77", "80/TCP", "allowed");
    let again = "{policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 10.0.0.0/24, except: [10.0.0.2/32]}}, {ipBlock: {cidr: 10.0.0.2/31}}]}]}";
    check(&[again], "a/db", "a/web2", "80/TCP", "allowed");
    check(
        &[cut, "{policyTypes: [Egress], egress: [{to: [{podSelector: {}}]}]}"],
        "a/db",
        "a/web2",
        "80/TCP",
        "allowed",
    );
}

/// Trap 18. `10.0.0.77/24` means `10.0.0.0/24` (antrea#1764), and is a finding, because API servers from 1.36 on refuse it.
#[test]
fn host_bits_are_masked() {
    let (set, findings) = read(&super::policies(&["{ingress: [{from: [{ipBlock: {cidr: 10.0.2.77/24}}]}]}"]));
    assert_eq!(findings.iter().map(|f| f.code.name()).collect::<Vec<_>>(), ["HostBits"]);
    assert_eq!(findings[0].fix, "write 10.0.2.0/24");
    assert_eq!(super::ask_set(&set, "c/web", "a/web2", "80/TCP").declared.as_str(), "allowed");
}

/// Trap 19. `0.0.0.0/0` says nothing about IPv6: a dual-stack pair is judged in both families, and the worst counts.
#[test]
fn families_are_apart() {
    let v4 = "{policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0}}]}]}";
    check(&[v4], "a/web", "203.0.113.7", "80/TCP", "allowed");
    check(&[v4], "a/web", "2001:db8::7", "80/TCP", "denied");
    check(&[v4], "a/web2", "a/web", "80/TCP", "allowed");
    check(&[v4], "a/db", "a/web", "80/TCP", "denied");
    check(&[v4], "a/db", "10.0.0.1", "80/TCP", "allowed");
    check(&[v4], "a/db", "fd00::1", "80/TCP", "denied");
    check(&[v4], "a/db", "::ffff:10.0.0.1", "80/TCP", "allowed");
    let answer = ask(&[v4], "a/db", "a/web", "80/TCP");
    assert!(answer.is_mixed());
    assert!(answer.sentence().ends_with("(IPv4 allowed, IPv6 denied)"), "{}", answer.sentence());
    let both = "{policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0}}, {ipBlock: {cidr: '::/0'}}]}]}";
    check(&[both], "a/db", "a/web", "80/TCP", "allowed");
    // Only IPv4 here, only IPv6 there: no connection to have a verdict on.
    check(&[], "a/web2", "fd00::1", "80/TCP", "unknown");
}

/// Trap 20. DOC: for hostNetwork pods "the behaviour is undefined"; the common one is that policies ignore them and see their node's address.
#[test]
fn host_network_pods() {
    check(&[], "b/far-host", "a/web", "80/TCP", "allowed");
    let selected = "{ingress: [{from: [{namespaceSelector: {}}]}]}";
    check(&[selected], "b/far-host", "a/web", "80/TCP", "denied");
    let by_node = "{ingress: [{from: [{ipBlock: {cidr: 10.9.0.2/32}}]}]}";
    check(&[by_node], "b/far-host", "a/web", "80/TCP", "allowed");
    check(&[by_node], "b/lost-host", "a/web", "80/TCP", "unknown");
    check(
        &["{ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0}}, {ipBlock: {cidr: '::/0'}}]}]}"],
        "b/lost-host",
        "a/web",
        "80/TCP",
        "allowed",
    );
    check(
        &["{policyTypes: [Egress], egress: [{to: [{namespaceSelector: {}}]}]}"],
        "a/web",
        "b/far-host",
        "80/TCP",
        "denied",
    );
    check(
        &["{policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 10.9.0.0/24}}]}]}"],
        "a/web",
        "b/far-host",
        "80/TCP",
        "allowed",
    );
    // Policies do not apply to it either: one that selects everything in its namespace does not isolate it.
    let (set, _) = read(&super::policies(&[DENY_IN]).replace("namespace: a", "namespace: b"));
    assert_eq!(super::ask_set(&set, "a/web", "b/far-host", "80/TCP").declared.as_str(), "allowed");
    assert_eq!(super::ask_set(&set, "a/web", "b/web", "80/TCP").declared.as_str(), "denied");
}

/// Trap 21. DOC: "Traffic to and from the node where a Pod is running is always allowed, regardless of the IP address of the Pod or the node."
#[test]
fn a_pod_and_its_own_node() {
    check(&[DENY_IN, DENY_OUT], "10.9.0.1", "a/web", "80/TCP", "allowed");
    check(&[DENY_IN, DENY_OUT], "a/web", "10.9.0.1", "80/TCP", "allowed");
    check(&[DENY_IN, DENY_OUT], "b/host", "a/web", "80/TCP", "allowed");
    check(&[DENY_IN, DENY_OUT], "10.9.0.2", "a/web", "80/TCP", "denied");
    check(&[DENY_IN, DENY_OUT], "a/web", "b/far-host", "80/TCP", "denied");
    // Not bound to a node yet.
    check(&[DENY_IN], "10.9.0.1", "a/template", "80/TCP", "unknown");
    check(&[DENY_IN], "203.0.113.7", "a/template", "80/TCP", "denied");
}

/// Trap 22. DOC: "A Pod cannot block access to itself". A replica is another pod.
#[test]
fn self_traffic() {
    check(&[DENY_IN, DENY_OUT], "a/web", "a/web", "80/TCP", "allowed");
    check(&[DENY_IN, DENY_OUT], "a/web", "10.0.0.1", "80/TCP", "allowed");
    check(&[DENY_IN, DENY_OUT], "a/web", "a/web2", "80/TCP", "denied");
    check(&[DENY_IN], "a/template", "a/template", "80/TCP", "denied");
    check(&[], "a/template", "a/template", "80/TCP", "allowed");
}

/// Trap 23. Policies see the pod port after Service DNAT: allowing the Service port 80 does not open pod port 8080 (website#8295).
#[test]
fn the_service_port_is_not_the_pod_port() {
    check(&["{ingress: [{ports: [{port: 80}]}]}"], "b/web", "a/web", "8080/TCP", "denied");
}

/// Trap 25. DOC: "reply traffic for those allowed connections will also be implicitly allowed": the way back needs no rule and gives none.
#[test]
fn replies_need_no_rule() {
    let into = "{podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress, Egress], ingress: [{from: [{podSelector: {}}]}]}";
    check(&[into], "a/db", "a/web", "80/TCP", "allowed");
    check(&[into], "a/web", "a/db", "80/TCP", "denied");
}

/// Trap 27. E2E: a policy that only allows SCTP still isolates TCP.
#[test]
fn an_sctp_rule_isolates_tcp() {
    let spec = "{ingress: [{ports: [{protocol: SCTP, port: 80}]}]}";
    check(&[spec], "b/web", "a/web", "80/TCP", "denied");
    check(&[spec], "b/web", "a/web", "80/SCTP", "allowed");
}

/// Trap 28. Succeeded and Failed pods keep `status.podIP` while the address is given to others (kubernetes#92697).
#[test]
fn finished_pods() {
    check(&[], "a/done", "a/web", "80/TCP", "unknown");
    check(&[], "b/web", "a/done", "80/TCP", "unknown");
    // Its old address is nobody's: a selector that would have matched it admits nothing.
    check(&["{ingress: [{from: [{podSelector: {}}]}]}"], "10.0.0.9", "a/web", "80/TCP", "denied");
    check(&["{ingress: [{from: [{ipBlock: {cidr: 10.0.0.9/32}}]}]}"], "10.0.0.9", "a/web", "80/TCP", "allowed");
}

/// Trap 29. A pod without an address is selected by its labels all the same; only an ipBlock waits for the address, unless any address will do.
#[test]
fn pods_without_an_address() {
    check(&[DENY_IN], "b/web", "a/pending", "80/TCP", "denied");
    check(
        &["{ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}"],
        "a/pending",
        "a/db",
        "80/TCP",
        "allowed",
    );
    let block = |cidr: &str| format!("{{ingress: [{{from: [{{ipBlock: {{cidr: {cidr}}}}}]}}]}}");
    check(&[&block("10.0.0.0/8")], "a/pending", "a/db", "80/TCP", "unknown");
    // IPv4 would be admitted and IPv6 not, and which of them the pod gets is not known.
    check(&[&block("0.0.0.0/0")], "a/pending", "a/db", "80/TCP", "unknown");
    // The other end has IPv4 only.
    check(&[&block("0.0.0.0/0")], "a/pending", "a/web2", "80/TCP", "allowed");
    check(&[&block("'::/0'")], "a/pending", "a/web2", "80/TCP", "denied");
    check(&[&block("0.0.0.0/0"), &block("'::/0'")], "a/pending", "a/db", "80/TCP", "allowed");
    let either = "{ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}}, {podSelector: {}}]}]}";
    check(&[either], "a/pending", "a/db", "80/TCP", "allowed");
    let answer = ask(&[&block("10.0.0.0/8")], "a/pending", "a/web2", "80/TCP");
    assert_eq!(answer.sentence(), "unknown: pod a/pending has no address yet, and an ipBlock decides");
}

/// Trap 30. `metadata.namespace` may be absent: it is `default`.
#[test]
fn namespace_left_out() {
    let (set, findings) =
        read("{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: x}, spec: {}}");
    assert_eq!((set.policies[0].name.to_string().as_str(), findings.len()), ("default/x", 0));
}

/// Trap 31. Pods of one owner may differ in labels (canaries, `apps.kubernetes.io/pod-index`): each is judged by its own.
#[test]
fn pods_of_one_owner_differ() {
    let spec = "{podSelector: {matchLabels: {canary: 'yes'}}, policyTypes: [Ingress]}";
    check(&[spec], "b/web", "a/web2", "80/TCP", "denied");
    check(&[spec], "b/web", "a/web", "80/TCP", "allowed");
}
