//! The one write that brings a cluster to what its matrix intends, and why it is held back if it is.
//!
//! A plan is a value that leaves no choice to whoever carries it out: printed by `portreeve plan`, and the same however often it is made.
//! Once it is carried out, the next one is empty.

mod weigh;

use serde_json::Value;

use self::weigh::weigh;
use crate::finding::{Code, Finding};
use crate::judge::Declared;
use crate::judge::diff::Difference;
use crate::matrix::traffic_matrix::{Mode, Owner, TrafficMatrix};
use crate::matrix::{Expect, Intent, Resolution};
use crate::policy::render::{Directions, MANAGED_BY, MATRIX, network_policy, policy_name};
use crate::policy::{Dialect, Policy, PolicySet, manifest};
use crate::world::{Labels, ObjectName, World};

/// What the owner of a matrix decided about writing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orders {
    /// `spec.mode`.
    pub mode: Mode,
    /// `spec.directions`.
    pub directions: Directions,
    /// `spec.policies.owner`.
    pub owner: Owner,
    /// `spec.adopt`.
    pub adopt: Vec<String>,
}

impl Default for Orders {
    /// Where there is no TrafficMatrix: what enforcing everything would do.
    fn default() -> Self {
        Self { mode: Mode::Enforce, directions: Directions::Both, owner: Owner::default(), adopt: Vec::new() }
    }
}

impl Orders {
    /// Those of a TrafficMatrix.
    pub fn of(matrix: &TrafficMatrix) -> Self {
        Self {
            mode: matrix.mode,
            directions: Directions::of(matrix.directions),
            owner: matrix.owner,
            adopt: matrix.adopt.clone(),
        }
    }
}

/// What there is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Nothing: it is as it should be.
    Nothing,
    /// The policy, which is not there yet.
    Create(Value),
    /// The policy, in the place of what stands under its name.
    Replace(Value),
    /// Away with ours.
    Remove,
}

impl Step {
    /// The word for it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Create(_) => "create",
            Self::Replace(_) => "replace",
            Self::Remove => "remove",
        }
    }

    /// The policy as it will stand.
    pub fn policy(&self) -> Option<&Value> {
        match self {
            Self::Create(policy) | Self::Replace(policy) => Some(policy),
            Self::Nothing | Self::Remove => None,
        }
    }
}

/// Why a step is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// The mode is Audit. `frozen` if a policy of ours is there: it stays, and is not repaired (promise 2).
    Audit {
        /// One of ours stands there.
        frozen: bool,
    },
    /// Git writes the policies.
    Git,
    /// A source of the matrix was not read, and its edges would be cut.
    Unread(&'static str),
    /// Whether a policy of this name is there is not known: the source does not show it.
    Unseen(String),
    /// No needed edge is known: the policy would cut everything.
    NoEdge,
    /// What must be mended first.
    Wrong(Box<Finding>),
}

/// A needed edge, as the policies have it before and after the step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// The edge's name.
    pub edge: String,
    /// What all policies together say now.
    pub before: Declared,
    /// What they say once the step is taken.
    pub after: Declared,
    /// Why, afterwards.
    pub because: String,
}

/// A plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The policy's name.
    pub policy: ObjectName,
    /// The mode under which it was made.
    pub mode: Mode,
    /// What there is to be done.
    pub step: Step,
    /// The policy as it should stand, whether it does or not; `None` where there should be none, or where it is not known.
    pub wanted: Option<Value>,
    /// Why it is not done; empty when it may be.
    pub held: Vec<Held>,
    /// The needed edges, in the matrix's order.
    pub effects: Vec<Effect>,
    /// Needed edges of which nobody can say from the policies whether they work afterwards: only a roll-out that agents confirm may take the step (promise 4).
    pub unproven: Vec<String>,
    /// Which new connections open and close; `None` when nothing is to be done.
    pub difference: Option<Difference>,
}

impl Plan {
    /// Whether something is written.
    pub fn writes(&self) -> bool {
        self.step != Step::Nothing && self.held.is_empty()
    }

    /// What must be mended before it can be.
    pub fn wrong(&self) -> impl Iterator<Item = &Finding> {
        self.held.iter().filter_map(|held| match held {
            Held::Wrong(finding) => Some(&**finding),
            Held::Audit { .. } | Held::Git | Held::Unread(_) | Held::Unseen(_) | Held::NoEdge => None,
        })
    }
}

/// What a plan is made from.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'s> {
    /// The matrix.
    pub name: &'s ObjectName,
    /// What is intended.
    pub intent: &'s Intent,
    /// The same in the world.
    pub intended: &'s Resolution,
    /// The objects.
    pub world: &'s World,
    /// All policies that are there.
    pub policies: &'s PolicySet,
    /// How the network plug-in reads them.
    pub dialect: Dialect,
}

/// Makes the plan.
pub fn plan(situation: &Situation<'_>, orders: &Orders) -> Plan {
    let policy = ObjectName::new(situation.namespace(), policy_name(situation.name));
    let live = situation.policies.get(&policy);
    let mut plan = Plan {
        policy,
        mode: orders.mode,
        step: Step::Nothing,
        wanted: None,
        held: Vec::new(),
        effects: Vec::new(),
        unproven: Vec::new(),
        difference: None,
    };
    // Before anything is said about what stands under the name.
    let gap = situation.world.unseen("NetworkPolicy", &plan.policy.namespace);
    plan.held.extend(gap.map(|gap| Held::Unseen(gap.sentence())));
    let is_ours = live.is_some_and(|live| is_ours(live, situation.name));
    if orders.mode == Mode::Off {
        if is_ours {
            plan.step = Step::Remove;
            let after = situation.policies.without(&plan.policy);
            weigh(&mut plan, situation, &after);
        }
        return plan;
    }
    let rendered = match network_policy(situation.intended, situation.name, orders.directions) {
        Ok(rendered) => rendered,
        Err(finding) => {
            plan.held.push(Held::Wrong(finding));
            return plan;
        }
    };
    let Some(wanted) = manifest::read(&rendered.policy, "planned") else {
        plan.held.push(Held::Wrong(Box::new(unreadable(&plan.policy))));
        return plan;
    };
    plan.wanted = Some(rendered.policy.clone());
    plan.step = match live {
        None => Step::Create(rendered.policy),
        Some(live) if is_same(live, &wanted) => return plan,
        Some(_) => Step::Replace(rendered.policy),
    };
    if orders.mode == Mode::Audit {
        plan.held.push(Held::Audit { frozen: is_ours });
    }
    if orders.owner == Owner::Git {
        plan.held.push(Held::Git);
    }
    if let Some(live) = live.filter(|_| !is_ours && !orders.adopt.contains(&plan.policy.name)) {
        plan.held.push(Held::Wrong(Box::new(not_ours(live))));
    }
    plan.held.extend(situation.intent.unread.iter().map(|key| Held::Unread(key)));
    if !situation.intended.edges.iter().any(|edge| edge.edge.expect == Expect::Allow) {
        plan.held.push(Held::NoEdge);
    }
    // A needed edge that the policy does not name would be cut by it: what is missing never shrinks a policy (promise 9).
    plan.held.extend(rendered.left_out.into_iter().map(|finding| Held::Wrong(Box::new(finding))));
    weigh(&mut plan, situation, &situation.policies.with(wanted));
    plan
}

impl Situation<'_> {
    /// Where the policy stands: beside the subject.
    fn namespace(&self) -> &str {
        self.intended.subject.as_ref().map_or(&self.name.namespace, |subject| &subject.namespace)
    }
}

/// Written by us for this matrix: a label that anybody can read says so.
fn is_ours(live: &Policy, matrix: &ObjectName) -> bool {
    live.labels.get(MANAGED_BY).is_some_and(|by| by == "portreeve")
        && live.labels.get(MATRIX).is_some_and(|name| *name == matrix.name)
}

/// Whether writing would change nothing: the same rules, and of labels and annotations all that are ours. What others wrote on it is theirs.
fn is_same(live: &Policy, wanted: &Policy) -> bool {
    let has = |live: &Labels, wanted: &Labels| wanted.iter().all(|(key, value)| live.get(key) == Some(value));
    live.decision() == wanted.decision()
        && has(&live.labels, &wanted.labels)
        && has(&live.annotations, &wanted.annotations)
}

fn not_ours(live: &Policy) -> Finding {
    let owner = live.owner().map_or(String::new(), |owner| format!(", it is {owner}'s"));
    let message =
        format!("stands under the policy's name and has no label {MANAGED_BY}=portreeve for this matrix{owner}");
    let fix = format!("rename it, or hand it over with `adopt: [{}]` in the TrafficMatrix's spec", live.name.name);
    Finding::new(Code::NotOurs, object(&live.name), message, fix).at(live.place.clone())
}

fn unreadable(policy: &ObjectName) -> Finding {
    let message = "the API server would refuse the policy that follows from these peers";
    Finding::new(Code::InvalidPolicy, object(policy), message, "correct the peers' labels and names")
}

fn object(policy: &ObjectName) -> String {
    format!("NetworkPolicy/{policy}")
}

#[cfg(test)]
mod tests;
