//! `portreeve diff`: which new connections open and close between two sets of policies.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::args::{AccessArgs, DialectArg};
use super::explain::ports;
use super::output::{self, Format, Style, WIDTH, wrap};
use super::{Done, Exit};
use crate::finding::Finding;
use crate::judge::diff::{Cause, Change, Difference, Row, What, diff};
use crate::load::inputs;
use crate::load::{Builder, Snapshot, Source};
use crate::policy::Engine;

/// Names that are listed at each end of a row; `-o json` has all.
const NAMES: usize = 4;
/// Rows that are printed.
const ROWS: usize = 200;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Pods, Services, namespaces and nodes may be in A and B, or, where these hold policies only, in --world or --cluster. \
        Policies there count on both sides, and A and B are applied on top.\n\n\
        The word `cluster` as A or B is the live cluster (a folder of that name is ./cluster); the other side's policies then stand in its pods:\n  \
        portreeve diff git/policies cluster            is the cluster as Git has it? what would change if it were\n  \
        portreeve diff cluster change.yaml --cluster   what would `kubectl apply -f change.yaml` open or close?\n\n\
        The answer is about new connections: what happens to established ones is up to the network plugin.\n\n\
        Exit codes: 0 nothing of what --fail-on names changes; 1 something does, or may (not known); 2 wrong usage or input."
)]
pub(super) struct Args {
    /// Before: manifests, a file or a folder, or the word `cluster`
    #[arg(value_name = "A")]
    left: PathBuf,
    /// After
    #[arg(value_name = "B")]
    right: PathBuf,
    /// Manifests that both sides share; may be given several times
    #[arg(long, value_name = "PATH")]
    world: Vec<PathBuf>,
    /// The live cluster, which both sides share
    #[arg(long)]
    cluster: bool,
    #[command(flatten)]
    access: AccessArgs,
    #[command(flatten)]
    dialect: DialectArg,
    /// What makes the command fail
    #[arg(long, value_enum, default_value_t)]
    fail_on: FailOn,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum FailOn {
    /// A connection that opens, or may open
    Open,
    /// A connection that closes, or may close
    Close,
    /// Any difference
    #[default]
    Any,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Done> {
    let Sides { left, right, notes } = sides(args)?;
    let before = Engine::new(&left.world, &left.policies).with_dialect(args.dialect.dialect);
    let after = Engine::new(&right.world, &right.policies).with_dialect(args.dialect.dialect);
    let found = diff(&before, &after);
    anyhow::ensure!(
        found.workloads > 0,
        "A and B have no pod in common, so nothing can be compared: give the pods with --world PATH or --cluster"
    );
    let changed = match args.fail_on {
        FailOn::Open => found.count(Change::is_opening) > 0,
        FailOn::Close => found.count(Change::is_closing) > 0,
        FailOn::Any => !found.rows.is_empty(),
    };
    let told = Told::of(&left, &right, notes);
    let text = match args.output {
        Format::Text => text(&found, &left, &right, &told, Style::detect()),
        Format::Json => output::json(&json_of(&found, &left, &right, &told))?,
    };
    Ok(Done { text, exit: Exit::findings_if(changed || told.unread) })
}

/// The word that means the live cluster.
const LIVE: &str = "cluster";

/// What is compared.
struct Sides {
    left: Snapshot,
    right: Snapshot,
    /// How they are to be understood.
    notes: Vec<String>,
}

/// What is to be said beside the difference.
struct Told {
    notes: Vec<String>,
    /// Manifests of either side that do not count.
    left_out: Vec<Finding>,
    /// A file of either side cannot be read: what stands in it may differ, and may hide what does, even where both sides have the file.
    unread: bool,
}

impl Told {
    fn of(left: &Snapshot, right: &Snapshot, notes: Vec<String>) -> Self {
        let mut left_out = inputs::left_out(&left.findings);
        for finding in inputs::left_out(&right.findings) {
            // What both sides share is said once.
            if !left_out.contains(&finding) {
                left_out.push(finding);
            }
        }
        let unread = left.world.unread().or(right.world.unread()).is_some();
        Self { notes, left_out, unread }
    }
}

/// Reads both sides, a live cluster only once.
fn sides(args: &Args) -> anyhow::Result<Sides> {
    let is_live = |path: &Path| path.as_os_str() == LIVE;
    let live = [&args.left, &args.right].map(|path| is_live(path));
    anyhow::ensure!(live != [true, true], "A and B are the same cluster: one of them must be a file or a folder");
    let mut shared = Builder::default();
    if !args.world.is_empty() {
        Source::Manifests(args.world.clone()).read_into(&mut shared, &[], &mut |_| ())?;
    }
    let mut cluster = None;
    if let Some(source) = args.access.source(args.cluster || live.contains(&true))? {
        let mut with = shared.clone();
        source.read_into(&mut with, &[], &mut |_| ())?;
        if args.cluster {
            shared = with;
        } else {
            cluster = Some(with);
        }
    }
    let mut notes = Vec::new();
    let mut side = |name: &str, path: &PathBuf| -> anyhow::Result<Snapshot> {
        if is_live(path) {
            return Ok(cluster.clone().unwrap_or_else(|| shared.clone()).finish());
        }
        let mut own = shared.clone();
        let mut borrowing = cluster.as_ref().map(|cluster| shared.in_world_of(cluster));
        Source::Manifests(vec![path.clone()]).read_into(&mut own, &[], &mut |object| {
            if let Some(borrowing) = &mut borrowing {
                borrowing.add(object);
            }
        })?;
        let borrowing = borrowing.map(|borrowing| borrowing.with_account_of(&own));
        let own = own.finish();
        let Some(borrowing) = borrowing.filter(|_| own.world.pods.is_empty()) else { return Ok(own) };
        notes.push(format!(
            "{name} has policies only: they stand in the cluster's pods, in the place of all policies that are there; with --cluster they come on top of these"
        ));
        Ok(borrowing.finish())
    };
    let (left, right) = (side("A", &args.left)?, side("B", &args.right)?);
    Ok(Sides { left, right, notes })
}

fn text(found: &Difference, left: &Snapshot, right: &Snapshot, told: &Told, style: Style) -> String {
    let mut out = String::new();
    if found.rows.is_empty() && told.unread {
        let _ = writeln!(out, "{}  what A and B admit: not every file can be read", style.bold("unknown"));
    } else if found.rows.is_empty() {
        let _ = writeln!(out, "{}  A and B admit the same new connections", style.bold("same"));
    } else {
        let _ = writeln!(out, "{}  {}", style.bold("differs"), summary(found));
    }
    rows(&mut out, found);
    for policy in unused(found) {
        line(
            &mut out,
            2,
            &format!("{} {} ({}): changes nothing for these pods", policy.name, policy.what.as_str(), policy.place),
        );
    }
    for (side, only) in [("A", &found.only_left), ("B", &found.only_right)] {
        if !only.is_empty() {
            line(&mut out, 2, &format!("only in {side}, not compared: {}", names(only)));
        }
    }
    for note in &told.notes {
        line(&mut out, 2, &format!("note: {note}"));
    }
    for (side, snapshot) in [("A", left), ("B", right)] {
        for missing in output::not_covered(&snapshot.coverage, &told.left_out) {
            line(&mut out, 2, &format!("not covered in {side}: {missing}"));
        }
    }
    if !told.left_out.is_empty() {
        let _ = writeln!(out, "\n{}", output::findings(&told.left_out, style));
    }
    let _ = writeln!(
        out,
        "{} policies differ; {} workloads compared ({} pods, {} and {} policies)",
        found.policies.len(),
        found.workloads,
        right.coverage.pods,
        left.coverage.policies,
        right.coverage.policies
    );
    out
}

/// `new connections: 3 pairs open, 1 pair closes, …`
pub(super) fn summary(found: &Difference) -> String {
    let (opens, closes, unknown) = counts(found);
    format!("new connections: {} open, {} close, {} not known", pairs(opens), pairs(closes), pairs(unknown))
}

/// What changes for whom, and by which policy.
pub(super) fn rows(out: &mut String, found: &Difference) {
    for row in found.rows.iter().take(ROWS) {
        line(out, 2, &format!("{} → {}", names(&row.from), names(&row.to)));
        line(out, 4, &row.change.to_string());
        for cause in &row.because {
            line(out, 4, &format!("by {cause}"));
        }
    }
    if let Some(more) = found.rows.len().checked_sub(ROWS).filter(|more| *more > 0) {
        line(out, 2, &format!("and {more} more: -o json has all"));
    }
}

fn counts(found: &Difference) -> (usize, usize, usize) {
    (
        found.count(|change| !change.opens.is_empty()),
        found.count(|change| !change.closes.is_empty()),
        found.count(Change::is_unknown),
    )
}

fn pairs(count: usize) -> String {
    if count == 1 { "1 pair".to_owned() } else { format!("{count} pairs") }
}

fn names(all: &BTreeSet<String>) -> String {
    let shown: Vec<&str> = all.iter().take(NAMES).map(String::as_str).collect();
    match all.len().checked_sub(NAMES) {
        Some(more) if more > 0 => format!("{} and {more} more", shown.join(", ")),
        _ => shown.join(", "),
    }
}

/// Policies that differ and are behind no row.
fn unused(found: &Difference) -> impl Iterator<Item = &crate::judge::diff::PolicyChange> {
    let used: BTreeSet<_> = found
        .rows
        .iter()
        .flat_map(|row| &row.because)
        .filter_map(|cause| match cause {
            Cause::Policy { policy, .. } => Some(policy.clone()),
            Cause::Moved { .. } | Cause::NotEvaluated { .. } => None,
        })
        .collect();
    found.policies.iter().filter(move |policy| !used.contains(policy))
}

/// A line, wrapped.
pub(super) fn line(out: &mut String, indent: usize, text: &str) {
    for (index, row) in wrap(text, WIDTH - indent - 2).iter().enumerate() {
        let margin = if index == 0 { indent } else { indent + 2 };
        let _ = writeln!(out, "{}", format!("{:margin$}{row}", "").trim_end());
    }
}

fn json_of(found: &Difference, left: &Snapshot, right: &Snapshot, told: &Told) -> Value {
    let (opens, closes, unknown) = counts(found);
    let policies: Vec<Value> = found
        .policies
        .iter()
        .map(|policy| json!({ "name": policy.name.to_string(), "change": policy.what.as_str(), "place": policy.place }))
        .collect();
    json!({
        "differs": !found.rows.is_empty() || told.unread,
        "opens": opens,
        "closes": closes,
        "notKnown": unknown,
        "changes": changes(found),
        "policies": policies,
        "onlyInA": found.only_left,
        "onlyInB": found.only_right,
        "notes": told.notes,
        "findings": told.left_out,
        "coverage": { "a": left.coverage, "b": right.coverage },
    })
}

/// The rows, as `-o json` has them.
pub(super) fn changes(found: &Difference) -> Vec<Value> {
    found.rows.iter().map(row).collect()
}

fn row(row: &Row) -> Value {
    let change = &row.change;
    json!({
        "from": row.from,
        "to": row.to,
        "families": change.families.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "opens": ports(&change.opens),
        "closes": ports(&change.closes),
        "mayOpen": ports(&change.may_open),
        "mayClose": ports(&change.may_close),
        "because": row.because.iter().map(cause).collect::<Vec<_>>(),
    })
}

fn cause(cause: &Cause) -> Value {
    match cause {
        Cause::Policy { policy, direction } => json!({
            "object": format!("NetworkPolicy/{}", policy.name),
            "change": policy.what.as_str(),
            "direction": direction.to_string(),
            "place": policy.place,
        }),
        Cause::Moved { who } => json!({ "object": who, "change": What::Changed.as_str() }),
        Cause::NotEvaluated { object, place } => json!({ "object": object, "change": "notEvaluated", "place": place }),
    }
}
