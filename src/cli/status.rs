//! `portreeve status --direct`: what is wrong right now, worst first, without a controller.
//!
//! The policies of the cluster say what is declared, and the agents, asked through the API's port-forward, what is observed.

mod text;

use std::time::Duration;

use anyhow::Context;
use serde::Serialize;

use super::args::{self, AccessArgs, IntentArgs};
use super::output::{self, Style};
use super::{Done, Exit};
use crate::agent::ask;
use crate::agent::assignment::{Assignment, Intervals, Vantage};
use crate::agent::observed::{self, Witness};
use crate::finding::Finding;
use crate::judge::audit::audit;
use crate::judge::{Attempt, EdgeReport, Mode, Observation, State, join};
use crate::load::Source;
use crate::load::cluster::Access;
use crate::load::inputs::Inputs;
use crate::matrix::{Expect, Party, PeerKind};
use crate::policy::Engine;
use crate::world::{ObjectName, World};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "For whoever is called at night: the worst edge stands first, with who is at fault, since when, and what to do.\n\n\
    What should be is read from the TrafficMatrix of the cluster, unless a file is given. The agents are asked through the API's port-forward, \
    which no NetworkPolicy stops; it needs `create` on pods/portforward beside what --cluster needs elsewhere.\n\n\
    Examples:\n  portreeve status --direct\n  portreeve status --direct mas-to-postgres       everything about one edge\n  \
    portreeve status --direct --guide values.yaml   without a TrafficMatrix in the cluster"
)]
pub(super) struct Args {
    /// Everything about this edge
    #[arg(value_name = "EDGE")]
    edge: Option<String>,
    /// Ask the cluster and the agents themselves
    #[arg(long, required = true)]
    direct: bool,
    #[command(flatten)]
    intent: IntentArgs,
    #[command(flatten)]
    access: AccessArgs,
    /// A tier-0 edge whose state is unknown does not fail the command
    #[arg(long)]
    allow_unknown: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum Format {
    /// For people
    #[default]
    Text,
    /// One JSON object
    Json,
}

/// Everything that is known at this moment.
struct Status {
    matrix: String,
    /// Worst first.
    rows: Vec<EdgeReport>,
    findings: Vec<Finding>,
    probes: Vec<Attempt>,
    witnesses: Vec<Witness>,
    /// Who probes which edge.
    assigned: Vec<(String, Vantage)>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Done> {
    let access = args.access.access();
    let inputs = args::read_world(&args.intent, &Source::Cluster(access.clone()))?;
    anyhow::ensure!(
        !inputs.intent.edges.is_empty(),
        "nothing says what should be: there is no TrafficMatrix in the cluster; give --guide, --mas-config or --matrix"
    );
    let world = inputs.world.as_ref().context("the cluster shows no objects")?;
    let witnesses = witnesses(&inputs, world, &access)?;
    let mut status = judge(&inputs, world, witnesses, jiff::Timestamp::now().as_second());
    if let Some(edge) = &args.edge {
        let names = || status.rows.iter().map(|row| row.name.as_str()).collect::<Vec<_>>().join(", ");
        anyhow::ensure!(
            status.rows.iter().any(|row| row.name == *edge),
            "there is no edge `{edge}`; there are {}",
            names()
        );
        status.rows.retain(|row| row.name == *edge);
        status.findings.retain(|finding| finding.edge.as_ref() == Some(edge));
        status.probes.retain(|attempt| attempt.edge == *edge);
    }
    let text = match args.output {
        Format::Json => output::json(&Json::of(&status))?,
        Format::Text => text::text(&status, args.edge.is_some(), Style::detect()),
    };
    let fails = |row: &EdgeReport| match row.state {
        Some(State::Violated) => true,
        Some(State::Unknown) | None => row.tier == 0 && row.expect == Expect::Allow && !args.allow_unknown,
        _ => false,
    };
    Ok(Done { text, exit: Exit::findings_if(status.rows.iter().any(fails)) })
}

/// Asks the agent in every pod of the subject, and every stranger.
fn witnesses(inputs: &Inputs, world: &World, access: &Access) -> anyhow::Result<Vec<Witness>> {
    let subject = inputs.resolution.subject.iter().flat_map(|subject| subject.pods.iter().copied());
    let mut pods: Vec<(ObjectName, Vantage)> =
        subject.map(|pod| (world.pod(pod).name.clone(), Vantage::Subject)).collect();
    for resolved in &inputs.resolution.edges {
        let is_stranger = resolved.edge.to.iter().any(|target| target.party == Party::Stranger);
        for peer in resolved.to.iter().filter(|_| is_stranger) {
            if let PeerKind::Pods { pods: strangers, .. } = &peer.kind {
                pods.extend(strangers.iter().map(|pod| (world.pod(*pod).name.clone(), Vantage::Stranger)));
            }
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    runtime.block_on(async {
        let client = access.client().await?;
        Ok(ask::ask(&client, pods).await)
    })
}

/// `now` in seconds since 1970, for how long pods have been as they are.
fn judge(inputs: &Inputs, world: &World, witnesses: Vec<Witness>, now: i64) -> Status {
    let engine = Engine::new(world, &inputs.policies);
    let audited = audit(&inputs.resolution, world, &inputs.policies, &engine, &inputs.name);
    let assignment = Assignment::new(&inputs.resolution, &inputs.name, 0, Intervals::default());
    let assigned: Vec<(String, Vantage)> = assignment.edges.into_iter().map(|edge| (edge.name, edge.vantage)).collect();
    let mut observed = std::collections::BTreeMap::new();
    for (name, vantage) in &assigned {
        let resolved = inputs.resolution.edges.iter().find(|resolved| resolved.edge.name == *name);
        let Some(resolved) = resolved else { continue };
        let ready = resolved.ready_since(world).map(|since| Duration::from_secs((now - since).max(0).unsigned_abs()));
        let seen = observed::observe(name, *vantage, &witnesses, ready);
        let target = Observation {
            target_up: resolved.readiness(world),
            unready: resolved.unready(world),
            settling: resolved.is_settling(world, now),
            ..seen
        };
        observed.insert(name.clone(), target);
    }
    let mut rows = audited.edges;
    let mut findings = join(&mut rows, &observed, &audited.findings, Mode::Enforce);
    // What the policies show by themselves, beside what the edges show.
    let covered = |finding: &Finding| {
        finding.edge.as_ref().is_some_and(|edge| findings.iter().any(|f| f.edge.as_ref() == Some(edge)))
    };
    let others: Vec<Finding> = audited
        .findings
        .iter()
        .chain(inputs.of_the_deployment())
        .filter(|finding| !covered(finding))
        .cloned()
        .collect();
    findings.extend(others);
    rows.sort_by_key(|row| (std::cmp::Reverse(row.state.unwrap_or(State::Unknown)), row.tier));
    let probes = observed.into_values().flat_map(|observation| observation.attempts).collect();
    Status { matrix: inputs.name.to_string(), rows, findings, probes, witnesses, assigned }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Json<'a> {
    matrix: &'a str,
    edges: &'a [EdgeReport],
    findings: &'a [Finding],
    probes: &'a [Attempt],
    agents: Vec<Agent<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Agent<'a> {
    pod: &'a str,
    vantage: Vantage,
    generation: Option<u64>,
    uptime_seconds: Option<f64>,
    error: Option<&'a str>,
}

impl<'a> Json<'a> {
    fn of(status: &'a Status) -> Self {
        let agents = status.witnesses.iter().map(|witness| {
            let report = witness.report.as_ref().ok();
            Agent {
                pod: &witness.pod,
                vantage: witness.vantage,
                generation: report.map(|report| report.generation),
                uptime_seconds: report.map(|report| report.uptime_seconds),
                error: witness.report.as_ref().err().map(String::as_str),
            }
        });
        Self {
            matrix: &status.matrix,
            edges: &status.rows,
            findings: &status.findings,
            probes: &status.probes,
            agents: agents.collect(),
        }
    }
}
