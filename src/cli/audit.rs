//! `portreeve audit`: intended × declared over a folder or a live cluster.

use std::fmt::Write;
use std::path::PathBuf;

use serde::Serialize;

use super::accept::{self, Split};
use super::args::{self, DialectArg, GIVE_WORLD, IntentArgs, WorldArgs};
use super::formats::{self, Case, ReportFormat};
use super::output::{self, Style, Table};
use super::{Done, Exit};
use crate::finding::{Finding, Severity};
use crate::judge::audit::audit;
use crate::judge::{Declared, EdgeReport};
use crate::load::Need;
use crate::load::inputs::Inputs;
use crate::matrix::Expect;
use crate::policy::{Dialect, Engine};
use crate::world::World;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    intent: IntentArgs,
    #[command(flatten)]
    world: WorldArgs,
    #[command(flatten)]
    dialect: DialectArg,
    /// Findings that are accepted: a YAML list of {finding, object?, edge?, reason, until}
    #[arg(long, value_name = "FILE")]
    accept: Option<PathBuf>,
    /// A tier-0 connection whose verdict is unknown does not fail the command
    #[arg(long)]
    allow_unknown: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: ReportFormat,
}

#[derive(Serialize)]
struct AuditJson<'a> {
    edges: &'a [EdgeReport],
    findings: &'a [Finding],
    accepted: &'a [Finding],
    coverage: serde_json::Value,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Done> {
    let mut accepted = accept::read_if(args.accept.as_deref())?;
    let inputs = args::read(&args.intent, &args.world, &[Need::Configs])?;
    let Some(world) = &inputs.world else {
        anyhow::bail!("nothing to compare with: {GIVE_WORLD}");
    };
    let Compared { rows, decided, mut findings } = compare(&inputs, world, args.dialect.dialect);
    let (annotated, unreadable) = accept::annotated(&inputs.accepts, &subject(&inputs, world));
    accepted.extend(annotated);
    findings.extend(unreadable);
    let split = accept::split(findings, &accepted, accept::today());
    let text = match args.output {
        ReportFormat::Text => text(&rows, &decided, &split, &inputs, Style::detect()),
        ReportFormat::Json => {
            let coverage = serde_json::to_value(&inputs.coverage)?;
            output::json(&AuditJson { edges: &rows, findings: &split.open, accepted: &split.accepted, coverage })?
        }
        ReportFormat::Sarif => formats::sarif(&split.open)?,
        ReportFormat::Github => formats::github(&split.open),
        ReportFormat::Junit => junit(&rows, &split.open),
    };
    let unknown = !args.allow_unknown && rows.iter().any(is_unknown_tier_0);
    let wrong = split.open.iter().any(|finding| finding.code.severity() > Severity::Note);
    Ok(Done { text, exit: Exit::findings_if(wrong || unknown) })
}

/// Rows with their declared fact and what decides it in short, and all findings: of the sources, of the manifests, of the comparison.
struct Compared {
    rows: Vec<EdgeReport>,
    decided: Vec<String>,
    findings: Vec<Finding>,
}

fn compare(inputs: &Inputs, world: &World, dialect: Dialect) -> Compared {
    let engine = Engine::new(world, &inputs.policies).with_dialect(dialect);
    let audited = audit(&inputs.resolution, world, &inputs.policies, &engine, &inputs.name);
    let mut findings = audited.findings;
    findings.extend(inputs.of_the_deployment().cloned());
    findings.extend(inputs.checklist.iter().cloned());
    // A stable sort keeps causes before what follows from them.
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.code.severity()));
    let mut seen = std::collections::BTreeSet::new();
    findings.retain(|finding| seen.insert(finding.clone()));
    Compared { rows: audited.edges, decided: audited.decided, findings }
}

/// MAS's workload and pods, as annotations name them.
fn subject(inputs: &Inputs, world: &World) -> Vec<String> {
    let pods = inputs.resolution.subject.iter().flat_map(|subject| &subject.pods).map(|id| world.pod(*id));
    let names = pods.flat_map(|pod| {
        // The variants are named like the API's kinds.
        let workload = pod.workload.iter().map(|w| format!("{:?}/{}/{}", w.kind, pod.name.namespace, w.name));
        workload.chain([format!("Pod/{}", pod.name)]).collect::<Vec<_>>()
    });
    names.collect()
}

fn is_unknown_tier_0(row: &EdgeReport) -> bool {
    row.expect == Expect::Allow && row.tier == 0 && row.declared == Some(Declared::Unknown)
}

fn text(rows: &[EdgeReport], decided: &[String], split: &Split, inputs: &Inputs, style: Style) -> String {
    let mut table = Table::new(&["EDGE", "POD PORT", "INTENDED", "DECLARED", "BECAUSE"]);
    for (row, decided) in rows.iter().zip(decided) {
        let declared = row.declared.map_or("", Declared::as_str);
        let cells = [row.name.as_str(), &row.ports(), row.expect.as_str(), declared, decided];
        table.row(cells.map(str::to_owned).to_vec());
    }
    let mut out = table.render(style, |index, column, cell| match (column, rows[index].declared) {
        (0, _) => style.bold(cell),
        (3, Some(declared)) => {
            let fits = matches!(
                (rows[index].expect, declared),
                (Expect::Allow, Declared::Allowed) | (Expect::Deny, Declared::Denied)
            );
            style.declared(fits, declared, cell)
        }
        _ => cell.to_owned(),
    });
    for (title, findings) in [("", &split.open), ("accepted:", &split.accepted)] {
        if !findings.is_empty() {
            let _ = writeln!(
                out,
                "\n{title}{}{}",
                if title.is_empty() { "" } else { "\n" },
                output::findings(findings, style).trim_end()
            );
        }
    }
    let c = &inputs.coverage;
    let from = c.cluster.as_ref().map_or_else(|| format!("{} files", c.files), |server| format!("cluster {server}"));
    let _ = writeln!(out, "\n{from}, {} objects, {} pods, {} policies read", c.objects, c.pods, c.policies);
    for missing in output::not_covered(c, &split.open) {
        out.push_str(&output::paragraph(&format!("not covered: {missing}"), 2));
    }
    let _ = writeln!(out, "{}", output::summary(&split.open));
    out
}

/// One case an edge, then one for each finding that belongs to no edge.
fn junit(rows: &[EdgeReport], findings: &[Finding]) -> String {
    let of_edge = |name: &str| -> Vec<String> {
        let mine =
            |finding: &&Finding| finding.edge.as_deref() == Some(name) && finding.code.severity() > Severity::Note;
        findings.iter().filter(mine).map(Case::said).collect()
    };
    let mut cases: Vec<Case> = rows
        .iter()
        .map(|row| {
            let failures = of_edge(&row.name);
            Case { name: row.name.clone(), failure: (!failures.is_empty()).then(|| failures.join("\n")) }
        })
        .collect();
    let others = findings.iter().filter(|finding| finding.edge.is_none() && finding.code.severity() > Severity::Note);
    cases.extend(others.map(Case::failed));
    formats::junit("portreeve audit", &cases)
}
