//! `probe --watch`: again and again, as an exporter.
//!
//! The scheduler says what to probe when; every attempt is counted, and what is shown changes only when two of the last three say so.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::round::{Round, Rows};
use super::{Done, Exit};
use crate::cli::signals;
use crate::finding::Finding;
use crate::judge::{Attempt, Board, Observation, State};
use crate::observe::patrol::{self, Patrol};
use crate::observe::schedule::{self, Damper, Limits};
use crate::serve::{self, Role, Shared, Surface};

/// A state changes when so many of the last so many judgements say so: one confirmation, and one lost packet in between.
const VOTES: (usize, usize) = (2, 3);

/// What was found is shown so much later at the latest: judging looks at every edge, and of thousands it cannot do so after each probe.
const DELAY: Duration = Duration::from_secs(1);

pub(super) async fn watch(round: &Round, interval: Duration, listen: SocketAddr) -> anyhow::Result<Done> {
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    let shared = Arc::new(Shared::new(Role::Both));
    let mut stop = signals::stop()?;
    let address = listener.local_addr()?;
    let _ = std::io::Write::write_all(
        &mut std::io::stderr(),
        format!("portreeve probe: http://{address}/metrics\n").as_bytes(),
    );
    let mut tasks = JoinSet::new();
    tasks.spawn(serve::serve(listener, Arc::clone(&shared), Surface::Metrics, std::future::pending()));
    tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => {}
        ended = tasks.join_next() => anyhow::bail!("the listener ended by itself ({ended:?})"),
        never = probe_on(round, interval, &shared) => match never {},
    }
    shared.set_ready(false);
    tasks.shutdown().await;
    Ok(Done { text: String::new(), exit: Exit::Fine })
}

/// Probes for ever.
async fn probe_on(round: &Round, interval: Duration, shared: &Shared) -> std::convert::Infallible {
    let mut shown = Shown::new(round);
    // All at once at first, so that there is something to show; from then on each edge at its own time.
    let attempts = round.attempts().await;
    shown.take(attempts, shared);
    shown.publish(shared);
    shared.set_ready(true);
    let mut patrol = Patrol::new(round.means.clone(), Limits::default());
    let rounds = patrol::Round::by_edge(round.tasks()).into_iter();
    let (expected, deep_interval) = (round.expected(), interval * schedule::DEEP);
    patrol.set(
        rounds
            .filter_map(|(edge, tasks)| {
                let expect = *expected.get(edge.as_str())?;
                Some((edge, patrol::Round { tasks, expect, interval, deep_interval }))
            })
            .collect(),
    );
    // Sooner than an edge's next probe, for each probe has a vote.
    let delay = DELAY.min(interval / 2);
    let mut publish_at = None;
    loop {
        tokio::select! {
            biased;
            () = patrol::until(publish_at) => {
                publish_at = None;
                shown.publish(shared);
            }
            (_, attempts) = patrol.next() => {
                shared.metrics.schedule_lag(patrol.lag());
                shown.take(attempts, shared);
                publish_at.get_or_insert_with(|| Instant::now() + delay);
            }
        }
    }
}

/// What is known of every edge, and what is shown of it.
struct Shown<'a> {
    round: &'a Round,
    declared: Rows,
    observed: BTreeMap<String, Observation>,
    /// Edges that were probed since the last judgement.
    fresh: BTreeSet<String>,
    edges: BTreeMap<String, Held>,
}

/// One edge's state as it is shown.
struct Held {
    damper: Damper<State>,
    finding: Option<Finding>,
}

impl<'a> Shown<'a> {
    fn new(round: &'a Round) -> Self {
        let (observed, fresh, edges) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        Self { round, declared: round.declared(), observed, fresh, edges }
    }

    /// Takes new attempts in, each edge's all at once.
    fn take(&mut self, attempts: Vec<Attempt>, shared: &Shared) {
        let matrix = self.round.matrix();
        let mut found: BTreeMap<String, Vec<Attempt>> = BTreeMap::new();
        for attempt in attempts {
            shared.metrics.record(&matrix, &attempt);
            found.entry(attempt.edge.clone()).or_default().push(attempt);
        }
        for (edge, attempts) in found {
            self.fresh.insert(edge.clone());
            self.observed.entry(edge).or_default().attempts = attempts;
        }
    }

    /// Judges what was taken in, and publishes what follows.
    fn publish(&mut self, shared: &Shared) {
        let matrix = self.round.matrix();
        let mut board = self.round.judge(&self.declared, &mut self.observed);
        let fresh = std::mem::take(&mut self.fresh);
        for row in board.edges.iter().filter(|row| fresh.contains(&row.name)) {
            if let Some(state) = row.state {
                shared.metrics.verdict(&matrix, &row.name, state);
            }
        }
        self.damp(&mut board, &fresh);
        shared.publish(board);
    }

    /// Puts the damped states in the place of the newest. Only edges that were probed now have a new vote.
    fn damp(&mut self, board: &mut Board, fresh: &BTreeSet<String>) {
        for row in &mut board.edges {
            let Some(newest) = row.state else { continue };
            let new = || Held { damper: Damper::new(VOTES.0, VOTES.1), finding: None };
            let held = self.edges.entry(row.name.clone()).or_insert_with(new);
            let probed = fresh.contains(&row.name);
            let state = if probed { held.damper.push(newest) } else { held.damper.shown().unwrap_or(newest) };
            if state == newest {
                held.finding.clone_from(&row.finding);
                continue;
            }
            row.state = Some(state);
            board.findings.retain(|finding| finding.edge.as_deref() != Some(&row.name));
            row.finding.clone_from(&held.finding);
            board.findings.extend(held.finding.clone());
        }
    }
}
