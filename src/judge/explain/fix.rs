//! The smallest change after which a pair is allowed: one rule at each end that denies it, tried on a copy of the policies before it is shown.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Value, json};

use super::{Question, Sources};
use crate::judge::Declared;
use crate::matrix::resolve::selector_of;
use crate::matrix::{Edge, Exchange, Expect, Party, Peer, PeerKind, ResolvedEdge, Subject};
use crate::policy::{Direction, End, Engine, Explanation, Policy, PolicyRef, PolicySet, RuleRef};
use crate::policy::{manifest, render};
use crate::source::emit;
use crate::world::labels::{is_dns_subdomain, matches_all};
use crate::world::{Phase, Pod, PodId, Protocol};

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fix {
    /// The direction, seen from the pods whose policies deny.
    pub direction: Direction,
    /// Where to put it.
    pub way: Way,
    /// What to put there; empty where something is to be taken out.
    pub yaml: String,
}

/// Where a change goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// Into the spec of a policy that selects nothing but this end's workload.
    AddTo(PolicyRef),
    /// A policy of its own, because those that isolate this end select other workloads too.
    Apply {
        /// The pods it is for.
        pods: String,
        /// Pods that no policy isolates in this direction today, and this one would.
        isolates: Vec<String>,
    },
    /// Out of a policy.
    TakeOut(RuleRef),
}

impl Fix {
    /// What to do, without the YAML.
    pub fn says(&self) -> String {
        let direction = self.direction;
        match &self.way {
            Way::AddTo(policy) => format!("add to the spec of {} ({})", policy.name, policy.place),
            Way::Apply { pods, isolates } if isolates.is_empty() => {
                format!(
                    "apply beside the policies of {pods}; they are isolated for {direction} already, so nothing else stops"
                )
            }
            Way::Apply { pods, isolates } => format!(
                "apply beside the policies of {pods}; careful: it also isolates {}, which nothing isolates for {direction} today",
                isolates.join(", ")
            ),
            Way::TakeOut(rule) => {
                format!("take it out of {}[{}] of {} ({})", rule.direction, rule.index, rule.policy.name, rule.place)
            }
        }
    }
}

/// What fixes are made from.
pub(super) struct Context<'e> {
    pub(super) sources: Sources<'e>,
    /// The edge that is explained, if one is.
    pub(super) edge: Option<&'e ResolvedEdge>,
    /// Else the question.
    pub(super) asked: Option<&'e Question>,
}

/// Rules at the ends that deny a pair. `Err` says why there is none.
pub(super) fn open(
    context: &Context<'_>,
    from: End,
    to: End,
    port: u16,
    protocol: Protocol,
) -> Result<Vec<Fix>, String> {
    let engine = context.sources.engine;
    let answer = engine.verdict(from, to, port, protocol);
    let mut set = engine.policies().clone();
    let mut fixes = Vec::new();
    for (direction, side, own, other) in
        [(Direction::Egress, &answer.egress, from, to), (Direction::Ingress, &answer.ingress, to, from)]
    {
        let (Declared::Denied, End::Pod(own)) = (side.declared, own) else { continue };
        let change = Change { context, own, other, direction, port, protocol };
        let rules = change.rules().ok_or_else(|| change.cannot())?;
        set = with(&set, &change.policy(&format!("portreeve-trial-{direction}"), &rules))?;
        let nearest = side.nearest.as_ref().map(|miss| &miss.rule.policy);
        fixes.push(change.fix(nearest.into_iter().chain(&side.isolated_by), &rules));
    }
    let after = Engine::new(engine.world(), &set).with_dialect(engine.dialect()).verdict(from, to, port, protocol);
    if after.declared == Declared::Allowed {
        Ok(fixes)
    } else {
        Err(format!("no single rule at an end opens it: with one it is {}", after.sentence()))
    }
}

/// What admits a pair that must be closed.
pub(super) fn close(explanation: Option<&Explanation>) -> Result<Vec<Fix>, String> {
    let answer = explanation.map(|explanation| &explanation.answer);
    let rule = answer.and_then(|answer| answer.ingress.decided_by.clone().or_else(|| answer.egress.decided_by.clone()));
    match rule {
        Some(rule) => Ok(vec![Fix { direction: rule.direction, way: Way::TakeOut(rule), yaml: String::new() }]),
        None => Err("no policy isolates these pods: `portreeve render` writes one".to_owned()),
    }
}

/// The policies after a manifest was applied beside them.
fn with(set: &PolicySet, policy: &Value) -> Result<PolicySet, String> {
    let refused = "a rule for it cannot be written: its labels are none that the API server would take";
    Ok(set.with(manifest::read(policy, "fix").ok_or(refused)?))
}

/// One end that denies, and what it should admit.
struct Change<'c, 'e> {
    context: &'c Context<'e>,
    own: PodId,
    other: End,
    direction: Direction,
    port: u16,
    protocol: Protocol,
}

impl<'e> Change<'_, 'e> {
    fn pod(&self) -> &'e Pod {
        self.context.sources.world().pod(self.own)
    }

    /// The end that denies, as the subject of a policy.
    fn subject(&self) -> Subject {
        match self.of_subject() {
            Some(subject) => subject.clone(),
            None => Subject {
                namespace: self.pod().name.namespace.clone(),
                selector: selector_of(self.pod()),
                pods: vec![self.own],
            },
        }
    }

    fn of_subject(&self) -> Option<&'e Subject> {
        self.context.sources.subject().filter(|subject| subject.pods.contains(&self.own))
    }

    /// The rules to add, as the API takes them.
    fn rules(&self) -> Option<Vec<Value>> {
        let subject = self.subject();
        if subject.selector.is_empty() {
            return None;
        }
        let whole = self.context.edge.filter(|_| self.of_subject().is_some());
        let rules =
            whole.map(|edge| render::rules_of(&subject, edge, self.direction)).filter(|rules| !rules.is_empty());
        let rules = match rules {
            Some(rules) => rules,
            None => render::rules_of(&subject, &self.pair(&subject)?, self.direction),
        };
        (!rules.is_empty()).then_some(rules)
    }

    /// Exactly this pair and port, as an edge of its own.
    fn pair(&self, subject: &Subject) -> Option<ResolvedEdge> {
        let peer = |kind, ports| Peer { kind, ports, service: None, by_default: false };
        let here = PeerKind::Pods {
            namespace: subject.namespace.clone(),
            selector: subject.selector.clone(),
            pods: subject.pods.clone(),
        };
        let (there, port) = (self.other_kind()?, vec![self.port]);
        let (from, to) = match self.direction {
            Direction::Egress => (peer(here, Vec::new()), peer(there, port)),
            Direction::Ingress => (peer(there, Vec::new()), peer(here, port)),
        };
        let edge = Edge {
            name: "explained".to_owned(),
            from: Vec::new(),
            to: Vec::new(),
            protocol: self.protocol,
            expect: Expect::Allow,
            tier: 2,
            breaks: String::new(),
            provenance: Vec::new(),
            exchange: Exchange::Tcp,
        };
        Some(ResolvedEdge { edge, from: vec![from], to: vec![to] })
    }

    /// How a rule names the other end; a pod by what its successors will carry too.
    fn other_kind(&self) -> Option<PeerKind> {
        let world = self.context.sources.world();
        let blocks = |addresses: Vec<IpAddr>| {
            let nets: Vec<IpNet> = addresses.into_iter().map(IpNet::from).collect();
            (!nets.is_empty()).then_some(PeerKind::Blocks { nets, except: Vec::new(), host: None })
        };
        match self.other {
            End::Address(address) => match self.other_party() {
                // One address of it stands for the whole range.
                Some(Party::Block(net)) => Some(PeerKind::Blocks { nets: vec![*net], except: Vec::new(), host: None }),
                Some(Party::World) => None,
                _ => blocks(vec![address]),
            },
            End::Pod(id) => {
                let pod = world.pod(id);
                if pod.host_network {
                    let node = pod.node.as_ref().and_then(|node| world.nodes.get(node));
                    return blocks(node.map_or_else(|| pod.addresses.clone(), |node| node.addresses.clone()));
                }
                let selector = selector_of(pod);
                let namespace = pod.name.namespace.clone();
                (!selector.is_empty()).then(|| PeerKind::Pods { namespace, selector, pods: vec![id] })
            }
        }
    }

    fn other_party(&self) -> Option<&'e Party> {
        self.context.asked.map(|asked| match self.direction {
            Direction::Egress => &asked.to,
            Direction::Ingress => &asked.from,
        })
    }

    fn cannot(&self) -> String {
        if self.other_party() == Some(&Party::World) {
            return "no fix is proposed that opens the whole world: ask for an address or a CIDR".to_owned();
        }
        let other = match self.other {
            End::Pod(id) => self.context.sources.world().pod(id).name.to_string(),
            End::Address(address) => address.to_string(),
        };
        format!(
            "no rule can be written for {} and {other}: one of them has no label of its own, or no known address",
            self.pod().name
        )
    }

    fn policy(&self, name: &str, rules: &[Value]) -> Value {
        let subject = self.subject();
        let (policy_type, key) = match self.direction {
            Direction::Ingress => ("Ingress", "ingress"),
            Direction::Egress => ("Egress", "egress"),
        };
        json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": { "name": name, "namespace": subject.namespace },
            "spec": {
                "podSelector": { "matchLabels": subject.selector },
                "policyTypes": [policy_type],
                key: rules,
            },
        })
    }

    /// Into the nearest policy that is this workload's own, else a policy beside the others: widening one that selects more would open more than this pair.
    fn fix<'p>(&self, mut isolating: impl Iterator<Item = &'p PolicyRef>, rules: &[Value]) -> Fix {
        let direction = self.direction;
        if let Some(policy) = isolating.find(|policy| self.is_own(policy)) {
            let yaml = emit::to_yaml(&json!({ direction.to_string(): rules }));
            return Fix { direction, way: Way::AddTo(policy.clone()), yaml };
        }
        if let Some(yaml) = self.proposal() {
            return Fix { direction, way: self.apply(), yaml };
        }
        let yaml = emit::to_yaml(&self.policy(&self.new_name(), rules));
        Fix { direction, way: self.apply(), yaml }
    }

    /// The proposal that `render --counterparts` writes for a peer of the edge.
    fn proposal(&self) -> Option<String> {
        let (edge, subject) = (self.context.edge?, self.context.sources.subject()?);
        let fits = |proposal: &render::Counterpart| {
            proposal.direction == self.direction
                && proposal.namespace == self.pod().name.namespace
                && matches_all(&proposal.selector, &self.pod().labels)
        };
        let mut proposals = render::proposals(subject, edge, self.context.sources.name).into_iter();
        proposals.find(fits).map(|proposal| proposal.yaml)
    }

    fn apply(&self) -> Way {
        let subject = self.subject();
        let engine = self.context.sources.engine;
        let already = |pod: &Pod| {
            let mut policies = engine.policies().in_namespace(&pod.name.namespace);
            policies.any(|policy| policy.selects(pod) && policy.rules(self.direction).is_some())
        };
        let selected = self.neighbours().filter(|(_, pod)| matches_all(&subject.selector, &pod.labels));
        let isolates =
            selected.filter(|(_, neighbour)| !already(neighbour)).map(|(_, pod)| pod.name.to_string()).collect();
        let labels: Vec<String> = subject.selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
        Way::Apply { pods: format!("pods {} of {}", labels.join(", "), subject.namespace), isolates }
    }

    /// The live pods of the namespace that policies reach.
    fn neighbours(&self) -> impl Iterator<Item = (PodId, &'e Pod)> {
        let (world, namespace) = (self.context.sources.world(), &self.pod().name.namespace);
        world
            .pods()
            .filter(move |(_, pod)| pod.phase == Phase::Live && !pod.host_network && pod.name.namespace == *namespace)
    }

    /// Whether a policy is for this end's workload alone, today and tomorrow.
    fn is_own(&self, policy: &PolicyRef) -> bool {
        let found = |found: &&Policy| found.name == policy.name && found.place == policy.place;
        let set = self.context.sources.engine.policies();
        let Some(policy) = set.in_namespace(&policy.name.namespace).find(found) else { return false };
        let subject = self.subject();
        let own = |(id, pod): (PodId, &Pod)| {
            subject.pods.contains(&id)
                || (pod.workload.is_some() && pod.workload == self.pod().workload)
                || matches_all(&subject.selector, &pod.labels)
        };
        !policy.pod_selector.is_everything() && self.neighbours().filter(|(_, pod)| policy.selects(pod)).all(own)
    }

    /// `allow-from-mas-5432`, as far as names of objects go.
    fn new_name(&self) -> String {
        let word = match self.direction {
            Direction::Ingress => "from",
            Direction::Egress => "to",
        };
        let other = match self.other {
            End::Address(address) => address.to_string().replace([':', '.'], "-"),
            End::Pod(id) => {
                let pod = self.context.sources.world().pod(id);
                pod.workload.as_ref().map_or_else(|| pod.name.name.clone(), |workload| workload.name.clone())
            }
        };
        let other: String = other.chars().take(100).collect();
        let name = format!("allow-{word}-{}-{}", other.trim_matches(['-', '.']), self.port);
        if is_dns_subdomain(&name) { name } else { format!("allow-{}", self.port) }
    }
}
