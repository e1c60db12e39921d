//! Everything that was looked at before the verdict: each policy and each rule at both ends, and why it admits or not.

use super::{namespace_miss, one_peer_miss, policy_ref, port_miss, rule_ref, tier_rule_ref};
use crate::policy::Declared;
use crate::policy::Family;
use crate::policy::answer::{Answer, PolicyRef, RuleRef, SideAnswer};
use crate::policy::eval::Engine;
use crate::policy::fit::{Fit, Scene};
use crate::policy::model::{Direction, NamespaceMatch, PeerMatch, Peers, Policy, PolicyPeer, PortMatch, Ports, Rule};
use crate::policy::party::{End, Kind};
use crate::policy::tiers::{TierPolicy, TierRule};
use crate::world::labels::{NAMESPACE_NAME, Selector, Test};
use crate::world::{Labels, ObjectName, Pod, Protocol};

/// An answer with everything that led to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The verdict, as [`Engine::verdict`] gives it.
    pub answer: Answer,
    /// The family that decides and that the rules below were tried in; `None` when there is none to judge in.
    pub family: Option<Family>,
    /// What was looked at for the source.
    pub egress: Considered,
    /// What was looked at for the destination.
    pub ingress: Considered,
}

/// What was looked at for one end. Empty when no policy is asked there (`SideAnswer::exempt`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Considered {
    /// The cluster-wide policies that apply to it and have rules for this direction, in the order in which they are asked. `Fits` means: it matches.
    pub tiers: Vec<ConsideredPolicy>,
    /// The policies that isolate it in this direction, in source order, with all their rules.
    pub policies: Vec<ConsideredPolicy>,
    /// The other policies of its namespace, in source order.
    pub passed_over: Vec<PassedOver>,
    /// When denied: what would make the nearest rule admit, as "would match if ...".
    pub would_match: Option<String>,
}

/// A policy that has a say about an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsideredPolicy {
    /// The policy.
    pub policy: PolicyRef,
    /// Who put it there ([`Policy::owner`]).
    pub owner: Option<String>,
    /// Its rules in this direction. None: it isolates and admits nothing.
    pub rules: Vec<ConsideredRule>,
}

/// A rule, and whether it admits the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsideredRule {
    /// The rule.
    pub rule: RuleRef,
    /// Whether it admits.
    pub fits: Fits,
    /// What it admits, which fact is missing, or what it wants instead.
    pub why: String,
}

/// Whether a rule admits a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fits {
    /// It admits.
    Yes,
    /// It does not.
    No,
    /// A fact is missing.
    Unknown,
}

impl Fits {
    /// The word used everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Unknown => "unknown",
        }
    }
}

/// A policy of the end's namespace that has no say, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOver {
    /// The policy.
    pub policy: PolicyRef,
    /// Why it has no say, as the rest of "X ...".
    pub why: String,
}

impl<'w> Engine<'w> {
    /// The verdict on one new connection to a pod port (1 to 65535), with every policy and rule that was looked at.
    pub fn explain_all(&self, from: End, to: End, port: u16, protocol: Protocol) -> Explanation {
        let answer = self.verdict(from, to, port, protocol);
        let worst = answer.by_family.iter().fold(Declared::Allowed, |worst, (_, declared)| worst.and(*declared));
        let family = answer.by_family.iter().find(|(_, declared)| *declared == worst).map(|(family, _)| *family);
        let (mut egress, mut ingress) = (Considered::default(), Considered::default());
        if let (Ok(pair), Some(family)) = (self.pair(from, to), family) {
            if answer.egress.exempt.is_none() {
                egress = self.consider(&pair.egress(family), port, protocol);
            }
            if answer.ingress.exempt.is_none() {
                ingress = self.consider(&pair.ingress(family), port, protocol);
            }
            let near = |side: &SideAnswer, scene: Scene<'_, 'w>| {
                side.nearest.as_ref().and_then(|miss| would(self, &scene, &miss.rule, port, protocol))
            };
            egress.would_match = near(&answer.egress, pair.egress(family));
            ingress.would_match = near(&answer.ingress, pair.ingress(family));
        }
        Explanation { answer, family, egress, ingress }
    }

    fn consider(&self, scene: &Scene<'_, 'w>, port: u16, protocol: Protocol) -> Considered {
        let mut considered = Considered::default();
        let Some(pod) = scene.own.pod() else { return considered };
        for policy in &self.policies().tiers {
            self.consider_tier(policy, pod, scene, (port, protocol), &mut considered);
        }
        for policy in self.policies().in_namespace(&pod.name.namespace) {
            let unmet = policy.pod_selector.unmet(&pod.labels);
            let why = match policy.rules(scene.direction) {
                Some(rules) if unmet.is_empty() => {
                    let one = |(index, rule)| self.considered_rule(policy, index, rule, scene, port, protocol);
                    considered.policies.push(ConsideredPolicy {
                        policy: policy_ref(policy),
                        owner: policy.owner(),
                        rules: rules.iter().enumerate().filter_map(one).collect(),
                    });
                    continue;
                }
                _ if !unmet.is_empty() => format!("does not select it: {} {}", pod.name, unmet.join(", ")),
                _ => format!("says nothing about {}", scene.direction),
            };
            considered.passed_over.push(PassedOver { policy: policy_ref(policy), why });
        }
        considered
    }

    fn consider_tier(
        &self,
        policy: &'w TierPolicy,
        pod: &'w Pod,
        scene: &Scene<'_, 'w>,
        asked: (u16, Protocol),
        considered: &mut Considered,
    ) {
        let tier = policy.tier.as_str();
        let rules = policy.rules(scene.direction);
        let name = ObjectName::new("", &policy.name);
        let reference = PolicyRef { kind: policy.kind, name, place: policy.place.clone() };
        let passed = if matches!(self.applies(policy, pod), Fit::No) {
            Some(format!("does not apply to it ({tier} tier)"))
        } else {
            rules.is_empty().then(|| format!("says nothing about {} ({tier} tier)", scene.direction))
        };
        if let Some(why) = passed {
            return considered.passed_over.push(PassedOver { policy: reference, why });
        }
        let one = |(index, rule): (usize, &'w TierRule)| {
            let (fit, meets) = self.tier_rule_fits(policy, rule, scene, pod, asked);
            let action = rule.action.as_str();
            let (fits, why) = match fit {
                Fit::Yes => (Fits::Yes, format!("{action} ({tier} tier) matches")),
                Fit::Unknown(missing) => (Fits::Unknown, format!("{action} ({tier} tier): {missing}")),
                Fit::No if meets => (Fits::No, format!("{action} ({tier} tier): other port")),
                Fit::No => (Fits::No, format!("{action} ({tier} tier): other peer")),
            };
            Some(ConsideredRule { rule: tier_rule_ref((policy, index), scene.direction)?, fits, why })
        };
        let rules = rules.iter().enumerate().filter_map(one).collect();
        considered.tiers.push(ConsideredPolicy { policy: reference, owner: None, rules });
    }

    fn considered_rule(
        &self,
        policy: &'w Policy,
        index: usize,
        rule: &'w Rule,
        scene: &Scene<'_, 'w>,
        port: u16,
        protocol: Protocol,
    ) -> Option<ConsideredRule> {
        let (fits, why) = match self.rule_fits(rule, policy, scene, port, protocol) {
            Fit::Yes => (Fits::Yes, format!("admits {}", admits(rule, policy, scene.direction))),
            Fit::Unknown(missing) => (Fits::Unknown, missing.to_string()),
            Fit::No => (Fits::No, wants(self, rule, policy, scene, port, protocol)),
        };
        Some(ConsideredRule { rule: rule_ref(policy, scene.direction, index)?, fits, why })
    }
}

/// What a rule wants and the connection is not: short, because the reader sees many of these below each other.
fn wants<'w>(
    engine: &Engine<'w>,
    rule: &'w Rule,
    policy: &'w Policy,
    scene: &Scene<'_, 'w>,
    port: u16,
    protocol: Protocol,
) -> String {
    let peers: Vec<&'w PolicyPeer> = match &rule.peers {
        Peers::Listed(peers) if !peers.iter().any(|peer| engine.peer_fits(peer, policy, scene).is_yes()) => {
            peers.iter().collect()
        }
        _ => Vec::new(),
    };
    let nearest = peers.iter().min_by_key(|peer| one_peer_miss(engine, peer, policy, scene).0);
    let more = peers.len().saturating_sub(1);
    let peer = nearest.map(|peer| {
        let others = if more > 0 { format!(" (or {more} more)") } else { String::new() };
        format!("{}{others}", wanted_peer(engine, peer, policy, scene))
    });
    let ports = port_miss(rule, scene, port, protocol).map(|_| format!("other port: wants {}", port_list(&rule.ports)));
    // With a wrong peer the port is beside the point: whoever widens the rule by port alone would change nothing.
    peer.or(ports).unwrap_or_else(|| "does not fit".to_owned())
}

fn wanted_peer(engine: &Engine<'_>, peer: &PolicyPeer, policy: &Policy, scene: &Scene<'_, '_>) -> String {
    let (PeerMatch::Pods { namespaces, pods }, Kind::Pod(_, pod)) = (&peer.matches, scene.peer.kind) else {
        return match &peer.matches {
            PeerMatch::Block { net, .. } => format!("other address: wants {net}"),
            PeerMatch::Pods { .. } => format!("no pod: wants {}", peer_text(peer, policy)),
        };
    };
    if namespace_miss(engine, namespaces, policy, pod).is_empty() {
        return format!("other pods: wants {}", spaced(pods));
    }
    match namespaces {
        NamespaceMatch::Own => format!("other namespace: wants {}", policy.name.namespace),
        NamespaceMatch::Selected(selector) => format!("other namespace: wants {}", spaced(selector)),
    }
}

/// What a rule admits, in words.
fn admits(rule: &Rule, policy: &Policy, direction: Direction) -> String {
    let peers = match &rule.peers {
        Peers::Any => "anybody".to_owned(),
        Peers::Listed(peers) => peers.iter().map(|peer| peer_text(peer, policy)).collect::<Vec<_>>().join(" or "),
    };
    let word = match direction {
        Direction::Ingress => "from",
        Direction::Egress => "to",
    };
    format!("{} {word} {peers}", port_list(&rule.ports))
}

fn peer_text(peer: &PolicyPeer, policy: &Policy) -> String {
    match &peer.matches {
        PeerMatch::Block { net, except } if except.is_empty() => net.to_string(),
        PeerMatch::Block { net, except } => format!("{net} but {} ranges", except.len()),
        PeerMatch::Pods { namespaces, pods } => {
            let pods = if pods.is_everything() { "pods".to_owned() } else { format!("pods {}", spaced(pods)) };
            match namespaces {
                NamespaceMatch::Own => format!("{pods} of {}", policy.name.namespace),
                NamespaceMatch::Selected(selector) if selector.is_everything() => format!("{pods} of any namespace"),
                NamespaceMatch::Selected(selector) => match selector.match_labels.get(NAMESPACE_NAME) {
                    Some(name) if *selector == Selector::namespace(name) => format!("{pods} of {name}"),
                    _ => format!("{pods} of namespaces {}", spaced(selector)),
                },
            }
        }
    }
}

/// A selector whose text may be broken between two lines.
fn spaced(selector: &Selector) -> String {
    selector.to_string().replace(',', ", ")
}

fn port_list(ports: &Ports) -> String {
    let Ports::Listed(items) = ports else { return "every port".to_owned() };
    let texts: Vec<String> = items
        .iter()
        .map(|item| match &item.ports {
            PortMatch::All => format!("any {} port", item.protocol),
            PortMatch::Range(from, to) if from == to => format!("{from}/{}", item.protocol),
            PortMatch::Range(from, to) => format!("{from}-{to}/{}", item.protocol),
            PortMatch::Named(name) => format!("`{name}`/{}", item.protocol),
        })
        .collect();
    texts.join(", ")
}

/// What would have to be otherwise for a rule to admit.
fn would<'w>(
    engine: &Engine<'w>,
    scene: &Scene<'_, 'w>,
    nearest: &RuleRef,
    port: u16,
    protocol: Protocol,
) -> Option<String> {
    let same = |policy: &&'w Policy| policy.name == nearest.policy.name && policy.place == nearest.policy.place;
    let policy = engine.policies().in_namespace(&nearest.policy.name.namespace).find(same)?;
    let rule = policy.rules(nearest.direction)?.get(nearest.index)?;
    let mut conditions = Vec::new();
    if let Peers::Listed(peers) = &rule.peers
        && !peers.iter().any(|peer| engine.peer_fits(peer, policy, scene).is_yes())
    {
        let peer = peers.iter().min_by_key(|peer| one_peer_miss(engine, peer, policy, scene).0)?;
        conditions = peer_conditions(engine, peer, policy, scene);
    }
    if port_miss(rule, scene, port, protocol).is_some() {
        conditions.push(format!("the port were {}", port_list(&rule.ports)));
    }
    (!conditions.is_empty()).then(|| format!("would match if {}", conditions.join(", and ")))
}

fn peer_conditions(engine: &Engine<'_>, peer: &PolicyPeer, policy: &Policy, scene: &Scene<'_, '_>) -> Vec<String> {
    match (&peer.matches, scene.peer.kind) {
        (PeerMatch::Pods { namespaces, pods }, Kind::Pod(_, pod)) => {
            let name = &pod.name.namespace;
            let mut conditions = match namespaces {
                NamespaceMatch::Own if *name == policy.name.namespace => Vec::new(),
                NamespaceMatch::Own => vec![format!("{} were in namespace {}", pod.name, policy.name.namespace)],
                NamespaceMatch::Selected(selector) => {
                    let mut labels = engine.namespace_labels(name).cloned().unwrap_or_default();
                    labels.insert(NAMESPACE_NAME.to_owned(), name.clone());
                    lacking(selector, &labels, &format!("namespace {name}"), &pod.name.to_string())
                }
            };
            conditions.extend(lacking(pods, &pod.labels, &format!("pod {}", pod.name), ""));
            conditions
        }
        (PeerMatch::Pods { .. }, Kind::Host(..)) => {
            vec![format!("{} were not in its node's network, where no selector reaches it", scene.peer)]
        }
        (PeerMatch::Pods { .. }, Kind::Outside) => vec![format!("{} were a pod's address", scene.peer)],
        (PeerMatch::Block { net, except }, _) if except.is_empty() => vec![format!("{} were in {net}", scene.peer)],
        (PeerMatch::Block { net, .. }, _) => {
            vec![format!("{} were in {net} and in none of the ranges that are excepted from it", scene.peer)]
        }
    }
}

/// What a selector asks of an object that it does not select. The automatic label of a namespace cannot be changed: only another namespace has it.
fn lacking(selector: &Selector, labels: &Labels, object: &str, pod: &str) -> Vec<String> {
    let plain = selector.match_labels.iter().filter(|(key, want)| labels.get(*key) != Some(want));
    let plain = plain.map(|(key, want)| match key.as_str() {
        NAMESPACE_NAME => format!("{pod} were in namespace {want}"),
        _ => format!("{object} had label {key}={want}"),
    });
    let missed = selector.expressions.iter().filter(|r| !r.test.holds(labels.get(&r.key).map(String::as_str)));
    let expressions = missed.map(|requirement| match &requirement.test {
        Test::In(_) => format!("{object} had a label `{requirement}`"),
        Test::Exists => format!("{object} had label {}", requirement.key),
        Test::NotIn(_) => format!("{object} did not have that value of label {}", requirement.key),
        Test::DoesNotExist => format!("{object} did not have label {}", requirement.key),
    });
    plain.chain(expressions).collect()
}
