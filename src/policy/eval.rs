//! The evaluation: both ends, each family, every rule.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::answer::{Admitted, Answer, Exemption, SideAnswer, Traffic};
use super::fit::{self, Fit, Missing, Scene, block_fits, named};
use super::model::{
    Direction, NamespaceMatch, PeerMatch, Peers, Policy, PolicyPeer, PolicySet, PortMatch, Ports, Rule,
};
use super::party::{End, Holder, Kind, NoParty, Parties, Party};
use super::ports::{Intervals, PortSet};
use super::tiers::{Middle, Ruled};
use super::unmodelled::Effect;
use super::{Dialect, Family, explain};
use crate::policy::Declared;
use crate::world::labels::Selector;
use crate::world::{Labels, Pod, Protocol, World};

/// Answers questions about a world under its policies.
///
/// A query costs the policies of the two namespaces; building it costs the addresses of the world.
#[derive(Debug)]
pub struct Engine<'w> {
    world: &'w World,
    set: &'w PolicySet,
    parties: Arc<Parties<'w>>,
    dialect: Dialect,
}

/// What one end says, before it is put in words.
#[derive(Debug, Clone, Copy)]
struct Side<'w> {
    declared: Declared,
    rule: Option<Decider<'w>>,
    missing: Option<Missing<'w>>,
    exempt: Option<Exemption>,
}

/// The rule that decides.
#[derive(Debug, Clone, Copy)]
enum Decider<'w> {
    /// It admits.
    Network(&'w Policy, usize),
    /// It accepts or denies.
    Tier(Ruled<'w>),
}

/// Which of the policies that are not evaluated are asked for what they could turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    Any,
    /// Those that stand among the NetworkPolicies or below them.
    BelowAdmin,
    /// Those that stand above every tier.
    AboveAll,
}

/// Two ends, and the families in which they can meet.
pub(super) struct Pair<'w> {
    from: Party<'w>,
    to: Party<'w>,
    families: Vec<Family>,
    /// False while an end has no address: it may get any of the families, or both.
    certain: bool,
}

impl<'w> Pair<'w> {
    pub(super) fn egress(&self, family: Family) -> Scene<'_, 'w> {
        Scene { own: &self.from, peer: &self.to, direction: Direction::Egress, family }
    }

    pub(super) fn ingress(&self, family: Family) -> Scene<'_, 'w> {
        Scene { own: &self.to, peer: &self.from, direction: Direction::Ingress, family }
    }
}

impl<'w> Engine<'w> {
    /// An engine over a world and its policies.
    pub fn new(world: &'w World, set: &'w PolicySet) -> Self {
        Self::with_parties(world, set, Arc::new(Parties::new(world)))
    }

    /// The same with addresses that were looked up before.
    pub(super) fn with_parties(world: &'w World, set: &'w PolicySet, parties: Arc<Parties<'w>>) -> Self {
        Self { world, set, parties, dialect: Dialect::Upstream }
    }

    /// The same engine with another reading of the open points.
    #[must_use]
    pub fn with_dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self
    }

    /// The reading of the open points.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The world.
    pub fn world(&self) -> &'w World {
        self.world
    }

    /// The policies.
    pub fn policies(&self) -> &'w PolicySet {
        self.set
    }

    /// Which pod [`End::Address`] means.
    pub(crate) fn holder(&self, address: IpAddr) -> Holder {
        self.parties.holder(address)
    }

    /// Whether a new connection to a pod port (1 to 65535, after Service DNAT) is let through, and why.
    pub fn verdict(&self, from: End, to: End, port: u16, protocol: Protocol) -> Answer {
        let pair = match self.pair(from, to) {
            Ok(pair) => pair,
            Err(missing) => return self.no_pair(from, to, port, protocol, missing),
        };
        let judged: Vec<(Family, Side<'w>, Side<'w>)> = pair
            .families
            .iter()
            .map(|family| {
                let side = |scene: Scene<'_, 'w>| self.side(scene, port, protocol);
                (*family, side(pair.egress(*family)), side(pair.ingress(*family)))
            })
            .collect();
        let by_family: Vec<(Family, Declared)> =
            judged.iter().map(|(family, egress, ingress)| (*family, egress.declared.and(ingress.declared))).collect();
        let worst = by_family.iter().fold(Declared::Allowed, |worst, (_, declared)| worst.and(*declared));
        let differ = by_family.iter().any(|(_, declared)| *declared != worst);
        let decisive = by_family.iter().position(|(_, declared)| *declared == worst).unwrap_or_default();
        let Some((family, egress, ingress)) = judged.get(decisive).copied() else {
            return self.no_pair(from, to, port, protocol, no_family(&pair.from, &pair.to));
        };
        let declared = if differ && !pair.certain { Declared::Unknown } else { worst };
        let missing = (declared == Declared::Unknown).then(|| {
            if differ && !pair.certain {
                return no_address(&pair);
            }
            let missing = egress.missing.or(ingress.missing);
            missing.map_or_else(|| "a fact is missing".to_owned(), |missing| missing.to_string())
        });
        Answer {
            declared,
            egress: self.explain(egress, pair.egress(family), port, protocol),
            ingress: self.explain(ingress, pair.ingress(family), port, protocol),
            by_family,
            missing,
            from: pair.from.to_string(),
            to: pair.to.to_string(),
            port,
            protocol,
        }
    }

    /// All ports that are let through, in one pass over the rules. Agrees with [`Engine::verdict`] for every port from 1 to 65535.
    pub fn admitted(&self, from: End, to: End) -> Admitted {
        let nothing_known = Traffic { allowed: PortSet::none(), unknown: PortSet::all() };
        let Ok(pair) = self.pair(from, to) else {
            return Admitted { traffic: nothing_known, by_family: Vec::new() };
        };
        let traffic = |family: Family| self.side_set(pair.egress(family)).and(&self.side_set(pair.ingress(family)));
        let by_family: Vec<(Family, Traffic)> =
            pair.families.iter().map(|family| (*family, traffic(*family))).collect();
        let join = if pair.certain { Traffic::and } else { Traffic::either };
        let traffic = by_family.iter().map(|(_, t)| t.clone()).reduce(|a, b| join(&a, &b)).unwrap_or(nothing_known);
        Admitted { traffic, by_family }
    }

    /// What one rule alone says between a pod that its policy selects and another end, in each family that both have:
    /// the ports that it admits for certain, and those that it may admit. The two may overlap; a pair without a verdict has no family.
    pub fn rule_traffic(
        &self,
        policy: &'w Policy,
        rule: &'w Rule,
        direction: Direction,
        own: End,
        peer: End,
    ) -> Vec<(Family, PortSet, PortSet)> {
        let (from, to) = match direction {
            Direction::Egress => (own, peer),
            Direction::Ingress => (peer, own),
        };
        let Ok(pair) = self.pair(from, to) else { return Vec::new() };
        let says = |family: &Family| {
            let scene = match direction {
                Direction::Egress => pair.egress(*family),
                Direction::Ingress => pair.ingress(*family),
            };
            let (allowed, unknown) = self.rule_ports(rule, policy, &scene);
            (*family, allowed, unknown)
        };
        pair.families.iter().map(says).collect()
    }

    pub(super) fn pair(&self, from: End, to: End) -> Result<Pair<'w>, String> {
        let resolve = |end| {
            self.parties.resolve(end).map_err(|no| match no {
                NoParty::Finished(pod) => format!("pod {} has finished, so it has no connections", pod.name),
                NoParty::Shared(address) => {
                    format!("{address} belongs to two live pods: one of the two records is out of date")
                }
            })
        };
        let (from, to) = (resolve(from)?, resolve(to)?);
        // Against a bare address a pod's families say nothing: no rule asks for the pod's own address.
        let (a, b) = match (from.is_bare() && !to.by_address, to.is_bare() && !from.by_address) {
            (true, _) => (from.families(), from.families()),
            (_, true) => (to.families(), to.families()),
            _ => (from.families(), to.families()),
        };
        let families: Vec<Family> =
            Family::ALL.into_iter().zip(a.into_iter().zip(b)).filter(|(_, (a, b))| *a && *b).map(|(f, _)| f).collect();
        if families.is_empty() {
            return Err(no_family(&from, &to));
        }
        let certain = families.len() == 1 || (!from.addresses.is_empty() && !to.addresses.is_empty());
        Ok(Pair { from, to, families, certain })
    }

    fn no_pair(&self, from: End, to: End, port: u16, protocol: Protocol, missing: String) -> Answer {
        let name = |end| match end {
            End::Pod(id) => self.world.pod(id).name.to_string(),
            End::Address(address) => address.to_string(),
        };
        let side = SideAnswer {
            declared: Declared::Unknown,
            isolated_by: Vec::new(),
            decided_by: None,
            exempt: None,
            missing: Some(missing.clone()),
            nearest: None,
        };
        Answer {
            declared: Declared::Unknown,
            egress: side.clone(),
            ingress: side,
            by_family: Vec::new(),
            missing: Some(missing),
            from: name(from),
            to: name(to),
            port,
            protocol,
        }
    }

    /// Policies that isolate a pod in a direction.
    pub(super) fn isolating(
        &self,
        pod: &'w Pod,
        direction: Direction,
    ) -> impl Iterator<Item = (&'w Policy, &'w [Rule])> {
        let policies = self.set.in_namespace(&pod.name.namespace);
        policies.filter_map(move |policy| Some((policy, policy.rules(direction)?))).filter(|(p, _)| p.selects(pod))
    }

    /// One end and one port.
    fn side(&self, scene: Scene<'_, 'w>, port: u16, protocol: Protocol) -> Side<'w> {
        let (pod, exempt) = match exemption(&scene) {
            Err(exempt) => {
                return Side { declared: Declared::Allowed, rule: None, missing: None, exempt: Some(exempt) };
            }
            Ok(found) => found,
        };
        let mut side = Side { declared: Declared::Allowed, rule: None, missing: None, exempt };
        let mut isolated = false;
        if exempt.is_none() {
            for (policy, rules) in self.isolating(pod, scene.direction) {
                if !isolated {
                    isolated = true;
                    side.declared = Declared::Denied;
                }
                for (index, rule) in rules.iter().enumerate() {
                    match self.rule_fits(rule, policy, &scene, port, protocol) {
                        Fit::Yes if side.declared != Declared::Allowed => {
                            side.declared = Declared::Allowed;
                            side.rule = Some(Decider::Network(policy, index));
                            side.missing = None;
                        }
                        Fit::Unknown(missing) if side.declared == Declared::Denied => {
                            side.declared = Declared::Unknown;
                            side.missing = Some(missing);
                        }
                        _ => {}
                    }
                }
            }
        }
        let asks = if self.set.tiers.is_empty() {
            Doubt::Any
        } else {
            side = self.side_in_tiers(side, &scene, pod, port, protocol);
            Doubt::AboveAll
        };
        if let Some(missing) = self.doubt(asks, &scene, pod, isolated, exempt.is_some(), side.declared) {
            side = Side { declared: Declared::Unknown, missing: Some(missing), ..side };
        }
        side
    }

    /// What the NetworkPolicies say of one port, between the tiers.
    fn side_in_tiers(
        &self,
        side: Side<'w>,
        scene: &Scene<'_, 'w>,
        pod: &'w Pod,
        port: u16,
        protocol: Protocol,
    ) -> Side<'w> {
        let own_node = side.exempt.is_some();
        let isolated = self.isolating(pod, scene.direction).next().is_some();
        let doubt = self.doubt(Doubt::BelowAdmin, scene, pod, isolated, own_node, side.declared);
        let asked = PortSet::of(protocol, Intervals::range(port, port));
        let traffic = match (side.declared, doubt) {
            (Declared::Unknown, _) | (_, Some(_)) => Traffic { allowed: PortSet::none(), unknown: asked.clone() },
            (Declared::Allowed, None) => Traffic { allowed: asked.clone(), unknown: PortSet::none() },
            (Declared::Denied, None) => Traffic::default(),
        };
        let middle = Middle { traffic, isolated, own_node, missing: doubt.or(side.missing) };
        let layered = self.layered(scene, pod, &middle, &asked);
        let declared = layered.traffic.declared(protocol, port);
        let by_tier = match declared {
            Declared::Allowed => layered.accepted_by,
            Declared::Denied => layered.denied_by,
            Declared::Unknown => None,
        };
        let missing = layered.missing.filter(|_| declared == Declared::Unknown);
        Side { declared, rule: by_tier.map(Decider::Tier).or(side.rule), missing, exempt: side.exempt }
    }

    /// One end and all ports.
    fn side_set(&self, scene: Scene<'_, 'w>) -> Traffic {
        let everything = Traffic { allowed: PortSet::all(), unknown: PortSet::none() };
        let Ok((pod, exempt)) = exemption(&scene) else { return everything };
        let mut isolated = false;
        let mut traffic = Traffic::default();
        if exempt.is_none() {
            for (policy, rules) in self.isolating(pod, scene.direction) {
                isolated = true;
                for rule in rules {
                    let (allowed, unknown) = self.rule_ports(rule, policy, &scene);
                    traffic.allowed = traffic.allowed.union(&allowed);
                    traffic.unknown = traffic.unknown.union(&unknown);
                }
            }
        }
        if !isolated {
            traffic = everything;
        }
        let own_node = exempt.is_some();
        if self.set.tiers.is_empty() {
            return blurred(traffic, |declared| {
                self.doubt(Doubt::Any, &scene, pod, isolated, own_node, declared).is_some()
            });
        }
        let isolated = self.isolating(pod, scene.direction).next().is_some();
        let doubt = |asks, declared| self.doubt(asks, &scene, pod, isolated, own_node, declared).is_some();
        let traffic = blurred(traffic, |declared| doubt(Doubt::BelowAdmin, declared));
        let middle = Middle { traffic, isolated, own_node, missing: None };
        let layered = self.layered(&scene, pod, &middle, &PortSet::all());
        blurred(layered.traffic, |declared| doubt(Doubt::AboveAll, declared))
    }

    /// What could turn a verdict of the NetworkPolicies round, if something could.
    fn doubt(
        &self,
        asks: Doubt,
        scene: &Scene<'_, 'w>,
        pod: &'w Pod,
        isolated: bool,
        exempt: bool,
        declared: Declared,
    ) -> Option<Missing<'w>> {
        let others = self.set.unmodelled_in(&pod.name.namespace);
        let touching = others.filter(|other| other.only.is_none_or(|only| only == scene.direction)).find(|other| {
            let above = matches!(other.effect, Effect::Overrides | Effect::Restricts);
            if asks == if above { Doubt::BelowAdmin } else { Doubt::AboveAll } {
                return false;
            }
            match other.effect {
                Effect::Overrides => true,
                Effect::Restricts => declared == Declared::Allowed,
                Effect::Baseline => !isolated,
                Effect::Adds => !exempt && (!isolated || declared != Declared::Allowed),
            }
        });
        if let Some(other) = touching {
            return Some(Missing::Unmodelled(other));
        }
        let perhaps_own_node = asks != Doubt::BelowAdmin && scene.peer.is_node_of(pod).is_none();
        (declared == Declared::Denied && perhaps_own_node).then_some(Missing::SameNode(pod))
    }

    pub(super) fn rule_fits(
        &self,
        rule: &'w Rule,
        policy: &'w Policy,
        scene: &Scene<'_, 'w>,
        port: u16,
        protocol: Protocol,
    ) -> Fit<'w> {
        let (direct, block) = self.reach(&rule.peers, policy, scene);
        let Ports::Listed(ports) = &rule.ports else { return direct.or(block) };
        let mut fit = Fit::No;
        for item in ports.iter().filter(|item| item.protocol == protocol) {
            fit = fit.or(match &item.ports {
                PortMatch::All => direct.or(block),
                PortMatch::Range(from, to) if (*from..=*to).contains(&port) => direct.or(block),
                PortMatch::Range(..) => Fit::No,
                PortMatch::Named(name) if named(scene, name, protocol).any(|number| number == port) => {
                    direct.or(block.and(Fit::Unknown(Missing::NamedPortInBlock)))
                }
                PortMatch::Named(_) => Fit::No,
            });
        }
        fit
    }

    /// The ports that a rule admits for certain, and those it may admit. The two may overlap.
    fn rule_ports(&self, rule: &'w Rule, policy: &'w Policy, scene: &Scene<'_, 'w>) -> (PortSet, PortSet) {
        let (direct, block) = self.reach(&rule.peers, policy, scene);
        let (mut allowed, mut unknown) = (PortSet::none(), PortSet::none());
        let mut add = |fit: Fit<'w>, ports: &PortSet| match fit {
            Fit::Yes => allowed = allowed.union(ports),
            Fit::Unknown(_) => unknown = unknown.union(ports),
            Fit::No => {}
        };
        match &rule.ports {
            Ports::All => add(direct.or(block), &PortSet::all()),
            Ports::Listed(items) => {
                for item in items {
                    let numbers = match &item.ports {
                        PortMatch::All => Intervals::all(),
                        PortMatch::Range(from, to) => Intervals::range(*from, *to),
                        PortMatch::Named(name) => named(scene, name, item.protocol)
                            .fold(Intervals::none(), |set, port| set.union(&Intervals::range(port, port))),
                    };
                    let fit = match item.ports {
                        PortMatch::Named(_) => direct.or(block.and(Fit::Unknown(Missing::NamedPortInBlock))),
                        _ => direct.or(block),
                    };
                    add(fit, &PortSet::of(item.protocol, numbers));
                }
            }
        }
        (allowed, unknown)
    }

    /// Whether the other end is among a rule's peers: by being anybody or a selected pod, and by its address.
    fn reach(&self, peers: &'w Peers, policy: &'w Policy, scene: &Scene<'_, 'w>) -> (Fit<'w>, Fit<'w>) {
        let Peers::Listed(peers) = peers else { return (Fit::Yes, Fit::No) };
        let (mut direct, mut block) = (Fit::No, Fit::No);
        for peer in peers {
            let fit = self.peer_fits(peer, policy, scene);
            match peer.matches {
                PeerMatch::Pods { .. } => direct = direct.or(fit),
                PeerMatch::Block { .. } => block = block.or(fit),
            }
        }
        (direct, block)
    }

    /// Whether the other end is one peer of a rule.
    pub(super) fn peer_fits(&self, peer: &'w PolicyPeer, policy: &'w Policy, scene: &Scene<'_, 'w>) -> Fit<'w> {
        match &peer.matches {
            PeerMatch::Block { net, except } => self.in_block(*net, except, scene),
            PeerMatch::Pods { namespaces, pods } => {
                let Some(pod) = scene.peer.pod() else { return Fit::No };
                let namespace = match namespaces {
                    NamespaceMatch::Own => Fit::of(pod.name.namespace == policy.name.namespace),
                    NamespaceMatch::Selected(selector) => self.namespace_fits(selector, &pod.name.namespace),
                };
                Fit::of(pods.matches(&pod.labels)).and(namespace)
            }
        }
    }

    /// Whether the other end is meant by a net, as the dialect has it.
    pub(super) fn in_block(&self, net: IpNet, except: &[IpNet], scene: &Scene<'_, 'w>) -> Fit<'w> {
        match (self.dialect, scene.peer.kind) {
            (Dialect::Upstream, _) | (Dialect::Cilium, Kind::Outside) => block_fits(net, except, scene),
            (Dialect::Cilium, Kind::Pod(..) | Kind::Host(..)) => Fit::No,
        }
    }

    /// Labels of a namespace as far as they are known; `None` when only its name is.
    pub(super) fn namespace_labels(&self, name: &str) -> Option<&'w Labels> {
        fit::namespace_labels(self.world, name)
    }

    /// Whether a namespace is meant by a selector.
    pub(super) fn namespace_fits(&self, selector: &Selector, name: &'w str) -> Fit<'w> {
        fit::namespace_fits(self.world, selector, name)
    }

    fn explain(&self, side: Side<'w>, scene: Scene<'_, 'w>, port: u16, protocol: Protocol) -> SideAnswer {
        let isolated_by = match scene.own.pod() {
            Some(pod) if side.exempt.is_none() => {
                self.isolating(pod, scene.direction).map(|(policy, _)| explain::policy_ref(policy)).collect()
            }
            _ => Vec::new(),
        };
        let decided_by = side.rule.filter(|_| side.declared != Declared::Unknown).and_then(|rule| match rule {
            Decider::Network(policy, index) => explain::rule_ref(policy, scene.direction, index),
            Decider::Tier(ruled) => explain::tier_rule_ref(ruled, scene.direction),
        });
        let by_network_policies = side.declared == Declared::Denied && decided_by.is_none();
        let nearest = if by_network_policies { explain::nearest(self, &scene, port, protocol) } else { None };
        SideAnswer {
            declared: side.declared,
            isolated_by,
            decided_by,
            exempt: side.exempt,
            missing: side.missing.map(|missing| missing.to_string()),
            nearest,
        }
    }
}

/// Verdicts that something could turn, made unknown.
fn blurred(mut traffic: Traffic, doubtful: impl Fn(Declared) -> bool) -> Traffic {
    let denied = PortSet::all().minus(&traffic.possible());
    if doubtful(Declared::Denied) {
        traffic.unknown = traffic.unknown.union(&denied);
    }
    if doubtful(Declared::Allowed) {
        traffic = Traffic { unknown: traffic.possible(), allowed: PortSet::none() };
    }
    traffic.unknown = traffic.unknown.minus(&traffic.allowed);
    traffic
}

/// The pod whose policies are asked, and whether it is exempt all the same; `Err` when no policy of any kind applies.
fn exemption<'w>(scene: &Scene<'_, 'w>) -> Result<(&'w Pod, Option<Exemption>), Exemption> {
    let (id, pod) = match scene.own.kind {
        Kind::Pod(id, pod) => (id, pod),
        Kind::Host(_, Some(_)) => return Err(Exemption::HostNetwork),
        Kind::Host(_, None) | Kind::Outside => return Err(Exemption::NoPod),
    };
    // A template stands for several pods, and one replica is not another.
    if matches!(scene.peer.kind, Kind::Pod(other, _) if other == id) && !pod.template {
        return Err(Exemption::SelfTraffic);
    }
    let own_node = scene.peer.is_node_of(pod) == Some(true);
    Ok((pod, own_node.then_some(Exemption::OwnNode)))
}

fn no_family(from: &Party<'_>, to: &Party<'_>) -> String {
    format!("{from} and {to} share no address family")
}

fn no_address(pair: &Pair<'_>) -> String {
    let without = if pair.from.addresses.is_empty() { &pair.from } else { &pair.to };
    format!("{without} has no address yet, and the verdict depends on whether it will be IPv4 or IPv6")
}
