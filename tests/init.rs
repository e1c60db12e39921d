//! `portreeve init`, driven as a user drives it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by panicking")]

mod binary;

use std::fs;

use serde_json::Value;

use binary::expect;

/// What `init` writes, in a file of its own.
fn written(code: i32, args: &[&str]) -> (tempfile::TempDir, String, String, String) {
    let (text, told) = expect(code, &[&["init"], args].concat());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("matrix.yaml").to_str().unwrap().to_owned();
    fs::write(&path, &text).unwrap();
    (folder, path, text, told)
}

#[test]
fn the_guides_world_gives_the_guides_policy() {
    let cluster = ["--manifests", "policies/cluster"];
    let (_folder, path, text, told) = written(0, &[&["--guide", "policies/guide-values.yaml"], &cluster[..]].concat());
    assert_eq!(told, "");
    assert!(text.contains("\n  mode: Audit\n"), "nothing is written before somebody asks for it:\n{text}");
    assert!(text.contains("\n  subject: matrix/deploy/mas\n"), "{text}");
    assert!(text.contains("\n    postgres: {service: postgres/matrix-db-rw, port: 5432}\n"), "{text}");
    assert!(text.contains("\n    authelia: {host: authelia.waadoo.ovh, port: 443}\n"), "{text}");
    let spec = |matrix: &str| -> Value {
        let args = [&["render", "--matrix", matrix, "-o", "json"], &cluster[..]].concat();
        serde_json::from_str::<Value>(&expect(0, &args).0).unwrap()["policy"]["spec"].clone()
    };
    assert_eq!(spec(&path), spec("policies/traffic-matrix.yaml"));
}

#[test]
fn a_config_in_a_secret_gives_hosts_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let config = "http: {public_base: 'https://auth.example.org/'}\ndatabase: {uri: 'postgres://mas:hunter2@db.postgres.svc:5433/mas'}\nmatrix: {homeserver: example.org, endpoint: 'http://synapse:8008', secret: hunter3}\nemail: {transport: smtp, hostname: relay.example.org, port: 465, mode: tls, username: u, password: hunter4}\nsecrets: {encryption: hunter5}\n";
    let secret = serde_json::json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mas", "namespace": "chat"}, "stringData": {"config.yaml": config},
    });
    let path = folder.path().join("secret.json");
    fs::write(&path, secret.to_string()).unwrap();
    let (_folder, _, text, told) = written(1, &["--manifests", path.to_str().unwrap()]);
    assert!(text.contains("postgres: {host: db.postgres.svc, port: 5433}"), "{text}");
    assert!(text.contains("smtp: {host: relay.example.org, port: 465}"), "{text}");
    assert!(text.starts_with("# The connections that MAS needs, by Secret/chat/mas."), "{text}");
    assert!(told.contains("fill in subject"), "{told}");
    assert!(!text.contains("hunter") && !told.contains("hunter"), "a secret came out:\n{text}{told}");
}

#[test]
fn what_nobody_says_is_left_to_fill_in() {
    let folder = tempfile::tempdir().unwrap();
    let guide = folder.path().join("values.yaml");
    fs::write(&guide, "mas: {ingress: {host: auth.example.org}}\n").unwrap();
    let (_folder, path, text, told) = written(1, &["--guide", guide.to_str().unwrap()]);
    assert!(text.contains("    # postgres: {host: postgres.example.org, port: 1}\n"), "{text}");
    assert!(told.contains("fill in peers.postgres"), "{told}");
    // It reads back all the same.
    expect(0, &["matrix", "--matrix", &path]);
}

#[test]
fn without_a_config_there_is_nothing_to_write() {
    let (text, told) = expect(2, &["init", "--manifests", "policies/cluster"]);
    assert_eq!(text, "");
    assert!(told.contains("give it with --mas-config FILE"), "{told}");
    expect(2, &["init"]);
    expect(2, &["init", "--matrix", "policies/traffic-matrix.yaml"]);
    expect(2, &["init", "--mas-config", "no-such-file"]);
}
