//! The truth table: every way in which a connection fails, really produced by a router in network namespaces of its own, against what the prober says of it.
//!
//! One cell = one fault, one protocol, one family. Its reason, who sent the ICMP message, its class without and with a control, and the state of an allowed and of a forbidden edge are all asserted, in every round: `PORTREEVE_ROUNDS`, 5 by default.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests are tests, and this one's table is to be seen"
)]

#[path = "truth/cells.rs"]
mod cells;
#[path = "truth/network.rs"]
mod network;
#[path = "truth/peer.rs"]
mod peer;
#[path = "truth/round.rs"]
mod round;

use std::fmt::Write;

use cells::Cell;

/// What a copy of this test does inside a namespace.
const ROLE: &str = "PORTREEVE_TRUTH_ROLE";
const NAME: &str = "every_cell_is_true";

fn rounds() -> u32 {
    std::env::var("PORTREEVE_ROUNDS").ok().map_or(5, |text| text.parse().expect("PORTREEVE_ROUNDS is no number"))
}

#[test]
fn every_cell_is_true() {
    match std::env::var(ROLE).as_deref() {
        Ok("peer") => peer::serve(),
        Ok("prober") => prober(),
        _ => network::outside(),
    }
}

/// Runs in the client's namespace.
fn prober() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let cells = cells::all();
    let mut wrong: Vec<Vec<String>> = vec![Vec::new(); cells.len()];
    let rounds = rounds();
    runtime.block_on(async {
        round::await_peer().await;
        for _ in 0..rounds {
            for (index, complaint) in round::run(&cells).await {
                wrong[index].push(complaint);
            }
        }
    });
    println!("{}", table(&cells, &wrong, rounds));
    let bad = wrong.iter().filter(|complaints| !complaints.is_empty()).count();
    println!("{bad} wrong of {} cells, {rounds} rounds each", cells.len());
    assert_eq!(bad, 0, "{:#?}", wrong.concat());
}

fn table(cells: &[Cell], wrong: &[Vec<String>], rounds: u32) -> String {
    let mut out = format!(
        "{:<22} {:<4} {:<4} {:<22} {:<9} {:<9} {:<9} {:<9} {:<9} wrong\n",
        "FAULT", "IP", "", "REASON", "ICMP BY", "ALONE", "CONTROL", "ALLOWED", "FORBIDDEN"
    );
    for (cell, wrong) in cells.iter().zip(wrong) {
        let truth = &cell.truth;
        let _ = writeln!(
            out,
            "{:<22} {:<4} {:<4} {:<22} {:<9} {:<9} {:<9} {:<9} {:<9} {} of {rounds}",
            cell.fault,
            cell.family(),
            cell.wire.as_str(),
            truth.reason.as_str(),
            truth.offender.map_or("", cells::Who::as_str),
            truth.alone.as_str(),
            truth.known.as_str(),
            truth.allowed.as_str(),
            truth.forbidden.as_str(),
            wrong.len(),
        );
    }
    out
}
