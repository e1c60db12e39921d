//! Watches a cluster and enforces its NetworkPolicies on this node, until a signal ends it.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for tests speaks to them")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use portreeve_lab::arrivals::Arrivals;
use portreeve_lab::cluster::Cluster;
use portreeve_lab::style::Style;
use portreeve_lab::watch::Watched;
use portreeve_lab::{nft, state, table};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// How often the file with the style is looked at.
const STYLE_POLL: Duration = Duration::from_millis(100);
/// Longer than any wait for a pod that is too young.
const IDLE: Duration = Duration::from_hours(1);

/// Enforces NetworkPolicies on this node, for tests.
///
/// Prints `ready` once every object is known and the table stands, and a line for each table after it. Removes the table when it is ended by SIGINT or SIGTERM; one that was left by SIGKILL is replaced at the next start.
#[derive(Debug, Parser)]
struct Args {
    /// The cluster.
    #[arg(long, value_name = "FILE")]
    kubeconfig: PathBuf,
    /// What becomes of a refused connection: drop, reject, admin-prohibited, tcp-reset, off, late=SECONDS.
    #[arg(long, default_value = "drop")]
    style: Style,
    /// A file that holds the style; it may change at any time, and wins over --style while it is there.
    #[arg(long, value_name = "FILE")]
    style_file: Option<PathBuf>,
    /// The nftables table, of the family inet.
    #[arg(long, default_value = "portreeve-lab")]
    table: String,
    /// A file for what is enforced: the style, and each object's resourceVersion.
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
}

impl Args {
    /// What the file says; `before` without one, and in the moment in which it is written anew and empty.
    fn style_after(&self, before: Style) -> Result<Style> {
        let Some(path) = &self.style_file else { return Ok(before) };
        match std::fs::read_to_string(path).unwrap_or_default().trim() {
            "" => Ok(before),
            text => text.parse().map_err(anyhow::Error::msg).with_context(|| path.display().to_string()),
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    // Waited for before anything is made, so that nothing is left behind.
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let outcome = tokio::select! {
        outcome = enforce(&args) => outcome,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    table::apply(&nft::removal(&args.table))?;
    outcome
}

/// Keeps the table as the objects say. Ends only with an error.
async fn enforce(args: &Args) -> Result<()> {
    let (events, mut first_event) = mpsc::channel(1);
    let watched = Watched::start(&client(args).await?, &events);
    watched.synced().await?;
    let mut enforcer = Enforcer { args, arrivals: Arrivals::default(), table: String::new() };
    let mut poll = tokio::time::interval(STYLE_POLL);
    let (mut since, mut ready) = (Instant::now(), false);
    let mut style = args.style;
    loop {
        style = args.style_after(style)?;
        let next = enforcer.update(&watched.cluster(), style, since)?;
        if !std::mem::replace(&mut ready, true) {
            println!("ready");
        }
        let due = next.unwrap_or_else(|| Instant::now() + IDLE);
        since = tokio::select! {
            Some(first) = first_event.recv() => first,
            () = tokio::time::sleep_until(due.into()) => due,
            now = other_style(args, style, &mut poll) => now?,
        };
    }
}

/// Returns when the file says another style.
async fn other_style(args: &Args, style: Style, poll: &mut tokio::time::Interval) -> Result<Instant> {
    loop {
        poll.tick().await;
        if args.style_after(style)? != style {
            return Ok(Instant::now());
        }
    }
}

async fn client(args: &Args) -> Result<Client> {
    let file = Kubeconfig::read_from(&args.kubeconfig).with_context(|| args.kubeconfig.display().to_string())?;
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
    Client::try_from(config.context("the kubeconfig names no cluster")?).context("the cluster's client")
}

struct Enforcer<'a> {
    args: &'a Args,
    arrivals: Arrivals,
    /// What stands in the kernel.
    table: String,
}

impl Enforcer<'_> {
    /// Puts the table in place if it differs. Returns when the next pod comes of age.
    fn update(&mut self, cluster: &Cluster, style: Style, since: Instant) -> Result<Option<Instant>> {
        let now = Instant::now();
        self.arrivals.look(cluster.members().iter().map(|member| member.uid), now);
        let young = self.arrivals.young(style.delay(), now);
        let table = nft::ruleset(&self.args.table, cluster, style, &young);
        if table != self.table {
            table::apply(&table)?;
            self.table = table;
            println!(
                "enforced style={style} pods={} policies={} young={} after_ms={}",
                cluster.pods.len(),
                cluster.policies.len(),
                young.uids.len(),
                since.elapsed().as_millis()
            );
        }
        if let Some(path) = &self.args.state {
            state::write(path, cluster, style)?;
        }
        Ok(young.next)
    }
}
