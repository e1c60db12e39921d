//! `portreeve explain`: why a connection is allowed or not, and what would change it.

mod json;
mod text;

pub(super) use self::json::ports;

use anyhow::Context;

use super::args::{self, DialectArg, GIVE_WORLD, IntentArgs, WorldArgs};
use super::output::{self, Format, Style};
use super::{Done, Exit};
use crate::judge::explain::{Explained, Question, Sources, edge, fits, question};
use crate::load::inputs::left_out;
use crate::matrix::{Expect, Resolution, ResolvedEdge, parse_endpoint};
use crate::policy::Engine;
use crate::source::de::closest;
use crate::world::parse_port;

#[derive(Debug, clap::Args)]
#[command(
    override_usage = "portreeve explain [OPTIONS] <--cluster|--manifests <PATH>> <FROM> <TO> [PORT]\n       \
        portreeve explain [OPTIONS] <--cluster|--manifests <PATH>> --guide <FILE> <EDGE>",
    after_help = "FROM and TO: ns/pod, ns/deploy/name (sts, ds, job, cronjob, rs), ns/svc/name, an address, a CIDR, node/name, subject, any-pod, world\n\
        PORT: 5432, 53/udp, or a port's name; with a Service it is the Service port. Without PORT: all admitted ports\n\
        EDGE: a name that `portreeve matrix` prints\n\n\
        The answer is about new connections, by the policies alone; nothing is sent.\n\n\
        Exit codes: 0 the question is answered, whatever the answer; 1 an EDGE is not as it is expected to be \
        (an unknown verdict is not); 2 wrong usage or input."
)]
pub(super) struct Args {
    /// An edge's name, or who opens the connection, whom it goes to, and on which port
    #[arg(value_name = "WHAT", required = true, num_args = 1..=3)]
    what: Vec<String>,
    #[command(flatten)]
    intent: IntentArgs,
    #[command(flatten)]
    world: WorldArgs,
    #[command(flatten)]
    dialect: DialectArg,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// What was asked, as written.
struct Asked<'a> {
    title: String,
    edge: Option<&'a ResolvedEdge>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Done> {
    let source = args.world.source()?;
    let source = source.with_context(|| format!("nothing to look at: {GIVE_WORLD}"))?;
    let read = args::read_world(&args.intent, &source)?;
    let world = read.world.unwrap_or_default();
    let engine = Engine::new(&world, &read.policies).with_dialect(args.dialect.dialect);
    let sources = Sources { engine: &engine, intended: &read.resolution, name: &read.name };
    let (asked, explained) = match args.what.as_slice() {
        [name] => {
            let found = find(name, &read.resolution)?;
            (Asked { title: found.edge.name.clone(), edge: Some(found) }, edge(found, sources))
        }
        [from, to, port @ ..] => {
            let parse =
                |word: &str, text: &str| parse_endpoint(text).map_err(|error| anyhow::anyhow!("{word}: {error}"));
            let port = port.first().map(|port| parse_port(port)).transpose();
            let port = port.map_err(|error| anyhow::anyhow!("PORT: {error}"))?;
            let asked = Question { from: parse("FROM", from)?, to: parse("TO", to)?, port };
            let explained = question(&asked, sources)?;
            (Asked { title: title(from, to, &asked, &explained), edge: None }, explained)
        }
        [] => anyhow::bail!("nothing is asked: give FROM TO [PORT], or an EDGE"),
    };
    let left_out = left_out(&read.findings);
    let wrong = asked.edge.is_some_and(|edge| !fits(edge.edge.expect, explained.verdict));
    let text = match args.output {
        Format::Text => text::print(&asked, &explained, &left_out, &read.coverage, Style::detect()),
        Format::Json => output::json(&json::of(&asked, &explained, &left_out, &read.coverage))?,
    };
    Ok(Done { text, exit: Exit::findings_if(wrong) })
}

fn find<'r>(name: &str, resolution: &'r Resolution) -> anyhow::Result<&'r ResolvedEdge> {
    anyhow::ensure!(
        !resolution.edges.is_empty(),
        "`{name}` alone is an edge's name, and nothing says which edges there are: give --guide, --mas-config or --matrix, \
         or ask with FROM TO [PORT]"
    );
    let names: Vec<&str> = resolution.edges.iter().map(|edge| edge.edge.name.as_str()).collect();
    resolution.edges.iter().find(|edge| edge.edge.name == name).ok_or_else(|| match closest(name, &names) {
        Some(near) => anyhow::anyhow!("there is no edge `{name}`: did you mean `{near}`?"),
        None => anyhow::anyhow!("there is no edge `{name}`: there are {}", names.join(", ")),
    })
}

/// `matrix/deploy/mas → postgres/svc/matrix-db-rw 5432/TCP`
fn title(from: &str, to: &str, asked: &Question, explained: &Explained) -> String {
    let Some(port) = &asked.port else { return format!("{from} → {to}") };
    let of_service = explained.services.first().map(|through| through.protocol);
    let of_answer = explained.groups.iter().find_map(|group| group.first.as_ref()).map(|first| first.answer.protocol);
    let protocol = port.protocol.or(of_answer).or(of_service).unwrap_or_default();
    format!("{from} → {to} {}/{protocol}", port.port)
}

fn expected(expect: Expect) -> &'static str {
    match expect {
        Expect::Allow => "must be allowed",
        Expect::Deny => "must be denied",
    }
}
