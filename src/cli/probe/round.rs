//! One round of probes: tasks, conversations, and what they mean together.

use std::collections::{BTreeMap, BTreeSet};

use crate::finding::Finding;
use crate::judge::{Attempt, Board, EdgeReport, Mode, Observation, Reason, audit::audit, join};
use crate::load::inputs::Inputs;
use crate::matrix::{Exchange, Expect, Party, ResolvedEdge};
use crate::observe::{DENY_TIMEOUT, Means, Task, converse_all, dials};
use crate::policy::Engine;

/// Rows without what is observed, and the findings of the policies.
pub(super) type Rows = (Vec<EdgeReport>, Vec<Finding>);

/// Everything one round needs.
pub(in crate::cli) struct Round {
    pub(in crate::cli) inputs: Inputs,
    pub(in crate::cli) means: Means,
    /// Edges named by the user; empty: those that mean something from anywhere.
    pub(in crate::cli) chosen: Vec<String>,
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
        let mut findings = join(&mut rows, observed, &audited, Mode::Enforce);
        findings.extend(self.inputs.left_out());
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

    /// What each edge must be.
    pub(super) fn expected(&self) -> BTreeMap<&str, Expect> {
        let edges = self.inputs.resolution.edges.iter().map(|resolved| &resolved.edge);
        edges.map(|edge| (edge.name.as_str(), edge.expect)).collect()
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
        let edges = &self.inputs.resolution.edges;
        let is_closed = |task: &Task| {
            edges.iter().any(|resolved| resolved.edge.name == task.edge && resolved.edge.expect == Expect::Deny)
        };
        let (closed, open): (Vec<Task>, Vec<Task>) = self.tasks().into_iter().partition(is_closed);
        let mut attempts = converse_all(&self.means, open).await;
        // One at a time: of many rejections at once the kernel drops some (`icmp_ratemask`), and they would look like silence.
        for task in closed {
            attempts.extend(converse_all(&self.means, vec![task]).await);
        }
        let made: BTreeSet<String> = attempts.iter().map(|attempt| attempt.edge.clone()).collect();
        for resolved in self.inputs.resolution.edges.iter().filter(|resolved| self.is_chosen(resolved)) {
            if !made.contains(&resolved.edge.name) {
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
        let now = jiff::Timestamp::now().as_second();
        for resolved in &self.inputs.resolution.edges {
            let Some(observation) = observed.get_mut(&resolved.edge.name) else { continue };
            observation.source_has_network = alive;
            let Some(world) = &self.inputs.world else { continue };
            observation.target_up = resolved.readiness(world);
            observation.unready = resolved.unready(world);
            observation.settling = resolved.is_settling(world, now);
        }
    }
}
