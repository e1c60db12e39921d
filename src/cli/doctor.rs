//! `portreeve doctor`: the guide, phase by phase.

#[cfg(target_os = "linux")]
mod network;
mod print;

use std::path::PathBuf;

use super::args::{IntentArgs, WorldArgs};
use super::output::Style;
use super::{Done, Exit};
use crate::doctor::found::{Collector, Found};
use crate::doctor::{Facts, MasConfigRead, Outcome, Phase, examine};
use crate::finding::Finding;
use crate::guide::{GuideValues, checklist, mas_config};
use crate::judge::audit::audit;
use crate::load::Need;
use crate::load::inputs::{self, Inputs, IntentPaths};
use crate::policy::Engine;
use crate::source::Document;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "MAS's config is taken from --mas-config, or else from a ConfigMap or Secret among --manifests, or a ConfigMap of --cluster; Synapse's and Authelia's \
    from there as well. Secrets are looked at and never printed: how long, which characters, whether both sides are the same.\n\n\
    Examples:\n  portreeve doctor --guide values.yaml --manifests dump/\n  \
    portreeve doctor --mas-config config.yaml --manifests dump/ --phase synapse --phase authelia\n  \
    portreeve doctor --matrix matrix.yaml --manifests dump/ --network -o junit\n  \
    portreeve doctor --guide values.yaml --cluster"
)]
pub(super) struct Args {
    #[command(flatten)]
    intent: IntentArgs,
    #[command(flatten)]
    world: WorldArgs,
    /// Only this phase: 1 to 6, or prerequisites, database, secrets, deployment, synapse, authelia, testing, dns, policies; may be given several times
    #[arg(long, value_name = "PHASE", value_parser = parse_phase)]
    phase: Vec<Phase>,
    #[cfg(target_os = "linux")]
    #[command(flatten)]
    network: network::NetworkArgs,
    /// An unknown answer about a connection without which nobody can log in does not fail the command
    #[arg(long)]
    allow_unknown: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: print::DoctorFormat,
}

fn parse_phase(text: &str) -> Result<Phase, String> {
    let is = |phase: &Phase| phase.as_str() == text || phase.number().is_some_and(|number| number.to_string() == text);
    Phase::ALL.into_iter().find(is).ok_or_else(|| {
        let words: Vec<&str> = Phase::ALL.iter().map(|phase| phase.as_str()).collect();
        format!("there is 1 to 6, or {}", words.join(", "))
    })
}

pub(super) fn run(args: &Args) -> anyhow::Result<Done> {
    let gathered = gather(&args.intent, &args.world)?;
    #[cfg(target_os = "linux")]
    let facts = network::ask(&args.network, gathered)?;
    #[cfg(not(target_os = "linux"))]
    let facts = gathered.facts();
    let mut items = examine(&facts);
    items.retain(|item| args.phase.is_empty() || args.phase.contains(&item.phase));
    let wrong = items.iter().any(|item| {
        item.outcome == Outcome::Fail || (item.outcome == Outcome::Unknown && item.decisive && !args.allow_unknown)
    });
    let text = match args.output {
        print::DoctorFormat::Text => print::text(&items, Style::detect()),
        print::DoctorFormat::Json => print::json(&items)?,
        print::DoctorFormat::Junit => print::junit(&items, args.allow_unknown),
    };
    Ok(Done { text, exit: Exit::findings_if(wrong) })
}

/// What the files say.
pub(super) struct Gathered {
    pub(super) inputs: Inputs,
    pub(super) values: Option<GuideValues>,
    /// MAS's config, of which a broken one is an answer too.
    pub(super) mas: Option<MasConfigRead>,
    found: Found,
}

/// Reads everything that can say what is intended, configs among the objects included.
pub(super) fn gather(intent: &IntentArgs, world: &WorldArgs) -> anyhow::Result<Gathered> {
    let source = world.source()?;
    anyhow::ensure!(
        !intent.is_empty() || source.is_some(),
        "nothing to look at: give --guide FILE, --mas-config FILE or --matrix FILE, --manifests PATH or --cluster"
    );
    let mut findings = Vec::new();
    let mut collector = Collector::new(std::hash::RandomState::new());
    let needs = inputs::needs_of(&intent.paths(), &[Need::Configs, Need::Checks]);
    let snapshot = source.map(|source| source.read(&needs, &mut |object| collector.add(object))).transpose()?;
    // MAS's config is read apart: a broken one is an answer here, not the end.
    let paths = IntentPaths { mas_config: Vec::new(), ..intent.paths() };
    let among = snapshot.as_ref().filter(|_| intent.is_empty());
    let sources = inputs::sources_or_matrix(&paths, among, &mut findings, &mut checklist::Collector::default())?;
    let mut sources = sources.unwrap_or_default();
    let given = given_config(&intent.mas_config, &collector, &mut findings)?;
    let mut found = collector.finish();
    let mas = given.or_else(|| found_config(&mut found, &mut findings));
    sources.mas_config = mas.as_ref().and_then(|mas| mas.config.as_ref().ok().cloned());
    let values = sources.values.clone().or_else(|| sources.matrix.as_ref()?.guide.clone());
    let inputs = inputs::assemble(&sources, findings, snapshot);
    Ok(Gathered { inputs, values, mas, found })
}

/// MAS's config out of files.
fn given_config(
    paths: &[PathBuf],
    collector: &Collector,
    findings: &mut Vec<Finding>,
) -> anyhow::Result<Option<MasConfigRead>> {
    let Some(first) = paths.first() else { return Ok(None) };
    let mut documents: Vec<Document> = Vec::new();
    for path in paths {
        documents.extend(inputs::documents(path)?);
    }
    let facts = collector.mas_config(&documents);
    let config = mas_config::read(&documents).map(|(config, found)| {
        findings.extend(found);
        config
    });
    Ok(Some(MasConfigRead { source: first.display().to_string(), config, facts }))
}

/// MAS's config out of the first object that carries one.
fn found_config(found: &mut Found, findings: &mut Vec<Finding>) -> Option<MasConfigRead> {
    if found.mas.is_empty() {
        return None;
    }
    let one = found.mas.remove(0);
    let config = one.config.map(|(config, more)| {
        findings.extend(more);
        config
    });
    Some(MasConfigRead { source: one.object, config, facts: one.facts })
}

impl Gathered {
    /// Everything the checks may look at, without the network.
    fn facts(self) -> Facts {
        let Self { inputs, values, mas, found } = self;
        let mut findings = inputs.findings;
        let edges = match &inputs.world {
            None => Vec::new(),
            Some(world) => {
                let engine = Engine::new(world, &inputs.policies);
                let audited = audit(&inputs.resolution, world, &inputs.policies, &engine, &inputs.name);
                findings.extend(audited.findings);
                audited.edges
            }
        };
        Facts {
            values,
            mas,
            found,
            resolution: inputs.resolution,
            world: inputs.world,
            namespace: inputs.name.namespace,
            edges,
            findings,
            network: None,
        }
    }
}
