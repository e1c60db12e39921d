//! The probes against real servers on loopback: PostgreSQL, pgbouncer, Postfix and dnsmasq as Debian ships them, and against a real router that says no.
//!
//! Every server has a folder and a port of its own and ends with its test. A server that is not installed fails its test, with the name of the package.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

#[path = "peers/certificate.rs"]
mod certificate;
#[path = "peers/mail.rs"]
mod mail;
#[path = "peers/names.rs"]
mod names;
#[path = "peers/network.rs"]
mod network;
#[path = "peers/pooler.rs"]
mod pooler;
#[path = "peers/postgres.rs"]
mod postgres;
#[path = "peers/server.rs"]
mod server;

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use portreeve::judge::{Attempt, Reason};
use portreeve::matrix::Exchange;
use portreeve::observe::{Prober, Target};

/// Real servers answer in milliseconds; a loaded machine may need more.
const DEADLINE: Duration = Duration::from_secs(5);

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// One attempt by the name that the test's certificates have.
fn probe(prober: &Prober, address: SocketAddr, exchange: Exchange) -> Attempt {
    let target = Target::new("a-to-b", address, exchange).named(certificate::NAME);
    block_on(prober.probe(&target, DEADLINE))
}

#[track_caller]
fn check(prober: &Prober, address: SocketAddr, exchange: Exchange, reason: Reason, part: &str) -> Attempt {
    let got = probe(prober, address, exchange);
    assert_eq!(got.reason, reason, "{}", got.detail);
    assert!(got.detail.contains(part), "{}", got.detail);
    got
}
