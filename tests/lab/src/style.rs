//! How a connection that no rule admits is refused.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What network plugins do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Silence: Calico, Cilium, kindnet, Antrea, OVN-Kubernetes, AWS.
    Drop,
    /// ICMP port unreachable: kube-router and so k3s.
    Reject,
    /// ICMP administratively prohibited: Cilium with `policy-deny-response: icmp`.
    AdminProhibited,
    /// Antrea's `Reject`: a reset for TCP, and for all else ICMP host prohibited, over IPv6 administratively prohibited. Antrea sends them in the target's name; these come from the node.
    TcpReset,
    /// A plugin that ignores policies: flannel.
    Off,
    /// Silence, but a pod is not isolated before it is this old: k3s, kube-router, AWS.
    Late(Duration),
}

impl Style {
    /// The rules at the end of the way, as nftables writes them.
    pub fn refusal(self) -> &'static [&'static str] {
        match self {
            Self::Drop | Self::Off | Self::Late(_) => &["drop"],
            Self::Reject => &["reject with icmpx type port-unreachable"],
            Self::AdminProhibited => &["reject with icmpx type admin-prohibited"],
            Self::TcpReset => &[
                "meta l4proto tcp reject with tcp reset",
                "meta nfproto ipv4 reject with icmp type host-prohibited",
                "meta nfproto ipv6 reject with icmpv6 type admin-prohibited",
            ],
        }
    }

    /// How long a new pod is not isolated.
    pub fn delay(self) -> Duration {
        if let Self::Late(delay) = self { delay } else { Duration::ZERO }
    }
}

impl fmt::Display for Style {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drop => f.write_str("drop"),
            Self::Reject => f.write_str("reject"),
            Self::AdminProhibited => f.write_str("admin-prohibited"),
            Self::TcpReset => f.write_str("tcp-reset"),
            Self::Off => f.write_str("off"),
            Self::Late(delay) => write!(f, "late={}", delay.as_secs()),
        }
    }
}

impl FromStr for Style {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "drop" => Ok(Self::Drop),
            "reject" => Ok(Self::Reject),
            "admin-prohibited" => Ok(Self::AdminProhibited),
            "tcp-reset" => Ok(Self::TcpReset),
            "off" => Ok(Self::Off),
            other => other
                .strip_prefix("late=")
                .and_then(|seconds| Some(Self::Late(Duration::from_secs(seconds.parse().ok()?))))
                .ok_or_else(|| {
                    format!(
                        "{other:?} is no style; write drop, reject, admin-prohibited, tcp-reset, off, or late=SECONDS"
                    )
                }),
        }
    }
}
