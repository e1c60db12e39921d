//! Intended × declared: which edges the policies let through, what they admit beyond them, and the smallest fix of each mistake.
//!
//! ```text
//! Resolution ─┐          ┌─► reach.rs  every pair, asked
//! PolicySet ──┼─► View ──┼─► lint.rs   mistakes with a name
//! World ──────┘          └─► wider.rs  what no edge needs
//! ```

mod addresses;
mod lint;
mod reach;
mod view;
mod wider;

use std::cmp::Reverse;
use std::collections::HashSet;

use serde::Serialize;

pub(crate) use addresses::Addresses;
pub(crate) use reach::{Pair, Reach, Side};

use self::view::View;
use super::{Code, Declared, EdgeReport, Finding};
use crate::matrix::{Exchange, Expect, Party, PeerKind, Resolution, ResolvedEdge, Subject};
use crate::policy::render::{self, RenderName};
use crate::policy::{Answer, Direction, Engine, PolicySet, SideAnswer};
use crate::world::{PodId, World};

/// What an audit found.
#[derive(Debug, Clone, Serialize)]
pub struct Audit {
    /// One row an edge, in the matrix's order, with `declared` and `because`.
    pub edges: Vec<EdgeReport>,
    /// Worst first; of the same severity DNS before what depends on names, then by tier and by the matrix's order.
    pub findings: Vec<Finding>,
    /// What was looked at, and what was not.
    pub coverage: Coverage,
}

/// How much an audit saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Coverage {
    /// NetworkPolicies that were evaluated.
    pub policies: usize,
    /// Those of them that select a pod of the subject.
    pub subject_policies: usize,
    /// Pods of the subject.
    pub subject_pods: usize,
    /// All pods, and workloads' templates without a pod.
    pub pods: usize,
    /// Namespaces.
    pub namespaces: usize,
    /// Policies of kinds that are not evaluated, as `Kind/namespace/name`.
    pub not_evaluated: Vec<String>,
    /// Objects that could matter and were not read: what is not known because of each.
    pub not_covered: Vec<String>,
}

/// Audits the policies against what is intended. `name` is the matrix, for the proposals in fixes.
///
/// What could not be resolved ([`Resolution::findings`]) is not repeated here.
pub fn audit(
    intended: &Resolution,
    world: &World,
    policies: &PolicySet,
    engine: &Engine<'_>,
    name: &RenderName,
) -> Audit {
    let nobody = Subject { namespace: name.namespace.clone(), selector: crate::world::Labels::new(), pods: Vec::new() };
    let subject = intended.subject.as_ref().unwrap_or(&nobody);
    let view = View { intended, subject, name, world, policies, engine };
    let reach = Reach::new(world, engine);
    let listed = Listed::of(&view);
    let mut found: Vec<Finding> = Vec::new();
    let mut edges: Vec<EdgeReport> = Vec::new();
    for edge in &intended.edges {
        let mut here = Vec::new();
        edges.push(row(&view, &reach, &listed, edge, &mut here));
        found.append(&mut here);
    }
    found.extend(lint::subject_selectors(&view));
    if intended.subject.is_some() {
        for direction in [Direction::Ingress, Direction::Egress] {
            found.extend(wider::wider(&view, direction));
        }
    }
    let findings = ordered(found, intended);
    Audit { edges, findings, coverage: coverage(&view) }
}

/// The pairs that allow edges name: `any-pod` in a forbidden edge means everybody else.
struct Listed(HashSet<(PodId, PodId, u16)>);

impl Listed {
    fn of(view: &View<'_>) -> Self {
        let mut pairs = HashSet::new();
        for edge in view.allowed() {
            for to in &edge.to {
                for (source, target) in edge.from.iter().flat_map(pods).flat_map(|a| pods(to).map(move |b| (a, b))) {
                    pairs.extend(to.ports.iter().map(|port| (source, target, *port)));
                }
            }
        }
        Self(pairs)
    }
}

fn pods(peer: &crate::matrix::Peer) -> impl Iterator<Item = PodId> {
    let pods = match &peer.kind {
        PeerKind::Pods { pods, .. } => pods.as_slice(),
        PeerKind::AnyPod | PeerKind::Blocks { .. } | PeerKind::Unresolved => &[],
    };
    pods.iter().copied()
}
