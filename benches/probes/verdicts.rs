//! Peers that work and peers that fail in ways of their own, all at once: every attempt must say which it met.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use portreeve::judge::Reason;
use portreeve::matrix::Exchange;
use portreeve::observe::Target;
use tokio::task::JoinSet;

use crate::common::say;
use crate::ours::{DEADLINE, block_on, prober};
use crate::targets::{self, address};

/// For the peer that never speaks, where nothing but the deadline is waited for.
const SHORT: Duration = Duration::from_millis(100);

/// What to probe, and what must come of it.
fn kinds() -> [(Target, Reason); 12] {
    let to = |port: u16| SocketAddr::new(address(0), port);
    let tcp = |to: SocketAddr| Target::new("tcp", to, Exchange::Tcp);
    let http = |tls, port| Target::new("http", to(port), Exchange::Http { tls, host: targets::NAME.to_owned() });
    [
        (tcp(to(targets::TCP)), Reason::Ok),
        (tcp(to(targets::CLOSED)), Reason::ConnectRefusedRst),
        (tcp("10.97.13.5:5432".parse().unwrap()), Reason::LocalDenied),
        (Target::new("dns", to(targets::CLOSED), Exchange::DnsUdp), Reason::IcmpPortUnreachable),
        (http(false, targets::HTTP), Reason::Ok),
        (http(false, targets::BUSY), Reason::HttpStatus),
        (http(false, targets::HANGUP), Reason::ClosedEarly),
        (http(false, targets::SILENT), Reason::FirstByteTimeout),
        (http(true, targets::HTTPS), Reason::Ok),
        (http(true, targets::EXPIRED), Reason::TlsExpired),
        (http(true, targets::MISNAMED), Reason::TlsNameMismatch),
        (http(true, targets::UNTRUSTED), Reason::TlsUntrusted),
    ]
}

pub(crate) fn verdicts(quick: bool) {
    let attempts = if quick { 6_000 } else { 24_000 };
    let wrong: BTreeMap<(Reason, Reason), usize> = [16, 256]
        .into_iter()
        .flat_map(|at_once| block_on(wrong(at_once, attempts / 2)))
        .fold(BTreeMap::new(), |mut counts, pair| {
            *counts.entry(pair).or_default() += 1;
            counts
        });
    assert!(wrong.is_empty(), "wrong verdicts, as (expected, got) and how many: {wrong:?}");
    say("wrong", 0.0);
    say("attempts", f64::from(attempts));
}

/// What was expected and what came, of every attempt where these differ.
async fn wrong(at_once: usize, attempts: u32) -> Vec<(Reason, Reason)> {
    let (prober, kinds) = (prober(), kinds());
    let (mut running, mut wrong) = (JoinSet::new(), Vec::new());
    let mut left = (0..attempts).zip(0_usize..);
    loop {
        while let Some((_, number)) = (running.len() < at_once).then(|| left.next()).flatten() {
            let (prober, (mut target, expected)) = (Arc::clone(&prober), kinds[number % kinds.len()].clone());
            if target.address.ip() == address(0) {
                target.address.set_ip(address(number));
            }
            let deadline = if expected == Reason::FirstByteTimeout { SHORT } else { DEADLINE };
            running.spawn(async move { (expected, prober.probe(&target, deadline).await.reason) });
        }
        let Some(done) = running.join_next().await else { return wrong };
        let (expected, got) = done.unwrap();
        if expected != got {
            wrong.push((expected, got));
        }
    }
}
