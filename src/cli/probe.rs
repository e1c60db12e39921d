//! `portreeve probe`: one real conversation an edge, from where it runs; with `--watch` again and again, as an exporter.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use super::args::{self, IntentArgs, WorldArgs};
use super::output::{self, Format, Style, Table};
use super::{Done, Exit};
use crate::judge::{Attempt, Board, EdgeReport, Mode, Observation, Phases, Reason, State, audit::audit, join};
use crate::load::inputs::Inputs;
use crate::matrix::{Exchange, Expect, Party, ResolvedEdge};
use crate::observe::{self, DENY_TIMEOUT, Dial, Prober, ResolvConf, Target, dials, roots_from_pem};
use crate::policy::Engine;
use crate::policy::render::RenderName;
use crate::serve::{self, Role, Shared, Surface};
use crate::source::files::{self, MAX_CONFIG_BYTES};

/// Probes that run at the same time.
const AT_ONCE: usize = 16;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Without names, the connections that MAS opens are probed, and synapse-to-mas by asking Synapse. \
    Connections that others open (traefik-to-mas) and forbidden ones say something only from their own source: name them to probe them from here."
)]
pub(super) struct Args {
    /// Only these edges
    #[arg(value_name = "EDGE")]
    edges: Vec<String>,
    #[command(flatten)]
    intent: IntentArgs,
    #[command(flatten)]
    world: WorldArgs,
    /// Trust these certificates (PEM) beside the public roots
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Ask these name servers instead of those of /etc/resolv.conf
    #[arg(long, value_name = "ADDRESS")]
    nameserver: Vec<IpAddr>,
    /// Longest time for one conversation, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0, value_parser = parse_seconds)]
    timeout: f64,
    /// Go on: probe every interval, and serve /metrics, /healthz, /readyz
    #[arg(long)]
    watch: bool,
    /// From one round to the next, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 15.0, value_parser = parse_seconds, requires = "watch")]
    interval: f64,
    /// Where --watch serves its metrics
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9690", requires = "watch")]
    listen: SocketAddr,
    /// A tier-0 edge whose state is unknown does not fail the command
    #[arg(long)]
    allow_unknown: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

pub(super) fn parse_seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds is wanted".to_owned())?;
    if (0.1..=3600.0).contains(&seconds) { Ok(seconds) } else { Err("from 0.1 to 3600 seconds".to_owned()) }
}

pub(super) fn run(args: &Args) -> anyhow::Result<Done> {
    let inputs = args::read(&args.intent, &args.world)?;
    for name in &args.edges {
        let known = inputs.resolution.edges.iter().any(|resolved| resolved.edge.name == *name);
        let names = || inputs.resolution.edges.iter().map(|e| e.edge.name.as_str()).collect::<Vec<_>>().join(", ");
        anyhow::ensure!(known, "there is no edge `{name}`; there are {}", names());
    }
    let roots = match &args.ca {
        Some(path) => {
            roots_from_pem(files::read(path, MAX_CONFIG_BYTES)?.text.as_bytes()).context("--ca cannot be used")?
        }
        None => Vec::new(),
    };
    let round = Round {
        prober: Arc::new(Prober::new(&roots).context("--ca cannot be used")?),
        resolv: Arc::new(resolv_conf(args)?),
        deadline: Duration::from_secs_f64(args.timeout),
        inputs,
        chosen: args.edges.clone(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    if args.watch {
        return runtime.block_on(watch(&round, Duration::from_secs_f64(args.interval), args.listen));
    }
    let board = runtime.block_on(round.run(None));
    let text = match args.output {
        Format::Json => {
            output::json(&ProbeJson { edges: &board.edges, probes: &board.probes, findings: &board.findings })?
        }
        Format::Text => text(&board, Style::detect()),
    };
    let fails = |edge: &EdgeReport| match edge.state {
        Some(State::Violated) => true,
        Some(State::Unknown) => edge.tier == 0 && edge.expect == Expect::Allow && !args.allow_unknown,
        _ => false,
    };
    let exit = Exit::findings_if(board.edges.iter().any(fails));
    Ok(Done { text, exit })
}

fn resolv_conf(args: &Args) -> anyhow::Result<ResolvConf> {
    if args.nameserver.is_empty() {
        return ResolvConf::system().context("/etc/resolv.conf cannot be read: name the servers with --nameserver");
    }
    Ok(ResolvConf::servers(args.nameserver.iter().map(|server| SocketAddr::new(*server, 53)).collect()))
}

#[derive(Serialize)]
struct ProbeJson<'a> {
    edges: &'a [EdgeReport],
    probes: &'a [Attempt],
    findings: &'a [crate::judge::Finding],
}

/// Everything one round needs.
pub(super) struct Round {
    pub(super) inputs: Inputs,
    pub(super) prober: Arc<Prober>,
    pub(super) resolv: Arc<ResolvConf>,
    pub(super) deadline: Duration,
    /// Edges named by the user; empty: those that mean something from anywhere.
    pub(super) chosen: Vec<String>,
}

/// One conversation to have.
struct Task {
    edge: String,
    dial: Dial,
    exchange: Exchange,
    deadline: Duration,
}

impl Round {
    /// Probes once and joins what is known.
    pub(super) async fn run(&self, shared: Option<&Shared>) -> Board {
        let (mut rows, audited) = self.declared();
        let matrix = format!("{}/{}", self.inputs.namespace, self.inputs.matrix);
        let mut observed: BTreeMap<String, Observation> = BTreeMap::new();
        for attempt in self.attempts().await {
            if let Some(shared) = shared {
                shared.metrics.record(&matrix, &attempt);
            }
            observed.entry(attempt.edge.clone()).or_default().attempts.push(attempt);
        }
        self.evidence(&mut observed);
        let findings = join(&mut rows, &observed, &audited, Mode::Enforce);
        rows.retain(|row| observed.contains_key(&row.name));
        if let Some(shared) = shared {
            for row in &rows {
                if let Some(state) = row.state {
                    shared.metrics.verdict(&matrix, &row.name, state);
                }
            }
        }
        let mut probes: Vec<Attempt> = observed.into_values().flat_map(|o| o.attempts).collect();
        probes.sort_by(|a, b| (&a.edge, a.address).cmp(&(&b.edge, b.address)));
        Board { matrix, edges: rows, findings, probes, notes: self.inputs.intent.notes.clone(), changes: Vec::new() }
    }

    /// Rows, with their declared fact where manifests were given.
    fn declared(&self) -> (Vec<EdgeReport>, Vec<crate::judge::Finding>) {
        let inputs = &self.inputs;
        let Some(world) = &inputs.world else {
            return (super::matrix::rows(inputs), Vec::new());
        };
        let engine = Engine::new(world, &inputs.policies);
        let name = RenderName { matrix: inputs.matrix.clone(), namespace: inputs.namespace.clone() };
        let audited = audit(&inputs.resolution, world, &inputs.policies, &engine, &name);
        (audited.edges, audited.findings)
    }

    fn is_chosen(&self, resolved: &ResolvedEdge) -> bool {
        let edge = &resolved.edge;
        if self.chosen.is_empty() {
            let ours = edge.from.contains(&Party::Subject) || edge.exchange == Exchange::Whoami;
            ours && edge.expect == Expect::Allow
        } else {
            self.chosen.contains(&edge.name)
        }
    }

    fn tasks(&self) -> Vec<Task> {
        let inputs = &self.inputs;
        let servers = &self.resolv.nameservers;
        let mut tasks = Vec::new();
        for resolved in inputs.resolution.edges.iter().filter(|resolved| self.is_chosen(resolved)) {
            let edge = &resolved.edge;
            // Whether Synapse reaches MAS is asked at Synapse, where MAS reaches it.
            let asked = match edge.exchange {
                Exchange::Whoami => {
                    inputs.resolution.edges.iter().find(|e| matches!(e.edge.exchange, Exchange::Synapse { .. }))
                }
                _ => Some(resolved),
            };
            let deadline = if edge.expect == Expect::Deny { self.deadline.max(DENY_TIMEOUT) } else { self.deadline };
            let task = |dial| Task { edge: edge.name.clone(), dial, exchange: edge.exchange.clone(), deadline };
            let found = asked.map_or(Vec::new(), |asked| dials(asked, inputs.world.as_ref(), servers));
            tasks.extend(found.into_iter().map(task));
        }
        tasks
    }

    async fn attempts(&self) -> Vec<Attempt> {
        let mut waiting = self.tasks().into_iter();
        let mut attempts: Vec<Attempt> = Vec::new();
        let mut running = JoinSet::new();
        loop {
            while running.len() < AT_ONCE {
                let Some(task) = waiting.next() else { break };
                running.spawn(converse(Arc::clone(&self.prober), Arc::clone(&self.resolv), task));
            }
            match running.join_next().await {
                Some(Ok(done)) => attempts.extend(done),
                Some(Err(_)) => {}
                None => break,
            }
        }
        for resolved in self.inputs.resolution.edges.iter().filter(|resolved| self.is_chosen(resolved)) {
            if !attempts.iter().any(|attempt| attempt.edge == resolved.edge.name) {
                attempts.push(failed(
                    &resolved.edge.name,
                    Reason::ProberError,
                    "no source says where it goes: see `portreeve matrix`",
                ));
            }
        }
        attempts
    }

    /// What one edge's probes cannot know: Ready endpoints from the manifests, and whether anything answered at all.
    fn evidence(&self, observed: &mut BTreeMap<String, Observation>) {
        let answered = |attempt: &Attempt| {
            !matches!(attempt.reason, Reason::ConnectTimeout | Reason::DnsTimeout | Reason::ProberError)
        };
        let alive = observed.values().flat_map(|o| &o.attempts).any(answered);
        for resolved in &self.inputs.resolution.edges {
            let Some(observation) = observed.get_mut(&resolved.edge.name) else { continue };
            observation.source_has_network = alive;
            observation.second_hand = resolved.edge.exchange == Exchange::Whoami;
            observation.target_up = self.inputs.world.as_ref().and_then(|world| resolved.readiness(world));
        }
    }
}

/// Resolves if need be, and has the conversation with every address.
async fn converse(prober: Arc<Prober>, resolv: Arc<ResolvConf>, task: Task) -> Vec<Attempt> {
    let target = |address| Target::new(task.edge.clone(), address, task.exchange.clone());
    match &task.dial {
        Dial::Address { address, host } => {
            let target = target(*address);
            let target = match host {
                Some(host) => target.named(host.clone()),
                None => target,
            };
            vec![prober.probe(&target, task.deadline).await]
        }
        Dial::Name { host, port } => {
            let started = tokio::time::Instant::now();
            match observe::resolve(host, &resolv, task.deadline).await {
                Err((reason, detail)) => {
                    let mut attempt = failed(&task.edge, reason, &detail);
                    attempt.phases.resolve = Some(started.elapsed());
                    vec![attempt]
                }
                Ok(addresses) => {
                    let resolve = started.elapsed();
                    let mut attempts = Vec::new();
                    for address in addresses {
                        let target = target(SocketAddr::new(address, *port)).named(host.clone());
                        let mut attempt = prober.probe(&target, task.deadline).await;
                        attempt.phases.resolve = Some(resolve);
                        attempts.push(attempt);
                    }
                    attempts
                }
            }
        }
    }
}

fn failed(edge: &str, reason: Reason, detail: &str) -> Attempt {
    let (edge, detail) = (edge.to_owned(), detail.to_owned());
    Attempt { edge, address: None, reason, offender: None, phases: Phases::default(), detail, tls_not_after: None }
}

async fn watch(round: &Round, interval: Duration, listen: SocketAddr) -> anyhow::Result<Done> {
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    let shared = Arc::new(Shared::new(Role::Both));
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let address = listener.local_addr()?;
    let _ = std::io::Write::write_all(
        &mut std::io::stderr(),
        format!("portreeve probe: http://{address}/metrics\n").as_bytes(),
    );
    let mut tasks = JoinSet::new();
    tasks.spawn(serve::serve(listener, Arc::clone(&shared), Surface::Metrics, None, std::future::pending()));
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            Some(ended) = tasks.join_next() => anyhow::bail!("the listener ended by itself ({ended:?})"),
            _ = ticks.tick() => {
                let board = tokio::select! {
                    biased;
                    _ = interrupt.recv() => break,
                    _ = terminate.recv() => break,
                    board = round.run(Some(&shared)) => board,
                };
                shared.publish(board);
                shared.set_ready(true);
            }
        }
    }
    shared.set_ready(false);
    tasks.shutdown().await;
    Ok(Done { text: String::new(), exit: Exit::Fine })
}

fn text(board: &Board, style: Style) -> String {
    let mut table = Table::new(&["EDGE", "STATE", "REASON", "TIME", "ADDRESS AND WHAT HAPPENED"]);
    let mut states = Vec::new();
    for row in &board.edges {
        let state = row.state.unwrap_or(State::Unknown);
        for (index, attempt) in board.probes.iter().filter(|attempt| attempt.edge == row.name).enumerate() {
            let time = attempt.phases.total();
            let time = if time.is_zero() { String::new() } else { format!("{:.1} ms", time.as_secs_f64() * 1e3) };
            let address = attempt.address.map_or(String::new(), |address| format!("{address} "));
            let (name, word) = if index == 0 { (row.name.as_str(), state.as_str()) } else { ("", "") };
            let cells = [name, word, attempt.reason.as_str(), &time, &format!("{address}{}", attempt.detail)];
            table.row(cells.map(str::to_owned).to_vec());
            states.push(state);
        }
    }
    let mut out = table.render(style, |index, column, cell| match column {
        0 => style.bold(cell),
        1 => style.state(states[index], cell),
        _ => cell.to_owned(),
    });
    if !board.findings.is_empty() {
        let _ = write!(out, "\n{}", output::findings(&board.findings, style));
    }
    out
}
