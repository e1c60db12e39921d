//! What the API server refuses, what is unknown, and what is not evaluated.

use super::{ask_set, cluster, end, policies, read};
use crate::policy::Engine;
use crate::world::Protocol;

const CLEAN: &str = "podSelector:
  matchLabels: {app: web}
  matchExpressions:
  - {key: tier, operator: NotIn, values: [x]}
policyTypes: [Ingress, Egress]
ingress:
- from:
  - podSelector: {matchExpressions: [{key: app, operator: Exists}]}
    namespaceSelector: {}
  - ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}
  ports:
  - {port: 100, endPort: 200, protocol: UDP}
  - {port: http}
egress: [{}]
";

/// Breaks one thing of a policy that is clean.
#[track_caller]
fn check(find: &str, replace: &str, expect: &[&str]) {
    assert!(find.is_empty() || CLEAN.matches(find).count() == 1, "`{find}` stands once");
    let spec = if find.is_empty() { CLEAN.to_owned() } else { CLEAN.replace(find, replace) };
    let text = format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p, namespace: a}}\nspec:\n  {}",
        spec.replace('\n', "\n  ")
    );
    let (set, findings) = read(&text);
    let refusal = ": the API server refuses this policy, so it is left out and opens nothing";
    let said: Vec<String> = findings
        .iter()
        .map(|f| {
            let place = f.place.as_ref().unwrap().position;
            format!("{} {}:{} {}", f.code.name(), place.line, place.column, f.message.replace(refusal, ""))
        })
        .collect();
    assert_eq!(said, expect);
    let refused = findings.iter().any(|f| f.code.name() == "InvalidPolicy");
    assert_eq!(set.policies.len(), usize::from(!refused), "a refused policy does not exist");
}

/// `pkg/apis/networking/validation/validation.go` and apimachinery's `ValidateLabelSelector`.
#[test]
fn what_the_api_server_refuses() {
    check("", "", &[]);
    // 6. A peer must name one kind of peer.
    check("ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}", "{}", &["InvalidPolicy 14:7 a peer names nobody"]);
    check("ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}", "null", &["InvalidPolicy 14:7 a peer names nobody"]);
    check(
        "namespaceSelector: {}\n",
        "ipBlock: {cidr: 10.0.0.0/8}\n",
        &["InvalidPolicy 12:7 a peer has an ipBlock beside a selector"],
    );
    check("cidr: 10.0.0.0/8", "cidr: 10.0.0.0", &["InvalidPolicy 14:23 this is no CIDR"]);
    check("cidr: 10.0.0.0/8, ", "", &["InvalidPolicy 14:16 this is no CIDR"]);
    check("cidr: 10.0.0.0/8", "cidr: 10.0.0.0/33", &["InvalidPolicy 14:23 this is no CIDR"]);
    for (except, shown) in [("11.0.0.0/16", "11.0.0.0/16"), ("10.0.0.0/8", "10.0.0.0/8"), ("fd00::/64", "fd00::/64")] {
        let expect = format!("InvalidPolicy 14:44 except {shown} is no strict part of 10.0.0.0/8");
        check("10.1.0.0/16", except, &[expect.as_str()]);
    }
    check("10.1.0.0/16", "x", &["InvalidPolicy 14:44 this is no CIDR"]);
    check("port: 100, ", "", &["InvalidPolicy 16:17 endPort stands without port"]);
    check("endPort: 200", "endPort: 99", &["InvalidPolicy 16:28 endPort is less than port"]);
    check("{port: http}", "{port: http, endPort: 9}", &["InvalidPolicy 17:29 endPort stands beside a named port"]);
    check("port: 100", "port: 0", &["InvalidPolicy 16:14 a port is not from 1 to 65535"]);
    check("endPort: 200", "endPort: 65536", &["InvalidPolicy 16:14 a port is not from 1 to 65535"]);
    for name in ["'80'", "Http", "a--b", "-a", "a-", "abcdefghijklmnop", "''"] {
        check("{port: http}", &format!("{{port: {name}}}"), &["InvalidPolicy 17:14 this is no port name"]);
    }
    check("protocol: UDP", "protocol: udp", &["InvalidPolicy 16:43 the protocol is none of TCP, UDP, SCTP"]);
    check("operator: NotIn", "operator: notin", &["InvalidPolicy 8:29 this is no operator of a label selector"]);
    check(", values: [x]", "", &["InvalidPolicy 8:7 In and NotIn need values"]);
    check(
        "operator: Exists",
        "operator: Exists, values: [x]",
        &["InvalidPolicy 12:77 Exists and DoesNotExist take no values"],
    );
    check(
        "values: [x]",
        "values: [x y]",
        &[
            "InvalidPolicy 8:45 a label value is at most 63 letters, digits, `-`, `_` and `.`, and begins and ends with a letter or digit",
        ],
    );
    check(
        "{app: web}",
        "{app/: web}",
        &[
            "InvalidPolicy 6:25 a label key is 1 to 63 letters, digits, `-`, `_` and `.`, and begins and ends with a letter or digit",
        ],
    );
    check("[Ingress, Egress]", "[Ingress, egress]", &["InvalidPolicy 9:26 policyTypes knows only Ingress and Egress"]);
    check(
        "[Ingress, Egress]",
        "[Ingress, Egress, Ingress]",
        &["InvalidPolicy 9:16 policyTypes has more than two items"],
    );
    // Types that Go's JSON reader refuses.
    check(
        "{app: web}",
        "{app: true}",
        &["InvalidPolicy 6:24 spec: podSelector.matchLabels.app: expected text, found a boolean: put it in quotes"],
    );
    check("egress: [{}]", "egress: {}", &["InvalidPolicy 18:11 spec: egress: expected a list, found a mapping"]);
    check(
        "port: 100",
        "port: [1]",
        &["InvalidPolicy 16:14 spec: ingress[0].ports[0].port: expected a port number or a port name, found a list"],
    );
}

#[test]
fn what_is_only_noted() {
    check("egress: [{}]", "egres: [{}]", &["UnknownKey 18:3 spec: unknown key `egres`: did you mean `egress`?"]);
    check(
        "namespaceSelector: {}\n",
        "namespaceselector: {}\n",
        &[
            "UnknownKey 13:7 spec: ingress[0].from[0]: unknown key `namespaceselector`: did you mean `namespaceSelector`?",
        ],
    );
    check(
        "10.1.0.0/16",
        "10.1.2.3/16",
        &[
            "HostBits 14:44 this CIDR has host bits set and means 10.1.0.0/16: API servers from 1.36 on refuse it in new policies",
        ],
    );
    check("{app: web}", "{app: null}", &[]);
}

/// A refused policy neither opens nor isolates.
#[test]
fn a_refused_policy_is_not_there() {
    let deny = "{policyTypes: [Ingress]}";
    let (set, _) = read(&policies(&[deny, "{ingress: [{from: [{}], ports: [{protocol: tcp}]}]}"]));
    assert_eq!(ask_set(&set, "b/web", "a/web", "80/TCP").declared.as_str(), "denied");
    let (set, _) = read(&policies(&["{ingress: [{from: [{}]}]}"]));
    assert_eq!(ask_set(&set, "b/web", "a/web", "80/TCP").declared.as_str(), "allowed");
}

#[test]
fn the_later_of_two_equal_names_is_taken() {
    let text = policies(&["{policyTypes: [Ingress]}", "{ingress: [{}]}"]).replace("name: p1", "name: p0");
    let (set, findings) = read(&text);
    assert_eq!(set.policies.len(), 1);
    assert_eq!(findings.iter().map(|f| f.code.name()).collect::<Vec<_>>(), ["NotCovered"]);
    assert_eq!(ask_set(&set, "b/web", "a/web", "80/TCP").declared.as_str(), "allowed");
}

/// A value that is filled in later: the policy exists and may isolate or admit, but takes nothing from a rule that admits.
#[test]
fn parts_that_are_not_in_the_file() {
    let hole = "{ingress: [{from: [{ipBlock: {cidr: '${OFFICE}'}}]}]}";
    let (set, findings) = read(&policies(&[hole]));
    assert_eq!(findings.iter().map(|f| f.code.name()).collect::<Vec<_>>(), ["ValueUnknown"]);
    assert_eq!(ask_set(&set, "b/web", "a/web", "80/TCP").declared.as_str(), "unknown");
    assert_eq!(ask_set(&set, "b/web", "c/web", "80/TCP").declared.as_str(), "allowed");
    let (set, _) = read(&policies(&[hole, "{ingress: [{ports: [{port: 80}]}]}"]));
    assert_eq!(ask_set(&set, "b/web", "a/web", "80/TCP").declared.as_str(), "allowed");
    assert_eq!(ask_set(&set, "b/web", "a/web", "81/TCP").declared.as_str(), "unknown");
    let (set, _) = read(&policies(&["{}"]).replace("namespace: a", "namespace: '${NS}'"));
    assert_eq!(ask_set(&set, "a/web", "c/web", "80/TCP").declared.as_str(), "unknown");
}

/// Verdicts for (not isolated, isolated and admitted, isolated and denied) beside an object of another kind.
#[track_caller]
fn beside(object: &str, expect: [&str; 3]) {
    let ports = "{podSelector: {matchLabels: {canary: 'yes'}}, ingress: [{ports: [{port: 80}]}]}";
    let (set, findings) = read(&format!("{}---\n{object}\n", policies(&[ports])));
    assert_eq!(findings.iter().map(|f| f.code.name()).collect::<Vec<_>>(), ["KindNotModelled"], "{object}");
    let world = cluster();
    let engine = Engine::new(&world, &set);
    let ask = |to: &str, port: u16| {
        let (from, to) = (end(&world, "203.0.113.7"), end(&world, to));
        let answer = engine.verdict(from, to, port, Protocol::Tcp);
        assert_eq!(engine.admitted(from, to).traffic.declared(Protocol::Tcp, port), answer.declared);
        answer.declared.as_str()
    };
    assert_eq!([ask("a/web", 80), ask("a/web2", 80), ask("a/web2", 81)], expect, "{object}");
}

#[test]
fn kinds_that_are_not_evaluated() {
    let of = |group: &str, kind: &str, namespace: &str, spec: &str| {
        format!("{{apiVersion: {group}/v1, kind: {kind}, metadata: {{name: x{namespace}}}, spec: {spec}}}")
    };
    let (a, far) = (", namespace: a", ", namespace: far");
    beside(&of("policy.networking.k8s.io", "ClusterNetworkPolicy", "", "{tier: Admin}"), ["unknown"; 3]);
    beside(&of("policy.networking.k8s.io", "AdminNetworkPolicy", "", "{}"), ["unknown"; 3]);
    let baseline = ["unknown", "allowed", "denied"];
    beside(&of("policy.networking.k8s.io", "ClusterNetworkPolicy", "", "{tier: Baseline}"), baseline);
    beside(&of("policy.networking.k8s.io", "BaselineAdminNetworkPolicy", "", "{}"), baseline);
    beside(&of("cilium.io", "CiliumNetworkPolicy", a, "{}"), ["unknown"; 3]);
    beside(&of("cilium.io", "CiliumNetworkPolicy", far, "{}"), ["allowed", "allowed", "denied"]);
    beside(&of("cilium.io", "CiliumClusterwideNetworkPolicy", "", "{}"), ["unknown"; 3]);
    beside(&of("projectcalico.org", "NetworkPolicy", a, "{}"), ["unknown"; 3]);
    beside(&of("crd.projectcalico.org", "GlobalNetworkPolicy", "", "{}"), ["unknown"; 3]);
    let restricts = ["unknown", "unknown", "denied"];
    beside(&of("security.istio.io", "AuthorizationPolicy", a, "{}"), restricts);
    beside(&of("security.istio.io", "AuthorizationPolicy", ", namespace: istio-system", "{}"), restricts);
    beside(&of("security.istio.io", "AuthorizationPolicy", far, "{}"), ["allowed", "allowed", "denied"]);
    // It speaks of ingress only.
    let (set, _) = read(&of("security.istio.io", "AuthorizationPolicy", a, "{}"));
    assert_eq!(ask_set(&set, "a/web", "b/web", "80/TCP").declared.as_str(), "allowed");
}

/// The unknown verdict names the object that could change it.
#[test]
fn the_object_is_named() {
    let (set, _) = read("{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {name: x, namespace: a}}");
    assert_eq!(
        ask_set(&set, "b/web", "a/web", "80/TCP").sentence(),
        "unknown: CiliumNetworkPolicy/a/x (p.yaml:1:1) is of a kind that is not evaluated"
    );
}

/// `extensions/v1beta1` is gone since 1.16, and objects of other kinds are nobody's business here.
#[test]
fn old_and_foreign_objects() {
    for old in ["extensions/v1beta1", "networking.k8s.io/v1beta1"] {
        let (set, findings) = read(&format!("{{apiVersion: {old}, kind: NetworkPolicy, metadata: {{name: x}}}}"));
        assert_eq!((set.policies.len(), findings.len(), findings[0].code.name()), (0, 1, "InvalidPolicy"));
    }
    let (set, findings) = read("{apiVersion: v1, kind: Service, metadata: {name: x}}");
    assert_eq!((set.policies.len(), set.unmodelled.len(), findings.len()), (0, 0, 0));
}

/// Who put a policy there, as Helm, Flux and Argo CD sign it.
#[test]
fn owners() {
    let owner = |metadata: &str| {
        let (set, _) = read(&format!(
            "{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: x, {metadata}}}}}"
        ));
        set.policies[0].owner()
    };
    let helm = "annotations: {meta.helm.sh/release-name: r, meta.helm.sh/release-namespace: ns, other: x}";
    assert_eq!(owner(helm).as_deref(), Some("Helm release ns/r"));
    let flux = "labels: {kustomize.toolkit.fluxcd.io/name: apps, kustomize.toolkit.fluxcd.io/namespace: flux-system}";
    assert_eq!(owner(flux).as_deref(), Some("Flux Kustomization flux-system/apps"));
    let argo = "annotations: {argocd.argoproj.io/tracking-id: 'site:networking.k8s.io/NetworkPolicy:a/x'}";
    assert_eq!(owner(argo).as_deref(), Some("Argo CD application site"));
    assert_eq!(owner("labels: {}"), None);
}
