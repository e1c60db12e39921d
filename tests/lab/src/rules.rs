//! What each pod admits: policies resolved to addresses and port numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;

use ipnet::IpNet;
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::cluster::{Cluster, Member, Protocol};
use crate::selector::matches;

/// What every pod admits.
#[derive(Debug, Default)]
pub struct Rules {
    /// Everything that any of them admits.
    pub admissions: Vec<Admission>,
    /// One for each member, in their order.
    pub isolations: Vec<Isolation>,
}

/// Which admissions, by their places in the list, hold for one pod in each direction. `None`: no policy isolates it, all passes. An empty list: nothing passes.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Isolation {
    /// Connections to the pod.
    pub ingress: Option<Vec<usize>>,
    /// Connections from the pod.
    pub egress: Option<Vec<usize>>,
}

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The destination's.
    Ingress,
    /// The source's.
    Egress,
}

impl Direction {
    /// As rules, chains and maps are named.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }
}

/// Some peers, on some ports of the destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// At which end.
    pub direction: Direction,
    /// Who is at the other.
    pub peer: Peer,
    /// On what.
    pub traffic: Traffic,
    /// `namespace/policy direction[rule]`, for people.
    pub origin: String,
}

/// Who is at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// Every address.
    Anyone,
    /// The addresses of pods.
    Pods(Rc<BTreeSet<IpAddr>>),
    /// A block without its exceptions.
    Block(IpNet, Vec<IpNet>),
}

/// Which ports of the destination.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Traffic {
    /// "Traffic not restricted by port": of any protocol.
    Any,
    /// The ports of each protocol, both ends included.
    Ports(BTreeMap<Protocol, BTreeSet<(u16, u16)>>),
}

/// What the policies say of each member.
///
/// "Traffic is allowed to a pod if there are no `NetworkPolicies` selecting the pod, … OR if the traffic matches at least one ingress rule across all of the `NetworkPolicy` objects whose podSelector matches the pod."
pub fn rules(cluster: &Cluster, members: &[Member<'_>]) -> Rules {
    let mut rules = Rules { admissions: Vec::new(), isolations: vec![Isolation::default(); members.len()] };
    for policy in &cluster.policies {
        let Some(spec) = &policy.spec else { continue };
        let scope = Scope { name: name(policy), namespace: namespace(policy), members };
        let subjects: Vec<usize> = (0..members.len())
            .filter(|index| members.get(*index).is_some_and(|one| scope.selects(spec, one)))
            .collect();
        let (ingress, egress) = directions(spec);
        if ingress {
            scope.isolate_ingress(spec, &subjects, &mut rules);
        }
        if egress {
            scope.isolate_egress(spec, &subjects, &mut rules);
        }
    }
    rules
}

impl Rules {
    /// Puts admissions on the list and returns their places.
    fn add(&mut self, admissions: Vec<Admission>) -> Vec<usize> {
        let first = self.admissions.len();
        self.admissions.extend(admissions);
        (first..self.admissions.len()).collect()
    }
}

fn name(policy: &NetworkPolicy) -> &str {
    policy.metadata.name.as_deref().unwrap_or_default()
}

fn namespace(policy: &NetworkPolicy) -> &str {
    policy.metadata.namespace.as_deref().unwrap_or("default")
}

/// "If this field is not specified, it will default based on the existence of ingress or egress rules; policies that contain an egress section are assumed to affect egress, and all policies (whether or not they contain an ingress section) are assumed to affect ingress." An empty section is no existing rule (`SetDefaults_NetworkPolicy`).
fn directions(spec: &NetworkPolicySpec) -> (bool, bool) {
    let types = spec.policy_types.as_deref().unwrap_or_default();
    if types.is_empty() {
        return (true, spec.egress.as_ref().is_some_and(|rules| !rules.is_empty()));
    }
    let has = |one: &str| types.iter().any(|of| of == one);
    (has("Ingress"), has("Egress"))
}

/// One policy among the pods.
struct Scope<'a> {
    name: &'a str,
    namespace: &'a str,
    members: &'a [Member<'a>],
}

impl Scope<'_> {
    /// "An empty selector matches all pods in the policy's namespace. … If it is not specified, it defaults to an empty selector."
    fn selects(&self, spec: &NetworkPolicySpec, member: &Member<'_>) -> bool {
        let selected = spec.pod_selector.as_ref().is_none_or(|selector| matches(selector, member.labels));
        member.namespace == self.namespace && selected
    }

    /// A name of a port is a name on the subject, so subjects whose names mean other numbers admit other ports.
    fn isolate_ingress(&self, spec: &NetworkPolicySpec, subjects: &[usize], rules: &mut Rules) {
        let list: Vec<&NetworkPolicyIngressRule> = spec.ingress.iter().flatten().collect();
        let peers: Vec<Vec<Peer>> = list.iter().map(|rule| self.peers(rule.from.as_deref())).collect();
        let mut known: BTreeMap<Vec<Option<Traffic>>, Vec<usize>> = BTreeMap::new();
        for &subject in subjects {
            let meant = |rule: &&NetworkPolicyIngressRule| traffic(rule.ports.as_deref(), self.members.get(subject));
            let places = known.entry(list.iter().map(meant).collect()).or_insert_with_key(|ports| {
                let mut admitted = Vec::new();
                for (index, (peers, traffic)) in peers.iter().zip(ports).enumerate() {
                    let with =
                        |peer: &Peer| Some(self.admission(Direction::Ingress, index, peer.clone(), traffic.clone()?));
                    admitted.extend(peers.iter().filter_map(with));
                }
                rules.add(admitted)
            });
            if let Some(isolation) = rules.isolations.get_mut(subject) {
                isolation.ingress.get_or_insert_default().extend(places.iter());
            }
        }
    }

    /// A name of a port is a name on the destination, so what is admitted is the same for every subject.
    fn isolate_egress(&self, spec: &NetworkPolicySpec, subjects: &[usize], rules: &mut Rules) {
        let mut admitted = Vec::new();
        for (index, rule) in spec.egress.iter().flatten().enumerate() {
            let ports = rule.ports.as_deref();
            for peer in self.peers(rule.to.as_deref()) {
                for (traffic, pods) in self.named(ports, &peer) {
                    admitted.push(self.admission(Direction::Egress, index, Peer::Pods(pods.into()), traffic));
                }
                if let Some(traffic) = traffic(ports, None) {
                    admitted.push(self.admission(Direction::Egress, index, peer, traffic));
                }
            }
        }
        let places = rules.add(admitted);
        for &subject in subjects {
            if let Some(isolation) = rules.isolations.get_mut(subject) {
                isolation.egress.get_or_insert_default().extend(&places);
            }
        }
    }

    fn admission(&self, direction: Direction, index: usize, peer: Peer, traffic: Traffic) -> Admission {
        let origin = format!("{}/{} {}[{index}]", self.namespace, self.name, direction.as_str());
        Admission { direction, peer, traffic, origin }
    }

    /// "If this field is empty or missing, this rule matches all sources."
    fn peers(&self, list: Option<&[NetworkPolicyPeer]>) -> Vec<Peer> {
        match list.unwrap_or_default() {
            [] => vec![Peer::Anyone],
            list => list.iter().filter_map(|one| self.peer(one)).collect(),
        }
    }

    /// `None` for what no API server admits, and for a selector that meets no pod.
    fn peer(&self, peer: &NetworkPolicyPeer) -> Option<Peer> {
        match (&peer.ip_block, &peer.namespace_selector, &peer.pod_selector) {
            (Some(block), None, None) => block_peer(block),
            (None, None, None) | (Some(_), _, _) => None,
            (None, of_namespaces, of_pods) => {
                let chosen =
                    self.members.iter().filter(|member| self.reaches(member, of_namespaces.as_ref(), of_pods.as_ref()));
                let addresses: BTreeSet<IpAddr> = chosen.flat_map(|member| &member.addresses).copied().collect();
                (!addresses.is_empty()).then_some(Peer::Pods(addresses.into()))
            }
        }
    }

    /// "If namespaceSelector is also set, then the `NetworkPolicyPeer` as a whole selects the pods matching podSelector in the Namespaces selected by `NamespaceSelector`. Otherwise it selects the pods matching podSelector in the policy's own namespace."
    fn reaches(
        &self,
        member: &Member<'_>,
        of_namespaces: Option<&LabelSelector>,
        of_pods: Option<&LabelSelector>,
    ) -> bool {
        let there = match of_namespaces {
            Some(selector) => matches(selector, member.namespace_labels),
            None => member.namespace == self.namespace,
        };
        there && of_pods.is_none_or(|selector| matches(selector, member.labels))
    }

    /// The named ports of an egress rule, which are other numbers on other pods. A name is a name "on a pod": an address of a block has none.
    fn named(&self, ports: Option<&[NetworkPolicyPort]>, peer: &Peer) -> BTreeMap<Traffic, BTreeSet<IpAddr>> {
        let named: Vec<NetworkPolicyPort> =
            ports.unwrap_or_default().iter().filter(|port| has_name(port)).cloned().collect();
        let mut found: BTreeMap<Traffic, BTreeSet<IpAddr>> = BTreeMap::new();
        if named.is_empty() {
            return found;
        }
        for member in self.members {
            let met = member.addresses.iter().filter(|address| match peer {
                Peer::Anyone => true,
                Peer::Pods(addresses) => addresses.contains(address),
                Peer::Block(..) => false,
            });
            let met: Vec<IpAddr> = met.copied().collect();
            if let Some(traffic) = traffic(Some(&named), Some(member)).filter(|_| !met.is_empty()) {
                found.entry(traffic).or_default().extend(met);
            }
        }
        found
    }
}

fn has_name(port: &NetworkPolicyPort) -> bool {
    matches!(port.port, Some(IntOrString::String(_)))
}

/// "Except values will be rejected if they are outside the cidr range." Host bits mean the network around them.
fn block_peer(block: &IPBlock) -> Option<Peer> {
    let net = |text: &str| text.parse::<IpNet>().ok().map(|net| net.trunc());
    let except: Option<Vec<IpNet>> = block.except.iter().flatten().map(|text| net(text)).collect();
    Some(Peer::Block(net(&block.cidr)?, except?))
}

/// What a list of ports means, with names looked up on `destination`; without one, names are left out. `None` if nothing is left.
///
/// "If this field is empty or missing, this rule matches all ports."
fn traffic(list: Option<&[NetworkPolicyPort]>, destination: Option<&Member<'_>>) -> Option<Traffic> {
    let list = list.unwrap_or_default();
    if list.is_empty() {
        return Some(Traffic::Any);
    }
    let mut ports: BTreeMap<Protocol, BTreeSet<(u16, u16)>> = BTreeMap::new();
    for item in list {
        let Some(protocol) = Protocol::parse(item.protocol.as_deref()) else { continue };
        let ranges = ranges(item, protocol, destination);
        if !ranges.is_empty() {
            ports.entry(protocol).or_default().extend(ranges);
        }
    }
    (!ports.is_empty()).then_some(Traffic::Ports(ports))
}

/// "If this field is not provided, this matches all port names and numbers. If present, only traffic on the specified protocol AND port will be matched." "endPort … inclusive … must be equal or greater than port … cannot be defined if the port field is not defined or if the port field is defined as a named (string) port."
fn ranges(item: &NetworkPolicyPort, protocol: Protocol, destination: Option<&Member<'_>>) -> Vec<(u16, u16)> {
    match (&item.port, item.end_port) {
        (None, None) => vec![(0, u16::MAX)],
        (Some(IntOrString::Int(first)), end) => {
            let range = (u16::try_from(*first), u16::try_from(end.unwrap_or(*first)));
            if let (Ok(first), Ok(last)) = range
                && first <= last
            {
                vec![(first, last)]
            } else {
                Vec::new()
            }
        }
        (Some(IntOrString::String(name)), None) => destination
            .iter()
            .flat_map(|member| &member.named)
            .filter(|(named, on, _)| named == name && *on == protocol)
            .map(|(_, _, number)| (*number, *number))
            .collect(),
        (None | Some(IntOrString::String(_)), Some(_)) => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
