//! What is measured; each task runs alone in its process.

use std::hint::black_box;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use portreeve::judge::{Attempt, Board, Declared, Phases, Reason, State};
use portreeve::load::inputs;
use portreeve::policy::{End, Engine, Peers, PolicySet, Reachability};
use portreeve::serve::{Metrics, Role};
use portreeve::world::{ObjectName, PodId, Protocol, World};

use crate::common::{edge, say};
use crate::worlds::{self, Shape};

pub(crate) const NAMES: [&str; 5] = ["whole", "yaml", "list", "pairs", "small"];

/// Names the file for the process that reads.
const FILE: &str = "PORTREEVE_NUMBERS_FILE";

pub(crate) fn run(task: &str, quick: bool) {
    let large = if quick { 2_500 } else { 25_000 };
    match task {
        "whole" => whole(large),
        "yaml" => load(&worlds::yaml(large), task, quick),
        "list" => load(&worlds::json_list(4 * large), task, quick),
        "read-yaml" => read(3 * large, 0),
        "read-list" => read(0, 4 * large),
        "pairs" => pairs(quick),
        "small" => small(),
        other => panic!("no task {other}"),
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begin = Instant::now();
    let result = work();
    (result, begin.elapsed())
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn peak() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kilobytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB")?.trim().parse::<f64>().ok());
    if let Some(kilobytes) = kilobytes {
        say("peak", kilobytes * 1024.0 / 1e6);
    }
}

/// The median of several runs, in seconds.
fn median(runs: usize, mut work: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..runs).map(|_| timed(&mut work).1.as_secs_f64()).collect();
    times.sort_by(f64::total_cmp);
    times[runs / 2]
}

fn whole(namespaces: usize) {
    let shape = Shape { namespaces, group: 1, unlike: false };
    let (world, policies) = (shape.world(), shape.policies());
    let ((mut reach, count), took) = timed(|| {
        let reach = Reachability::compute(&world, &policies);
        let count = reach.allowed_pairs(Protocol::Tcp, 80);
        (reach, count)
    });
    say("evaluate", millis(took));
    assert_eq!((count.allowed, count.unknown, count.left_open), (shape.allowed_on_80(), 0, 0));
    assert_eq!(reach.allowed_pairs(Protocol::Tcp, 85).allowed, shape.allowed_on_85());
    assert_eq!(reach.allowed_pairs(Protocol::Tcp, 443).allowed, 0);
    assert_eq!(reach.allowed_pairs(Protocol::Udp, 80).allowed, 0);
    let n = namespaces / 2 + 1;
    let (traffic, took) = timed(|| reach.admitted(shape.pod(n, 1), shape.pod(n, 0)));
    say("query", took.as_secs_f64() * 1e6);
    assert_eq!(traffic.declared(Protocol::Tcp, 80), Declared::Allowed);
    assert_eq!(traffic.declared(Protocol::Tcp, 81), Declared::Denied);

    let name = ObjectName::new(format!("ns-{n:05}"), "np-1");
    let before = policies.get(&name).unwrap().clone();
    let mut opened = before.clone();
    opened.ingress.as_mut().unwrap()[0].peers = Peers::Any;
    let ((), took) = timed(|| reach.replace_policy(&name, Some(opened)));
    say("change", millis(took));
    let (count, took) = timed(|| reach.allowed_pairs(Protocol::Tcp, 80));
    say("recount", millis(took));
    assert_eq!(count.allowed, shape.allowed_on_80() + shape.opened_np_1_adds());
    reach.replace_policy(&name, Some(before));
    assert_eq!(reach.allowed_pairs(Protocol::Tcp, 80).allowed, shape.allowed_on_80());
    peak();
}

/// Writes the text, and reads it in a further process: the memory of writing it must not count.
fn load(text: &str, task: &str, quick: bool) {
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    say("size", text.len() as f64 / 1e6);
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(FILE, file.path()).args(["--child", &format!("read-{task}")]).args(quick.then_some("quick"));
    assert!(command.status().unwrap().success());
}

fn read(policies: usize, pods: usize) {
    let path = PathBuf::from(std::env::var_os(FILE).unwrap());
    let (cluster, took) = timed(|| inputs::manifests(&[path]).unwrap());
    say("load", millis(took));
    assert_eq!((cluster.policies.policies.len(), cluster.world.pods.len()), (policies, pods));
    assert_eq!(cluster.findings, []);
    peak();
}

/// The world of which every pair is asked, and both ports that its rules can tell apart inside the cluster: 80 and one of 81 to 90.
pub(crate) fn pairs_world(quick: bool) -> (Shape, [u16; 2]) {
    (Shape { namespaces: if quick { 20 } else { 100 }, group: 5, unlike: true }, [80, 85])
}

/// Allowed connections of the first pods to all others.
pub(crate) fn allowed_of_first(shape: &Shape, ports: &[u16], sources: usize) -> u64 {
    let (world, policies) = (shape.world(), shape.policies());
    let reach = Reachability::compute(&world, &policies);
    let mut allowed = 0;
    for (from, to) in (0..sources).flat_map(|from| (0..shape.pods()).map(move |to| (PodId(from), PodId(to)))) {
        let traffic = reach.admitted(from, to);
        let open = ports.iter().filter(|port| traffic.declared(Protocol::Tcp, **port) == Declared::Allowed);
        allowed += if from == to { 0 } else { open.count() as u64 };
    }
    allowed
}

fn pairs(quick: bool) {
    let (shape, ports) = pairs_world(quick);
    let (world, policies) = (shape.world(), shape.policies());
    let all = (shape.pods() * shape.pods() * ports.len()) as f64;
    let (allowed, took) = timed(|| every_pair(&world, &policies, &ports));
    assert_eq!(allowed, shape.allowed_on_80() + shape.allowed_on_85());
    say("whole", all / took.as_secs_f64());

    let reach = Reachability::compute(&world, &policies);
    let step = 7;
    let (allowed, took) = timed(|| {
        sample(&shape, step)
            .map(|(from, to)| {
                let traffic = reach.admitted(from, to);
                ports.iter().filter(|port| traffic.declared(Protocol::Tcp, **port) == Declared::Allowed).count()
            })
            .sum::<usize>()
    });
    black_box(allowed);
    say("single", (sample(&shape, step).count() * ports.len()) as f64 / took.as_secs_f64());

    let engine = Engine::new(&world, &policies);
    let step = 211;
    let expect: usize = sample(&shape, step)
        .map(|(from, to)| {
            let traffic = reach.admitted(from, to);
            ports.iter().filter(|port| traffic.declared(Protocol::Tcp, **port) == Declared::Allowed).count()
        })
        .sum();
    let (allowed, took) = timed(|| {
        let ask = |from, to, port| {
            engine.verdict(End::Pod(from), End::Pod(to), port, Protocol::Tcp).declared == Declared::Allowed
        };
        sample(&shape, step).map(|(from, to)| ports.iter().filter(|port| ask(from, to, **port)).count()).sum::<usize>()
    });
    assert_eq!(allowed, expect, "the engine and the classes disagree");
    say("control", (sample(&shape, step).count() * ports.len()) as f64 / took.as_secs_f64());
}

/// From nothing to a verdict for every ordered pair of pods and port.
fn every_pair(world: &World, policies: &PolicySet, ports: &[u16]) -> u64 {
    let reach = Reachability::compute(world, policies);
    let mut allowed = 0;
    reach.each(|from, to, traffic| {
        let same = if from.first() == to.first() { from.len() } else { 0 };
        let pairs = (from.len() * to.len() - same) as u64;
        let open = ports.iter().filter(|port| traffic.declared(Protocol::Tcp, **port) == Declared::Allowed).count();
        allowed += pairs * open as u64;
    });
    allowed
}

/// Every `step`th ordered pair.
fn sample(shape: &Shape, step: usize) -> impl Iterator<Item = (PodId, PodId)> {
    let pods = shape.pods();
    (0..pods * pods).step_by(step).map(move |pair| (PodId(pair / pods), PodId(pair % pods)))
}

fn small() {
    let metrics = Metrics::new(Role::Both);
    let mut board = Board { matrix: "matrix/mas".to_owned(), ..Board::default() };
    for index in 0..1000 {
        let name = format!("edge-{index}");
        let duration = Some(Duration::from_micros(300 + index));
        let reason = if index % 10 == 0 { Reason::ConnectTimeout } else { Reason::Ok };
        let phases = Phases { connect: duration, exchange: duration, ..Phases::default() };
        let attempt = Attempt {
            edge: name.clone(),
            address: None,
            reason,
            offender: None,
            phases,
            detail: String::new(),
            tls: None,
        };
        metrics.record("matrix/mas", &attempt);
        metrics.verdict("matrix/mas", &name, State::Ok);
        board.edges.push(edge(name, reason));
    }
    let text = metrics.render(&board);
    assert!(text.lines().filter(|line| line.starts_with("portreeve_edge_state{")).count() >= 1000);
    say("metrics", median(21, || drop(black_box(metrics.render(&board)))) * 1e3);
    let program = PathBuf::from(env!("CARGO_BIN_EXE_portreeve"));
    say(
        "start",
        median(21, || assert!(Command::new(&program).arg("--version").output().unwrap().status.success())) * 1e3,
    );
    say("binary", std::fs::metadata(&program).unwrap().len() as f64 / 1e6);
}
