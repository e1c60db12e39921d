//! What the network shows from where the doctor runs; asked only with `--network`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use super::Gathered;
use crate::cli::probe::{Round, parse_seconds};
use crate::doctor::{AuthHost, Facts, Network};
use crate::guide::Url;
use crate::matrix::Exchange;
use crate::observe::{self, Means, Prober, ResolvConf, Target, roots_from_pem};
use crate::source::files::{self, MAX_CONFIG_BYTES};

/// Whether and how the network is asked.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Network")]
pub(super) struct NetworkArgs {
    /// Ask the network too: one conversation a connection, DNS and TLS of the auth host, from where this runs
    #[arg(long)]
    network: bool,
    /// Trust these certificates (PEM) beside the public roots
    #[arg(long, value_name = "FILE", requires = "network")]
    ca: Option<PathBuf>,
    /// Ask these name servers instead of those of /etc/resolv.conf
    #[arg(long, value_name = "ADDRESS", requires = "network")]
    nameserver: Vec<IpAddr>,
    /// Longest time for one conversation, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0, value_parser = parse_seconds, requires = "network")]
    timeout: f64,
}

/// The facts, with what the network shows if it is to be asked.
pub(super) fn ask(args: &NetworkArgs, gathered: Gathered) -> anyhow::Result<Facts> {
    if !args.network {
        return Ok(gathered.facts());
    }
    let roots = match &args.ca {
        Some(path) => {
            roots_from_pem(files::read(path, MAX_CONFIG_BYTES)?.text.as_bytes()).context("--ca cannot be used")?
        }
        None => Vec::new(),
    };
    let resolv = if args.nameserver.is_empty() {
        ResolvConf::system().context("/etc/resolv.conf cannot be read: name the servers with --nameserver")?
    } else {
        ResolvConf::of(&args.nameserver)
    };
    let Gathered { inputs, values, mas, found } = gathered;
    let round = Round {
        inputs,
        means: Means {
            prober: Arc::new(Prober::new(&roots).context("--ca cannot be used")?),
            resolv: Arc::new(resolv),
            deadline: Duration::from_secs_f64(args.timeout),
        },
        chosen: Vec::new(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let board = runtime.block_on(round.run());
    let Means { prober, resolv, deadline } = round.means.clone();
    let mut facts = Gathered { inputs: round.inputs, values, mas, found }.facts();
    let auth = public_url(&facts);
    let auth = auth.map(|(url, issuer)| runtime.block_on(auth_host(&prober, &resolv, deadline, &url, &issuer)));
    let now = jiff::Timestamp::now().as_second();
    facts.network = Some(Network { edges: board.edges, attempts: board.probes, auth, now });
    Ok(facts)
}

/// MAS's public URL, and the issuer that it must name there.
fn public_url(facts: &Facts) -> Option<(Url, String)> {
    let config = facts.mas.as_ref().map(|mas| &mas.facts);
    let base = match config.and_then(|config| config.public_base.text()) {
        Some(base) => base.to_owned(),
        None => format!("https://{}/", facts.auth_host()?.0),
    };
    let url = Url::parse(&base).ok()?;
    let issuer = config.and_then(|config| config.issuer.text()).unwrap_or(&base).to_owned();
    Some((url, issuer))
}

async fn auth_host(prober: &Prober, resolv: &ResolvConf, deadline: Duration, url: &Url, issuer: &str) -> AuthHost {
    let addresses = observe::resolve(&url.host, resolv, deadline).await;
    let mut attempts = Vec::new();
    for address in addresses.iter().flatten() {
        let exchange = Exchange::Oidc { issuer: issuer.to_owned() };
        let target = Target::new("auth-host", SocketAddr::new(*address, url.port_or_default()), exchange);
        attempts.push(prober.probe(&target.named(url.host.clone()), deadline).await);
    }
    AuthHost { addresses, attempts }
}
