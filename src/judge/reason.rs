//! Why a probe ended as it did: one closed list, the same words in metrics, findings, JSON, page and docs/reasons.md.

use std::fmt;

/// The reason of one probe attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The conversation went as it should.
    Ok,
    /// No DNS answer before the deadline.
    DnsTimeout,
    /// The name does not exist.
    DnsNxdomain,
    /// The server failed.
    DnsServfail,
    /// The server refused.
    DnsRefused,
    /// The Service has no ready endpoint.
    NoEndpoints,
    /// Silence.
    ConnectTimeout,
    /// A reset without an ICMP message: a closed port, or a policy that answers with a reset.
    ConnectRefusedRst,
    /// ICMP port unreachable, or its IPv6 form.
    IcmpPortUnreachable,
    /// ICMP administratively prohibited, or its IPv6 form: a policy said no.
    IcmpAdminProhibited,
    /// ICMP host or network unreachable, or no local route.
    IcmpNoRoute,
    /// The local kernel refused to send (EPERM, EACCES) without an ICMP message.
    LocalDenied,
    /// The TLS handshake failed for another reason than the certificate.
    TlsHandshake,
    /// The certificate has expired.
    TlsExpired,
    /// The certificate is not valid yet.
    TlsNotYetValid,
    /// The certificate is for another name.
    TlsNameMismatch,
    /// No trusted issuer.
    TlsUntrusted,
    /// No common TLS version.
    TlsVersion,
    /// The peer speaks another protocol.
    ProtoMismatch,
    /// The peer refused who we are, as far as the exchange goes without credentials.
    ProtoAuth,
    /// An HTTP status that the exchange does not accept.
    HttpStatus,
    /// An HTTP body that is not what the exchange asks for.
    HttpBody,
    /// Whoever was asked answers that it could not reach the target itself: Synapse's 503 to a made-up token, an ingress controller's 502 or 504.
    RelayFailed,
    /// Connected, but no first byte before the deadline.
    FirstByteTimeout,
    /// The peer closed in the middle.
    ClosedEarly,
    /// Our own fault: no probe was made.
    ProberError,
}

impl Reason {
    /// All reasons, in order.
    pub const ALL: [Self; 26] = [
        Self::Ok,
        Self::DnsTimeout,
        Self::DnsNxdomain,
        Self::DnsServfail,
        Self::DnsRefused,
        Self::NoEndpoints,
        Self::ConnectTimeout,
        Self::ConnectRefusedRst,
        Self::IcmpPortUnreachable,
        Self::IcmpAdminProhibited,
        Self::IcmpNoRoute,
        Self::LocalDenied,
        Self::TlsHandshake,
        Self::TlsExpired,
        Self::TlsNotYetValid,
        Self::TlsNameMismatch,
        Self::TlsUntrusted,
        Self::TlsVersion,
        Self::ProtoMismatch,
        Self::ProtoAuth,
        Self::HttpStatus,
        Self::HttpBody,
        Self::RelayFailed,
        Self::FirstByteTimeout,
        Self::ClosedEarly,
        Self::ProberError,
    ];

    /// The word used everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::DnsTimeout => "dns_timeout",
            Self::DnsNxdomain => "dns_nxdomain",
            Self::DnsServfail => "dns_servfail",
            Self::DnsRefused => "dns_refused",
            Self::NoEndpoints => "no_endpoints",
            Self::ConnectTimeout => "connect_timeout",
            Self::ConnectRefusedRst => "connect_refused_rst",
            Self::IcmpPortUnreachable => "icmp_port_unreachable",
            Self::IcmpAdminProhibited => "icmp_admin_prohibited",
            Self::IcmpNoRoute => "icmp_no_route",
            Self::LocalDenied => "local_denied",
            Self::TlsHandshake => "tls_handshake",
            Self::TlsExpired => "tls_expired",
            Self::TlsNotYetValid => "tls_not_yet_valid",
            Self::TlsNameMismatch => "tls_name_mismatch",
            Self::TlsUntrusted => "tls_untrusted",
            Self::TlsVersion => "tls_version",
            Self::ProtoMismatch => "proto_mismatch",
            Self::ProtoAuth => "proto_auth",
            Self::HttpStatus => "http_status",
            Self::HttpBody => "http_body",
            Self::RelayFailed => "relay_failed",
            Self::FirstByteTimeout => "first_byte_timeout",
            Self::ClosedEarly => "closed_early",
            Self::ProberError => "prober_error",
        }
    }
}

impl Reason {
    /// Something came back from the network: whoever was asked, the source has one. What our own kernel refused never left.
    pub fn is_from_outside(self) -> bool {
        !matches!(self, Self::ConnectTimeout | Self::DnsTimeout | Self::LocalDenied | Self::ProberError)
    }
}

impl Reason {
    /// Nothing came back in time: a policy's silence, or a packet that was lost.
    pub fn is_silence(self) -> bool {
        matches!(self, Self::ConnectTimeout | Self::DnsTimeout | Self::FirstByteTimeout)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a reason means for an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// A connection came about.
    Reachable,
    /// Something on the way or a policy stopped it.
    Blocked,
    /// The target does not serve.
    Down,
    /// Not enough is known to say.
    Unknown,
}

impl Class {
    /// All classes, in order.
    pub const ALL: [Self; 4] = [Self::Reachable, Self::Blocked, Self::Down, Self::Unknown];

    /// The word used everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reachable => "reachable",
            Self::Blocked => "blocked",
            Self::Down => "down",
            Self::Unknown => "unknown",
        }
    }
}

/// What is known beside the reason when it is classified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Evidence {
    /// The edge itself is a DNS edge.
    pub is_dns: bool,
    /// `Some(true)`: a Ready endpoint, or a control that connected, proves that the target serves. `Some(false)`: it is known not to.
    pub target_up: Option<bool>,
    /// The source reached something else in the same cycle, so it has a network.
    pub source_has_network: bool,
    /// Over UDP: the ICMP error came from the target's address, not from a router or node before it.
    pub offender_is_target: bool,
    /// The policies say denied.
    pub declared_denied: bool,
    /// The edge must not work.
    pub must_not_work: bool,
    /// The target's pod is known to come or go: not Ready, or on its way out. That it does not serve says nothing of the edge.
    pub comes_or_goes: bool,
    /// It was proven by asking somebody else to use it.
    pub relayed: bool,
}

impl Reason {
    /// The class of a reason; the rules are product.md §1, in the order of facts/probing.md §3.2 ("code first, offender second").
    pub fn class(self, evidence: &Evidence) -> Class {
        let class = self.settled_class(*evidence);
        if class == Class::Down && evidence.comes_or_goes { Class::Unknown } else { class }
    }

    fn settled_class(self, evidence: Evidence) -> Class {
        // Other pods of the target may be up; this one proves nothing by its silence.
        let proven_up = evidence.target_up == Some(true) && !evidence.comes_or_goes;
        let known_down = evidence.target_up == Some(false);
        let silence = if proven_up && evidence.source_has_network {
            Class::Blocked
        } else if known_down {
            Class::Down
        } else {
            Class::Unknown
        };
        // Bytes came back: on an edge that must not work that is all it takes.
        let answered = if evidence.must_not_work { Class::Reachable } else { Class::Down };
        match self {
            Self::Ok => Class::Reachable,
            Self::IcmpAdminProhibited | Self::LocalDenied => Class::Blocked,
            Self::ConnectTimeout => silence,
            // The relay tried and got nothing, so the edge does not work for certain; only why is open.
            Self::RelayFailed if proven_up || evidence.declared_denied => Class::Blocked,
            Self::RelayFailed => Class::Down,
            // The relay waits, as it would where its packets are dropped; or it is slow itself. The policies decide.
            Self::FirstByteTimeout if evidence.relayed && evidence.declared_denied => silence,
            Self::DnsTimeout if evidence.is_dns => silence,
            Self::DnsServfail | Self::DnsRefused | Self::DnsNxdomain if evidence.is_dns => answered,
            Self::DnsTimeout | Self::DnsServfail | Self::DnsRefused | Self::DnsNxdomain | Self::ProberError => {
                Class::Unknown
            }
            Self::IcmpPortUnreachable if known_down => Class::Down,
            Self::IcmpPortUnreachable if evidence.offender_is_target && !evidence.declared_denied => Class::Down,
            Self::IcmpPortUnreachable if proven_up => Class::Blocked,
            // A REJECT and a Service without endpoints look alike.
            Self::IcmpPortUnreachable => Class::Unknown,
            Self::ConnectRefusedRst if proven_up && evidence.declared_denied => Class::Blocked,
            Self::ConnectRefusedRst | Self::NoEndpoints | Self::IcmpNoRoute => Class::Down,
            Self::TlsHandshake
            | Self::TlsExpired
            | Self::TlsNotYetValid
            | Self::TlsNameMismatch
            | Self::TlsUntrusted
            | Self::TlsVersion
            | Self::ProtoMismatch
            | Self::ProtoAuth
            | Self::HttpStatus
            | Self::HttpBody => answered,
            // Connected, but no bytes: a mesh proxy accepts for a target it may not reach, so this opens nothing.
            Self::FirstByteTimeout | Self::ClosedEarly if evidence.must_not_work => Class::Unknown,
            Self::FirstByteTimeout | Self::ClosedEarly => Class::Down,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(reason: Reason, evidence: Evidence, expect: Class) {
        assert_eq!(reason.class(&evidence), expect, "{reason} {evidence:?}");
    }

    #[test]
    fn classes_follow_the_contract() {
        let none = Evidence::default();
        let up = Evidence { target_up: Some(true), source_has_network: true, ..none };
        let down = Evidence { target_up: Some(false), source_has_network: true, ..none };
        check(Reason::Ok, none, Class::Reachable);
        check(Reason::IcmpAdminProhibited, none, Class::Blocked);
        check(Reason::LocalDenied, down, Class::Blocked);
        check(Reason::ConnectTimeout, none, Class::Unknown);
        check(Reason::ConnectTimeout, up, Class::Blocked);
        check(Reason::ConnectTimeout, Evidence { source_has_network: false, ..up }, Class::Unknown);
        check(Reason::ConnectTimeout, down, Class::Down);
        check(Reason::IcmpPortUnreachable, up, Class::Blocked);
        let itself = Evidence { offender_is_target: true, ..up };
        check(Reason::IcmpPortUnreachable, itself, Class::Down);
        check(Reason::IcmpPortUnreachable, Evidence { declared_denied: true, ..itself }, Class::Blocked);
        check(
            Reason::IcmpPortUnreachable,
            Evidence { target_up: None, declared_denied: true, ..itself },
            Class::Unknown,
        );
        check(Reason::IcmpPortUnreachable, none, Class::Unknown);
        check(Reason::ConnectRefusedRst, up, Class::Down);
        check(Reason::ConnectRefusedRst, Evidence { declared_denied: true, ..up }, Class::Blocked);
        check(Reason::ConnectRefusedRst, Evidence { declared_denied: true, ..none }, Class::Down);
        check(Reason::NoEndpoints, none, Class::Down);
        check(Reason::IcmpNoRoute, up, Class::Down);
        check(Reason::DnsTimeout, up, Class::Unknown);
        check(Reason::DnsTimeout, Evidence { is_dns: true, ..up }, Class::Blocked);
        check(Reason::DnsServfail, Evidence { is_dns: true, ..up }, Class::Down);
        check(Reason::ProberError, up, Class::Unknown);
        check(Reason::TlsExpired, up, Class::Down);
        check(Reason::TlsExpired, Evidence { must_not_work: true, ..up }, Class::Reachable);
        check(Reason::HttpStatus, up, Class::Down);
        check(Reason::RelayFailed, up, Class::Blocked);
        check(Reason::RelayFailed, down, Class::Down);
        check(Reason::RelayFailed, none, Class::Down);
        check(Reason::RelayFailed, Evidence { declared_denied: true, ..none }, Class::Blocked);
        let relayed = Evidence { relayed: true, ..up };
        check(Reason::FirstByteTimeout, relayed, Class::Down);
        check(Reason::FirstByteTimeout, Evidence { declared_denied: true, ..relayed }, Class::Blocked);
        check(Reason::FirstByteTimeout, Evidence { declared_denied: true, ..up }, Class::Down);
        check(Reason::ClosedEarly, up, Class::Down);
        let rolling = Evidence { comes_or_goes: true, ..up };
        for reason in [Reason::ConnectTimeout, Reason::ConnectRefusedRst, Reason::FirstByteTimeout, Reason::HttpStatus]
        {
            check(reason, rolling, Class::Unknown);
            check(reason, Evidence { target_up: Some(false), ..rolling }, Class::Unknown);
        }
        check(Reason::Ok, rolling, Class::Reachable);
        check(Reason::IcmpAdminProhibited, rolling, Class::Blocked);
        check(Reason::ClosedEarly, Evidence { must_not_work: true, ..up }, Class::Unknown);
    }

    #[test]
    fn words_are_unique() {
        let words: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|r| r.as_str()).collect();
        assert_eq!(words.len(), Reason::ALL.len());
    }
}
