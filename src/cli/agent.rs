//! `portreeve agent`: probes from MAS's own network identity, as a sidecar, or as the stranger that must be refused.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context;

use super::{Done, Exit, signals};
use crate::agent::assignment::Vantage;
use crate::agent::{self, Options};
use crate::observe::ResolvConf;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "It has no access to the Kubernetes API and needs none. What to probe stands in a file, which `portreeve render --agent` makes as a ConfigMap; \
    the file may come later, change, or be wrong: the agent goes on with what it had and says so in its metrics.\n\n\
    MAS never waits for it longer than 15 s: point the startupProbe, and no other probe, at /readyz."
)]
pub(super) struct Args {
    /// What to probe
    #[arg(long, value_name = "FILE", default_value = "/etc/portreeve/agent.json")]
    config: PathBuf,
    /// Trust these certificates (PEM) beside the public roots; the file may be missing
    #[arg(long, value_name = "FILE", default_value = "/etc/portreeve/ca.pem")]
    ca: PathBuf,
    /// Ask these name servers instead of those of /etc/resolv.conf
    #[arg(long, value_name = "ADDRESS")]
    nameserver: Vec<IpAddr>,
    /// Whose network identity it has: subject (in MAS's pod) or stranger (a pod that must be refused)
    #[arg(long = "as", value_name = "WHO", default_value = "subject", value_parser = parse_vantage)]
    vantage: Vantage,
    /// Where it serves /metrics, /v1/report, /healthz and /readyz
    #[arg(long, value_name = "ADDRESS:PORT", default_value_t = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 9690)))]
    listen: SocketAddr,
    /// Where the stranger listens for what must not come: the target of mas-to-stranger
    #[arg(long, value_name = "ADDRESS:PORT", default_value_t = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 9691)))]
    target: SocketAddr,
    /// Log as JSON lines
    #[arg(long)]
    log_json: bool,
}

fn parse_vantage(text: &str) -> Result<Vantage, String> {
    let known = [Vantage::Subject, Vantage::Stranger];
    known
        .into_iter()
        .find(|vantage| vantage.as_str() == text)
        .ok_or_else(|| "known are subject and stranger".to_owned())
}

pub(super) fn run(args: Args) -> anyhow::Result<Done> {
    super::log(args.log_json);
    // A pod always has one; without it nothing resolves, and the report says so.
    let system = || {
        ResolvConf::system().unwrap_or_else(|error| {
            tracing::error!(%error, "/etc/resolv.conf cannot be read");
            ResolvConf::parse("")
        })
    };
    let resolv = if args.nameserver.is_empty() { system() } else { ResolvConf::of(&args.nameserver) };
    let options = Options {
        assignment: args.config,
        ca: Some(args.ca),
        vantage: args.vantage,
        listen: args.listen,
        target: (args.vantage == Vantage::Stranger).then_some(args.target),
        resolv,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    runtime.block_on(async {
        let started = |listen, target: Option<SocketAddr>| {
            let target = target.map_or(String::new(), |target| format!(", and on {target} for what must not come"));
            tracing::info!("the {}'s agent listens on {listen}{target}", args.vantage.as_str());
        };
        agent::run(options, started, signals::stop()?).await
    })?;
    Ok(Done { text: String::new(), exit: Exit::Fine })
}
