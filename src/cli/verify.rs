//! `portreeve verify`: assertions against the policies of a folder or a live cluster.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::Context;
use serde::Serialize;

use super::args::{self, DialectArg, GIVE_WORLD, IntentArgs, WorldArgs};
use super::formats::{self, Case, ReportFormat};
use super::output::{self, Style, Table};
use super::{Done, Exit};
use crate::finding::{Code, Finding};
use crate::judge::verify::{Outcome, check, read};
use crate::load::Coverage;
use crate::policy::Engine;
use crate::source::files::{self, MAX_MANIFEST_BYTES};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "An assertion: {name: ..., from: subject, to: postgres/svc/matrix-db-rw, port: 5432, expect: allow}\n\
    from and to: ns/pod, ns/deploy/name (sts, ds, job, cronjob, rs), ns/svc/name, an address, a CIDR, node/name, subject, any-pod, world\n\
    port: 5432, 53/udp, or a port's name; with a Service it is the Service port\nexpect: allow, deny or unknown\n\n\
    Exit codes: 0 every assertion holds; 1 one does not, or the API server would refuse a policy among the manifests; 2 wrong usage or input."
)]
pub(super) struct Args {
    /// Assertions: a YAML list, or JSON lines; `-` reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    world: WorldArgs,
    #[command(flatten)]
    dialect: DialectArg,
    #[command(flatten)]
    intent: IntentArgs,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: ReportFormat,
}

#[derive(Serialize)]
struct VerifyJson<'a> {
    assertions: &'a [Outcome],
    /// Manifests that do not count.
    findings: &'a [Finding],
    coverage: &'a Coverage,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Done> {
    let source = args.world.source()?;
    let source = source.with_context(|| format!("nothing to check against: {GIVE_WORLD}"))?;
    let text = files::read(&args.file, MAX_MANIFEST_BYTES)?;
    let assertions = read(&text.name, &text.text)?;
    anyhow::ensure!(!assertions.is_empty(), "{}: no assertion in it: nothing would be checked", text.name);
    let inputs = args::read_world(&args.intent, &source)?;
    let left_out = inputs.left_out();
    let world = inputs.world.unwrap_or_default();
    let engine = Engine::new(&world, &inputs.policies).with_dialect(args.dialect.dialect);
    // Who `subject` means: as the sources say, else found by its image.
    let outcomes = check(&assertions, &world, &engine, inputs.resolution.subject.as_ref());
    let failed: Vec<&Outcome> = outcomes.iter().filter(|outcome| !outcome.holds).collect();
    // Whoever wrote a policy that no cluster takes believes that it counts.
    let refused: Vec<&Finding> = left_out.iter().filter(|finding| finding.code == Code::InvalidPolicy).collect();
    let all = || failed.iter().map(|outcome| finding(outcome)).chain(left_out.iter().cloned()).collect::<Vec<_>>();
    let text = match args.output {
        ReportFormat::Text => text_of(&outcomes, &left_out, &inputs.coverage, Style::detect()),
        ReportFormat::Json => {
            output::json(&VerifyJson { assertions: &outcomes, findings: &left_out, coverage: &inputs.coverage })?
        }
        ReportFormat::Junit => {
            let case = |o: &Outcome| Case { name: o.assertion.name.clone(), failure: (!o.holds).then(|| said(o)) };
            let cases = outcomes.iter().map(case).chain(refused.iter().map(|finding| Case::failed(finding)));
            formats::junit("portreeve verify", &cases.collect::<Vec<_>>())
        }
        ReportFormat::Sarif => formats::sarif(&all())?,
        ReportFormat::Github => formats::github(&all()),
    };
    Ok(Done { text, exit: Exit::findings_if(!failed.is_empty() || !refused.is_empty()) })
}

fn said(outcome: &Outcome) -> String {
    format!("expected {}, is {}: {}", outcome.assertion.expect.as_str(), outcome.verdict.as_str(), outcome.because)
}

/// A failed assertion as CI systems want it.
fn finding(outcome: &Outcome) -> Finding {
    let fix = "change the policies, or the assertion if it is out of date";
    Finding::new(Code::AssertionFailed, outcome.assertion.name.clone(), said(outcome), fix)
        .at(outcome.assertion.place.clone())
}

fn text_of(outcomes: &[Outcome], left_out: &[Finding], coverage: &Coverage, style: Style) -> String {
    let failed: Vec<&Outcome> = outcomes.iter().filter(|outcome| !outcome.holds).collect();
    let mut out = String::new();
    if !failed.is_empty() {
        let mut table = Table::new(&["EXPECT", "VERDICT", "ASSERTION AND WHY IT FAILS"]);
        for outcome in &failed {
            let place = &outcome.assertion.place;
            let cell = format!("{place}: {}: {}", outcome.assertion.name, outcome.because);
            table.row(vec![outcome.assertion.expect.as_str().to_owned(), outcome.verdict.as_str().to_owned(), cell]);
        }
        out =
            table.render(style, |_, column, cell| if column == 1 { style.bold(cell) } else { cell.to_owned() }) + "\n";
    }
    if !left_out.is_empty() {
        out.push_str(&output::findings(left_out, style));
        out.push('\n');
    }
    for missing in output::not_covered(coverage, left_out) {
        out.push_str(&output::paragraph(&format!("not covered: {missing}"), 0));
    }
    let _ = writeln!(out, "{} of {} assertions hold", outcomes.len() - failed.len(), outcomes.len());
    out
}
