//! Sources of the intent and manifests, read and resolved: the start of every command and of the demo's rounds.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::Context;
use serde::Serialize;

use crate::finding::{Code, Finding};
use crate::guide::checklist::Collector;
use crate::guide::{mas_config, values};
use crate::matrix::derive::{Sources, derive};
use crate::matrix::{Intent, Resolution, resolve::resolve, traffic_matrix};
use crate::policy::{PolicyBuilder, PolicySet};
use crate::source::files::{self, MAX_CONFIG_BYTES};
use crate::source::{Document, InputError, Place, yaml};
use crate::world::lower::WorldBuilder;
use crate::world::{Object, ObjectName, World};

/// Where the intent comes from; at least one must be given.
#[derive(Debug, Clone, Default)]
pub struct IntentPaths {
    /// The guide's values.
    pub guide: Option<PathBuf>,
    /// MAS's own config, in the order in which MAS merges.
    pub mas_config: Vec<PathBuf>,
    /// A TrafficMatrix.
    pub matrix: Option<PathBuf>,
}

/// Everything a command needs.
#[derive(Debug)]
pub struct Inputs {
    /// `metadata.name` of the TrafficMatrix, or `mas`; the namespace is the subject's, where it is known.
    pub name: ObjectName,
    /// What should be.
    pub intent: Intent,
    /// The intent in the world.
    pub resolution: Resolution,
    /// The world, if manifests were given.
    pub world: Option<World>,
    /// Its policies.
    pub policies: PolicySet,
    /// What was wrong with any of it, in reading order.
    pub findings: Vec<Finding>,
    /// Mistakes of the configs of MAS, Synapse and the identity provider, as far as files show them.
    pub checklist: Vec<Finding>,
    /// `portreeve.io/accept` of the objects, as written.
    pub accepts: Vec<Accept>,
    /// What was read.
    pub coverage: Coverage,
}

/// An annotation `portreeve.io/accept`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accept {
    /// The object that carries it, as `Kind/namespace/name`.
    pub object: String,
    /// Its text.
    pub text: String,
    /// Where it stands.
    pub place: Place,
}

/// The annotation by which an object's owner accepts findings about it.
const ACCEPT: &str = "portreeve.io/accept";

impl Accept {
    /// That of an object, if it has one.
    fn of(object: &Object) -> Option<Self> {
        let node = object.document.root.at_path("/metadata")?.get("annotations")?.get(ACCEPT)?;
        // What is no text is kept as nothing: it accepts nothing, and that is said.
        let text = node.text().unwrap_or_default().to_owned();
        Some(Self { object: object.label(), text, place: object.document.place(node) })
    }
}

impl Inputs {
    /// What was wrong while reading, without remarks on the guide's own text, which say nothing about this deployment.
    pub fn of_the_deployment(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.code != Code::GuideUnsound)
    }
}

/// What the answer rests on.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Coverage {
    /// Files read.
    pub files: usize,
    /// Objects read.
    pub objects: usize,
    /// Pods, counting a workload's template as one.
    pub pods: usize,
    /// Policies that count.
    pub policies: usize,
    /// Files or objects that could not be read, or are not rendered: what is behind them is unknown.
    pub not_covered: Vec<String>,
}

/// All documents of one configuration file.
pub fn documents(path: &std::path::Path) -> Result<Vec<Document>, InputError> {
    let text = files::read(path, MAX_CONFIG_BYTES)?;
    let (documents, error) = yaml::parse(&text.name, &text.text);
    if let Some(error) = error {
        return Err(error);
    }
    if documents.is_empty() {
        return Err(InputError::new(crate::source::Place::whole(&text.name), "is empty: nothing to read"));
    }
    Ok(documents)
}

/// The one document of a file that holds one.
fn document(path: &std::path::Path) -> Result<Document, InputError> {
    let mut documents = documents(path)?;
    if documents.len() > 1 {
        let second = &documents[1];
        return Err(InputError::new(second.place(&second.root), "a second document: one is expected in this file"));
    }
    Ok(documents.remove(0))
}

/// Reads the sources of the intent.
pub fn sources(args: &IntentPaths, findings: &mut Vec<Finding>) -> anyhow::Result<Sources> {
    sources_with(args, findings, &mut Collector::default())
}

/// Reads the sources of the intent, and hands MAS's config to the checklist.
fn sources_with(args: &IntentPaths, findings: &mut Vec<Finding>, checklist: &mut Collector) -> anyhow::Result<Sources> {
    anyhow::ensure!(
        args.guide.is_some() || !args.mas_config.is_empty() || args.matrix.is_some(),
        "nothing says what should be: give --guide FILE, --mas-config FILE or --matrix FILE"
    );
    let mut sources = Sources::default();
    if let Some(path) = &args.guide {
        let (values, found) = values::read(&document(path)?).context("the guide's values cannot be used")?;
        findings.extend(found);
        sources.values = Some(values);
    }
    if !args.mas_config.is_empty() {
        let mut all = Vec::new();
        for path in &args.mas_config {
            all.push(document(path)?);
        }
        let (config, found) = mas_config::read(&all).context("MAS's config cannot be used")?;
        findings.extend(found);
        checklist.mas_config(&all);
        sources.mas_config = Some(config);
    }
    if let Some(path) = &args.matrix {
        let (matrix, found) = traffic_matrix::read(&document(path)?).context("the TrafficMatrix cannot be used")?;
        findings.extend(found);
        sources.matrix = Some(matrix);
    }
    Ok(sources)
}

/// The world and its policies, with what could not be read.
#[derive(Debug, Default)]
pub struct Cluster {
    /// The objects.
    pub world: World,
    /// The policies.
    pub policies: PolicySet,
    /// What was wrong with any of it.
    pub findings: Vec<Finding>,
    /// `portreeve.io/accept` of the objects.
    pub accepts: Vec<Accept>,
    /// What was read.
    pub coverage: Coverage,
}

/// Reads manifests.
pub fn cluster(paths: &[PathBuf]) -> anyhow::Result<Cluster> {
    cluster_with(paths, &mut |_| ())
}

/// Reads manifests, and shows each object to somebody else as well.
pub fn cluster_with(paths: &[PathBuf], each: &mut dyn FnMut(&Object)) -> anyhow::Result<Cluster> {
    let mut accepts = Vec::new();
    let mut world = WorldBuilder::default();
    let mut policies = PolicyBuilder::default();
    let loaded = super::world(paths, &mut |object| {
        world.add(&object);
        policies.add(&object);
        each(&object);
        accepts.extend(Accept::of(&object));
    })?;
    let (world, mut findings) = world.finish();
    let (policies, found) = policies.finish();
    findings.extend(found);
    findings.extend(loaded.problems.iter().map(|problem| {
        let file = problem.place.file.to_string();
        let fix = "mend it, or leave it out if it is no manifest";
        Finding::new(Code::BrokenObject, file, problem.message.clone(), fix).at(problem.place.clone())
    }));
    let coverage = Coverage {
        files: loaded.files,
        objects: loaded.objects,
        pods: world.pods.len(),
        policies: policies.policies.len(),
        not_covered: (loaded.problems.iter().map(ToString::to_string))
            .chain(world.not_covered.iter().map(|n| format!("{}: {}: {}", n.place, n.object, n.why)))
            .collect(),
    };
    Ok(Cluster { world, policies, findings, accepts, coverage })
}

/// Reads everything and resolves it.
pub fn read(paths: &IntentPaths, manifests: &[PathBuf]) -> anyhow::Result<Inputs> {
    let mut findings = Vec::new();
    let mut checklist = Collector::default();
    let sources = sources_with(paths, &mut findings, &mut checklist)?;
    let cluster = match manifests {
        [] => None,
        paths => Some(cluster_with(paths, &mut |object| checklist.add(object))?),
    };
    let public_host = sources.values.as_ref().and_then(|values| values.ingress_host.known().cloned());
    let mut inputs = assemble(&sources, findings, cluster);
    inputs.checklist = checklist.finish(public_host.as_deref());
    Ok(inputs)
}

/// Derives and resolves what was read; `findings` are those of the reading.
pub fn assemble(sources: &Sources, mut findings: Vec<Finding>, cluster: Option<Cluster>) -> Inputs {
    let intent = derive(sources);
    findings.extend(intent.findings.iter().cloned());
    let resolution = resolve(&intent, cluster.as_ref().map(|cluster| &cluster.world));
    let matrix = sources.matrix.as_ref();
    let mut name = matrix.map_or_else(|| ObjectName::new("matrix", "mas"), |matrix| matrix.name.clone());
    if let Some(subject) = &resolution.subject {
        name.namespace.clone_from(&subject.namespace);
    }
    findings.extend(resolution.findings.iter().cloned());
    let mut inputs = Inputs {
        name,
        intent,
        resolution,
        world: None,
        policies: PolicySet::default(),
        findings,
        checklist: Vec::new(),
        accepts: Vec::new(),
        coverage: Coverage::default(),
    };
    if let Some(cluster) = cluster {
        inputs.accepts = cluster.accepts;
        inputs.findings.extend(cluster.findings);
        inputs.world = Some(cluster.world);
        inputs.policies = cluster.policies;
        inputs.coverage = cluster.coverage;
    }
    // Deriving repeats what reading found, and several edges may need the same missing thing.
    let mut seen = BTreeSet::new();
    inputs.findings.retain(|finding| seen.insert(finding.clone()));
    inputs
}
