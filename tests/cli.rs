//! Drives the real binary: what a user types, sees and gets as exit code.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what is wrong by panicking")]

mod binary;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use binary::{expect, portreeve, with_input};

const GUIDE: &str = "policies/guide-values.yaml";
const WORLD: &str = "tests/fixtures/guide-world";
const MATRIX: &str = "policies/traffic-matrix.yaml";
/// The guide's world with DNS on 5353, as the demo runs it.
const CLUSTER: &str = "policies/cluster";
const EDGES: [&str; 8] = [
    "traefik-to-mas",
    "synapse-to-mas",
    "mas-to-postgres",
    "mas-to-synapse",
    "mas-to-authelia",
    "mas-to-dns-udp",
    "mas-to-dns-tcp",
    "mas-to-smtp",
];

#[track_caller]
fn expect_json(code: i32, args: &[&str]) -> Value {
    serde_json::from_str(&expect(code, args).0).expect("JSON on standard output")
}

/// A folder of files.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

fn names(edges: &Value) -> Vec<String> {
    edges.as_array().unwrap().iter().map(|edge| edge["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_guide_verbatim_gives_all_eight_edges() {
    let matrix = expect_json(0, &["matrix", "--guide", GUIDE, "-o", "json"]);
    let found = names(&matrix["edges"]);
    assert_eq!(found[..8], EDGES, "{found:?}");
    assert_eq!(found[8..], ["stranger-to-mas", "mas-to-stranger"]);
    for edge in matrix["edges"].as_array().unwrap().iter().take(8) {
        let name = &edge["name"];
        assert!(!edge["breaks"].as_str().unwrap().is_empty(), "{name}");
        let provenance = edge["provenance"][0].as_str().unwrap();
        assert!(provenance.starts_with("policies/guide-values.yaml:"), "{name}: {provenance}");
        assert!(provenance.contains("guide"), "{name}: {provenance}");
        let port = &edge["podPort"];
        assert!(
            port.is_u64()
                || !edge["podPorts"].as_array().unwrap().is_empty()
                || !edge["needs"].as_str().unwrap().is_empty(),
            "{name}: neither port nor what is needed"
        );
    }
    assert!(matrix["notes"].to_string().contains("enabled"), "{}", matrix["notes"]);
}

#[test]
fn tables_fit_the_page() {
    for args in [
        &["matrix", "--guide", GUIDE][..],
        &["matrix", "--guide", GUIDE, "--manifests", WORLD],
        &["--help"],
        &["audit", "--help"],
    ] {
        // The world's URL names a wrong Service port on purpose, which is an error finding.
        let output = portreeve(args);
        assert!(output.status.code().is_some_and(|code| code < 2));
        let out = String::from_utf8(output.stdout).unwrap();
        for line in out.lines() {
            let long_word = line.split(' ').any(|word| word.chars().count() > 60);
            assert!(line.chars().count() <= 100 || long_word, "{args:?}: {} columns: {line}", line.chars().count());
        }
        assert!(!out.contains('\x1b'), "colour without a terminal");
    }
}

#[test]
fn same_input_same_bytes() {
    let args = ["render", "--guide", GUIDE, "--manifests", WORLD, "--counterparts"];
    assert_eq!(portreeve(&args).stdout, portreeve(&args).stdout);
}

#[test]
fn the_policies_folder_is_current() {
    let (out, _) = expect(0, &["render", "--check", "policies/"]);
    assert!(out.contains("as rendered"), "{out}");
    let guide = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(GUIDE)).unwrap();
    let matrix =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/traffic-matrix.yaml")).unwrap();
    let squash = |text: &str| {
        text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')).collect::<Vec<_>>().join("\n")
    };
    assert!(
        squash(&matrix).ends_with(&squash(&guide)),
        "policies/traffic-matrix.yaml does not hold the guide's values"
    );
}

#[test]
fn check_sees_a_change_and_out_writes_whole_files() {
    let folder = Folder::new();
    let out = folder.path().to_str().unwrap().to_owned();
    let base = ["render", "--matrix", MATRIX, "--manifests", CLUSTER];
    expect(0, &[&base[..], &["--out", &out]].concat());
    let written = folder.path().join("matrix_portreeve-mas.yaml");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "temporary files are left");
    expect(0, &[&base[..], &["--check", &out]].concat());
    let changed = fs::read_to_string(&written).unwrap().replace("5432", "5433");
    fs::write(&written, changed).unwrap();
    let (text, _) = expect(1, &[&base[..], &["--check", &out]].concat());
    assert!(text.contains("matrix_portreeve-mas.yaml:") && text.contains("5432"), "{text}");
    fs::remove_file(&written).unwrap();
    let (text, _) = expect(1, &[&base[..], &["--check", &out]].concat());
    assert!(text.contains("is missing"), "{text}");
}

/// The guide's world with the rendered policy and its counterparts is clean; each way to get it wrong is named.
#[test]
fn the_rendered_policy_audits_clean_and_each_mistake_is_named() {
    let folder = Folder::new();
    let rendered = folder.path().join("rendered");
    let rendered_path = rendered.to_str().unwrap();
    expect(0, &["render", "--matrix", MATRIX, "--manifests", CLUSTER, "--counterparts", "--out", rendered_path]);
    let args = |policies: &str| {
        vec!["audit", "--matrix", MATRIX, "--manifests", CLUSTER, "--manifests", policies, "-o", "json"]
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let audit = |code: i32, policies: &str| {
        let args = args(policies);
        expect_json(code, &args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let errors = |audit: &Value| -> Vec<String> {
        let findings = audit["findings"].as_array().unwrap();
        let names = findings.iter().filter(|f| f["severity"] == "error" || f["name"] == "WiderThanIntended");
        names.map(|f| f["name"].as_str().unwrap().to_owned()).collect()
    };
    let output = portreeve(&args(rendered_path).iter().map(String::as_str).collect::<Vec<_>>());
    let clean: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(errors(&clean), Vec::<String>::new(), "{clean:#}");
    for edge in clean["edges"].as_array().unwrap().iter().take(8) {
        assert_eq!(edge["declared"], "allowed", "{edge:#}");
    }
    let own = rendered.join("matrix_portreeve-mas.yaml");
    let policy = fs::read_to_string(&own).unwrap();
    let mistakes: [(&str, String, &str); 3] = [
        ("the database's port is another", policy.replace("port: 5432", "port: 5433"), "PolicyBlocks"),
        ("DNS over UDP only", without_tcp_53(&policy), "DnsWithoutTcp"),
        ("everything may come in", policy.replacen("  ingress:\n", "  ingress:\n  - {}\n", 1), "WiderThanIntended"),
    ];
    for (what, text, name) in mistakes {
        assert_ne!(text, policy, "{what}: the mistake was not made");
        fs::write(&own, text).unwrap();
        let found = errors(&audit(1, rendered_path));
        assert!(found.iter().any(|n| n == name), "{what}: {found:?}");
    }
}

/// Takes the TCP entry of port 53 out of the rendered text.
fn without_tcp_53(policy: &str) -> String {
    policy.replace("    - protocol: TCP\n      port: 5353\n", "").replace("    - port: 5353\n      protocol: TCP\n", "")
}

#[test]
fn an_annotation_accepts_until_its_date() {
    let folder = Folder::new();
    let audit = |code: i32, annotations: &str| {
        let synapse = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: synapse\n  namespace: matrix\n  annotations: {annotations}\ndata:\n  homeserver.yaml: |\n    server_name: waadoo.ovh\n    experimental_features: {{msc3861: {{enabled: true, client_secret: {SECRET}}}}}\n"
        );
        let synapse = folder.file("synapse.yaml", &synapse);
        let args = ["--manifests", "policies/cluster", "--manifests", "policies/matrix_portreeve-mas.yaml"];
        let args = [&["audit", "--matrix", "policies/traffic-matrix.yaml", "-o", "json"][..], &args].concat();
        let found = expect_json(code, &[&args[..], &["--manifests", &synapse]].concat());
        assert!(!found.to_string().contains(SECRET));
        let names = |list: &str| -> Vec<String> {
            let list = found[list].as_array().unwrap().iter();
            list.map(|f| f["name"].as_str().unwrap().to_owned()).collect()
        };
        (names("findings"), names("accepted"))
    };
    let name = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(audit(1, "{}"), (name(&["Msc3861Used"]), vec![]));
    let accept = |until: &str| format!("{{portreeve.io/accept: 'PR050=upgrade is planned,until={until}'}}");
    assert_eq!(audit(0, &accept("9999-12-31")), (vec![], name(&["Msc3861Used"])));
    assert_eq!(audit(1, &accept("2026-01-31")), (name(&["Msc3861Used"]), vec![]));
    assert_eq!(audit(1, &accept("soon")), (name(&["Msc3861Used", "AcceptanceUnreadable"]), vec![]));
}

#[test]
fn audit_speaks_the_languages_of_ci() {
    let base = ["audit", "--guide", GUIDE, "--manifests", WORLD, "-o"];
    let run = |format: &str| portreeve(&[&base[..], &[format]].concat());
    let sarif: Value = serde_json::from_slice(&run("sarif").stdout).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    let text = |output: Output| String::from_utf8(output.stdout).unwrap();
    assert!(text(run("junit")).starts_with("<?xml"));
    assert!(text(run("github")).lines().all(|line| line.starts_with("::")));
}

#[test]
fn assertions_hold_or_say_why_not() {
    let folder = Folder::new();
    let fine =
        folder.file("fine.yaml", "- {from: subject, to: postgres/svc/matrix-db-rw, port: 5432, expect: allow}\n");
    let wrong = folder.file("wrong.yaml", "- {name: nobody reaches the database, from: any-pod, to: postgres/svc/matrix-db-rw, port: 5432, expect: deny}\n");
    let base = ["verify", "--manifests", WORLD, "--guide", GUIDE];
    let outcome = expect_json(0, &[&base[..], &["-o", "json", &fine]].concat());
    assert_eq!(outcome["assertions"][0]["holds"], true, "{outcome:#}");
    let outcome = expect_json(1, &[&base[..], &["-o", "json", &wrong]].concat());
    let first = &outcome["assertions"][0];
    assert_eq!(
        (first["holds"].as_bool(), first["name"].as_str()),
        (Some(false), Some("nobody reaches the database")),
        "{outcome:#}"
    );
    let typo = folder.file("typo.yaml", "- {from: subject, to: world, port: 443, expects: allow}\n");
    let (_, err) = expect(2, &[&base[..], &[&typo]].concat());
    assert!(err.contains("typo.yaml:1:") && err.contains("did you mean `expect`"), "{err}");
}

const SECRET: &str = "CANARY-7f3a";

/// A secret in every secret field, and on the line before, at and after each error: it never comes out again.
#[test]
fn secrets_never_come_out() {
    let folder = Folder::new();
    let guide = |error: &str| {
        format!(
            "mas:\n  synapse:\n    endpoint: http://matrix-synapse-synapse:8008\n    sharedSecret: {SECRET}\n  secrets:\n    encryptionSecret: {SECRET}\n  \
             database: {{name: mas, user: mas, password: {SECRET}}}\n  email: {{enabled: true, username: u, password: {SECRET}}}\n  \
             oidc:\n    enabled: true\n    providers:\n    - {{id: a, name: A, issuer: https://a.example, clientId: x, clientSecret: {SECRET}}}\n{error}"
        )
    };
    let config = |error: &str| {
        format!(
            "http: {{public_base: https://auth.example/}}\ndatabase:\n  uri: postgresql://mas:{SECRET}@db.example:5432/mas?password={SECRET}\nmatrix:\n  secret: {SECRET}\n  endpoint: http://synapse:8008/\nemail: {{transport: smtp, mode: starttls, hostname: smtp.example, username: u, password: {SECRET}}}\nsecrets:\n  encryption: {SECRET}\n  keys: [{{kid: a, key: {SECRET}}}]\nclients: [{{client_id: 00000000000000000000SYNAPSE, client_auth_method: client_secret_basic, client_secret: {SECRET}}}]\n{error}"
        )
    };
    let errors = [
        String::new(),
        format!("x: {SECRET}\n\ty: 1\nz: {SECRET}\n"),
        format!("x: [{SECRET}\nz: {SECRET}\n"),
        format!("x: \"{SECRET}\nz: {SECRET}\n"),
        format!("{SECRET}\n"),
        format!("mas: {SECRET}\n"),
        format!("http: {SECRET}\n"),
        format!("x: *{SECRET}\n"),
        format!("x: !{SECRET} y\n"),
        format!("x: {SECRET}: {SECRET}\n"),
    ];
    for (index, error) in errors.iter().enumerate() {
        let guide = folder.file(&format!("guide{index}.yaml"), guide(error));
        let config = folder.file(&format!("config{index}.yaml"), config(error));
        for args in [
            vec!["matrix", "--guide", &guide],
            vec!["matrix", "--guide", &guide, "-o", "json"],
            vec!["matrix", "--mas-config", &config],
            vec!["matrix", "--mas-config", &config, "-o", "json"],
            vec!["render", "--guide", &guide, "--mas-config", &config],
            vec!["audit", "--guide", &guide, "--manifests", &config],
        ] {
            let output = portreeve(&args);
            let all = [output.stdout, output.stderr].concat();
            let all = String::from_utf8_lossy(&all);
            assert!(!all.contains(SECRET), "{args:?} ({error:?}):\n{all}");
            assert!(output.status.code().is_some_and(|code| code <= 2), "{args:?}: {:?}", output.status);
        }
    }
}

#[test]
fn a_secret_in_a_traffic_matrix_is_refused() {
    let folder = Folder::new();
    let text = format!(
        "apiVersion: portreeve.io/v1alpha1\nkind: TrafficMatrix\nmetadata: {{name: mas, namespace: matrix}}\nspec:\n  guide:\n    values:\n      mas:\n        synapse: {{endpoint: 'http://s:8008', sharedSecret: {SECRET}}}\n"
    );
    let matrix = folder.file("matrix.yaml", text);
    let (_, err) = expect(2, &["matrix", "--matrix", &matrix]);
    assert!(err.contains("leave it empty, portreeve never needs it") && !err.contains(SECRET), "{err}");
}

#[track_caller]
fn check(args: &[&str], wanted: &[&str]) {
    let (out, err) = expect(2, args);
    assert!(out.is_empty(), "{out}");
    for wanted in wanted {
        assert!(err.contains(wanted), "{args:?}: {wanted:?} is not in: {err}");
    }
}

/// Every kind of broken input: exit code 2, the file, a place where there is one, and what to do.
#[test]
fn bad_input_is_told_plainly() {
    let folder = Folder::new();
    let file = |name: &str, text: &str| folder.file(name, text);
    check(&["matrix", "--guide", &file("empty.yaml", "")], &["empty.yaml", "is empty"]);
    check(&["matrix", "--guide", &file("tab.yaml", "mas:\n\tservice: 1\n")], &["tab.yaml:2:1", "indent with spaces"]);
    check(
        &["matrix", "--guide", &file("type.yaml", "mas:\n  service:\n    - 8080\n")],
        &["type.yaml:3:5", "mas.service: expected a mapping, found a list"],
    );
    check(&["matrix", "--guide", &file("twice.yaml", "mas: {}\nmas: {}\n")], &["twice.yaml:2:1", "stands twice"]);
    check(&["matrix", "--guide", &folder.file("binary.yaml", [0xff, 0xfe, 0, 1])], &["binary.yaml", "not UTF-8"]);
    check(&["matrix", "--guide", &folder.file("nul.yaml", b"mas: \0\n")], &["nul.yaml", "NUL"]);
    check(&["matrix", "--guide", "no/such/file.yaml"], &["no/such/file.yaml", "cannot be read"]);
    check(&["matrix", "--guide", folder.path().to_str().unwrap()], &["is a folder"]);
    check(&["matrix", "--guide", &file("two.yaml", "mas: {}\n---\nmas: {}\n")], &["two.yaml:3:1", "a second document"]);
    check(&["matrix"], &["--guide FILE"]);
    check(&["audit", "--guide", GUIDE], &["--manifests"]);
    check(&["audit", "--guide", GUIDE, "--manifests", "no/such/folder"], &["no/such/folder", "cannot be read"]);
    let unknown = "apiVersion: portreeve.io/v1alpha1\nkind: TrafficMatrix\nmetadata: {name: m, namespace: n}\nspec:\n  peer: {}\n";
    check(&["matrix", "--matrix", &file("unknown.yaml", unknown)], &["unknown.yaml:5:3", "did you mean `peers`"]);
    let bomb: String = std::iter::once("a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned())
        .chain((1..10).map(|i| format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 9].join(", "))))
        .collect();
    check(&["matrix", "--guide", &file("bomb.yaml", &bomb)], &["bomb.yaml", "expand to more than"]);
    let big = format!("mas:\n  x: {}\n", "y".repeat(100 << 20));
    check(&["matrix", "--guide", &file("big.yaml", &big)], &["big.yaml", "larger than"]);
}

#[cfg(unix)]
#[test]
fn links_that_loop_and_5000_documents_are_read() {
    let folder = Folder::new();
    let documents = (0..5000)
        .map(|i| format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c{i}}}\n"))
        .collect::<Vec<_>>()
        .concat();
    folder.file("many.yaml", documents);
    std::os::unix::fs::symlink(folder.path(), folder.path().join("loop")).unwrap();
    let manifests = folder.path().to_str().unwrap();
    let audit = expect_json(1, &["audit", "--guide", GUIDE, "--manifests", manifests, "-o", "json", "--allow-unknown"]);
    assert_eq!(audit["coverage"]["objects"], 5000, "{}", audit["coverage"]);
}

#[test]
fn a_broken_manifest_is_reported_and_the_others_count() {
    let folder = Folder::new();
    folder.file("a_broken.yaml", "kind: Pod\n\tx: 1\n");
    folder.file("b_fine.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n");
    let manifests = folder.path().to_str().unwrap();
    let audit = expect_json(1, &["audit", "--guide", GUIDE, "--manifests", manifests, "-o", "json"]);
    assert_eq!(audit["coverage"]["objects"], 1, "{}", audit["coverage"]);
    assert!(audit["findings"].to_string().contains("a_broken.yaml:2:1"), "{audit:#}");
}

#[test]
fn manifests_may_come_from_standard_input() {
    let world: Vec<u8> = {
        let mut files: Vec<PathBuf> = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(WORLD))
            .unwrap()
            .map(|e| e.unwrap().path())
            .collect();
        files.sort();
        files.iter().flat_map(|f| [fs::read(f).unwrap(), b"\n---\n".to_vec()].concat()).collect()
    };
    let from_stdin = with_input(&["matrix", "--guide", GUIDE, "--manifests", "-", "-o", "json"], &world);
    let from_folder = portreeve(&["matrix", "--guide", GUIDE, "--manifests", WORLD, "-o", "json"]);
    let ports = |output: Output| -> Vec<Value> {
        let matrix: Value = serde_json::from_slice(&output.stdout).unwrap();
        matrix["edges"].as_array().unwrap().iter().map(|edge| edge["podPorts"].clone()).collect()
    };
    assert_eq!(ports(from_stdin), ports(from_folder));
}

#[test]
fn accepted_findings_pass_until_their_date() {
    let folder = Folder::new();
    let base = ["audit", "--guide", GUIDE, "--manifests", WORLD, "-o", "json"];
    let found = portreeve(&base);
    let audit: Value = serde_json::from_slice(&found.stdout).unwrap();
    let codes: std::collections::BTreeSet<&str> =
        audit["findings"].as_array().unwrap().iter().map(|f| f["code"].as_str().unwrap()).collect();
    assert!(!codes.is_empty(), "the bare world must have findings for this test");
    let list = |until: &str| -> String {
        codes
            .iter()
            .map(|c| format!("- {{finding: {c}, reason: known, until: {until}}}\n"))
            .collect::<Vec<_>>()
            .concat()
    };
    let accepted = folder.file("accepted.yaml", list("2999-01-01"));
    let audit = expect_json(0, &[&base[..], &["--allow-unknown", "--accept", &accepted]].concat());
    assert_eq!(audit["findings"].as_array().unwrap().len(), 0);
    let expired = folder.file("expired.yaml", list("2020-01-01"));
    expect(1, &[&base[..], &["--allow-unknown", "--accept", &expired]].concat());
    let misspelt = folder.file("misspelt.yaml", "- {finding: PR999, reason: x, until: 2999-01-01}\n");
    expect(2, &[&base[..], &["--accept", &misspelt]].concat());
}

/// Cilium reads an ipBlock as addresses outside the cluster only; upstream's tests put pods' addresses into it.
#[test]
fn the_dialect_decides_what_an_ip_block_means_for_a_pod() {
    let folder = Folder::new();
    folder.file(
        "world.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: one}\nstatus: {podIP: 10.0.0.1}\n---\n\
         apiVersion: v1\nkind: Pod\nmetadata: {name: b, namespace: one}\nstatus: {podIP: 10.0.0.2}\n---\n\
         apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, namespace: one}\n\
         spec: {podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/24}}]}]}\n",
    );
    let asserted = folder.file("asserted/a.yaml", "- {from: one/a, to: one/b, port: 80, expect: allow}\n");
    let world = folder.path().join("world.yaml");
    let base = ["verify", "--manifests", world.to_str().unwrap(), &asserted];
    expect(0, &base);
    expect(1, &[&base[..], &["--dialect", "cilium"]].concat());
    let (_, err) = expect(2, &[&base[..], &["--dialect", "calico"]].concat());
    assert!(err.contains("upstream and cilium"), "{err}");
}

/// MAS's HTTP client follows the proxy of its environment, so the edge is never opened; the proxy's password stays where it is.
#[test]
fn a_proxy_in_the_environment_of_mas_is_told() {
    let folder = Folder::new();
    let cluster = Path::new(env!("CARGO_MANIFEST_DIR")).join(CLUSTER);
    for entry in fs::read_dir(&cluster).unwrap() {
        let path = entry.unwrap().path();
        folder.file(path.file_name().unwrap().to_str().unwrap(), fs::read(&path).unwrap());
    }
    let mas = fs::read_to_string(cluster.join("matrix_mas.yaml")).unwrap();
    let proxies = |no_proxy: &str| {
        let env = format!(
            "env: [{{name: HTTPS_PROXY, value: 'http://user:{SECRET}@proxy.example:3128/'}}, {{name: no_proxy, value: '{no_proxy}'}}]"
        );
        let changed = mas.replace("\n  - name: mas\n", &format!("\n  - name: mas\n    {env}\n"));
        assert_ne!(changed, mas, "the pod's container is not where this test looks for it");
        folder.file("matrix_mas.yaml", changed);
        let output =
            portreeve(&["matrix", "--matrix", MATRIX, "--manifests", folder.path().to_str().unwrap(), "-o", "json"]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(!text.contains(SECRET), "{text}");
        let matrix: Value = serde_json::from_str(&text).unwrap();
        let findings = matrix["findings"].as_array().unwrap().iter().filter(|f| f["name"] == "ProxyInUse");
        findings.map(|f| format!("{} {}", f["edge"], f["message"])).collect::<Vec<_>>()
    };
    let found = proxies("matrix-synapse-synapse");
    assert!(
        matches!(&found[..], [one] if one.contains("mas-to-authelia") && one.contains("proxy.example:3128")),
        "{found:?}"
    );
    assert_eq!(proxies(".waadoo.ovh"), Vec::<String>::new());
}
