//! What one probe attempt found: plain facts, judged elsewhere.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::Reason;

/// One probe attempt against one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The edge's name.
    pub edge: String,
    /// Where it went; `None` when no address was found.
    pub address: Option<SocketAddr>,
    /// How it ended.
    pub reason: Reason,
    /// Who sent the ICMP error, if one came.
    pub offender: Option<IpAddr>,
    /// How long each phase took.
    pub phases: Phases,
    /// One sentence for people. Never holds anything that could be a secret.
    pub detail: String,
    /// What the handshake showed, also when its verification failed. `None` when no certificate came.
    pub tls: Option<TlsFacts>,
}

impl Attempt {
    /// An attempt that never reached an address, and why.
    pub fn not_made(edge: &str, reason: Reason, detail: &str) -> Self {
        Self {
            edge: edge.to_owned(),
            address: None,
            reason,
            offender: None,
            phases: Phases::default(),
            detail: detail.to_owned(),
            tls: None,
        }
    }

    /// The certificate's end, seconds since 1970, also when its verification failed.
    pub fn tls_not_after(&self) -> Option<i64> {
        self.tls.as_ref().and_then(|tls| tls.not_after)
    }
}

/// What a TLS handshake showed. Times are seconds since 1970; texts are the peer's own, cut and without control characters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsFacts {
    /// The leaf's begin.
    pub not_before: Option<i64>,
    /// The leaf's end.
    pub not_after: Option<i64>,
    /// The earliest end in the chain as it was sent, leaf included.
    pub chain_not_after: Option<i64>,
    /// The common name of the leaf's issuer.
    pub issuer: Option<String>,
    /// How many DNS names and addresses the leaf is for (subjectAltName).
    pub names: usize,
    /// The first of them.
    pub first_names: Vec<String>,
    /// `TLSv1.2` or `TLSv1.3`; not known when the peer broke the handshake off.
    pub version: Option<&'static str>,
    /// The protocol that was agreed (ALPN).
    pub alpn: Option<String>,
}

/// Duration of each phase that took place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Phases {
    /// Name to address.
    pub resolve: Option<Duration>,
    /// SYN to established, or to the error.
    pub connect: Option<Duration>,
    /// TLS handshake.
    pub tls: Option<Duration>,
    /// The conversation.
    pub exchange: Option<Duration>,
}

impl Phases {
    /// The phases with their metric labels, in order.
    pub fn named(&self) -> [(&'static str, Option<Duration>); 4] {
        [("resolve", self.resolve), ("connect", self.connect), ("tls", self.tls), ("exchange", self.exchange)]
    }

    /// All phases together.
    pub fn total(&self) -> Duration {
        self.named().iter().filter_map(|(_, duration)| *duration).sum()
    }
}
