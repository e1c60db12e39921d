//! `portreeve explain`, driven as a user drives it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what is wrong by panicking")]

mod binary;

use std::fs;
use std::path::Path;

use serde_json::Value;

use binary::expect;

const MATRIX: &str = "policies/traffic-matrix.yaml";
const CLUSTER: &str = "policies/cluster";
const POLICY: &str = "policies/matrix_portreeve-mas.yaml";
const TO_POSTGRES: &str = "  - to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: postgres
      podSelector:
        matchLabels:
          cnpg.io/cluster: matrix-db
          cnpg.io/instanceRole: primary
    ports:
    - protocol: TCP
      port: 5432
";

/// Asks a question under the published policy, and sees to it that every line fits the page.
#[track_caller]
fn ask(what: &[&str]) -> String {
    let mut args = vec!["explain"];
    args.extend(what);
    args.extend(["--manifests", CLUSTER, "--manifests", POLICY]);
    let (out, _) = expect(0, &args);
    for line in out.lines() {
        assert!(line.chars().count() <= 100, "{line}\n{out}");
    }
    out
}

#[track_caller]
fn has(text: &str, wanted: &[&str]) {
    let plain = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for wanted in wanted {
        assert!(plain.contains(wanted), "no `{wanted}` in\n{text}");
    }
}

/// The published policy without one rule, in a folder of its own.
fn without_the_database(folder: &Path) -> String {
    let whole = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(POLICY)).unwrap();
    let broken = whole.replace(TO_POSTGRES, "");
    assert_ne!(broken, whole, "the rule to remove is not in {POLICY}");
    let path = folder.join("policy.yaml");
    fs::write(&path, broken).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_removed_rule_is_named_and_its_fix_makes_the_audit_clean() {
    let folder = tempfile::tempdir().unwrap();
    let policy = without_the_database(folder.path());
    let sources = ["--matrix", MATRIX, "--manifests", CLUSTER, "--manifests", policy.as_str()];
    let audit = [&["audit"], &sources[..]].concat();
    expect(1, &audit);

    let (out, _) = expect(1, &[&["explain", "mas-to-postgres"], &sources[..]].concat());
    assert!(out.starts_with("denied  mas-to-postgres (must be allowed)\n"), "{out}");
    has(&out, &["isolated by matrix/default-deny (policies/cluster/policies.yaml:4:1), matrix/portreeve-mas ("]);
    has(&out, &[&format!("{policy}:4:1")]);
    has(&out, &["smallest fix: add to the spec of matrix/portreeve-mas"]);

    // The fix is the indented YAML below its line: pasted under `spec`, into the list that is already there.
    let (_, fix) = out.split_once("smallest fix:").unwrap();
    let yaml: Vec<&str> = fix.lines().skip_while(|line| *line != "    egress:").map(|line| &line[4..]).collect();
    let (key, rules) = yaml.split_first().expect("the fix has YAML");
    let rules = format!("  {}\n", rules.join("\n  "));
    let text = fs::read_to_string(&policy).unwrap();
    let list = format!("\n  {key}\n");
    assert_eq!(text.matches(&list).count(), 1, "{list:?}");
    fs::write(&policy, text.replace(&list, &format!("{list}{rules}"))).unwrap();

    let (clean, _) = expect(0, &audit);
    assert!(clean.trim_end().ends_with("nothing wrong"), "{clean}");
    let (now, _) = expect(0, &[&["explain", "mas-to-postgres"], &sources[..]].concat());
    assert!(now.starts_with("allowed  mas-to-postgres (must be allowed)\n"), "{now}");
}

#[test]
fn the_fix_of_a_pair_is_a_manifest_that_opens_it_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let what = ["explain", "postgres/matrix-db-1", "mail/svc/smtp", "587", "--manifests", CLUSTER];
    let (out, _) = expect(0, &what);
    has(&out, &["denied postgres/matrix-db-1 → mail/svc/smtp 587/TCP"]);
    has(&out, &["Service port 587 → pod port 2525 (mail/smtp, TCP); policies see the pod port"]);
    // `postgres/default-deny` selects every pod of the namespace: adding to it would open all of them.
    has(&out, &["smallest fix: apply beside the policies of pods cnpg.io/cluster=matrix-db"]);
    let (json, _) = expect(0, &[&what[..], &["-o", "json"]].concat());
    let json: Value = serde_json::from_str(&json).unwrap();
    let fix = folder.path().join("fix.yaml");
    fs::write(&fix, json["fixes"][0]["yaml"].as_str().unwrap()).unwrap();
    let fix = fix.to_str().unwrap();
    let (after, _) = expect(0, &[&what[..], &["--manifests", fix]].concat());
    assert!(after.starts_with("allowed"), "{after}");
    let other =
        ["explain", "postgres/matrix-db-1", "mail/svc/smtp", "25/tcp", "--manifests", CLUSTER, "--manifests", fix];
    let (other, _) = expect(0, &other);
    assert!(!other.starts_with("allowed"), "{other}");
}

#[test]
fn the_first_line_answers_and_every_rule_is_shown() {
    let out = ask(&["matrix/deploy/mas", "traefik/svc/traefik", "443"]);
    assert!(out.starts_with("allowed  matrix/deploy/mas → traefik/svc/traefik 443/TCP\n"), "{out}");
    has(&out, &["Service port 443 → pod port 8443", "allowed by matrix/portreeve-mas egress[0] (policies/matrix_"]);
    has(&out, &["yes matrix/portreeve-mas egress[0]", "admits 8443/TCP to pods"]);
    has(&out, &["no matrix/portreeve-mas egress[2]", "other namespace: wants kubernetes.io/metadata.name=postgres"]);
    has(&out, &["no matrix/default-deny (policies/cluster/policies.yaml:4:1) has no egress rule: it only isolates"]);
    assert!(!out.contains("smallest fix"), "{out}");

    let denied = ask(&["mail/deploy/exim-relay", "subject", "8080"]);
    assert!(denied.starts_with("denied  mail/deploy/exim-relay → subject 8080/TCP\n"), "{denied}");
    has(&denied, &["nearest: matrix/portreeve-mas ingress[1] would match if", "were in namespace traefik, and pod"]);
    has(&denied, &["ports: - protocol: TCP port: 8080"]);
}

#[test]
fn the_service_port_asked_of_a_pod_is_told() {
    let out = ask(&["matrix/deploy/mas", "traefik/deploy/traefik", "443"]);
    assert!(out.starts_with("denied"), "{out}");
    has(&out, &["443 is a port of Service traefik/traefik, which leads to pod port 8443: policies see 8443"]);
    // The protocol of a Service's only port of that number.
    let dns = ask(&["subject", "kube-system/svc/kube-dns", "dns"]);
    assert!(dns.starts_with("allowed  subject → kube-system/svc/kube-dns dns/UDP\n"), "{dns}");
}

#[test]
fn several_pairs_are_grouped() {
    let out = ask(&["any-pod", "subject", "8080"]);
    assert!(out.starts_with("mixed  any-pod → subject 8080/TCP\n"), "{out}");
    let denied = out.lines().filter(|line| line.starts_with("  denied  ")).count();
    let allowed = out.lines().filter(|line| line.starts_with("  allowed  ")).count();
    assert_eq!((denied, allowed), (5, 2), "{out}");
    let world = ask(&["subject", "world", "443"]);
    has(&world, &["→ world (IPv4) 443/TCP", "no fix is proposed that opens the whole world"]);
    let block = ask(&["subject", "192.0.2.0/24", "443"]);
    has(&block, &["denied subject → 192.0.2.0/24 443/TCP", "cidr: 192.0.2.0/24"]);
}

#[test]
fn without_a_port_the_admitted_ports_are_listed() {
    let out = ask(&["subject", "postgres/svc/matrix-db-rw"]);
    assert!(out.starts_with("open  subject → postgres/svc/matrix-db-rw\n"), "{out}");
    has(&out, &["IPv4: allowed TCP 5432", "Service port 5432 → pod port 5432"]);
    let closed = ask(&["subject", "authentif/deploy/authelia"]);
    assert!(closed.starts_with("closed"), "{closed}");
    has(&closed, &["IPv4: nothing allowed"]);
}

#[test]
fn an_edge_exits_1_when_it_is_not_as_expected() {
    let all = ["--matrix", MATRIX, "--manifests", CLUSTER, "--manifests", POLICY];
    let (out, _) = expect(0, &[&["explain", "stranger-to-mas"], &all[..]].concat());
    assert!(out.starts_with("denied  stranger-to-mas (must be denied)\n"), "{out}");
    // Without the policy of MAS the default-deny cuts everything, and without that too everything is open.
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(POLICY)).unwrap();
    let open = folder.path().join("open.yaml");
    fs::write(&open, text.split("  egress:\n").next().unwrap().replace("  ingress:\n", "  ingress:\n  - {}\n"))
        .unwrap();
    let open = open.to_str().unwrap();
    let args = ["explain", "stranger-to-mas", "--matrix", MATRIX, "--manifests", CLUSTER, "--manifests", open];
    let (out, _) = expect(1, &args);
    assert!(out.starts_with("allowed  stranger-to-mas (must be denied)\n"), "{out}");
    has(&out, &["smallest fix: take it out of ingress[0] of matrix/portreeve-mas"]);
}

#[test]
fn json_has_the_same_content() {
    let args = ["explain", "mail/deploy/exim-relay", "subject", "8080", "-o", "json"];
    let (out, _) = expect(0, &[&args[..], &["--manifests", CLUSTER, "--manifests", POLICY]].concat());
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["verdict"], "denied");
    let ingress = &json["answers"][0]["ingress"];
    assert_eq!(ingress["isolatedBy"][0]["policy"], "matrix/default-deny");
    assert_eq!(ingress["policies"][1]["rules"].as_array().unwrap().len(), 2);
    assert_eq!(ingress["policies"][1]["rules"][0]["admits"], "no");
    assert!(ingress["nearest"]["wouldMatch"].as_str().unwrap().starts_with("would match if"));
    assert_eq!(json["fixes"][0]["way"], "add");
    assert_eq!(json["fixes"][0]["policy"], "matrix/portreeve-mas");
    assert_eq!(json["answers"][0]["pairs"][0]["podPort"], 8080);
}

#[test]
fn what_cannot_be_asked_is_told_plainly() {
    #[track_caller]
    fn check(args: &[&str], wanted: &str) {
        let (_, err) = expect(2, &[&["explain"], args].concat());
        assert!(err.contains(wanted), "no `{wanted}` in {err}");
    }
    let on = ["--manifests", CLUSTER];
    check(&["a/b", "c/d", "80"], "give --manifests PATH");
    check(&[&["mas-to-postgres"], &on[..]].concat(), "nothing says which edges there are");
    let with = ["--matrix", MATRIX, "--manifests", CLUSTER];
    check(&[&["mas-to-postgre"], &with[..]].concat(), "did you mean `mas-to-postgres`?");
    check(&[&["a/dploy/b", "c/d", "80"], &on[..]].concat(), "FROM: `dploy` is no kind here: did you mean `deploy`?");
    check(&[&["a/b", "c/d", "0"], &on[..]].concat(), "PORT: `0` is no port");
    let (out, _) = expect(0, &[&["explain", "a/b", "subject", "80"], &on[..]].concat());
    has(&out, &["unknown a/b → subject 80/TCP", "there is no pod a/b in the sources"]);
}

/// Cluster-wide rules are looked at too, in the order in which they are asked, and the one that decides is named.
#[test]
fn the_rules_of_tiers_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let tiers = folder.path().join("tiers.yaml");
    fs::write(
        &tiers,
        "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {name: guard}\nspec:\n  tier: Admin\n  priority: 5\n  \
         subject: {namespaces: {matchLabels: {kubernetes.io/metadata.name: postgres}}}\n  ingress:\n  \
         - {action: Pass, from: [{namespaces: {matchLabels: {kubernetes.io/metadata.name: traefik}}}]}\n  \
         - {action: Accept, from: [{namespaces: {}}], protocols: [{tcp: {destinationPort: {number: 9187}}}]}\n  \
         - {action: Deny, from: [{namespaces: {}}]}\n",
    )
    .unwrap();
    let text = ask(&["subject", "postgres/svc/matrix-db-rw", "5432", "--manifests", tiers.to_str().unwrap()]);
    assert!(text.starts_with("denied"), "{text}");
    has(
        &text,
        &[
            "denied by ClusterNetworkPolicy/guard ingress[2]",
            "no ClusterNetworkPolicy/guard ingress[0]",
            "Pass (Admin tier): other peer",
            "no ClusterNetworkPolicy/guard ingress[1]",
            "Accept (Admin tier): other port",
            "yes ClusterNetworkPolicy/guard ingress[2]",
            "Deny (Admin tier) matches",
            "yes postgres/matrix-db ingress[0]",
        ],
    );
}
