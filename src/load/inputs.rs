//! Sources of the intent and the objects, read and resolved: the start of every command and of the demo's rounds.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::Context;

use super::{Accept, Coverage, Need, Snapshot, Source};
use crate::finding::{Code, Finding};
use crate::guide::checklist::Collector;
use crate::guide::{mas_config, values};
use crate::matrix::derive::{Sources, derive};
use crate::matrix::traffic_matrix::{self, TrafficMatrix};
use crate::matrix::{Intent, Resolution, resolve::resolve};
use crate::policy::PolicySet;
use crate::policy::render::Directions;
use crate::source::files::{self, MAX_CONFIG_BYTES};
use crate::source::{Document, InputError, yaml};
use crate::world::{ObjectName, World};

/// Where the intent comes from; at least one must be given, or a TrafficMatrix be among the objects.
#[derive(Debug, Clone, Default)]
pub struct IntentPaths {
    /// The guide's values.
    pub guide: Option<PathBuf>,
    /// MAS's own config, in the order in which MAS merges.
    pub mas_config: Vec<PathBuf>,
    /// A TrafficMatrix.
    pub matrix: Option<PathBuf>,
}

impl IntentPaths {
    /// None is given.
    pub fn is_empty(&self) -> bool {
        self.guide.is_none() && self.mas_config.is_empty() && self.matrix.is_none()
    }
}

/// Everything a command needs.
#[derive(Debug)]
pub struct Inputs {
    /// `metadata.name` of the TrafficMatrix, or `mas`; the namespace is the subject's, where it is known.
    pub name: ObjectName,
    /// The TrafficMatrix, if one says what should be.
    pub matrix: Option<TrafficMatrix>,
    /// What should be.
    pub intent: Intent,
    /// The intent in the world.
    pub resolution: Resolution,
    /// The world, if manifests or a cluster were given.
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

impl Inputs {
    /// The directions that are enforced: both, unless the TrafficMatrix says otherwise.
    pub fn directions(&self) -> Directions {
        self.matrix.as_ref().map_or(Directions::Both, |matrix| Directions::of(matrix.directions))
    }

    /// Manifests that do not count, in whole or in part.
    pub fn left_out(&self) -> Vec<Finding> {
        left_out(&self.findings)
    }

    /// What was wrong while reading, without remarks on the guide's own text, which say nothing about this deployment.
    pub fn of_the_deployment(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.code != Code::GuideUnsound)
    }
}

/// Those of the findings that are about manifests that do not count.
pub fn left_out(findings: &[Finding]) -> Vec<Finding> {
    findings.iter().filter(|finding| finding.code.leaves_out()).cloned().collect()
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
pub fn sources(paths: &IntentPaths, findings: &mut Vec<Finding>) -> anyhow::Result<Sources> {
    sources_with(paths, findings, &mut Collector::default())
}

/// Reads the sources of the intent, and hands MAS's config to the checklist.
fn sources_with(args: &IntentPaths, findings: &mut Vec<Finding>, checklist: &mut Collector) -> anyhow::Result<Sources> {
    let mut sources = Sources::default();
    if let Some(path) = &args.guide {
        let (values, found) = values::read(&document(path)?).context("the guide's values cannot be used")?;
        findings.extend(found);
        sources.values = Some(values);
    }
    if !args.mas_config.is_empty() {
        let all: Vec<Document> = args.mas_config.iter().map(|path| document(path)).collect::<Result<_, _>>()?;
        let (config, found) = mas_config::read(&all).context("MAS's config cannot be used")?;
        findings.extend(found);
        checklist.mas_config(&all);
        sources.mas_config = Some(config);
    }
    if let Some(path) = &args.matrix {
        sources.matrix = Some(matrix(&document(path)?, findings)?);
    }
    Ok(sources)
}

fn matrix(document: &Document, findings: &mut Vec<Finding>) -> anyhow::Result<TrafficMatrix> {
    let (matrix, found) = traffic_matrix::read(document).context("the TrafficMatrix cannot be used")?;
    findings.extend(found);
    Ok(matrix)
}

/// The sources that the paths name, or else the one TrafficMatrix among the objects. `None`: nothing says what should be.
pub fn sources_or_matrix(
    paths: &IntentPaths,
    snapshot: Option<&Snapshot>,
    findings: &mut Vec<Finding>,
    checklist: &mut Collector,
) -> anyhow::Result<Option<Sources>> {
    if !paths.is_empty() {
        return sources_with(paths, findings, checklist).map(Some);
    }
    match snapshot.map_or(&[][..], |snapshot| &snapshot.matrices) {
        [] => Ok(None),
        [one] => Ok(Some(Sources { matrix: Some(matrix(one, findings)?), ..Sources::default() })),
        several => {
            let places: Vec<String> =
                several.iter().map(|document| document.place(&document.root).to_string()).collect();
            anyhow::bail!(
                "several TrafficMatrix objects could be meant: {}; give one with --matrix FILE",
                places.join(", ")
            )
        }
    }
}

/// Reads manifests.
pub fn manifests(paths: &[PathBuf]) -> anyhow::Result<Snapshot> {
    Source::Manifests(paths.to_vec()).read(&[], &mut |_| ())
}

/// Reads everything and resolves it.
pub fn read(paths: &IntentPaths, source: Option<&Source>, needs: &[Need]) -> anyhow::Result<Inputs> {
    const NOTHING: &str = "nothing says what should be: give --guide FILE, --mas-config FILE or --matrix FILE";
    anyhow::ensure!(!paths.is_empty() || source.is_some(), NOTHING);
    let mut checklist = Collector::default();
    let snapshot = source.map(|source| source.read(&needs_of(paths, needs), &mut |object| checklist.add(object)));
    let snapshot = snapshot.transpose()?;
    let mut findings = Vec::new();
    let Some(sources) = sources_or_matrix(paths, snapshot.as_ref(), &mut findings, &mut checklist)? else {
        let gap = snapshot.as_ref().and_then(|snapshot| snapshot.world.unseen_anywhere("TrafficMatrix"));
        match gap {
            Some(gap) => anyhow::bail!("{NOTHING}; {}", gap.sentence()),
            None => anyhow::bail!("{NOTHING}; there is no TrafficMatrix among the objects either"),
        }
    };
    let public_host = sources.values.as_ref().and_then(|values| values.ingress_host.known().cloned());
    let mut inputs = assemble(&sources, findings, snapshot);
    inputs.checklist = checklist.finish(public_host.as_deref());
    Ok(inputs)
}

/// What must be asked for: a TrafficMatrix only where no path says what should be.
pub fn needs_of(paths: &IntentPaths, needs: &[Need]) -> Vec<Need> {
    needs.iter().copied().chain(paths.is_empty().then_some(Need::Matrix)).collect()
}

/// Derives and resolves what was read; `findings` are those of the reading.
pub fn assemble(sources: &Sources, mut findings: Vec<Finding>, snapshot: Option<Snapshot>) -> Inputs {
    let intent = derive(sources);
    findings.extend(intent.findings.iter().cloned());
    let matrix = sources.matrix.as_ref();
    let name = matrix.map_or_else(|| ObjectName::new("matrix", "mas"), |matrix| matrix.name.clone());
    Inputs { matrix: sources.matrix.clone(), ..resolved(intent, name, findings, snapshot) }
}

/// Where nothing says what should be: no edges, and the subject is found by its image.
pub fn without_intent(snapshot: Snapshot) -> Inputs {
    resolved(Intent::default(), ObjectName::new("", "mas"), Vec::new(), Some(snapshot))
}

fn resolved(intent: Intent, mut name: ObjectName, mut findings: Vec<Finding>, snapshot: Option<Snapshot>) -> Inputs {
    let resolution = resolve(&intent, snapshot.as_ref().map(|snapshot| &snapshot.world));
    if let Some(subject) = &resolution.subject {
        name.namespace.clone_from(&subject.namespace);
    }
    findings.extend(resolution.findings.iter().cloned());
    let mut inputs = Inputs {
        name,
        matrix: None,
        intent,
        resolution,
        world: None,
        policies: PolicySet::default(),
        findings,
        checklist: Vec::new(),
        accepts: Vec::new(),
        coverage: Coverage::default(),
    };
    if let Some(snapshot) = snapshot {
        inputs.accepts = snapshot.accepts;
        inputs.findings.extend(snapshot.findings);
        inputs.world = Some(snapshot.world);
        inputs.policies = snapshot.policies;
        inputs.coverage = snapshot.coverage;
    }
    // Deriving repeats what reading found, and several edges may need the same missing thing.
    let mut seen = BTreeSet::new();
    inputs.findings.retain(|finding| seen.insert(finding.clone()));
    inputs
}
