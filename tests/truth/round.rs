//! One round: all cells at once, each with its control.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use portreeve::judge::{Attempt, Class, Declared, Evidence, Mode, Reason, judge};
use portreeve::matrix::{Exchange, Expect};
use portreeve::observe::{DENY_TIMEOUT, Prober, ResolvConf, Target, resolve};
use tokio::task::JoinSet;

use crate::cells::{CONTROL, Cell, DENIED, LOSS, OPEN, Who, Wire, address, at_peer};

/// Where something ends the attempt: Linux gives up on a silent neighbour after 3 s (`mcast_solicit` × `retrans_time_ms`), and a lost SYN comes again each second.
const PATIENCE: Duration = Duration::from_secs(8);

/// Waits until the peer serves and every link is up.
pub(crate) async fn await_peer() {
    for v6 in [false, true] {
        let end = Instant::now() + PATIENCE;
        loop {
            let got = probe(at_peer(v6, OPEN), Wire::Tcp, DENIED, DENY_TIMEOUT).await;
            if got.reason == Reason::Ok {
                break;
            }
            assert!(Instant::now() < end, "the peer does not serve: {got:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// What is wrong in which cell; nothing, if all is well.
pub(crate) async fn run(cells: &[Cell]) -> Vec<(usize, String)> {
    let mut running = JoinSet::new();
    for (index, cell) in cells.iter().copied().enumerate() {
        running.spawn(async move { Box::pin(checked(&cell)).await.err().map(|complaint| (index, complaint)) });
    }
    running.join_all().await.into_iter().flatten().collect()
}

/// One attempt from one of the client's addresses.
async fn probe(to: SocketAddr, wire: Wire, source: u8, deadline: Duration) -> Attempt {
    let exchange = if wire == Wire::Tcp { Exchange::DnsTcp } else { Exchange::DnsUdp };
    let target = Target::new("a-to-b", to, exchange).from_source(address(to.is_ipv6(), 1, source));
    Prober::new(&[]).unwrap().probe(&target, deadline).await
}

/// The attempt of the cell itself.
async fn attempt(cell: &Cell) -> Attempt {
    let deadline = if cell.silent { DENY_TIMEOUT } else { PATIENCE };
    if cell.wire != Wire::Name {
        return probe(cell.address, cell.wire, DENIED, deadline).await;
    }
    let outcome = resolve("db.example.", &ResolvConf::servers(vec![cell.address]), deadline).await;
    let (reason, detail) = outcome.expect_err("the name was looked up");
    Attempt { reason, detail, address: None, ..probe(at_peer(false, OPEN), Wire::Tcp, CONTROL, PATIENCE).await }
}

async fn checked(cell: &Cell) -> Result<(), String> {
    if (cell.wire, cell.address.port()) == (Wire::Udp, LOSS) {
        Box::pin(lossy(cell)).await
    } else {
        Box::pin(check(cell)).await
    }
}

/// The router loses every 20th datagram. A question that got no answer is sent again after a second, so a loss delays an attempt and fails none.
async fn lossy(cell: &Cell) -> Result<(), String> {
    let mut seen = Vec::new();
    for _ in 0..20 {
        let began = Instant::now();
        let got = probe(cell.address, cell.wire, DENIED, DENY_TIMEOUT).await;
        seen.push((got.reason, began.elapsed() >= Duration::from_secs(1)));
    }
    // 20 attempts are 20 datagrams and those that were sent again.
    let delayed = seen.iter().filter(|(_, late)| *late).count();
    if seen.iter().all(|(reason, _)| *reason == Reason::Ok) && (1..=2).contains(&delayed) {
        Ok(())
    } else {
        Err(format!("loss {}: {delayed} of 20 delayed: {seen:?}", cell.family()))
    }
}

async fn check(cell: &Cell) -> Result<(), String> {
    let control = async {
        let wire = if cell.wire == Wire::Name { Wire::Udp } else { cell.wire };
        let deadline = if cell.silent { DENY_TIMEOUT } else { PATIENCE };
        probe(cell.address, wire, CONTROL, deadline).await.reason == Reason::Ok
    };
    let own = async { probe(at_peer(cell.address.is_ipv6(), OPEN), Wire::Tcp, DENIED, PATIENCE).await.reason };
    let (got, control, own) = tokio::join!(attempt(cell), control, own);
    let who = |who| match who {
        Who::Router => address(cell.address.is_ipv6(), 1, 1),
        Who::Target => cell.address.ip(),
    };
    let truth = &cell.truth;
    let offender_is_target = got.offender.is_some_and(|offender| offender == cell.address.ip());
    let alone = Evidence { is_dns: cell.wire != Wire::Name, offender_is_target, ..Evidence::default() };
    let known = Evidence {
        target_up: control.then_some(true),
        source_has_network: own == Reason::Ok,
        declared_denied: truth.declared == Declared::Denied,
        ..alone
    };
    let forbidden = got.reason.class(&Evidence { must_not_work: true, ..known });
    let state = |expect, class: Class| judge(expect, truth.declared, class, got.reason, Mode::Enforce).state;
    let seen = (
        (got.reason, got.offender),
        (got.reason.class(&alone), got.reason.class(&known)),
        (state(Expect::Allow, got.reason.class(&known)), state(Expect::Deny, forbidden)),
    );
    let expected =
        ((truth.reason, truth.offender.map(who)), (truth.alone, truth.known), (truth.allowed, truth.forbidden));
    if seen == expected {
        return Ok(());
    }
    let name = format!("{} {} {}", cell.fault, cell.family(), cell.wire.as_str());
    Err(format!("{name}: expected {expected:?}, got {seen:?} with evidence {known:?}: {}", got.detail))
}
