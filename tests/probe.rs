//! `portreeve probe` as a user runs it against addresses of their own, on loopback.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Output};

fn probe(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_portreeve")).arg("probe").args(args).output().unwrap()
}

#[track_caller]
fn check(args: &[&str], code: i32, stdout: &[&str], stderr: &[&str]) -> String {
    let outcome = probe(args);
    let out = String::from_utf8(outcome.stdout).unwrap();
    let err = String::from_utf8(outcome.stderr).unwrap();
    assert_eq!(outcome.status.code(), Some(code), "{args:?}\n{out}\n{err}");
    for part in stdout {
        assert!(out.contains(part), "{args:?}: no {part:?} in\n{out}");
    }
    for part in stderr {
        assert!(err.contains(part), "{args:?}: no {part:?} in\n{err}");
    }
    out
}

/// A port where nothing listens.
fn closed() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Answers one HTTP request.
fn serve_once() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
    });
    port
}

#[test]
fn an_address_needs_no_source_and_is_no_observation() {
    let address = format!("http://127.0.0.1:{}", serve_once());
    let vantage = "from here, not from MAS: never counts as observed";
    let says = format!("{address}: sends GET /");
    check(&[&address], 0, &[&address, "ok", "HTTP status 204", vantage], &[&says]);
}

#[test]
fn a_closed_port_fails_the_command_in_every_form() {
    let address = format!("tcp://127.0.0.1:{}", closed());
    check(&[&address], 1, &["connect_refused_rst"], &["sends nothing"]);
    let out = check(&[&address, "-o", "json"], 1, &[], &[]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["addresses"]["probes"][0]["reason"], "connect_refused_rst");
    assert_eq!(json["addresses"]["vantage"], "from here, not from MAS: never counts as observed");
    assert_eq!(json["edges"], serde_json::json!([]));
    check(&[&address, "-o", "junit"], 1, &["failures=\"1\"", "connect_refused_rst"], &[]);
}

#[test]
fn several_addresses_are_announced_before_any_is_probed() {
    let (one, two) = (format!("postgres://127.0.0.1:{}", closed()), format!("smtps://127.0.0.1:{}", closed()));
    check(&[&one, &two], 1, &[&one, &two], &["an SSLRequest", "a TLS handshake, EHLO"]);
}

#[test]
fn secrets_are_refused_and_not_repeated() {
    for address in ["postgres://mas:hunter2@db:5432", "hunter2://db", "https://db/?token=hunter2"] {
        let outcome = probe(&[address]);
        let text = [outcome.stdout, outcome.stderr].concat();
        assert_eq!(outcome.status.code(), Some(2), "{address}");
        assert!(!String::from_utf8(text).unwrap().contains("hunter2"), "{address}");
    }
}

#[test]
fn wrong_usage() {
    check(&["tcp://127.0.0.1:1", "--watch"], 2, &[], &["an address is probed once"]);
    check(&["tcp://127.0.0.1"], 2, &[], &["needs a port"]);
    // A name is still an edge's, and needs a source.
    check(&["tcp://127.0.0.1:1", "mas-to-postgres"], 2, &[], &[]);
}

/// dnsmasq knows the names, `$1` is the folder with resolv.conf and config.yaml, `$2` the program.
///
/// A port below 1024 and `/etc/resolv.conf` of its own need namespaces; `setpriv --pdeathsig` ends the server with this shell.
const WITH_SEARCH_LIST: &str = r#"set -e
ip link set lo up
mount --bind "$1/resolv.conf" /etc/resolv.conf
log="$1/dnsmasq.log"
setpriv --pdeathsig KILL dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --pid-file= \
  --user=root --listen-address=127.0.0.1 --bind-interfaces --log-queries --log-facility="$log" \
  --address=/cluster.local/ --address=/example/127.0.0.1 --address=/example/2001:db8::1 \
  --address=/peer.other.svc.cluster.local/127.0.0.1 --address=/peer.other.svc.cluster.local/::1 & server=$!
trap 'kill $server' EXIT
until grep -qs started "$log"; do kill -0 $server; sleep 0.02; done
"$2" probe mas-to-smtp mas-to-postgres mas-to-synapse --mas-config "$1/config.yaml" -o json || [ $? -eq 1 ]
"#;

/// The costs of names that `-o json` tells are the questions that a real server got.
#[test]
fn lookups_cost_what_a_real_server_counts() {
    let folder = tempfile::Builder::new().prefix("portreeve-").tempdir().unwrap();
    let search = "search matrix.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n";
    std::fs::write(folder.path().join("resolv.conf"), format!("nameserver 127.0.0.1\n{search}")).unwrap();
    let config = "http: {public_base: 'https://auth.example/'}
database: {host: peer.other.svc, port: 9, username: mas, database: mas}
matrix: {homeserver: example, endpoint: 'http://a.b.c.d.e.example:9', secret: x}
email: {transport: smtp, mode: plain, hostname: relay.example, port: 9}
";
    std::fs::write(folder.path().join("config.yaml"), config).unwrap();

    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "sh", "-c", WITH_SEARCH_LIST, "sh"]);
    let outcome = command.arg(folder.path()).arg(env!("CARGO_BIN_EXE_portreeve")).output().unwrap();
    let err = String::from_utf8_lossy(&outcome.stderr).into_owned();
    if !outcome.status.success()
        && std::env::var("PORTREEVE_ALLOW_SKIP").is_ok_and(|allowed| allowed.contains("namespaces"))
    {
        eprintln!("skipped, because namespaces cannot be made: {err}");
        return;
    }
    assert!(outcome.status.success(), "{err}");
    let json: serde_json::Value = serde_json::from_slice(&outcome.stdout).unwrap();
    let log = std::fs::read_to_string(folder.path().join("dnsmasq.log")).unwrap().to_lowercase();
    let asked = |host: &str| {
        let names = log.lines().filter_map(|line| line.split_once("query[")?.1.split_once("] ")?.1.split(' ').next());
        names.filter(|name| *name == host || name.starts_with(&format!("{host}."))).count()
    };
    // One dot: all of the search list is tried before. A Service without `cluster.local`: the third try is it. Five dots: taken as it is.
    let expect = [("a.b.c.d.e.example", 2, 0), ("peer.other.svc", 6, 4), ("relay.example", 8, 6)];
    let expect: Vec<_> = expect
        .map(|(host, questions, needless)| serde_json::json!({"host": host, "questions": questions, "needless": needless}))
        .into();
    assert_eq!(json["lookups"], serde_json::Value::from(expect), "{json:#}\n{log}");
    for lookup in json["lookups"].as_array().unwrap() {
        let host = lookup["host"].as_str().unwrap();
        assert_eq!(lookup["questions"], asked(host), "{host}\n{log}");
    }
    // This place has no IPv6 but for itself, and no client of MAS minds.
    let probes = json["probes"].as_array().unwrap();
    let addresses = |edge: &str| {
        let own = probes.iter().filter(|probe| probe["edge"] == edge);
        own.map(|probe| probe["address"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(addresses("mas-to-smtp"), ["127.0.0.1:9"], "{json:#}");
    assert_eq!(addresses("mas-to-postgres"), ["127.0.0.1:9", "[::1]:9"], "{json:#}");
    // Without a source nothing is known to be looked up.
    let out = check(&[&format!("tcp://127.0.0.1:{}", closed()), "-o", "json"], 1, &[], &[]);
    assert!(serde_json::from_str::<serde_json::Value>(&out).unwrap().get("lookups").is_none(), "{out}");
}

/// Goes on, counts every attempt, and answers while it does.
#[test]
fn watching_probes_again_and_again() {
    let peer = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = peer.local_addr().unwrap().port();
    std::thread::spawn(move || peer.incoming().for_each(drop));
    let folder = tempfile::Builder::new().prefix("portreeve-").tempdir().unwrap();
    let file = folder.path().join("matrix.yaml");
    let text = format!(
        "apiVersion: portreeve.io/v1alpha1\nkind: TrafficMatrix\nmetadata: {{name: mas, namespace: matrix}}\nspec:\n  edges:\n  - {{name: mas-to-peer, from: subject, to: 127.0.0.1, port: {to}}}\n"
    );
    std::fs::write(&file, text).unwrap();
    let listen = format!("127.0.0.1:{}", closed());
    let mut child = Command::new(env!("CARGO_BIN_EXE_portreeve"))
        .args(["probe", "mas-to-peer", "--watch", "--interval", "0.1", "--nameserver", "127.0.0.1"])
        .args(["--listen", &listen, "--matrix"])
        .arg(&file)
        .spawn()
        .unwrap();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let mut seen = String::new();
    let attempts = loop {
        let count = metric(&listen, "portreeve_probe_attempts_total", &mut seen);
        if count.is_some_and(|count| count >= 5.0) || std::time::Instant::now() > end {
            break count;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(attempts.is_some_and(|count| count >= 5.0), "{attempts:?}\n{seen}");
    let state = seen.lines().find(|line| line.starts_with("portreeve_edge_state") && line.contains("\"ok\""));
    assert!(state.is_some_and(|line| line.ends_with(" 1")), "{seen}");
    let lag = seen.lines().find_map(|line| line.strip_prefix("portreeve_schedule_lag_seconds "));
    assert!(lag.is_some_and(|lag| lag.parse::<f64>().is_ok_and(|lag| (0.0..20.0).contains(&lag))), "{seen}");
}

/// The value of the first series of a metric that has the edge.
fn metric(listen: &str, name: &str, seen: &mut String) -> Option<f64> {
    let mut stream = std::net::TcpStream::connect(listen).ok()?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    seen.clear();
    stream.read_to_string(seen).ok()?;
    let line = seen.lines().find(|line| line.starts_with(name) && line.contains("mas-to-peer"))?;
    line.rsplit(' ').next()?.parse().ok()
}
