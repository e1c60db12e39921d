//! The prober against the peers: every exchange of every edge, through open, denied and stopped gates.

use std::time::Duration;

use tokio::task::JoinSet;

use super::*;
use crate::demo::net::{Gate, LabClaim, Policy};
use crate::judge::{Attempt, Reason};
use crate::matrix::{Exchange, SmtpMode, SslMode};
use crate::observe::{DENY_TIMEOUT, Prober, Target};

/// Enough for a peer that waits 2.5 s for another one.
const DEADLINE: Duration = Duration::from_secs(10);

/// One edge of the demo: its gate, its exchange, and the peer's name as MAS has it.
#[derive(Clone)]
struct Case {
    source: Source,
    dest: LabPod,
    protocol: Protocol,
    exchange: Exchange,
    host: Option<&'static str>,
}

impl Case {
    fn gate<'a>(&self, peers: &'a Peers) -> &'a Gate {
        let (port, _) = self.dest.ports()[0];
        peers.net().gate(self.source, self.dest, port, self.protocol).expect("the demo has this gate")
    }

    async fn probe(&self, peers: &Peers, deadline: Duration) -> Attempt {
        // Deep, as `portreeve probe` asks.
        let mut target = Target::new("edge", self.gate(peers).address(), self.exchange.clone()).deep();
        target.host = self.host.map(str::to_owned);
        Prober::new(&[peers.ca()]).unwrap().probe(&target, deadline).await
    }

    async fn check(&self, peers: &Peers, deadline: Duration, reason: Reason) {
        let attempt = self.probe(peers, deadline).await;
        assert_eq!(attempt.reason, reason, "{} {:?}: {}", self.gate(peers).route(), self.exchange, attempt.detail);
    }
}

fn public() -> Exchange {
    let issuer = "https://auth.waadoo.ovh/".to_owned();
    Exchange::MasPublic { url: issuer.clone(), issuer }
}

fn edges() -> Vec<Case> {
    let case = |source, dest, protocol, exchange, host| Case { source, dest, protocol, exchange, host };
    let oidc = |issuer: &str| Exchange::Oidc { issuer: issuer.to_owned() };
    let synapse = Exchange::Synapse { endpoint: "http://matrix-synapse-synapse:8008".to_owned() };
    let postgres = |ssl_mode| Exchange::postgres(ssl_mode);
    let database = Some("matrix-db-rw.postgres.svc.cluster.local");
    let (tcp, udp) = (Protocol::Tcp, Protocol::Udp);
    vec![
        case(Source::Mas, LabPod::Postgres, tcp, postgres(SslMode::Prefer), database),
        case(Source::Mas, LabPod::Postgres, tcp, postgres(SslMode::VerifyFull), database),
        case(Source::Mas, LabPod::Synapse, tcp, synapse, None),
        case(Source::Mas, LabPod::Synapse, tcp, Exchange::Whoami, None),
        case(Source::Mas, LabPod::Traefik, tcp, oidc("https://authelia.waadoo.ovh"), None),
        case(Source::Mas, LabPod::Dns, udp, Exchange::DnsUdp, None),
        case(Source::Mas, LabPod::Dns, tcp, Exchange::DnsTcp, None),
        case(Source::Mas, LabPod::Smtp, tcp, Exchange::smtp(SmtpMode::StartTls), Some("smtp.mail.svc.cluster.local")),
        case(Source::Mas, LabPod::Stranger, tcp, Exchange::Tcp, None),
        case(
            Source::Stranger,
            LabPod::Mas,
            tcp,
            Exchange::MasDiscovery { issuer: Some("https://auth.waadoo.ovh/".to_owned()) },
            None,
        ),
        case(Source::Stranger, LabPod::Traefik, tcp, public(), None),
        case(
            Source::Synapse,
            LabPod::Mas,
            tcp,
            Exchange::MasDiscovery { issuer: Some("https://auth.waadoo.ovh/".to_owned()) },
            None,
        ),
        case(
            Source::Traefik,
            LabPod::Mas,
            tcp,
            Exchange::MasDiscovery { issuer: Some("https://auth.waadoo.ovh/".to_owned()) },
            None,
        ),
    ]
}

async fn peers() -> (Peers, LabClaim) {
    let claim = LabClaim::first_free().unwrap();
    (Peers::start(claim.lab()).await.unwrap(), claim)
}

#[tokio::test]
async fn every_exchange_is_ok_through_an_open_gate() {
    let (peers, _claim) = peers().await;
    for edge in edges() {
        edge.check(&peers, DEADLINE, Reason::Ok).await;
    }
    peers.close().await;
}

#[tokio::test]
async fn every_exchange_meets_silence_at_a_denied_gate() {
    let (peers, _claim) = peers().await;
    let edges = edges();
    for edge in &edges {
        edge.gate(&peers).set_policy(Policy::Drops).await.unwrap();
    }
    let peers = Arc::new(peers);
    let mut attempts = JoinSet::new();
    // Two of each at once, as a confirming attempt may overlap; each over the whole deny deadline.
    for edge in edges.iter().chain(&edges) {
        let (edge, peers) = (edge.clone(), Arc::clone(&peers));
        let silence = if edge.protocol == Protocol::Udp { Reason::DnsTimeout } else { Reason::ConnectTimeout };
        attempts.spawn(async move { edge.check(&peers, DENY_TIMEOUT, silence).await });
    }
    attempts.join_all().await;
    let peers = Arc::into_inner(peers).unwrap();
    for edge in &edges {
        edge.gate(&peers).set_policy(Policy::Allows).await.unwrap();
    }
    for edge in &edges {
        edge.check(&peers, DEADLINE, Reason::Ok).await;
    }
    peers.close().await;
}

#[tokio::test]
async fn every_exchange_is_refused_by_a_stopped_peer() {
    let (peers, _claim) = peers().await;
    let edges = edges();
    for pod in LabPod::ALL {
        peers.stop(pod).await.unwrap();
    }
    for edge in &edges {
        let udp = edge.protocol == Protocol::Udp;
        let refusal = if udp { Reason::IcmpPortUnreachable } else { Reason::ConnectRefusedRst };
        let attempt = edge.probe(&peers, DEADLINE).await;
        assert_eq!(attempt.reason, refusal, "{} {}", edge.gate(&peers).route(), attempt.detail);
        // The message comes from the target itself, so it says "closed", not "forbidden".
        let target = edge.gate(&peers).address().ip();
        assert_eq!(attempt.offender, udp.then_some(target), "{}", edge.gate(&peers).route());
    }
    for pod in LabPod::ALL {
        peers.resume(pod).await.unwrap();
    }
    for edge in &edges {
        edge.check(&peers, DEADLINE, Reason::Ok).await;
    }
    peers.close().await;
}

#[tokio::test]
async fn what_lies_behind_a_peer_shows_in_its_answer() {
    let (peers, _claim) = peers().await;
    let edges = edges();
    let find = |exchange: &Exchange| edges.iter().find(|edge| edge.exchange == *exchange).unwrap();
    let whoami = find(&Exchange::Whoami);
    let public = find(&public());
    for source in [Source::Synapse, Source::Traefik] {
        let gate = peers.net().gate(source, LabPod::Mas, 8080, Protocol::Tcp).unwrap();
        gate.set_policy(Policy::Drops).await.unwrap();
    }
    tokio::join!(
        whoami.check(&peers, DEADLINE, Reason::RelayFailed),
        public.check(&peers, DEADLINE, Reason::RelayFailed)
    );
    peers.close().await;
}

#[tokio::test]
async fn a_prober_without_the_demos_root_trusts_none_of_its_certificates() {
    let (peers, _claim) = peers().await;
    let edges = edges();
    let stranger_to_ca = Prober::new(&[]).unwrap();
    for edge in edges.iter().filter(|edge| matches!(edge.dest, LabPod::Traefik | LabPod::Smtp)) {
        let mut target = Target::new("edge", edge.gate(&peers).address(), edge.exchange.clone());
        target.host = edge.host.map(str::to_owned);
        let attempt = stranger_to_ca.probe(&target, DEADLINE).await;
        assert_eq!(attempt.reason, Reason::TlsUntrusted, "{}", attempt.detail);
    }
    peers.close().await;
}
