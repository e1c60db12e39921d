//! When to probe what: a state machine without a clock, a socket or randomness.
//!
//! The caller says what time it is (`now`, from a monotonic clock, so that nobody's clock change moves anything), starts what [`Scheduler::start`] gives it, and hands every outcome back to [`Scheduler::finish`]. Each edge has a place of its own in its interval, by its name, so that edges never march in step; a probe that could not be started in time is not made up for later: the delay is the [`Scheduler::lag`].

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher;
use std::time::Duration;

use crate::judge::Reason;
use crate::matrix::{Exchange, Expect};

/// How often, and how many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Probes under way at any time. At least 1.
    pub at_once: usize,
    /// Probes under way to one target. At least 1: a peer should feel no more of us than of any client.
    pub per_target: usize,
    /// Edges that are kept; further ones are refused.
    pub edges: usize,
    /// How far a probe may stray from its beat, in thousandths of the interval, 0 to 500, either way.
    pub jitter: u32,
}

impl Default for Limits {
    /// 16 at once, 2 to one target, 10,000 edges, a tenth of the interval.
    fn default() -> Self {
        Self { at_once: 16, per_target: 2, edges: 10_000, jitter: 100 }
    }
}

/// One thing to be probed again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What is probed together counts against one cap: a host, or an address.
    pub target: String,
    /// From one probe to the next; at least [`SHORTEST`].
    pub interval: Duration,
    /// From one deep probe to the next, if this edge has a deeper step.
    pub deep_interval: Option<Duration>,
    /// The edge must not work. Such probes run one at a time for each source: Linux limits the ICMP messages of a REJECT (6, then one a second), and a sweep would see some as silence.
    pub deny: Option<String>,
}

/// No edge is probed more often.
pub const SHORTEST: Duration = Duration::from_millis(100);

/// The first probe of an edge comes within this time, however seldom the later ones are: whoever starts wants to know.
const FIRST: Duration = Duration::from_secs(15);

/// Longest pause after a peer asked for one.
const LONGEST_PAUSE: Duration = Duration::from_mins(15);

/// A probe that may begin now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// The edge's name.
    pub edge: String,
    /// With the deeper step.
    pub deep: bool,
}

/// What a peer wants of its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hint {
    /// Nothing special: the next probe comes at its time.
    None,
    /// Leave it alone for a while (SMTP 421 and other 4xx, SQLSTATE 28000): the interval doubles each time, up to 15 minutes, and is the usual one again after the first probe without this hint.
    BackOff,
    /// Silence on an edge that must work: it is asked again at once, but only after the first of several, for a lost packet is silence, too.
    Confirm,
}

/// What the end of a probe says about the next.
pub fn hint(exchange: &Exchange, reason: Reason) -> Hint {
    match (exchange, reason) {
        // 421 and other 4xx (`proto_mismatch`), 5xx to a greeting (`proto_auth`): a mail server that is busy, or has enough of us.
        (Exchange::Smtp { .. }, Reason::ProtoMismatch | Reason::ProtoAuth) => Hint::BackOff,
        // SQLSTATE 28000: each further try is a line in its log.
        (Exchange::Postgres { .. }, Reason::ProtoAuth) => Hint::BackOff,
        _ => Hint::None,
    }
}

/// From one probe of an exchange to the next, as a multiple of the shortest interval: how much of the peer it takes, and how much it minds.
pub fn multiple(exchange: &Exchange, expect: Expect) -> u32 {
    match exchange {
        // At 15 s: 5 min.
        Exchange::Smtp { .. } | Exchange::Oidc { .. } => DEEP,
        _ if expect == Expect::Deny => 4,
        Exchange::Synapse { .. }
        | Exchange::MasDiscovery { .. }
        | Exchange::MasPublic { .. }
        | Exchange::MasHealth
        | Exchange::Whoami
        | Exchange::Http { .. } => 4,
        Exchange::Tcp | Exchange::DnsUdp | Exchange::DnsTcp | Exchange::Postgres { .. } => 1,
    }
}

/// The multiple for the deeper step of an exchange: 5 min at 15 s.
pub const DEEP: u32 = 20;

#[derive(Debug)]
struct Entry {
    plan: Plan,
    due: Duration,
    /// When the deeper step is due.
    deep_due: Duration,
    /// Counts beats, so that each strays by another amount.
    beat: u64,
    running: bool,
    /// How many hints to back off came in a row.
    pauses: u32,
    /// The last probe asked for another at once.
    confirming: bool,
}

impl Entry {
    fn pause(&self) -> Duration {
        let interval = self.plan.interval;
        interval.saturating_mul(1 << self.pauses.min(16)).min(LONGEST_PAUSE.max(interval))
    }
}

/// What is due, what is under way, and how late it all is.
#[derive(Debug)]
pub struct Scheduler {
    limits: Limits,
    entries: BTreeMap<String, Entry>,
    /// Ordered by the time at which they are due; what is under way is not in here.
    queue: BTreeSet<(Duration, String)>,
    running: usize,
    per_target: BTreeMap<String, usize>,
    /// Sources whose one probe that must fail is under way.
    denying: BTreeSet<String>,
    /// The latest time that was told; earlier ones are taken for it.
    now: Duration,
    lag: Duration,
}

impl Scheduler {
    /// Nothing to probe yet.
    pub fn new(limits: Limits) -> Self {
        let limits = Limits {
            at_once: limits.at_once.max(1),
            per_target: limits.per_target.max(1),
            jitter: limits.jitter.min(500),
            ..limits
        };
        Self {
            limits,
            entries: BTreeMap::new(),
            queue: BTreeSet::new(),
            running: 0,
            per_target: BTreeMap::new(),
            denying: BTreeSet::new(),
            now: Duration::ZERO,
            lag: Duration::ZERO,
        }
    }

    /// Takes an edge in. Its first probe comes within its interval from `now`, and within 15 s, at a place by its name. `false` when there is no room for it, or it is already there.
    pub fn insert(&mut self, edge: &str, plan: Plan, now: Duration) -> bool {
        self.tick(now);
        if self.entries.len() >= self.limits.edges || self.entries.contains_key(edge) {
            return false;
        }
        let plan = Plan { interval: plan.interval.max(SHORTEST), ..plan };
        let due = self.now.saturating_add(share(plan.interval.min(FIRST), spread(edge, 0)));
        self.queue.insert((due, edge.to_owned()));
        self.entries.insert(
            edge.to_owned(),
            Entry { plan, due, deep_due: Duration::ZERO, beat: 0, running: false, pauses: 0, confirming: false },
        );
        true
    }

    /// Forgets an edge. A probe of it that is under way still counts against the caps until its [`Scheduler::finish`]; until then its name is taken.
    pub fn remove(&mut self, edge: &str) {
        let Some(entry) = self.entries.get_mut(edge) else { return };
        if entry.running {
            entry.plan.interval = Duration::ZERO;
        } else {
            self.queue.remove(&(entry.due, edge.to_owned()));
            self.entries.remove(edge);
        }
    }

    /// The next probe that may begin, if one is due and no cap forbids it. To be called until it gives none.
    pub fn start(&mut self, now: Duration) -> Option<Start> {
        self.tick(now);
        self.lag = self.queue.first().map_or(Duration::ZERO, |(due, _)| self.now.saturating_sub(*due));
        if self.running >= self.limits.at_once {
            return None;
        }
        let due = self.queue.range(..(self.now.saturating_add(Duration::from_nanos(1)), String::new()));
        // The most overdue first, but one crowded target does not hold up the others.
        let (due, edge) = due.into_iter().find(|(_, edge)| self.may_run(edge))?.clone();
        self.queue.remove(&(due, edge.clone()));
        let entry = self.entries.get_mut(&edge)?;
        entry.running = true;
        self.running += 1;
        *self.per_target.entry(entry.plan.target.clone()).or_default() += 1;
        self.denying.extend(entry.plan.deny.clone());
        let deep = entry.plan.deep_interval.filter(|_| entry.deep_due <= self.now);
        if let Some(interval) = deep {
            entry.deep_due = self.now.saturating_add(interval);
        }
        Some(Start { edge, deep: deep.is_some() })
    }

    /// A probe ended. What was not under way is passed over.
    pub fn finish(&mut self, edge: &str, hint: Hint, now: Duration) {
        self.tick(now);
        let Some(entry) = self.entries.get_mut(edge).filter(|entry| entry.running) else { return };
        entry.running = false;
        self.running -= 1;
        if let Some(count) = self.per_target.get_mut(&entry.plan.target) {
            *count -= 1;
            if *count == 0 {
                self.per_target.remove(&entry.plan.target);
            }
        }
        if let Some(source) = &entry.plan.deny {
            self.denying.remove(source);
        }
        if entry.plan.interval.is_zero() {
            self.entries.remove(edge);
            return;
        }
        entry.beat += 1;
        entry.pauses = if hint == Hint::BackOff { entry.pauses.saturating_add(1) } else { 0 };
        let doubts = hint == Hint::Confirm && !entry.confirming;
        entry.confirming = hint == Hint::Confirm;
        let pause = entry.pause();
        // From the beat, not from the end of the probe, so that long probes do not shift it; but never in the past: what was missed is not made up for.
        let step = jittered(pause, self.limits.jitter, spread(edge, entry.beat));
        entry.due = if doubts { self.now } else { entry.due.saturating_add(step).max(self.now) };
        self.queue.insert((entry.due, edge.to_owned()));
    }

    /// The next probe of this edge is deep as well, if it has a deeper step: what only that step shows must not be hidden by the shallow probes that follow.
    pub fn deepen(&mut self, edge: &str) {
        if let Some(entry) = self.entries.get_mut(edge) {
            entry.deep_due = Duration::ZERO;
        }
    }

    /// From the last probe of this edge to the next, without jitter: longer than its interval while its peer wants a pause.
    pub fn pace(&self, edge: &str) -> Option<Duration> {
        self.entries.get(edge).map(Entry::pause)
    }

    /// When to call [`Scheduler::start`] again, if nothing ends before; `None` when only an end can help.
    pub fn wake(&self) -> Option<Duration> {
        if self.running >= self.limits.at_once {
            return None;
        }
        // What is due and held up by a cap waits for an end, not for a time.
        let next = self.queue.iter().find(|(due, edge)| *due > self.now || self.may_run(edge));
        next.map(|(due, _)| (*due).max(self.now))
    }

    /// How long the most overdue probe has waited, as of the last [`Scheduler::start`]. Zero when all is in time.
    pub fn lag(&self) -> Duration {
        self.lag
    }

    /// Whether a probe of this edge is under way.
    pub fn is_running(&self, edge: &str) -> bool {
        self.entries.get(edge).is_some_and(|entry| entry.running)
    }

    /// Probes under way.
    pub fn running(&self) -> usize {
        self.running
    }

    fn may_run(&self, edge: &str) -> bool {
        self.entries.get(edge).is_some_and(|entry| {
            let room = self.per_target.get(&entry.plan.target).is_none_or(|count| *count < self.limits.per_target);
            room && entry.plan.deny.as_ref().is_none_or(|source| !self.denying.contains(source))
        })
    }

    /// Time never goes back, whatever a caller's clock does.
    fn tick(&mut self, now: Duration) {
        self.now = self.now.max(now);
    }
}

/// A number by the edge's name and its beat, the same in every run: FNV-1a, then mixed as in SplitMix64, for names differ little.
fn spread(edge: &str, beat: u64) -> u32 {
    let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
    hash.write(edge.as_bytes());
    hash.write(&beat.to_le_bytes());
    let mixed = (hash.finish() ^ (hash.finish() >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    u32::try_from((mixed ^ (mixed >> 27)) >> 32).unwrap_or(u32::MAX)
}

struct Fnv(u64);

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The `part`/2³² of a duration.
fn share(duration: Duration, part: u32) -> Duration {
    let nanos = (duration.as_nanos() * u128::from(part)) >> 32;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// `interval`, shorter or longer by at most `jitter` thousandths.
fn jittered(interval: Duration, jitter: u32, part: u32) -> Duration {
    let most = interval / 1000 * jitter;
    interval.saturating_sub(most).saturating_add(share(most * 2, part))
}

/// Two-way hysteresis: a shown value changes only when the newest `need` of the last `window` say so; every attempt is still counted by whoever counts.
#[derive(Debug, Clone)]
pub struct Damper<T> {
    need: usize,
    window: usize,
    recent: std::collections::VecDeque<T>,
    shown: Option<T>,
}

impl<T: Copy + PartialEq> Damper<T> {
    /// `need` of the last `window` (1 ≤ `need` ≤ `window` ≤ 64; other values are brought into range). The first value is shown at once: there is nothing to hold on to.
    pub fn new(need: usize, window: usize) -> Self {
        let window = window.clamp(1, 64);
        Self {
            need: need.clamp(1, window),
            window,
            recent: std::collections::VecDeque::with_capacity(window),
            shown: None,
        }
    }

    /// Takes a value in and gives the one to show.
    pub fn push(&mut self, value: T) -> T {
        if self.recent.len() == self.window {
            self.recent.pop_front();
        }
        self.recent.push_back(value);
        let votes = self.recent.iter().filter(|seen| **seen == value).count();
        let shown = match self.shown {
            Some(shown) if votes < self.need => shown,
            _ => value,
        };
        self.shown = Some(shown);
        shown
    }

    /// What is shown now.
    pub fn shown(&self) -> Option<T> {
        self.shown
    }
}

#[cfg(test)]
mod tests;
