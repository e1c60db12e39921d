//! The program itself, `portreeve probe --watch`, as it runs for days: what it takes of processor and memory.

use std::fmt::Write;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::bare;
use crate::common::say;
use crate::namespace::folder;
use crate::peers::{EDGES, assignment};
use crate::process::{Process, cpu, get, rss};
use crate::targets::{self, address};

/// Names the shipped build; without it, the build for this machine is measured.
const PROGRAM: &str = "PORTREEVE_SHIPPED";
const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9690);
/// Every so many edges lead to a closed port: a prober that only counts cannot pass.
const CLOSED_EACH: usize = 10;

pub(crate) fn program() -> PathBuf {
    std::env::var_os(PROGRAM).map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_portreeve")), PathBuf::from)
}

fn start(args: &[&str]) -> Process {
    let mut command = Command::new(program());
    command.args(["probe", "--watch", "--nameserver", "127.0.0.1", "--listen", &ADDRESS.to_string()]).args(args);
    let mut watch = Process::start(command.stdout(Stdio::null()).stderr(Stdio::null()));
    watch.await_ready(ADDRESS, "/readyz");
    watch
}

/// A matrix of plain TCP edges.
fn edges(count: usize) -> String {
    let mut text = String::from(
        "apiVersion: portreeve.io/v1alpha1\nkind: TrafficMatrix\nmetadata: {name: mas, namespace: matrix}\nspec:\n  edges:\n",
    );
    for number in 0..count {
        let port = if number % CLOSED_EACH == 0 { targets::CLOSED } else { targets::TCP };
        let to = address(number);
        writeln!(text, "  - {{name: edge-{number:05}, from: subject, to: {to}, port: {port}}}").unwrap();
    }
    let path = folder().join(format!("edges-{count}.yaml"));
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// What one scrape says.
#[derive(Debug)]
struct Scrape {
    attempts: f64,
    /// Edges that were probed at all.
    tried: usize,
    /// Failures by the reason that is expected of some edges.
    refused: f64,
    /// The series of all others.
    failed: Vec<String>,
    lag: f64,
}

impl Scrape {
    fn take() -> Self {
        let text = get(ADDRESS, "/metrics");
        let series = |name: &'static str| text.lines().filter(move |line| line.starts_with(name));
        let sum = |lines: &mut dyn Iterator<Item = &str>| -> f64 {
            lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
        };
        let is_refused = |line: &str| line.contains("reason=\"connect_refused_rst\"");
        let attempts = || series("portreeve_probe_attempts_total{");
        let failures = || series("portreeve_probe_failures_total{");
        Self {
            tried: attempts().filter(|line| !line.ends_with(" 0")).count(),
            attempts: sum(&mut attempts()),
            refused: sum(&mut failures().filter(|line| is_refused(line))),
            failed: failures().filter(|line| !is_refused(line)).map(str::to_owned).collect(),
            lag: sum(&mut series("portreeve_schedule_lag_seconds ")),
        }
    }
}

/// Between these scrapes so many seconds passed.
struct Measured {
    first: Scrape,
    last: Scrape,
    took: f64,
}

/// Lets it run for so long, scraped as often as Prometheus does, and says what it took.
fn measure(watch: &Process, time: Duration) -> Measured {
    let (first, before, began) = (Scrape::take(), cpu(watch.id()), Instant::now());
    let (mut last, mut lag) = (Scrape::take(), 0_f64);
    while began.elapsed() < time {
        sleep(Duration::from_secs(15).min(time.saturating_sub(began.elapsed())));
        last = Scrape::take();
        lag = lag.max(last.lag);
    }
    let (spent, took) = (cpu(watch.id()) - before, began.elapsed().as_secs_f64());
    say("rss", rss(watch.id()));
    say("cpu", spent / took * 100.0);
    say("lag", lag * 1e3);
    say("rate", (last.attempts - first.attempts) / spent);
    Measured { first, last, took }
}

/// Plain edges at this interval; each tenth must be refused, and nothing else may fail.
fn plain(count: usize, interval: f64, time: Duration) {
    let watch = start(&["--matrix", &edges(count), "--interval", &interval.to_string()]);
    let Measured { first, last, took } = measure(&watch, time);
    assert!(last.failed.is_empty(), "failures that no target gave cause for: {last:?}");
    let probes = last.attempts - first.attempts;
    let refused = (last.refused - first.refused) / probes * CLOSED_EACH as f64;
    assert!((0.8..1.2).contains(&refused), "{refused} of the refusals that were expected: {first:?} {last:?}");
    say("kept", probes / (count as f64 / interval * took) * 100.0);
}

/// More than it can do: the processor is the only limit.
pub(crate) fn load(quick: bool) {
    plain(1_000, 0.1, bare::seconds(quick));
}

/// 10,000 edges, each every 10 s.
pub(crate) fn many(quick: bool) {
    plain(10_000, 10.0, Duration::from_secs(if quick { 10 } else { 30 }));
}

/// The guide's ten edges from manifests, at the default intervals: to the pods.
pub(crate) fn guide(quick: bool) {
    let _peers = Process::of_our_own("peers");
    let at = |name: &str| folder().join("guide").join(name).to_str().unwrap().to_owned();
    let (matrix, manifests, ca) = (at("matrix.yaml"), at("cluster"), at("ca.pem"));
    let watch = start(&[&["--matrix", &matrix, "--manifests", &manifests, "--ca", &ca], &EDGES[..]].concat());
    idle(&watch, quick);
}

/// The agent beside MAS, with ten edges by name, at the default intervals: each probe asks DNS and goes through a Service.
pub(crate) fn agent(quick: bool) {
    let _peers = Process::of_our_own("peers");
    let (config, ca) = (folder().join("agent.json"), folder().join("guide").join("ca.pem"));
    let assign = |interval: f64| fs::write(&config, assignment(interval).to_string()).unwrap();
    assign(if quick { 15.0 } else { 1.0 });
    let mut command = Command::new(program());
    command.args(["agent", "--nameserver", "127.0.0.1", "--listen", &ADDRESS.to_string()]);
    command.arg("--config").arg(&config).arg("--ca").arg(ca);
    let mut agent = Process::start(command.stdout(Stdio::null()).stderr(Stdio::null()));
    agent.await_ready(ADDRESS, "/readyz");
    if !quick {
        // At the default intervals this took five minutes: every conversation is had once before memory is looked at.
        while Scrape::take().tried < 10 {
            sleep(Duration::from_secs(1));
        }
        assign(15.0);
        // The agent looks at its file every 5 s.
        sleep(Duration::from_secs(6));
    }
    idle(&agent, quick);
}

/// A long life, shortened. Nothing may fail.
fn idle(process: &Process, quick: bool) {
    let Measured { last, .. } = measure(process, Duration::from_secs(if quick { 15 } else { 60 }));
    assert!(last.tried > 0 && last.refused < 0.5 && last.failed.is_empty(), "an edge of the guide failed: {last:?}");
}
