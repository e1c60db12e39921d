//! Edges → pods, pod ports and addresses.
//!
//! Policies see a connection after the Service's DNAT (kubernetes.io, network-policies, and facts/mas-edges.md §0), so every Service port becomes the pod port behind it here, and every name the pods or addresses it means.
//! What no source and no world says stays [`PeerKind::Unresolved`] with a finding, or is a default of product.md §7 with a finding that says how to narrow it.

mod blocks;
mod discover;
mod dns;
mod host;
mod ingress;
mod listener;
mod map;
mod proxy;
mod select;
mod service;
mod subject;

use std::net::IpAddr;

pub use self::blocks::if_private;
pub use self::listener::shown;
pub(crate) use self::map::{Map, selector_of};
pub(crate) use self::service::{behind, whole};
use super::{Edge, Expect, Intent, Party, Peer, PeerKind, Port, Resolution, ResolvedEdge, Subject};
use crate::finding::{Code, Finding};
use crate::world::{NotCovered, ObjectName, PodId, PortRef, Service, World};

/// Finds the pods, pod ports and addresses that an intent means. Without a world, what only a world can tell stays unresolved.
pub fn resolve(intent: &Intent, world: Option<&World>) -> Resolution {
    let map = world.map(Map::new);
    let mut findings = Vec::new();
    let subject = subject::find(&intent.subject, map.as_ref(), &mut findings);
    let mut edges = Vec::with_capacity(intent.edges.len());
    for edge in &intent.edges {
        let mut lookup = Lookup { map: map.as_ref(), subject: subject.as_ref(), edge, findings: &mut findings };
        edges.push(lookup.edge());
    }
    let mut seen = std::collections::HashSet::new();
    findings.retain(|finding| seen.insert(format!("{finding:?}")));
    Resolution { subject, edges, findings }
}

/// Looks up the ends of one edge.
struct Lookup<'a> {
    map: Option<&'a Map<'a>>,
    subject: Option<&'a Subject>,
    edge: &'a Edge,
    findings: &'a mut Vec<Finding>,
}

impl<'a> Lookup<'a> {
    fn edge(&mut self) -> ResolvedEdge {
        let edge = self.edge;
        let mut from = Vec::new();
        for party in &edge.from {
            merge(&mut from, self.party(party, None));
        }
        let mut more = Vec::new();
        if edge.name == "synapse-to-mas" {
            (from, more) = self.synapse_itself(from);
        }
        let mut to = Vec::new();
        for target in &edge.to {
            merge(&mut to, self.party(&target.party, Some(&target.port)));
        }
        // No port in a policy means every port: a target whose pod port is not known must not be written.
        for peer in to.iter_mut().filter(|peer| edge.expect == Expect::Allow && peer.ports.is_empty()) {
            peer.kind = PeerKind::Unresolved;
        }
        self.check_routes();
        self.check_proxy();
        let mut edge = edge.clone();
        edge.provenance.extend(more);
        ResolvedEdge { edge, from, to }
    }

    /// The peers that a party means; `port` is absent at the `from` end.
    fn party(&mut self, party: &Party, port: Option<&Port>) -> Vec<Peer> {
        match party {
            Party::Subject => self.subject(port),
            Party::Service(name) => self.service_named(name, port),
            Party::Workload(kind, name) => {
                let pods = self.map.map(|map| map.of_workload(*kind, name)).unwrap_or_default();
                self.pods_named(
                    &format!("{}/{}/{}", name.namespace, kind.short(), name.name),
                    &name.namespace,
                    &pods,
                    port,
                )
            }
            Party::Pod(name) => {
                let pods: Vec<PodId> = self.map.and_then(|map| map.named(name)).into_iter().collect();
                self.pods_named(&name.to_string(), &name.namespace, &pods, port)
            }
            Party::Selector { namespace, labels } => self.selector(namespace.as_deref(), labels, port),
            Party::Host { host, allow_private } => self.host(host, allow_private, port),
            Party::Address(ip) => self.address(*ip, port),
            Party::Block(net) => vec![self.blocks(vec![*net], Vec::new(), None, port)],
            Party::Node(name) => self.node(name, port),
            Party::AnyPod => vec![self.any_pod(port)],
            Party::World => vec![self.outside_peer(None, port)],
            Party::ClusterDns => self.cluster_dns(port),
            Party::IngressController(host) => self.ingress_controller(host.as_deref(), port),
            Party::Stranger => self.stranger(port),
            Party::Unknown { peer } => self.discover(peer, port),
        }
    }

    fn any_pod(&mut self, port: Option<&Port>) -> Peer {
        Peer { kind: PeerKind::AnyPod, ports: self.literal_ports(port), service: None, by_default: false }
    }

    /// A workload or pod that a source names.
    fn pods_named(&mut self, name: &str, namespace: &str, pods: &[PodId], port: Option<&Port>) -> Vec<Peer> {
        if !pods.is_empty() {
            return self.pods(name, pods, port);
        }
        if self.map.is_some() {
            let message = format!("{name} is not among the known pods and workloads");
            let gap = self.unseen("Pod", namespace);
            self.report_absence(gap, Code::ReferenceBroken, name, message, "correct the name, or add it");
        } else {
            let message = format!("without manifests or a cluster the pods of {name} are not known");
            self.report(Code::PeerUnknown, name, message, "give --manifests or --cluster");
        }
        vec![unresolved(port)]
    }

    fn address(&mut self, ip: IpAddr, port: Option<&Port>) -> Vec<Peer> {
        if let Some(map) = self.map {
            let fronts = |service: &&Service| service.virtual_addresses().any(|own| own == ip);
            if let Some(service) = map.world.services.values().find(fronts) {
                return self.service(service, port);
            }
            if let Some(pod) = map.at_address(ip) {
                return self.pods(&map.world.pod(pod).name.to_string(), &[pod], port);
            }
        }
        vec![self.blocks(vec![ip.into()], Vec::new(), None, port)]
    }

    fn node(&mut self, name: &str, port: Option<&Port>) -> Vec<Peer> {
        let addresses = self.map.and_then(|map| map.world.nodes.get(name)).map(|node| &node.addresses);
        match addresses {
            Some(addresses) if !addresses.is_empty() => {
                let nets = addresses.iter().map(|ip| (*ip).into()).collect();
                vec![self.blocks(nets, Vec::new(), None, port)]
            }
            _ => {
                let message = format!("the addresses of node {name} are not known");
                let fix = "correct the name, or add the Node (`kubectl get nodes -o yaml`)";
                let gap = self.unseen("Node", "");
                self.report_absence(gap, Code::ReferenceBroken, &format!("Node/{name}"), message, fix);
                vec![unresolved(port)]
            }
        }
    }

    /// The stranger is portreeve's own; a world without it is no fault.
    fn stranger(&mut self, port: Option<&Port>) -> Vec<Peer> {
        const STRANGER: (&str, &str) = ("app.kubernetes.io/name", "portreeve-stranger");
        let label = crate::world::Labels::from([(STRANGER.0.to_owned(), STRANGER.1.to_owned())]);
        let Some(map) = self.map else {
            return vec![unresolved(port)];
        };
        let pods = map.with_label(STRANGER.0, STRANGER.1);
        if pods.is_empty() {
            return vec![unresolved(port)];
        }
        let found = self.ports_of("the stranger", &pods, port);
        let namespace = map.world.pod(pods[0]).name.namespace.clone();
        self.peers_of("the stranger", &found, Some((&namespace, &label)), None)
    }

    /// Pods with the ports that clients dial: without a Service in between these are the pod ports.
    fn pods(&mut self, name: &str, pods: &[PodId], port: Option<&Port>) -> Vec<Peer> {
        let found = self.ports_of(name, pods, port);
        self.peers_of(name, &found, None, None)
    }

    fn subject(&mut self, port: Option<&Port>) -> Vec<Peer> {
        let Some(subject) = self.subject else {
            return vec![unresolved(port)];
        };
        let (ports, service) = match port {
            None => (Vec::new(), None),
            Some(port) => self.subject_ports(subject, port),
        };
        let kind = PeerKind::Pods {
            namespace: subject.namespace.clone(),
            selector: subject.selector.clone(),
            pods: subject.pods.clone(),
        };
        vec![Peer { kind, ports, service, by_default: false }]
    }

    fn subject_ports(&mut self, subject: &Subject, port: &Port) -> (Vec<u16>, Option<(ObjectName, u16)>) {
        let Some(map) = self.map else {
            return (self.literal_ports(Some(port)), None);
        };
        let services = map.services_of(&subject.namespace, &subject.pods);
        if let Port::Client(client) = port {
            for service in &services {
                if let Some(entry) = service::entry(service, client, self.edge.protocol) {
                    let found = service::endpoints(map, service, entry);
                    let ports = distinct(found.pods.iter().flat_map(|(_, ports)| ports.iter().copied()));
                    return (ports, Some((service.name.clone(), entry.port)));
                }
            }
        }
        let found = match port {
            Port::Unknown { default: Some(default) } => {
                let ports = self.listener(subject, *default);
                subject.pods.iter().map(|pod| (*pod, ports.clone())).collect()
            }
            _ => self.ports_of("the subject", &subject.pods, Some(port)),
        };
        let ports = if found.is_empty() {
            self.literal_ports(Some(port))
        } else {
            distinct(found.iter().flat_map(|(_, ports)| ports.iter().copied()))
        };
        let service = services.iter().find_map(|service| {
            let entry = service::entry_to(map, service, &ports, self.edge.protocol)?;
            Some((service.name.clone(), entry.port))
        });
        (ports, service)
    }

    /// The key under `peers:` that would settle this edge.
    fn key(&self) -> &'a str {
        let name = self.edge.name.as_str();
        name.strip_prefix("mas-to-").or_else(|| name.strip_suffix("-to-mas")).unwrap_or(name)
    }

    /// Why objects of a kind may exist in a namespace that are not here.
    fn unseen(&self, kind: &str, namespace: &str) -> Option<&'a NotCovered> {
        self.map.and_then(|map| map.world.unseen(kind, namespace))
    }

    /// Something is not here. Where the source does not show everything that is no fault of whoever named it.
    fn report_absence(
        &mut self,
        gap: Option<&NotCovered>,
        code: Code,
        object: &str,
        message: String,
        fix: impl Into<String>,
    ) {
        match gap {
            Some(gap) => {
                let code = if code == Code::DefaultUsed { code } else { Code::PeerUnknown };
                self.report(code, object, format!("{message} ({})", gap.sentence()), gap.fix.clone());
            }
            None => self.report(code, object, message, fix),
        }
    }

    fn report(&mut self, code: Code, object: &str, message: String, fix: impl Into<String>) {
        let place = self.edge.to.iter().find_map(|target| target.place.clone());
        let mut finding = Finding::new(code, object, message, fix).on(&self.edge.name);
        finding.place = place;
        self.findings.push(finding);
    }
}

/// A peer that is not known; a finding says why.
fn unresolved(port: Option<&Port>) -> Peer {
    // A pod port is a fact even when the pod is not known; a Service port says nothing about pods.
    let ports = match port {
        Some(Port::Pod(PortRef::Number(number))) => vec![*number],
        _ => Vec::new(),
    };
    Peer { kind: PeerKind::Unresolved, ports, service: None, by_default: false }
}

/// Adds peers; what selects the same is one peer with all ports.
fn merge(peers: &mut Vec<Peer>, more: Vec<Peer>) {
    for peer in more {
        match peers.iter_mut().find(|known| known.kind == peer.kind && known.service == peer.service) {
            Some(known) => {
                known.ports = distinct(known.ports.iter().chain(&peer.ports).copied());
                known.by_default &= peer.by_default;
            }
            None => peers.push(peer),
        }
    }
}

/// Sorted, each once.
fn distinct(ports: impl Iterator<Item = u16>) -> Vec<u16> {
    ports.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

#[cfg(test)]
mod tests;
