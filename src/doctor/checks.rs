//! The checks, one function an item, grouped as the guide is.

pub(super) mod authelia;
pub(super) mod database;
pub(super) mod deployment;
pub(super) mod dns;
pub(super) mod policies;
pub(super) mod prerequisites;
pub(super) mod secrets;
pub(super) mod synapse;
pub(super) mod testing;

use super::Outcome;
use super::facts::Facts;
use super::tree::{NO_URL, Said};
use crate::judge::{Reason, State};
use crate::world::{NotCovered, Uncovered};

/// What a check says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) outcome: Outcome,
    pub(super) evidence: String,
    pub(super) todo: String,
    pub(super) decisive: bool,
}

fn answer(outcome: Outcome, evidence: impl Into<String>, todo: impl Into<String>) -> Answer {
    Answer { outcome, evidence: evidence.into(), todo: todo.into(), decisive: false }
}

fn pass(evidence: impl Into<String>) -> Answer {
    answer(Outcome::Pass, evidence, "")
}

fn fail(evidence: impl Into<String>, todo: impl Into<String>) -> Answer {
    answer(Outcome::Fail, evidence, todo)
}

fn unknown(evidence: impl Into<String>, todo: impl Into<String>) -> Answer {
    answer(Outcome::Unknown, evidence, todo)
}

fn manual(evidence: impl Into<String>, todo: impl Into<String>) -> Answer {
    answer(Outcome::Manual, evidence, todo)
}

const GIVE_MANIFESTS: &str = "give --manifests (a folder, or the output of `kubectl get … -o yaml`) or --cluster";
const GIVE_MAS_CONFIG: &str =
    "give --mas-config FILE, or a ConfigMap that holds MAS's config.yaml, with --manifests or --cluster";
const RUN_NETWORK: &str = "run it with --network, in the network of MAS's pod or at least in its namespace";

fn no_manifests() -> Answer {
    unknown("neither manifests nor a cluster were given", GIVE_MANIFESTS)
}

fn no_mas_config() -> Answer {
    unknown("MAS's config was not given", GIVE_MAS_CONFIG)
}

/// That no Secret is read, when the objects come from a cluster: what is in one may well be there.
fn unread_secrets(facts: &Facts) -> Option<&NotCovered> {
    let gap = facts.world.as_ref()?.unseen_anywhere("Secret")?;
    matches!(gap.subject, Uncovered::Kinds { .. }).then_some(gap)
}

/// What was looked for among the objects in vain. `give` is what to do about files.
fn not_found(facts: &Facts, what: &str, give: &str) -> Answer {
    match unread_secrets(facts) {
        Some(gap) => unknown(format!("{what} is in no ConfigMap, and {NO_SECRETS}"), gap.fix.clone()),
        None => unknown(format!("{what} is not among the files"), give),
    }
}

const NO_SECRETS: &str = "portreeve does not read the Secrets of a cluster";

/// An answer out of a value that must be known.
fn hidden(key: &str, said: &Said, todo: &str) -> Answer {
    match said {
        Said::Hidden(why, place) if *why == NO_URL => fail(format!("{place}: `{key}` is {why}"), todo),
        Said::Hidden(why, place) => unknown(format!("{place}: `{key}` is {why}"), "give a file that holds the value"),
        Said::No | Said::Text(..) => unknown(format!("`{key}` is not given"), todo),
    }
}

/// What the network showed of an edge, as an answer; `None` when it was not asked.
fn probed(facts: &Facts, edge: &str) -> Option<Answer> {
    let (row, attempts) = facts.observed(edge)?;
    let worst = attempts.iter().find(|attempt| attempt.reason != Reason::Ok).or_else(|| attempts.first());
    let said = worst.map_or_else(
        || "no attempt was made".to_owned(),
        |attempt| {
            let address = attempt.address.map_or_else(String::new, |address| format!("{address}: "));
            format!("{edge}: {address}{}: {}", attempt.reason, attempt.detail)
        },
    );
    Some(match row.state {
        Some(State::Ok) => pass(said),
        Some(State::Violated | State::Pending) => {
            let fix = row.finding.as_ref().map(|finding| finding.fix.clone()).filter(|fix| !fix.is_empty());
            fail(said, fix.unwrap_or_else(|| format!("see `portreeve probe {edge}` and docs/reasons.md")))
        }
        Some(State::Unknown) | None => {
            let todo = format!(
                "see `portreeve probe {edge}`; give --manifests or --cluster, so that a Ready pod proves the target up"
            );
            Answer { decisive: row.tier == 0, ..unknown(said, todo) }
        }
    })
}

/// What the network showed, or that it was not asked.
fn ask(facts: &Facts, edge: &str) -> Answer {
    match (&facts.network, probed(facts, edge)) {
        (_, Some(answer)) => answer,
        (Some(_), None) => unknown(
            format!("no source makes the edge {edge}"),
            "name its target in the guide's values, MAS's config or a TrafficMatrix",
        ),
        (None, None) => unknown("the network was not asked", RUN_NETWORK),
    }
}

/// The version of an image's tag: `v1.157.1`, `1.2.0-debug`. `None` for `latest` and digests.
fn version(tag: &str) -> Option<(u32, u32)> {
    let mut numbers = tag.strip_prefix('v').unwrap_or(tag).split(['.', '-', '+']);
    let major = numbers.next()?.parse().ok()?;
    Some((major, numbers.next()?.parse().ok()?))
}

/// The tag of an image.
fn tag(image: &str) -> Option<&str> {
    let last = image.rsplit('/').next()?;
    last.split('@').next()?.split_once(':').map(|(_, tag)| tag)
}
