//! `portreeve demo`: the arguments and the terminal's side of it.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;

use super::{Done, Exit, signals};
use crate::demo::{self, Addresses, METRICS_PORT, Options, PAGE_PORT};
use crate::judge::State;
use crate::serve::How;

#[derive(Debug, clap::Args)]
#[command(after_help = "While it runs:\n  edit a policy in the folder that it prints, or use the page's buttons\n  \
    curl -s 127.0.0.1:9690/metrics | grep edge_state\n\nExamples:\n  portreeve demo --break mas-to-postgres            take its rule out of the policy\n  \
    portreeve demo --break mas-to-smtp=peer           stop the mail relay\n  portreeve demo --break stranger-to-mas=open       somebody opens MAS to every pod\n  \
    portreeve demo --repair --break mas-to-postgres   the rule comes back by itself")]
pub(super) struct Args {
    /// Break this edge from the start: by its rule in the policy, by stopping its peer, or (forbidden edges) by opening it
    #[arg(long = "break", value_name = "EDGE[=policy|peer|open]", value_parser = parse_break)]
    breaks: Vec<(String, Option<How>)>,
    /// Put a changed policy back
    #[arg(long)]
    repair: bool,
    /// Port of the page on 127.0.0.1; the next free one if it is taken
    #[arg(long, default_value_t = PAGE_PORT)]
    port: u16,
    /// Port of /metrics on 127.0.0.1; the next free one if it is taken
    #[arg(long, default_value_t = METRICS_PORT)]
    metrics_port: u16,
    /// Keep the working copy in this folder
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// End after this many rounds of three seconds; the exit code says whether an edge is violated
    #[arg(long, value_name = "N")]
    rounds: Option<u32>,
}

fn parse_break(text: &str) -> Result<(String, Option<How>), String> {
    let (edge, how) = match text.split_once('=') {
        None => (text, None),
        Some((edge, "policy")) => (edge, Some(How::Policy)),
        Some((edge, "peer")) => (edge, Some(How::Peer)),
        Some((edge, "open")) => (edge, Some(How::Open)),
        Some(_) => return Err("after `=` stands policy, peer or open".to_owned()),
    };
    Ok((edge.to_owned(), how))
}

pub(super) fn run(args: Args) -> anyhow::Result<Done> {
    super::log(false);
    // What must not work is broken by opening it.
    let by_default =
        |edge: &str| if edge == "stranger-to-mas" || edge == "mas-to-stranger" { How::Open } else { How::Policy };
    let breaks =
        args.breaks.into_iter().map(|(edge, how)| (edge.clone(), how.unwrap_or_else(|| by_default(&edge)))).collect();
    let options = Options {
        page_port: args.port,
        metrics_port: args.metrics_port,
        folder: args.folder,
        breaks,
        repair: args.repair,
        rounds: args.rounds,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let shared = runtime.block_on(async { demo::run(options, greet, signals::stop()?).await })?;
    let board = shared.board();
    let violated = board.edges.iter().any(|edge| edge.state == Some(State::Violated));
    Ok(Done { text: String::new(), exit: Exit::findings_if(violated && args.rounds.is_some()) })
}

fn greet(addresses: &Addresses) {
    let Addresses { page, metrics, folder } = addresses;
    let text = format!(
        "portreeve demo: MAS and its peers in one process, on this machine's loopback only\n\n  \
         page      http://{page}/\n  metrics   http://{metrics}/metrics\n  policies  {}/cluster  (edit them and watch)\n\n\
         Ctrl-C ends it.\n\n",
        folder.display()
    );
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
    let _ = std::io::stdout().flush();
}
