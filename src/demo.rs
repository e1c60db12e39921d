//! `portreeve demo`: the whole chain on this machine, every few seconds, with peers of its own.
//!
//! ```text
//!  working copy ──► intent, world, policies ──► audit ──► rows (declared)
//!  (a folder)              │                                  │
//!       ▲                  ▼                                  ▼
//!    repair          gates of the lab ──► probes ──► join ──► board ──► page, metrics, log
//! ```
//!
//! The gates do what a network plug-in does: they ask the evaluator and drop what it denies. So nothing here enforces anything for real,
//! and the demo shows the product's words, not a plug-in's behaviour.

mod chain;
pub mod net;
pub mod peers;
mod workbench;
pub mod world;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::serve::{self, Action, Actions, Controls, How, Role, Shared, Surface};
use chain::Chain;
use net::LabClaim;
use peers::Peers;
use workbench::Workbench;

/// The port of the page; the next free one is taken if it is in use.
pub const PAGE_PORT: u16 = 9692;
/// The port of `/metrics`; likewise.
pub const METRICS_PORT: u16 = 9690;
/// Ports that are tried after the first.
const PORT_TRIES: u16 = 40;
/// From the start of one round to the start of the next.
const ROUND: Duration = Duration::from_secs(3);

/// How the demo runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// First port to try for the page.
    pub page_port: u16,
    /// First port to try for `/metrics`.
    pub metrics_port: u16,
    /// Where the working copy goes; a temporary folder, removed at the end, when `None`.
    pub folder: Option<PathBuf>,
    /// Broken from the start.
    pub breaks: Vec<(String, How)>,
    /// Put a changed policy back.
    pub repair: bool,
    /// End after this many rounds; `None` runs until told to stop.
    pub rounds: Option<u32>,
}

/// Where the demo can be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// The page and its API.
    pub page: SocketAddr,
    /// The metrics.
    pub metrics: SocketAddr,
    /// The working copy.
    pub folder: PathBuf,
}

/// An action on its way to the chain, and the way back of the answer.
type Order = (Action, oneshot::Sender<Result<String, String>>);

/// Runs the demo until `shutdown` turns true or the rounds are over. `started` is called once everything listens.
pub async fn run(
    options: Options,
    started: impl FnOnce(&Addresses),
    shutdown: watch::Receiver<bool>,
) -> anyhow::Result<Arc<Shared>> {
    // Each demo on a machine has addresses of its own, for as long as the claim lives.
    let claim = LabClaim::first_free().context("no loopback addresses are left for the demo's peers")?;
    let peers = Peers::start(claim.lab()).await?;
    let workbench = Workbench::create(options.folder.as_deref(), peers.net().lab(), peers.ca_pem())
        .context("the working copy cannot be written")?;
    let shared = Arc::new(Shared::new(Role::Both));
    let page = listen(options.page_port).await?;
    let metrics = listen(options.metrics_port).await?;
    let addresses = Addresses {
        page: page.local_addr()?,
        metrics: metrics.local_addr()?,
        folder: workbench.folder().to_path_buf(),
    };
    let (orders, mut inbox) = mpsc::channel::<Order>(16);
    let desk = Arc::new(Desk { orders, controls: Mutex::new(Controls { repair: options.repair, broken: Vec::new() }) });

    // The end of any task is the end of the demo.
    let mut tasks = JoinSet::new();
    let actions = Arc::clone(&desk) as Arc<dyn Actions>;
    tasks.spawn(serve::serve(page, Arc::clone(&shared), Surface::Page(Some(actions)), stopped(shutdown.clone())));
    tasks.spawn(serve::serve(metrics, Arc::clone(&shared), Surface::Metrics, stopped(shutdown.clone())));

    let mut chain = Chain::new(peers, workbench, Arc::clone(&shared), options.repair)?;
    for (edge, how) in options.breaks {
        let said = chain.act(Action::Break { edge: edge.clone(), how }).await;
        said.map_err(|why| anyhow::anyhow!("{edge} cannot be broken: {why}"))?;
    }
    started(&addresses);
    let mut rounds = 0;
    let mut ticks = tokio::time::interval(ROUND);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stopped(shutdown.clone()) => break,
            Some(ended) = tasks.join_next() => anyhow::bail!("a listener ended by itself ({ended:?})"),
            Some((action, answer)) = inbox.recv() => {
                let said = chain.act(action).await;
                desk.show(chain.controls());
                // The visitor may have left.
                let _ = answer.send(said);
                ticks.reset_immediately();
            }
            _ = ticks.tick() => {
                tokio::select! {
                    biased;
                    () = stopped(shutdown.clone()) => break,
                    () = chain.round() => {}
                }
                desk.show(chain.controls());
                shared.set_ready(true);
                rounds += 1;
                if options.rounds.is_some_and(|most| rounds >= most) {
                    break;
                }
            }
        }
    }
    shared.set_ready(false);
    tasks.shutdown().await;
    chain.close().await;
    Ok(shared)
}

async fn stopped(mut shutdown: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is an end as well.
    let _ = shutdown.wait_for(|stop| *stop).await;
}

/// Listens on loopback, on this port or one of the next.
async fn listen(first: u16) -> anyhow::Result<TcpListener> {
    for port in first..=first.saturating_add(PORT_TRIES) {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(error).with_context(|| format!("cannot listen on 127.0.0.1:{port}")),
        }
    }
    anyhow::bail!("127.0.0.1:{first} and the {PORT_TRIES} ports after it are all in use: choose another with --port")
}

/// What the page's controls talk to.
struct Desk {
    orders: mpsc::Sender<Order>,
    controls: Mutex<Controls>,
}

impl Desk {
    fn show(&self, controls: Controls) {
        *self.controls.lock().unwrap_or_else(PoisonError::into_inner) = controls;
    }
}

impl Actions for Desk {
    fn act(&self, action: Action) -> Result<String, String> {
        let ended = |()| "the demo is ending".to_owned();
        let (answer, answered) = oneshot::channel();
        self.orders.blocking_send((action, answer)).map_err(|_| ended(()))?;
        answered.blocking_recv().map_err(|_| ended(()))?
    }

    fn controls(&self) -> Controls {
        self.controls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
