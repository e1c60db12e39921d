//! The tiers in the naive oracle: rule by rule, from the text of ClusterNetworkPolicy v1alpha2, for one fully known connection.
//!
//! Where the text leaves something open, the oracle is asked for every choice: a verdict of the engine must hold in all of them.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::cases;
use super::clusters::{NUMBERS, namespace_selector, selector, some_end, some_world, spec};
use super::oracle::{Ask, Known, Net, Selector, compare, inside, selects};
use super::read;
use crate::policy::Declared;
use crate::policy::{Dialect, Engine};
use crate::world::{Pod, Protocol};

#[derive(Debug, Clone)]
pub(super) struct Spec {
    kind: &'static str,
    admin: bool,
    priority: u16,
    subject: (Selector, Option<Selector>),
    ingress: Vec<Rule>,
    egress: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    action: &'static str,
    peers: Vec<Peer>,
    ports: Option<Vec<Port>>,
}

#[derive(Debug, Clone)]
enum Peer {
    Pods(Selector, Option<Selector>),
    Nodes(Selector),
    Networks(Vec<Net>),
    /// A field from the future.
    Strange,
}

#[derive(Debug, Clone)]
enum Port {
    Range(Protocol, u16, u16),
    Named(&'static str),
}

/// One way to take the open points.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Choice {
    /// Which of the policies of equal priority comes first at the source, and at the destination ("can apply any of the matching policies").
    turns: [usize; 2],
    /// A pod and its own node reach each other whatever a tier denies.
    pub(super) own_node_wins: bool,
    /// "Deny all" keeps the ports of its rule.
    keeps_ports: bool,
    /// Which of several container ports of one name is meant.
    named: usize,
}

/// A rule whose ports are an open point: a port's name that a pod may have twice, or a rule that fails closed.
pub(super) fn has_open_ports(tiers: &[Spec]) -> bool {
    let mut rules = tiers.iter().flat_map(|spec| spec.ingress.iter().chain(&spec.egress));
    rules.any(|rule| {
        rule.peers.iter().any(|peer| matches!(peer, Peer::Strange))
            || rule.ports.iter().flatten().any(|port| matches!(port, Port::Named(_)))
    })
}

pub(super) fn choices(tiers: &[Spec], pods: &[Pod]) -> Vec<Choice> {
    let rules = || tiers.iter().flat_map(|spec| spec.ingress.iter().chain(&spec.egress));
    let strange = rules().any(|rule| rule.peers.iter().any(|peer| matches!(peer, Peer::Strange)));
    let named = rules().any(|rule| rule.ports.iter().flatten().any(|port| matches!(port, Port::Named(_))));
    let most = if named { pods.iter().map(|pod| pod.ports.len()).max().unwrap_or(0).max(1) } else { 1 };
    let flags = |more: bool| if more { &[false, true][..] } else { &[false] };
    let mut choices = Vec::new();
    let count = tiers.len().max(1);
    for turns in (0..count * count).map(|turn| [turn / count, turn % count]) {
        for &own_node_wins in flags(!tiers.is_empty()) {
            for &keeps_ports in flags(strange) {
                choices.extend((0..most).map(|named| Choice { turns, own_node_wins, keeps_ports, named }));
            }
        }
    }
    choices
}

// --- the oracle -------------------------------------------------------------------------------------------------------------------------

/// What a tier decides; `None` when it decides nothing.
pub(super) fn decision(tiers: &[Spec], admin: bool, ask: Ask<'_>, ingress: bool) -> Option<bool> {
    // Nothing orders a BaselineAdminNetworkPolicy among others: with one there, any policy of the tier may come first.
    let unordered = !admin && tiers.iter().any(|spec| spec.kind == "BaselineAdminNetworkPolicy");
    let mut of_tier: Vec<(u16, usize, &Spec)> = Vec::new();
    for (index, spec) in tiers.iter().enumerate().filter(|(_, spec)| spec.admin == admin) {
        let priority = if unordered { 0 } else { spec.priority };
        let turn = ask.choice.turns[usize::from(ingress)];
        of_tier.push((priority, (index + turn) % tiers.len(), spec));
    }
    of_tier.sort_by_key(|(priority, turn, _)| (*priority, *turn));
    let (own, peer) = if ingress { (ask.to, ask.from) } else { (ask.from, ask.to) };
    for (_, _, spec) in of_tier {
        if !pod_fits(&spec.subject, own) {
            continue;
        }
        for rule in if ingress { &spec.ingress } else { &spec.egress } {
            let strange = rule.peers.iter().any(|peer| matches!(peer, Peer::Strange));
            let by_ports = rule.ports.as_ref().is_none_or(|ports| ports.iter().any(|port| port_fits(port, ask)));
            if strange {
                // "For Accept rules: treat the rule as matching no traffic. For Deny and Pass rules: treat the rule as a 'Deny all' rule."
                if rule.action != "Accept" && (by_ports || !ask.choice.keeps_ports) {
                    return Some(false);
                }
                continue;
            }
            if by_ports && rule.peers.iter().any(|item| peer_fits(item, peer, ask)) {
                match rule.action {
                    "Accept" => return Some(true),
                    "Deny" => return Some(false),
                    _ => return None,
                }
            }
        }
    }
    None
}

fn pod_fits((namespaces, pods): &(Selector, Option<Selector>), known: &Known) -> bool {
    let Some((_, namespace_labels, labels)) = &known.pod else { return false };
    !known.host && selects(namespaces, namespace_labels) && pods.as_ref().is_none_or(|pods| selects(pods, labels))
}

fn peer_fits(peer: &Peer, other: &Known, ask: Ask<'_>) -> bool {
    match peer {
        Peer::Pods(namespaces, pods) => pod_fits(&(namespaces.clone(), pods.clone()), other),
        Peer::Nodes(selector) => other.host && selects(selector, &other.node_labels),
        Peer::Networks(nets) => {
            let mut by_net = other.by_net(ask);
            by_net.any(|address| nets.iter().any(|net| inside(*net, *address)))
        }
        Peer::Strange => false,
    }
}

fn port_fits(port: &Port, ask: Ask<'_>) -> bool {
    match port {
        Port::Range(protocol, from, to) => *protocol == ask.protocol && *from <= ask.port && ask.port <= *to,
        Port::Named(name) => {
            if ask.to.pod.is_none() || ask.to.host {
                return false;
            }
            let mut named: Vec<(u16, Protocol)> = Vec::new();
            for port in ask.to.ports.iter().filter(|port| port.name.as_deref() == Some(name)) {
                if !named.contains(&(port.number, port.protocol)) {
                    named.push((port.number, port.protocol));
                }
            }
            !named.is_empty() && named[ask.choice.named % named.len()] == (ask.port, ask.protocol)
        }
    }
}

// --- as JSON, for the engine ------------------------------------------------------------------------------------------------------------

fn pods_json((namespaces, pods): (&Selector, Option<&Selector>)) -> Value {
    match pods {
        None => json!({"namespaces": namespaces.json()}),
        Some(pods) => json!({"pods": {"namespaceSelector": namespaces.json(), "podSelector": pods.json()}}),
    }
}

impl Spec {
    fn is_new(&self) -> bool {
        self.kind == "ClusterNetworkPolicy"
    }

    pub(super) fn json(&self, index: usize) -> Value {
        let version = if self.is_new() { "v1alpha2" } else { "v1alpha1" };
        let rules = |rules: &[Rule], key: &str| rules.iter().map(|rule| self.rule_json(rule, key)).collect::<Vec<_>>();
        let mut spec = json!({
            "subject": pods_json((&self.subject.0, self.subject.1.as_ref())),
            "ingress": rules(&self.ingress, "from"),
            "egress": rules(&self.egress, "to"),
        });
        if self.is_new() {
            spec["tier"] = json!(if self.admin { "Admin" } else { "Baseline" });
        }
        let mut name = format!("t{index}");
        if self.kind == "BaselineAdminNetworkPolicy" {
            "default".clone_into(&mut name);
        } else {
            spec["priority"] = json!(self.priority);
        }
        let api_version = format!("policy.networking.k8s.io/{version}");
        json!({"apiVersion": api_version, "kind": self.kind, "metadata": {"name": name}, "spec": spec})
    }

    fn rule_json(&self, rule: &Rule, key: &str) -> Value {
        let peers: Vec<Value> = rule
            .peers
            .iter()
            .map(|peer| match peer {
                Peer::Pods(namespaces, pods) => pods_json((namespaces, pods.as_ref())),
                Peer::Nodes(selector) => json!({"nodes": selector.json()}),
                Peer::Networks(nets) => {
                    json!({"networks": nets.iter().map(|net| format!("{}/{}", net.0, net.1)).collect::<Vec<_>>()})
                }
                Peer::Strange => json!({"serviceAccounts": {}}),
            })
            .collect();
        let action = if rule.action == "Accept" && !self.is_new() { "Allow" } else { rule.action };
        let mut value = json!({"action": action, key: peers});
        let new = self.is_new();
        if let Some(ports) = &rule.ports {
            let ports: Vec<Value> = ports.iter().map(|port| port_json(port, new)).collect();
            value[if new { "protocols" } else { "ports" }] = json!(ports);
        }
        value
    }
}

fn port_json(port: &Port, new: bool) -> Value {
    match (port, new) {
        (Port::Named(name), true) => json!({"destinationNamedPort": name}),
        (Port::Named(name), false) => json!({"namedPort": name}),
        (Port::Range(protocol, from, to), true) => {
            let port = if from == to { json!({"number": from}) } else { json!({"range": {"start": from, "end": to}}) };
            json!({protocol.as_str().to_lowercase(): {"destinationPort": port}})
        }
        (Port::Range(protocol, from, to), false) if from == to => {
            json!({"portNumber": {"protocol": protocol.as_str(), "port": from}})
        }
        (Port::Range(protocol, from, to), false) => {
            json!({"portRange": {"protocol": protocol.as_str(), "start": from, "end": to}})
        }
    }
}

// --- random policies --------------------------------------------------------------------------------------------------------------------

fn pods() -> impl Strategy<Value = (Selector, Option<Selector>)> {
    let everything = Just((Selector { labels: vec![], expressions: vec![] }, None));
    prop_oneof![1 => everything, 2 => (namespace_selector(), prop::option::of(selector(&["k", "l"])))]
}

fn rule(ingress: bool) -> impl Strategy<Value = Rule> {
    const NETS: [Net; 6] = [
        Net("0.0.0.0", 0),
        Net("10.0.0.0", 24),
        Net("10.0.0.0", 30),
        Net("10.9.0.0", 31),
        Net("::", 0),
        Net("fd00::", 125),
    ];
    let nets = prop::collection::vec(select(&NETS[..]), 1..3).prop_map(Peer::Networks);
    let of_pods = || pods().prop_map(|(namespaces, pods)| Peer::Pods(namespaces, pods));
    let peer = if ingress {
        prop_oneof![12 => of_pods(), 1 => Just(Peer::Strange)].boxed()
    } else {
        let nodes = selector(&["k"]).prop_map(Peer::Nodes);
        prop_oneof![8 => of_pods(), 3 => nets, 2 => nodes, 1 => Just(Peer::Strange)].boxed()
    };
    let numbers = (select(&Protocol::ALL[..]), select(&NUMBERS[..]), select(&NUMBERS[..]));
    let numbers = numbers.prop_map(|(protocol, a, b)| Port::Range(protocol, a.min(b), a.max(b)));
    let port = prop_oneof![3 => numbers, 1 => select(&["http", "dns"][..]).prop_map(Port::Named)];
    let ports = prop::option::weighted(0.4, prop::collection::vec(port, 1..3));
    let action = select(&["Accept", "Deny", "Pass"][..]);
    (action, prop::collection::vec(peer, 1..3), ports).prop_map(|(action, peers, ports)| {
        let by_address = peers.iter().any(|peer| matches!(peer, Peer::Networks(_) | Peer::Nodes(_)));
        // The CRD refuses names of ports beside addresses.
        let ports = ports.map(|ports| {
            let kept = ports.into_iter().filter(|port| !by_address || matches!(port, Port::Range(..)));
            kept.collect::<Vec<_>>()
        });
        Rule { action, peers, ports: ports.filter(|ports| !ports.is_empty()) }
    })
}

fn tier_spec() -> impl Strategy<Value = Spec> {
    let kinds = [
        ("ClusterNetworkPolicy", true),
        ("ClusterNetworkPolicy", true),
        ("ClusterNetworkPolicy", false),
        ("ClusterNetworkPolicy", false),
        ("AdminNetworkPolicy", true),
        ("BaselineAdminNetworkPolicy", false),
    ];
    let rules = |ingress| prop::collection::vec(rule(ingress), 0..4);
    (select(kinds.to_vec()), 0..2_u16, pods(), rules(true), rules(false)).prop_map(
        |((kind, admin), priority, subject, mut ingress, mut egress)| {
            if kind == "BaselineAdminNetworkPolicy" {
                let rules = ingress.iter_mut().chain(&mut egress);
                rules.filter(|rule| rule.action == "Pass").for_each(|rule| rule.action = "Deny");
            }
            Spec { kind, admin, priority, subject, ingress, egress }
        },
    )
}

/// There is one BaselineAdminNetworkPolicy at most.
fn tiers() -> impl Strategy<Value = Vec<Spec>> {
    prop::collection::vec(tier_spec(), 1..5).prop_map(|mut specs| {
        let mut seen = false;
        specs.retain(|spec| spec.kind != "BaselineAdminNetworkPolicy" || !std::mem::replace(&mut seen, true));
        specs
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(300), max_local_rejects: u32::MAX, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_tiers_say_what_the_text_says(
        world in some_world(),
        policies in prop::collection::vec(spec(), 0..4),
        tiers in tiers(),
        ends in prop::collection::vec((some_end(), some_end()), 1..3),
        dialect in select(&Dialect::ALL[..]),
    ) {
        for ends in ends {
            compare(&world, &policies, &tiers, dialect, ends)?;
        }
    }
}

/// Clusters in which the tiers decide nothing would prove nothing.
#[test]
fn random_tiers_decide() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let cases = (some_world(), tiers(), some_end(), some_end());
    let (mut accepted, mut denied, mut tied) = (0, 0, 0);
    for _ in 0..400 {
        let (world, tiers, from, to) = cases.new_tree(&mut runner).unwrap().current();
        let items: Vec<Value> = tiers.iter().enumerate().map(|(index, spec)| spec.json(index)).collect();
        let (set, _) = read(&json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string());
        let answer = Engine::new(&world, &set).verdict(from, to, 80, Protocol::Tcp);
        let ruled = answer.egress.decided_by.is_some() || answer.ingress.decided_by.is_some();
        accepted += usize::from(answer.declared == Declared::Allowed && ruled);
        denied += usize::from(answer.declared == Declared::Denied && ruled);
        tied += usize::from(answer.missing.is_some_and(|missing| missing.contains("which comes first")));
    }
    assert!(accepted >= 15 && denied >= 30 && tied >= 5, "{accepted} accepted, {denied} denied, {tied} tied");
}
