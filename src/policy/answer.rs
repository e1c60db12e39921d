//! What the engine answers.

use std::fmt::{self, Write as _};

use super::{Direction, Family, PortSet};
use crate::policy::Declared;
use crate::source::Place;
use crate::world::{ObjectName, Protocol};

/// What all policies together say of one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The verdict: the worst over the families that the two ends share.
    pub declared: Declared,
    /// What the source's policies say, in the family that decides.
    pub egress: SideAnswer,
    /// What the destination's policies say, in the family that decides.
    pub ingress: SideAnswer,
    /// The verdict in each family; empty when there is none to judge in.
    pub by_family: Vec<(Family, Declared)>,
    /// What is missing when `declared` is unknown.
    pub missing: Option<String>,
    /// The source, as `namespace/pod` or an address.
    pub from: String,
    /// The destination.
    pub to: String,
    /// The destination's pod port.
    pub port: u16,
    /// The protocol.
    pub protocol: Protocol,
}

/// What the policies of one end say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SideAnswer {
    /// The verdict of this end alone.
    pub declared: Declared,
    /// The policies that isolate this end in this direction, in source order.
    pub isolated_by: Vec<PolicyRef>,
    /// The rule that admits; when denied, the rule of a tier that denies, if one does.
    pub decided_by: Option<RuleRef>,
    /// Why no policy is asked, if none is.
    pub exempt: Option<Exemption>,
    /// What is missing when `declared` is unknown.
    pub missing: Option<String>,
    /// When denied: the rule that comes closest, and what keeps it from admitting.
    pub nearest: Option<NearestMiss>,
}

/// Why policies have no say at one end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exemption {
    /// The end is an address; policies apply to pods.
    NoPod,
    /// The pod is in its node's network.
    HostNetwork,
    /// A pod cannot block access to itself.
    SelfTraffic,
    /// A pod and its own node always reach each other.
    OwnNode,
}

impl Exemption {
    /// The rest of "X ...".
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoPod => "is no pod, so no policy applies to it",
            Self::HostNetwork => "is in its node's network, where policies do not apply",
            Self::SelfTraffic => "talks to itself, which no policy can block",
            Self::OwnNode => "and its own node always reach each other",
        }
    }
}

/// The kinds of policy that are evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum PolicyKind {
    /// networking.k8s.io/v1
    #[default]
    NetworkPolicy,
    /// policy.networking.k8s.io/v1alpha2
    ClusterNetworkPolicy,
    /// policy.networking.k8s.io/v1alpha1
    AdminNetworkPolicy,
    /// policy.networking.k8s.io/v1alpha1
    BaselineAdminNetworkPolicy,
}

impl PolicyKind {
    /// As the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NetworkPolicy => "NetworkPolicy",
            Self::ClusterNetworkPolicy => "ClusterNetworkPolicy",
            Self::AdminNetworkPolicy => "AdminNetworkPolicy",
            Self::BaselineAdminNetworkPolicy => "BaselineAdminNetworkPolicy",
        }
    }
}

/// A policy, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyRef {
    /// What it is.
    pub kind: PolicyKind,
    /// Its name; the namespace is empty for a cluster-wide kind.
    pub name: ObjectName,
    /// Where it stands.
    pub place: Place,
}

impl PolicyRef {
    /// `NetworkPolicy/namespace/name` or `ClusterNetworkPolicy/name`.
    pub fn object(&self) -> String {
        let (kind, ObjectName { namespace, name }) = (self.kind.as_str(), &self.name);
        if namespace.is_empty() { format!("{kind}/{name}") } else { format!("{kind}/{namespace}/{name}") }
    }
}

/// `namespace/name`, and with its kind if that is not NetworkPolicy.
impl fmt::Display for PolicyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            PolicyKind::NetworkPolicy => write!(f, "{}", self.name),
            _ => f.write_str(&self.object()),
        }
    }
}

/// A rule, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleRef {
    /// Its policy.
    pub policy: PolicyRef,
    /// Which list it is in.
    pub direction: Direction,
    /// Its index in that list, from 0.
    pub index: usize,
    /// Where the rule stands.
    pub place: Place,
}

/// The rule that comes closest to admitting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NearestMiss {
    /// The rule.
    pub rule: RuleRef,
    /// What keeps it from admitting, as a clause: "the namespace traefik lacks label name=traefik".
    pub why: String,
}

impl Answer {
    /// Whether the families have different verdicts.
    pub fn is_mixed(&self) -> bool {
        let first = self.by_family.first().map(|(_, first)| *first);
        let differ = self.by_family.iter().any(|(_, declared)| Some(*declared) != first);
        // An end without an address may get one family only, and then nothing differs.
        differ && self.declared != Declared::Unknown
    }

    /// One sentence: the verdict, the policy or rule with its place, and for a denial the nearest miss.
    pub fn sentence(&self) -> String {
        let mut text = format!("{}: ", self.declared.as_str());
        match self.declared {
            Declared::Allowed => {
                let _ = write!(text, "{}; {}", self.admits(Direction::Egress), self.admits(Direction::Ingress));
            }
            Declared::Unknown => text.push_str(self.missing.as_deref().unwrap_or("a fact is missing")),
            Declared::Denied => {
                let denied = [(Direction::Egress, &self.egress), (Direction::Ingress, &self.ingress)]
                    .into_iter()
                    .filter(|(_, side)| side.declared == Declared::Denied);
                let clauses: Vec<String> = denied.map(|(direction, side)| self.denies(direction, side)).collect();
                text.push_str(&clauses.join("; and "));
                if self.is_mixed() {
                    let parts: Vec<String> = self
                        .by_family
                        .iter()
                        .map(|(family, declared)| format!("{family} {}", declared.as_str()))
                        .collect();
                    let _ = write!(text, " ({})", parts.join(", "));
                }
            }
        }
        text
    }

    fn end(&self, direction: Direction) -> &str {
        match direction {
            Direction::Egress => &self.from,
            Direction::Ingress => &self.to,
        }
    }

    fn admits(&self, direction: Direction) -> String {
        let end = self.end(direction);
        let side = match direction {
            Direction::Egress => &self.egress,
            Direction::Ingress => &self.ingress,
        };
        match (&side.decided_by, side.exempt) {
            (Some(rule), _) => {
                format!("{direction} of {end} by {direction}[{}] of {} ({})", rule.index, rule.policy, rule.place)
            }
            (None, Some(exempt)) => format!("{end} {}", exempt.as_str()),
            (None, None) => format!("{direction} of {end} is not isolated"),
        }
    }

    fn denies(&self, direction: Direction, side: &SideAnswer) -> String {
        let Self { from, to, port, protocol, .. } = self;
        if let Some(rule) = &side.decided_by {
            let end = self.end(direction);
            return format!(
                "{direction} of {end} is denied by {direction}[{}] of {} ({})",
                rule.index, rule.policy, rule.place
            );
        }
        let policies: Vec<String> =
            side.isolated_by.iter().take(3).map(|policy| format!("{policy} ({})", policy.place)).collect();
        let more = side.isolated_by.len().saturating_sub(policies.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let end = self.end(direction);
        let (policies, target) = (policies.join(", "), target(to));
        let mut text = match direction {
            Direction::Egress => {
                format!("egress of {end} is isolated by {policies}{more} and no rule admits {target}:{port}/{protocol}")
            }
            Direction::Ingress => {
                format!(
                    "ingress of {end} is isolated by {policies}{more} and no rule admits {from} to {port}/{protocol}"
                )
            }
        };
        if let Some(NearestMiss { rule, why }) = &side.nearest {
            let _ = write!(text, "; nearest: {direction}[{}] of {} ({}): {why}", rule.index, rule.policy, rule.place);
        }
        text
    }
}

/// An IPv6 address before a port stands in brackets (RFC 3986 §3.2.2).
fn target(to: &str) -> String {
    if to.parse::<std::net::Ipv6Addr>().is_ok() { format!("[{to}]") } else { to.to_owned() }
}

/// Everything that the policies admit from one end to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// Allowed and unknown over all shared families, by the rule of [`Answer::declared`].
    pub traffic: Traffic,
    /// The same in each family.
    pub by_family: Vec<(Family, Traffic)>,
}

impl Admitted {
    /// What is admitted in one family at least: what an attacker can use.
    pub fn in_any_family(&self) -> Traffic {
        let union = |pick: fn(&Traffic) -> &PortSet| {
            self.by_family.iter().fold(PortSet::none(), |set, (_, traffic)| set.union(pick(traffic)))
        };
        let allowed = union(|traffic| &traffic.allowed);
        let unknown = if self.by_family.is_empty() { self.traffic.unknown.clone() } else { union(|t| &t.unknown) };
        Traffic { unknown: unknown.minus(&allowed), allowed }
    }
}

/// Ports of the destination, by verdict; what is in neither set is denied.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Allowed for certain.
    pub allowed: PortSet,
    /// Not known. Disjoint from `allowed`.
    pub unknown: PortSet,
}

impl Traffic {
    /// The verdict for one port.
    pub fn declared(&self, protocol: Protocol, port: u16) -> Declared {
        if self.allowed.contains(protocol, port) {
            Declared::Allowed
        } else if self.unknown.contains(protocol, port) {
            Declared::Unknown
        } else {
            Declared::Denied
        }
    }

    /// Allowed or unknown.
    pub(super) fn possible(&self) -> PortSet {
        self.allowed.union(&self.unknown)
    }

    /// Both must let it through.
    #[must_use]
    pub(super) fn and(&self, other: &Self) -> Self {
        let allowed = self.allowed.intersect(&other.allowed);
        Self { unknown: self.possible().intersect(&other.possible()).minus(&allowed), allowed }
    }

    /// One of the two is the case, and which is not known: only what both say is known.
    #[must_use]
    pub(super) fn either(&self, other: &Self) -> Self {
        let allowed = self.allowed.intersect(&other.allowed);
        Self { unknown: self.possible().union(&other.possible()).minus(&allowed), allowed }
    }
}
