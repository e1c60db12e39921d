//! `portreeve probe`: one real conversation an edge, or an address, from where it runs; with `--watch` again and again, as an exporter.

mod adhoc;
mod round;
mod watch;

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;

use super::args::{self, IntentArgs, WorldArgs};
use super::formats::{self, Case};
use super::output::{self, Style, Table};
use super::{Done, Exit};
use crate::judge::{Attempt, Board, EdgeReport, Reason, State};
use crate::matrix::{self, Expect, Lookup};
use crate::observe::{Means, Prober, ResolvConf, converse_all, roots_from_pem};
use crate::source::files::{self, MAX_CONFIG_BYTES};
use adhoc::{AdHoc, VANTAGE};
pub(super) use round::Round;

#[derive(Debug, clap::Args)]
#[command(after_help = after_help())]
pub(super) struct Args {
    /// Only these edges; or addresses, which need no source: postgres://db:5432, smtp://relay:587, mas://auth.example.org; all schemes stand below
    #[arg(value_name = "EDGE|ADDRESS")]
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
    /// How often an edge is probed over TCP, DNS or PostgreSQL, in seconds; HTTP and forbidden edges four times, mail and identity providers twenty times as seldom
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
    output: ProbeFormat,
}

fn after_help() -> String {
    format!(
        "Without names, the connections that MAS opens are probed, and synapse-to-mas by asking Synapse. \
        traefik-to-mas is asked by the public URL, and forbidden edges say something only from their own source: name them to probe them from here.\n\n\
        An address is probed from here, not from MAS, so what comes of it never counts as observed. What will be sent is printed first.\n\n\
        {}\n\
        What every conversation sends byte by byte, and what each answer means: docs/probes.md; every reason: docs/reasons.md.",
        adhoc::help()
    )
}

pub(super) fn parse_seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds is wanted".to_owned())?;
    if (0.1..=3600.0).contains(&seconds) { Ok(seconds) } else { Err("from 0.1 to 3600 seconds".to_owned()) }
}

pub(super) fn run(args: &Args) -> anyhow::Result<Done> {
    let (addresses, names): (Vec<String>, Vec<String>) =
        args.edges.iter().cloned().partition(|argument| AdHoc::is_meant(argument));
    let addresses: Vec<AdHoc> =
        addresses.iter().map(|text| AdHoc::parse(text)).collect::<Result<_, _>>().map_err(anyhow::Error::msg)?;
    anyhow::ensure!(addresses.is_empty() || !args.watch, "--watch goes with edges: an address is probed once");
    let means = means(args)?;
    // An address needs no source; with neither address nor name, the edges of the sources are meant.
    let round = if addresses.is_empty() || !names.is_empty() { Some(round(args, names, means.clone())?) } else { None };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    if let Some(round) = round.as_ref().filter(|_| args.watch) {
        return runtime.block_on(watch::watch(round, Duration::from_secs_f64(args.interval), args.listen));
    }
    announce(&addresses);
    let tasks = addresses.iter().flat_map(|address| address.tasks(means.deadline)).collect();
    let (board, mut strangers) = runtime.block_on(async {
        let board = match &round {
            Some(round) => round.run().await,
            None => Board::default(),
        };
        (board, converse_all(&means, tasks).await)
    });
    strangers.sort_by(|a, b| (&a.edge, a.address).cmp(&(&b.edge, b.address)));
    let text = match args.output {
        ProbeFormat::Json => output::json(&ProbeJson {
            edges: &board.edges,
            probes: &board.probes,
            findings: &board.findings,
            lookups: round.as_ref().map(|round| lookups(round, &means)),
            addresses: (!addresses.is_empty()).then_some(Addresses { vantage: VANTAGE, probes: &strangers }),
        })?,
        ProbeFormat::Junit => formats::junit("portreeve probe", &cases(&board, &strangers, args.allow_unknown)),
        ProbeFormat::Text => {
            let style = Style::detect();
            let edges = round.as_ref().map_or_else(String::new, |round| {
                text(&board, style) + &lookups_text(&lookups(round, &means), &means.resolv, style)
            });
            edges + &strangers_text(&strangers, style)
        }
    };
    let wrong = board.edges.iter().any(|edge| fails(edge, args.allow_unknown))
        || strangers.iter().any(|attempt| attempt.reason != Reason::Ok);
    Ok(Done { text, exit: Exit::findings_if(wrong) })
}

fn means(args: &Args) -> anyhow::Result<Means> {
    let roots = match &args.ca {
        Some(path) => {
            roots_from_pem(files::read(path, MAX_CONFIG_BYTES)?.text.as_bytes()).context("--ca cannot be used")?
        }
        None => Vec::new(),
    };
    let resolv = Arc::new(resolv_conf(args)?);
    let prober = Prober::new(&roots).context("--ca cannot be used")?;
    // What goes on by itself goes nowhere but where an edge leads.
    let prober = if args.watch { prober } else { prober.with_followed_endpoints(Arc::clone(&resolv)) };
    Ok(Means { prober: Arc::new(prober), resolv, deadline: Duration::from_secs_f64(args.timeout) })
}

fn round(args: &Args, chosen: Vec<String>, means: Means) -> anyhow::Result<Round> {
    let inputs = args::read(&args.intent, &args.world, &[])?;
    for name in &chosen {
        let known = inputs.resolution.edges.iter().any(|resolved| resolved.edge.name == *name);
        let names = || inputs.resolution.edges.iter().map(|e| e.edge.name.as_str()).collect::<Vec<_>>().join(", ");
        anyhow::ensure!(known, "there is no edge `{name}`; there are {}", names());
    }
    Ok(Round { inputs, means, chosen })
}

/// Says what will be sent before anything is.
fn announce(addresses: &[AdHoc]) {
    let lines: String = addresses.iter().fold(String::new(), |mut out, address| {
        let _ = writeln!(out, "portreeve probe: {}", address.announcement());
        out
    });
    // Who closed standard error does not want to know.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), lines.as_bytes());
}

fn fails(edge: &EdgeReport, allow_unknown: bool) -> bool {
    match edge.state {
        Some(State::Violated) => true,
        Some(State::Unknown) => edge.tier == 0 && edge.expect == Expect::Allow && !allow_unknown,
        _ => false,
    }
}

fn cases(board: &Board, strangers: &[Attempt], allow_unknown: bool) -> Vec<Case> {
    let edges = board.edges.iter().map(|edge| {
        let failure = || match &edge.finding {
            Some(finding) => format!("{}: {}", finding.code, finding.message),
            None => edge.reason.map_or("not probed", Reason::as_str).to_owned(),
        };
        Case { name: edge.name.clone(), failure: fails(edge, allow_unknown).then(failure) }
    });
    let strangers = strangers.iter().map(|attempt| {
        let address = attempt.address.map_or(String::new(), |address| format!(" {address}"));
        let failure = (attempt.reason != Reason::Ok).then(|| format!("{}: {}", attempt.reason, attempt.detail));
        Case { name: format!("{}{address} ({VANTAGE})", attempt.edge), failure }
    });
    edges.chain(strangers).collect()
}

fn resolv_conf(args: &Args) -> anyhow::Result<ResolvConf> {
    if args.nameserver.is_empty() {
        return ResolvConf::system().context("/etc/resolv.conf cannot be read: name the servers with --nameserver");
    }
    Ok(ResolvConf::of(&args.nameserver))
}

#[derive(Serialize)]
struct ProbeJson<'a> {
    edges: &'a [EdgeReport],
    probes: &'a [Attempt],
    findings: &'a [crate::finding::Finding],
    /// What the names that MAS uses cost with this place's search list.
    #[serde(skip_serializing_if = "Option::is_none")]
    lookups: Option<Vec<Lookup>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    addresses: Option<Addresses<'a>>,
}

/// Addresses of the user's own.
#[derive(Serialize)]
struct Addresses<'a> {
    vantage: &'static str,
    probes: &'a [Attempt],
}

/// How `probe` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum ProbeFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object
    Json,
    /// JUnit XML, for test reports
    Junit,
}

fn text(board: &Board, style: Style) -> String {
    let mut table = Table::new(&["EDGE", "STATE", "REASON", "TIME", "ADDRESS AND WHAT HAPPENED"]);
    let mut states = Vec::new();
    for row in &board.edges {
        let state = row.state.unwrap_or(State::Unknown);
        for (index, attempt) in board.probes.iter().filter(|attempt| attempt.edge == row.name).enumerate() {
            let address = attempt.address.map_or(String::new(), |address| format!("{address} "));
            let (name, word) = if index == 0 { (row.name.as_str(), state.as_str()) } else { ("", "") };
            let more = if row.needs.is_empty() || index > 0 { String::new() } else { format!("; {}", row.needs) };
            let what = format!("{address}{}{more}", attempt.detail);
            let cells = [name, word, attempt.reason.as_str(), &time(attempt), &what];
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

fn lookups(round: &Round, means: &Means) -> Vec<Lookup> {
    matrix::lookups(&round.inputs.resolution.edges, &means.resolv.search_list())
}

/// Names that the search list makes dearer than they need be; nothing when there is none.
fn lookups_text(lookups: &[Lookup], resolv: &ResolvConf, style: Style) -> String {
    let dear: Vec<&Lookup> = lookups.iter().filter(|lookup| lookup.needless > 0).collect();
    if dear.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&["NAME", "DNS QUESTIONS", "FOR NOTHING"]);
    for Lookup { host, questions, needless } in dear {
        table.row(vec![host.clone(), questions.to_string(), needless.to_string()]);
    }
    let body = table.render(style, |_, _, cell| cell.to_owned());
    let (domains, ndots) = (resolv.search.len(), resolv.ndots);
    let why = format!("by the search list of this place: {domains} domains, ndots:{ndots}; A and AAAA for each try");
    format!("\n{body}{}\n", style.dim(&why))
}

/// Attempts at addresses of the user's own, which have no state.
fn strangers_text(strangers: &[Attempt], style: Style) -> String {
    if strangers.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&["ADDRESS", "REASON", "TIME", "WHERE AND WHAT HAPPENED"]);
    for attempt in strangers {
        let address = attempt.address.map_or(String::new(), |address| format!("{address} "));
        let cells = [&attempt.edge, attempt.reason.as_str(), &time(attempt), &format!("{address}{}", attempt.detail)];
        table.row(cells.map(str::to_owned).to_vec());
    }
    let state = |index: usize| if strangers[index].reason == Reason::Ok { State::Ok } else { State::Violated };
    let body = table.render(style, |index, column, cell| match column {
        0 => style.bold(cell),
        1 => style.state(state(index), cell),
        _ => cell.to_owned(),
    });
    format!("{body}{}\n", style.dim(VANTAGE))
}

fn time(attempt: &Attempt) -> String {
    let time = attempt.phases.total();
    if time.is_zero() { String::new() } else { format!("{:.1} ms", time.as_secs_f64() * 1e3) }
}
