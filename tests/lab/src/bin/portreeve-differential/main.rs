//! Random worlds on a running cluster: what the product says of every connection is what a real one does.
//!
//! Three say something about each connection: the product's evaluator (`portreeve verify` over a dump), the enforcer of this crate, and the network between them. One difference is a fault of the evaluator, of the enforcer, or of the reading of the API's text.

#![allow(clippy::print_stdout, unreachable_pub, reason = "a program for tests speaks to them")]

mod case;
mod cast;
mod declared;
mod dice;
mod network;
mod shrink;
mod stage;
mod world;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use declared::{Declared, OPEN_POINT};
use dice::Dice;
use network::{Enforcers, Place, Programs, Way};
use portreeve_lab::style::Style;
use stage::Stage;
use tokio::signal::unix::{SignalKind, signal};
use world::World;

/// A SYN that is lost is sent again after a second.
const FIRST: Duration = Duration::from_millis(1500);
/// A difference is believed when it is there again, asked alone.
const AGAIN: Duration = Duration::from_secs(5);
/// So many differences of a world are asked again; more are the same fault.
const MOST: usize = 20;

/// Compares what `portreeve verify` says of random worlds with what their connections do.
#[derive(Debug, Parser)]
struct Args {
    /// How to reach the cluster: tests/cluster/cluster.
    #[arg(long, value_name = "PROGRAM")]
    cluster: PathBuf,
    /// The product.
    #[arg(long, value_name = "PROGRAM")]
    portreeve: PathBuf,
    /// How many worlds.
    #[arg(long, default_value_t = 20)]
    worlds: u64,
    /// The first world's seed; the others follow it. By default the time decides.
    #[arg(long)]
    seed: Option<u64>,
    /// How the enforcers refuse; with `off` every denial is a difference, which shows that differences are seen.
    #[arg(long, default_value = "drop")]
    style: Style,
    /// Where candidates for tests/corpus are written.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    let mut args = Args::parse();
    args.portreeve = std::fs::canonicalize(&args.portreeve).with_context(|| args.portreeve.display().to_string())?;
    std::fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;
    let lab = std::env::current_exe()?.parent().context("this program is in no folder")?.to_owned();
    let programs = Programs { cluster: args.cluster.clone(), lab };
    let kubeconfig = PathBuf::from(programs.cluster(&["kubeconfig"])?);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut stage = Stage::build(&kubeconfig).await?;
    let differences = tokio::select! {
        outcome = compare(&args, &programs, &mut stage) => outcome,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
        _ = terminate.recv() => Err(anyhow::anyhow!("terminated")),
    };
    stage.remove().await?;
    Ok(if differences? == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How many worlds differ.
async fn compare(args: &Args, programs: &Programs, stage: &mut Stage) -> Result<u64> {
    let nodes: Vec<String> = stage.nodes.iter().map(kube::ResourceExt::name_any).collect();
    let (enforcers, states) = Enforcers::start(programs, &nodes, args.style, &args.out)?;
    stage.states = states;
    let places = network::places(programs, stage)?;
    let ways = network::ways(&places);
    let rig = Rig { args, programs, stage, places: &places, ways: &ways };
    rig.control().await?;
    let first = args.seed.unwrap_or_else(seed_of_now);
    let (mut differ, mut sums) = (0, BTreeMap::new());
    for seed in first..first + args.worlds {
        differ += u64::from(rig.differs(seed, &mut sums).await?);
    }
    let delays = enforcers.delays.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    println!(
        "{} worlds, {differ} differ; connections: {sums:?}; {} tables, the slowest {} ms after its event",
        args.worlds,
        delays.len(),
        delays.iter().max().unwrap_or(&0)
    );
    // Worlds in which nothing or everything is closed would prove little.
    let of = |verdict: &str| sums.get(verdict).copied().unwrap_or_default();
    let few = args.worlds * ways.len() as u64 / 20;
    ensure!(of("allow").min(of("deny")) >= few, "these worlds are too much alike: {sums:?}");
    Ok(differ)
}

fn seed_of_now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    since.as_secs()
}

/// Everything that stays from world to world.
struct Rig<'a> {
    args: &'a Args,
    programs: &'a Programs,
    stage: &'a Stage,
    places: &'a [Place],
    ways: &'a [Way],
}

/// One way on which the two do not agree.
struct Difference {
    way: Way,
    declared: Declared,
    observed: String,
}

impl Rig<'_> {
    /// Without policies all is open: everything that is closed afterwards is closed by a policy, and not by a listener or a route that is not there.
    async fn control(&self) -> Result<()> {
        self.stage.play(&World::empty(self.stage.pods.len())).await?;
        let mut closed = self.ways.to_vec();
        for _ in 0..10 {
            let observed = network::connect(self.programs, self.places, &closed, AGAIN)?;
            closed = closed.into_iter().zip(observed).filter(|(_, one)| one != "open").map(|(way, _)| way).collect();
            if closed.is_empty() {
                println!("control: {} connections between {} places are open", self.ways.len(), self.places.len());
                return Ok(());
            }
            // A Service's endpoints may still be on their way to the nodes.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let names: Vec<String> = closed.iter().map(|way| self.name(way)).collect();
        anyhow::bail!("without any policy these do not connect: {names:#?}")
    }

    /// Whether a world differs; what differs is shrunk and written down.
    async fn differs(&self, seed: u64, sums: &mut BTreeMap<String, u64>) -> Result<bool> {
        let start = Instant::now();
        let addresses: Vec<IpAddr> = self.places.iter().flat_map(|place| &place.addresses).copied().collect();
        let world = World::random(&mut Dice::new(seed), self.stage.pods.len(), &addresses);
        self.stage.play(&world).await?;
        let played = start.elapsed();
        let (differences, counts) = self.differences(self.ways)?;
        println!(
            "seed {seed}: {} policies in force after {:.1} s, {counts:?}, {} differ, {:.1} s",
            world.policies.len(),
            played.as_secs_f32(),
            differences.len(),
            start.elapsed().as_secs_f32()
        );
        for (verdict, count) in counts {
            *sums.entry(verdict).or_default() += count;
        }
        let Some(difference) = differences.first() else { return Ok(false) };
        for one in &differences {
            println!(
                "  {}: portreeve says {}, the network {}",
                self.name(&one.way),
                one.declared.verdict,
                one.observed
            );
        }
        self.write_down(seed, &world, difference).await?;
        Ok(true)
    }

    /// Where the product and the network do not agree, asked again and again; and how often each verdict was given.
    fn differences(&self, ways: &[Way]) -> Result<(Vec<Difference>, BTreeMap<String, u64>)> {
        let declared = declared::verify(&self.args.portreeve, self.programs, self.places, ways, &self.args.out)?;
        let observed = network::connect(self.programs, self.places, ways, FIRST)?;
        let mut counts = BTreeMap::new();
        let mut doubtful = Vec::new();
        for ((way, declared), observed) in ways.iter().zip(declared).zip(observed) {
            *counts.entry(declared.verdict.clone()).or_default() += 1;
            doubtful.extend((!agree(&declared, &observed)).then(|| Difference {
                way: way.clone(),
                declared,
                observed,
            }));
        }
        // Together with patience, for a busy machine answers late and an old entry of conntrack may let a datagram pass; then each alone.
        self.ask_again(&mut doubtful)?;
        let mut differences = Vec::new();
        for difference in doubtful.into_iter().take(MOST) {
            let mut alone = vec![difference];
            self.ask_again(&mut alone)?;
            differences.append(&mut alone);
        }
        Ok((differences, counts))
    }

    /// Keeps what differs again.
    fn ask_again(&self, doubtful: &mut Vec<Difference>) -> Result<()> {
        let ways: Vec<Way> = doubtful.iter().map(|one| one.way.clone()).collect();
        let again = network::connect(self.programs, self.places, &ways, AGAIN)?;
        for (one, observed) in doubtful.iter_mut().zip(again) {
            one.observed = observed;
        }
        doubtful.retain(|one| !agree(&one.declared, &one.observed));
        Ok(())
    }

    async fn write_down(&self, seed: u64, world: &World, difference: &Difference) -> Result<()> {
        let way = std::slice::from_ref(&difference.way);
        let smallest = shrink::shrink(world, |smaller| async move {
            match self.stage.play(&smaller).await {
                Err(error) if stage::is_refused(&error) => Ok(false),
                Err(error) => Err(error),
                Ok(()) => Ok(!self.differences(way)?.0.is_empty()),
            }
        });
        let smallest = smallest.await?;
        let names = (self.places, &difference.way);
        let verdicts = (&difference.declared, difference.observed.as_str());
        let path = case::write(&self.args.out, &format!("seed-{seed}"), self.stage, &smallest, names, verdicts)?;
        println!("  {}: {} policies are left", path.display(), smallest.policies.len());
        Ok(())
    }

    fn name(&self, way: &Way) -> String {
        let place = |index: usize| self.places.get(index).map_or("", |place| place.name.as_str());
        format!("{} to {} ({})", place(way.from), place(way.to), way.target)
    }
}

/// Whether the network does what the product says. Of what it does not know it must say why, and there is one reason in these worlds.
fn agree(declared: &Declared, observed: &str) -> bool {
    match declared.verdict.as_str() {
        "allow" => observed == "open",
        "deny" => observed == "timeout",
        "unknown" => declared.because.contains(OPEN_POINT),
        _ => false,
    }
}
