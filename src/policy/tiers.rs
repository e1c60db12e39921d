//! Cluster-wide tiers: Admin before the NetworkPolicies, Baseline after them.
//!
//! ClusterNetworkPolicy (`apis/v1alpha2/clusternetworkpolicy_types.go` of kubernetes-sigs/network-policy-api) and its forerunners
//! AdminNetworkPolicy and BaselineAdminNetworkPolicy (`apis/v1alpha1`). All ports go through a tier at once, as sets: for each port we keep
//! what may become of it, and where only one thing may, it is certain.

use super::answer::{PolicyKind, Traffic};
use super::eval::Engine;
use super::fit::{Fit, Missing, Scene, all_named};
use super::model::Direction;
use super::party::Kind;
use super::ports::{Intervals, PortSet};
use crate::source::Place;
use crate::world::labels::Selector;
use crate::world::{Pod, Protocol};

use ipnet::IpNet;

/// The two tiers around the NetworkPolicies, in the order of evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// "takes precedence over all other policies".
    Admin,
    /// For what neither the Admin tier decided nor a NetworkPolicy isolates.
    Baseline,
}

impl Tier {
    /// As the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "Admin",
            Self::Baseline => "Baseline",
        }
    }
}

/// What a rule does with the traffic it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Lets it through, for good. v1alpha1 calls it Allow.
    Accept,
    /// Drops it, for good.
    Deny,
    /// Skips the rest of the tier.
    Pass,
}

impl Action {
    /// As v1alpha2 writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "Accept",
            Self::Deny => "Deny",
            Self::Pass => "Pass",
        }
    }
}

/// A cluster-wide policy. It isolates nothing by itself: what no rule matches goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TierPolicy {
    /// What it was written as.
    pub kind: PolicyKind,
    /// Its name; it is in no namespace.
    pub name: String,
    /// Where it stands.
    pub place: Place,
    /// Its tier.
    pub tier: Tier,
    /// 0 to 1000, the lowest first; `None` for a BaselineAdminNetworkPolicy, whose order among others nothing defines.
    pub priority: Option<u16>,
    /// The pods that it applies to, never those in their node's network.
    pub subject: TierPods,
    /// The first rule that matches decides.
    pub ingress: Vec<TierRule>,
    /// The same for egress.
    pub egress: Vec<TierRule>,
}

impl TierPolicy {
    /// The rules of a direction, in order.
    pub fn rules(&self, direction: Direction) -> &[TierRule] {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }

    /// `Kind/name`.
    pub fn object(&self) -> String {
        format!("{}/{}", self.kind.as_str(), self.name)
    }

    /// Whether nothing says which of the two comes first.
    pub fn is_tied_with(&self, other: &Self) -> bool {
        self.tier == other.tier
            && (self.priority == other.priority || self.priority.is_none() || other.priority.is_none())
    }
}

/// Pods of some namespaces; both must fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TierPods {
    /// In which namespaces.
    pub namespaces: Selector,
    /// Which pods there.
    pub pods: Selector,
}

/// One item of `ingress` or `egress`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TierRule {
    /// Where it stands.
    pub place: Place,
    /// What it does.
    pub action: Action,
    /// The other end.
    pub peers: TierPeers,
    /// The destination ports, any of these; `None` for every port of every protocol.
    pub ports: Option<Vec<TierPort>>,
}

/// `from` or `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TierPeers {
    /// Any of these; never empty.
    Listed(Vec<TierPeer>),
    /// One of them has a field that the API version does not know, so the rule must fail closed: "For Accept rules, 'fail closed' means:
    /// treat the rule as matching no traffic. For Deny and Pass rules: treat the rule as a 'Deny all' rule."
    FailClosed,
}

/// Whom one item of `from` or `to` means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TierPeer {
    /// Pods, never those in their node's network.
    Pods(TierPods),
    /// Egress only: the addresses of nodes.
    Nodes(Selector),
    /// Egress only: nets. "cluster-internal traffic will be checked against the rule as well".
    Networks(Vec<IpNet>),
    /// Egress only: DNS names. Which addresses they have is not known here.
    DomainNames,
}

/// Which destination ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TierPort {
    /// Of one protocol, from one number to another, inclusive.
    Range(Protocol, u16, u16),
    /// The container port of this name on the destination pod, of whatever protocol.
    Named(String),
}

/// A rule of a policy.
pub(super) type Ruled<'w> = (&'w TierPolicy, usize);

/// What may become of ports in a tier. A port in one of the sets only is certain of it.
#[derive(Debug, Default)]
struct Flow<'w> {
    accept: PortSet,
    deny: PortSet,
    next: PortSet,
    accepted_by: Option<Ruled<'w>>,
    denied_by: Option<Ruled<'w>>,
    missing: Option<Missing<'w>>,
}

impl Flow<'_> {
    fn join(&mut self, other: &Self) {
        self.accept = self.accept.union(&other.accept);
        self.deny = self.deny.union(&other.deny);
        self.next = self.next.union(&other.next);
        self.accepted_by = self.accepted_by.or(other.accepted_by);
        self.denied_by = self.denied_by.or(other.denied_by);
        self.missing = self.missing.or(other.missing);
    }

    /// Whether for some port one of the two does what the other does not.
    fn differs(&self, other: &Self) -> bool {
        let meet = |a: &PortSet, b: &PortSet| !a.intersect(b).is_empty();
        let one_way =
            |a: &Self, b: &Self| meet(&a.accept, &b.deny) || meet(&a.accept, &b.next) || meet(&a.deny, &b.next);
        one_way(self, other) || one_way(other, self)
    }

    fn is_certain(&self) -> bool {
        let Self { accept, deny, next, .. } = self;
        accept.intersect(deny).is_empty() && accept.intersect(next).is_empty() && deny.intersect(next).is_empty()
    }
}

/// What the NetworkPolicies say at one end, before anything above or below them.
#[derive(Debug)]
pub(super) struct Middle<'w> {
    pub(super) traffic: Traffic,
    pub(super) isolated: bool,
    pub(super) own_node: bool,
    pub(super) missing: Option<Missing<'w>>,
}

/// What one end says when all tiers are done. The rules and the missing fact are those of one port, when one was asked for.
#[derive(Debug)]
pub(super) struct Layered<'w> {
    pub(super) traffic: Traffic,
    pub(super) accepted_by: Option<Ruled<'w>>,
    pub(super) denied_by: Option<Ruled<'w>>,
    pub(super) missing: Option<Missing<'w>>,
}

impl<'w> Engine<'w> {
    /// Admin tier → NetworkPolicies → Baseline tier, for the ports of `asked`.
    ///
    /// "v1.NetworkPolicy always makes a final decision for selected pods": we read it per direction, so that a pod leaves the Baseline tier
    /// in the directions that a NetworkPolicy isolates.
    pub(super) fn layered(
        &self,
        scene: &Scene<'_, 'w>,
        pod: &'w Pod,
        middle: &Middle<'w>,
        asked: &PortSet,
    ) -> Layered<'w> {
        let admin = self.tier(Tier::Admin, scene, pod, asked.clone());
        let base = if middle.isolated {
            Flow { next: admin.next.clone(), ..Flow::default() }
        } else {
            self.tier(Tier::Baseline, scene, pod, admin.next.clone())
        };
        let (may_allow, may_deny, missing) = if middle.own_node {
            // NetworkPolicy exempts this traffic; whether that beats a Deny of a tier is open.
            let denied_by = admin.denied_by.or(base.denied_by);
            let missing = denied_by.map(|(policy, _)| Missing::OwnNodeDenied(policy)).or(middle.missing);
            (asked.clone(), admin.deny.union(&base.deny).union(&admin.next.minus(&middle.traffic.allowed)), missing)
        } else {
            // A policy of which not everything is known may isolate, and so take the pod out of the Baseline tier.
            let perhaps = admin.next.intersect(&middle.traffic.unknown);
            let admitted = base.next.intersect(&middle.traffic.possible()).union(&perhaps);
            let refused = admin.next.minus(&middle.traffic.allowed);
            let missing = if admin.is_certain() { middle.missing.or(base.missing) } else { admin.missing };
            (
                admin.accept.union(&base.accept).union(&admitted),
                admin.deny.union(&base.deny).union(&refused),
                missing.or(admin.missing),
            )
        };
        let allowed = may_allow.minus(&may_deny);
        let unknown = may_allow.intersect(&may_deny);
        // The rule of a tier that may decide and may not is not named: what comes after it leads to the same end.
        let by_base = base.next.is_empty();
        let (accepted_by, denied_by) = if admin.next.is_empty() {
            (admin.accepted_by, admin.denied_by)
        } else {
            (base.accepted_by.filter(|_| by_base), base.denied_by)
        };
        Layered { traffic: Traffic { allowed, unknown }, accepted_by, denied_by, missing }
    }

    fn tier(&self, tier: Tier, scene: &Scene<'_, 'w>, pod: &'w Pod, mut open: PortSet) -> Flow<'w> {
        let mut flow = Flow::default();
        for tied in self.policies().tied(tier) {
            if open.is_empty() {
                break;
            }
            open = self.tied(tied, scene, pod, &open, &mut flow);
        }
        flow.next = flow.next.union(&open);
        flow
    }

    /// Policies of equal priority: "the implementation can apply any of the matching policies to the connection". Returns what none matches.
    fn tied(
        &self,
        tied: &'w [TierPolicy],
        scene: &Scene<'_, 'w>,
        pod: &'w Pod,
        open: &PortSet,
        flow: &mut Flow<'w>,
    ) -> PortSet {
        let mut rest = open.clone();
        let mut earlier: Vec<(&'w TierPolicy, Flow<'w>)> = Vec::new();
        for policy in tied {
            let (own, unmatched) = self.one_policy(policy, scene, pod, open.clone());
            rest = rest.intersect(&unmatched);
            if let Some((other, _)) = earlier.iter().find(|(_, other)| other.differs(&own)) {
                flow.missing = flow.missing.or(Some(Missing::EqualPriority(other, policy)));
            }
            earlier.push((policy, own));
        }
        for (_, own) in &earlier {
            flow.join(own);
        }
        rest
    }

    /// One policy's rules in order; the first that matches decides. Returns what none matches too.
    fn one_policy(
        &self,
        policy: &'w TierPolicy,
        scene: &Scene<'_, 'w>,
        pod: &'w Pod,
        mut open: PortSet,
    ) -> (Flow<'w>, PortSet) {
        let mut flow = Flow::default();
        let subject = self.is_among(&policy.subject, pod);
        if matches!(subject, Fit::No) {
            return (flow, open);
        }
        for (index, rule) in policy.rules(scene.direction).iter().enumerate() {
            if open.is_empty() {
                break;
            }
            let matched = self.matched(rule, subject, scene);
            let hit = open.intersect(&matched.possible);
            if hit.is_empty() {
                continue;
            }
            let ruled = Some((policy, index));
            match (rule.action, &rule.peers) {
                (Action::Accept, _) => {
                    flow.accept = flow.accept.union(&hit);
                    flow.accepted_by = flow.accepted_by.or(ruled);
                }
                (Action::Deny, _) | (Action::Pass, TierPeers::FailClosed) => {
                    flow.deny = flow.deny.union(&hit);
                    flow.denied_by = flow.denied_by.or(ruled);
                }
                (Action::Pass, TierPeers::Listed(_)) => flow.next = flow.next.union(&hit),
            }
            if !hit.minus(&matched.certain).is_empty() {
                flow.missing = flow.missing.or(matched.missing);
            }
            open = open.minus(&matched.certain);
        }
        (flow, open)
    }

    /// The ports for which a rule matches the other end, for certain and perhaps.
    fn matched(&self, rule: &'w TierRule, subject: Fit<'w>, scene: &Scene<'_, 'w>) -> Matched<'w> {
        let ports = rule_ports(rule, scene);
        let (peers, mut matched) = match (&rule.peers, rule.action) {
            (TierPeers::Listed(peers), _) => {
                let fits = peers.iter().map(|peer| self.tier_peer_fits(peer, scene));
                (fits.fold(Fit::No, Fit::or), ports)
            }
            (TierPeers::FailClosed, Action::Accept) => (Fit::No, ports),
            // Whether "deny all" keeps the rule's ports is open: theirs are certain, the others may be meant.
            (TierPeers::FailClosed, _) => {
                let missing = ports.missing.or(Some(Missing::FailClosedPorts));
                (Fit::Yes, Matched { possible: PortSet::all(), missing, ..ports })
            }
        };
        match subject.and(peers) {
            Fit::Yes => {}
            Fit::No => matched = Matched::default(),
            Fit::Unknown(why) => {
                matched.certain = PortSet::none();
                matched.missing = Some(why);
            }
        }
        matched
    }

    /// Whether one rule matches one connection, whatever stands before it, and whether it matches the other end on any port.
    pub(super) fn tier_rule_fits(
        &self,
        policy: &'w TierPolicy,
        rule: &'w TierRule,
        scene: &Scene<'_, 'w>,
        pod: &'w Pod,
        (port, protocol): (u16, Protocol),
    ) -> (Fit<'w>, bool) {
        let matched = self.matched(rule, self.is_among(&policy.subject, pod), scene);
        let fit = if matched.certain.contains(protocol, port) {
            Fit::Yes
        } else if matched.possible.contains(protocol, port) {
            matched.missing.map_or(Fit::Yes, Fit::Unknown)
        } else {
            Fit::No
        };
        (fit, !matched.possible.is_empty())
    }

    /// Whether a policy applies to a pod.
    pub(super) fn applies(&self, policy: &'w TierPolicy, pod: &'w Pod) -> Fit<'w> {
        self.is_among(&policy.subject, pod)
    }

    fn tier_peer_fits(&self, peer: &'w TierPeer, scene: &Scene<'_, 'w>) -> Fit<'w> {
        match peer {
            TierPeer::Pods(pods) => scene.peer.pod().map_or(Fit::No, |pod| self.is_among(pods, pod)),
            TierPeer::Networks(nets) => nets.iter().map(|net| self.in_block(*net, &[], scene)).fold(Fit::No, Fit::or),
            TierPeer::DomainNames => Fit::Unknown(Missing::DomainNames),
            TierPeer::Nodes(selector) => match scene.peer.kind {
                Kind::Pod(..) | Kind::Outside => Fit::No,
                Kind::Host(..) if selector.is_everything() => Fit::Yes,
                Kind::Host(node, _) => match node.and_then(|node| self.world().nodes.get(node)) {
                    Some(node) => Fit::of(selector.matches(&node.labels)),
                    None => Fit::Unknown(Missing::NodeLabels),
                },
            },
        }
    }

    fn is_among(&self, pods: &'w TierPods, pod: &'w Pod) -> Fit<'w> {
        Fit::of(pods.pods.matches(&pod.labels)).and(self.namespace_fits(&pods.namespaces, &pod.name.namespace))
    }
}

/// The ports for which a rule matches.
#[derive(Debug, Default)]
struct Matched<'w> {
    certain: PortSet,
    /// Holds `certain` too.
    possible: PortSet,
    /// What is missing for those that are only possible.
    missing: Option<Missing<'w>>,
}

fn rule_ports<'w>(rule: &'w TierRule, scene: &Scene<'_, 'w>) -> Matched<'w> {
    let Some(items) = &rule.ports else {
        return Matched { certain: PortSet::all(), possible: PortSet::all(), missing: None };
    };
    let mut matched = Matched::default();
    for item in items {
        match item {
            TierPort::Range(protocol, from, to) => {
                let ports = PortSet::of(*protocol, Intervals::range(*from, *to));
                matched.certain = matched.certain.union(&ports);
                matched.possible = matched.possible.union(&ports);
            }
            TierPort::Named(name) => {
                let mut ports: Vec<(Protocol, u16)> = all_named(scene, name).collect();
                ports.sort_unstable();
                ports.dedup();
                for (protocol, number) in &ports {
                    let port = PortSet::of(*protocol, Intervals::range(*number, *number));
                    matched.possible = matched.possible.union(&port);
                    // "based on the ContainerPort name": which one, when a pod has the name twice, is open.
                    if ports.len() == 1 {
                        matched.certain = matched.certain.union(&port);
                    } else if let Some(pod) = scene.destination().pod() {
                        matched.missing = Some(Missing::NameTwice(pod));
                    }
                }
            }
        }
    }
    matched
}
