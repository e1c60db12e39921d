//! The command line: one file per command, each from typed arguments to text and an exit code.

mod accept;
#[cfg(target_os = "linux")]
mod agent;
mod args;
mod audit;
#[cfg(target_os = "linux")]
mod demo;
mod diff;
mod doctor;
mod explain;
mod formats;
mod init;
mod matrix;
mod output;
mod plan;
#[cfg(target_os = "linux")]
mod probe;
mod render;
#[cfg(target_os = "linux")]
mod signals;
mod status;
mod verify;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    /// Nothing wrong.
    Fine,
    /// Findings, differences, failed assertions, violated edges.
    Findings,
}

impl Exit {
    fn findings_if(found: bool) -> Self {
        if found { Self::Findings } else { Self::Fine }
    }
}

/// What a command prints on standard output, and how it ended.
#[derive(Debug)]
struct Done {
    text: String,
    exit: Exit,
}

#[derive(Debug, Parser)]
#[command(
    name = "portreeve",
    version,
    about = "Keeps the gates of a Matrix Authentication Service (MAS) deployment on Kubernetes",
    long_about = "Keeps the gates of a Matrix Authentication Service (MAS) deployment on Kubernetes.\n\n\
        For every connection that MAS needs, portreeve joins three facts: what is intended (the guide's values, \
        MAS's config), what the NetworkPolicies declare (all together, both ends), and what is observed (real \
        conversations). It names who is at fault when they differ.",
    after_help = "Exit codes: 0 nothing wrong; 1 findings, differences, failed assertions or violated edges; 2 wrong usage or input.\n\n\
        Start here:\n  portreeve demo                                          see it work, no cluster needed\n  \
        portreeve matrix --guide values.yaml                    which connections does MAS need?\n  \
        portreeve audit --guide values.yaml --cluster           do my policies allow exactly these?\n  \
        portreeve explain a/deploy/x b/svc/y 443 --cluster      why does this not connect?\n  \
        portreeve diff cluster change.yaml --cluster            what does my change open or close?\n\n\
        --cluster reads the live cluster of the kubeconfig; --manifests DIR reads files in its place, and then nothing uses the network."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Write a TrafficMatrix out of MAS's config and what is there, asking nothing
    Init(init::Args),
    /// Print the connections that MAS needs: ports, what breaks without them, who asks for them
    Matrix(matrix::Args),
    /// Print the one NetworkPolicy that allows exactly these connections
    Render(render::Args),
    /// Compare the policies of a cluster or folder with the connections that MAS needs
    Audit(audit::Args),
    /// Say why a connection is allowed or not: every rule that was looked at, the nearest miss, the smallest fix
    Explain(explain::Args),
    /// Say which new connections open and close between two sets of policies, and which policy does it
    Diff(diff::Args),
    /// Print the one write that brings the cluster to its TrafficMatrix, what it opens and closes, and whether it is safe; write nothing
    Plan(plan::Args),
    /// Check assertions ("nothing outside matrix reaches postgres") against the policies of a cluster or folder
    Verify(verify::Args),
    /// Go through the guide phase by phase: what is done, what is wrong, what is unknown, what only a person can try
    Doctor(doctor::Args),
    /// Say what is wrong right now, worst first: the cluster's policies joined with what the agents saw
    Status(status::Args),
    /// Make one real conversation per connection from where this runs, and say why one fails
    #[cfg(target_os = "linux")]
    Probe(probe::Args),
    /// Probe for ever from MAS's own network identity, as a sidecar of MAS; or from a pod that must be refused
    #[cfg(target_os = "linux")]
    Agent(agent::Args),
    /// Run the whole chain on this machine, break it, and watch it name the culprit
    #[cfg(target_os = "linux")]
    Demo(demo::Args),
}

/// Logs to standard error, as text for people or as JSON lines. `RUST_LOG` says what, as `level` or `target=level,…`.
#[cfg(target_os = "linux")]
fn log(json: bool) {
    use std::io::IsTerminal;
    use tracing_subscriber::filter::{LevelFilter, Targets};
    use tracing_subscriber::{Layer, fmt, layer::SubscriberExt, util::SubscriberInitExt};
    let wanted = std::env::var("RUST_LOG").ok().and_then(|text| text.parse::<Targets>().ok());
    let wanted = wanted.unwrap_or_else(|| Targets::new().with_target("portreeve", LevelFilter::INFO));
    let lines = fmt::layer().with_target(false).with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr);
    let lines = if json { lines.json().boxed() } else { lines.boxed() };
    tracing_subscriber::registry().with(lines.with_filter(wanted)).init();
}

/// Parses the arguments, runs the command, prints, and gives the process's exit code.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // clap's own text; help and version are no errors.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let result = match cli.command {
        Command::Init(args) => init::run(&args),
        Command::Matrix(args) => matrix::run(&args),
        Command::Render(args) => render::run(&args),
        Command::Audit(args) => audit::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Plan(args) => plan::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Status(args) => status::run(&args),
        #[cfg(target_os = "linux")]
        Command::Probe(args) => probe::run(&args),
        #[cfg(target_os = "linux")]
        Command::Agent(args) => agent::run(args),
        #[cfg(target_os = "linux")]
        Command::Demo(args) => demo::run(args),
    };
    match result {
        Ok(done) => {
            // A reader that went away (`| head`) is no error.
            let _ = std::io::stdout().lock().write_all(done.text.as_bytes());
            match done.exit {
                Exit::Fine => ExitCode::SUCCESS,
                Exit::Findings => ExitCode::from(1),
            }
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "portreeve: {error:#}");
            ExitCode::from(2)
        }
    }
}
