//! The agent as a sidecar runs it: the real binary, its file coming late, broken and mended, peers on loopback.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

mod binary;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// What is waited for comes within seconds; a loaded machine may need more.
const PATIENCE: Duration = Duration::from_mins(1);

struct Agent {
    child: Child,
    listen: SocketAddr,
    /// The folder that would be the ConfigMap's mount.
    folder: tempfile::TempDir,
}

impl Agent {
    fn start(more: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("portreeve-").tempdir().unwrap();
        let listen = free();
        let child = Command::new(env!("CARGO_BIN_EXE_portreeve"))
            .arg("agent")
            .arg("--config")
            .arg(folder.path().join("agent.json"))
            // Nothing asks the machine's own resolver.
            .args(["--nameserver", "127.0.0.1", "--listen", &listen.to_string()])
            .args(more)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let agent = Self { child, listen, folder };
        agent.wait_for("it listens", || agent.get("/healthz").filter(|answer| answer.starts_with("HTTP/1.1 200")));
        agent
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("agent.json")
    }

    fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.listen).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: 10.42.0.7\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    fn report(&self) -> Value {
        let answer = self.get("/v1/report").unwrap();
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    fn metric(&self, series: &str) -> Option<f64> {
        let text = self.get("/metrics")?;
        text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
    }

    #[track_caller]
    fn wait_for<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(
                Instant::now() < end,
                "not in time: {what}\n{:#?}\n{:?}",
                self.get("/v1/report"),
                self.get("/metrics")
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The newest reason of an edge.
    fn reason(&self, edge: &str) -> Option<String> {
        let report = self.report();
        let row = report["edges"].as_array()?.iter().find(|row| row["name"] == edge)?.clone();
        Some(row["attempts"].as_array()?.last()?["reason"].as_str()?.to_owned())
    }

    /// SIGTERM, as the kubelet sends it; and how it ended.
    fn terminate(mut self) -> (Option<i32>, Duration) {
        let began = Instant::now();
        Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        let status = self.child.wait().unwrap();
        (status.code(), began.elapsed())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn open() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    address
}

fn edge(name: &str, vantage: &str, expect: &str, to: SocketAddr) -> Value {
    json!({
        "name": name, "vantage": vantage, "expect": expect, "tier": 0,
        "exchange": {"kind": "tcp"}, "to": [{"host": to.ip().to_string(), "port": to.port()}],
    })
}

/// As the kubelet does it: a new file takes the place of the old one.
fn write(path: &Path, generation: u64, edges: &[Value]) {
    let text = json!({
        "version": 1, "generation": generation, "matrix": "matrix/mas",
        "intervals": {"probeSeconds": 1.0, "deepSeconds": 60.0}, "edges": edges,
    });
    replace(path, &text.to_string());
}

fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, path).unwrap();
}

#[test]
fn no_file_and_no_dns_hold_nothing_up_and_a_broken_file_leaves_the_old_one() {
    let agent = Agent::start(&["--as", "subject"]);
    // No file, dead DNS: not ready at once, but without anybody's help.
    assert!(agent.get("/readyz").unwrap().starts_with("HTTP/1.1 503"), "{:?}", agent.get("/readyz"));
    assert_eq!(agent.report()["edges"], json!([]));
    assert_eq!(agent.report()["nameservers"], json!(["127.0.0.1:53"]));

    // The file comes. What is another vantage's is not probed from here.
    let (up, down) = (open(), free());
    let edges = [
        edge("mas-to-up", "subject", "allow", up),
        edge("mas-to-down", "subject", "allow", down),
        edge("stranger-to-mas", "stranger", "deny", up),
    ];
    write(&agent.file(), 7, &edges);
    agent.wait_for("both edges are probed", || {
        let reasons = (agent.reason("mas-to-up")?, agent.reason("mas-to-down")?);
        (reasons == ("ok".to_owned(), "connect_refused_rst".to_owned())).then_some(())
    });
    let report = agent.report();
    assert_eq!(
        (&report["generation"], &report["vantage"], &report["matrix"]),
        (&json!(7), &json!("subject"), &json!("matrix/mas"))
    );
    assert_eq!(report["edges"].as_array().unwrap().len(), 2, "{report:#}");
    let observed = r#"portreeve_observed{matrix="matrix/mas",edge="mas-to-up",class="reachable"}"#;
    agent.wait_for("the metrics say so", || (agent.metric(observed)? > 0.5).then_some(()));
    let text = agent.get("/metrics").unwrap();
    assert!(!text.contains("portreeve_edge_state") && !text.contains("portreeve_finding_info"), "{text}");

    // Broken: the old one stays, and that is told.
    replace(&agent.file(), "{\"version\": 1, \"edges\": [}");
    agent.wait_for("the broken file is told", || {
        (agent.metric("portreeve_config_last_reload_successful")? < 0.5).then_some(())
    });
    assert_eq!(agent.metric("portreeve_config_generation"), Some(7.0));
    let before = agent.report()["seq"].as_u64();
    agent.wait_for("it goes on with the old one", || (agent.report()["seq"].as_u64() > before).then_some(()));

    // Mended, with an edge less.
    write(&agent.file(), 8, &edges[..1]);
    agent.wait_for("the new one is in force", || (agent.metric("portreeve_config_generation")? > 7.5).then_some(()));
    assert_eq!(agent.metric("portreeve_config_last_reload_successful"), Some(1.0));
    assert_eq!(agent.report()["edges"].as_array().unwrap().len(), 1);
    assert!(!agent.get("/metrics").unwrap().contains("mas-to-down"));

    // Gone: the old one stays.
    std::fs::remove_file(agent.file()).unwrap();
    let before = agent.report()["seq"].as_u64();
    agent.wait_for("it goes on without its file", || (agent.report()["seq"].as_u64() > before).then_some(()));
    agent.wait_for("MAS may start without DNS", || agent.get("/readyz")?.starts_with("HTTP/1.1 200").then_some(()));
    let (code, took) = agent.terminate();
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn the_stranger_probes_its_own_edges_and_listens_as_a_target() {
    let target = free();
    let agent = Agent::start(&["--as", "stranger", "--target", &target.to_string()]);
    let mas = open();
    write(
        &agent.file(),
        1,
        &[edge("stranger-to-mas", "stranger", "deny", mas), edge("mas-to-x", "subject", "allow", mas)],
    );
    let reason = agent.wait_for("it probes", || agent.reason("stranger-to-mas"));
    assert_eq!(reason, "ok");
    assert_eq!(agent.report()["edges"].as_array().unwrap().len(), 1);
    // Whoever gets there is let in and hears nothing.
    let mut heard = Vec::new();
    TcpStream::connect(target).unwrap().read_to_end(&mut heard).unwrap();
    assert!(heard.is_empty());
}

#[test]
fn mas_may_start_as_soon_as_dns_answers() {
    let dns = UdpSocket::bind("127.0.0.1:0").unwrap();
    let server = dns.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut question = [0; 512];
        loop {
            // An error says that somebody who asked twice no longer listens for the second answer.
            let Ok((length, from)) = dns.recv_from(&mut question) else { continue };
            // The question, as an answer: it does not exist.
            question[2..4].copy_from_slice(&[0x81, 0x83]);
            let _ = dns.send_to(&question[..length], from);
        }
    });
    let folder = tempfile::Builder::new().prefix("portreeve-").tempdir().unwrap();
    let options = portreeve::agent::Options {
        assignment: folder.path().join("agent.json"),
        ca: None,
        vantage: portreeve::agent::assignment::Vantage::Subject,
        listen: "127.0.0.1:0".parse().unwrap(),
        target: None,
        resolv: portreeve::observe::ResolvConf::servers(vec![server]),
    };
    let (tell, told) = std::sync::mpsc::channel();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let started = move |address, _| tell.send(address).unwrap();
        runtime.block_on(portreeve::agent::run(options, started, stopped)).unwrap();
    });
    let address: SocketAddr = told.recv_timeout(PATIENCE).unwrap();
    let began = Instant::now();
    loop {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET /readyz HTTP/1.1\r\nHost: mas\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        if answer.starts_with("HTTP/1.1 200") {
            break;
        }
        // Not by waiting out the 15 s.
        assert!(began.elapsed() < Duration::from_secs(14), "{answer}");
        std::thread::sleep(Duration::from_millis(20));
    }
    stop.send(true).unwrap();
    thread.join().unwrap();
}

/// What the guide's world gives the agents to do.
#[test]
fn render_writes_the_agents_file() {
    let args = [
        "render",
        "--matrix",
        "policies/traffic-matrix.yaml",
        "--manifests",
        "policies/cluster",
        "--agent",
        "-o",
        "json",
    ];
    let output = binary::portreeve(&args);
    let rendered: Value = serde_json::from_slice(&output.stdout).unwrap();
    let config_map = &rendered["agent"];
    assert_eq!(config_map["metadata"]["name"], "portreeve-agent-mas");
    let text = config_map["data"]["agent.json"].as_str().unwrap();
    portreeve::agent::assignment::Assignment::parse(text.as_bytes()).unwrap();
    insta::assert_snapshot!(text);
}

/// What the TrafficMatrix says of intervals, and a private CA, go along; what no agent could use is refused.
#[test]
fn render_tells_the_agents_how_often_and_whom_to_trust() {
    let folder = tempfile::tempdir().unwrap();
    let (matrix, ca) = (folder.path().join("matrix.yaml"), folder.path().join("ca.pem"));
    let text = std::fs::read_to_string("policies/traffic-matrix.yaml").unwrap();
    std::fs::write(
        &matrix,
        text.replace("  mode: Enforce", "  mode: Enforce\n  probe: {interval: 2s, deepInterval: 1m}"),
    )
    .unwrap();
    let pem = rcgen::generate_simple_self_signed(vec!["ca.example.org".to_owned()]).unwrap().cert.pem();
    std::fs::write(&ca, &pem).unwrap();
    let (matrix, ca_path) = (matrix.to_str().unwrap(), ca.to_str().unwrap());
    let cluster = ["--manifests", "policies/cluster"];
    let args = [&["render", "--matrix", matrix][..], &cluster, &["--agent", "--ca", ca_path, "-o", "json"]].concat();
    let rendered: Value = serde_json::from_slice(&binary::portreeve(&args).stdout).unwrap();
    let data = &rendered["agent"]["data"];
    assert_eq!(data["ca.pem"], pem);
    let told = portreeve::agent::assignment::Assignment::parse(data["agent.json"].as_str().unwrap().as_bytes());
    let intervals = told.unwrap().intervals;
    assert_eq!((intervals.probe(), intervals.deep()), (Duration::from_secs(2), Duration::from_mins(1)));
    std::fs::write(&ca, "no certificate").unwrap();
    let refused = binary::portreeve(&args);
    assert_eq!(refused.status.code(), Some(2), "{}", String::from_utf8_lossy(&refused.stderr));
}
