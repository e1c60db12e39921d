//! `portreeve render`: the one NetworkPolicy of the subject.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::args::{self, IntentArgs, WorldArgs};
use super::output::{self, Style};
use super::{Done, Exit};
use crate::agent::assignment::{Assignment, Intervals, MAX_BYTES, config_map_name};
use crate::finding::{Finding, Severity};
use crate::load::inputs::Inputs;
use crate::policy::render::{Counterpart, Rendered, network_policy, policy_name};
use crate::source::{emit, files};
use crate::world::ObjectName;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    intent: IntentArgs,
    #[command(flatten)]
    world: WorldArgs,
    /// Write `<namespace>_<name>.yaml` files into this folder instead of printing
    #[arg(long, value_name = "DIR", conflicts_with = "check")]
    out: Option<PathBuf>,
    /// Compare with the files of this folder and change nothing. Without a source, the folder's own TrafficMatrix and the manifests in its `cluster/` are used
    #[arg(long, value_name = "DIR")]
    check: Option<PathBuf>,
    /// Add proposals for what the peers' own policies must allow
    #[arg(long)]
    counterparts: bool,
    /// Add the ConfigMap that tells the agents what to probe
    #[arg(long)]
    agent: bool,
    /// Certificates (PEM) that the agents are to trust beside the public roots: a private CA of the identity provider's or the mail server's
    #[arg(long, value_name = "FILE", requires = "agent")]
    ca: Option<PathBuf>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum Format {
    /// The policy as a manifest, findings on standard error
    #[default]
    Yaml,
    /// One JSON object
    Json,
}

/// Where a folder that is checked keeps the manifests of its world.
const CLUSTER: &str = "cluster";

/// A file to be: its name and content.
struct Output {
    name: String,
    text: String,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Done> {
    let (mut intent, mut world) = (args.intent.clone(), args.world.clone());
    if let Some(folder) = &args.check
        && intent.is_empty()
    {
        intent.matrix = Some(traffic_matrix_in(folder)?);
        let cluster = folder.join(CLUSTER);
        if world.manifests.is_empty() && !world.cluster && cluster.is_dir() {
            world.manifests.push(cluster);
        }
    }
    let inputs = args::read(&intent, &world, &[])?;
    let name = &inputs.name;
    let rendered =
        network_policy(&inputs.resolution, name, inputs.directions()).map_err(|finding| cannot(&inputs, &finding))?;
    let mut findings = inputs.findings.clone();
    findings.extend(rendered.left_out.iter().cloned());
    eprint_findings(&findings);
    let mut outputs = outputs(name, &rendered, args.counterparts);
    let told = if args.agent { Some(told(&inputs, args.ca.as_deref())?) } else { None };
    outputs.extend(told.as_ref().map(|told| agent_file(name, told)));
    let wrong = findings.iter().any(|finding| finding.code.severity() == Severity::Error);
    if let Some(folder) = &args.check {
        return check(folder, &outputs);
    }
    if let Some(folder) = &args.out {
        let text = write(folder, &outputs)?;
        return Ok(Done { text, exit: Exit::findings_if(wrong) });
    }
    let text = match args.output {
        Format::Yaml => outputs.iter().map(|output| output.text.as_str()).collect::<Vec<_>>().join("---\n"),
        Format::Json => {
            let counterparts: Vec<_> =
                rendered.counterparts.iter().filter(|_| args.counterparts).map(|c| &c.policy).collect();
            output::json(
                &serde_json::json!({"policy": rendered.policy, "counterparts": counterparts, "agent": told, "findings": findings}),
            )?
        }
    };
    Ok(Done { text, exit: Exit::findings_if(wrong) })
}

/// What the agents are told. A file that they could not trust by is refused here, and not in their log.
fn told(inputs: &Inputs, ca: Option<&Path>) -> anyhow::Result<serde_json::Value> {
    let pem = ca.map(|path| files::read(path, MAX_BYTES)).transpose()?.map(|text| text.text);
    // Elsewhere nothing probes, so nothing reads certificates there.
    #[cfg(target_os = "linux")]
    if let Some(pem) = &pem {
        let roots = crate::observe::roots_from_pem(pem.as_bytes()).context("--ca cannot be used")?;
        anyhow::ensure!(!roots.is_empty(), "--ca cannot be used: there is no certificate (PEM) in it");
    }
    let intervals = inputs.matrix.as_ref().map_or_else(Intervals::default, |matrix| Intervals::from(&matrix.probe));
    let told = Assignment::new(&inputs.resolution, &inputs.name, 0, intervals);
    Ok(told.config_map(&inputs.name, pem.as_deref()))
}

/// Why there is no policy: the finding, and what the sources and the world said before it.
fn cannot(inputs: &Inputs, finding: &Finding) -> anyhow::Error {
    eprint_findings(&inputs.findings);
    anyhow::anyhow!("no policy can be rendered: {}: {} ({})", finding.object, finding.message, finding.fix)
}

/// Findings go to standard error, so that `portreeve render | kubectl apply -f -` stays clean.
fn eprint_findings(findings: &[Finding]) {
    let style = Style::plain();
    let _ = std::io::Write::write_all(&mut std::io::stderr(), output::findings(findings, style).as_bytes());
}

fn agent_file(matrix: &ObjectName, config_map: &serde_json::Value) -> Output {
    let name = format!("{}_{}.yaml", matrix.namespace, config_map_name(matrix));
    Output { name, text: emit::to_yaml(config_map) }
}

fn outputs(name: &ObjectName, rendered: &Rendered, counterparts: bool) -> Vec<Output> {
    let file = |namespace: &str, name: &str| format!("{namespace}_{name}.yaml");
    let own = Output { name: file(&name.namespace, &policy_name(name)), text: rendered.yaml.clone() };
    let proposal = |c: &Counterpart| {
        let policy = c.policy.pointer("/metadata/name").and_then(serde_json::Value::as_str).unwrap_or(&c.edge);
        Output { name: file(&c.namespace, policy), text: c.yaml.clone() }
    };
    std::iter::once(own).chain(rendered.counterparts.iter().filter(|_| counterparts).map(proposal)).collect()
}

/// The one TrafficMatrix among a folder's files.
fn traffic_matrix_in(folder: &Path) -> anyhow::Result<PathBuf> {
    let mut found = Vec::new();
    for path in files::manifests(folder)?.into_iter().filter(|path| path.parent() == Some(folder)) {
        let is_matrix =
            |d: &crate::source::Document| d.root.get("kind").and_then(|kind| kind.text()) == Some("TrafficMatrix");
        if crate::load::inputs::documents(&path)?.iter().any(is_matrix) {
            found.push(path);
        }
    }
    anyhow::ensure!(
        found.len() == 1,
        "{}: {} TrafficMatrix files; exactly one is needed, or name the sources with --guide, --mas-config or --matrix",
        folder.display(),
        found.len()
    );
    Ok(found.remove(0))
}

/// Writes each file whole or not at all.
fn write(folder: &Path, outputs: &[Output]) -> anyhow::Result<String> {
    std::fs::create_dir_all(folder).with_context(|| format!("{}: the folder cannot be made", folder.display()))?;
    let mut text = String::new();
    for output in outputs {
        let path = folder.join(&output.name);
        files::replace(&path, &output.text).with_context(|| format!("{}: cannot be written", path.display()))?;
        let _ = writeln!(text, "{}", path.display());
    }
    Ok(text)
}

fn check(folder: &Path, outputs: &[Output]) -> anyhow::Result<Done> {
    let mut text = String::new();
    for output in outputs {
        let path = folder.join(&output.name);
        let is = match std::fs::read_to_string(&path) {
            Ok(is) => Some(is),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| format!("{}: cannot be read", path.display())),
        };
        match is {
            None => {
                let _ = writeln!(
                    text,
                    "{}: is missing: run `portreeve render` with `--out {}`",
                    path.display(),
                    folder.display()
                );
            }
            Some(is) if is != output.text => {
                let line = 1 + is.lines().zip(output.text.lines()).take_while(|(a, b)| a == b).count();
                let expect = output.text.lines().nth(line - 1).unwrap_or("<end>");
                let _ = writeln!(
                    text,
                    "{}:{line}: differs from what would be rendered; expected here: {}",
                    path.display(),
                    expect.trim()
                );
            }
            Some(_) => {}
        }
    }
    let exit = Exit::findings_if(!text.is_empty());
    if text.is_empty() {
        let _ = writeln!(text, "{}: as rendered", folder.display());
    }
    Ok(Done { text, exit })
}
