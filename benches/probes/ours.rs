//! portreeve's own prober in this process, on its own beat: what is due is probed, every attempt is recorded.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use portreeve::judge::{Board, Reason};
use portreeve::matrix::{Exchange, Expect};
use portreeve::observe::patrol::{Patrol, Round};
use portreeve::observe::schedule::{Limits, SHORTEST};
use portreeve::observe::{Dial, Means, Prober, ResolvConf, Target, Task, roots_from_pem};
use portreeve::serve::{Metrics, Role};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::common::{edge, say};
use crate::process::{cpu, get, quantile};
use crate::targets::{self, LATE_BY, address};
use crate::{Talk, bare};

/// As `portreeve probe` has it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(5);
/// The matrix of all edges here.
const MATRIX: &str = "matrix/mas";

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

pub(crate) fn prober() -> Arc<Prober> {
    Arc::new(Prober::new(&roots_from_pem(&std::fs::read(targets::ca()).unwrap()).unwrap()).unwrap())
}

/// One edge with one address.
fn round(number: usize, of: Talk, interval: Duration) -> (String, Round) {
    let http = |tls| Exchange::Http { tls, host: targets::NAME.to_owned() };
    let (port, exchange) = match of {
        Talk::Tcp => (targets::TCP, Exchange::Tcp),
        Talk::Http => (targets::HTTP, http(false)),
        Talk::Tls => (targets::HTTPS, http(true)),
    };
    let dial = Dial::Address { address: SocketAddr::new(address(number), port), host: None };
    let edge = format!("edge-{number:05}");
    let task = Task { edge: edge.clone(), dial, exchange, deadline: DEADLINE, deep: false };
    (edge, Round { tasks: vec![task], expect: Expect::Allow, interval, deep_interval: interval })
}

/// Edges under probe, and what is counted of them.
struct Watch {
    patrol: Patrol,
    metrics: Metrics,
    edges: Vec<String>,
    attempts: usize,
    worst_lag: Duration,
}

impl Watch {
    fn new(edges: usize, talk: Talk, interval: Duration) -> Self {
        let resolv = Arc::new(ResolvConf::servers(Vec::new()));
        let means = Means { prober: prober(), resolv, deadline: DEADLINE };
        let mut patrol = Patrol::new(means, Limits::default());
        let rounds: std::collections::BTreeMap<_, _> = (0..edges).map(|number| round(number, talk, interval)).collect();
        let edges = rounds.keys().cloned().collect();
        patrol.set(rounds);
        Self { patrol, metrics: Metrics::new(Role::Both), edges, attempts: 0, worst_lag: Duration::ZERO }
    }

    /// Probes for so long. Every attempt must end well.
    async fn go_on(&mut self, time: Duration) {
        let end = Instant::now() + time;
        loop {
            tokio::select! {
                biased;
                () = sleep_until(end) => return,
                (_, attempts) = self.patrol.next() => {
                    for attempt in attempts {
                        assert_eq!(attempt.reason, Reason::Ok, "{attempt:?}");
                        self.metrics.record(MATRIX, &attempt);
                        self.attempts += 1;
                    }
                    self.worst_lag = self.worst_lag.max(self.patrol.lag());
                }
            }
        }
    }

    /// What Prometheus would ask for.
    fn scrape(&self) {
        let edges = self.edges.iter().map(|name| edge(name.clone(), Reason::Ok)).collect();
        let board = Board { matrix: MATRIX.to_owned(), edges, ..Board::default() };
        assert!(self.metrics.render(&board).contains("portreeve_probe_duration_seconds_bucket"));
    }
}

/// More edges than can be probed, so that the processor is the only limit. One scrape in each run, which is shorter than Prometheus' interval.
pub(crate) fn rate(talk: Talk, quick: bool) {
    let mut watch = Watch::new(4_000, talk, SHORTEST);
    block_on(async {
        watch.go_on(Duration::from_millis(500)).await;
        let (attempts, before) = (watch.attempts, cpu(std::process::id()));
        watch.go_on(bare::seconds(quick)).await;
        watch.scrape();
        let spent = cpu(std::process::id()) - before;
        say("rate", (watch.attempts - attempts) as f64 / spent);
    });
}

/// 10,000 edges every 10 s: no probe may be late.
pub(crate) fn schedule(quick: bool) {
    let mut watch = Watch::new(10_000, Talk::Tcp, Duration::from_secs(10));
    let (before, time) = (cpu(std::process::id()), Duration::from_secs(if quick { 10 } else { 30 }));
    block_on(watch.go_on(time));
    say("lag", watch.worst_lag.as_secs_f64() * 1e3);
    say("cpu", (cpu(std::process::id()) - before) / time.as_secs_f64() * 100.0);
}

/// How far the measured time is from the time that the target takes.
pub(crate) fn late(quick: bool) {
    let (prober, mut errors) = (prober(), Vec::new());
    let attempts = if quick { 1000 } else { 4000 };
    block_on(async {
        let mut running = JoinSet::new();
        for number in 0..attempts {
            let address = SocketAddr::new(address(number), targets::LATE);
            let exchange = Exchange::Http { tls: false, host: targets::NAME.to_owned() };
            let (prober, target) = (Arc::clone(&prober), Target::new("late", address, exchange));
            running.spawn(async move { prober.probe(&target, DEADLINE).await });
            while running.len() >= Limits::default().at_once || (number + 1 == attempts && !running.is_empty()) {
                let attempt = running.join_next().await.unwrap().unwrap();
                assert_eq!(attempt.reason, Reason::Ok, "{attempt:?}");
                errors.push(attempt.phases.total().as_secs_f64());
            }
        }
    });
    say_errors(&errors);
}

/// What is left of these times (in seconds) without what the target took on purpose.
pub(crate) fn say_errors(times: &[f64]) {
    let mut errors: Vec<f64> = times.iter().map(|time| (time - LATE_BY.as_secs_f64()).abs() * 1e3).collect();
    say("p50", quantile(&mut errors, 0.5));
    say("p99", quantile(&mut errors, 0.99));
    let own = get(SocketAddr::new(address(0), targets::LATE), "/error");
    say("own", own.rsplit("\r\n").next().unwrap().parse().unwrap());
}
