//! One round of probes: tasks, conversations, and what they mean together.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::finding::Finding;
use crate::judge::{Attempt, Board, EdgeReport, Mode, Observation, Reason, audit::audit, join};
use crate::load::inputs::Inputs;
use crate::matrix::{Exchange, Expect, Party, ResolvedEdge};
use crate::observe::{self, DENY_TIMEOUT, Dial, Prober, ResolvConf, Target, dials};
use crate::policy::Engine;

/// Probes that run at the same time.
const AT_ONCE: usize = 16;

/// What conversations are had with.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Means {
    pub(in crate::cli) prober: Arc<Prober>,
    pub(in crate::cli) resolv: Arc<ResolvConf>,
    pub(in crate::cli) deadline: Duration,
}

/// Rows without what is observed, and the findings of the policies.
pub(super) type Rows = (Vec<EdgeReport>, Vec<Finding>);

/// Everything one round needs.
pub(in crate::cli) struct Round {
    pub(in crate::cli) inputs: Inputs,
    pub(in crate::cli) means: Means,
    /// Edges named by the user; empty: those that mean something from anywhere.
    pub(in crate::cli) chosen: Vec<String>,
}

/// One conversation to have.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) edge: String,
    pub(super) dial: Dial,
    pub(super) exchange: Exchange,
    pub(super) deadline: Duration,
    /// With the step that is to be done seldom.
    pub(super) deep: bool,
}

impl Round {
    /// Probes once and joins what is known.
    pub(in crate::cli) async fn run(&self) -> Board {
        let mut observed: BTreeMap<String, Observation> = BTreeMap::new();
        for attempt in self.attempts().await {
            observed.entry(attempt.edge.clone()).or_default().attempts.push(attempt);
        }
        self.judge(&self.declared(), &mut observed)
    }

    /// Joins what was declared and what was observed.
    pub(super) fn judge(&self, declared: &Rows, observed: &mut BTreeMap<String, Observation>) -> Board {
        let (mut rows, audited) = declared.clone();
        self.evidence(observed);
        let findings = join(&mut rows, observed, &audited, Mode::Enforce);
        rows.retain(|row| observed.contains_key(&row.name));
        let mut probes: Vec<Attempt> = observed.values().flat_map(|o| o.attempts.iter().cloned()).collect();
        probes.sort_by(|a, b| (&a.edge, a.address).cmp(&(&b.edge, b.address)));
        let notes = self.inputs.intent.notes.clone();
        Board { matrix: self.matrix(), edges: rows, findings, probes, notes, changes: Vec::new() }
    }

    /// `namespace/name`.
    pub(super) fn matrix(&self) -> String {
        self.inputs.name.to_string()
    }

    /// What a chosen edge must be.
    pub(super) fn expect(&self, edge: &str) -> Option<Expect> {
        self.inputs.resolution.edges.iter().find(|resolved| resolved.edge.name == edge).map(|r| r.edge.expect)
    }

    /// Rows, with their declared fact where manifests were given.
    pub(super) fn declared(&self) -> Rows {
        let inputs = &self.inputs;
        let Some(world) = &inputs.world else {
            return (crate::cli::matrix::rows(inputs), Vec::new());
        };
        let engine = Engine::new(world, &inputs.policies);
        let audited = audit(&inputs.resolution, world, &inputs.policies, &engine, &inputs.name);
        (audited.edges, audited.findings)
    }

    fn is_chosen(&self, resolved: &ResolvedEdge) -> bool {
        let edge = &resolved.edge;
        if self.chosen.is_empty() {
            let ours = edge.from.contains(&Party::Subject) || edge.exchange == Exchange::Whoami;
            ours && edge.expect == Expect::Allow
        } else {
            self.chosen.contains(&edge.name)
        }
    }

    pub(super) fn tasks(&self) -> Vec<Task> {
        let inputs = &self.inputs;
        let servers = &self.means.resolv.nameservers;
        let mut tasks = Vec::new();
        for resolved in inputs.resolution.edges.iter().filter(|resolved| self.is_chosen(resolved)) {
            let edge = &resolved.edge;
            // Whether Synapse reaches MAS is asked at Synapse, where MAS reaches it.
            let asked = match edge.exchange {
                Exchange::Whoami => {
                    inputs.resolution.edges.iter().find(|e| matches!(e.edge.exchange, Exchange::Synapse { .. }))
                }
                _ => Some(resolved),
            };
            let deadline =
                if edge.expect == Expect::Deny { self.means.deadline.max(DENY_TIMEOUT) } else { self.means.deadline };
            let task =
                |dial| Task { edge: edge.name.clone(), dial, exchange: edge.exchange.clone(), deadline, deep: true };
            let found = asked.map_or(Vec::new(), |asked| dials(asked, inputs.world.as_ref(), servers));
            tasks.extend(found.into_iter().map(task));
        }
        tasks
    }

    pub(super) async fn attempts(&self) -> Vec<Attempt> {
        let mut attempts = converse_all(&self.means, self.tasks()).await;
        for resolved in self.inputs.resolution.edges.iter().filter(|resolved| self.is_chosen(resolved)) {
            if !attempts.iter().any(|attempt| attempt.edge == resolved.edge.name) {
                attempts.push(Attempt::not_made(
                    &resolved.edge.name,
                    Reason::ProberError,
                    "no source says where it goes: see `portreeve matrix`",
                ));
            }
        }
        attempts
    }

    /// What one edge's probes cannot know: Ready endpoints from the manifests, and whether anything answered at all.
    fn evidence(&self, observed: &mut BTreeMap<String, Observation>) {
        let alive = observed.values().flat_map(|o| &o.attempts).any(|attempt| attempt.reason.is_from_outside());
        for resolved in &self.inputs.resolution.edges {
            let Some(observation) = observed.get_mut(&resolved.edge.name) else { continue };
            observation.source_has_network = alive;
            observation.second_hand = resolved.edge.exchange == Exchange::Whoami;
            observation.target_up = self.inputs.world.as_ref().and_then(|world| resolved.readiness(world));
        }
    }
}

/// Has all conversations, a few at a time. Attempts come in the order in which they end.
pub(super) async fn converse_all(means: &Means, tasks: Vec<Task>) -> Vec<Attempt> {
    let mut waiting = tasks.into_iter();
    let mut attempts: Vec<Attempt> = Vec::new();
    let mut running = JoinSet::new();
    loop {
        while running.len() < AT_ONCE {
            let Some(task) = waiting.next() else { break };
            running.spawn(converse(means.clone(), task));
        }
        match running.join_next().await {
            Some(Ok(done)) => attempts.extend(done),
            Some(Err(_)) => {}
            None => return attempts,
        }
    }
}

/// Resolves if need be, and has the conversation with every address.
pub(super) async fn converse(means: Means, task: Task) -> Vec<Attempt> {
    let Means { prober, resolv, .. } = means;
    let target = |address| Target { deep: task.deep, ..Target::new(task.edge.clone(), address, task.exchange.clone()) };
    match &task.dial {
        Dial::Address { address, host } => {
            let target = Target { host: host.clone(), ..target(*address) };
            vec![prober.probe(&target, task.deadline).await]
        }
        Dial::Name { host, port } => {
            let started = tokio::time::Instant::now();
            match observe::resolve(host, &resolv, task.deadline).await {
                Err((reason, detail)) => {
                    let mut attempt = Attempt::not_made(&task.edge, reason, &detail);
                    attempt.phases.resolve = Some(started.elapsed());
                    vec![attempt]
                }
                Ok(addresses) => {
                    let resolve = started.elapsed();
                    let mut attempts = Vec::new();
                    for address in addresses {
                        let target = target(SocketAddr::new(address, *port)).named(host.clone());
                        let mut attempt = prober.probe(&target, task.deadline).await;
                        attempt.phases.resolve = Some(resolve);
                        attempts.push(attempt);
                    }
                    attempts
                }
            }
        }
    }
}
