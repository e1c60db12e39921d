//! The numbers of the engine: `cargo bench --bench numbers`, or `-- quick` for smaller worlds.
//!
//! Each measurement runs in a child process of its own, so that peaks of memory do not mix; the rounds of all measurements are interleaved and the
//! medians are shown. What comes out of each world is asserted against a closed form; times never fail the run.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark prints, and says what is wrong by panicking"
)]

#[path = "../common/mod.rs"]
mod common;
mod tasks;
mod worlds;

use std::process::Command;

use common::{Found, Row, figure, row};

const ROWS: &[Row] = &[
    row(
        "whole",
        "evaluate",
        "25,000 namespaces: evaluated whole, pairs counted",
        "Antrea 6 s for 75,000",
        "< 2000",
        "ms",
    ),
    row("whole", "peak", "  peak memory, with the world itself", "Antrea 1600", "< 500", "MB"),
    row("whole", "query", "  then one query", "-", "< 1000", "us"),
    row("whole", "change", "  then one policy changed", "-", "< 10", "ms"),
    row("whole", "recount", "  then all pairs counted again", "-", "-", "ms"),
    row("yaml", "load", "75,000 policies from YAML", "sigs.k8s.io/yaml 35 s", "< 5000", "ms"),
    row("yaml", "size", "  text", "55", "-", "MB"),
    row("yaml", "peak", "  peak memory", "sigs.k8s.io/yaml 835", "< 600", "MB"),
    row("list", "load", "100,000 pods from one JSON List", "-", "-", "ms"),
    row("list", "size", "  text", "-", "-", "MB"),
    row("list", "peak", "  peak memory", "-", "-", "MB"),
    row(
        "pairs",
        "whole",
        "2,000 unlike pods, every pair and port: classes",
        "cyclonus 164,000",
        "> 16400000",
        "verdicts/s",
    ),
    row("pairs", "single", "  the same, each pair asked alone", "cyclonus 164,000", "-", "verdicts/s"),
    row("pairs", "control", "  control: Engine::verdict, with its reasons", "cyclonus 164,000", "-", "verdicts/s"),
    row("small", "metrics", "/metrics of 1,000 edges", "client_golang 2.04 for 1,000 series", "< 10", "ms"),
    row("small", "start", "portreeve --version, start to end", "-", "< 20", "ms"),
    row("small", "binary", "release binary", "blackbox about 20", "<= 12", "MB"),
];

/// Recorded on 2 shared cores: cyclonus 0.5.6's matcher as a library, verdicts per second on the same shape.
const CYCLONUS: f64 = 164_000.0;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let quick = args.iter().any(|arg| arg == "quick");
    if let Some(at) = args.iter().position(|arg| arg == "--child") {
        return tasks::run(&args[at + 1], quick);
    }
    let found = Found::measure(&tasks::NAMES, if quick { 1 } else { 3 }, quick);
    found.print(ROWS);
    let (matcher, source) = match std::env::var("PORTREEVE_CYCLONUS") {
        Ok(program) => (cyclonus(&program, quick), "run here"),
        Err(_) => (CYCLONUS, "recorded, not run here"),
    };
    for (key, what) in [("whole", "classes"), ("single", "pair by pair"), ("control", "Engine::verdict")] {
        if let Some(value) = found.median("pairs", key) {
            println!(
                "ratio: {what} / cyclonus' matcher ({} verdicts/s, {source}): {:.1}",
                figure(matcher),
                value / matcher
            );
        }
    }
    if let (Some(whole), Some(control)) = (found.median("pairs", "whole"), found.median("pairs", "control")) {
        println!("ratio: classes / Engine::verdict, same run: {:.1}", whole / control);
    }
}

/// Asks the matcher of cyclonus about the pairs of the first pods of the same world. Its answers must be ours.
fn cyclonus(program: &str, quick: bool) -> f64 {
    let (shape, ports) = tasks::pairs_world(quick);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("world.json"), shape.json(&ports).to_string()).unwrap();
    let mut command = Command::new(program);
    let sources = 40.to_string();
    let output = command.arg("-bench").arg(folder.path()).args(["-sources", &sources]).output().unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{program}: {error}: {}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(
        answer["allowed"].as_u64(),
        Some(tasks::allowed_of_first(&shape, &ports, 40)),
        "cyclonus and we disagree"
    );
    answer["verdicts"].as_f64().unwrap() / answer["seconds"].as_f64().unwrap()
}
