//! The ends of assertions → pods, pod ports and addresses; each end is looked up once, however many assertions name it.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::rc::Rc;

use ipnet::IpNet;

use super::Assertion;
use crate::judge::audit::{Addresses, Reach, Side, virtual_addresses};
use crate::matrix::{Party, Subject};
use crate::world::labels::matches_all;
use crate::world::{
    EndpointSlice, ObjectName, Phase, Pod, PodId, PortRef, Protocol, Service, ServiceKind, ServicePort, WorkloadKind,
    World,
};

/// A destination on one pod port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::judge) struct Target {
    pub(in crate::judge) side: Side,
    /// The pod port, after Service DNAT.
    pub(in crate::judge) port: u16,
}

/// A destination as an assertion writes it.
type Wanted<'a> = (&'a Party, &'a PortRef, Protocol);

/// Looks ends up.
pub(in crate::judge) struct Ends<'a, 'w> {
    world: &'w World,
    reach: &'w Reach<'w>,
    subject: Option<&'w Subject>,
    pods: HashMap<&'w ObjectName, PodId>,
    workloads: HashMap<(WorkloadKind, &'w str, &'w str), Vec<PodId>>,
    by_address: HashMap<IpAddr, PodId>,
    slices: HashMap<&'w ObjectName, Vec<&'w EndpointSlice>>,
    services: HashMap<IpAddr, &'w Service>,
    sources: HashMap<&'a Party, Rc<[Side]>>,
    targets: HashMap<Wanted<'a>, Rc<[Target]>>,
}

impl<'a, 'w> Ends<'a, 'w> {
    pub(in crate::judge) fn new(world: &'w World, reach: &'w Reach<'w>, subject: Option<&'w Subject>) -> Self {
        let live = || world.pods().filter(|(_, pod)| pod.phase == Phase::Live);
        let mut workloads: HashMap<_, Vec<PodId>> = HashMap::new();
        for (id, pod) in live() {
            if let Some(owner) = &pod.workload {
                let key = (owner.kind, pod.name.namespace.as_str(), owner.name.as_str());
                workloads.entry(key).or_default().push(id);
            }
        }
        let mut slices: HashMap<_, Vec<&EndpointSlice>> = HashMap::new();
        for slice in &world.endpoint_slices {
            slices.entry(&slice.service).or_default().push(slice);
        }
        let plain = live().filter(|(_, pod)| !pod.host_network);
        Self {
            world,
            reach,
            subject,
            pods: live().filter(|(_, pod)| !pod.template).map(|(id, pod)| (&pod.name, id)).collect(),
            workloads,
            by_address: plain.flat_map(|(id, pod)| pod.addresses.iter().map(move |address| (*address, id))).collect(),
            slices,
            services: world.services.values().flat_map(|s| virtual_addresses(s).map(move |ip| (ip, s))).collect(),
            sources: HashMap::new(),
            targets: HashMap::new(),
        }
    }

    /// Who opens the connections of an assertion.
    pub(in crate::judge) fn sources(&mut self, assertion: &'a Assertion) -> Rc<[Side]> {
        if let Some(known) = self.sources.get(&assertion.from) {
            return Rc::clone(known);
        }
        let found: Rc<[Side]> = match &assertion.from {
            Party::Service(name) => match self.world.services.get(name) {
                // A Service opens nothing; its pods do, whatever port they serve.
                Some(service) => self.backends(service).into(),
                None => [unknown(format!("there is no Service {name} in the sources"))].into(),
            },
            party => self.sides(party).into(),
        };
        self.sources.insert(&assertion.from, Rc::clone(&found));
        found
    }

    /// Where the connections of an assertion arrive.
    pub(in crate::judge) fn targets(&mut self, assertion: &'a Assertion) -> Rc<[Target]> {
        let wanted = (&assertion.to, &assertion.port, assertion.protocol);
        if let Some(known) = self.targets.get(&wanted) {
            return Rc::clone(known);
        }
        let service = match &assertion.to {
            Party::Service(name) => Some(self.world.services.get(name).ok_or(name)),
            Party::Address(address) => self.services.get(address).copied().map(Ok),
            _ => None,
        };
        let found: Vec<Target> = match service {
            Some(Ok(service)) => self.behind(service, &assertion.port, assertion.protocol),
            Some(Err(name)) => vec![nowhere(format!("there is no Service {name} in the sources"))],
            None => {
                let sides = self.sides(&assertion.to);
                sides.into_iter().flat_map(|side| self.on_port(side, &assertion.port, assertion.protocol)).collect()
            }
        };
        let found: Rc<[Target]> = found.into();
        self.targets.insert(wanted, Rc::clone(&found));
        found
    }

    /// Everything but Services.
    fn sides(&self, party: &Party) -> Vec<Side> {
        let pods = |pods: Vec<PodId>, what: String| {
            if pods.is_empty() { unknown(format!("the sources show no pod of {what}")) } else { Side::Pods(pods) }
        };
        let one = match party {
            Party::Subject => match self.subject {
                Some(subject) => {
                    let live = subject.pods.iter().copied().filter(|id| self.world.pod(*id).phase == Phase::Live);
                    pods(live.collect(), "the subject".to_owned())
                }
                None => unknown("it is not known which pods are the subject".to_owned()),
            },
            Party::Pod(name) => match self.pods.get(name) {
                Some(id) => Side::Pods(vec![*id]),
                None => unknown(format!("there is no pod {name} in the sources")),
            },
            Party::Workload(kind, name) => {
                let found = self.workloads.get(&(*kind, name.namespace.as_str(), name.name.as_str()));
                pods(found.cloned().unwrap_or_default(), party.to_string())
            }
            Party::Selector { namespace, labels } => {
                let namespace = namespace.as_ref().or(self.subject.map(|subject| &subject.namespace));
                let fits = |pod: &Pod| Some(&pod.name.namespace) == namespace && matches_all(labels, &pod.labels);
                let found = self.world.pods().filter(|(_, pod)| pod.phase == Phase::Live && fits(pod));
                pods(found.map(|(id, _)| id).collect(), party.to_string())
            }
            Party::Address(address) => match self.by_address.get(address) {
                Some(id) => Side::Pods(vec![*id]),
                None => Side::Range(Addresses::single([*address])),
            },
            Party::Block(net) => Side::Range(Addresses::of(&[*net], &[])),
            Party::Node(name) => match self.world.nodes.get(name) {
                Some(node) => {
                    return node.addresses.iter().map(|a| Side::Range(Addresses::single([*a]))).collect();
                }
                None => unknown(format!("there is no node {name} in the sources")),
            },
            Party::AnyPod => pods(self.reach.any_pod(), "any namespace".to_owned()),
            Party::World => Side::Range(public().minus(&Addresses::single(self.reach.inside()))),
            Party::Service(_)
            | Party::Host { .. }
            | Party::ClusterDns
            | Party::IngressController(_)
            | Party::Stranger
            | Party::Unknown { .. } => unknown(format!("{party} is no endpoint of an assertion")),
        };
        vec![one]
    }

    /// A side on a pod port; a named port may have another number on each pod.
    fn on_port(&self, side: Side, port: &PortRef, protocol: Protocol) -> Vec<Target> {
        match (side, port) {
            (side, PortRef::Number(port)) => vec![Target { side, port: *port }],
            (Side::Pods(pods), PortRef::Name(name)) => {
                let mut by_number: BTreeMap<u16, Vec<PodId>> = BTreeMap::new();
                let mut without = Vec::new();
                for id in pods {
                    let pod = self.world.pod(id);
                    let fits = pod.ports.iter().filter(|p| p.protocol == protocol && p.name.as_ref() == Some(name));
                    let numbers: Vec<u16> = fits.map(|port| port.number).collect();
                    if numbers.is_empty() {
                        without.push(nowhere(format!("{} has no {protocol} port named {name}", pod.name)));
                    }
                    for number in numbers {
                        by_number.entry(number).or_default().push(id);
                    }
                }
                let found = by_number.into_iter().map(|(port, pods)| Target { side: Side::Pods(pods), port });
                found.chain(without).collect()
            }
            (Side::Unknown(why), PortRef::Name(_)) => vec![nowhere(why)],
            (Side::Range(_), PortRef::Name(name)) => {
                vec![nowhere(format!("an address has no port named {name}: write its number"))]
            }
        }
    }

    /// The pods and pod ports that a connection to a Service port ends at.
    fn behind(&self, service: &Service, port: &PortRef, protocol: Protocol) -> Vec<Target> {
        if let ServiceKind::ExternalName(host) = &service.kind {
            return vec![nowhere(format!(
                "Service {} is a name for {host}, whose addresses are not known",
                service.name
            ))];
        }
        let declared = service.ports.iter().find(|p| {
            p.protocol == protocol
                && match port {
                    PortRef::Number(number) => p.port == *number,
                    PortRef::Name(name) => p.name.as_ref() == Some(name),
                }
        });
        if let (ServiceKind::Headless, PortRef::Number(_)) = (&service.kind, port) {
            // DNS answers with pod addresses: nothing rewrites the port that the client dials.
            return self.backends(service).into_iter().flat_map(|side| self.on_port(side, port, protocol)).collect();
        }
        let Some(declared) = declared else {
            return vec![nowhere(format!("Service {} has no port {port}/{protocol}", service.name))];
        };
        let sliced = self.sliced(service, declared);
        if !sliced.is_empty() {
            return sliced;
        }
        self.backends(service).into_iter().flat_map(|side| self.on_port(side, &declared.target, protocol)).collect()
    }

    /// What the EndpointSlices say, which also holds for Services without a selector.
    fn sliced(&self, service: &Service, port: &ServicePort) -> Vec<Target> {
        let mut found: BTreeMap<u16, (Vec<PodId>, Vec<IpAddr>)> = BTreeMap::new();
        for slice in self.slices.get(&service.name).into_iter().flatten() {
            let numbers = slice.ports.iter().filter(|(name, _, protocol)| {
                *protocol == port.protocol
                    && name.as_deref().unwrap_or_default() == port.name.as_deref().unwrap_or_default()
            });
            for number in numbers.filter_map(|(_, number, _)| *number) {
                let (pods, addresses) = found.entry(number).or_default();
                for endpoint in &slice.endpoints {
                    match self.endpoint(endpoint) {
                        Some(id) => pods.push(id),
                        None => addresses.extend(&endpoint.addresses),
                    }
                }
            }
        }
        found.into_iter().flat_map(|(port, (pods, addresses))| targets(port, pods, &addresses)).collect()
    }

    fn endpoint(&self, endpoint: &crate::world::Endpoint) -> Option<PodId> {
        let by_name = endpoint.pod.as_ref().and_then(|name| self.pods.get(name));
        by_name.or_else(|| endpoint.addresses.iter().find_map(|address| self.by_address.get(address))).copied()
    }

    /// The pods behind a Service, whatever the port.
    fn backends(&self, service: &Service) -> Vec<Side> {
        let mut pods: Vec<PodId> = Vec::new();
        let mut addresses: Vec<IpAddr> = Vec::new();
        for endpoint in self.slices.get(&service.name).into_iter().flatten().flat_map(|slice| &slice.endpoints) {
            match self.endpoint(endpoint) {
                Some(id) => pods.push(id),
                None => addresses.extend(&endpoint.addresses),
            }
        }
        if let (true, true, Some(selector)) = (pods.is_empty(), addresses.is_empty(), &service.selector) {
            let fits = |pod: &Pod| {
                pod.phase == Phase::Live
                    && pod.name.namespace == service.name.namespace
                    && matches_all(selector, &pod.labels)
            };
            pods = self.world.pods().filter(|(_, pod)| fits(pod)).map(|(id, _)| id).collect();
        }
        let sides: Vec<Side> = targets(0, pods, &addresses).into_iter().map(|target| target.side).collect();
        if sides.is_empty() {
            return vec![unknown(format!("the sources show no endpoint of Service {}", service.name))];
        }
        sides
    }
}

fn targets(port: u16, mut pods: Vec<PodId>, addresses: &[IpAddr]) -> Vec<Target> {
    pods.sort_unstable();
    pods.dedup();
    let addresses = addresses.iter().map(|address| Side::Range(Addresses::single([*address])));
    let pods = (!pods.is_empty()).then_some(Side::Pods(pods));
    pods.into_iter().chain(addresses).map(|side| Target { side, port }).collect()
}

fn unknown(why: String) -> Side {
    Side::Unknown(why)
}

fn nowhere(why: String) -> Target {
    Target { side: Side::Unknown(why), port: 0 }
}

/// All addresses but those that never lead out of a site: RFC 1918, 6598, 3927, 1122, 5771, 1112; RFC 4193, 4291.
fn public() -> Addresses {
    const INSIDE: [&str; 12] = [
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "224.0.0.0/3",
        "::/127",
        "fc00::/7",
        "fe80::/10",
        "ff00::/8",
    ];
    let inside: Vec<IpNet> = INSIDE.iter().filter_map(|net| net.parse().ok()).collect();
    Addresses::all().minus(&Addresses::of(&inside, &[]))
}
