//! How an attempt fails.

use std::net::IpAddr;

use crate::judge::Reason;

/// Why an attempt ended before its proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) reason: Reason,
    /// One sentence for people.
    pub(super) detail: String,
    /// Who sent the ICMP error, if one came.
    pub(super) offender: Option<IpAddr>,
}

impl Failure {
    pub(super) fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into(), offender: None }
    }
}

/// Text that a peer chose, fit for a sentence: quoted, control characters escaped, and short.
pub(super) fn quoted(text: &str) -> String {
    const SHOWN: usize = 200;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?} (shortened)", &text[..end]),
        None => format!("{text:?}"),
    }
}
