//! Pods → peers: what a policy must write to select them.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::map::{pod_port, selector_of};
use super::{Lookup, distinct, unresolved};
use crate::finding::Code;
use crate::matrix::{Peer, PeerKind, Port};
use crate::world::{Labels, ObjectName, PodId, PortRef};

/// Pods with their own ports.
pub(crate) type Found = Vec<(PodId, Vec<u16>)>;

impl Lookup<'_> {
    /// Each pod with the port that `port` means on it. Without a Service in between, the client's port is the pod port.
    pub(super) fn ports_of(&mut self, name: &str, pods: &[PodId], port: Option<&Port>) -> Found {
        let Some(map) = self.map else {
            return Vec::new();
        };
        let protocol = self.edge.protocol;
        let (wanted, fallback) = match port {
            None => return pods.iter().map(|id| (*id, Vec::new())).collect(),
            Some(Port::Client(port) | Port::Pod(port)) => (Some(port), None),
            Some(Port::Unknown { default }) => (None, *default),
        };
        let mut missing = Vec::new();
        let mut found = Vec::new();
        for id in pods {
            let pod = map.world.pod(*id);
            let number = if let Some(port) = wanted {
                pod_port(pod, port, protocol)
            } else {
                let own = distinct(pod.ports.iter().filter(|p| p.protocol == protocol).map(|p| p.number));
                // A pod with one port means that one; among several only the protocol's own is a safe choice.
                if let [only] = own[..] { Some(only) } else { fallback }
            };
            if number.is_none() {
                missing.push(pod.name.to_string());
            }
            found.push((*id, number.into_iter().collect()));
        }
        if !missing.is_empty() {
            let which = wanted.map_or_else(|| "a port".to_owned(), |port| format!("a {protocol} port `{port}`"));
            let message = format!("{name}: {which} is not declared by {}", listed(&missing));
            self.report(Code::ReferenceBroken, name, message, "name the port by its number");
        }
        found
    }

    /// Groups pods by what selects them. `preferred` (a Service's own selector) is used if it covers them all.
    pub(super) fn peers_of(
        &mut self,
        name: &str,
        found: &[(PodId, Vec<u16>)],
        preferred: Option<(&str, &Labels)>,
        service: Option<(ObjectName, u16)>,
    ) -> Vec<Peer> {
        let Some(map) = self.map else {
            return Vec::new();
        };
        let (host, own): (Vec<_>, Vec<_>) = found.iter().partition(|(id, _)| map.world.pod(*id).host_network);
        let mut groups: BTreeMap<(String, Labels), (Vec<PodId>, Vec<u16>)> = BTreeMap::new();
        let covering = preferred.and_then(|(namespace, selector)| {
            let selected = map.selected(namespace, selector);
            let covers = own.iter().all(|(id, _)| selected.binary_search(id).is_ok());
            let selected = selected.into_iter().filter(|id| !map.world.pod(*id).host_network);
            covers.then(|| ((namespace.to_owned(), selector.clone()), selected.collect::<Vec<_>>()))
        });
        match covering {
            Some((key, pods)) if !own.is_empty() => {
                let ports = own.iter().flat_map(|(_, ports)| ports.iter().copied()).collect();
                groups.insert(key, (pods, ports));
            }
            _ => {
                for (id, ports) in own {
                    let pod = map.world.pod(*id);
                    let group = groups.entry((pod.name.namespace.clone(), selector_of(pod))).or_default();
                    group.0.push(*id);
                    group.1.extend(ports);
                }
            }
        }
        let mut peers = Vec::new();
        for ((namespace, selector), (pods, ports)) in groups {
            let kind = if selector.is_empty() && preferred.is_none() {
                let message = format!("{name} has no label by which a policy could select it alone");
                self.report(Code::PeerUnknown, name, message, "give its pods a label of their own");
                PeerKind::Unresolved
            } else {
                PeerKind::Pods { namespace, selector, pods }
            };
            let ports = distinct(ports.into_iter());
            peers.push(Peer { kind, ports, service: service.clone(), by_default: false });
        }
        if !host.is_empty() {
            peers.push(self.host_network(name, &host, service));
        }
        peers
    }

    /// Pods in their nodes' network: policies see the nodes' addresses. All nodes, because such a pod may move.
    fn host_network(&mut self, name: &str, host: &[&(PodId, Vec<u16>)], service: Option<(ObjectName, u16)>) -> Peer {
        let mut nets: Vec<IpNet> = Vec::new();
        if let Some(map) = self.map {
            nets.extend(map.world.nodes.values().flat_map(|node| &node.addresses).map(|ip| IpNet::from(*ip)));
            if nets.is_empty() {
                nets.extend(host.iter().flat_map(|(id, _)| &map.world.pod(*id).addresses).map(|ip| IpNet::from(*ip)));
            }
        }
        nets.sort();
        nets.dedup();
        let known = if nets.is_empty() { "which are not known" } else { "which stand in for its pods" };
        let message = format!("{name} runs in its nodes' network: policies see the nodes' addresses, {known}");
        let (kind, fix) = if nets.is_empty() {
            (PeerKind::Unresolved, "add the Nodes (`kubectl get nodes -o yaml`), or run it in the pod network")
        } else {
            let fix = "run it in the pod network if you can: a node's address stands for everything on that node";
            (PeerKind::Blocks { nets, except: Vec::new(), host: None }, fix)
        };
        self.report(Code::HostNetworkPeer, name, message, fix);
        let ports = distinct(host.iter().flat_map(|(_, ports)| ports.iter().copied()));
        Peer { kind, ports, service, by_default: false }
    }

    /// Pods by labels that a source gives.
    pub(super) fn selector(&mut self, namespace: Option<&str>, labels: &Labels, port: Option<&Port>) -> Vec<Peer> {
        let Some(namespace) = namespace.or(self.subject.map(|subject| subject.namespace.as_str())) else {
            let message = "a selector without a namespace means the subject's, which is not known".to_owned();
            self.report(Code::PeerUnknown, self.key(), message, "add `namespace` to the selector");
            return vec![unresolved(port)];
        };
        let pods = self.map.map(|map| map.selected(namespace, labels)).unwrap_or_default();
        if pods.is_empty() {
            if self.map.is_some() {
                let message = format!("the selector matches no known pod in namespace {namespace}");
                let (gap, fix) = (self.unseen("Pod", namespace), "correct the labels or the namespace");
                self.report_absence(gap, Code::SelectorMatchesNothing, self.key(), message, fix);
            }
            let kind = PeerKind::Pods { namespace: namespace.to_owned(), selector: labels.clone(), pods };
            return vec![Peer { kind, ports: self.literal_ports(port), service: None, by_default: false }];
        }
        let found = self.ports_of(namespace, &pods, port);
        self.peers_of(namespace, &found, Some((namespace, labels)), None)
    }

    /// The port as its source has it, where nothing rewrites it.
    pub(super) fn literal_ports(&mut self, port: Option<&Port>) -> Vec<u16> {
        match port {
            None | Some(Port::Unknown { default: None }) => Vec::new(),
            Some(Port::Client(PortRef::Number(number)) | Port::Pod(PortRef::Number(number))) => vec![*number],
            Some(Port::Unknown { default: Some(number) }) => vec![*number],
            Some(Port::Client(PortRef::Name(name)) | Port::Pod(PortRef::Name(name))) => {
                let message = format!("the port name `{name}` has no number where no pod is known");
                self.report(Code::ReferenceBroken, self.key(), message, "name the port by its number");
                Vec::new()
            }
        }
    }
}

/// The first three, and how many more.
pub(super) fn listed(names: &[String]) -> String {
    let shown = names.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
    match names.len() {
        0..=3 => shown,
        more => format!("{shown} and {} more", more - 3),
    }
}
