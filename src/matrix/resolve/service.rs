//! Service → pods and pod ports.
//!
//! EndpointSlices first, because what they say is what kube-proxy does; then selector and `targetPort`.

use std::net::IpAddr;

use super::map::{Map, pod_port};
use super::select::{Found, listed};
use super::{Lookup, distinct, unresolved};
use crate::finding::{Code, Finding};
use crate::matrix::{Peer, PeerKind, Port};
use crate::source::de::closest;
use crate::world::{Endpoint, NotCovered, ObjectName, PodId, PortRef, Protocol, Service, ServiceKind, ServicePort};

/// What is behind one port of a Service.
pub(crate) struct Endpoints {
    /// Its pods with their own port numbers; none for a pod that lacks a port of the name.
    pub(crate) pods: Found,
    /// Addresses behind it that are no known pod's.
    pub(crate) others: Vec<(IpAddr, u16)>,
}

/// The entry that a client's port means.
pub(super) fn entry<'s>(service: &'s Service, port: &PortRef, protocol: Protocol) -> Option<&'s ServicePort> {
    service.ports.iter().filter(|entry| entry.protocol == protocol).find(|entry| match port {
        PortRef::Number(number) => entry.port == *number,
        PortRef::Name(name) => entry.name.as_ref() == Some(name),
    })
}

/// The entry that leads to one of these pod ports.
pub(super) fn entry_to<'s>(
    map: &Map<'_>,
    service: &'s Service,
    pod_ports: &[u16],
    protocol: Protocol,
) -> Option<&'s ServicePort> {
    let mut entries = service.ports.iter().filter(|entry| entry.protocol == protocol);
    entries.find(|entry| match &entry.target {
        PortRef::Number(number) if pod_ports.contains(number) => true,
        _ => {
            let found = endpoints(map, service, entry);
            let pods = found.pods.iter().flat_map(|(_, ports)| ports.iter());
            pods.chain(found.others.iter().map(|(_, port)| port)).any(|port| pod_ports.contains(port))
        }
    })
}

/// What is behind an entry.
pub(super) fn endpoints(map: &Map<'_>, service: &Service, entry: &ServicePort) -> Endpoints {
    let mut found = Endpoints { pods: Vec::new(), others: Vec::new() };
    for slice in map.slices(&service.name) {
        // A slice's port carries the name of the Service's port, not of the container's.
        let fits = |(name, _, protocol): &&(Option<String>, Option<u16>, Protocol)| {
            *name == entry.name && *protocol == entry.protocol
        };
        let numbers: Vec<u16> =
            slice.ports.iter().filter(fits).map(|(_, number, _)| number.unwrap_or(entry.port)).collect();
        if numbers.is_empty() {
            continue;
        }
        for endpoint in &slice.endpoints {
            match pod_of(map, endpoint) {
                Some(pod) => add(&mut found.pods, pod, &numbers),
                // A pod that is not shown is no address outside the cluster.
                None if endpoint.pod.as_ref().is_some_and(|pod| map.world.unseen("Pod", &pod.namespace).is_some()) => {}
                None => found
                    .others
                    .extend(endpoint.addresses.iter().flat_map(|ip| numbers.iter().map(|number| (*ip, *number)))),
            }
        }
    }
    if found.pods.is_empty()
        && let Some(selector) = &service.selector
    {
        for id in map.selected(&service.name.namespace, selector) {
            let port = pod_port(map.world.pod(id), &entry.target, entry.protocol);
            add(&mut found.pods, id, port.as_slice());
        }
    }
    if service.kind == ServiceKind::Headless {
        // DNS answers with pod addresses, so nothing rewrites the client's port.
        found.pods.iter_mut().for_each(|(_, ports)| *ports = vec![entry.port]);
        found.others.iter_mut().for_each(|(_, port)| *port = entry.port);
    }
    found
}

fn pod_of(map: &Map<'_>, endpoint: &Endpoint) -> Option<PodId> {
    let by_name = endpoint.pod.as_ref().and_then(|name| map.named(name));
    by_name.or_else(|| endpoint.addresses.iter().find_map(|ip| map.at_address(*ip)))
}

/// A dual-stack pod stands in a slice of each family.
fn add(pods: &mut Found, pod: PodId, numbers: &[u16]) {
    match pods.iter_mut().find(|(id, _)| *id == pod) {
        Some((_, ports)) => *ports = distinct(ports.iter().chain(numbers).copied()),
        None => pods.push((pod, numbers.to_vec())),
    }
}

impl<'a> Lookup<'a> {
    /// A Service by its full name.
    pub(super) fn service_named(&mut self, name: &ObjectName, port: Option<&Port>) -> Vec<Peer> {
        let object = format!("Service/{name}");
        let Some(map) = self.map else {
            let message = format!("without manifests or a cluster the pods behind Service {name} are not known");
            let fix = format!(
                "give --manifests or --cluster, or write `peers: {{{}: {{selector: …, port: …}}}}`",
                self.key()
            );
            self.report(Code::PeerUnknown, &object, message, fix);
            return vec![unresolved(port)];
        };
        if let Some(service) = map.world.services.get(name) {
            return self.service(service, port);
        }
        let known: Vec<&str> = map.services_in(&name.namespace).map(|service| service.name.name.as_str()).collect();
        let elsewhere = map.world.services.keys().find(|other| other.name == name.name);
        let fix = match (closest(&name.name, &known), elsewhere) {
            (Some(near), _) => format!("did you mean {}/{near}?", name.namespace),
            (None, Some(other)) => format!("did you mean {other}?"),
            (None, None) => "correct the name, or add the Service".to_owned(),
        };
        let gap = self.unseen("Service", &name.namespace);
        let message =
            if gap.is_some() { format!("Service {name} is not known") } else { format!("there is no Service {name}") };
        self.report_absence(gap, Code::ReferenceBroken, &object, message, fix);
        vec![unresolved(port)]
    }

    /// A Service of the world.
    pub(super) fn service(&mut self, service: &'a Service, port: Option<&Port>) -> Vec<Peer> {
        let Some(map) = self.map else {
            return vec![unresolved(port)];
        };
        if let ServiceKind::ExternalName(host) = &service.kind {
            return self.external_name(service, host, port);
        }
        let (found, client) = match port {
            // At the `from` end only the pods matter, whatever port leads to them.
            None => (whole(map, service, Some(self.edge.protocol)), None),
            Some(Port::Pod(pod_port)) => {
                let mut found = whole(map, service, Some(self.edge.protocol));
                let pods: Vec<PodId> = found.pods.iter().map(|(id, _)| *id).collect();
                found.pods = self.ports_of(&service.name.to_string(), &pods, port);
                let ports = distinct(found.pods.iter().flat_map(|(_, ports)| ports.iter().copied()));
                let entry = entry_to(map, service, &ports, self.edge.protocol).or(match pod_port {
                    PortRef::Number(number) => entry_to(map, service, &[*number], self.edge.protocol),
                    PortRef::Name(_) => None,
                });
                (found, entry.map(|entry| entry.port))
            }
            Some(Port::Client(client)) => match self.client_entry(service, client) {
                Some(Dialled::Entry(entry)) => (self.behind(service, entry), Some(entry.port)),
                Some(Dialled::Direct(number)) => (direct(map, service, number), None),
                None => return vec![unresolved(None)],
            },
            Some(Port::Unknown { default }) => match self.only_entry(service, *default) {
                Some(entry) => (self.behind(service, entry), Some(entry.port)),
                None => return vec![unresolved(None)],
            },
        };
        self.service_peers(service, &found, client, port)
    }

    fn service_peers(
        &mut self,
        service: &'a Service,
        found: &Endpoints,
        client: Option<u16>,
        port: Option<&Port>,
    ) -> Vec<Peer> {
        let via = client.map(|client| (service.name.clone(), client));
        let name = format!("Service {}", service.name);
        let namespace = service.name.namespace.as_str();
        let preferred = service.selector.as_ref().map(|selector| (namespace, selector));
        if !found.pods.is_empty() {
            return self.peers_of(&name, &found.pods, preferred, via);
        }
        // What slices say is what kube-proxy does; the declared target is the next best.
        let declared = client.filter(|_| found.others.is_empty());
        let declared = declared.and_then(|client| self.declared_target(service, client));
        let ports = match port {
            None => Vec::new(),
            Some(Port::Pod(_)) => self.literal_ports(port),
            Some(_) => distinct(found.others.iter().map(|(_, port)| *port).chain(declared)),
        };
        if let Some(selector) = &service.selector {
            if found.others.is_empty() {
                let message = format!("{name} selects no pod that is known");
                let fix = "correct its selector, or add its pods";
                self.report_behind(self.unseen("Pod", namespace), service, message, fix);
            }
            let kind = PeerKind::Pods { namespace: namespace.to_owned(), selector: selector.clone(), pods: Vec::new() };
            return vec![Peer { kind, ports, service: via, by_default: false }];
        }
        if found.others.is_empty() {
            let message = format!("{name} has neither a selector nor endpoints that are known");
            let fix = "add its EndpointSlices (`kubectl get endpointslices -o yaml`)";
            self.report_behind(self.unseen("EndpointSlice", namespace), service, message, fix);
            return vec![unresolved(port)];
        }
        let nets = found.others.iter().map(|(ip, _)| (*ip).into()).collect();
        let mut peer = self.blocks(nets, Vec::new(), None, None);
        peer.ports = ports;
        peer.service = via;
        vec![peer]
    }

    fn declared_target(&self, service: &Service, client: u16) -> Option<u16> {
        match &entry(service, &PortRef::Number(client), self.edge.protocol)?.target {
            PortRef::Number(number) => Some(*number),
            PortRef::Name(_) => None,
        }
    }

    /// A CNAME: the client dials the other name with the same port.
    fn external_name(&mut self, service: &'a Service, host: &str, port: Option<&Port>) -> Vec<Peer> {
        let port = match port {
            Some(Port::Unknown { default: None }) => {
                service.ports.first().map(|entry| Port::Client(PortRef::Number(entry.port)))
            }
            other => other.cloned(),
        };
        // A CNAME chain among Services ends at the first step that is not one of them; longer chains are not followed.
        let next = self.map.and_then(|map| {
            let name = super::host::service_name(host, Some(&service.name.namespace))?.name;
            map.world.services.get(&name)
        });
        match next {
            Some(next) if !matches!(next.kind, ServiceKind::ExternalName(_)) => self.service(next, port.as_ref()),
            Some(next) => {
                let message =
                    format!("Service {} names {}, which is a name for another host itself", service.name, next.name);
                self.report_at(Code::ReferenceBroken, service, message, "let it name the last host of the chain");
                vec![unresolved(port.as_ref())]
            }
            None => self.outside(host, &[], port.as_ref()),
        }
    }

    /// The entry behind an entry's port, with what is wrong on the way.
    fn behind(&mut self, service: &'a Service, entry: &ServicePort) -> Endpoints {
        let Some(map) = self.map else {
            return Endpoints { pods: Vec::new(), others: Vec::new() };
        };
        let found = endpoints(map, service, entry);
        let lost: Vec<String> = found
            .pods
            .iter()
            .filter(|(_, ports)| ports.is_empty())
            .map(|(id, _)| map.world.pod(*id).name.to_string())
            .collect();
        if !lost.is_empty() {
            let message = format!(
                "Service {}: targetPort `{}` ({}) is no port of {}",
                service.name,
                entry.target,
                entry.protocol,
                listed(&lost)
            );
            self.report_at(
                Code::ReferenceBroken,
                service,
                message,
                "name a port that the container declares, or its number",
            );
        }
        if service.kind == ServiceKind::Headless
            && let PortRef::Number(target) = entry.target
            && target != entry.port
        {
            let message = format!(
                "Service {} is headless, so clients reach its pods on {}, and targetPort {target} is never used",
                service.name, entry.port
            );
            self.report_at(
                Code::ReferenceBroken,
                service,
                message,
                format!("dial port {target}, or give the Service an address"),
            );
        }
        found
    }

    /// What a client's port leads to; a pod port in the place of a Service port is forgiven with a finding.
    fn client_entry(&mut self, service: &'a Service, client: &PortRef) -> Option<Dialled<'a>> {
        if let Some(found) = dialled(service, client, self.edge.protocol) {
            return Some(found);
        }
        let map = self.map?;
        let name = &service.name;
        if let PortRef::Number(number) = client
            && let Some(entry) = entry_to(map, service, &[*number], self.edge.protocol)
        {
            let message =
                format!("{number} is the pod port behind Service {name}, not its port; did you mean {}?", entry.port);
            let fix = format!("dial {}:{}, or give the Service port {number}", name.name, entry.port);
            self.report(Code::ReferenceBroken, &format!("Service/{name}"), message, fix);
            return Some(Dialled::Entry(entry));
        }
        let ports: Vec<String> =
            service.ports.iter().map(|entry| format!("{}/{}", entry.port, entry.protocol)).collect();
        let message = format!("Service {name} has no port {client}/{}; it has {}", self.edge.protocol, listed(&ports));
        self.report(Code::ReferenceBroken, &format!("Service/{name}"), message, "dial one of its ports");
        None
    }

    /// The port to use when no source names one.
    fn only_entry(&mut self, service: &'a Service, default: Option<u16>) -> Option<&'a ServicePort> {
        let protocol = self.edge.protocol;
        let usual = default.and_then(|default| {
            let direct = entry(service, &PortRef::Number(default), protocol);
            direct.or_else(|| entry_to(self.map?, service, &[default], protocol))
        });
        let mut entries = service.ports.iter().filter(|entry| entry.protocol == protocol);
        let only = match (entries.next(), entries.next()) {
            (Some(only), None) => Some(only),
            _ => None,
        };
        if usual.or(only).is_none() {
            let message = format!("no source says which port of Service {} is meant", service.name);
            let fix = format!("write `peers: {{{}: {{service: {}, port: …}}}}`", self.key(), service.name);
            self.report(Code::PeerUnknown, self.key(), message, fix);
        }
        usual.or(only)
    }

    /// Nothing is behind a Service, or it is not shown.
    fn report_behind(&mut self, gap: Option<&NotCovered>, service: &Service, message: String, fix: &str) {
        match gap {
            Some(gap) => {
                let message = format!("{message} ({})", gap.sentence());
                self.report_at(Code::PeerUnknown, service, message, gap.fix.clone());
            }
            None => self.report_at(Code::ReferenceBroken, service, message, fix),
        }
    }

    pub(super) fn report_at(&mut self, code: Code, service: &Service, message: String, fix: impl Into<String>) {
        let object = format!("Service/{}", service.name);
        let finding = Finding::new(code, object, message, fix).on(&self.edge.name).at(service.place.clone());
        self.findings.push(finding);
    }
}

/// What a client's port of a Service leads to.
enum Dialled<'s> {
    /// Through this port of the Service.
    Entry(&'s ServicePort),
    /// To the pods on this very port.
    Direct(u16),
}

/// What a client's port leads to. `None`: the Service has no such port.
fn dialled<'s>(service: &'s Service, client: &PortRef, protocol: Protocol) -> Option<Dialled<'s>> {
    match (entry(service, client, protocol), client) {
        (Some(entry), _) => Some(Dialled::Entry(entry)),
        (None, PortRef::Number(number)) if service.kind == ServiceKind::Headless => Some(Dialled::Direct(*number)),
        (None, _) => None,
    }
}

/// The pods, pod ports and addresses at which a connection to a Service ends. `None`: the Service has no such port.
pub(crate) fn behind(map: &Map<'_>, service: &Service, client: &PortRef, protocol: Protocol) -> Option<Endpoints> {
    Some(match dialled(service, client, protocol)? {
        Dialled::Entry(entry) => endpoints(map, service, entry),
        Dialled::Direct(number) => direct(map, service, number),
    })
}

/// A headless Service on a port that it does not list: all its pods on this very port.
fn direct(map: &Map<'_>, service: &Service, number: u16) -> Endpoints {
    let mut found = whole(map, service, None);
    found.pods.iter_mut().for_each(|(_, ports)| *ports = vec![number]);
    found.others.iter_mut().for_each(|(_, port)| *port = number);
    found.others.sort_unstable();
    found.others.dedup();
    found
}

/// All pods behind a Service, without ports, and the other addresses behind its ports of a protocol (`None`: of any).
pub(crate) fn whole(map: &Map<'_>, service: &Service, protocol: Option<Protocol>) -> Endpoints {
    let mut all = Endpoints { pods: Vec::new(), others: Vec::new() };
    for entry in &service.ports {
        let found = endpoints(map, service, entry);
        found.pods.iter().for_each(|(id, _)| add(&mut all.pods, *id, &[]));
        if protocol.is_none_or(|protocol| entry.protocol == protocol) {
            all.others.extend(found.others);
        }
    }
    if service.ports.is_empty() {
        // Only a headless Service may list no port; its slices then list none either.
        for endpoint in map.slices(&service.name).iter().flat_map(|slice| &slice.endpoints) {
            match pod_of(map, endpoint) {
                Some(pod) => add(&mut all.pods, pod, &[]),
                None => all.others.extend(endpoint.addresses.iter().map(|ip| (*ip, 0))),
            }
        }
    }
    if all.pods.is_empty()
        && let Some(selector) = &service.selector
    {
        all.pods = map.selected(&service.name.namespace, selector).into_iter().map(|id| (id, Vec::new())).collect();
    }
    all
}
