//! Rules that other rules make superfluous, proved: at every pod that the policy selects and for every other end, the ports that the rule admits are a subset of what the remaining rules admit.
//!
//! The sets come from the engine itself ([`Engine::rule_traffic`]). Rules are tried from the last to the first and leave the comparison when they fall,
//! so that all of them can be removed together without any verdict changing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::super::view::View;
use super::witness;
use crate::finding::{Code, Finding};
use crate::judge::audit::addresses::{Addresses, borders};
use crate::policy::{Dialect, Direction, End, Engine, Policy, PolicySet, PortSet, Rule};
use crate::source::Place;
use crate::world::{Pod, World};

/// Most questions (rule × pod × other end) of one audit. Beyond, namespaces are left out, the subject's first to be looked at.
const MAX_QUESTIONS: usize = 500_000;

/// The rules of all policies that are superfluous. Rules in `wrong` are left out of the comparison: what only a mistake admits too is not superfluous.
pub(super) fn redundant(view: &View<'_>, wrong: &BTreeSet<Place>) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut left = MAX_QUESTIONS;
    let mut namespaces: Vec<&str> = vec![&view.subject.namespace];
    let all: BTreeSet<&str> = view.policies.policies.iter().map(|p| p.name.namespace.as_str()).collect();
    namespaces.extend(all.into_iter().filter(|name| *name != view.subject.namespace));
    for namespace in namespaces {
        let policies: Vec<&Policy> = view.policies.in_namespace(namespace).collect();
        let rules = policies.iter().map(|policy| witness::rules(policy).count()).sum::<usize>();
        if rules < 2 {
            continue;
        }
        // To find the classes costs a pass over the whole world.
        match left.checked_sub(view.world.pods.len() + view.world.namespaces.len()) {
            Some(rest) => left = rest,
            None => break,
        }
        for (id, cover) in superfluous(view.world, view.engine.dialect(), view.policies, &policies, wrong, &mut left) {
            found.push(finding(&id, &cover));
        }
    }
    found
}

/// A rule by its place in the order of the sources.
#[derive(Clone, Copy)]
pub(super) struct RuleId<'p> {
    pub(super) policy: &'p Policy,
    pub(super) direction: Direction,
    pub(super) index: usize,
    rule: &'p Rule,
}

/// All rules of the policies, which are those of one namespace, that can be removed together, each with the rules that admit the same.
pub(super) fn superfluous<'p>(
    known: &World,
    dialect: Dialect,
    set: &PolicySet,
    policies: &[&'p Policy],
    wrong: &BTreeSet<Place>,
    left: &mut usize,
) -> Vec<(RuleId<'p>, Vec<RuleId<'p>>)> {
    let world = witness::world(known, policies);
    let engine = Engine::new(&world, set).with_dialect(dialect);
    let cuts = borders(policies.iter().flat_map(|policy| witness::rules(policy)).flat_map(witness::blocks));
    let inside: BTreeSet<IpAddr> = world.pods.iter().flat_map(|pod| &pod.addresses).copied().collect();
    let outside = Addresses::all().pieces(&cuts, &inside).into_iter().map(|(_, sample)| End::Address(sample));
    // A node's address may have a meaning of its own (Cilium: no ipBlock means it), so each piece with one is asked for it too.
    let piece_of = |ip: IpAddr| (ip.is_ipv4(), cuts.range(..=ip).next_back().copied());
    let nodes = world.nodes.values().flat_map(|node| node.addresses.iter().copied());
    let nodes: BTreeMap<_, IpAddr> = nodes.map(|ip| (piece_of(ip), ip)).collect();
    let nodes = nodes.into_values().map(End::Address);
    let ends: Vec<End> = world.pods().map(|(id, _)| End::Pod(id)).chain(outside).chain(nodes).collect();
    let namespace = policies.first().map_or("", |policy| policy.name.namespace.as_str());
    let here: Vec<&Pod> = known.pods.iter().filter(|pod| pod.name.namespace == namespace).collect();
    let mut found = Vec::new();
    for direction in [Direction::Ingress, Direction::Egress] {
        let rules: Vec<RuleId<'p>> = policies
            .iter()
            .flat_map(|policy| {
                let rules = policy.rules(direction).unwrap_or_default().iter().enumerate();
                rules.map(|(index, rule)| RuleId { policy, direction, index, rule })
            })
            .filter(|id| !wrong.contains(&id.rule.place))
            .collect();
        let scenes = Scenes::of(&world, &engine, &ends, &rules, left);
        found.extend(scenes.into_iter().flat_map(|scenes| scenes.remove(&rules, &here)));
    }
    found
}

/// What each rule says in one scene: one pod, one other end, one family.
type Scene = Vec<(usize, PortSet, PortSet)>;

struct Scenes(Vec<Scene>);

impl Scenes {
    /// `None` when the questions are used up.
    fn of<'p>(
        world: &'p World,
        engine: &Engine<'p>,
        ends: &[End],
        rules: &[RuleId<'p>],
        left: &mut usize,
    ) -> Option<Self> {
        let mut scenes: Vec<Scene> = Vec::new();
        for (own, pod) in world.pods() {
            let here: Vec<(usize, &RuleId<'_>)> =
                rules.iter().enumerate().filter(|(_, id)| id.policy.selects(pod)).collect();
            *left = left.checked_sub(here.len() * ends.len())?;
            for end in ends {
                let mut by_family: BTreeMap<_, Scene> = BTreeMap::new();
                for (at, id) in &here {
                    for (family, allowed, unknown) in
                        engine.rule_traffic(id.policy, id.rule, id.direction, End::Pod(own), *end)
                    {
                        if !(allowed.is_empty() && unknown.is_empty()) {
                            by_family.entry(family).or_default().push((*at, allowed, unknown));
                        }
                    }
                }
                scenes.extend(by_family.into_values());
            }
        }
        Some(Self(scenes))
    }

    fn remove<'p>(&self, rules: &[RuleId<'p>], here: &[&Pod]) -> Vec<(RuleId<'p>, Vec<RuleId<'p>>)> {
        let mut alive = vec![true; rules.len()];
        let mut found = Vec::new();
        for (at, id) in rules.iter().enumerate().rev() {
            let selects_somebody = here.iter().any(|pod| id.policy.selects(pod));
            if !selects_somebody || is_last(rules, &alive, id, here) {
                continue;
            }
            alive[at] = false;
            match self.cover(at, &alive) {
                Some(cover) => found.push((*id, cover.into_iter().filter_map(|at| rules.get(at).copied()).collect())),
                None => alive[at] = true,
            }
        }
        found.reverse();
        found
    }

    /// The rules that admit what this one does, wherever it says anything: one if one is enough. `None` when something is missing, or it says nothing at all.
    fn cover(&self, at: usize, alive: &[bool]) -> Option<Vec<usize>> {
        let mut alone: Option<BTreeSet<usize>> = None;
        let mut together = BTreeSet::new();
        for scene in &self.0 {
            let Some((_, allowed, unknown)) = scene.iter().find(|(rule, ..)| *rule == at) else { continue };
            let others: Vec<&(usize, PortSet, PortSet)> =
                scene.iter().filter(|(rule, ..)| alive.get(*rule) == Some(&true)).collect();
            let admits = |others: &[&(usize, PortSet, PortSet)]| {
                let sure = others.iter().fold(PortSet::none(), |all, (_, allowed, _)| all.union(allowed));
                let perhaps = others.iter().fold(sure.clone(), |all, (.., unknown)| all.union(unknown));
                allowed.minus(&sure).is_empty() && unknown.minus(&perhaps).is_empty()
            };
            if !admits(&others) {
                return None;
            }
            let single: BTreeSet<usize> =
                others.iter().filter(|other| admits(&[**other])).map(|other| other.0).collect();
            alone = Some(alone.map_or_else(|| single.clone(), |alone| &alone & &single));
            together.extend(
                others
                    .iter()
                    .filter(|(_, a, u)| !a.union(u).intersect(&allowed.union(unknown)).is_empty())
                    .map(|o| o.0),
            );
        }
        match alone?.first() {
            Some(one) => Some(vec![*one]),
            None => Some(together.into_iter().collect()),
        }
    }
}

/// Whether removing this rule could end an isolation: `egress` without rules isolates only where `policyTypes` says so, which a reader of the fix may miss.
fn is_last(rules: &[RuleId<'_>], alive: &[bool], id: &RuleId<'_>, here: &[&Pod]) -> bool {
    let siblings = rules.iter().zip(alive).filter(|(other, alive)| **alive && other.policy.name == id.policy.name);
    if siblings.count() > 1 {
        return false;
    }
    let isolated_elsewhere = |pod: &Pod| {
        let mut others =
            rules.iter().zip(alive).filter(|(other, alive)| **alive && other.policy.name != id.policy.name);
        others.any(|(other, _)| other.policy.selects(pod))
    };
    here.iter().any(|pod| id.policy.selects(pod) && !isolated_elsewhere(pod))
}

fn finding(id: &RuleId<'_>, cover: &[RuleId<'_>]) -> Finding {
    let name = |other: &RuleId<'_>| {
        let of = if other.policy.name == id.policy.name { String::new() } else { format!(" of {}", other.policy.name) };
        format!("{}[{}]{of} ({})", other.direction, other.index, other.rule.place)
    };
    let by = match cover {
        [] => "other rules".to_owned(),
        [one] => name(one),
        [first, rest @ ..] => format!("{} and {} more rules together", name(first), rest.len()),
    };
    let message = format!("{}[{}] admits nothing beyond what {by} admits too", id.direction, id.index);
    let fix = "remove it, unless it is there for the day on which the other one goes";
    let object = format!("NetworkPolicy/{}", id.policy.name);
    Finding::new(Code::RedundantRule, object, message, fix).at(id.rule.place.clone())
}
