//! Probing for ever: the scheduler says what is due, and the conversations are had.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::schedule::{self, Hint, Limits, Plan, Scheduler, Start};
use super::{Dial, Means, Prober, Task, converse_all};
use crate::judge::{Attempt, Reason};
use crate::matrix::{Exchange, Expect};

/// One edge to be probed again and again. What belongs to it has one exchange and one beat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Round {
    /// Its conversations; at least one.
    pub tasks: Vec<Task>,
    /// What must become of them.
    pub expect: Expect,
    /// The shortest interval of all edges; see [`schedule::multiple`].
    pub interval: Duration,
    /// From one deep probe to the next.
    pub deep_interval: Duration,
}

impl Round {
    /// Every edge's tasks together.
    pub fn by_edge(tasks: Vec<Task>) -> BTreeMap<String, Vec<Task>> {
        let mut edges: BTreeMap<String, Vec<Task>> = BTreeMap::new();
        for task in tasks {
            edges.entry(task.edge.clone()).or_default().push(task);
        }
        edges
    }

    /// From one probe to the next, without jitter and pauses.
    pub fn beat(&self) -> Duration {
        self.exchange().map_or(self.interval, |exchange| self.interval * schedule::multiple(exchange, self.expect))
    }

    fn exchange(&self) -> Option<&Exchange> {
        self.tasks.first().map(|task| &task.exchange)
    }

    /// When it is probed. What leads to several addresses counts as its first.
    fn plan(&self) -> Option<Plan> {
        let target = match &self.tasks.first()?.dial {
            Dial::Address { address, .. } => address.ip().to_string(),
            Dial::Name { host, .. } => host.clone(),
        };
        Some(Plan {
            target,
            interval: self.beat(),
            deep_interval: Some(self.deep_interval),
            // All probes of this process have one source.
            deny: (self.expect == Expect::Deny).then(String::new),
        })
    }

    /// A deep probe that failed is followed by deep ones until one ends well: a PostgreSQL without a free connection says yes to every SSLRequest, and would look well again at once.
    fn wants_more(&self, attempts: &[Attempt]) -> bool {
        self.expect == Expect::Allow && attempts.iter().any(|attempt| attempt.reason != Reason::Ok)
    }

    /// Whether any of its peers wants a pause, or is to be asked again.
    fn hint(&self, attempts: &[Attempt]) -> Hint {
        let wants = |attempt: &Attempt| {
            self.exchange().is_some_and(|exchange| schedule::hint(exchange, attempt.reason) == Hint::BackOff)
        };
        if attempts.iter().any(wants) {
            Hint::BackOff
        } else if self.expect == Expect::Allow && attempts.iter().any(|attempt| attempt.reason.is_silence()) {
            Hint::Confirm
        } else {
            Hint::None
        }
    }
}

/// Edges under probe.
#[derive(Debug)]
pub struct Patrol {
    means: Means,
    /// Time zero of the scheduler.
    began: Instant,
    scheduler: Scheduler,
    /// By the edge's name.
    rounds: BTreeMap<String, Round>,
    /// Edges that were exchanged while a probe of them was under way: taken in anew at its end.
    exchanged: BTreeMap<String, Round>,
    running: JoinSet<(Start, Vec<Attempt>)>,
    lag: Duration,
}

impl Patrol {
    /// Nothing to probe yet.
    pub fn new(means: Means, limits: Limits) -> Self {
        Self {
            means,
            began: Instant::now(),
            scheduler: Scheduler::new(limits),
            rounds: BTreeMap::new(),
            exchanged: BTreeMap::new(),
            running: JoinSet::new(),
            lag: Duration::ZERO,
        }
    }

    /// Probes these edges from now on, and no others. What stays the same keeps its beat.
    pub fn set(&mut self, rounds: BTreeMap<String, Round>) {
        self.exchanged.clear();
        let gone = |(name, round): &(&String, &Round)| rounds.get(*name) != Some(round);
        let gone: Vec<String> = self.rounds.iter().filter(gone).map(|(name, _)| name.clone()).collect();
        for name in gone {
            self.scheduler.remove(&name);
            self.rounds.remove(&name);
        }
        for (name, round) in rounds {
            if !self.rounds.contains_key(&name) {
                self.take_in(name, round);
            }
        }
    }

    fn take_in(&mut self, name: String, round: Round) {
        let Some(plan) = round.plan() else { return };
        if self.scheduler.insert(&name, plan, self.began.elapsed()) {
            self.rounds.insert(name, round);
        } else if self.scheduler.is_running(&name) {
            self.exchanged.insert(name, round);
        }
    }

    /// Probes with this one from now on; what is under way ends as it began.
    pub fn use_prober(&mut self, prober: Arc<Prober>) {
        self.means.prober = prober;
    }

    /// What came of the next edge's probe that ends: its name, and one attempt an address. Pending for ever while there is nothing to probe.
    ///
    /// Cancel safe: what is under way goes on, and is given by the next call.
    pub async fn next(&mut self) -> (String, Vec<Attempt>) {
        loop {
            self.start();
            let wake = self.scheduler.wake().map(|wake| self.began + wake);
            tokio::select! {
                biased;
                Some(Ok((start, attempts))) = self.running.join_next(), if !self.running.is_empty() => {
                    if self.finish(&start, &attempts) {
                        return (start.edge, attempts);
                    }
                }
                () = until(wake) => {}
            }
        }
    }

    /// From the last probe of an edge to the next, without jitter.
    pub fn pace(&self, edge: &str) -> Option<Duration> {
        self.scheduler.pace(edge)
    }

    /// How late the most overdue probe was when some were last started.
    pub fn lag(&self) -> Duration {
        self.lag
    }

    fn start(&mut self) {
        let mut lag = Duration::ZERO;
        while let Some(start) = self.scheduler.start(self.began.elapsed()) {
            // Late counts also when the wait ended just now: a process that is starved of time starts all of them, but late.
            lag = lag.max(self.scheduler.lag());
            let tasks = self.rounds.get(&start.edge).into_iter().flat_map(|round| &round.tasks);
            let tasks = tasks.map(|task| Task { deep: start.deep, ..task.clone() }).collect();
            let means = self.means.clone();
            self.running.spawn(async move { (start, converse_all(&means, tasks).await) });
        }
        self.lag = lag.max(self.scheduler.lag());
    }

    /// Whether the edge is still asked for.
    fn finish(&mut self, Start { edge, deep }: &Start, attempts: &[Attempt]) -> bool {
        let round = self.rounds.get(edge);
        let hint = round.map_or(Hint::None, |round| round.hint(attempts));
        let is_known = round.is_some();
        if *deep && round.is_some_and(|round| round.wants_more(attempts)) {
            self.scheduler.deepen(edge);
        }
        self.scheduler.finish(edge, hint, self.began.elapsed());
        if let Some(round) = self.exchanged.remove(edge) {
            self.take_in(edge.clone(), round);
        }
        is_known
    }
}

/// Sleeps until then; for ever without a time.
pub async fn until(wake: Option<Instant>) {
    match wake {
        Some(wake) => sleep_until(wake).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::observe::ResolvConf;

    fn patrol() -> Patrol {
        let means = Means {
            prober: Arc::new(Prober::new(&[]).unwrap()),
            resolv: Arc::new(ResolvConf::servers(Vec::new())),
            deadline: Duration::from_secs(5),
        };
        Patrol::new(means, Limits::default())
    }

    fn round(edge: &str, address: SocketAddr) -> (String, Round) {
        let task = Task {
            edge: edge.to_owned(),
            dial: Dial::Address { address, host: None },
            exchange: Exchange::Tcp,
            deadline: Duration::from_secs(5),
            deep: false,
        };
        let interval = schedule::SHORTEST;
        (edge.to_owned(), Round { tasks: vec![task], expect: Expect::Allow, interval, deep_interval: interval })
    }

    #[tokio::test]
    async fn only_what_was_set_last_is_probed() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        let mut patrol = patrol();
        patrol.set(BTreeMap::from([round("a", open), round("b", open)]));
        let mut seen = std::collections::BTreeSet::new();
        while seen.len() < 2 {
            let (edge, attempts) = patrol.next().await;
            assert_eq!(attempts.iter().map(|attempt| attempt.reason).collect::<Vec<_>>(), [Reason::Ok]);
            seen.insert(edge);
        }
        // `a` is exchanged whether or not a probe of it is under way, and `b` is gone.
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        for (address, reason) in [(closed, Reason::ConnectRefusedRst), (open, Reason::Ok)].repeat(5) {
            patrol.start();
            patrol.set(BTreeMap::from([round("a", address)]));
            let (edge, attempts) = patrol.next().await;
            assert_eq!((edge.as_str(), attempts[0].reason), ("a", reason));
        }
        patrol.set(BTreeMap::new());
        let idle = tokio::time::timeout(3 * schedule::SHORTEST, patrol.next()).await;
        assert!(idle.is_err(), "{idle:?}");
    }

    /// A PostgreSQL that says `N` to every SSLRequest, and that it is full to every startup message.
    async fn full(listener: tokio::net::TcpListener) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let body = b"SFATAL\0C53300\0Msorry, too many clients already\0\0";
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        let error = [&b"E"[..], &length, body].concat();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = [0; 256];
            let _ = stream.read(&mut asked).await;
            let _ = stream.write_all(b"N").await;
            if matches!(stream.read(&mut asked).await, Ok(1..)) {
                let _ = stream.write_all(&error).await;
            }
        }
    }

    #[tokio::test]
    async fn what_only_a_deep_probe_shows_stays_in_sight() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (edge, mut postgres) = round("a", listener.local_addr().unwrap());
        let (ssl_mode, negotiation) = (crate::matrix::SslMode::Prefer, crate::matrix::SslNegotiation::Postgres);
        postgres.tasks[0].exchange = Exchange::Postgres { ssl_mode, negotiation, login: None };
        postgres.deep_interval = Duration::from_hours(1);
        tokio::spawn(full(listener));
        let mut patrol = patrol();
        patrol.set(BTreeMap::from([(edge, postgres)]));
        for _ in 0..4 {
            let (_, attempts) = patrol.next().await;
            assert_eq!(attempts[0].reason, Reason::ProtoMismatch, "{attempts:?}");
        }
    }
}
