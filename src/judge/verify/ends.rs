//! The ends of assertions → pods, pod ports and addresses; each end is looked up once, however many assertions name it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::rc::Rc;

use ipnet::IpNet;

use super::Assertion;
use crate::judge::audit::{Addresses, Reach, Side};
use crate::matrix::resolve::{Map, behind, whole};
use crate::matrix::{Party, Subject};
use crate::world::{ObjectName, Phase, PodId, PortRef, Protocol, Service, ServiceKind, World};

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
    map: Map<'w>,
    reach: &'w Reach<'w>,
    subject: Option<&'w Subject>,
    pods: HashMap<&'w ObjectName, PodId>,
    services: HashMap<IpAddr, &'w Service>,
    sources: HashMap<&'a Party, Rc<[Side]>>,
    targets: HashMap<Wanted<'a>, Rc<[Target]>>,
}

impl<'a, 'w> Ends<'a, 'w> {
    pub(in crate::judge) fn new(world: &'w World, reach: &'w Reach<'w>, subject: Option<&'w Subject>) -> Self {
        let pods = world.pods().filter(|(_, pod)| pod.phase == Phase::Live && !pod.template);
        Self {
            world,
            map: Map::new(world),
            reach,
            subject,
            pods: pods.map(|(id, pod)| (&pod.name, id)).collect(),
            services: world.services.values().flat_map(|s| s.virtual_addresses().map(move |ip| (ip, s))).collect(),
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
                None => [unknown(self.no_service(name))].into(),
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
            Some(Err(name)) => vec![nowhere(self.no_service(name))],
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
        let pods = |pods: Vec<PodId>, what: String, namespace: &str| {
            if !pods.is_empty() {
                return Side::Pods(pods);
            }
            unknown(self.absent("Pod", namespace, format!("the sources show no pod of {what}")))
        };
        let one = match party {
            Party::Subject => match self.subject {
                Some(subject) => {
                    let live = subject.pods.iter().copied().filter(|id| self.world.pod(*id).phase == Phase::Live);
                    pods(live.collect(), "the subject".to_owned(), &subject.namespace)
                }
                None => unknown("it is not known which pods are the subject".to_owned()),
            },
            Party::Pod(name) => match self.pods.get(name) {
                Some(id) => Side::Pods(vec![*id]),
                None => unknown(self.absent("Pod", &name.namespace, format!("there is no pod {name} in the sources"))),
            },
            Party::Workload(kind, name) => pods(self.map.of_workload(*kind, name), party.to_string(), &name.namespace),
            Party::Selector { namespace, labels } => {
                let namespace = namespace.as_ref().or(self.subject.map(|subject| &subject.namespace));
                let found = namespace.map(|namespace| self.map.selected(namespace, labels));
                let within = namespace.map(String::as_str).unwrap_or_default();
                pods(found.unwrap_or_default(), party.to_string(), within)
            }
            Party::Address(address) => self.reach.at(*address),
            Party::Block(net) => Side::Range(Addresses::of(&[*net], &[])),
            Party::Node(name) => match self.world.nodes.get(name) {
                Some(node) => {
                    return node.addresses.iter().map(|a| Side::Range(Addresses::single([*a]))).collect();
                }
                None => unknown(self.absent("Node", "", format!("there is no node {name} in the sources"))),
            },
            Party::AnyPod => match self.reach.any_pod() {
                pods if pods.is_empty() => unknown("the sources show no pod of any namespace".to_owned()),
                _ => return self.reach.every_pod(),
            },
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

    /// What to say of something that is not here.
    fn absent(&self, kind: &str, namespace: &str, message: String) -> String {
        match self.world.unseen(kind, namespace) {
            Some(gap) => format!("{message} ({})", gap.sentence()),
            None => message,
        }
    }

    fn no_service(&self, name: &ObjectName) -> String {
        self.absent("Service", &name.namespace, format!("there is no Service {name} in the sources"))
    }

    /// A side on a pod port.
    fn on_port(&self, side: Side, port: &PortRef, protocol: Protocol) -> Vec<Target> {
        let name = match port {
            PortRef::Number(port) => return vec![Target { side, port: *port }],
            PortRef::Name(name) => name,
        };
        match side {
            Side::Pods(pods) => self.on_named_port(&pods, name, protocol, Side::Pods),
            Side::AnyPod(pods) => self.on_named_port(&pods, name, protocol, Side::AnyPod),
            Side::At(address) if let [pod] = self.reach.pods_of(&side)[..] => {
                self.on_named_port(&[pod], name, protocol, |_| Side::At(address))
            }
            Side::Unknown(why) => vec![nowhere(why)],
            Side::At(_) | Side::Range(_) => {
                vec![nowhere(format!("an address has no port named {name}: write its number"))]
            }
        }
    }

    /// A named port may have another number on each pod, and several on one.
    fn on_named_port(
        &self,
        pods: &[PodId],
        name: &str,
        protocol: Protocol,
        side: impl Fn(Vec<PodId>) -> Side,
    ) -> Vec<Target> {
        let mut by_number: BTreeMap<u16, Vec<PodId>> = BTreeMap::new();
        let mut without = Vec::new();
        for id in pods {
            let pod = self.world.pod(*id);
            let fits = pod.ports.iter().filter(|p| p.protocol == protocol && p.name.as_deref() == Some(name));
            let numbers: Vec<u16> = fits.map(|port| port.number).collect();
            if numbers.is_empty() {
                without.push(nowhere(format!("{} has no {protocol} port named {name}", pod.name)));
            }
            for number in numbers {
                by_number.entry(number).or_default().push(*id);
            }
        }
        let found = by_number.into_iter().map(|(port, pods)| Target { side: side(pods), port });
        found.chain(without).collect()
    }

    /// The pods and pod ports that a connection to a Service port ends at.
    fn behind(&self, service: &Service, port: &PortRef, protocol: Protocol) -> Vec<Target> {
        if let ServiceKind::ExternalName(host) = &service.kind {
            return vec![nowhere(format!(
                "Service {} is a name for {host}, whose addresses are not known",
                service.name
            ))];
        }
        let Some(found) = behind(&self.map, service, port, protocol) else {
            return vec![nowhere(format!("Service {} has no port {port}/{protocol}", service.name))];
        };
        let mut by_number: BTreeMap<u16, Vec<PodId>> = BTreeMap::new();
        let mut without = Vec::new();
        for (id, numbers) in &found.pods {
            if numbers.is_empty() {
                let pod = &self.world.pod(*id).name;
                without.push(nowhere(format!("Service {}: its port {port} is no port of {pod}", service.name)));
            }
            for number in numbers {
                by_number.entry(*number).or_default().push(*id);
            }
        }
        let pods = by_number.into_iter().map(|(port, pods)| Target { side: Side::Pods(pods), port });
        let others: BTreeSet<(IpAddr, u16)> = found.others.into_iter().collect();
        let others = others.into_iter().map(|(address, port)| Target { side: self.reach.at(address), port });
        let targets: Vec<Target> = pods.chain(others).chain(without).collect();
        if targets.is_empty() { vec![nowhere(no_endpoint(service))] } else { targets }
    }

    /// What is behind a Service, whatever the port.
    fn backends(&self, service: &Service) -> Vec<Side> {
        let found = whole(&self.map, service, None);
        let pods: Vec<PodId> = found.pods.into_iter().map(|(id, _)| id).collect();
        let others: BTreeSet<IpAddr> = found.others.into_iter().map(|(address, _)| address).collect();
        let pods = (!pods.is_empty()).then_some(Side::Pods(pods));
        let sides: Vec<Side> = pods.into_iter().chain(others.into_iter().map(|a| self.reach.at(a))).collect();
        if sides.is_empty() { vec![unknown(no_endpoint(service))] } else { sides }
    }
}

fn no_endpoint(service: &Service) -> String {
    format!("the sources show no endpoint of Service {}", service.name)
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
