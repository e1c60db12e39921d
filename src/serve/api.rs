//! The JSON of the page, and its headline: the state of a matrix in one sentence.

use serde::Serialize;

use super::{Controls, Shared};
use crate::finding::{Code, Severity};
use crate::judge::{Board, Class, EdgeReport, State};
use crate::matrix::Expect;

/// The state of a whole matrix, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Headline {
    /// The worst state of any edge, as its word; `unknown` while nothing was judged.
    pub state: &'static str,
    /// One sentence.
    pub text: String,
    /// What else there is to say, or nothing.
    pub more: String,
}

/// What `/api/v1/board` answers.
#[derive(Serialize)]
pub(super) struct View<'a> {
    version: &'static str,
    ready: bool,
    headline: Headline,
    /// `null`: nobody here carries out actions.
    controls: Option<Controls>,
    #[serde(flatten)]
    board: &'a Board,
}

impl<'a> View<'a> {
    pub(super) fn new(board: &'a Board, shared: &Shared, controls: Option<Controls>) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            ready: shared.is_ready(),
            headline: headline(board),
            controls,
            board,
        }
    }
}

/// The state of a matrix in one sentence. An edge that is not proven is never counted among those that work or are closed.
pub fn headline(board: &Board) -> Headline {
    let with = |state: State| -> Vec<&EdgeReport> {
        board.edges.iter().filter(|edge| edge.state.unwrap_or(State::Unknown) == state).collect()
    };
    let violated = with(State::Violated);
    let unknown = with(State::Unknown);
    let pending = with(State::Pending);
    let say = |state: State, text: String, more: String| Headline { state: state.as_str(), text, more };
    if board.edges.is_empty() {
        return say(State::Unknown, "No edges yet".to_owned(), String::new());
    }
    if board.edges.iter().all(|edge| edge.state.is_none()) {
        return say(State::Unknown, "Nothing is proven yet".to_owned(), String::new());
    }
    if let Some(worst) = worst(board, &violated) {
        return say(State::Violated, blame(worst), also(worst, &violated));
    }
    if !unknown.is_empty() {
        return say(State::Unknown, unproven(&unknown, board.edges.len()), names(&unknown));
    }
    if let [first, rest @ ..] = pending.as_slice() {
        let also = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
        let text = format!("{}{also} will be closed: open now, and nothing is enforced yet", first.name);
        return say(State::Pending, text, works(board));
    }
    say(State::Ok, works(board), warnings(board))
}

/// The edge to name first: the findings are sorted with root causes in front; without one, the lowest tier.
fn worst<'a>(board: &Board, violated: &[&'a EdgeReport]) -> Option<&'a EdgeReport> {
    let mut by_finding = board.findings.iter().filter_map(|finding| finding.edge.as_deref());
    by_finding
        .find_map(|name| violated.iter().find(|edge| edge.name == name))
        .or_else(|| violated.iter().min_by_key(|edge| edge.tier))
        .copied()
}

/// Who is at fault, and what breaks.
fn blame(edge: &EdgeReport) -> String {
    let EdgeReport { name, to, breaks, .. } = edge;
    let object = edge.finding.as_ref().map_or("", |finding| short(&finding.object));
    let what = match edge.finding.as_ref().map(|finding| finding.code) {
        Some(Code::PolicyBlocks) if !object.is_empty() => format!("{name} is blocked by {object}"),
        Some(Code::PolicyBlocks) => format!("{name} is blocked by the policies"),
        Some(Code::BlockedElsewhere) => format!("{name} is blocked, and not by a NetworkPolicy"),
        Some(Code::TargetDown) => format!("{to} does not answer {name}"),
        Some(Code::NameNotResolved) => format!("{name} fails because the target's name does not resolve"),
        Some(Code::TlsInvalid) => format!("{name} fails because the target's TLS is not valid"),
        Some(Code::ProtocolMismatch) => format!("{name} reaches something that does not speak its protocol"),
        Some(Code::AuthRejected) => format!("{name} reaches its target and is refused by it"),
        Some(Code::ForbiddenOpen) => return format!("{name} is open and must be closed"),
        Some(Code::NotEnforced) => {
            return format!("{name} is open although the policies deny it: nothing enforces them");
        }
        _ if edge.expect == Expect::Deny => return format!("{name} is open and must be closed"),
        _ => format!("{name} does not work"),
    };
    if breaks.is_empty() { what } else { format!("{what}: {breaks}") }
}

/// `NetworkPolicy/matrix/mas` → `matrix/mas`.
fn short(object: &str) -> &str {
    match object.split_once('/') {
        Some((kind, rest)) if kind.starts_with(|c: char| c.is_ascii_uppercase()) => rest,
        _ => object,
    }
}

fn names(edges: &[&EdgeReport]) -> String {
    if edges.len() < 2 {
        return String::new();
    }
    edges.iter().map(|edge| edge.name.as_str()).collect::<Vec<_>>().join(", ")
}

fn unproven(unknown: &[&EdgeReport], all: usize) -> String {
    match unknown {
        [edge] if edge.needs.is_empty() => format!("{} is not proven", edge.name),
        [edge] => format!("{} is not proven: {}", edge.name, edge.needs),
        _ => format!("{} of {all} edges are not proven", unknown.len()),
    }
}

fn works(board: &Board) -> String {
    let works = board.edges.iter().filter(|e| e.expect == Expect::Allow && e.state == Some(State::Ok)).count();
    let closed =
        |e: &&EdgeReport| e.expect == Expect::Deny && e.state == Some(State::Ok) && e.observed == Some(Class::Blocked);
    let closed = board.edges.iter().filter(closed).count();
    let works = match works {
        0 => "No edge is needed".to_owned(),
        1 => "The one needed edge works".to_owned(),
        2 => "Both edges work".to_owned(),
        _ => format!("All {works} edges work"),
    };
    match closed {
        0 => works,
        1 => format!("{works}, 1 forbidden one is closed"),
        _ => format!("{works}, {closed} forbidden ones are closed"),
    }
}

/// The other violated edges: the one other by its fault, several by name.
fn also(worst: &EdgeReport, violated: &[&EdgeReport]) -> String {
    let others: Vec<_> = violated.iter().copied().filter(|edge| edge.name != worst.name).collect();
    match others.as_slice() {
        [] => String::new(),
        [edge] => format!("also: {}", blame(edge)),
        others => format!("also: {}", names(others)),
    }
}

fn warnings(board: &Board) -> String {
    match board.findings.iter().filter(|finding| finding.code.severity() >= Severity::Warning).count() {
        0 => String::new(),
        1 => "1 finding to look at".to_owned(),
        count => format!("{count} findings to look at"),
    }
}

#[cfg(test)]
mod tests;
