//! What an agent saw, for whoever judges: `/v1/report`.
//!
//! A report is plain facts with their age on the agent's own monotonic clock, so neither side's wall clock matters. Reading one trusts nothing: it is
//! bounded, what this program does not know counts as unknown, and texts lose their control characters.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::assignment::Vantage;
use crate::judge::{Attempt, Phases, Reason, TlsFacts};

/// The format that this program reads and writes.
pub const VERSION: u32 = 1;
/// The largest report that is read or written.
pub const MAX_BYTES: usize = 1 << 20;
/// The most attempts that are kept of one edge, newest last: two fresh ones confirm a roll-out, and an edge may have several addresses.
pub const KEPT: usize = 8;
/// The longest sentence of an attempt, in characters.
const LONGEST_DETAIL: usize = 300;

/// One agent's report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// [`VERSION`].
    pub version: u32,
    /// That of the file it probes by.
    pub generation: u64,
    /// `namespace/name` of the matrix; empty before there is a file.
    pub matrix: String,
    /// Whose identity it has.
    pub vantage: Vantage,
    /// Counts attempts since the agent started; the newest attempt has it.
    pub seq: u64,
    /// Since the agent started, in seconds.
    pub uptime_seconds: f64,
    /// The edges of its file, whether or not they were probed yet.
    pub edges: Vec<Edge>,
    /// The name servers of its pod.
    pub nameservers: Vec<SocketAddr>,
}

/// One edge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Edge {
    /// Its name.
    pub name: String,
    /// From the last probe to the next, in seconds, longer while its peer wants a pause: what is older than three of them says nothing any more.
    pub interval_seconds: f64,
    /// At most [`KEPT`] for each address, oldest first.
    pub attempts: Vec<Seen>,
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// Its number.
    pub seq: u64,
    /// Since it ended, in seconds.
    pub age_seconds: f64,
    /// Since attempts at this address have ended for this reason without a break, in seconds.
    pub since_seconds: f64,
    /// Where it went.
    pub address: Option<SocketAddr>,
    /// A word of docs/reasons.md.
    pub reason: String,
    /// Who sent the ICMP error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offender: Option<IpAddr>,
    /// How long it took in all, in seconds.
    pub seconds: f64,
    /// One sentence.
    pub detail: String,
    /// The end of the certificate, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_not_after: Option<i64>,
}

impl Seen {
    /// For the report.
    pub fn of(attempt: &Attempt, seq: u64, age: Duration, since: Duration) -> Self {
        Self {
            seq,
            age_seconds: age.as_secs_f64(),
            since_seconds: since.as_secs_f64(),
            address: attempt.address,
            reason: attempt.reason.as_str().to_owned(),
            offender: attempt.offender,
            seconds: attempt.phases.total().as_secs_f64(),
            detail: plain(&attempt.detail),
            tls_not_after: attempt.tls_not_after(),
        }
    }

    /// [`Reason::is_silence`]; what this program does not know is none.
    pub fn is_silence(&self) -> bool {
        Reason::ALL.into_iter().any(|reason| reason.as_str() == self.reason && reason.is_silence())
    }

    /// As an attempt at `edge`. A reason that this program does not know proves nothing.
    pub fn attempt(&self, edge: &str) -> Attempt {
        let reason = Reason::ALL.into_iter().find(|reason| reason.as_str() == self.reason);
        let tls = self.tls_not_after.map(|not_after| TlsFacts { not_after: Some(not_after), ..TlsFacts::default() });
        Attempt {
            edge: edge.to_owned(),
            address: self.address,
            reason: reason.unwrap_or(Reason::ProberError),
            offender: self.offender,
            phases: Phases { exchange: Duration::try_from_secs_f64(self.seconds).ok(), ..Phases::default() },
            detail: plain(&self.detail),
            tls,
        }
    }
}

/// What counts of the attempts at an edge, oldest first: the newest at each address; but silence only when it came twice in a row, for a lost packet is
/// silence, too.
pub(super) fn settled<'a, T: 'a>(
    attempts: impl IntoIterator<Item = &'a T>,
    address: impl Fn(&T) -> Option<SocketAddr>,
    is_silence: impl Fn(&T) -> bool,
) -> Vec<&'a T> {
    let mut by_address: BTreeMap<Option<SocketAddr>, Vec<&T>> = BTreeMap::new();
    for attempt in attempts {
        by_address.entry(address(attempt)).or_default().push(attempt);
    }
    // Addresses are kept beside a name that was not answered for only when it was once.
    if by_address.len() > 1 && by_address.get(&None).is_some_and(|lost| lost.iter().all(|attempt| is_silence(attempt)))
    {
        by_address.remove(&None);
    }
    let counts = |attempts: &Vec<&'a T>| match attempts.as_slice() {
        [.., before, newest] if is_silence(newest) && !is_silence(before) => Some(*before),
        [.., newest] => Some(*newest),
        [] => None,
    };
    by_address.values().filter_map(counts).collect()
}

/// A report that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// Larger than [`MAX_BYTES`].
    #[error("it has more than {MAX_BYTES} bytes")]
    TooLarge,
    /// Not a report.
    #[error("it is no report: {0}")]
    Shape(#[source] serde_json::Error),
    /// Of another version of portreeve.
    #[error(
        "it is of version {found}, this program reads version {VERSION}: run the same version of portreeve on both sides"
    )]
    Version {
        /// Its version.
        found: u32,
    },
}

impl Report {
    /// Reads a report that somebody sent.
    ///
    /// # Errors
    /// [`Unusable`]
    pub fn parse(body: &[u8]) -> Result<Self, Unusable> {
        /// The version alone: a newer report may have another shape.
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        if body.len() > MAX_BYTES {
            return Err(Unusable::TooLarge);
        }
        let Versioned { version } = serde_json::from_slice(body).map_err(Unusable::Shape)?;
        if version != VERSION {
            return Err(Unusable::Version { found: version });
        }
        serde_json::from_slice(body).map_err(Unusable::Shape)
    }

    /// As JSON of at most [`MAX_BYTES`]: of an overlong report the older attempts are left out, then the sentences.
    pub fn to_json(&self) -> Vec<u8> {
        let encode = |report: &Self| serde_json::to_vec(report).unwrap_or_default();
        let whole = encode(self);
        if whole.len() <= MAX_BYTES {
            return whole;
        }
        let mut short = self.clone();
        for edge in &mut short.edges {
            edge.attempts.drain(..edge.attempts.len().saturating_sub(2));
            edge.attempts.iter_mut().for_each(|seen| seen.detail.clear());
        }
        let text = encode(&short);
        if text.len() <= MAX_BYTES { text } else { encode(&Self { edges: Vec::new(), ..short }) }
    }
}

/// A sentence without control characters, and short.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(LONGEST_DETAIL).collect()
}
