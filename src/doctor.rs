//! The integration guide as a list of checks, phase by phase: what is done, what is not, what is not known, what only a person can try.
//!
//! ```text
//! files ──► found/ (objects and configs, reduced at once) ──┐
//! intent, world, audit ─────────────────────────────────────┼──► Facts ──► checks/ ──► Items
//! network (only when asked for) ────────────────────────────┘
//! ```
//!
//! Pure: what was gathered comes in as [`Facts`], and [`examine`] never stops at a missing one.
//! No type here can hold a secret's value: [`Presence`] is what is left of one.

mod catalogue;
mod checks;
mod facts;
pub mod found;
mod presence;
mod tree;

use std::fmt;

use serde::Serialize;

pub use catalogue::{CATALOGUE, Check};
pub use facts::{AuthHost, Facts, MasConfigRead, Network};
pub use presence::{Flaw, Presence, Shape};

/// The parts of the guide, in the order in which they have to work. The numbers are the doctor's; each item names the guide's own section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// What must be there before MAS.
    Prerequisites,
    /// MAS's own database.
    Database,
    /// The secrets and both sides of the shared one.
    Secrets,
    /// MAS's config, workload, Service and Ingress.
    Deployment,
    /// Synapse's side.
    Synapse,
    /// The identity provider's side.
    Authelia,
    /// The testing checklist.
    Testing,
    /// The DNS record.
    Dns,
    /// The NetworkPolicies.
    Policies,
}

impl Phase {
    /// All of them, in order.
    pub const ALL: [Self; 9] = [
        Self::Prerequisites,
        Self::Database,
        Self::Secrets,
        Self::Deployment,
        Self::Synapse,
        Self::Authelia,
        Self::Testing,
        Self::Dns,
        Self::Policies,
    ];

    /// The word on the command line and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prerequisites => "prerequisites",
            Self::Database => "database",
            Self::Secrets => "secrets",
            Self::Deployment => "deployment",
            Self::Synapse => "synapse",
            Self::Authelia => "authelia",
            Self::Testing => "testing",
            Self::Dns => "dns",
            Self::Policies => "policies",
        }
    }

    /// The number of the six phases; the rest has none.
    pub fn number(self) -> Option<u8> {
        match self {
            Self::Database => Some(1),
            Self::Secrets => Some(2),
            Self::Deployment => Some(3),
            Self::Synapse => Some(4),
            Self::Authelia => Some(5),
            Self::Testing => Some(6),
            Self::Prerequisites | Self::Dns | Self::Policies => None,
        }
    }

    /// The heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Prerequisites => "Prerequisites",
            Self::Database => "1 Database",
            Self::Secrets => "2 Secrets",
            Self::Deployment => "3 Deployment",
            Self::Synapse => "4 Synapse",
            Self::Authelia => "5 Authelia",
            Self::Testing => "6 Testing checklist",
            Self::Dns => "DNS record",
            Self::Policies => "NetworkPolicies",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// As the guide wants it, or as it works where the guide is wrong.
    Pass,
    /// Not so.
    Fail,
    /// A fact is missing; the evidence says which.
    Unknown,
    /// No program can tell: somebody has to try it.
    Manual,
}

impl Outcome {
    /// All of them, in order.
    pub const ALL: [Self; 4] = [Self::Pass, Self::Fail, Self::Unknown, Self::Manual];

    /// The word used everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Unknown => "unknown",
            Self::Manual => "manual",
        }
    }
}

/// One line of the guide, checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// Its name, never used for anything else.
    pub id: &'static str,
    /// Where it belongs.
    pub phase: Phase,
    /// What is checked, as a statement that holds when it passes.
    pub title: &'static str,
    /// The guide's section.
    pub guide_section: &'static str,
    /// What came of it.
    pub outcome: Outcome,
    /// What it rests on. Never a value that could be a secret.
    pub evidence: String,
    /// What to do; empty when it passed.
    pub todo: String,
    /// It was asked, the answer is unknown, and without it nobody can log in: such an item fails the command unless unknowns are allowed.
    pub decisive: bool,
}

/// Runs all checks, in the guide's order.
pub fn examine(facts: &Facts) -> Vec<Item> {
    let run = |check: &Check| {
        let answer = (check.run)(facts);
        Item {
            id: check.id,
            phase: check.phase,
            title: check.title,
            guide_section: check.section,
            outcome: answer.outcome,
            evidence: answer.evidence,
            todo: answer.todo,
            decisive: answer.decisive,
        }
    };
    CATALOGUE.iter().map(run).collect()
}

#[cfg(test)]
mod tests;
