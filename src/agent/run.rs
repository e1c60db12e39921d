//! The agent's one task: settings in, attempts out.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::assignment::{Assigned, Assignment, Intervals, Vantage};
use super::notebook::Notebook;
use super::settings::Settings;
use crate::judge::{Attempt, Board, EdgeReport, Mode, Observation, Reason, join};
use crate::matrix::{Exchange, Expect};
use crate::observe::patrol::{Patrol, Round};
use crate::observe::schedule::Limits;
use crate::observe::{DENY_TIMEOUT, Dial, Means, Prober, ResolvConf, Target, Task};
use crate::serve::{self, Reload, Reports, Role, Shared, Surface};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(5);
/// MAS starts after this at the latest, whatever DNS does.
const STARTUP: Duration = Duration::from_secs(15);
/// Longest time for one conversation.
const DEADLINE: Duration = Duration::from_secs(5);
/// A pod's end is not to wait for its agent.
const GOODBYE: Duration = Duration::from_secs(1);

/// How an agent runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// What to probe, as `agent.json`; need not be there.
    pub assignment: PathBuf,
    /// Trusted beside the public roots (PEM); need not be there.
    pub ca: Option<PathBuf>,
    /// Whose identity it has.
    pub vantage: Vantage,
    /// `/metrics`, `/healthz`, `/readyz`, `/v1/report`.
    pub listen: SocketAddr,
    /// The stranger's second listener, which accepts and says nothing: what MAS must not reach.
    pub target: Option<SocketAddr>,
    /// Where names are looked up.
    pub resolv: ResolvConf,
}

/// Runs until `shutdown` turns true. `started` learns the two listeners' addresses.
///
/// # Errors
/// Only when it cannot listen, or a listener ends by itself.
pub async fn run(
    options: Options,
    started: impl FnOnce(SocketAddr, Option<SocketAddr>),
    shutdown: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let listener = listen(options.listen).await?;
    let target = match options.target {
        Some(address) => Some(listen(address).await?),
        None => None,
    };
    let address = listener.local_addr()?;
    started(address, target.as_ref().and_then(|target| target.local_addr().ok()));
    let desk = Arc::new(Desk {
        began: Instant::now(),
        vantage: options.vantage,
        nameservers: options.resolv.nameservers.clone(),
        notebook: Mutex::default(),
    });
    let shared = Arc::new(Shared::new(Role::Agent));
    let mut tasks = JoinSet::new();
    let surface = Surface::Agent(Arc::clone(&desk) as Arc<dyn Reports>);
    tasks.spawn(serve::serve(listener, Arc::clone(&shared), surface, stopped(shutdown.clone())));
    if let Some(target) = target {
        tasks.spawn(accept_and_close(target));
    }
    let prober = Arc::new(Prober::new(&[]).context("the prober cannot be set up")?);
    let resolv = Arc::new(options.resolv.clone());
    let gate = hold_mas_until_dns(Arc::clone(&prober), Arc::clone(&resolv), Arc::clone(&shared));
    let mut agent = Agent {
        settings: Settings::new(options.assignment, options.ca),
        patrol: Patrol::new(Means { prober, resolv, deadline: DEADLINE }, Limits::default()),
        assignment: None,
        rows: Vec::new(),
        desk,
        shared: Arc::clone(&shared),
    };
    tokio::select! {
        biased;
        () = stopped(shutdown) => {}
        Some(ended) = tasks.join_next() => anyhow::bail!("a listener ended by itself ({ended:?})"),
        never = Box::pin(async { tokio::join!(gate, agent.work()).1 }) => match never {},
    }
    shared.set_ready(false);
    // Answers under way may end; what takes longer is cut.
    let _ = timeout(GOODBYE, async { while tasks.join_next().await.is_some() {} }).await;
    Ok(())
}

async fn stopped(mut shutdown: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is an end as well.
    let _ = shutdown.wait_for(|stop| *stop).await;
}

/// Listens; where the kernel has no IPv6, `[::]` means all of IPv4.
async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = match TcpListener::bind(address).await {
        Err(_) if address.is_ipv6() && address.ip().is_unspecified() => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        other => other,
    };
    listener.with_context(|| format!("cannot listen on {address}"))
}

/// The stranger's target: that a connection comes about is all that it has to show.
async fn accept_and_close(listener: TcpListener) {
    loop {
        if listener.accept().await.is_err() {
            // Out of file descriptors, mostly: trying again at once would only burn the processor.
            sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Says ready, for the startupProbe, as soon as DNS answers: MAS would fail its start without. After [`STARTUP`] it says so anyway.
async fn hold_mas_until_dns(prober: Arc<Prober>, resolv: Arc<ResolvConf>, shared: Arc<Shared>) {
    let answered = async {
        loop {
            for server in &resolv.nameservers {
                let target = Target::new("startup", *server, Exchange::DnsUdp);
                if prober.probe(&target, Duration::from_secs(1)).await.reason == Reason::Ok {
                    return;
                }
            }
            sleep(Duration::from_millis(250)).await;
        }
    };
    if timeout(STARTUP, answered).await.is_ok() {
        tracing::info!("DNS answers; MAS may start");
    } else {
        tracing::warn!("no DNS server answered for {} s; MAS may start all the same", STARTUP.as_secs());
    }
    shared.set_ready(true);
}

/// From one probe to the next at the longest: silence takes the whole deadline, and the next probe waits for its end.
fn holds(beat: Duration) -> Duration {
    beat.max(DEADLINE)
}

/// What is written by the agent and read by whoever asks for the report.
struct Desk {
    began: Instant,
    vantage: Vantage,
    nameservers: Vec<SocketAddr>,
    notebook: Mutex<Notebook>,
}

impl Desk {
    fn notebook(&self) -> MutexGuard<'_, Notebook> {
        self.notebook.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reports for Desk {
    fn report(&self) -> Vec<u8> {
        self.notebook().report(self.vantage, &self.nameservers, self.began.elapsed()).to_json()
    }
}

struct Agent {
    settings: Settings,
    patrol: Patrol,
    assignment: Option<Assignment>,
    /// The edges that are probed from here, for the metrics.
    rows: Vec<EdgeReport>,
    desk: Arc<Desk>,
    shared: Arc<Shared>,
}

impl Agent {
    async fn work(&mut self) -> std::convert::Infallible {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = looks.tick() => self.look(),
                (edge, attempts) = self.patrol.next() => self.take(&edge, &attempts),
            }
            self.shared.metrics.schedule_lag(self.patrol.lag());
        }
    }

    /// Takes changed settings in.
    fn look(&mut self) {
        let Some(change) = self.settings.look() else { return };
        let generation = self.assignment.as_ref().map_or(0, |assignment| assignment.generation);
        let mut reload = Reload { succeeded: true, at: since_1970(), generation };
        match change {
            Ok(change) => {
                self.patrol.use_prober(Arc::new(change.prober));
                if let Some(assignment) = change.assignment {
                    reload.generation = assignment.generation;
                    self.assign(assignment);
                } else {
                    tracing::info!("there is no {}: nothing new to probe", self.settings.assignment.display());
                }
            }
            Err(error) => {
                tracing::error!("what was in force stays in force: {error:#}");
                reload.succeeded = false;
            }
        }
        self.shared.metrics.reloaded(reload);
    }

    fn assign(&mut self, assignment: Assignment) {
        let ours: Vec<&Assigned> = assignment.edges.iter().filter(|edge| edge.vantage == self.desk.vantage).collect();
        let rounds: BTreeMap<String, Round> =
            ours.iter().map(|edge| (edge.name.clone(), self.round(edge, assignment.intervals))).collect();
        let beats: BTreeMap<String, Duration> =
            rounds.iter().map(|(name, round)| (name.clone(), holds(round.beat()))).collect();
        tracing::info!(
            matrix = assignment.matrix,
            generation = assignment.generation,
            "{} edges to probe",
            rounds.len()
        );
        self.desk.notebook().assign(assignment.generation, &assignment.matrix, &beats);
        self.rows = ours.iter().map(|edge| row(edge)).collect();
        self.patrol.set(rounds);
        self.assignment = Some(assignment);
        self.publish();
    }

    fn round(&self, edge: &Assigned, intervals: Intervals) -> Round {
        let mut dials: Vec<Dial> = edge.to.iter().map(|place| Dial::to(&place.host, place.port)).collect();
        if dials.is_empty() {
            dials = self.desk.nameservers.iter().map(|server| Dial::Address { address: *server, host: None }).collect();
        }
        let deadline = if edge.expect == Expect::Deny { DEADLINE.max(DENY_TIMEOUT) } else { DEADLINE };
        let task =
            |dial| Task { edge: edge.name.clone(), dial, exchange: edge.exchange.clone(), deadline, deep: false };
        Round {
            tasks: dials.into_iter().map(task).collect(),
            expect: edge.expect,
            interval: intervals.probe(),
            deep_interval: intervals.deep(),
        }
    }

    fn take(&mut self, edge: &str, attempts: &[Attempt]) {
        let Some(assignment) = &self.assignment else { return };
        for attempt in attempts {
            self.shared.metrics.record(&assignment.matrix, attempt);
        }
        let mut notebook = self.desk.notebook();
        notebook.write(edge, attempts, self.desk.began.elapsed());
        if let Some(pace) = self.patrol.pace(edge) {
            notebook.pace(edge, holds(pace));
        }
        drop(notebook);
        self.publish();
    }

    /// What an agent can say by itself: without policies and endpoints many a silence stays unknown.
    fn publish(&self) {
        let Some(assignment) = &self.assignment else { return };
        let settled = self.desk.notebook().settled();
        let alive = settled.values().flatten().any(|attempt| attempt.reason.is_from_outside());
        let observed: BTreeMap<String, Observation> = settled
            .into_iter()
            .map(|(edge, attempts)| {
                (edge, Observation { attempts, source_has_network: alive, ..Observation::default() })
            })
            .collect();
        let mut edges = self.rows.clone();
        join(&mut edges, &observed, &[], Mode::Enforce);
        self.shared.publish(Board { matrix: assignment.matrix.clone(), edges, ..Board::default() });
    }
}

/// An edge as far as an agent knows it.
fn row(edge: &Assigned) -> EdgeReport {
    EdgeReport {
        name: edge.name.clone(),
        from: edge.vantage.as_str().to_owned(),
        to: edge.to.iter().map(|place| place.host.as_str()).collect::<Vec<_>>().join(" or "),
        protocol: "",
        pod_ports: Vec::new(),
        service_port: edge.to.first().map(|place| place.port),
        needs: String::new(),
        expect: edge.expect,
        tier: edge.tier,
        breaks: String::new(),
        exchange: edge.exchange.clone(),
        provenance: Vec::new(),
        declared: None,
        because: String::new(),
        observed: None,
        reason: None,
        state: None,
        finding: None,
    }
}

fn since_1970() -> Duration {
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default()
}
