//! The listener from the outside: what it answers, to whom, and what it does not put up with.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on says so and ends")]

mod sample;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portreeve::finding::Finding;
use portreeve::judge::{Board, State};
use portreeve::serve::{Action, Actions, Controls, How, Role, Shared, Surface};
use sample::server::Server;

fn shared(board: Board) -> Shared {
    let shared = Shared::new(Role::Both);
    for attempt in &board.probes {
        shared.metrics.record(&board.matrix, attempt);
    }
    shared.publish(board);
    shared
}

fn metrics_port() -> Server {
    Server::start(shared(sample::ok()), Surface::Metrics)
}

fn page_port() -> Server {
    Server::start(shared(sample::blocked()), Surface::Page(None))
}

#[test]
fn each_path_answers_on_its_surface_only() {
    #[track_caller]
    fn check(server: &Server, path: &str, status: u16, kind: &str) {
        let answer = server.get(path);
        assert_eq!((answer.status, answer.header("content-type")), (status, Some(kind)), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert!(answer.header("content-security-policy").is_some_and(|csp| csp.starts_with("default-src 'none'")));
    }
    let (text, html) = ("text/plain; charset=utf-8", "text/html; charset=utf-8");
    let (metrics, page) = (metrics_port(), page_port());
    for server in [&metrics, &page] {
        check(server, "/metrics", 200, "text/plain; version=0.0.4; charset=utf-8");
        check(server, "/healthz", 200, text);
        check(server, "/healthz?verbose", 200, text);
        check(server, "/nothing", 404, text);
        check(server, "/metrics/", 404, text);
    }
    for path in ["/", "/style.css", "/app.js", "/api/v1/board", "/api/v1/edges/mas-to-postgres", "/api/v1/actions"] {
        check(&metrics, path, 404, text);
    }
    check(&page, "/", 200, html);
    check(&page, "/style.css", 200, "text/css; charset=utf-8");
    check(&page, "/app.js", 200, "text/javascript; charset=utf-8");
    check(&page, "/drawing.js", 200, "text/javascript; charset=utf-8");
    check(&page, "/icon.svg", 200, "image/svg+xml");
    check(&page, "/api/v1/board", 200, "application/json");
    check(&page, "/api/v1/edges/mas-to-postgres", 200, "application/json");
    check(&page, "/api/v1/edges/none", 404, "application/json");
    check(&page, "/api/v1/edges/", 404, text);
}

#[test]
fn readiness_follows_the_flag_and_health_does_not() {
    let server = metrics_port();
    assert_eq!(server.get("/readyz").status, 503);
    server.shared.set_ready(true);
    assert_eq!(server.get("/readyz").status, 200);
    server.shared.set_ready(false);
    assert_eq!((server.get("/readyz").status, server.get("/healthz").status), (503, 200));
}

#[test]
fn other_methods_are_refused_with_what_is_allowed() {
    let server = page_port();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let answer = server.ask(method, "/metrics", "");
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
    assert_eq!(server.get("/api/v1/actions").header("allow"), Some("POST"));
    let head = server.ask("HEAD", "/metrics", "");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[test]
fn the_board_is_the_board_with_a_headline() {
    let server = page_port();
    let json = server.get("/api/v1/board").json();
    assert_eq!(json["headline"]["text"], "mas-to-postgres is blocked by matrix/portreeve-mas: nobody can log in");
    assert_eq!(json["controls"], serde_json::Value::Null);
    assert_eq!(json["edges"][2]["finding"]["place"], "policies/matrix_portreeve-mas.yaml:14:3");
    assert_eq!(json["edges"][2], server.get("/api/v1/edges/mas-to-postgres").json());
    server.shared.publish(sample::ok());
    assert_eq!(server.get("/api/v1/board").json()["headline"]["state"], "ok");
}

/// Whoever reads the page's map, or presses its buttons, sits at this machine and on this page.
#[test]
fn foreign_hosts_do_not_see_the_page() {
    let server = page_port();
    for path in ["/", "/api/v1/board", "/api/v1/edges/mas-to-postgres", "/app.js"] {
        for host in ["evil.example", "localhost.evil.example", "10.0.0.7:9692"] {
            assert_eq!(server.ask("GET", path, &format!("Host: {host}\r\n")).status, 403, "{path} {host}");
        }
    }
    assert_eq!(server.send("GET / HTTP/1.0\r\n\r\n").status, 403, "no Host at all");
    assert_eq!(server.ask("GET", "/", "Host: localhost\r\nHost: evil.example\r\n").status, 403, "two Hosts");
    for host in ["127.0.0.1:80", "[::1]:9692", "localhost"] {
        assert_eq!(server.ask("GET", "/", &format!("Host: {host}\r\n")).status, 200, "{host}");
    }
    // Prometheus and the kubelet ask by pod address.
    assert_eq!(server.ask("GET", "/metrics", "Host: 10.0.0.7:9692\r\n").status, 200);
}

#[derive(Default)]
struct Recorder(Mutex<Vec<Action>>);

impl Actions for Recorder {
    fn act(&self, action: Action) -> Result<String, String> {
        let answer = match &action {
            Action::Mend { edge } if edge == "whole" => Err("whole is not broken".to_owned()),
            _ => Ok("done".to_owned()),
        };
        self.0.lock().unwrap().push(action);
        answer
    }

    fn controls(&self) -> Controls {
        Controls { repair: true, broken: vec![("mas-to-postgres".to_owned(), How::Policy)] }
    }
}

#[test]
fn actions_are_for_this_page_only() {
    let recorder = Arc::new(Recorder::default());
    let server = Server::start(shared(sample::ok()), Surface::Page(Some(recorder.clone())));
    let good = r#"{"action":"break","edge":"mas-to-postgres","how":"peer"}"#;
    let own = format!("X-Portreeve: 1\r\nOrigin: http://localhost:{}\r\n", server.address.port());
    let refused = |what: &str, status: u16, body: &str, headers: &str| {
        let answer = server.post(body, headers);
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        assert!(answer.json()["error"].is_string(), "{what}");
    };
    refused("no header", 403, good, "");
    refused("wrong header", 403, good, "X-Portreeve: yes\r\n");
    refused("foreign origin", 403, good, "X-Portreeve: 1\r\nOrigin: http://evil.example\r\n");
    refused("null origin", 403, good, "X-Portreeve: 1\r\nOrigin: null\r\n");
    refused("another port", 403, good, "X-Portreeve: 1\r\nOrigin: http://localhost:1\r\n");
    refused("no JSON", 400, "{", &own);
    refused("unknown action", 400, r#"{"action":"destroy"}"#, &own);
    refused("unknown field", 400, r#"{"action":"mend","edge":"a","hard":true}"#, &own);
    refused("too large", 413, &format!(r#"{{"action":"mend","edge":"{}"}}"#, "a".repeat(5000)), &own);
    let rebound = "X-Portreeve: 1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\n";
    assert_eq!(server.post(good, rebound).status, 403);
    assert_eq!(*recorder.0.lock().unwrap(), [], "nothing of that was carried out");

    assert_eq!(server.post(good, &own).json()["done"], "done");
    assert_eq!(
        server.post(r#"{"action":"repair","on":false}"#, "X-Portreeve: 1\r\n").status,
        200,
        "a client without an origin"
    );
    refused("the action fails", 409, r#"{"action":"mend","edge":"whole"}"#, &own);
    let edge = "mas-to-postgres".to_owned();
    let done = [
        Action::Break { edge, how: How::Peer },
        Action::Repair { on: false },
        Action::Mend { edge: "whole".to_owned() },
    ];
    assert_eq!(*recorder.0.lock().unwrap(), done);
    assert_eq!(server.get("/api/v1/board").json()["controls"]["broken"][0][1], "policy");
}

#[test]
fn without_actions_nothing_can_be_changed() {
    assert_eq!(page_port().post(r#"{"action":"repair","on":false}"#, "X-Portreeve: 1\r\n").status, 404);
}

#[test]
fn a_head_over_8_kib_is_refused() {
    let server = metrics_port();
    assert_eq!(server.ask("GET", "/healthz", &format!("X-Long: {}\r\n", "a".repeat(7000))).status, 200);
    assert_eq!(server.ask("GET", "/healthz", &format!("X-Long: {}\r\n", "a".repeat(9000))).status, 431);
}

/// More slow clients than there are places: each loses its place after 2 s, so an honest one gets its answer.
#[test]
fn slow_heads_do_not_keep_others_out() {
    let server = metrics_port();
    let begin = Instant::now();
    let mut slow: Vec<_> = (0..70).map(|_| server.connect()).collect();
    for stream in &mut slow {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: loc").unwrap();
    }
    assert_eq!(server.get("/healthz").status, 200);
    let took = begin.elapsed();
    assert!(took > Duration::from_secs(1), "all places were taken, so this had to wait, but it took {took:?}");
    let mut rest = Vec::new();
    let _ = slow[0].read_to_end(&mut rest);
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408"), "closed without an answer");
}

#[test]
fn the_end_is_clean() {
    let mut server = metrics_port();
    let mut idle = server.connect();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut some = [0; 16];
    idle.read_exact(&mut some).unwrap();
    let begin = Instant::now();
    server.stop();
    assert!(begin.elapsed() < Duration::from_secs(2), "an idle connection does not hold the end up");
    assert!(std::net::TcpStream::connect(server.address).is_err());
}

/// The samples of a text, by name and labels; fails on any line that is not format 0.0.4, on duplicates, and on families that are torn apart.
#[track_caller]
fn samples(text: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    let (mut family, mut seen) = (String::new(), Vec::new());
    for line in text.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            family = String::from(kind.split(' ').next().unwrap());
            assert!(!seen.contains(&family), "{family} twice");
            seen.push(family.clone());
        } else if !line.starts_with("# HELP ") {
            let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
            assert!(series.starts_with(&family), "{series} outside its family {family}");
            let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
            assert!(samples.insert(series.to_owned(), value).is_none(), "{series} twice");
        }
    }
    assert!(text.ends_with('\n'));
    samples
}

#[test]
fn the_metrics_say_what_the_board_says() {
    let server = Server::start(shared(sample::mixed()), Surface::Metrics);
    server.shared.metrics.verdict(sample::MATRIX, "mas-to-smtp", State::Unknown);
    let got = samples(&server.get("/metrics").body);
    let check =
        |series: &str, value: f64| assert_eq!(got.get(&format!("portreeve_{series}")), Some(&value), "{series}");
    let smtp = r#"matrix="matrix/mas",edge="mas-to-smtp""#;
    for (state, value) in [("ok", 0.0), ("pending", 0.0), ("unknown", 1.0), ("violated", 0.0)] {
        check(&format!("edge_state{{{smtp},state=\"{state}\"}}"), value);
        check(&format!("verdicts_total{{{smtp},verdict=\"{state}\"}}"), value);
    }
    check(&format!("declared{{{smtp},verdict=\"unknown\"}}"), 1.0);
    check(&format!("observed{{{smtp},class=\"unknown\"}}"), 1.0);
    check(&format!("tls_not_after_timestamp_seconds{{{smtp}}}"), 1.8e9);
    check(&format!("probe_attempts_total{{{smtp}}}"), 1.0);
    check(&format!("probe_duration_seconds_count{{{smtp},phase=\"tls\"}}"), 1.0);
    check(&format!("probe_duration_seconds_bucket{{{smtp},phase=\"tls\",le=\"0.005\"}}"), 0.0);
    check(&format!("probe_duration_seconds_bucket{{{smtp},phase=\"tls\",le=\"0.025\"}}"), 1.0);
    check(r#"matrix_edges{matrix="matrix/mas",expect="allow"}"#, 8.0);
    check(r#"matrix_edges{matrix="matrix/mas",expect="deny"}"#, 2.0);
    check(r#"finding_info{matrix="matrix/mas",edge="",code="PR011",object="NetworkPolicy/matrix/allow-all"}"#, 1.0);
    check(r#"probe_failures_total{matrix="matrix/mas",edge="mas-to-stranger",reason="icmp_admin_prohibited"}"#, 1.0);
    check(
        r#"edge_info{matrix="matrix/mas",edge="mas-to-synapse",expect="allow",tier="0",source="matrix/deploy/mas",destination="matrix/svc/synapse",destination_port="8008",protocol="TCP"}"#,
        1.0,
    );
    for edge in &server.shared.board().edges {
        let states: f64 = got
            .iter()
            .filter(|(s, _)| s.starts_with("portreeve_edge_state") && s.contains(&format!("edge=\"{}\"", edge.name)))
            .map(|(_, v)| v)
            .sum();
        assert!((states - 1.0).abs() < f64::EPSILON, "{} has one state", edge.name);
    }
}

#[test]
fn series_vanish_with_their_edge_and_start_at_zero() {
    let server = metrics_port();
    let has = |edge: &str| server.get("/metrics").body.contains(&format!("edge=\"{edge}\""));
    assert!(has("mas-to-smtp"));
    let mut board = sample::ok();
    board.edges.retain(|edge| edge.name != "mas-to-smtp");
    server.shared.publish(board);
    assert!(!has("mas-to-smtp") && has("mas-to-postgres"));
    server.shared.publish(sample::ok());
    let got = samples(&server.get("/metrics").body);
    assert_eq!(got.get(r#"portreeve_probe_attempts_total{matrix="matrix/mas",edge="mas-to-smtp"}"#), Some(&0.0));
    assert!(!got.keys().any(|series| series.contains("last_probe") && series.contains("mas-to-smtp")));
}

/// Labels come from people's files: nothing in them may tear the text, and no duplicate may cost the whole scrape.
#[test]
fn awkward_names_stay_one_series_each() {
    let mut board = sample::ok();
    board.edges[0].from = "a\"b\\c\nd".to_owned();
    board.edges.push(board.edges[1].clone());
    let finding = Finding::new(portreeve::finding::Code::DefaultUsed, "x\"} 1\n", "", "");
    board.findings = vec![finding.clone(), finding];
    let metrics = portreeve::serve::Metrics::new(Role::Both);
    let got = samples(&metrics.render(&board));
    assert!(got.keys().any(|series| series.contains(r#"source="a\"b\\c\nd""#)));
    assert_eq!(got.keys().filter(|series| series.contains("finding_info")).count(), 1);
}

/// The whole text of three edges. The first was written by the encoder of the `prometheus` crate 0.14; ours writes the same bytes.
#[test]
fn the_text_is_as_prometheus_writes_it() {
    let mut board = sample::mixed();
    board.edges.retain(|edge| ["traefik-to-mas", "mas-to-smtp", "mas-to-stranger"].contains(&edge.name.as_str()));
    sample::edge(&mut board, "traefik-to-mas").from = "a\"b\\c\nd, é".to_owned();
    sample::edge(&mut board, "traefik-to-mas").pod_ports = vec![8080, 8443];
    board.findings.push(Finding::new(portreeve::finding::Code::DefaultUsed, "\\x\"} 1\n", "", ""));
    let metrics = portreeve::serve::Metrics::new(Role::Both);
    for attempt in board.probes.iter().chain(&board.probes[7..8]) {
        metrics.record(&board.matrix, attempt);
    }
    metrics.verdict(&board.matrix, "mas-to-smtp", State::Unknown);
    let text = metrics.render(&board);
    let timeless = |line: &str| match line.rsplit_once(' ') {
        Some((series, at)) if series.starts_with("portreeve_last_probe_timestamp_seconds{") => {
            assert!(at.parse::<f64>().is_ok_and(|at| at > 1.7e9), "{line}");
            format!("{series} <now>\n")
        }
        _ => format!("{line}\n"),
    };
    insta::assert_snapshot!("metrics", text.lines().map(timeless).collect::<String>());
}

#[test]
fn each_role_exports_its_own_families() {
    let names = |role| -> Vec<String> {
        let metrics = portreeve::serve::Metrics::new(role);
        let board = sample::mixed();
        board.probes.iter().for_each(|attempt| metrics.record(&board.matrix, attempt));
        metrics.schedule_lag(Duration::from_millis(1500));
        let text = metrics.render(&board);
        assert_eq!(text.contains("\nportreeve_schedule_lag_seconds 1.5\n"), role != Role::Controller);
        text.lines()
            .filter_map(|l| l.strip_prefix("# TYPE portreeve_"))
            .map(|l| l.split(' ').next().unwrap().to_owned())
            .collect()
    };
    let probed = [
        "probe_attempts_total",
        "probe_failures_total",
        "probe_duration_seconds",
        "last_probe_timestamp_seconds",
        "tls_not_after_timestamp_seconds",
        "observed",
        "schedule_lag_seconds",
    ];
    let judged = ["edge_state", "declared", "verdicts_total", "edge_info", "matrix_edges", "finding_info"];
    assert_eq!(names(Role::Agent), [&["build_info"][..], &probed].concat());
    assert_eq!(names(Role::Controller), [&["build_info"][..], &judged].concat());
    assert_eq!(names(Role::Both), [&["build_info"][..], &probed, &judged].concat());
}

/// A prober that fails on its own side has not probed; otherwise PortreeveProbeStale could not fire.
#[test]
fn our_own_fault_is_no_probe() {
    let metrics = portreeve::serve::Metrics::new(Role::Agent);
    let board = sample::ok();
    let mut attempt = board.probes[0].clone();
    attempt.reason = portreeve::judge::Reason::ProberError;
    metrics.record(&board.matrix, &attempt);
    let text = metrics.render(&board);
    assert!(text.contains(r#"reason="prober_error"} 1"#) && !text.contains("last_probe_timestamp_seconds"), "{text}");
    attempt.reason = portreeve::judge::Reason::ConnectTimeout;
    metrics.record(&board.matrix, &attempt);
    assert!(metrics.render(&board).contains("last_probe_timestamp_seconds"));
}
