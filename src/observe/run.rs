//! One attempt under way: its deadline, its phases, and what was learnt on the way.

use tokio::net::TcpStream;
use tokio::time::{Duration, Instant};
use tokio_rustls::client::TlsStream;

use super::failure::Failure;
use super::talk::Talk;
use super::tls::{Check, Heeded};
use super::{FAR, Prober, Target, connect};
use crate::judge::{Attempt, Phases, Reason, TlsFacts};
use crate::matrix::Exchange;

pub(super) struct Run<'a> {
    pub(super) prober: &'a Prober,
    pub(super) target: &'a Target,
    started: Instant,
    pub(super) deadline: Instant,
    phases: Phases,
    connected: bool,
    tls: Option<TlsFacts>,
}

impl<'a> Run<'a> {
    pub(super) fn new(prober: &'a Prober, target: &'a Target, started: Instant, deadline: Duration) -> Self {
        let deadline = started + deadline.min(FAR);
        Self { prober, target, started, deadline, phases: Phases::default(), connected: false, tls: None }
    }

    /// The name MAS has for the peer, else the address.
    pub(super) fn host(&self) -> String {
        self.target.host.clone().unwrap_or_else(|| self.target.address.ip().to_string())
    }

    /// What is left of the time.
    pub(super) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Connects over TCP. Of several connections the first is the phase.
    pub(super) async fn connect(&mut self) -> Result<Talk<TcpStream>, Failure> {
        let began = Instant::now();
        let outcome = connect::tcp(self.target.address, self.target.source, self.deadline).await;
        self.phases.connect.get_or_insert(began.elapsed());
        self.connected = outcome.is_ok();
        Ok(Talk::new(outcome?, self.deadline))
    }

    /// Notes that a datagram socket stands. Nothing was sent yet, so it is no phase.
    pub(super) fn unconnected(&mut self) {
        self.connected = true;
    }

    /// Puts TLS over the connection. What the certificate says is kept also when the handshake fails.
    pub(super) async fn tls(
        &mut self,
        talk: Talk<TcpStream>,
        host: &str,
        check: Check,
        alpn: Option<&[u8]>,
    ) -> Result<Talk<TlsStream<Heeded<TcpStream>>>, Failure> {
        let began = Instant::now();
        let (outcome, facts) = self.prober.trust.handshake(talk.into_stream(), host, check, alpn, self.deadline).await;
        self.phases.tls.get_or_insert(began.elapsed());
        self.tls = facts.or(self.tls.take());
        Ok(Talk::new(outcome?, self.deadline))
    }

    /// The attempt, after its end.
    pub(super) fn finish(mut self, outcome: Result<String, Failure>) -> Attempt {
        // Success is an ending like any other.
        let outcome = outcome.map_or_else(|failure| failure, |detail| Failure::new(Reason::Ok, detail));
        if self.connected && self.target.exchange != Exchange::Tcp && !is_tls(outcome.reason) {
            let before = self.phases.connect.unwrap_or_default() + self.phases.tls.unwrap_or_default();
            self.phases.exchange = Some(self.started.elapsed().saturating_sub(before));
        }
        Attempt {
            edge: self.target.edge.clone(),
            address: Some(self.target.address),
            reason: outcome.reason,
            offender: outcome.offender,
            phases: self.phases,
            detail: outcome.detail,
            tls: self.tls,
        }
    }
}

/// A handshake that failed leaves no time for a conversation.
fn is_tls(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::TlsHandshake
            | Reason::TlsExpired
            | Reason::TlsNotYetValid
            | Reason::TlsNameMismatch
            | Reason::TlsUntrusted
            | Reason::TlsVersion
    )
}
