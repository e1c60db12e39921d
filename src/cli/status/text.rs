//! The status for people: a sentence, the edges, what is wrong, who was asked.

use std::fmt::Write;
use std::time::Duration;

use super::Status;
use crate::agent::observed;
use crate::cli::output::{self, Style, Table};
use crate::judge::{Class, Declared, EdgeReport, Reason, State};

pub(super) fn text(status: &Status, whole: bool, style: Style) -> String {
    let mut out = headline(status, style);
    let mut table = Table::new(&["EDGE", "STATE", "SINCE", "DECLARED", "OBSERVED", "REASON"]);
    for row in &status.rows {
        let state = row.state.map_or("not probed", State::as_str);
        let cells = [
            row.name.as_str(),
            state,
            &since(status, row).map_or_else(String::new, span),
            row.declared.map_or("", Declared::as_str),
            row.observed.map_or("", Class::as_str),
            row.reason.map_or("", Reason::as_str),
        ];
        table.row(cells.map(str::to_owned).to_vec());
    }
    out += &table.render(style, |index, column, cell| match column {
        0 => style.bold(cell),
        1 => style.state(status.rows[index].state.unwrap_or(State::Unknown), cell),
        _ => cell.to_owned(),
    });
    if whole {
        for row in &status.rows {
            details(&mut out, status, row);
        }
    }
    if !status.findings.is_empty() {
        let _ = write!(out, "\n{}", output::findings(&status.findings, style));
    }
    out + &agents(status, style)
}

fn headline(status: &Status, style: Style) -> String {
    let count = |wanted: State| status.rows.iter().filter(|row| row.state.unwrap_or(State::Unknown) == wanted).count();
    let (violated, unknown, all) = (count(State::Violated), count(State::Unknown), status.rows.len());
    let said = match status.rows.first() {
        Some(row) if row.state == Some(State::Violated) => {
            format!("{violated} of {all} edges violated; {}: {}", row.name, row.breaks)
        }
        _ if unknown > 0 => format!("no edge is violated, but {unknown} of {all} are unknown"),
        _ => format!("all {all} edges are as they should be"),
    };
    format!("{} {said}\n\n", style.bold(&format!("{}:", status.matrix)))
}

/// What every agent saw, and why the policies say what they say.
fn details(out: &mut String, status: &Status, row: &EdgeReport) {
    let _ = writeln!(out, "\nfrom {} to {}, {}", row.from, row.to, row.ports());
    let _ = writeln!(out, "without it: {}", row.breaks);
    if !row.because.is_empty() {
        let _ = writeln!(out, "declared: {}", row.because);
    }
    for attempt in status.probes.iter().filter(|attempt| attempt.edge == row.name) {
        let address = attempt.address.map_or_else(String::new, |address| format!("{address} "));
        let _ =
            writeln!(out, "observed: {address}{}: {} ({})", attempt.reason, attempt.reason.sentence(), attempt.detail);
    }
}

/// Who was asked, as far as somebody has to know.
fn agents(status: &Status, style: Style) -> String {
    let silent = status.witnesses.iter().filter_map(|witness| witness.report.as_ref().err().map(|why| (witness, why)));
    let mut out = String::new();
    for (witness, why) in silent {
        let _ = writeln!(out, "the agent in {} did not answer: {why}", witness.pod);
    }
    let asked = match status.witnesses.len() {
        0 => "no agent was found: put the sidecar into MAS's pods (docs/agent.md); without it nothing is observed"
            .to_owned(),
        1 => "one agent was asked".to_owned(),
        count => format!("{count} agents were asked"),
    };
    format!("\n{out}{}\n", style.dim(&asked))
}

/// Since when an edge is as it is, by the agent that has seen it for longest.
fn since(status: &Status, row: &EdgeReport) -> Option<Duration> {
    let (_, vantage) = status.assigned.iter().find(|(name, _)| *name == row.name)?;
    observed::since(&row.name, *vantage, row.reason?, &status.witnesses)
}

/// `40 s`, `3 min`, `5 h`, `2 d`: as exact as somebody at night wants it.
fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}
