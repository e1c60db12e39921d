//! From the guide's world under its rendered policy, which is proven clean, one thing is broken a row.

mod lints;

use proptest::prelude::*;

use super::fixture::{any_pod, blocks, edge, guide, guide_files, load, name, pods, rendered};
use super::*;
use crate::finding::Severity;
use crate::matrix::Expect::Allow;
use crate::policy::render::Directions;

fn audited(files: &[(String, String)]) -> Audit {
    let (world, policies) = load(files);
    let engine = Engine::new(&world, &policies);
    audit(&guide(&world), &world, &policies, &engine, &name())
}

/// The guide's files with the rendered policy as `policy.yaml`.
fn clean() -> Vec<(String, String)> {
    let mut files = guide_files();
    let policy = rendered(&load(&files).0);
    files.push(("policy.yaml".into(), policy));
    files
}

/// `code object place` of every finding, in order.
fn said(audit: &Audit) -> Vec<String> {
    let place = |finding: &Finding| finding.place.as_ref().map(|place| format!(" {place}")).unwrap_or_default();
    audit.findings.iter().map(|f| format!("{} {}{}", f.code.name(), f.object, place(f))).collect()
}

/// Where the last of several texts, each looked for after the one before, stands in a file, as `file:line:column`.
#[track_caller]
fn at(files: &[(String, String)], file: &str, texts: &str) -> String {
    let content = &files.iter().find(|(name, _)| name == file).unwrap().1;
    let offset = texts.split(" > ").fold(0, |from, text| {
        from + content[from..].find(text).unwrap_or_else(|| panic!("{text} is not in\n{content}"))
    });
    let line = content[..offset].matches('\n').count() + 1;
    let column = offset - content[..offset].rfind('\n').map_or(0, |n| n + 1) + 1;
    format!("{file}:{line}:{column}")
}

#[test]
fn the_rendered_policy_is_clean() {
    let files = clean();
    let audit = audited(&files);
    assert_eq!(said(&audit), Vec::<String>::new());
    for row in &audit.edges {
        let expect = if row.expect == Allow { Declared::Allowed } else { Declared::Denied };
        assert_eq!(row.declared, Some(expect), "{}: {}", row.name, row.because);
        assert!(!row.because.is_empty());
    }
    assert_eq!((audit.coverage.policies, audit.coverage.subject_policies, audit.coverage.subject_pods), (1, 1, 1));
}

/// Replaces text in one file and says which findings that must give: `Name object @file text > text`.
#[track_caller]
fn broken(file: &str, from: &str, to: &str, expect: &[&str]) -> Audit {
    let mut files = clean();
    let content = &mut files.iter_mut().find(|(name, _)| name == file).unwrap().1;
    assert!(content.contains(from), "{from} is not in\n{content}");
    *content = content.replace(from, to);
    check(&files, expect)
}

/// Adds a file and says which findings that must give.
#[track_caller]
fn added(file: &str, text: &str, expect: &[&str]) -> Audit {
    let mut files = clean();
    files.push((file.into(), text.into()));
    check(&files, expect)
}

#[track_caller]
fn check(files: &[(String, String)], expect: &[&str]) -> Audit {
    let audit = audited(files);
    let expect: Vec<String> = expect
        .iter()
        .map(|line| match line.split_once(" @") {
            Some((what, at_text)) => {
                let (file, text) = at_text.split_once(' ').unwrap();
                format!("{what} {}", at(files, file, text))
            }
            None => (*line).to_owned(),
        })
        .collect();
    assert_eq!(said(&audit), expect, "{:#?}", audit.findings);
    audit
}

const DENY: &str = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: default-deny, namespace: NS}\nspec: {podSelector: {}, policyTypes: [DIRECTION]}\n";

fn deny(namespace: &str, direction: &str) -> String {
    DENY.replace("NS", namespace).replace("DIRECTION", direction)
}

#[test]
fn a_missing_dns_over_tcp() {
    let audit = broken(
        "policy.yaml",
        "    - protocol: TCP\n      port: 53\n",
        "",
        &["DnsWithoutTcp NetworkPolicy/matrix/portreeve-mas @policy.yaml egress:\n > port: 8443 > to:"],
    );
    assert_eq!(audit.findings[0].edge.as_deref(), Some("mas-to-dns-tcp"));
}

#[test]
fn the_service_port_instead_of_the_pod_port() {
    let audit = broken(
        "policy.yaml",
        "port: 8443",
        "port: 443",
        &[
            "ServicePortUsed NetworkPolicy/matrix/portreeve-mas @policy.yaml egress:\n > name: traefik > protocol",
            "WiderThanIntended NetworkPolicy/matrix/portreeve-mas @policy.yaml egress:\n > 203.0.113.10 > namespaceSelector",
        ],
    );
    assert_eq!(audit.findings[0].fix, "write `port: 8443` instead of `port: 443`");
    broken(
        "policy.yaml",
        "port: 8008",
        "port: 80",
        &[
            "ServicePortUsed NetworkPolicy/matrix/portreeve-mas @policy.yaml egress:\n > component: synapse > protocol",
            "WiderThanIntended NetworkPolicy/matrix/portreeve-mas @policy.yaml egress:\n > exim-relay > podSelector",
        ],
    );
}

#[test]
fn a_rule_that_is_missing() {
    let audit = broken(
        "policy.yaml",
        "- protocol: TCP\n      port: 8025",
        "- protocol: TCP\n      port: 8026",
        &[
            "PolicyBlocks NetworkPolicy/matrix/portreeve-mas @policy.yaml egress:\n > cnpg > to:\n    - namespaceSelector > to:",
            "WiderThanIntended NetworkPolicy/matrix/portreeve-mas @policy.yaml egress:\n > cnpg > namespaceSelector",
        ],
    );
    let fix = &audit.findings[0].fix;
    assert!(fix.contains("kubernetes.io/metadata.name: mail") && fix.contains("port: 8025"), "{fix}");
    // Without any other policy the whole world of another direction stays open.
    let audit = added(
        "deny.yaml",
        &deny("matrix", "Ingress")
            .replace("podSelector: {}", "podSelector: {matchLabels: {app.kubernetes.io/component: mas}}"),
        &[],
    );
    assert_eq!(audit.coverage.subject_policies, 2);
}

#[test]
fn a_peer_that_does_not_let_in() {
    let audit = added(
        "deny.yaml",
        &deny("postgres", "Ingress"),
        &["PeerSideMissing NetworkPolicy/postgres/default-deny @deny.yaml apiVersion"],
    );
    let proposal = audit.findings[0].fix.split_once(":\n").unwrap().1.to_owned();
    // The proposed fix, applied, is the fix.
    let mut files = clean();
    files.push(("deny.yaml".into(), deny("postgres", "Ingress")));
    files.push(("proposal.yaml".into(), proposal));
    check(&files, &[]);
    added(
        "deny.yaml",
        &deny("traefik", "Egress"),
        &["PeerSideMissing NetworkPolicy/traefik/default-deny @deny.yaml apiVersion"],
    );
    // DNS first: the names of the other peers depend on it.
    added(
        "deny.yaml",
        &format!("{}---\n{}", deny("postgres", "Ingress"), deny("kube-system", "Ingress")),
        &[
            "PeerSideMissing NetworkPolicy/kube-system/default-deny @deny.yaml --- > apiVersion",
            "PeerSideMissing NetworkPolicy/kube-system/default-deny @deny.yaml --- > apiVersion",
            "PeerSideMissing NetworkPolicy/postgres/default-deny @deny.yaml apiVersion",
        ],
    );
}

/// Helm's marks and a rule, as one more policy that selects MAS.
fn surplus(rule: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: extra\n  namespace: matrix\n  annotations: {{meta.helm.sh/release-name: chart, meta.helm.sh/release-namespace: matrix}}\nspec:\n  podSelector: {{matchLabels: {{app.kubernetes.io/component: mas}}}}\n  {rule}\n"
    )
}

#[track_caller]
fn wider(rule: &str, marker: &str, message: &str) {
    let expect = format!("WiderThanIntended NetworkPolicy/matrix/extra @extra.yaml {marker}");
    let audit = added("extra.yaml", &surplus(rule), &[&expect]);
    assert_eq!(
        audit.findings[0].message,
        format!("{message}, which no edge needs (it belongs to Helm release matrix/chart)")
    );
}

#[test]
fn what_no_edge_needs() {
    wider(
        "ingress: [{from: [{podSelector: {}}], ports: [{port: 9999}]}]",
        "{podSelector: {}}",
        "ingress[0] admits TCP 9999 from any pod of matrix",
    );
    wider(
        "ingress: [{from: [{namespaceSelector: {}}], ports: [{port: 9999}]}]",
        "{namespaceSelector",
        "ingress[0] admits TCP 9999 from any pod of any namespace",
    );
    wider(
        "policyTypes: [Egress]\n  egress: [{to: [{namespaceSelector: {}}], ports: [{port: 587}]}]",
        "{namespaceSelector",
        "egress[0] admits TCP 587 to any pod of any namespace",
    );
    wider("policyTypes: [Egress]\n  egress: [{ports: [{port: 587}]}]", "{ports", "egress[0] admits TCP 587 to anybody");
    // Needed with one peer is not needed with another; what is needed is not named.
    wider(
        "policyTypes: [Egress]\n  egress: [{to: [{podSelector: {matchLabels: {app.kubernetes.io/component: synapse}}}], ports: [{port: 8008}, {port: 9000}]}]",
        "{podSelector: {matchLabels: {app.kubernetes.io/component: synapse",
        "egress[0] admits TCP 9000 to matrix/matrix-synapse-synapse-5b7d4f6c9-m2c7d",
    );
    wider(
        "policyTypes: [Egress]\n  egress: [{to: [{ipBlock: {cidr: 203.0.113.8/29}}], ports: [{port: 443}]}]",
        "{ipBlock",
        "egress[0] admits TCP 443 to 203.0.113.8/31, 203.0.113.11/32, 203.0.113.12/30",
    );
    wider(
        "policyTypes: [Egress]\n  egress: [{to: [{ipBlock: {cidr: 203.0.113.10/32}}], ports: [{port: 443, endPort: 444}]}]",
        "{ipBlock",
        "egress[0] admits TCP 444 to 203.0.113.10/32",
    );
    // A named port means the destination's.
    wider(
        "policyTypes: [Egress]\n  egress: [{to: [{podSelector: {matchLabels: {app.kubernetes.io/component: synapse}}}], ports: [{port: metrics}]}]",
        "{podSelector: {matchLabels: {app.kubernetes.io/component: synapse",
        "egress[0] admits TCP 9000 to matrix/matrix-synapse-synapse-5b7d4f6c9-m2c7d",
    );
    for narrow in [
        "ingress: [{from: [{podSelector: {matchLabels: {app.kubernetes.io/component: synapse}}}], ports: [{port: http}]}]",
        "ingress: []",
        // A selector of MAS's own pods: there is one of them, and it may always talk to itself.
        "ingress: [{from: [{podSelector: {matchLabels: {app.kubernetes.io/component: mas}}}]}]",
    ] {
        added("extra.yaml", &surplus(narrow), &[]);
    }
}

#[test]
fn what_another_rule_admits_too() {
    let audit = added(
        "extra.yaml",
        &surplus("policyTypes: [Egress]\n  egress: [{to: [{ipBlock: {cidr: 203.0.113.10/32}}], ports: [{port: 443}]}]"),
        &["RedundantRule NetworkPolicy/matrix/extra @extra.yaml {to"],
    );
    let by = "egress[0] admits nothing beyond what egress[0] of matrix/portreeve-mas (policy.yaml:";
    assert!(audit.findings[0].message.starts_with(by), "{}", audit.findings[0].message);
}

#[test]
fn a_forbidden_edge_that_is_open() {
    added(
        "extra.yaml",
        &surplus("ingress: [{from: [{podSelector: {}}]}]"),
        &[
            "ForbiddenOpen NetworkPolicy/matrix/extra @extra.yaml ingress: > {from",
            "WiderThanIntended NetworkPolicy/matrix/extra @extra.yaml {podSelector: {}}",
        ],
    );
}

/// The stranger's own policy refuses nothing, on purpose; that MAS is open is not its fault.
#[test]
fn a_forbidden_edge_is_closed_at_the_subjects_end() {
    let all = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: portreeve-stranger, namespace: matrix}\n\
        spec:\n  podSelector: {matchLabels: {app.kubernetes.io/name: portreeve-stranger}}\n  policyTypes: [Ingress, Egress]\n  ingress: [{}]\n  egress: [{}]\n";
    let mut files = guide_files();
    files.push(("stranger-policy.yaml".to_owned(), all.to_owned()));
    check(
        &files,
        &[
            "ForbiddenOpen stranger-to-mas",
            "ForbiddenOpen mas-to-stranger",
            "WiderThanIntended Pod/matrix/mas-6d5f9c7b8-q8w4z @matrix_mas.yaml apiVersion: v1\nkind: Pod",
            "WiderThanIntended Pod/matrix/mas-6d5f9c7b8-q8w4z @matrix_mas.yaml apiVersion: v1\nkind: Pod",
        ],
    );
}

#[test]
fn no_policy_at_all() {
    let audit = check(
        &guide_files(),
        &[
            "ForbiddenOpen stranger-to-mas",
            "ForbiddenOpen mas-to-stranger",
            "WiderThanIntended Pod/matrix/mas-6d5f9c7b8-q8w4z @matrix_mas.yaml apiVersion: v1\nkind: Pod",
            "WiderThanIntended Pod/matrix/mas-6d5f9c7b8-q8w4z @matrix_mas.yaml apiVersion: v1\nkind: Pod",
        ],
    );
    assert!(audit.edges.iter().all(|edge| edge.declared == Some(Declared::Allowed)));
}

#[test]
fn the_label_that_namespaces_do_not_have() {
    let audit = broken(
        "policy.yaml",
        "  ingress:\n  - from:\n    - podSelector:\n        matchLabels:\n          app.kubernetes.io/component: synapse\n    ports:\n    - protocol: TCP\n      port: 8080\n  - from:\n    - namespaceSelector:\n        matchLabels:\n          kubernetes.io/metadata.name: traefik",
        "  ingress:\n  - from:\n    - podSelector:\n        matchLabels:\n          app.kubernetes.io/component: synapse\n    ports:\n    - protocol: TCP\n      port: 8080\n  - from:\n    - namespaceSelector:\n        matchLabels:\n          name: traefik",
        &[
            "PolicyBlocks NetworkPolicy/matrix/portreeve-mas @policy.yaml ingress:\n > 8080 > from",
            "SelectorMatchesNothing NetworkPolicy/matrix/portreeve-mas @policy.yaml ingress:\n > namespaceSelector",
        ],
    );
    assert_eq!(audit.findings[1].fix, "write `kubernetes.io/metadata.name: traefik` instead of `name: traefik`");
}

#[test]
fn a_peer_in_its_nodes_network() {
    // On MAS's own node, so that only the selectors are in doubt: a node and its pods always reach each other.
    let place = "HostNetworkPeer Pod/traefik/traefik-7f8b6d5c4-t5r9k @traefik_traefik.yaml apiVersion: v1\nkind: Pod";
    let audit = broken(
        "traefik_traefik.yaml",
        "  nodeName: node-a\n",
        "  nodeName: node-a\n  hostNetwork: true\n",
        &[place, place],
    );
    let edges: Vec<_> = audit.findings.iter().filter_map(|finding| finding.edge.as_deref()).collect();
    assert_eq!(edges, ["traefik-to-mas", "mas-to-authelia"]);
}

#[test]
fn an_ip_range_that_is_only_partly_admitted_is_unknown() {
    let (world, policies) = load(&clean());
    let engine = Engine::new(&world, &policies);
    let subject = guide(&world).subject;
    let ask = |peer: Peer| {
        let from = pods(&world, "matrix", super::fixture::MAS, &[]);
        let edges = vec![edge("e", Protocol::Tcp, Allow, from, peer)];
        let intended = Resolution { subject: subject.clone(), edges, findings: Vec::new() };
        audit(&intended, &world, &policies, &engine, &name()).edges[0].declared
    };
    assert_eq!(ask(blocks(&["203.0.113.10/32"], &[], &[443], false)), Some(Declared::Allowed));
    assert_eq!(ask(blocks(&["203.0.113.8/29"], &[], &[443], false)), Some(Declared::Unknown));
    assert_eq!(ask(blocks(&["203.0.112.0/24"], &[], &[443], false)), Some(Declared::Denied));
    assert_eq!(ask(blocks(&["203.0.113.10/32", "203.0.113.11/32"], &[], &[443], false)), Some(Declared::Denied));
    assert_eq!(ask(blocks(&["203.0.113.10/32", "203.0.113.11/32"], &[], &[443], true)), Some(Declared::Unknown));
    // A pod without an IPv6 address has no way there: only its own family counts.
    assert_eq!(ask(blocks(&["203.0.113.10/32", "::/0"], &[], &[443], true)), Some(Declared::Allowed));
}

/// Loaded once: the policies of a case are a file of their own.
static WORLD: std::sync::LazyLock<World> = std::sync::LazyLock::new(|| load(&guide_files()).0);

fn some_peer(world: &World) -> impl Strategy<Value = Peer> + use<> {
    let choices = vec![
        pods(world, "matrix", "app.kubernetes.io/component=synapse", &[]),
        pods(world, "matrix", "app.kubernetes.io/name=matrix-synapse", &[]),
        pods(world, "matrix", "", &[]),
        pods(world, "postgres", "cnpg.io/cluster=matrix-db,cnpg.io/instanceRole=primary", &[]),
        pods(world, "postgres", "cnpg.io/cluster=matrix-db", &[]),
        pods(world, "kube-system", "k8s-app=kube-dns", &[]),
        pods(world, "not-there", "a=b", &[]),
        any_pod(&[]),
        blocks(&["203.0.113.0/24"], &["203.0.113.128/25"], &[], false),
        blocks(&["203.0.113.7/32", "2001:db8::7/128"], &[], &[], false),
        blocks(&["0.0.0.0/0", "::/0"], &["10.0.0.0/8", "fc00::/7"], &[], true),
        Peer { kind: PeerKind::Unresolved, ports: Vec::new(), service: None, by_default: false },
    ];
    prop::sample::select(choices)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Whatever the edges: the policy rendered from them denies none of them and admits nothing beyond.
    #[test]
    fn what_is_rendered_is_clean(
        parts in prop::collection::vec(
            (some_peer(&WORLD), any::<bool>(), prop::collection::vec(1..6_u16, 1..3), prop::sample::select(&Protocol::ALL[..])),
            0..7,
        ),
    ) {
        let world: &World = &WORLD;
        let edges = parts.iter().enumerate().map(|(index, (peer, inward, ports, protocol))| {
            let mas = |ports: &[u16]| pods(world, "matrix", super::fixture::MAS, ports);
            let there = Peer { ports: if *inward { Vec::new() } else { ports.clone() }, ..peer.clone() };
            let (from, to) = if *inward { (there, mas(ports)) } else { (mas(&[]), there) };
            edge(&format!("e{index}"), *protocol, Allow, from, to)
        });
        let intended = Resolution { subject: guide(world).subject, edges: edges.collect(), findings: Vec::new() };
        let policy = render::network_policy(&intended, &name(), Directions::Both).unwrap().yaml;
        let (_, policies) = load(&[("policy.yaml".into(), policy.clone())]);
        let engine = Engine::new(world, &policies);
        let audit = audit(&intended, world, &policies, &engine, &name());
        let wrong: Vec<&Finding> = audit
            .findings
            .iter()
            .filter(|f| f.code.severity() == Severity::Error || f.code == Code::WiderThanIntended)
            .collect();
        prop_assert!(wrong.is_empty(), "{wrong:#?}\n{policy}");
        prop_assert!(audit.edges.iter().all(|edge| edge.declared != Some(Declared::Denied)));
    }
}

/// A Deny of the Admin tier is blamed on its own rule: nothing that a NetworkPolicy could add would help.
#[test]
fn a_cluster_wide_deny_is_blamed() {
    let mut files = clean();
    let wall = "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {name: wall}\nspec:\n  tier: Admin\n  priority: 0\n  subject: {namespaces: {}}\n  ingress:\n  - {action: Deny, from: [{namespaces: {}}]}\n";
    files.push(("wall.yaml".into(), wall.into()));
    let audit = audited(&files);
    let blamed: Vec<&Finding> = audit.findings.iter().filter(|f| f.object == "ClusterNetworkPolicy/wall").collect();
    assert!(!blamed.is_empty(), "{:?}", said(&audit));
    for finding in blamed {
        assert_eq!(finding.place.as_ref().map(ToString::to_string).as_deref(), Some("wall.yaml:9:5"));
        assert_eq!(finding.fix, "ask the owner of ClusterNetworkPolicy/wall to let it through: ingress[0] denies it");
        assert!(
            finding.message.contains("is denied by ingress[0] of ClusterNetworkPolicy/wall"),
            "{}",
            finding.message
        );
    }
}
