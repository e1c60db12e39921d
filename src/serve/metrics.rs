//! The metrics of product.md §6.
//!
//! Counts are kept here; everything else is read from the [`Board`] at the scrape, so no gauge can be older than the board and an edge's series
//! vanish with the edge. That is also why no registry keeps them: one would hold a series until somebody removed each of its label combinations by
//! hand, and cost a tree of small strings for every scrape.
//!
//! Two families are about the process and name no matrix: `portreeve_build_info`, and `portreeve_schedule_lag_seconds`, which `probe --watch` sets and
//! which is absent where nothing is scheduled.

mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use self::text::{Family, Kind, Labels, Text};
use crate::judge::{Attempt, Board, Class, Declared, EdgeReport, Reason, State};
use crate::matrix::Expect;

/// The content type of [`Metrics::render`]'s text.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Who exports. An agent knows what it saw and nothing of the judgement; if both exported the same family, a sum would count edges twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// What was probed.
    Agent,
    /// What was judged.
    Controller,
    /// Both: `demo` and `probe --watch`.
    Both,
}

impl Role {
    /// The label of `portreeve_build_info`.
    fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Controller => "controller",
            Self::Both => "both",
        }
    }
}

/// Upper bounds in seconds: from a connection inside one node (100 µs) to the deadline of the slowest conversation. A lost SYN is sent again after
/// 1 s and 3 s (RFC 6298), so what lies above these bounds was a retransmission.
const BOUNDS: [f64; 11] = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.025, 0.1, 0.25, 1.0, 3.0];

/// How the last look at an agent's files ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reload {
    /// They are in force.
    pub succeeded: bool,
    /// When, since 1970.
    pub at: Duration,
    /// The generation that is in force.
    pub generation: u64,
}

/// What is known of the files that an agent probes by.
#[derive(Debug, Clone, Copy, Default)]
struct Config {
    succeeded: bool,
    succeeded_at: Option<Duration>,
    generation: u64,
}

/// The counts of one process.
#[derive(Debug)]
pub struct Metrics {
    role: Role,
    /// matrix → edge → counts.
    tallies: Mutex<BTreeMap<String, BTreeMap<String, Tally>>>,
    /// `None` where nothing is scheduled: 0 would say that all is in time.
    lag: Mutex<Option<Duration>>,
    /// `None` where no file says what to probe.
    config: Mutex<Option<Config>>,
}

/// Everything counted about one edge.
#[derive(Debug, Clone, Default)]
struct Tally {
    attempts: u64,
    failures: BTreeMap<Reason, u64>,
    phases: BTreeMap<&'static str, Durations>,
    last_probe: Option<f64>,
    tls_not_after: Option<i64>,
    verdicts: BTreeMap<State, u64>,
}

#[derive(Debug, Clone, Default)]
struct Durations {
    /// Observations at or below each bound and above the one before.
    buckets: [u64; BOUNDS.len()],
    count: u64,
    sum: f64,
}

impl Metrics {
    /// Nothing counted yet.
    pub fn new(role: Role) -> Self {
        Self { role, tallies: Mutex::default(), lag: Mutex::default(), config: Mutex::default() }
    }

    /// Counts one probe attempt.
    pub fn record(&self, matrix: &str, attempt: &Attempt) {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        self.with(matrix, &attempt.edge, |tally| tally.record(attempt, now));
    }

    /// Counts one judgement of an edge.
    pub fn verdict(&self, matrix: &str, edge: &str, state: State) {
        self.with(matrix, edge, |tally| *tally.verdicts.entry(state).or_default() += 1);
    }

    /// How late the most overdue probe of this process was when its scheduler last started some. Not exported before the first call.
    pub fn schedule_lag(&self, lag: Duration) {
        *self.lag.lock().unwrap_or_else(PoisonError::into_inner) = Some(lag);
    }

    /// An agent's files changed. Not exported before the first call.
    pub fn reloaded(&self, reload: Reload) {
        let mut config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        let succeeded_at = config.and_then(|config| config.succeeded_at);
        let succeeded_at = if reload.succeeded { Some(reload.at) } else { succeeded_at };
        *config = Some(Config { succeeded: reload.succeeded, succeeded_at, generation: reload.generation });
    }

    fn with(&self, matrix: &str, edge: &str, change: impl FnOnce(&mut Tally)) {
        let mut tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        change(tallies.entry(matrix.to_owned()).or_default().entry(edge.to_owned()).or_default());
    }

    /// The text of one scrape: one row of series for each edge of the board, and nothing about any other edge.
    pub fn render(&self, board: &Board) -> String {
        // A second edge of the same name would make a second series of the same labels, and Prometheus would drop the whole scrape.
        let mut names = BTreeSet::new();
        let edges: Vec<&EdgeReport> = board.edges.iter().filter(|edge| names.insert(edge.name.as_str())).collect();
        let mut text = Text::default();
        build_info(&mut text, self.role);
        let mut tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        let mut none = BTreeMap::new();
        let tallies = tallies.get_mut(&board.matrix).unwrap_or(&mut none);
        tallies.retain(|name, _| names.contains(name.as_str()));
        let row = |edge| Row::new(&board.matrix, edge, tallies);
        let rows: Vec<Row<'_>> = edges.into_iter().map(row).collect();
        if self.role != Role::Controller {
            probed(&mut text, &rows);
            let lag = *self.lag.lock().unwrap_or_else(PoisonError::into_inner);
            schedule_lag(&mut text, lag);
        }
        if let Some(config) = *self.config.lock().unwrap_or_else(PoisonError::into_inner) {
            configured(&mut text, config);
        }
        if self.role != Role::Agent {
            judged(&mut text, &rows);
            matrix_edges(&mut text, &board.matrix, &rows);
            findings(&mut text, board);
        }
        text.into_string()
    }
}

impl Tally {
    fn record(&mut self, attempt: &Attempt, now: Duration) {
        self.attempts += 1;
        if attempt.reason != Reason::Ok {
            *self.failures.entry(attempt.reason).or_default() += 1;
        }
        for (phase, duration) in attempt.phases.named() {
            if let Some(duration) = duration {
                self.phases.entry(phase).or_default().observe(duration.as_secs_f64());
            }
        }
        // `prober_error` means that no probe was made: if it counted as one, PortreeveProbeStale would stay silent.
        if attempt.reason != Reason::ProberError {
            self.last_probe = Some(now.as_secs_f64());
        }
        // An attempt that stops before TLS says nothing about the certificate, so the last one seen stands.
        self.tls_not_after = attempt.tls_not_after().or(self.tls_not_after);
    }
}

impl Durations {
    fn observe(&mut self, seconds: f64) {
        if let Some(index) = BOUNDS.iter().position(|bound| seconds <= *bound) {
            self.buckets[index] += 1;
        }
        self.count += 1;
        self.sum += seconds;
    }

    fn write(&self, family: &mut Family<'_>, labels: &Labels, bounds: &[String; BOUNDS.len()]) {
        let mut below = 0;
        let buckets = bounds.iter().zip(self.buckets).map(|(bound, count)| {
            below += count;
            (bound.as_str(), below)
        });
        family.histogram(labels, buckets, self.count, self.sum);
    }
}

/// One edge in one scrape.
struct Row<'a> {
    edge: &'a EdgeReport,
    /// `matrix` and `edge`, which all its series begin with.
    labels: Labels,
    tally: Option<&'a Tally>,
}

impl<'a> Row<'a> {
    fn new(matrix: &str, edge: &'a EdgeReport, tallies: &'a BTreeMap<String, Tally>) -> Self {
        Self { edge, labels: Labels::new([("matrix", matrix), ("edge", &edge.name)]), tally: tallies.get(&edge.name) }
    }
}

/// What an agent may say.
fn probed(text: &mut Text, rows: &[Row<'_>]) {
    // There at 0 before the first attempt: `increase()` never sees a counter that is born at 1.
    text.family("portreeve_probe_attempts_total", "Probe attempts.", Kind::Counter, |family| {
        for row in rows {
            family.sample(&row.labels, row.tally.map_or(0, |tally| tally.attempts));
        }
    });
    // Born with the first failure: 24 reasons at 0 for every edge would be most of the scrape. Alerts use the state, never this.
    text.family(
        "portreeve_probe_failures_total",
        "Probe attempts that did not end as the conversation should, by reason. On an edge that must not work that is as it should be.",
        Kind::Counter,
        |family| {
            for (row, tally) in tallied(rows) {
                for (reason, count) in &tally.failures {
                    family.sample_with(&row.labels, ("reason", reason.as_str()), count);
                }
            }
        },
    );
    let bounds = BOUNDS.map(|bound| bound.to_string());
    let help = "Duration of each phase of a probe.";
    text.family("portreeve_probe_duration_seconds", help, Kind::Histogram, |family| {
        for (row, tally) in tallied(rows) {
            for (phase, durations) in &tally.phases {
                durations.write(family, &row.labels.with([("phase", *phase)]), &bounds);
            }
        }
    });
    let help = "When an edge was last probed.";
    text.family("portreeve_last_probe_timestamp_seconds", help, Kind::Gauge, |family| {
        for (row, tally) in tallied(rows) {
            if let Some(at) = tally.last_probe {
                family.sample(&row.labels, at);
            }
        }
    });
    let help = "When the certificate that was last shown at an edge ends.";
    text.family("portreeve_tls_not_after_timestamp_seconds", help, Kind::Gauge, |family| {
        for (row, tally) in tallied(rows) {
            if let Some(end) = tally.tls_not_after {
                family.sample(&row.labels, end);
            }
        }
    });
    let help = "1 for what the newest probes of an edge show.";
    text.family("portreeve_observed", help, Kind::Gauge, |family| {
        let observed = |edge: &EdgeReport| edge.observed.unwrap_or(Class::Unknown).as_str();
        one_of(family, rows, "class", Class::ALL.map(Class::as_str), observed);
    });
}

/// What the process says of itself: the probes it makes compete for its places, so one number tells of all.
fn schedule_lag(text: &mut Text, lag: Option<Duration>) {
    let help = "How late the most overdue probe was, in seconds. Grows when there is more to probe than the limits or the processor let through.";
    text.family("portreeve_schedule_lag_seconds", help, Kind::Gauge, |family| {
        if let Some(lag) = lag {
            family.sample(&Labels::default(), lag.as_secs_f64());
        }
    });
}

/// What an agent probes by; the names are those that Prometheus itself has for its own configuration.
fn configured(text: &mut Text, config: Config) {
    let none = Labels::default();
    let help = "1 when the files that the agent probes by are in force as they are; 0 when they cannot be used and older ones are.";
    text.family("portreeve_config_last_reload_successful", help, Kind::Gauge, |family| {
        family.sample(&none, u8::from(config.succeeded));
    });
    let help = "When the files were last taken in.";
    text.family("portreeve_config_last_reload_success_timestamp_seconds", help, Kind::Gauge, |family| {
        if let Some(at) = config.succeeded_at {
            family.sample(&none, at.as_secs_f64());
        }
    });
    let help =
        "The generation of the TrafficMatrix that is probed; 0 before there is one, or when it was made from files.";
    text.family("portreeve_config_generation", help, Kind::Gauge, |family| family.sample(&none, config.generation));
}

/// What only the one who judges may say.
fn judged(text: &mut Text, rows: &[Row<'_>]) {
    text.family("portreeve_edge_state", "1 for the state of an edge.", Kind::Gauge, |family| {
        let state = |edge: &EdgeReport| edge.state.unwrap_or(State::Unknown).as_str();
        one_of(family, rows, "state", State::ALL.map(State::as_str), state);
    });
    let help = "1 for what all policies together say of an edge.";
    text.family("portreeve_declared", help, Kind::Gauge, |family| {
        let declared = |edge: &EdgeReport| edge.declared.unwrap_or(Declared::Unknown).as_str();
        one_of(family, rows, "verdict", Declared::ALL.map(Declared::as_str), declared);
    });
    text.family("portreeve_verdicts_total", "Judgements of an edge, by state.", Kind::Counter, |family| {
        for row in rows {
            for state in State::ALL {
                let count = row.tally.and_then(|tally| tally.verdicts.get(&state)).copied().unwrap_or(0);
                family.sample_with(&row.labels, ("verdict", state.as_str()), count);
            }
        }
    });
    text.family("portreeve_edge_info", "1, with what an edge is.", Kind::Gauge, |family| {
        for Row { edge, labels, .. } in rows {
            let ports: Vec<String> = edge.pod_ports.iter().map(ToString::to_string).collect();
            let labels = labels.with([
                ("expect", edge.expect.as_str()),
                ("tier", &edge.tier.to_string()),
                ("source", &edge.from),
                ("destination", &edge.to),
                ("destination_port", &ports.join(",")),
                ("protocol", edge.protocol),
            ]);
            family.sample(&labels, 1);
        }
    });
}

fn matrix_edges(text: &mut Text, matrix: &str, rows: &[Row<'_>]) {
    let help = "Edges of a matrix, by what is expected of them.";
    text.family("portreeve_matrix_edges", help, Kind::Gauge, |family| {
        for expect in [Expect::Allow, Expect::Deny] {
            let count = rows.iter().filter(|row| row.edge.expect == expect).count();
            family.sample(&Labels::new([("matrix", matrix), ("expect", expect.as_str())]), count);
        }
    });
}

fn findings(text: &mut Text, board: &Board) {
    let mut seen = BTreeSet::new();
    text.family("portreeve_finding_info", "1 for each finding.", Kind::Gauge, |family| {
        for finding in &board.findings {
            // Prometheus takes an empty label for an absent one: such a finding is about the matrix as a whole.
            let edge = finding.edge.as_deref().unwrap_or("");
            if seen.insert((finding.code, edge, finding.object.as_str())) {
                let labels = [
                    ("matrix", board.matrix.as_str()),
                    ("edge", edge),
                    ("code", finding.code.code()),
                    ("object", &finding.object),
                ];
                family.sample(&Labels::new(labels), 1);
            }
        }
    });
}

fn build_info(text: &mut Text, role: Role) {
    let labels = Labels::new([("version", env!("CARGO_PKG_VERSION")), ("role", role.as_str())]);
    let help = "1, with the version and what this process does.";
    text.family("portreeve_build_info", help, Kind::Gauge, |family| family.sample(&labels, 1));
}

/// The edges of which something was counted.
fn tallied<'a>(rows: &'a [Row<'a>]) -> impl Iterator<Item = (&'a Row<'a>, &'a Tally)> {
    rows.iter().filter_map(|row| Some((row, row.tally?)))
}

/// All words of an enum at 0 and the one that holds at 1: a query for any of them always finds a series.
fn one_of<const N: usize>(
    family: &mut Family<'_>,
    rows: &[Row<'_>],
    label: &str,
    words: [&str; N],
    holds: impl Fn(&EdgeReport) -> &'static str,
) {
    for row in rows {
        let holds = holds(row.edge);
        for word in words {
            family.sample_with(&row.labels, (label, word), u8::from(word == holds));
        }
    }
}
