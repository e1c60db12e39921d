//! What the network shows: one real exchange per kind of edge, ended by the caller's deadline, with a reason out of the closed list.
//!
//! Rules that every exchange keeps: a fresh connection (conntrack lets established flows through a policy that forbids them), no retry (a retry hides loss), bounded reads, and a polite end, so that a probe leaves no lines in the peer's log.
//! What bytes mean is decided in functions over byte slices; the drivers around them only wait, read and write.

mod connect;
mod converse;
mod der;
mod dial;
mod dns;
mod failure;
mod http;
mod mas;
mod oidc;
pub mod patrol;
mod postgres;
mod resolver;
mod run;
pub mod schedule;
mod smtp;
mod synapse;
mod talk;
mod tls;
mod wire_error;

#[cfg(test)]
mod tests;

/// The parsers of what comes off the wire, each with its name, for the fuzz target `answers`. Nothing panics, whatever the bytes; each holds its own bounds.
#[cfg(fuzzing)]
pub const PARSERS: [(&str, fn(&[u8])); 9] = [
    ("postgres", postgres::fuzz),
    ("smtp", smtp::fuzz),
    ("dns", dns::fuzz),
    ("http", http::fuzz),
    ("oidc", oidc::fuzz),
    ("synapse", synapse::fuzz),
    ("mas", mas::fuzz),
    ("certificate", certificate),
    ("icmp", wire_error::fuzz),
];

#[cfg(fuzzing)]
fn certificate(bytes: &[u8]) {
    der::fuzz(bytes);
    tls::fuzz(bytes);
}

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::rr::Name;
use rustls::pki_types::CertificateDer;
use tokio::time::Instant;

use crate::judge::Attempt;
use crate::matrix::Exchange;

pub use converse::{Means, Task, converse_all};
pub use dial::{Dial, dials};
pub use resolver::{ResolvConf, resolve};
pub use tls::roots_from_pem;

/// The least deadline of a probe that must *not* get through, in full: with a shorter one Linux sends fewer than three SYNs, and one or two lost packets look like a policy (facts measured on kernel 6.18: 1.0 s is one SYN, 1.5 s two, 2.2 s three).
pub const DENY_TIMEOUT: Duration = Duration::from_millis(2200);

/// The name that the DNS exchanges ask for by default. Any answer proves reachability, so it need not exist.
const DNS_QUESTION: &str = "kubernetes.default.svc.cluster.local.";

/// A deadline that nobody waits for, in place of one that the clock cannot express.
const FAR: Duration = Duration::from_hours(24);

/// Where a probe goes and what it says there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The edge's name.
    pub edge: String,
    /// Where to connect. Nothing is resolved here.
    pub address: SocketAddr,
    /// The conversation.
    pub exchange: Exchange,
    /// The name that MAS has for this peer, for SNI, certificate and `Host` where the exchange carries none (PostgreSQL, SMTP, MAS's and Synapse's own listeners). Without it the address stands in.
    pub host: Option<String>,
    /// Bind the client to this address.
    pub source: Option<IpAddr>,
    /// Go one step further where the exchange has one: PostgreSQL's startup message, an identity provider's keys. To be done seldom (every 5 minutes), for it may leave lines in the peer's log.
    pub deep: bool,
}

impl Target {
    /// A target without a name of its own and without a fixed source address.
    pub fn new(edge: impl Into<String>, address: SocketAddr, exchange: Exchange) -> Self {
        Self { edge: edge.into(), address, exchange, host: None, source: None, deep: false }
    }

    /// With the name that MAS has for the peer.
    #[must_use]
    pub fn named(mut self, host: impl Into<String>) -> Self {
        self.host = Some(host.into());
        self
    }

    /// With the deeper step of the exchange.
    #[must_use]
    pub fn deep(mut self) -> Self {
        self.deep = true;
        self
    }

    /// From this source address.
    #[must_use]
    pub fn from_source(mut self, source: IpAddr) -> Self {
        self.source = Some(source);
        self
    }
}

/// A prober that cannot be built from what was given.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// One of the extra root certificates cannot be used.
    #[error("extra root certificate number {number} cannot be used")]
    Root {
        /// Counted from 1.
        number: usize,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// The PEM text is broken.
    #[error("the extra root certificates are not valid PEM")]
    Pem(#[source] rustls::pki_types::pem::Error),
    /// No certificate verifier can be made of the roots.
    #[error("the certificate verifier cannot be built")]
    Verifier(#[source] rustls::server::VerifierBuilderError),
    /// The name for `EHLO` has characters that may not be sent.
    #[error("the EHLO name may hold letters, digits, dots, hyphens, and an address in brackets")]
    Helo,
    /// The DNS name to ask for is no name.
    #[error("the DNS name to ask for is not a name")]
    Question,
}

/// Makes probe attempts. Holds no connection and no state between attempts.
#[derive(Debug)]
pub struct Prober {
    trust: tls::Trust,
    helo: Option<String>,
    question: Name,
    /// Where names out of a provider's document are looked up; `None`: they are not followed.
    followed: Option<Arc<ResolvConf>>,
}

impl Prober {
    /// A prober that trusts the public roots (webpki-roots, as MAS's rustls does by default) and these.
    ///
    /// # Errors
    /// [`SetupError::Root`] when a certificate cannot be used as a root.
    pub fn new(extra_roots: &[CertificateDer<'_>]) -> Result<Self, SetupError> {
        let question = Name::from_ascii(DNS_QUESTION).map_err(|_| SetupError::Question)?;
        Ok(Self { trust: tls::Trust::new(extra_roots)?, helo: None, question, followed: None })
    }

    /// Says this name in `EHLO`. Without it the address literal of the connection's own end is said, which is always true (RFC 5321 §4.1.3).
    ///
    /// # Errors
    /// [`SetupError::Helo`] when the name holds characters that could end the line.
    pub fn with_helo(mut self, name: &str) -> Result<Self, SetupError> {
        if !smtp::is_helo(name) {
            return Err(SetupError::Helo);
        }
        self.helo = Some(name.to_owned());
        Ok(self)
    }

    /// Asks DNS servers for this name, taken as fully qualified.
    ///
    /// # Errors
    /// [`SetupError::Question`] when it is no DNS name.
    pub fn with_dns_question(mut self, name: &str) -> Result<Self, SetupError> {
        let mut question = Name::from_ascii(name).map_err(|_| SetupError::Question)?;
        question.set_fqdn(true);
        self.question = question;
        Ok(self)
    }

    /// Reaches the endpoints, too, that an identity provider's document names on other hosts. For a person who asked; what runs by itself goes nowhere but where an edge leads.
    #[must_use]
    pub fn with_followed_endpoints(mut self, resolv: Arc<ResolvConf>) -> Self {
        self.followed = Some(resolv);
        self
    }

    /// Makes one attempt, which ends by `deadline` from now whatever the peer does. For edges that must not work it should be at least [`DENY_TIMEOUT`].
    ///
    /// Must run inside a tokio runtime with I/O and time enabled, of either flavour.
    pub async fn probe(&self, target: &Target, deadline: Duration) -> Attempt {
        let started = Instant::now();
        let mut run = run::Run::new(self, target, started, deadline);
        let outcome = match &target.exchange {
            Exchange::Tcp => run.connect().await.map(|_| "the connection was accepted".to_owned()),
            Exchange::DnsUdp => dns::udp(&mut run).await,
            Exchange::DnsTcp => dns::tcp(&mut run).await,
            Exchange::Postgres { ssl_mode, negotiation, login } => {
                postgres::exchange(&mut run, *ssl_mode, *negotiation, login.as_ref()).await
            }
            Exchange::Smtp { mode, auth } => smtp::exchange(&mut run, *mode, *auth).await,
            Exchange::Oidc { issuer } => oidc::exchange(&mut run, issuer).await,
            Exchange::MasDiscovery { issuer } => mas::discovery(&mut run, issuer.as_deref()).await,
            Exchange::MasPublic { url, issuer } => mas::public(&mut run, url, issuer).await,
            Exchange::MasHealth => mas::health(&mut run).await,
            Exchange::Synapse { endpoint } => synapse::versions(&mut run, endpoint).await,
            Exchange::Whoami => synapse::whoami(&mut run).await,
            Exchange::Http { tls, host } => http::exchange(&mut run, *tls, host).await,
        };
        run.finish(outcome)
    }
}
