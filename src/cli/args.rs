//! Arguments that several commands share.

use std::path::PathBuf;

use crate::load::inputs::{self, Inputs, IntentPaths};
use crate::matrix::Intent;
use crate::matrix::derive::derive;
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
    /// No source was given.
    pub(super) fn is_empty(&self) -> bool {
        self.guide.is_none() && self.mas_config.is_empty() && self.matrix.is_none()
    }
}

/// Where the world comes from.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct WorldArgs {
    /// Manifests or `kubectl get -o yaml|json` dumps: a file, a folder, or `-`; may be given several times
    #[arg(long, value_name = "PATH", help_heading = "What is there")]
    pub(super) manifests: Vec<PathBuf>,
}

/// Reads what the arguments name.
pub(super) fn read(intent: &IntentArgs, world: &WorldArgs) -> anyhow::Result<Inputs> {
    let IntentArgs { guide, mas_config, matrix } = intent.clone();
    inputs::read(&IntentPaths { guide, mas_config, matrix }, &world.manifests)
}

/// Derives the edges of what the arguments name, without a world.
pub(super) fn intent(intent: &IntentArgs) -> anyhow::Result<Intent> {
    let IntentArgs { guide, mas_config, matrix } = intent.clone();
    Ok(derive(&inputs::sources(&IntentPaths { guide, mas_config, matrix }, &mut Vec::new())?))
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
