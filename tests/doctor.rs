//! Drives `portreeve doctor`: a sound world finds nothing, each planted fault is found by its item, and no secret is ever printed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what is wrong by panicking")]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use portreeve::doctor::{CATALOGUE, Outcome};
use serde_json::Value;

const MATRIX: &str = "policies/traffic-matrix.yaml";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The guide's cluster with portreeve's policy, and the configs and secrets of a sound deployment.
struct World(tempfile::TempDir);

impl World {
    fn sound() -> Self {
        let world = Self(tempfile::tempdir().unwrap());
        for folder in ["policies/cluster", "tests/fixtures/doctor-sound"] {
            for entry in fs::read_dir(root().join(folder)).unwrap() {
                let path = entry.unwrap().path();
                fs::copy(&path, world.path(path.file_name().unwrap().to_str().unwrap())).unwrap();
            }
        }
        fs::copy(root().join("policies/matrix_portreeve-mas.yaml"), world.path("portreeve-mas.yaml")).unwrap();
        // The demo's MAS has no probe; a sound deployment does.
        let port = "        - name: http\n          containerPort: 8080\n          protocol: TCP\n";
        let probe = "        readinessProbe:\n          httpGet: {path: /health, port: http}\n";
        world.edit("matrix_mas.yaml", port, &format!("{port}{probe}"));
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Replaces all of `from`, which must be there.
    #[track_caller]
    fn edit(&self, file: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(file)).unwrap();
        assert!(text.contains(from), "{file} has no {from:?}");
        fs::write(self.path(file), text.replace(from, to)).unwrap();
    }

    fn doctor(&self, more: &[&str]) -> Output {
        run(&[&["doctor", "--matrix", MATRIX, "--manifests", self.0.path().to_str().unwrap()], more].concat())
    }

    #[track_caller]
    fn items(&self, code: i32) -> Value {
        let output = self.doctor(&["-o", "json"]);
        let out = String::from_utf8(output.stdout).unwrap();
        let failed = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{out}\n{failed}");
        no_secret(&out);
        no_secret(&failed);
        serde_json::from_str(&out).unwrap()
    }
}

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_portreeve")).args(args).current_dir(root()).output().unwrap()
}

#[track_caller]
fn no_secret(text: &str) {
    for canary in ["CANARY", "ca11a4fe", "Q0FOQVJZ"] {
        assert!(!text.contains(canary), "a secret is printed: {text}");
    }
}

fn with(items: &Value, outcome: Outcome) -> Vec<&str> {
    let all = items["items"].as_array().unwrap().iter();
    all.filter(|item| item["outcome"] == outcome.as_str()).map(|item| item["id"].as_str().unwrap()).collect()
}

#[test]
fn a_sound_world_finds_nothing() {
    let world = World::sound();
    let items = world.items(0);
    assert_eq!(with(&items, Outcome::Fail), [""; 0], "{items:#}");
    // What stays unknown is what only the network can tell.
    for item in items["items"].as_array().unwrap().iter().filter(|item| item["outcome"] == "unknown") {
        assert_eq!(item["evidence"], "the network was not asked", "{item:#}");
        assert!(item["todo"].as_str().unwrap().contains("--network"), "{item:#}");
    }
    let all = items["items"].as_array().unwrap();
    assert_eq!(all.len(), CATALOGUE.len());
    assert_eq!(items["summary"]["fail"], 0);
    for item in all {
        assert!(!item["guideSection"].as_str().unwrap().is_empty());
        // What passes may still come with advice.
        assert!(item["outcome"] == "pass" || item["todo"] != "", "{item:#}");
    }
}

#[test]
fn text_fits_the_page_and_junit_is_read_by_machines() {
    let world = World::sound();
    world.edit("mas.yaml", "id: 01HFVBY12TMNTYTBV8W921M5FA", "id: authelia");
    let output = world.doctor(&[]);
    let text = String::from_utf8(output.stdout).unwrap();
    no_secret(&text);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let widest = text.lines().map(|line| line.chars().count()).max();
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{widest:?}\n{text}");
    assert!(text.contains("✗ fail    provider-id"), "{text}");
    assert!(text.contains("do: give it a ULID"), "{text}");
    assert!(text.lines().last().unwrap().contains(" failed, "), "{text}");
    let one = world.doctor(&["--phase", "4"]);
    let one = String::from_utf8(one.stdout).unwrap();
    assert!(one.starts_with("4 Synapse\n") && !one.contains("Authelia\n"), "{one}");
    let junit = String::from_utf8(world.doctor(&["-o", "junit"]).stdout).unwrap();
    no_secret(&junit);
    assert!(junit.contains(&format!("tests=\"{}\"", CATALOGUE.len())), "{junit}");
    assert!(junit.contains("<testcase classname=\"portreeve doctor\" name=\"provider-id: "), "{junit}");
    assert_eq!(text, String::from_utf8(world.doctor(&[]).stdout).unwrap(), "same input, same bytes");
}

/// Breaks one thing and expects exactly these items to fail.
#[track_caller]
fn check(file: &str, from: &str, to: &str, fails: &[&str]) {
    let world = World::sound();
    world.edit(file, from, to);
    let items = world.items(1);
    assert_eq!(with(&items, Outcome::Fail), fails, "{file}: {from} → {to}\n{items:#}");
    for item in items["items"].as_array().unwrap().iter().filter(|item| item["outcome"] == "fail") {
        assert!(!item["todo"].as_str().unwrap().is_empty() && !item["evidence"].as_str().unwrap().is_empty());
    }
    for format in ["text", "junit"] {
        no_secret(&String::from_utf8(world.doctor(&["-o", format]).stdout).unwrap());
    }
}

#[test]
fn the_guides_own_mistakes_are_found() {
    // Phase 3: the key that Synapse dropped.
    check(
        "synapse.yaml",
        "    matrix_authentication_service:",
        "    experimental_features:\n      msc3861: {enabled: true, issuer: 'https://auth.waadoo.ovh/', client_secret: '${MAS_SYNAPSE_SHARED_SECRET}'}\n    matrix_authentication_service:",
        &["synapse-msc3861"],
    );
    // Phase 5: no path of MAS.
    check("authelia.yaml", "/upstream/callback/01HFVBY12TMNTYTBV8W921M5FA", "/oauth2/callback", &["authelia-redirect"]);
    check("mas.yaml", "id: 01HFVBY12TMNTYTBV8W921M5FA", "id: authelia", &["provider-id", "authelia-redirect"]);
    // Phase 4.
    check("database.yaml", " TEMPLATE template0", "", &["database-collation"]);
    check("database.yaml", " OWNER mas", "", &["database-owner"]);
    // Required Secrets.
    check("mas.yaml", "      keys:\n      - key_file: /secrets/signing-key\n", "", &["signing-keys"]);
    check(
        "mas.yaml",
        "ca11a4fe00112233445566778899aabbccddeeff00112233445566778899aabb",
        "ca11a4fe00112233",
        &["encryption-secret"],
    );
    check("mas.yaml", "CANARY-client-aabbccddeeff00112233445566", "<secret4>", &["oidc-client-secret"]);
    check("mas.yaml", "/secrets/encryption-secret", "${ENCRYPTION}", &["config-variables"]);
    // Phase 2: MAS's default, where the kubelet cannot reach it.
    check("mas.yaml", "        - name: health\n        binds:", "        binds:", &["mas-health"]);
}

#[test]
fn secrets_are_compared_and_judged_without_being_shown() {
    check(
        "synapse.yaml",
        "CANARY-shared-5a4e0f6b7c8d9e0f1a2b3c4d",
        "CANARY-other-5a4e0f6b7c8d9e0f1a2b3c4d",
        &["shared-secret-matches"],
    );
    check(
        "mas.yaml",
        "CANARY-shared-5a4e0f6b7c8d9e0f1a2b3c4d",
        "CANARY-short",
        &["synapse-shared-secret", "shared-secret-matches"],
    );
    check(
        "mas.yaml",
        "\"CANARY-database-0f1e2d3c4b5a69788796\"",
        "\"CANARY-database-0f1e2d3c4b5a69788796\\n\"",
        &["database-password"],
    );
    check("mas.yaml", "type: kubernetes.io/tls", "type: Opaque", &["tls-secret"]);
    check("mas.yaml", "  tls.key: CANARY-key\n", "", &["tls-secret"]);
    check("authelia.yaml", "'$pbkdf2-sha512$310000$CANARYsalt$CANARYhash'", "<hashed-secret>", &["authelia-secret"]);
    check(
        "authelia.yaml",
        "'$pbkdf2-sha512$310000$CANARYsalt$CANARYhash'",
        "CANARY-in-clear-text",
        &["authelia-secret"],
    );
    // A password of `openssl rand -base64` in a URI: MAS does not start, and the reader must not show it.
    check(
        "mas.yaml",
        "      host: matrix-db-rw.postgres\n      port: 5432\n      username: mas\n      password_file: /secrets/database-password\n      database: mas\n",
        "      uri: postgresql://mas:CANARY/x+y=@matrix-db-rw.postgres/mas\n",
        &["database-uri", "mas-config"],
    );
}

#[test]
fn configs_that_do_not_fit_each_other_are_found() {
    check("synapse.yaml", "      enabled: true\n", "      enabled: false\n", &["synapse-mas-enabled"]);
    check("synapse.yaml", "http://mas:8080/", "http://mas:80/", &["synapse-mas-endpoint"]);
    check("synapse.yaml", "server_name: waadoo.ovh", "server_name: matrix.waadoo.ovh", &["server-name"]);
    check(
        "synapse.yaml",
        "    matrix_authentication_service:",
        "    oidc_providers: [{idp_id: authelia}]\n    matrix_authentication_service:",
        &["synapse-conflicts"],
    );
    check(
        "mas.yaml",
        "http://matrix-synapse-synapse:8008/",
        "http://matrix-synapse-synapse:80/",
        &["synapse-works", "mas-synapse-endpoint"],
    );
    check("mas.yaml", "      kind: synapse\n", "      kind: synapse_legacy\n", &["mas-synapse-kind"]);
    check("mas.yaml", "public_base: https://auth.", "public_base: http://auth.", &["public-base", "authelia-redirect"]);
    check("mas.yaml", "        - name: compat\n", "", &["mas-resources"]);
    check("mas.yaml", "/_matrix/client/v3/refresh", "/_matrix/client/v3/other", &["compat-routes"]);
    check(
        "mas.yaml",
        "      public_base:",
        "      trusted_proxies: [10.0.0.0/8]\n      public_base:",
        &["trusted-proxies"],
    );
    check("mas.yaml", "        fetch_userinfo: true\n", "", &["authelia-claims"]);
    check("authelia.yaml", "scopes: [openid, profile, email]", "scopes: [openid]", &["authelia-scopes"]);
    check(
        "authelia.yaml",
        "client_id: mas",
        "client_id: other",
        &["authelia-client", "authelia-redirect", "authelia-scopes", "authelia-claims", "authelia-secret"],
    );
    check("mas.yaml", "password_recovery_enabled: true", "password_recovery_enabled: false", &["test-reset"]);
    check("matrix_mas.yaml", "authentication-service:1.2.0", "authentication-service:0.16.0", &["mas-image"]);
    check("matrix_synapse.yaml", "synapse:v1.157.1", "synapse:v1.98.0", &["synapse-version"]);
    let domains = "  nodeName: node-a\n  dnsConfig: {searches: [a.example, b.example, c.example, d.example]}\n";
    check("matrix_mas.yaml", "  nodeName: node-a\n", domains, &["dns-search"]);
}

#[test]
fn the_search_list_of_mas_has_its_price() {
    let world = World::sound();
    let price = |world: &World| {
        let out = String::from_utf8(world.doctor(&["--phase", "dns"]).stdout).unwrap();
        out.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert!(price(&world).contains("authelia.waadoo.ovh 8"), "{}", price(&world));
    let once = "  nodeName: node-a\n  dnsConfig: {options: [{name: ndots, value: '1'}]}\n";
    world.edit("matrix_mas.yaml", "  nodeName: node-a\n", once);
    assert!(!price(&world).contains("authelia.waadoo.ovh 8"), "{}", price(&world));
}

#[test]
fn a_policy_that_cuts_an_edge_is_found() {
    let world = World::sound();
    fs::remove_file(world.path("portreeve-mas.yaml")).unwrap();
    let items = world.items(1);
    let failed = with(&items, Outcome::Fail);
    for id in ["policy-from-traefik", "policy-from-synapse", "policy-to-postgres", "policy-to-dns", "policy-to-smtp"] {
        assert!(failed.contains(&id), "{id}: {failed:?}");
    }
    // Without any policy nothing is cut, and nothing is closed.
    fs::remove_file(world.path("policies.yaml")).unwrap();
    assert_eq!(with(&world.items(1), Outcome::Fail), ["policy-nothing-else"]);
}

#[test]
fn base64_of_dumps_is_read_and_its_mistakes_are_named() {
    let world = World::sound();
    // CANARY-shared-5a4e0f6b7c8d9e0f1a2b3c4d, as `kubectl get -o yaml` has it.
    let secret = |value: &str| {
        let text = format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: zz, namespace: matrix}}\ndata: {{MAS_SYNAPSE_SHARED_SECRET: {value}}}\n"
        );
        fs::write(world.path("zz.yaml"), text).unwrap();
    };
    secret("Q0FOQVJZLXNoYXJlZC01YTRlMGY2YjdjOGQ5ZTBmMWEyYjNjNGQ=");
    world.items(0);
    secret("Q0FOQVJZLXNoYXJlZC01YTRlMGY2YjdjOGQ5ZTBmMWEyYjNjNGQ");
    assert_eq!(with(&world.items(1), Outcome::Fail), ["synapse-shared-secret"]);
}

#[test]
fn usage_errors_exit_2_and_the_guide_alone_is_enough() {
    assert_eq!(run(&["doctor"]).status.code(), Some(2));
    assert_eq!(run(&["doctor", "--guide", "policies/guide-values.yaml", "--phase", "7"]).status.code(), Some(2));
    let output = run(&["doctor", "--guide", "policies/guide-values.yaml", "-o", "json"]);
    let items: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(with(&items, Outcome::Fail).contains(&"provider-id"), "{items:#}");
    assert_eq!(items["items"].as_array().unwrap().len(), CATALOGUE.len());
}

#[test]
fn every_item_has_its_line_in_the_docs() {
    let docs = fs::read_to_string(root().join("docs/doctor.md")).unwrap();
    for check in CATALOGUE {
        let line = format!("| `{}` | {} | {} |", check.id, check.title, check.section);
        assert!(docs.contains(&line), "docs/doctor.md has no line {line}");
    }
    let lines = docs.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(lines, CATALOGUE.len(), "docs/doctor.md has lines of items that are no more");
}

/// Answers every connection to an address out of one function over what was read, until the process ends.
fn stand_in(address: (std::net::Ipv4Addr, u16), answer: fn(&[u8]) -> &'static [u8]) {
    let listener = TcpListener::bind(address).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { break };
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    if stream.write_all(answer(&buffer[..count])).is_err() {
                        break;
                    }
                }
            });
        }
    });
}

#[cfg(target_os = "linux")]
#[test]
fn the_network_is_asked_only_when_told_to() {
    // Loopback addresses of this process's own in place of the demo's; two of the pods serve.
    let id = std::process::id().to_be_bytes();
    let net = format!("127.{}.{}.", 100 + id[2] % 100, id[3]);
    let pod = |last: u8| std::net::Ipv4Addr::new(127, 100 + id[2] % 100, id[3], last);
    let world = World::sound();
    for entry in fs::read_dir(world.0.path()).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("127.77.0.", &net)).unwrap();
    }
    let address = |file: &str| -> u8 {
        let text = fs::read_to_string(world.path(file)).unwrap();
        let after = text.split("podIP: ").nth(1).unwrap().lines().next().unwrap().to_owned();
        after.rsplit('.').next().unwrap().parse().unwrap()
    };
    stand_in((pod(address("postgres_matrix-db.yaml")), 5432), |message| match message.len() {
        // An SSLRequest, then a StartupMessage, which is answered with AuthenticationSASL.
        8 => b"N",
        _ => b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0",
    });
    stand_in((pod(address("matrix_synapse.yaml")), 8008), |request| {
        if request.starts_with(b"GET /_matrix/client/versions") {
            b"HTTP/1.1 200 OK\r\nContent-Length: 22\r\n\r\n{\"versions\":[\"v1.11\"]}"
        } else if request.starts_with(b"GET /_synapse/mas/is_localpart_available") {
            b"HTTP/1.1 403 Forbidden\r\nContent-Length: 25\r\n\r\n{\"errcode\":\"M_FORBIDDEN\"}"
        } else {
            b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
        }
    });
    world.edit("mas.yaml", "https://auth.waadoo.ovh/\n", "https://127.0.0.1:1/\n");
    let items = |more: &[&str]| -> (Option<i32>, Value) {
        let output = world.doctor(&[&["-o", "json"], more].concat());
        no_secret(&String::from_utf8_lossy(&output.stdout));
        (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
    };
    let outcome = |items: &Value, id: &str| {
        let item = items["items"].as_array().unwrap().iter().find(|item| item["id"] == id).unwrap();
        (item["outcome"].as_str().unwrap().to_owned(), item["evidence"].as_str().unwrap().to_owned())
    };
    let (_, offline) = items(&[]);
    for id in ["database-answers", "synapse-answers", "test-synapse", "test-public", "mail-relay"] {
        assert_eq!(outcome(&offline, id).0, "unknown", "{id}");
    }
    let (code, online) = items(&["--network", "--nameserver", "127.0.0.1", "--timeout", "2"]);
    for id in ["database-answers", "test-database", "synapse-answers", "synapse-works"] {
        assert_eq!(outcome(&online, id).0, "pass", "{id}: {online:#}");
    }
    // 503 to a made-up token is Synapse's word that it did not reach MAS.
    let (state, evidence) = outcome(&online, "test-synapse");
    assert!(state == "fail" && evidence.contains("503"), "{state}: {evidence}");
    // Nothing listens there.
    for id in ["test-public", "mail-relay", "test-provider"] {
        assert_eq!(outcome(&online, id).0, "fail", "{id}: {online:#}");
    }
    assert_eq!(code, Some(1));
}
