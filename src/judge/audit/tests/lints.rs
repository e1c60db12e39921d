//! Mistakes in the policies themselves, one a row, in a policy beside the rendered one, which is clean.

use super::*;

/// A policy for the pods of one namespace.
fn policy(namespace: &str, selector: &str, rules: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: extra, namespace: {namespace}}}\nspec:\n  podSelector: {selector}\n  {rules}\n"
    )
}

const SYNAPSE: &str = "{matchLabels: {app.kubernetes.io/component: synapse}}";

/// A policy of Synapse that admits MAS, so that nothing else is wrong.
fn synapse(rule: &str) -> String {
    let mas = "{from: [{podSelector: {matchLabels: {app.kubernetes.io/component: mas}}}], ports: [{port: 8008}]}";
    policy("matrix", SYNAPSE, &format!("ingress:\n  - {mas}\n  - {rule}"))
}

#[track_caller]
fn only(text: &str, code: &str, marker: &str, message: &str) {
    let namespace = text.split("namespace: ").nth(1).unwrap().split('}').next().unwrap();
    let expect = format!("{code} NetworkPolicy/{namespace}/extra @extra.yaml {marker}");
    let audit = added("extra.yaml", text, &[&expect]);
    assert!(audit.findings[0].message.contains(message), "{}", audit.findings[0].message);
}

#[test]
fn policies_and_rules_that_nothing_meets() {
    only(
        &policy("postgres", "{matchLabels: {cnpg.io/cluster: matrix}}", "ingress: []"),
        "DeadPolicy",
        "apiVersion",
        "no known pod of postgres has the labels cnpg.io/cluster=matrix",
    );
    only(
        &policy(
            "postgres",
            "{matchLabels: {a: b}, matchExpressions: [{key: a, operator: DoesNotExist}]}",
            "ingress: []",
        ),
        "DeadPolicy",
        "apiVersion",
        "contradicts itself",
    );
    // Where no pod is known nothing can be said.
    added("extra.yaml", &policy("elsewhere", "{matchLabels: {a: b}}", "ingress: []"), &[]);
    only(
        &synapse(
            "{from: [{podSelector: {matchLabels: {a: b}, matchExpressions: [{key: a, operator: NotIn, values: [b]}]}}]}",
        ),
        "DeadRule",
        "8008 > {podSelector",
        "ingress[1]: its podSelector contradicts itself",
    );
    only(
        &synapse("{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/9, 10.128.0.0/9]}}]}"),
        "DeadRule",
        "{ipBlock",
        "cuts the whole range out",
    );
}

#[test]
fn ports_that_lead_nowhere() {
    only(
        &synapse("{from: [{podSelector: {matchLabels: {app.kubernetes.io/component: mas}}}], ports: [{port: web}]}"),
        "NamedPortMissing",
        "8008 > {port: web",
        "names the TCP port `web`, which no pod at the destination has",
    );
    only(
        &synapse("{from: [{podSelector: {matchLabels: {app.kubernetes.io/component: mas}}}], ports: [{port: 80}]}"),
        "NobodyListens",
        "8008 > {port: 80",
        "admits TCP 80, which no pod at the destination declares",
    );
    only(
        &synapse(
            "{from: [{podSelector: {matchLabels: {app.kubernetes.io/component: mas}}}], ports: [{port: 9000, endPort: 9001}]}",
        ),
        "EndPortUsed",
        "{port: 9000",
        "admits TCP 9000-9001 by endPort",
    );
}

#[test]
fn either_where_both_were_meant() {
    let traefik = "namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: traefik}}";
    let pods = "podSelector: {matchLabels: {app.kubernetes.io/name: traefik}}";
    only(
        &synapse(&format!("{{from: [{{{traefik}}}, {{{pods}}}], ports: [{{port: 8008}}]}}")),
        "OrInsteadOfAnd",
        "namespaceSelector > {podSelector",
        "ingress[1]: namespaceSelector and podSelector are two items",
    );
    added("extra.yaml", &synapse(&format!("{{from: [{{{traefik}, {pods}}}], ports: [{{port: 8008}}]}}")), &[]);
    // Two items that both hit somebody are two items.
    let mas = "podSelector: {matchLabels: {app.kubernetes.io/component: mas}}";
    added("extra.yaml", &synapse(&format!("{{from: [{{{traefik}}}, {{{mas}}}], ports: [{{port: http}}]}}")), &[]);
}

#[test]
fn one_family_for_both() {
    let all = "{from: [{ipBlock: {cidr: 0.0.0.0/0}}], ports: [{port: 8008}]}";
    let dual = |files: &mut Vec<(String, String)>, policy: &str| {
        let synapse = &mut files.iter_mut().find(|(name, _)| name == "matrix_synapse.yaml").unwrap().1;
        let at = synapse.find("  podIPs:\n").unwrap() + "  podIPs:\n".len();
        synapse.insert_str(at, "  - ip: fd00:42::21\n");
        files.push(("extra.yaml".into(), policy.into()));
    };
    let mut files = clean();
    dual(&mut files, &synapse(all));
    let found = said(&audited(&files));
    assert!(
        found.iter().any(|line| line.starts_with("Ipv6Forgotten NetworkPolicy/matrix/extra extra.yaml")),
        "{found:#?}"
    );
    let both = all.replace("}}]", "}}, {ipBlock: {cidr: \"::/0\"}}]");
    let mut files = clean();
    dual(&mut files, &synapse(&both));
    assert!(!said(&audited(&files)).iter().any(|line| line.starts_with("Ipv6Forgotten")));
    // A pod of one family has nothing to lose.
    let single = said(&audited(&[clean(), vec![("extra.yaml".into(), synapse(all))]].concat()));
    assert!(!single.iter().any(|line| line.starts_with("Ipv6Forgotten")), "{single:#?}");
}

#[test]
fn all_namespaces_for_a_relay_outside() {
    let files = [
        guide_files(),
        vec![(
            "policy.yaml".to_owned(),
            policy(
                "matrix",
                "{matchLabels: {app.kubernetes.io/component: mas}}",
                "policyTypes: [Egress]\n  egress: [{to: [{namespaceSelector: {}}], ports: [{port: 587}]}]",
            ),
        )],
    ]
    .concat();
    let (world, policies) = load(&files);
    let engine = Engine::new(&world, &policies);
    let relay = edge(
        "mas-to-smtp",
        Protocol::Tcp,
        Allow,
        pods(&world, "matrix", super::super::fixture::MAS, &[]),
        blocks(&["198.51.100.25/32"], &[], &[587], false),
    );
    let intended = Resolution { subject: guide(&world).subject, edges: vec![relay], findings: Vec::new() };
    let audit = audit(&intended, &world, &policies, &engine, &name());
    let first = &audit.findings[0];
    assert_eq!((first.code, first.object.as_str()), (Code::SelectorForAddress, "NetworkPolicy/matrix/extra"));
    assert_eq!(first.place.as_ref().unwrap().to_string(), at(&files, "policy.yaml", "{namespaceSelector"));
    assert!(first.fix.contains("cidr: 198.51.100.25/32") && first.fix.contains("port: 587"), "{}", first.fix);
}
