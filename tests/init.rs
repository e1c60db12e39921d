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
    let (folder, path, text, told) = written(0, &[&["--guide", "policies/guide-values.yaml"], &cluster[..]].concat());
    assert_eq!(told, "");
    assert!(text.contains("\n  mode: Audit\n"), "nothing is written before somebody asks for it:\n{text}");
    assert!(text.contains("\n  subject: matrix/deploy/mas\n"), "{text}");
    assert!(text.contains("\n    postgres: {service: postgres/matrix-db-rw, port: 5432}\n"), "{text}");
    let traefik = "\n    traefik: {selector: {namespace: traefik, podSelector: {matchLabels: {";
    assert!(text.contains(traefik), "{text}");
    assert!(text.contains("\n    authelia: {host: authelia.waadoo.ovh, port: 443}\n"), "{text}");
    let spec = |matrix: &str| -> Value {
        let args = [&["render", "--matrix", matrix, "-o", "json"], &cluster[..]].concat();
        serde_json::from_str::<Value>(&expect(0, &args).0).unwrap()["policy"]["spec"].clone()
    };
    assert_eq!(spec(&path), spec("policies/traffic-matrix.yaml"));
    // What it leads to, carried out, leaves nothing to find.
    let enforced = fs::read_to_string(&path).unwrap().replace("mode: Audit", "mode: Enforce");
    fs::write(&path, enforced).unwrap();
    let args = |command| [&[command, "--matrix", &path], &cluster[..]].concat();
    let policy = folder.path().join("policy.yaml");
    fs::write(&policy, expect(0, &[&args("plan")[..], &["-o", "yaml"]].concat()).0).unwrap();
    expect(0, &[&args("audit")[..], &["--manifests", policy.to_str().unwrap()]].concat());
}

/// MAS listens on another port than by default, and nothing but its objects says so.
#[test]
fn the_listener_is_the_one_that_the_objects_show() {
    let folder = tempfile::tempdir().unwrap();
    let world = folder.path().join("cluster");
    fs::create_dir(&world).unwrap();
    for entry in fs::read_dir("policies/cluster").unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        // Container, target of the Service, and EndpointSlice; the Service port stays.
        let shows = ["targetPort: 8080", "containerPort: 8080", "- {name: http, protocol: TCP, port: 8080}"];
        let moved = |text: String, shown: &str| text.replace(shown, &shown.replace("8080", "8090"));
        let text = if path.ends_with("matrix_mas.yaml") { shows.into_iter().fold(text, moved) } else { text };
        fs::write(world.join(path.file_name().unwrap()), text).unwrap();
    }
    let world = world.to_str().unwrap();
    let guide = folder.path().join("values.yaml");
    let text = fs::read_to_string("policies/guide-values.yaml").unwrap().replace("targetPort: 8080", "");
    fs::write(&guide, text).unwrap();
    let (_folder, path, _, _) = written(0, &["--guide", guide.to_str().unwrap(), "--manifests", world]);
    let (told, _) = expect(0, &["matrix", "--matrix", &path, "--manifests", world, "-o", "json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["edges"][0]["podPorts"], serde_json::json!([8090]), "{}", told["edges"][0]);
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
    assert!(text.contains("    # postgres: {host: postgres.example.org, port: 5432}\n"), "{text}");
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
