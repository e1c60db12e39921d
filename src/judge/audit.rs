//! Intended × declared: which edges the policies let through, what they admit beyond them, and the smallest fix of each mistake.
//!
//! ```text
//! Resolution ─┐          ┌─► reach.rs  every pair, asked
//! PolicySet ──┼─► View ──┼─► lint.rs   mistakes with a name
//! World ──────┘          └─► wider.rs  what no edge needs
//! ```

mod addresses;
#[cfg(test)]
pub(crate) mod fixture;
mod lint;
mod reach;
mod view;
mod wider;

use std::cmp::Reverse;
use std::collections::HashSet;

use serde::Serialize;

pub(crate) use addresses::{Addresses, borders};
pub(crate) use reach::{Pair, Reach, Side};

use self::view::View;
use super::{Declared, EdgeReport};
use crate::finding::{Code, Finding};
use crate::matrix::{Exchange, Expect, Party, Peer, PeerKind, Resolution, ResolvedEdge, Subject};
use crate::policy::render;
use crate::policy::{Answer, Direction, End, Engine, Policy, PolicyRef, PolicySet, SideAnswer};
use crate::world::labels::matches_all;
use crate::world::{Labels, NotCovered, ObjectName, PodId, Protocol, World};

/// What an audit found.
#[derive(Debug, Clone, Serialize)]
pub struct Audit {
    /// One row an edge, in the matrix's order, with `declared` and `because`.
    pub edges: Vec<EdgeReport>,
    /// For each edge what decides its verdict, in a few words: the rules, without the pods' names.
    #[serde(skip)]
    pub decided: Vec<String>,
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
    name: &ObjectName,
) -> Audit {
    let nobody = Subject { namespace: name.namespace.clone(), selector: Labels::new(), pods: Vec::new() };
    let subject = intended.subject.as_ref().unwrap_or(&nobody);
    let view = View { intended, subject, name, world, policies, engine };
    let reach = Reach::new(world, engine);
    let listed = Listed::of(intended);
    let mut found: Vec<Finding> = Vec::new();
    let mut edges: Vec<EdgeReport> = Vec::new();
    let mut decided: Vec<String> = Vec::new();
    for edge in &intended.edges {
        let mut here = Vec::new();
        let (report, by) = row(&view, &reach, &listed, edge, &mut here);
        edges.push(report);
        decided.push(by);
        found.append(&mut here);
    }
    found.extend(lint::subject_selectors(&view));
    if intended.subject.is_some() {
        for direction in [Direction::Ingress, Direction::Egress] {
            found.extend(wider::wider(&view, direction));
        }
    }
    let lints = lint::all(&view, &found);
    // A selector that hits nothing because of a stray `-` is told by that name.
    let explained: HashSet<_> =
        lints.iter().filter(|f| f.code == Code::OrInsteadOfAnd).map(|f| f.place.clone()).collect();
    found.retain(|f| f.code != Code::SelectorMatchesNothing || !explained.contains(&f.place));
    found.extend(lints);
    let findings = ordered(found, intended);
    Audit { edges, decided, findings, coverage: coverage(&view) }
}

/// What allow edges name: `any-pod` and `world` in a forbidden edge mean everybody else.
pub(super) struct Listed {
    pairs: HashSet<(PodId, PodId, u16, Protocol)>,
    sources: Vec<(Addresses, u16, Protocol)>,
    targets: Vec<(Addresses, u16, Protocol)>,
}

impl Listed {
    pub(super) fn of(intended: &Resolution) -> Self {
        let mut listed = Self { pairs: HashSet::new(), sources: Vec::new(), targets: Vec::new() };
        for edge in intended.edges.iter().filter(|edge| edge.edge.expect == Expect::Allow) {
            let protocol = edge.edge.protocol;
            for to in &edge.to {
                for port in to.ports.iter().copied() {
                    listed.targets.extend(range(to).map(|range| (range, port, protocol)));
                    for from in &edge.from {
                        listed.sources.extend(range(from).map(|range| (range, port, protocol)));
                        for source in pods(from) {
                            listed.pairs.extend(pods(to).map(|target| (source, target, port, protocol)));
                        }
                    }
                }
            }
        }
        listed
    }

    /// A side of a forbidden edge without the addresses that allow edges name.
    fn without(side: Side, named: &[(Addresses, u16, Protocol)], port: u16, protocol: Protocol) -> Side {
        let Side::Range(range) = side else { return side };
        let same = named.iter().filter(|(_, p, q)| (*p, *q) == (port, protocol));
        Side::Range(same.fold(range, |left, (named, ..)| left.minus(named)))
    }
}

fn pods(peer: &Peer) -> impl Iterator<Item = PodId> {
    let pods = match &peer.kind {
        PeerKind::Pods { pods, .. } => pods.as_slice(),
        PeerKind::AnyPod | PeerKind::Blocks { .. } | PeerKind::Unresolved => &[],
    };
    pods.iter().copied()
}

fn range(peer: &Peer) -> Option<Addresses> {
    match &peer.kind {
        PeerKind::Blocks { nets, except, .. } => Some(Addresses::of(nets, except)),
        _ => None,
    }
}

/// The pairs of one edge, folded: the worst, and who denies.
struct Tally {
    expect: Expect,
    worst: Option<Pair>,
    /// The first denial by the subject's own policies, and by a peer's.
    ours: Option<Denial>,
    theirs: Option<Denial>,
}

struct Denial {
    direction: Direction,
    pod: PodId,
    answer: Answer,
}

impl Tally {
    fn add(&mut self, view: &View<'_>, pair: Pair) {
        if let (Declared::Denied, Some((from, to)), Some(answer)) = (pair.declared, pair.ends, &pair.answer) {
            for (direction, end, side) in
                [(Direction::Egress, from, &answer.egress), (Direction::Ingress, to, &answer.ingress)]
            {
                let (Declared::Denied, End::Pod(pod)) = (side.declared, end) else { continue };
                let slot = if view.subject.pods.contains(&pod) { &mut self.ours } else { &mut self.theirs };
                slot.get_or_insert_with(|| Denial { direction, pod, answer: answer.clone() });
            }
        }
        let rank = |declared: Declared| match (self.expect, declared) {
            (Expect::Allow, Declared::Allowed) | (Expect::Deny, Declared::Denied) => 0,
            (_, Declared::Unknown) => 1,
            (Expect::Allow, Declared::Denied) | (Expect::Deny, Declared::Allowed) => 2,
        };
        if self.worst.as_ref().is_none_or(|worst| rank(pair.declared) > rank(worst.declared)) {
            self.worst = Some(pair);
        }
    }
}

/// Asks every pair of an edge.
fn tally(view: &View<'_>, reach: &Reach<'_>, listed: &Listed, edge: &ResolvedEdge) -> Tally {
    let mut tally = Tally { expect: edge.edge.expect, worst: None, ours: None, theirs: None };
    each_pair(reach, listed, edge, &mut |_, _, pair| tally.add(view, pair));
    tally
}

/// Visits every pair of an edge with the peer and the pod port it goes to; of a forbidden edge those that no allow edge names.
pub(super) fn each_pair(
    reach: &Reach<'_>,
    listed: &Listed,
    edge: &ResolvedEdge,
    visit: &mut dyn FnMut(&Peer, u16, Pair),
) {
    let protocol = edge.edge.protocol;
    let forbidden = edge.edge.expect == Expect::Deny;
    let sources: Vec<Side> = edge.from.iter().flat_map(|peer| reach.sides(peer)).collect();
    for to in &edge.to {
        for target in reach.sides(to) {
            for port in to.ports.iter().copied() {
                for source in &sources {
                    let mut visit = |pair: Pair| {
                        let named = match pair.ends {
                            Some((End::Pod(a), End::Pod(b))) => listed.pairs.contains(&(a, b, port, protocol)),
                            _ => false,
                        };
                        if !(forbidden && named) {
                            visit(to, port, pair);
                        }
                    };
                    if forbidden {
                        let source = Listed::without(source.clone(), &listed.sources, port, protocol);
                        let target = Listed::without(target.clone(), &listed.targets, port, protocol);
                        reach.each(&source, &target, port, protocol, &mut visit);
                    } else {
                        reach.each(source, &target, port, protocol, &mut visit);
                    }
                }
            }
        }
    }
}

/// One row of the table with what decides it in short, and the findings of its edge, the most telling first.
fn row(
    view: &View<'_>,
    reach: &Reach<'_>,
    listed: &Listed,
    edge: &ResolvedEdge,
    found: &mut Vec<Finding>,
) -> (EdgeReport, String) {
    let tally = tally(view, reach, listed, edge);
    let declared = tally.worst.as_ref().map_or(Declared::Unknown, |worst| worst.declared);
    let because = match &tally.worst {
        Some(worst) => worst.because(),
        None => format!("unknown: {}", nothing_asked(edge)),
    };
    match edge.edge.expect {
        Expect::Allow => {
            found.extend(tally.ours.iter().map(|denial| ours(view, edge, denial)));
            if let Some(denial) = &tally.theirs {
                found.push(theirs(view, edge, denial));
                found.extend(lint::peer_selectors(view, edge, denial.direction, &denial.answer));
            }
        }
        Expect::Deny if declared == Declared::Allowed => {
            found.extend(tally.worst.as_ref().map(|worst| forbidden_open(edge, worst)));
        }
        Expect::Deny => {}
    }
    found.extend(lint::host_network(view, edge));
    let needs = if declared == Declared::Unknown { because.clone() } else { String::new() };
    let decided = match &tally.worst {
        Some(worst) => worst.decided(edge.edge.expect),
        None => nothing_asked(edge).to_owned(),
    };
    let row = EdgeReport {
        declared: Some(declared),
        because,
        needs,
        finding: found.first().cloned(),
        ..EdgeReport::intended(edge)
    };
    (row, decided)
}

pub(super) fn nothing_asked(edge: &ResolvedEdge) -> &'static str {
    if edge.from.is_empty() {
        "no source says who opens it"
    } else if edge.to.is_empty() {
        "no source says where it goes"
    } else if edge.to.iter().all(|to| to.ports.is_empty()) {
        "its pod port is not known"
    } else {
        "there is no pair to ask"
    }
}

/// The policies of the subject deny what is needed.
fn ours(view: &View<'_>, edge: &ResolvedEdge, denial: &Denial) -> Finding {
    if let Some(fix) = tier_fix(denial) {
        return denied(Code::PolicyBlocks, edge, denial, |_| fix.clone());
    }
    let named = lint::service_port(view, edge, denial.direction);
    let named = named.or_else(|| lint::dns_without_tcp(view, edge, &denial.answer));
    let named = named.or_else(|| {
        let own = view.world.pod(denial.pod);
        lint::selector_for_address(view, edge, denial.direction, own, denial.answer.port)
    });
    named.unwrap_or_else(|| {
        let fix = |blamed: &str| match (own_policy(view, denial), render::fragment(view.subject, edge, denial.direction)) {
            (Some(own), Some(yaml)) => format!("add to the spec of {own}:\n{yaml}"),
            (Some(own), None) => format!("add a rule for it to {own}"),
            (None, _) => format!(
                "give MAS a policy of its own, which `portreeve render` prints; a rule in {blamed} would open this to every pod that it selects"
            ),
        };
        denied(Code::PolicyBlocks, edge, denial, fix)
    })
}

/// The policy that isolates MAS's pods and selects no others: only there a new rule opens nothing else.
fn own_policy(view: &View<'_>, denial: &Denial) -> Option<String> {
    let side = side(&denial.answer, denial.direction);
    let near = side.nearest.as_ref().map(|miss| &miss.rule.policy);
    let is_own = |policy: &Policy| {
        let mut pods = view.world.pods();
        !policy.pod_selector.is_everything()
            && pods.all(|(id, pod)| !policy.selects(pod) || view.subject.pods.contains(&id))
    };
    let mut candidates = near.into_iter().chain(&side.isolated_by);
    candidates.find(|policy| view.policies.get(&policy.name).is_some_and(is_own)).map(PolicyRef::object)
}

/// The policies of a peer deny what is needed.
fn theirs(view: &View<'_>, edge: &ResolvedEdge, denial: &Denial) -> Finding {
    if let Some(fix) = tier_fix(denial) {
        return denied(Code::PolicyBlocks, edge, denial, |_| fix.clone());
    }
    if let Some(named) = lint::service_port(view, edge, denial.direction) {
        return named;
    }
    let subject_is_in = edge.from.iter().chain(&edge.to).any(|peer| render::covers(peer, view.subject));
    let code = if subject_is_in { Code::PeerSideMissing } else { Code::PolicyBlocks };
    let pod = view.world.pod(denial.pod);
    let fix = |_: &str| {
        let proposals = render::proposals(view.subject, edge, view.name);
        let fitting = proposals.into_iter().find(|proposal| {
            proposal.direction == denial.direction
                && proposal.namespace == pod.name.namespace
                && matches_all(&proposal.selector, &pod.labels)
        });
        match fitting {
            Some(proposal) => format!("propose this to the owner of {}:\n{}", proposal.peer, proposal.yaml),
            None => format!("let a policy of {} allow it", pod.name.namespace),
        }
    };
    denied(code, edge, denial, fix)
}

/// What to do about a rule of a cluster-wide tier that denies: no rule of a NetworkPolicy admits what it denies.
fn tier_fix(denial: &Denial) -> Option<String> {
    let rule = side(&denial.answer, denial.direction).decided_by.as_ref()?;
    let object = rule.policy.object();
    Some(format!("ask the owner of {object} to let it through: {}[{}] denies it", rule.direction, rule.index))
}

fn denied(code: Code, edge: &ResolvedEdge, denial: &Denial, fix: impl Fn(&str) -> String) -> Finding {
    let side = side(&denial.answer, denial.direction);
    let decisive = side.decided_by.as_ref().or(side.nearest.as_ref().map(|miss| &miss.rule));
    let blamed = decisive.map(|rule| (&rule.policy, &rule.place));
    let blamed = blamed.or_else(|| side.isolated_by.first().map(|policy| (policy, &policy.place)));
    let message = format!("`{}` is {}", edge.edge.name, denial.answer.sentence());
    let object = blamed.map_or_else(|| edge.edge.name.clone(), |(policy, _)| policy.object());
    let fix = fix(&object);
    let mut finding = Finding::new(code, object, message, fix).on(&edge.edge.name);
    finding.place = blamed.map(|(_, place)| place.clone());
    finding
}

fn side(answer: &Answer, direction: Direction) -> &SideAnswer {
    match direction {
        Direction::Ingress => &answer.ingress,
        Direction::Egress => &answer.egress,
    }
}

/// The policies admit what is forbidden: the rule that does, or the lack of any policy. Looked for at MAS's end, for the other one is not ours to close.
fn forbidden_open(edge: &ResolvedEdge, pair: &Pair) -> Finding {
    let rule = pair.answer.as_ref().and_then(|answer| {
        let (ingress, egress) = (answer.ingress.decided_by.as_ref(), answer.egress.decided_by.as_ref());
        if edge.edge.from.contains(&Party::Subject) {
            egress
        } else if edge.edge.to.iter().any(|target| target.party == Party::Subject) {
            ingress
        } else {
            ingress.or(egress)
        }
    });
    let message = format!("`{}` is forbidden, and the policies admit it ({})", edge.edge.name, pair.because());
    let Some(rule) = rule else {
        let fix = "no policy isolates these pods: `portreeve render` writes one";
        let mut finding = Finding::new(Code::ForbiddenOpen, edge.edge.name.as_str(), message, fix).on(&edge.edge.name);
        finding.place = edge.edge.provenance.iter().find_map(|source| source.place.clone());
        return finding;
    };
    let fix = format!("take it out of {}[{}] of {}", rule.direction, rule.index, rule.policy);
    let object = rule.policy.object();
    Finding::new(Code::ForbiddenOpen, object, message, fix).at(rule.place.clone()).on(&edge.edge.name)
}

/// Worst first; causes before what follows from them; the same findings always in the same order, and once.
fn ordered(mut found: Vec<Finding>, intended: &Resolution) -> Vec<Finding> {
    let rank = |finding: &Finding| {
        let index = intended.edges.iter().position(|edge| finding.edge.as_deref() == Some(edge.edge.name.as_str()));
        let edge = index.and_then(|index| intended.edges.get(index));
        let is_dns = edge.is_some_and(|edge| matches!(edge.edge.exchange, Exchange::DnsUdp | Exchange::DnsTcp));
        let tier = edge.map_or(u8::MAX, |edge| edge.edge.tier);
        (Reverse(finding.code.severity()), !is_dns, tier, index.unwrap_or(usize::MAX))
    };
    found.sort_by_cached_key(|finding| (rank(finding), finding.code, finding.place.clone(), finding.clone()));
    found.dedup();
    found
}

fn coverage(view: &View<'_>) -> Coverage {
    Coverage {
        policies: view.policies.policies.len(),
        subject_policies: view.subject_policies().count(),
        subject_pods: view.subject.pods.len(),
        pods: view.world.pods.len(),
        namespaces: view.world.namespaces.len(),
        not_evaluated: view.policies.unmodelled.iter().map(|policy| policy.object.clone()).collect(),
        not_covered: NotCovered::together(&view.world.not_covered).iter().map(NotCovered::sentence).collect(),
    }
}

#[cfg(test)]
mod tests;
