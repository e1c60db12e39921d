//! Manifests that do not count: a file that cannot be read makes verdicts unknown, a policy that the API server refuses is named, and no command is silent about either.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by panicking")]

mod binary;

use std::fs;
use std::path::Path;

use serde_json::Value;

use binary::expect;

const CLUSTER: &str = "policies/cluster";
const MATRIX: &str = "policies/traffic-matrix.yaml";
const ASSERTED: &str = "\
- {name: db, from: matrix/deploy/matrix-synapse-synapse, to: postgres/svc/matrix-db-rw, port: 5432, expect: allow}
- {name: own, from: mail/deploy/exim-relay, to: matrix/deploy/mas, port: 8080, expect: deny}
";
const QUESTION: [&str; 4] = ["explain", "matrix/deploy/matrix-synapse-synapse", "postgres/svc/matrix-db-rw", "5432"];

/// The guide's cluster with one text in the place of another in its policies, and assertions beside it.
struct Copy(tempfile::TempDir);

impl Copy {
    fn with(old: &str, new: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let world = folder.path().join("world");
        fs::create_dir(&world).unwrap();
        for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(CLUSTER)).unwrap() {
            let entry = entry.unwrap();
            let text = fs::read_to_string(entry.path()).unwrap();
            let is_policies = entry.file_name() == "policies.yaml";
            assert!(!is_policies || text.contains(old));
            let text = if is_policies { text.replace(old, new) } else { text };
            fs::write(world.join(entry.file_name()), text).unwrap();
        }
        fs::write(folder.path().join("asserted.yaml"), ASSERTED).unwrap();
        Self(folder)
    }

    /// One bracket is missing: the whole file is lost.
    fn broken() -> Self {
        Self::with("policyTypes: [Ingress, Egress]", "policyTypes: [Ingress, Egress")
    }

    /// The policies that deny by default are refused.
    fn refused() -> Self {
        Self::with("policyTypes: [Ingress, Egress]", "policyTypes: [ingress]")
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    #[track_caller]
    fn verify(&self, code: i32, output: &str) -> String {
        expect(code, &["verify", &self.path("asserted.yaml"), "--manifests", &self.path("world"), "-o", output]).0
    }

    #[track_caller]
    fn run(&self, code: i32, args: &[&str]) -> String {
        expect(code, &[args, &["--manifests", &self.path("world")]].concat()).0
    }
}

#[track_caller]
fn has(text: &str, wanted: &[&str]) {
    let plain = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for wanted in wanted {
        assert!(plain.contains(wanted), "no `{wanted}` in\n{text}");
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn verify_knows_nothing_where_a_file_cannot_be_read() {
    let copy = Copy::broken();
    has(
        &copy.verify(1, "text"),
        &["PR037 BrokenObject", "policies.yaml:11:16: this is not valid YAML", "0 of 2 assertions hold"],
    );
    let told = json(&copy.verify(1, "json"));
    for outcome in told["assertions"].as_array().unwrap() {
        assert_eq!((outcome["verdict"].as_str(), outcome["holds"].as_bool()), (Some("unknown"), Some(false)));
        has(outcome["because"].as_str().unwrap(), &["policies.yaml:11:16) cannot be read"]);
    }
    assert_eq!(told["findings"][0]["code"], "PR037");
    has(&copy.verify(1, "github"), &["policies.yaml,line=11"]);
    // Nobody but who expects that nothing is known is content with it, and even then it is named.
    fs::write(copy.path("asserted.yaml"), ASSERTED.replace("allow", "unknown").replace("deny", "unknown")).unwrap();
    has(&copy.verify(0, "text"), &["PR037 BrokenObject", "2 of 2 assertions hold"]);
}

/// What is not text, and what stands behind a broken document, is as unknown as a file that is broken from the start.
#[test]
fn any_part_of_any_file_counts() {
    for (name, text) in [
        ("end.yaml", &b"---\nkind: [\n"[..]),
        ("notes.yml", b"{{- if .Values.x }}\nkind: NetworkPolicy\n{{- end }}\n"),
        ("raw.json", &[0xff]),
    ] {
        let copy = Copy::with("Egress", "Egress");
        fs::write(copy.0.path().join("world").join(name), text).unwrap();
        has(&copy.verify(1, "text"), &["PR037 BrokenObject", name, "0 of 2 assertions hold"]);
    }
    let tail = Copy::with("policyTypes: [Ingress, Egress]", "policyTypes: [Ingress, Egress]");
    let file = tail.0.path().join("world/policies.yaml");
    fs::write(&file, format!("{}---\nkind: [\n", fs::read_to_string(&file).unwrap())).unwrap();
    has(&tail.verify(1, "text"), &["0 of 2 assertions hold"]);
}

/// A chart's values are no manifest, but a text that can be read: it holds no policy.
#[test]
fn what_is_no_manifest_is_named_and_hides_nothing() {
    let copy = Copy::with("Egress", "Egress");
    fs::write(copy.0.path().join("world/values.yaml"), "replicas: 1\n").unwrap();
    has(&copy.verify(0, "text"), &["PR037 BrokenObject", "values.yaml:1:1", "2 of 2 assertions hold"]);
}

#[test]
fn a_policy_under_a_name_that_is_not_in_the_file_is_there() {
    let copy = Copy::with("name: default-deny\n  namespace: postgres", "name: ${NAME}\n  namespace: postgres");
    has(&copy.run(0, &QUESTION), &["allowed ", "postgres/matrix-db ingress[0]"]);
    let copy = Copy::with("name: default-deny\n  namespace: matrix", "name: ${NAME}\n  namespace: matrix");
    has(&copy.run(0, &["explain", "mail/deploy/exim-relay", "matrix/deploy/mas", "8080"]), &["unknown "]);
}

#[test]
fn verify_fails_where_a_policy_is_refused() {
    let copy = Copy::refused();
    fs::write(copy.path("asserted.yaml"), ASSERTED.lines().next().unwrap()).unwrap();
    has(
        &copy.verify(1, "text"),
        &["PR031 InvalidPolicy", "policies.yaml:11:17: NetworkPolicy/matrix/default-deny", "1 of 1 assertions hold"],
    );
    let told = json(&copy.verify(1, "json"));
    assert_eq!(told["assertions"][0]["holds"], true);
    assert_eq!(told["findings"][0]["code"], "PR031");
    has(&copy.verify(1, "junit"), &["failures=\"4\"", "PR031 InvalidPolicy NetworkPolicy/matrix/default-deny"]);
}

#[test]
fn explain_names_what_does_not_count() {
    let copy = Copy::broken();
    has(
        &copy.run(0, &QUESTION),
        &["unknown ", "missing: policies.yaml (", "PR037 BrokenObject", "policies.yaml:11:16"],
    );
    let copy = Copy::refused();
    has(&copy.run(0, &QUESTION), &["allowed ", "PR031 InvalidPolicy", "NetworkPolicy/matrix/default-deny"]);
    let told = json(&copy.run(0, &[&QUESTION[..], &["-o", "json"]].concat()));
    assert_eq!(told["findings"].as_array().unwrap().len(), 4, "{told:#}");
    assert_eq!(told["findings"][0]["code"], "PR031");
}

#[test]
fn diff_says_same_only_of_what_can_be_read() {
    let (broken, refused) = (Copy::broken(), Copy::refused());
    let (world, other) = (broken.path("world"), refused.path("world"));
    for fail_on in ["any", "open", "close"] {
        let (text, _) = expect(1, &["diff", &world, &world, "--fail-on", fail_on]);
        has(&text, &["unknown what A and B admit", "PR037 BrokenObject", "policies.yaml:11:16"]);
        assert_eq!(text.matches("PR037").count(), 1, "{text}");
    }
    let (text, _) = expect(1, &["diff", CLUSTER, &world, "-o", "json"]);
    let told = json(&text);
    assert_eq!((told["opens"].as_u64(), told["closes"].as_u64()), (Some(0), Some(0)));
    assert!(told["notKnown"].as_u64().unwrap() > 50, "{told:#}");
    assert_eq!((told["findings"][0]["code"].as_str(), told["differs"].as_bool()), (Some("PR037"), Some(true)));
    has(&expect(1, &["diff", CLUSTER, &other]).0, &["PR031 InvalidPolicy", "0 pairs not known"]);
    // The file is on neither side, but under both.
    let policies = format!("{CLUSTER}/policies.yaml");
    let (text, _) = expect(1, &["diff", &policies, &policies, "--world", &world, "-o", "json"]);
    assert_eq!(json(&text)["differs"], true);
}

#[test]
fn audit_and_plan_know_nothing_and_write_nothing() {
    let copy = Copy::broken();
    let told = json(&copy.run(1, &["audit", "--matrix", MATRIX, "-o", "json"]));
    for edge in told["edges"].as_array().unwrap() {
        assert_eq!(edge["declared"], "unknown", "{edge:#}");
    }
    let codes: Vec<_> = told["findings"].as_array().unwrap().iter().map(|finding| &finding["code"]).collect();
    assert_eq!(codes, ["PR037"], "what is not known is no surplus: {told:#}");
    let text = copy.run(1, &["plan", "--matrix", MATRIX]);
    has(&text, &["create NetworkPolicy matrix/portreeve-mas, held back", "cannot be read", "PR037 BrokenObject"]);
    assert_eq!(copy.run(1, &["plan", "--matrix", MATRIX, "-o", "yaml"]), "");
    let told = json(&copy.run(1, &["plan", "--matrix", MATRIX, "-o", "json"]));
    assert_eq!((told["writes"].as_bool(), told["held"][0]["why"].as_str()), (Some(false), Some("unseen")));
    has(&Copy::refused().run(1, &["plan", "--matrix", MATRIX]), &["PR031 InvalidPolicy"]);
}

#[test]
fn the_doctor_passes_no_check_of_policies() {
    let told = json(&Copy::broken().run(1, &["doctor", "--matrix", MATRIX, "-o", "json"]));
    let checks = told["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["id"].as_str().is_some_and(|id| id.starts_with("policy-")));
    let seen: Vec<_> = checks.map(ToString::to_string).collect();
    assert_eq!(seen.len(), 8, "{told:#}");
    assert!(
        seen.iter().all(|check| check.contains("\"unknown\"") && check.contains("policies.yaml:11:16")),
        "{seen:#?}"
    );
}

/// A proposal in a finding is for `kubectl apply`: no line of it may be broken, however long.
#[test]
fn a_manifest_in_a_finding_stays_whole() {
    let copy = Copy::with(
        "app.kubernetes.io/component, operator: In, values: [mas, synapse]",
        "app.kubernetes.io/component, operator: In, values: [synapse]",
    );
    let text = copy.run(1, &["audit", "--matrix", MATRIX, "--manifests", "policies/matrix_portreeve-mas.yaml"]);
    let proposal = text.split_once("propose this to the owner of").unwrap().1.split_once(":\n").unwrap().1;
    let lines = proposal.lines().take_while(|line| line.is_empty() || line.starts_with("    "));
    let manifest = lines.map(|line| line.get(4..).unwrap_or_default()).collect::<Vec<_>>().join("\n");
    assert!(manifest.lines().any(|line| line.chars().count() > 96), "no long line in\n{manifest}");
    let file = copy.path("proposal.yaml");
    fs::write(&file, &manifest).unwrap();
    let asserted = copy.path("db.yaml");
    fs::write(&asserted, ASSERTED.lines().next().unwrap().replace("matrix-synapse-synapse", "mas")).unwrap();
    let world = copy.path("world");
    let args = ["verify", &asserted, "--manifests", &world, "--manifests", "policies/matrix_portreeve-mas.yaml"];
    expect(1, &args);
    expect(0, &[&args[..], &["--manifests", &file]].concat());
}
