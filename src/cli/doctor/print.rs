//! Items for people and machines.

use std::fmt::Write;

use serde::Serialize;

use crate::cli::formats::{self, Case};
use crate::cli::output::{self, Style};
use crate::doctor::{Item, Outcome, Phase};
use crate::judge::State;

/// How `doctor` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(super) enum DoctorFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object
    Json,
    /// JUnit XML, for test reports
    Junit,
}

#[derive(Serialize)]
struct DoctorJson<'a> {
    items: &'a [Item],
    summary: serde_json::Value,
}

fn count(items: &[Item], outcome: Outcome) -> usize {
    items.iter().filter(|item| item.outcome == outcome).count()
}

pub(super) fn json(items: &[Item]) -> anyhow::Result<String> {
    let summary = Outcome::ALL.iter().map(|outcome| (outcome.as_str().to_owned(), count(items, *outcome).into()));
    output::json(&DoctorJson { items, summary: serde_json::Value::Object(summary.collect()) })
}

/// A mark and its word; never the mark alone.
fn mark(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "✓",
        Outcome::Fail => "✗",
        Outcome::Unknown => "?",
        Outcome::Manual => "☐",
    }
}

fn paint(style: Style, outcome: Outcome, text: &str) -> String {
    match outcome {
        Outcome::Pass => style.state(State::Ok, text),
        Outcome::Fail => style.state(State::Violated, text),
        Outcome::Unknown => style.state(State::Unknown, text),
        Outcome::Manual => style.state(State::Pending, text),
    }
}

pub(super) fn text(items: &[Item], style: Style) -> String {
    let mut out = String::new();
    let width = items.iter().map(|item| item.id.len()).max().unwrap_or_default();
    for phase in Phase::ALL {
        let mine: Vec<&Item> = items.iter().filter(|item| item.phase == phase).collect();
        if mine.is_empty() {
            continue;
        }
        let gap = if out.is_empty() { "" } else { "\n" };
        let _ = writeln!(out, "{gap}{}", style.bold(phase.title()));
        for item in mine {
            let word = format!("{} {:7}", mark(item.outcome), item.outcome.as_str());
            let _ = writeln!(out, "  {} {:width$}  {}", paint(style, item.outcome, &word), item.id, item.title);
            // What passes is worth its words only where something could still be better.
            if item.outcome != Outcome::Pass || !item.todo.is_empty() {
                out.push_str(&output::paragraph(&item.evidence, 6));
                out.push_str(&output::paragraph(&format!("do: {}", item.todo), 6));
                out.push_str(&style.dim(&output::paragraph(&format!("guide: {}", item.guide_section), 6)));
            }
        }
    }
    let of = |outcome| count(items, outcome);
    let _ = writeln!(
        out,
        "\n{} passed, {} failed, {} unknown, {} to try by hand",
        of(Outcome::Pass),
        of(Outcome::Fail),
        of(Outcome::Unknown),
        of(Outcome::Manual)
    );
    out
}

/// One case an item; what is unknown or for people is no failure of a test.
pub(super) fn junit(items: &[Item], allow_unknown: bool) -> String {
    let fails = |item: &Item| {
        item.outcome == Outcome::Fail || (item.outcome == Outcome::Unknown && item.decisive && !allow_unknown)
    };
    let cases: Vec<Case> = items
        .iter()
        .map(|item| Case {
            name: format!("{}: {}", item.id, item.title),
            failure: fails(item)
                .then(|| format!("{}\ndo: {}\nguide: {}", item.evidence, item.todo, item.guide_section)),
        })
        .collect();
    formats::junit("portreeve doctor", &cases)
}
