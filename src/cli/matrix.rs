//! `portreeve matrix`: which connections MAS needs.

use std::fmt::Write;

use serde::Serialize;

use super::args::{self, IntentArgs, WorldArgs};
use super::output::{self, Format, Style, Table};
use super::{Done, Exit};
use crate::finding::{Code, Finding, Severity};
use crate::judge::EdgeReport;
use crate::load::inputs::Inputs;
use crate::matrix::Expect;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    intent: IntentArgs,
    #[command(flatten)]
    world: WorldArgs,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Serialize)]
struct MatrixJson<'a> {
    edges: &'a [EdgeReport],
    notes: &'a [String],
    findings: &'a [Finding],
}

/// One row an edge; what is missing to resolve it comes from the findings.
pub(super) fn rows(inputs: &Inputs) -> Vec<EdgeReport> {
    let mut rows: Vec<EdgeReport> = inputs.resolution.edges.iter().map(EdgeReport::intended).collect();
    for row in &mut rows {
        let missing = |f: &&Finding| {
            f.edge.as_deref() == Some(&row.name) && matches!(f.code, Code::PeerUnknown | Code::ReferenceBroken)
        };
        row.needs = inputs.findings.iter().find(missing).map_or(String::new(), |finding| finding.fix.clone());
    }
    rows
}

pub(super) fn run(args: &Args) -> anyhow::Result<Done> {
    let inputs = args::read(&args.intent, &args.world, &[])?;
    let rows = rows(&inputs);
    let notes = &inputs.intent.notes;
    let text = match args.output {
        Format::Json => output::json(&MatrixJson { edges: &rows, notes, findings: &inputs.findings })?,
        Format::Text => text(&rows, &inputs, Style::detect()),
    };
    let wrong = inputs.findings.iter().any(|f| f.code.severity() == Severity::Error);
    Ok(Done { text, exit: Exit::findings_if(wrong) })
}

fn text(rows: &[EdgeReport], inputs: &Inputs, style: Style) -> String {
    let mut table = Table::new(&["EDGE", "POD PORT", "TIER", "FROM → TO"]);
    for row in rows {
        let tier = if row.expect == Expect::Deny { "closed".to_owned() } else { row.tier.to_string() };
        table.row(vec![row.name.clone(), row.ports(), tier, format!("{} → {}", row.from, row.to)]);
    }
    let mut out = table.render(style, |_, column, cell| if column == 0 { style.bold(cell) } else { cell.to_owned() });
    out.push_str("\nTier 0: nobody can log in without it. `closed`: must not work.\n\n");
    for row in rows {
        let _ = writeln!(out, "{}", style.bold(&row.name));
        if !row.breaks.is_empty() {
            out.push_str(&output::paragraph(&format!("without it: {}", row.breaks), 2));
        }
        for provenance in &row.provenance {
            out.push_str(&style.dim(&output::paragraph(provenance, 2)));
        }
        if !row.needs.is_empty() {
            out.push_str(&output::paragraph(&format!("to know more: {}", row.needs), 2));
        }
    }
    for note in &inputs.intent.notes {
        out.push('\n');
        out.push_str(&output::paragraph(&format!("note: {note}"), 0));
    }
    if !inputs.findings.is_empty() {
        let _ = write!(out, "\n{}", output::findings(&inputs.findings, style));
        let _ = writeln!(out, "\n{}", output::summary(&inputs.findings));
    }
    out
}
