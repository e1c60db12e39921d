//! Never lock out (promise 4): what must not be cut is asked before and after the step, all policies together and at both ends.

use super::{Effect, Held, Plan, Situation, object};
use crate::finding::{Code, Finding};
use crate::judge::audit::audit;
use crate::judge::diff::diff;
use crate::judge::{Declared, EdgeReport};
use crate::matrix::resolve::{if_private, resolve, shown};
use crate::matrix::{Expect, Intent, Resolution, ResolvedEdge, derive};
use crate::policy::{Engine, PolicySet};

/// Why an edge is asked.
enum Asked {
    /// It is needed. The agents' and Prometheus' paths are edges like the others.
    Needed,
    /// The same to a host's private addresses, as far as nobody knows which the host has.
    IfPrivate {
        /// Which of the needed ones.
        edge: usize,
        /// Why it is not known.
        because: String,
    },
    /// Not the matrix says so, but the objects: MAS is reached there.
    Shown,
}

pub(super) fn weigh(plan: &mut Plan, situation: &Situation<'_>, after: &PolicySet) {
    let engine = |policies| Engine::new(situation.world, policies).with_dialect(situation.dialect);
    let (before, after) = (engine(situation.policies), engine(after));
    let (needed, asked) = needed(situation);
    let judge = |engine: &Engine<'_>| audit(&needed, situation.world, engine.policies(), engine, situation.name);
    let (was, becomes) = (judge(&before), judge(&after));
    let mut effects: Vec<(Effect, &EdgeReport)> = Vec::new();
    for ((was, becomes), asked) in was.edges.iter().zip(&becomes.edges).zip(&asked) {
        let says = |report: &EdgeReport| report.declared.unwrap_or(Declared::Unknown);
        let (now, then) = (says(was), says(becomes));
        match asked {
            Asked::Needed => {
                let (edge, because) = (was.name.clone(), becomes.because.clone());
                effects.push((Effect { edge, before: now, after: then, because }, becomes));
            }
            Asked::IfPrivate { edge, because } => {
                let Some((effect, _)) = effects.get_mut(*edge) else { continue };
                let weaker = |sure: Declared, private: Declared| match (sure, private) {
                    (Declared::Allowed, Declared::Denied | Declared::Unknown) => Declared::Unknown,
                    (sure, _) => sure,
                };
                effect.before = weaker(effect.before, now);
                let known = effect.after;
                effect.after = weaker(known, then);
                if effect.after != known {
                    effect.because.clone_from(because);
                }
            }
            Asked::Shown if now != Declared::Denied && then == Declared::Denied => {
                plan.held.push(Held::Wrong(Box::new(listener_cut(plan, becomes))));
            }
            Asked::Shown => {}
        }
    }
    for (effect, report) in effects {
        match (effect.before, effect.after) {
            (Declared::Allowed | Declared::Unknown, Declared::Denied) => {
                plan.held.push(Held::Wrong(Box::new(lock_out(plan, &effect, &report.breaks))));
            }
            (_, Declared::Unknown) => plan.unproven.push(effect.edge.clone()),
            _ => {}
        }
        plan.effects.push(effect);
    }
    plan.difference = Some(diff(&before, &after));
}

/// What must not be cut: the edges, DNS, which nobody can do without even where no source asks for it, and what the objects show beside them.
fn needed(situation: &Situation<'_>) -> (Resolution, Vec<Asked>) {
    let intended = situation.intended;
    let mut edges: Vec<ResolvedEdge> = intended.edges.clone();
    if !edges.iter().any(|edge| edge.edge.exchange.is_dns()) {
        let dns = Intent { edges: derive::dns(), subject: situation.intent.subject.clone(), ..Intent::default() };
        edges.extend(resolve(&dns, Some(situation.world)).edges);
    }
    edges.retain(|edge| edge.edge.expect == Expect::Allow);
    let mut asked: Vec<Asked> = edges.iter().map(|_| Asked::Needed).collect();
    for index in 0..edges.len() {
        if let Some((host, variant)) = edges.get(index).and_then(if_private) {
            let host = host.unwrap_or("a host that no source names");
            let because = format!("the addresses of {host} are not known: a private one is not covered");
            edges.push(variant);
            asked.push(Asked::IfPrivate { edge: index, because });
        }
    }
    let shown = shown(intended, situation.world);
    asked.extend(shown.iter().map(|_| Asked::Shown));
    edges.extend(shown);
    (Resolution { edges, subject: intended.subject.clone(), findings: Vec::new() }, asked)
}

fn lock_out(plan: &Plan, effect: &Effect, breaks: &str) -> Finding {
    let message = format!("it is {} now, and would be {}; without it {breaks}", effect.before.as_str(), effect.because);
    let fix =
        "correct the peer or the port in the TrafficMatrix, or open the other end first (`render --counterparts`)";
    Finding::new(Code::LockOut, object(&plan.policy), message, fix).on(&effect.edge)
}

/// MAS is reached on a port of which the edge knows nothing.
fn listener_cut(plan: &Plan, report: &EdgeReport) -> Finding {
    let ports: Vec<String> = report.pod_ports.iter().map(u16::to_string).collect();
    let (from, port) = (&report.from, ports.join(", "));
    let message = format!(
        "MAS's Services lead to port {port} of its pods, which {from} may reach now, and which would be {}; without it {}",
        report.because, report.breaks
    );
    let fix = format!(
        "say where MAS listens: `guide: {{values: {{mas: {{service: {{targetPort: {port}}}}}}}}}` in the TrafficMatrix, or correct the Service"
    );
    Finding::new(Code::LockOut, object(&plan.policy), message, fix).on(&report.name)
}
