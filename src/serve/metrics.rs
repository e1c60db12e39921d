//! The metrics of product.md §6 in Prometheus text format 0.0.4.
//!
//! Counts are kept here; everything else is read from the [`Board`] at the scrape, so no gauge can be older than the board and an edge's series
//! vanish with the edge. The counts are plain numbers under one lock, in the `prometheus` crate's data model and written by its encoder: its
//! registry keeps a series until somebody removes every label combination of it by hand, and its constructors can fail.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use prometheus::TextEncoder;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

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

/// The counts of one process.
#[derive(Debug)]
pub struct Metrics {
    role: Role,
    /// matrix → edge → counts.
    tallies: Mutex<BTreeMap<String, BTreeMap<String, Tally>>>,
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
        Self { role, tallies: Mutex::default() }
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

    fn with(&self, matrix: &str, edge: &str, change: impl FnOnce(&mut Tally)) {
        let mut tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        change(tallies.entry(matrix.to_owned()).or_default().entry(edge.to_owned()).or_default());
    }

    /// The text of one scrape: one row of series for each edge of the board, and nothing about any other edge.
    pub fn render(&self, board: &Board) -> String {
        // A second edge of the same name would make a second series of the same labels, and Prometheus would drop the whole scrape.
        let mut names = BTreeSet::new();
        let edges: Vec<&EdgeReport> = board.edges.iter().filter(|edge| names.insert(edge.name.as_str())).collect();
        let mut families = vec![build_info(self.role)];
        {
            let mut tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
            let mut none = BTreeMap::new();
            let tallies = tallies.get_mut(&board.matrix).unwrap_or(&mut none);
            tallies.retain(|name, _| names.contains(name.as_str()));
            let rows = Rows { matrix: &board.matrix, edges: &edges, tallies };
            if self.role != Role::Controller {
                families.extend(rows.probed());
            }
            if self.role != Role::Agent {
                families.extend(rows.judged());
                families.push(findings(board));
            }
        }
        families.retain(|family| !family.get_metric().is_empty());
        TextEncoder::new().encode_to_string(&families).unwrap_or_else(|error| {
            tracing::error!(%error, "the metrics could not be written");
            String::new()
        })
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
        self.tls_not_after = attempt.tls_not_after.or(self.tls_not_after);
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

    fn histogram(&self) -> Histogram {
        let mut below = 0;
        let buckets = BOUNDS.iter().zip(self.buckets).map(|(bound, count)| {
            below += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(below);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(self.count);
        histogram.set_sample_sum(self.sum);
        histogram
    }
}

/// The per-edge series of one scrape.
struct Rows<'a> {
    matrix: &'a str,
    edges: &'a [&'a EdgeReport],
    tallies: &'a BTreeMap<String, Tally>,
}

impl<'a> Rows<'a> {
    /// What an agent may say.
    fn probed(&self) -> [MetricFamily; 6] {
        [
            // There at 0 before the first attempt: `increase()` never sees a counter that is born at 1.
            family(
                "probe_attempts_total",
                "Probe attempts.",
                MetricType::COUNTER,
                self.each(|edge, out| {
                    out.push((vec![], counter(self.tally(edge).map_or(0, |tally| tally.attempts))));
                }),
            ),
            // Born with the first failure: 24 reasons at 0 for every edge would be most of the scrape. Alerts use the state, never this.
            family(
                "probe_failures_total",
                "Probe attempts that did not end as the conversation should, by reason. On an edge that must not work that is as it should be.",
                MetricType::COUNTER,
                self.each(|edge, out| {
                    for (reason, count) in self.tally(edge).iter().flat_map(|tally| &tally.failures) {
                        out.push((vec![("reason", reason.as_str())], counter(*count)));
                    }
                }),
            ),
            family(
                "probe_duration_seconds",
                "Duration of each phase of a probe.",
                MetricType::HISTOGRAM,
                self.each(|edge, out| {
                    for (phase, durations) in self.tally(edge).iter().flat_map(|tally| &tally.phases) {
                        let mut metric = Metric::default();
                        metric.set_histogram(durations.histogram());
                        out.push((vec![("phase", *phase)], metric));
                    }
                }),
            ),
            family(
                "last_probe_timestamp_seconds",
                "When an edge was last probed.",
                MetricType::GAUGE,
                self.each(|edge, out| {
                    out.extend(self.tally(edge).and_then(|tally| tally.last_probe).map(|at| (vec![], gauge(at))));
                }),
            ),
            family(
                "tls_not_after_timestamp_seconds",
                "When the certificate that was last shown at an edge ends.",
                MetricType::GAUGE,
                self.each(|edge, out| {
                    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit 53 bits")]
                    let end = self.tally(edge).and_then(|tally| tally.tls_not_after).map(|end| end as f64);
                    out.extend(end.map(|end| (vec![], gauge(end))));
                }),
            ),
            family(
                "observed",
                "1 for what the newest probes of an edge show.",
                MetricType::GAUGE,
                self.one_of("class", Class::ALL.map(Class::as_str), |edge| {
                    edge.observed.unwrap_or(Class::Unknown).as_str()
                }),
            ),
        ]
    }

    /// What only the one who judges may say.
    fn judged(&self) -> [MetricFamily; 5] {
        [
            family(
                "edge_state",
                "1 for the state of an edge.",
                MetricType::GAUGE,
                self.one_of("state", State::ALL.map(State::as_str), |edge| {
                    edge.state.unwrap_or(State::Unknown).as_str()
                }),
            ),
            family(
                "declared",
                "1 for what all policies together say of an edge.",
                MetricType::GAUGE,
                self.one_of("verdict", Declared::ALL.map(Declared::as_str), |edge| {
                    edge.declared.unwrap_or(Declared::Unknown).as_str()
                }),
            ),
            family(
                "verdicts_total",
                "Judgements of an edge, by state.",
                MetricType::COUNTER,
                self.each(|edge, out| {
                    for state in State::ALL {
                        let count = self.tally(edge).and_then(|tally| tally.verdicts.get(&state)).copied().unwrap_or(0);
                        out.push((vec![("verdict", state.as_str())], counter(count)));
                    }
                }),
            ),
            family("edge_info", "1, with what an edge is.", MetricType::GAUGE, self.each_info()),
            family("matrix_edges", "Edges of a matrix, by what is expected of them.", MetricType::GAUGE, {
                let of = |expect| self.edges.iter().filter(|edge| edge.expect == expect).count();
                [Expect::Allow, Expect::Deny]
                    .map(|expect| {
                        let count = u32::try_from(of(expect)).unwrap_or(u32::MAX);
                        labelled(gauge(count.into()), [("matrix", self.matrix), ("expect", expect.as_str())])
                    })
                    .into()
            }),
        ]
    }

    fn each_info(&self) -> Vec<Metric> {
        let info = |edge: &&EdgeReport| {
            let ports: Vec<String> = edge.pod_ports.iter().map(ToString::to_string).collect();
            let tier = edge.tier.to_string();
            labelled(
                gauge(1.0),
                [
                    ("matrix", self.matrix),
                    ("edge", &edge.name),
                    ("expect", edge.expect.as_str()),
                    ("tier", &tier),
                    ("source", &edge.from),
                    ("destination", &edge.to),
                    ("destination_port", &ports.join(",")),
                    ("protocol", edge.protocol),
                ],
            )
        };
        self.edges.iter().map(info).collect()
    }

    fn tally(&self, edge: &EdgeReport) -> Option<&'a Tally> {
        self.tallies.get(&edge.name)
    }

    /// The samples of every edge, each with `matrix` and `edge` in front.
    fn each(&self, samples: impl Fn(&EdgeReport, &mut Vec<(Vec<(&str, &str)>, Metric)>)) -> Vec<Metric> {
        let mut out = Vec::new();
        let mut own = Vec::new();
        for edge in self.edges {
            samples(edge, &mut own);
            for (labels, metric) in own.drain(..) {
                out.push(labelled(metric, [("matrix", self.matrix), ("edge", &edge.name)].into_iter().chain(labels)));
            }
        }
        out
    }

    /// All words of an enum at 0 and the one that holds at 1: a query for any of them always finds a series.
    fn one_of<const N: usize>(
        &self,
        label: &'static str,
        words: [&'static str; N],
        holds: impl Fn(&EdgeReport) -> &'static str,
    ) -> Vec<Metric> {
        self.each(|edge, out| {
            let holds = holds(edge);
            out.extend(words.map(|word| (vec![(label, word)], gauge(f64::from(u8::from(word == holds))))));
        })
    }
}

fn findings(board: &Board) -> MetricFamily {
    let mut seen = BTreeSet::new();
    let mut samples = Vec::new();
    for finding in &board.findings {
        // Prometheus takes an empty label for an absent one: such a finding is about the matrix as a whole.
        let edge = finding.edge.as_deref().unwrap_or("");
        if seen.insert((finding.code, edge, finding.object.as_str())) {
            samples.push(labelled(
                gauge(1.0),
                [
                    ("matrix", board.matrix.as_str()),
                    ("edge", edge),
                    ("code", finding.code.code()),
                    ("object", &finding.object),
                ],
            ));
        }
    }
    family("finding_info", "1 for each finding.", MetricType::GAUGE, samples)
}

fn build_info(role: Role) -> MetricFamily {
    let labels = [("version", env!("CARGO_PKG_VERSION")), ("role", role.as_str())];
    family(
        "build_info",
        "1, with the version and what this process does.",
        MetricType::GAUGE,
        vec![labelled(gauge(1.0), labels)],
    )
}

fn family(name: &str, help: &str, kind: MetricType, samples: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(format!("portreeve_{name}"));
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(samples);
    family
}

fn labelled<'a>(mut metric: Metric, labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Metric {
    let pair = |(name, value): (&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value.to_owned());
        pair
    };
    metric.set_label(labels.into_iter().map(pair).collect());
    metric
}

fn gauge(value: f64) -> Metric {
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    Metric::from_gauge(gauge)
}

fn counter(value: u64) -> Metric {
    let mut counter = Counter::default();
    #[expect(clippy::cast_precision_loss, reason = "the format's numbers are floats")]
    counter.set_value(value as f64);
    let mut metric = Metric::default();
    metric.set_counter(counter);
    metric
}
