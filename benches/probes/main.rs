//! What a probe costs, and how true its answer is: `cargo bench --bench probes`, or `-- quick` for a shorter run.
//!
//! portreeve, Debian's blackbox_exporter and bare loops of sockets talk to the same targets in the same run. CPU time is that of the one process that
//! probes; targets and load clients are processes of their own and are not counted. Everything runs in a network namespace that ends with this
//! program, however it ends. Wrong verdicts fail the run, times never.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a benchmark prints, and says what is wrong by panicking"
)]

mod bare;
mod blackbox;
#[path = "../common/mod.rs"]
mod common;
mod namespace;
mod ours;
mod peers;
mod process;
mod targets;
mod verdicts;
mod watch;

use common::{Found, Row, figure, row};
use process::Process;

/// What is talked about with a target, the same by everyone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Talk {
    /// Connect and close.
    Tcp,
    /// That, and one GET.
    Http,
    /// That over TLS: a whole handshake each time, the certificate verified.
    Tls,
}

impl Talk {
    fn named(name: &str) -> Self {
        match name {
            "tcp" => Self::Tcp,
            "http" => Self::Http,
            "tls" => Self::Tls,
            other => panic!("no conversation {other}"),
        }
    }
}

/// How long a rate is measured.
pub(crate) const SECONDS: u64 = 4;

const TASKS: [&str; 17] = [
    "bare-tcp",
    "blackbox-tcp",
    "portreeve-tcp",
    "bare-http",
    "blackbox-http",
    "portreeve-http",
    "bare-tls",
    "blackbox-tls",
    "portreeve-tls",
    "late-blackbox",
    "late-portreeve",
    "verdicts",
    "schedule",
    "watch-load",
    "watch-many",
    "watch-guide",
    "agent",
];

const ROWS: &[Row] = &[
    row("bare-tcp", "rate", "TCP, per CPU-second: bare loop", "34,055", "-", "probes"),
    row("blackbox-tcp", "rate", "  blackbox_exporter", "2,685", "-", "probes"),
    row("portreeve-tcp", "rate", "  portreeve: patrol, prober, metrics", "-", "> 4 x", "probes"),
    row("watch-load", "rate", "  portreeve probe --watch: judging and scrapes too", "-", "-", "probes"),
    row("bare-http", "rate", "HTTP, per CPU-second: bare loop", "16,380", "-", "probes"),
    row("blackbox-http", "rate", "  blackbox_exporter", "1,601", "-", "probes"),
    row("portreeve-http", "rate", "  portreeve: patrol, prober, metrics", "-", "> 3 x", "probes"),
    row("bare-tls", "rate", "HTTPS, per CPU-second: bare loop", "1,952", "-", "probes"),
    row("blackbox-tls", "rate", "  blackbox_exporter", "971", "-", "probes"),
    row("portreeve-tls", "rate", "  portreeve: patrol, prober, metrics", "-", "> 2 x", "probes"),
    row("late-blackbox", "p50", "error of a measured 20 ms: blackbox_exporter, median", "-", "-", "ms"),
    row("late-blackbox", "p99", "  p99", "-", "-", "ms"),
    row("late-blackbox", "own", "  of which the target's own, p99", "-", "-", "ms"),
    row("late-portreeve", "p50", "  portreeve, median", "-", "-", "ms"),
    row("late-portreeve", "p99", "  p99", "-", "-", "ms"),
    row("late-portreeve", "own", "  of which the target's own, p99", "-", "-", "ms"),
    row("verdicts", "attempts", "12 kinds of peers, 16 and 256 at once", "-", "-", "attempts"),
    row("verdicts", "wrong", "  wrong verdicts", "-", "0", "attempts"),
    row("schedule", "lag", "10,000 edges every 10 s: the worst lag of a probe", "-", "-", "ms"),
    row("schedule", "cpu", "  CPU", "-", "-", "% of a core"),
    row("watch-many", "lag", "  probe --watch: lag", "-", "-", "ms"),
    row("watch-many", "kept", "  probes made of those due", "-", "-", "%"),
    row("watch-many", "cpu", "  CPU", "-", "-", "% of a core"),
    row("watch-many", "rss", "  memory", "-", "-", "MB"),
    row("agent", "cpu", "agent, 10 edges, default intervals: CPU", "-", "< 0.2", "% of a core"),
    row("agent", "rss", "  memory", "-", "< 10", "MB"),
    row("watch-guide", "cpu", "probe --watch, 10 edges, default intervals: CPU", "-", "< 0.2", "% of a core"),
    row("watch-guide", "rss", "  memory", "-", "< 10", "MB"),
    row("blackbox-http", "idle", "  blackbox_exporter, after 10 probes", "13", "-", "MB"),
    row("watch-load", "rss", "memory under load, TCP: probe --watch, 1,000 edges", "-", "-", "MB"),
    row("blackbox-tcp", "rss", "  blackbox_exporter, TCP", "25", "-", "MB"),
    row("blackbox-http", "rss", "  blackbox_exporter, HTTP", "25", "-", "MB"),
    row("blackbox-tls", "rss", "  blackbox_exporter, HTTPS", "25", "-", "MB"),
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if !namespace::is_inside() {
        return namespace::enter(&args);
    }
    let quick = args.iter().any(|arg| arg == "quick");
    if let Some(at) = args.iter().position(|arg| arg == "--child") {
        return run(&args[at + 1], quick);
    }
    let _targets = Process::of_our_own("targets");
    let found = Found::measure(&TASKS, if quick { 1 } else { 3 }, quick);
    println!("probe --watch is {}", watch::program().display());
    found.print(ROWS);
    for (what, us, than) in [
        ("TCP, in process", "portreeve-tcp", "tcp"),
        ("TCP, probe --watch", "watch-load", "tcp"),
        ("HTTP, in process", "portreeve-http", "http"),
        ("HTTPS, in process", "portreeve-tls", "tls"),
    ] {
        let rate = |task: &str| found.median(task, "rate").unwrap();
        let (blackbox, bare) = (rate(&format!("blackbox-{than}")), rate(&format!("bare-{than}")));
        let ratio = |of: f64| figure(rate(us) / of);
        println!("ratio: {what}: {} x blackbox_exporter, {} x the bare loop", ratio(blackbox), ratio(bare));
    }
}

fn run(task: &str, quick: bool) {
    match task.split_once('-').unwrap_or((task, "")) {
        ("bare", of) => bare::rate(Talk::named(of), quick),
        ("blackbox", of) => blackbox::rate(Talk::named(of), quick),
        ("portreeve", of) => ours::rate(Talk::named(of), quick),
        ("late", "blackbox") => blackbox::late(quick),
        ("late", "portreeve") => ours::late(quick),
        ("verdicts", _) => verdicts::verdicts(quick),
        ("schedule", _) => ours::schedule(quick),
        ("watch", "load") => watch::load(quick),
        ("watch", "many") => watch::many(quick),
        ("watch", "guide") => watch::guide(quick),
        ("agent", _) => watch::agent(quick),
        ("targets", _) => targets::serve(),
        ("peers", _) => ours::block_on(peers::serve()),
        _ => panic!("no task {task}"),
    }
}
