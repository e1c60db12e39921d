//! Arguments that several commands share.

use std::path::PathBuf;

use crate::guide::checklist::Collector;
use crate::load::cluster::Access;
use crate::load::inputs::{self, Inputs, IntentPaths};
use crate::load::{Need, Source};
use crate::policy::Dialect;

const INTENT: &str = "What should be (at least one)";

/// Where the intent comes from.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct IntentArgs {
    /// The guide's values: `mas:` alone, inside a chart's values, or inside a HelmRelease; `-` reads standard input
    #[arg(long, value_name = "FILE", help_heading = INTENT)]
    pub(super) guide: Option<PathBuf>,
    /// MAS's own config.yaml; give it several times and they merge as MAS merges them
    #[arg(long, value_name = "FILE", help_heading = INTENT)]
    pub(super) mas_config: Vec<PathBuf>,
    /// A TrafficMatrix
    #[arg(long, value_name = "FILE", help_heading = INTENT)]
    pub(super) matrix: Option<PathBuf>,
}

impl IntentArgs {
    /// The paths.
    pub(super) fn paths(&self) -> IntentPaths {
        let Self { guide, mas_config, matrix } = self.clone();
        IntentPaths { guide, mas_config, matrix }
    }

    /// No source was given.
    pub(super) fn is_empty(&self) -> bool {
        self.paths().is_empty()
    }
}

const THERE: &str = "What is there";

/// What to say when neither is given.
pub(super) const GIVE_WORLD: &str = "give --manifests PATH (a folder, a file, or `-`) or --cluster";

/// Where the world comes from.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct WorldArgs {
    /// Manifests or `kubectl get -o yaml|json` dumps: a file, a folder, or `-`; may be given several times
    #[arg(long, value_name = "PATH", help_heading = THERE)]
    pub(super) manifests: Vec<PathBuf>,
    /// The live cluster of the kubeconfig: its objects are listed, nothing is written, no Secret is read
    #[arg(long, help_heading = THERE, conflicts_with = "manifests")]
    pub(super) cluster: bool,
    #[command(flatten)]
    pub(super) access: AccessArgs,
}

/// Which cluster is read, and how much of it.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct AccessArgs {
    /// This context of the kubeconfig, not its current one
    #[arg(long, value_name = "NAME", help_heading = THERE)]
    context: Option<String>,
    /// This kubeconfig, not $KUBECONFIG or ~/.kube/config
    #[arg(long, value_name = "FILE", help_heading = THERE)]
    kubeconfig: Option<PathBuf>,
    /// Only this namespace of the cluster, for who may not read more; may be given several times. What is elsewhere is unknown then
    #[arg(short, long, value_name = "NAME", help_heading = THERE, value_parser = parse_namespace)]
    namespace: Vec<String>,
}

/// A namespace's name goes into a URL.
fn parse_namespace(text: &str) -> Result<String, String> {
    if crate::world::is_label(text) { Ok(text.to_owned()) } else { Err("this is no namespace's name".to_owned()) }
}

impl AccessArgs {
    /// The live cluster, where nothing else can be meant.
    pub(super) fn access(&self) -> Access {
        let Self { context, kubeconfig, namespace } = self.clone();
        Access { context, kubeconfig, namespaces: namespace }
    }

    /// The live cluster; `None` when it is not meant, and then nothing may say which.
    pub(super) fn source(&self, meant: bool) -> anyhow::Result<Option<Source>> {
        let access = self.access();
        anyhow::ensure!(
            meant || access == Access::default(),
            "--context, --kubeconfig and --namespace go with --cluster"
        );
        Ok(meant.then_some(Source::Cluster(access)))
    }
}

impl WorldArgs {
    /// What they name, if they name anything.
    pub(super) fn source(&self) -> anyhow::Result<Option<Source>> {
        let manifests = (!self.manifests.is_empty()).then(|| Source::Manifests(self.manifests.clone()));
        Ok(self.access.source(self.cluster)?.or(manifests))
    }
}

/// Reads what the arguments name.
pub(super) fn read(intent: &IntentArgs, world: &WorldArgs, needs: &[Need]) -> anyhow::Result<Inputs> {
    inputs::read(&intent.paths(), world.source()?.as_ref(), needs)
}

/// Reads the objects, and what should be if anything says so: without it `subject` is found by its image, and there are no edges.
pub(super) fn read_world(intent: &IntentArgs, source: &Source) -> anyhow::Result<Inputs> {
    let snapshot = source.read(&inputs::needs_of(&intent.paths(), &[]), &mut |_| ())?;
    let mut findings = Vec::new();
    let sources =
        inputs::sources_or_matrix(&intent.paths(), Some(&snapshot), &mut findings, &mut Collector::default())?;
    Ok(match sources {
        Some(sources) => inputs::assemble(&sources, findings, Some(snapshot)),
        None => inputs::without_intent(snapshot),
    })
}

/// How policies are read where plug-ins differ.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct DialectArg {
    /// How policies are read where plug-ins differ: upstream (as the Kubernetes tests have it) or cilium (an ipBlock never means a pod or node)
    #[arg(long, value_name = "DIALECT", default_value = "upstream", value_parser = parse_dialect)]
    pub(super) dialect: Dialect,
}

fn parse_dialect(text: &str) -> Result<Dialect, String> {
    Dialect::parse(text).ok_or_else(|| {
        let known: Vec<&str> = Dialect::ALL.iter().map(|dialect| dialect.as_str()).collect();
        format!("known are {}", known.join(" and "))
    })
}
