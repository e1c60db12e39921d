//! Alerts and dashboard against the program that feeds them: a name that nobody exports, an alert without a test or a runbook, or a panel without data
//! fails here and not at night.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on says so and ends")]

mod sample;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use portreeve::judge::State;
use portreeve::serve::{Metrics, Role, Shared, Surface};
use portreeve::source::{Node, yaml};
use sample::server::{Answer, Server};
use serde_json::Value;

const RULES: &str = "portreeve.rules.yaml";
const TESTS: &str = "portreeve.rules.test.yaml";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards")
}

fn text(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap_or_else(|error| panic!("dashboards/{name}: {error}"))
}

/// A rules file as a tree. Our reader takes `{{ … }}` for a value that is not known yet, so Prometheus' templates get other brackets.
fn document(name: &str) -> Node {
    let (documents, error) = yaml::parse(&name.into(), &text(name).replace("{{", "((").replace("}}", "))"));
    assert!(error.is_none(), "{error:?}");
    documents.into_iter().next().expect("one document").root
}

fn dashboard() -> Value {
    serde_json::from_str(&text("grafana/portreeve-edges.json")).expect("the dashboard is JSON")
}

/// All rules: alerts and records.
fn rules(root: &Node) -> Vec<&Node> {
    let groups = root.get("groups").expect("groups").items();
    groups.iter().flat_map(|group| group.get("rules").expect("rules").items()).collect()
}

fn field<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    node.get(key).and_then(Node::text)
}

/// Every query of the dashboard with the title of its panel, variables filled in.
fn queries() -> Vec<(String, String)> {
    let dashboard = dashboard();
    let mut out = Vec::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        for target in panel["targets"].as_array().expect("targets") {
            out.push((panel["title"].as_str().unwrap().to_owned(), fill(target["expr"].as_str().unwrap())));
        }
    }
    out
}

fn fill(expr: &str) -> String {
    let mut expr = expr.replace("$__rate_interval", "1m").replace("$__range", "5m");
    for variable in ["cluster", "matrix", "edge"] {
        expr = expr.replace(&format!("${variable}"), ".*");
    }
    expr
}

/// The series names of a PromQL expression that are ours, each with the label names of its selector.
fn selectors(expr: &str) -> Vec<(String, Vec<String>)> {
    let mut out = Vec::new();
    let name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut rest = expr;
    while let Some(start) = rest.find(name) {
        let end = rest[start..].find(|c| !name(c)).map_or(rest.len(), |length| start + length);
        let word = &rest[start..end];
        rest = &rest[end..];
        if !word.contains("portreeve_") {
            continue;
        }
        let inside = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |(inside, _)| inside);
        let labels =
            inside.split(',').filter_map(|part| part.split(['=', '!']).next()).map(|label| label.trim().to_owned());
        out.push((word.to_owned(), labels.filter(|label| !label.is_empty()).collect()));
    }
    out
}

/// Names and label names of what the program exports, and of what the rules record.
fn known() -> BTreeMap<String, BTreeSet<String>> {
    let metrics = Metrics::new(Role::Both);
    let board = sample::mixed();
    for attempt in &board.probes {
        metrics.record(&board.matrix, attempt);
    }
    let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in metrics.render(&board).lines().filter(|line| !line.starts_with('#')) {
        let (name, labels) = line.split_once('{').unwrap_or((line, ""));
        let labels = labels.split("=\"").filter_map(|part| part.rsplit([',', '"']).next()).map(str::to_owned);
        known.entry(name.to_owned()).or_default().extend(labels);
    }
    let root = document(RULES);
    for rule in rules(&root) {
        if let Some(name) = field(rule, "record") {
            let labels = known.values().flatten().cloned().collect();
            known.insert(name.to_owned(), labels);
        }
    }
    known
}

#[test]
fn every_name_exists() {
    let known = known();
    let root = document(RULES);
    let mut used: Vec<(String, String)> = rules(&root)
        .into_iter()
        .map(|rule| {
            let name = field(rule, "alert").or(field(rule, "record")).expect("a rule has a name");
            (name.to_owned(), field(rule, "expr").expect("a rule has an expr").to_owned())
        })
        .collect();
    used.extend(queries());
    let dashboard = dashboard();
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        let query = variable["definition"].as_str().unwrap_or_default();
        used.push((format!("variable {}", variable["name"]), fill(query)));
    }
    let mut names = BTreeSet::new();
    for (user, expr) in &used {
        for (name, labels) in selectors(expr) {
            let exported =
                known.get(&name).unwrap_or_else(|| panic!("{user} uses {name}, which nobody exports or records"));
            for label in labels.iter().filter(|label| *label != "cluster") {
                assert!(exported.contains(label), "{user} asks {name} for the label {label}, which it does not have");
            }
            names.insert(name);
        }
    }
    assert!(names.len() > 10, "the extractor finds names: {names:?}");
}

#[test]
fn every_alert_has_its_annotations_a_test_and_a_runbook() {
    let (root, tests, runbooks) = (document(RULES), document(TESTS), text("runbooks.md"));
    let mut alerts = BTreeSet::new();
    for rule in rules(&root) {
        let Some(alert) = field(rule, "alert") else { continue };
        alerts.insert(alert.to_owned());
        let annotation =
            |key: &str| rule.at_path(&format!("annotations/{key}")).and_then(Node::text).unwrap_or_default().to_owned();
        let (summary, anchor) = (annotation("summary"), format!("runbooks.md#{}", alert.to_lowercase()));
        assert!(summary.ends_with('.') && !summary.contains("(("), "{alert}: the summary is one fixed sentence");
        assert!(!annotation("description").is_empty(), "{alert}: no description");
        assert!(annotation("runbook_url").ends_with(&anchor), "{alert}: the runbook's address ends in {anchor}");
        let uid = dashboard()["uid"].as_str().unwrap().to_owned();
        assert!(
            annotation("dashboard_url").contains(&format!("/d/{uid}")),
            "{alert}: the dashboard's address has its uid"
        );
        let severity = rule.at_path("labels/severity").and_then(Node::text).unwrap_or_default();
        assert!(["critical", "warning"].contains(&severity), "{alert}: severity {severity}");
    }
    let mut cases: BTreeMap<&str, [u32; 2]> = BTreeMap::new();
    for test in tests.get("tests").expect("tests").items() {
        for case in test.get("alert_rule_test").map_or(&[][..], Node::items) {
            let fires = !case.get("exp_alerts").expect("exp_alerts").items().is_empty();
            cases.entry(field(case, "alertname").expect("alertname")).or_default()[usize::from(fires)] += 1;
        }
    }
    for alert in &alerts {
        let [silent, fires] = cases.get(alert.as_str()).copied().unwrap_or_default();
        assert!(
            silent >= 2 && fires >= 2,
            "{alert} is tested {silent} times silent, {fires} times firing: at least two each"
        );
    }
    assert_eq!(
        cases.keys().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>(),
        alerts,
        "tests of alerts that exist"
    );
    let sections = runbooks.lines().filter_map(|line| line.strip_prefix("## ")).map(str::to_owned).collect();
    assert_eq!(alerts, sections, "one runbook section for each alert, and none without");
}

/// Conventions that Grafana's file provisioning and its linter ask for.
#[test]
fn the_dashboard_can_be_provisioned() {
    let dashboard = dashboard();
    assert_eq!((&dashboard["schemaVersion"], &dashboard["editable"]), (&39.into(), &false.into()));
    assert!(dashboard.get("__inputs").is_none() && !dashboard.to_string().contains("${DS_"));
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let sources: Vec<_> = variables.iter().filter(|variable| variable["type"] == "datasource").collect();
    assert_eq!(
        (sources.len(), &sources[0]["name"], &sources[0]["label"]),
        (1, &"datasource".into(), &"Data source".into())
    );
    let core = ["stat", "table", "state-timeline", "timeseries", "bargauge"];
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().expect("a title");
        assert!(core.contains(&panel["type"].as_str().unwrap()), "{title}: core panels only");
        assert!(
            panel["description"].as_str().is_some_and(|text| text.ends_with('.')),
            "{title}: a description in sentences"
        );
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        assert!(ids.insert(panel["id"].as_u64()), "{title}: its id is taken");
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(x < 24 && cells.insert((x, y)), "{title} overlaps another panel");
            }
        }
        for target in panel["targets"].as_array().unwrap() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            let expr = target["expr"].as_str().unwrap();
            assert!(!expr.contains("or vector("), "{title}: no data must not be shown as zero");
        }
    }
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).current_dir(folder()).output();
    let output = output.unwrap_or_else(|error| {
        panic!("{program}: {error}; it comes with the package `prometheus` (Debian, 2.42 or later)")
    });
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{program} {arguments:?}\n{text}");
}

#[test]
fn promtool_accepts_the_rules() {
    run("promtool", &["check", "rules", "--lint=all", "--lint-fatal", RULES]);
}

#[test]
fn promtool_passes_the_rule_tests() {
    run("promtool", &["test", "rules", TESTS]);
}

/// A Prometheus on loopback that scrapes `server` as fast as it can, with the rules.
struct Prometheus {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    fn start(server: &Server) -> Self {
        let data = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| data.path().join(name);
        let target = server.address;
        let config = format!(
            "global: {{scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms}}\nrule_files: [rules.yaml]\nscrape_configs:\n- job_name: matrix/portreeve\n  static_configs: [{{targets: ['{target}'], labels: {{cluster: west, pod: p1}}}}]\n"
        );
        std::fs::write(path("prometheus.yaml"), config).expect("written");
        std::fs::write(path("rules.yaml"), text(RULES).replace("interval: 30s", "interval: 200ms")).expect("written");
        let free =
            std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", path("prometheus.yaml").display()))
            .arg(format!("--storage.tsdb.path={}", path("data").display()))
            .arg(format!("--web.listen-address={free}"))
            .args(["--log.level=error"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("prometheus: {error}; it comes with the package `prometheus` (Debian)"));
        Self { child, port: free.port(), _folder: data }
    }

    /// `None` while it does not answer.
    fn ask(&self, path: &str) -> Option<Value> {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let answer = Answer::read(&answer);
        assert_ne!(answer.status, 400, "{path}: {}", answer.body);
        (answer.status == 200).then(|| answer.json())
    }

    /// The label names of the series that a query finds; `None` while it finds none.
    fn query(&self, expr: &str) -> Option<BTreeSet<String>> {
        let encoded = expr.bytes().fold(String::new(), |encoded, byte| encoded + &format!("%{byte:02X}"));
        let answer = self.ask(&format!("/api/v1/query?query={encoded}"))?;
        let found = answer["data"]["result"].as_array()?.clone();
        let labels = found.iter().filter_map(|one| one["metric"].as_object()).flat_map(|metric| metric.keys().cloned());
        (!found.is_empty()).then(|| labels.collect())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Every panel against a real Prometheus that scrapes the real listener: each query finds something, each table has the columns it arranges, and
/// no rule has an error.
#[test]
fn every_panel_shows_something() {
    let shared = Shared::new(Role::Both);
    shared.publish(sample::mixed());
    let server = Server::start(shared, Surface::Metrics);
    let prometheus = Prometheus::start(&server);
    let (deadline, dashboard) = (Instant::now() + Duration::from_mins(1), dashboard());
    let mut waiting: Vec<&Value> = dashboard["panels"].as_array().unwrap().iter().collect();
    let mut missing = String::new();
    while !waiting.is_empty() {
        assert!(Instant::now() < deadline, "after a minute still: {missing}");
        let board = server.shared.board();
        for attempt in &board.probes {
            server.shared.metrics.record(&board.matrix, attempt);
        }
        for edge in &board.edges {
            server.shared.metrics.verdict(&board.matrix, &edge.name, edge.state.unwrap_or(State::Unknown));
        }
        waiting.retain(|panel| match shown(&prometheus, panel) {
            Ok(()) => false,
            Err(why) => {
                missing = format!("{}: {why}", panel["title"]);
                true
            }
        });
        std::thread::sleep(Duration::from_millis(200));
    }
    let rules = prometheus.ask("/api/v1/rules").expect("the rules");
    for rule in rules["data"]["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap())
    {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
}

fn shown(prometheus: &Prometheus, panel: &Value) -> Result<(), String> {
    let mut labels = BTreeSet::new();
    for target in panel["targets"].as_array().unwrap() {
        let expr = fill(target["expr"].as_str().unwrap());
        labels.extend(prometheus.query(&expr).ok_or(format!("nothing for {expr}"))?);
    }
    for step in panel["transformations"].as_array().into_iter().flatten() {
        for column in step["options"]["indexByName"].as_object().into_iter().flat_map(|columns| columns.keys()) {
            if !column.starts_with("Value") && !labels.contains(column) {
                return Err(format!("no column {column} in {labels:?}"));
            }
        }
    }
    Ok(())
}
