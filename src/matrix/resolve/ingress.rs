//! Ingress controllers: who opens `traefik-to-mas`, and whom MAS meets when it asks for a public name of its own cluster.
//!
//! A public name leads to the load balancer's address. kube-proxy short-circuits that address to the controller's pods,
//! unless its `ipMode` is `Proxy` or it is known by host name only; then the connection leaves the cluster (KEP-1860).

use std::collections::BTreeSet;

use super::host::dialled;
use super::map::{image_name, selector_of};
use super::select::listed;
use super::{Lookup, merge, service, unresolved};
use crate::finding::{Code, Finding};
use crate::matrix::{Party, Peer, PeerKind, Port};
use crate::world::{Entrance, EntranceKind, Labels, Pod, PodId, PortRef, Service, WorkloadKind};

/// An ingress controller, and how its parts are recognised.
pub(super) struct Family {
    name: &'static str,
    /// Prefixes of `spec.controller` and `spec.controllerName`.
    controllers: &'static [&'static str],
    /// Part of a class's name, for classes whose object is not here.
    class: &'static str,
    /// Last parts of its images' repositories.
    images: &'static [&'static str],
    /// Values of `app.kubernetes.io/name`.
    labels: &'static [&'static str],
    /// Container port for https by default, where no pod is known.
    pub(super) https: u16,
    http: u16,
}

/// Traefik, as its chart has it.
pub(super) const TRAEFIK: Family = Family {
    name: "traefik",
    controllers: &["traefik.io/"],
    class: "traefik",
    images: &["traefik", "mirrored-library-traefik", "traefik-hub", "traefikee"],
    labels: &["traefik"],
    https: 8443,
    http: 8000,
};

const FAMILIES: &[Family] = &[
    TRAEFIK,
    Family {
        name: "ingress-nginx",
        controllers: &["k8s.io/ingress-nginx", "nginx.org/"],
        class: "nginx",
        images: &["nginx-ingress-controller", "ingress-nginx-controller", "nginx-ingress"],
        labels: &["ingress-nginx", "nginx-ingress", "rke2-ingress-nginx"],
        https: 443,
        http: 80,
    },
    Family {
        name: "haproxy",
        controllers: &["haproxy-ingress.github.io/", "haproxy.org/"],
        class: "haproxy",
        images: &["haproxy-ingress", "haproxy-ingress-controller", "kubernetes-ingress"],
        labels: &["haproxy-ingress", "kubernetes-ingress"],
        https: 8443,
        http: 8080,
    },
    Family {
        name: "contour",
        controllers: &["projectcontour.io/"],
        class: "contour",
        images: &[],
        labels: &["envoy"],
        https: 8443,
        http: 8080,
    },
    Family {
        name: "kong",
        controllers: &["ingress-controllers.konghq.com/", "konghq.com/"],
        class: "kong",
        images: &["kong", "kong-gateway"],
        labels: &["kong"],
        https: 8443,
        http: 8000,
    },
];

/// Labels by which controllers mark the pods of one Gateway: `(name, namespace)`. The first is GEP-1762's; without a namespace label the pods live beside the Gateway.
const GATEWAY_LABELS: &[(&str, Option<&str>)] = &[
    ("gateway.networking.k8s.io/gateway-name", None),
    ("gateway.envoyproxy.io/owning-gateway-name", Some("gateway.envoyproxy.io/owning-gateway-namespace")),
];

impl Family {
    fn owns(&self, pod: &Pod) -> bool {
        let component = pod.labels.get("app.kubernetes.io/component").map(String::as_str);
        let passing = pod
            .workload
            .as_ref()
            .is_some_and(|workload| matches!(workload.kind, WorkloadKind::Job | WorkloadKind::CronJob));
        let labelled =
            pod.labels.get("app.kubernetes.io/name").is_some_and(|name| self.labels.contains(&name.as_str()));
        // registry.k8s.io/ingress-nginx/controller says its name one part earlier.
        let pictured = pod.images.iter().any(|image| {
            self.images.contains(&image_name(image)) || image.contains(&format!("/{}/controller", self.name))
        });
        !passing && (labelled || pictured) && !matches!(component, Some("admission-webhook" | "default-backend"))
    }

    fn of_controller(controller: &str) -> Option<&'static Self> {
        FAMILIES.iter().find(|family| family.controllers.iter().any(|prefix| controller.starts_with(prefix)))
    }
}

/// Which controller serves something.
enum Serves {
    /// This one.
    Family(&'static Family),
    /// These pods, marked as a Gateway's own.
    Pods(Vec<PodId>),
    /// One that is not known here.
    Foreign(String),
    /// Nothing says.
    Unsaid,
}

impl<'a> Lookup<'a> {
    /// The controller that answers for a host, as a peer.
    pub(super) fn ingress_controller(&mut self, host: Option<&str>, port: Option<&Port>) -> Vec<Peer> {
        if self.map.is_none() {
            let dialled = port.and_then(dialled).map(|number| default_port(&TRAEFIK, number));
            return vec![self.default_controller(&TRAEFIK, dialled.as_ref().map(std::slice::from_ref))];
        }
        match port {
            None => match self.controller(host) {
                Controller::Pods(pods) => {
                    let found: Vec<_> = pods.into_iter().map(|id| (id, Vec::new())).collect();
                    self.peers_of("the ingress controller", &found, None, None)
                }
                Controller::Default(family) => vec![self.default_controller(family, None)],
                Controller::Unknown => vec![unresolved(None)],
            },
            Some(port) => self.hairpin(host.unwrap_or_default(), port),
        }
    }

    /// A public name of this cluster, dialled from inside.
    pub(super) fn hairpin(&mut self, host: &str, port: &Port) -> Vec<Peer> {
        let Some(client) = dialled(port) else {
            let message = format!("no source says which port of {host} is dialled");
            self.report(
                Code::PeerUnknown,
                host,
                message,
                format!("write `peers: {{{}: {{host: {host}, port: 443}}}}`", self.key()),
            );
            return vec![unresolved(None)];
        };
        let pods = match self.controller(Some(host)) {
            Controller::Pods(pods) => pods,
            Controller::Default(family) => {
                let mut peers = vec![self.default_controller(family, Some(&[default_port(family, client)]))];
                merge(&mut peers, self.outside(host, &[], Some(port)));
                return peers;
            }
            Controller::Unknown => {
                let mut peers = vec![unresolved(None)];
                merge(&mut peers, self.outside(host, &[], Some(port)));
                return peers;
            }
        };
        let services = self.fronts(&pods, client);
        let mut peers = Vec::new();
        for service in &services {
            merge(&mut peers, self.service(service, Some(&Port::Client(PortRef::Number(client)))));
        }
        if services.is_empty() {
            merge(&mut peers, self.without_service(&pods, client));
        }
        merge(&mut peers, self.balancer(host, &services, port, client));
        peers
    }

    /// Services in front of the controller that have the client's port; those with a load balancer, if any has one.
    fn fronts(&self, pods: &[PodId], client: u16) -> Vec<&'a Service> {
        let Some(map) = self.map else {
            return Vec::new();
        };
        let namespaces: BTreeSet<&str> = pods.iter().map(|id| map.world.pod(*id).name.namespace.as_str()).collect();
        let wanted = PortRef::Number(client);
        let all = namespaces.into_iter().flat_map(|namespace| map.services_of(namespace, pods));
        let all: Vec<&Service> = all.filter(|s| service::entry(s, &wanted, self.edge.protocol).is_some()).collect();
        let balanced: Vec<&Service> = all.iter().copied().filter(|s| !s.load_balancer.is_empty()).collect();
        if balanced.is_empty() { all } else { balanced }
    }

    /// A controller on host ports or behind something else: its own port names are all there is.
    fn without_service(&mut self, pods: &[PodId], client: u16) -> Vec<Peer> {
        let Some(map) = self.map else {
            return Vec::new();
        };
        let names: &[&str] = if client == 443 { &["websecure", "https"] } else { &["web", "http"] };
        let mut found = Vec::new();
        for id in pods {
            let ports = &map.world.pod(*id).ports;
            let number = ports.iter().find(|port| port.name.as_deref().is_some_and(|name| names.contains(&name)));
            let number = number.map(|port| port.number);
            found.push((*id, number.into_iter().collect::<Vec<u16>>()));
        }
        if found.iter().any(|(_, ports)| ports.is_empty()) {
            let message =
                format!("no Service leads to the ingress controller on port {client}, and its pods name no such port");
            let fix = format!("write `peers: {{{}: {{selector: …, port: …}}}}`", self.key());
            self.report(Code::PeerUnknown, self.key(), message, fix);
            return vec![unresolved(None)];
        }
        self.peers_of("the ingress controller", &found, None, None)
    }

    /// The load balancer's own addresses, where kube-proxy does not short-circuit them.
    fn balancer(&mut self, host: &str, services: &[&Service], port: &Port, client: u16) -> Vec<Peer> {
        let addresses = services.iter().flat_map(|service| &service.load_balancer);
        let mut nets = Vec::new();
        let mut hidden = services.iter().all(|service| service.load_balancer.is_empty());
        for address in addresses {
            match address.ip {
                Some(ip) if address.proxy => nets.push(ip.into()),
                Some(_) => {}
                None => hidden |= address.hostname.is_some(),
            }
        }
        let mut peers = Vec::new();
        if !nets.is_empty() {
            let mut peer = self.blocks(nets, Vec::new(), Some(host), None);
            peer.ports = vec![client];
            peers.push(peer);
        }
        if hidden {
            // Its status is not here, or names no address: the connection may leave the cluster.
            peers.extend(self.outside(host, &[], Some(port)));
        }
        peers
    }

    fn controller(&mut self, host: Option<&str>) -> Controller {
        let entrances: Vec<&Entrance> = host.map(|host| self.entrances(host).collect()).unwrap_or_default();
        let mut pods = Vec::new();
        let mut families: Vec<&'static Family> = Vec::new();
        let mut unsaid = entrances.is_empty();
        for entrance in entrances {
            match self.serves(entrance) {
                Serves::Family(family) if families.iter().any(|known| known.name == family.name) => {}
                Serves::Family(family) => families.push(family),
                Serves::Pods(own) => pods.extend(own),
                Serves::Foreign(controller) => {
                    let message = format!("{} is served by {controller}, whose pods are not known", label(entrance));
                    self.unknown_controller(message);
                    return Controller::Unknown;
                }
                Serves::Unsaid => unsaid = true,
            }
        }
        if families.is_empty() && pods.is_empty() && unsaid {
            return self.any_controller(host);
        }
        for family in families {
            let own = self.pods_of(family);
            if own.is_empty() && family.name == TRAEFIK.name {
                return Controller::Default(family);
            }
            if own.is_empty() {
                self.unknown_controller(format!("the pods of {} are not among the known pods", family.name));
                return Controller::Unknown;
            }
            pods.extend(own);
        }
        let workloads: BTreeSet<_> =
            pods.iter().filter_map(|id| self.map.map(|map| selector_of(map.world.pod(*id)))).collect();
        if workloads.len() > 1 {
            let message =
                "several installations of the ingress controller could answer; all of them are meant".to_owned();
            let fix = format!("pin it with `peers: {{{}: {{selector: {{namespace: …, …}}}}}}`", self.key());
            self.report(Code::DefaultUsed, self.key(), message, fix);
        }
        Controller::Pods(pods)
    }

    fn serves(&self, entrance: &Entrance) -> Serves {
        let Some(map) = self.map else {
            return Serves::Unsaid;
        };
        let own = entrance.gateways.iter().flat_map(|gateway| {
            GATEWAY_LABELS.iter().flat_map(move |(name, namespace)| {
                map.with_label(name, &gateway.name).into_iter().filter(move |id| {
                    let pod = map.world.pod(*id);
                    let home = namespace.map_or(Some(&pod.name.namespace), |label| pod.labels.get(label));
                    home == Some(&gateway.namespace)
                })
            })
        });
        let own: Vec<PodId> = own.collect();
        if !own.is_empty() {
            return Serves::Pods(own);
        }
        if entrance.kind == EntranceKind::IngressRoute {
            return Serves::Family(&FAMILIES[0]);
        }
        let Some(class) = &entrance.class else {
            return Serves::Unsaid;
        };
        let controller = match entrance.kind {
            EntranceKind::HttpRoute => map.world.gateway_classes.get(class),
            _ => map.world.ingress_classes.get(class),
        };
        let family = match controller {
            Some(controller) => Family::of_controller(controller),
            None => FAMILIES.iter().find(|family| class.contains(family.class)),
        };
        let foreign = || Serves::Foreign(controller.cloned().unwrap_or_else(|| format!("class {class}")));
        family.map_or_else(foreign, Serves::Family)
    }

    /// Nothing names a class or a route: the only controller here is meant, if there is only one.
    fn any_controller(&mut self, host: Option<&str>) -> Controller {
        let here: Vec<(&'static Family, Vec<PodId>)> =
            FAMILIES.iter().map(|family| (family, self.pods_of(family))).filter(|(_, pods)| !pods.is_empty()).collect();
        match here.as_slice() {
            [] => Controller::Default(&FAMILIES[0]),
            [(family, pods)] => {
                let of = host.map_or_else(String::new, |host| format!(" for {host}"));
                let message =
                    format!("no route says which ingress controller answers{of}; {} is the only one here", family.name);
                let fix = "add the Ingress, IngressRoute or HTTPRoute of that host, with its class";
                self.report(Code::DefaultUsed, self.key(), message, fix);
                Controller::Pods(pods.clone())
            }
            several => {
                let names: Vec<String> = several.iter().map(|(family, _)| family.name.to_owned()).collect();
                self.unknown_controller(format!("no route says which of {} answers", listed(&names)));
                Controller::Unknown
            }
        }
    }

    /// Whether any ingress controller is among the known pods.
    pub(super) fn has_controller(&self) -> bool {
        FAMILIES.iter().any(|family| !self.pods_of(family).is_empty())
    }

    /// A family's pods; of several installations those behind a load balancer, if that leaves one.
    fn pods_of(&self, family: &Family) -> Vec<PodId> {
        let Some(map) = self.map else {
            return Vec::new();
        };
        let all = map.filtered(|pod| family.owns(pod));
        let balanced = |id: &PodId| {
            let pod = map.world.pod(*id);
            map.services_of(&pod.name.namespace, &[*id]).iter().any(|service| !service.load_balancer.is_empty())
        };
        let exposed: Vec<PodId> = all.iter().copied().filter(balanced).collect();
        if exposed.is_empty() { all } else { exposed }
    }

    /// The chart's own labels, where no pod is known.
    pub(super) fn default_controller(&mut self, family: &Family, ports: Option<&[u16]>) -> Peer {
        let selector = Labels::from([("app.kubernetes.io/name".to_owned(), family.labels[0].to_owned())]);
        let namespace = family.name.to_owned();
        let message = format!(
            "the pods of the ingress controller are not known; its chart's own label and namespace ({namespace}) stand in for them"
        );
        let fix = format!("add its manifests, or write `peers: {{{}: {{selector: {{namespace: …, …}}}}}}`", self.key());
        let gap = self.unseen("Pod", family.name);
        self.report_absence(gap, Code::DefaultUsed, self.key(), message, fix);
        let kind = PeerKind::Pods { namespace, selector, pods: Vec::new() };
        Peer { kind, ports: ports.unwrap_or_default().to_vec(), service: None, by_default: true }
    }

    fn unknown_controller(&mut self, message: String) {
        let fix = format!("write `peers: {{{}: {{selector: {{namespace: …, …}}}}}}`", self.key());
        self.report(Code::PeerUnknown, self.key(), message, fix);
    }

    /// Whether the routes of the subject's public host lead to the subject at all.
    pub(super) fn check_routes(&mut self) {
        let (Some(map), Some(subject)) = (self.map, self.subject) else {
            return;
        };
        if !self.edge.to.iter().any(|target| target.party == Party::Subject) {
            return;
        }
        let hosts: Vec<&String> = self
            .edge
            .from
            .iter()
            .filter_map(|party| if let Party::IngressController(host) = party { host.as_ref() } else { None })
            .collect();
        for host in hosts {
            let routes: Vec<&Entrance> = self.entrances(host).filter(|route| !route.backends.is_empty()).collect();
            let own = map.services_of(&subject.namespace, &subject.pods);
            let leads = |route: &&Entrance| {
                route.backends.iter().any(|backend| own.iter().any(|service| service.name == backend.service))
            };
            if let Some(route) = routes.first()
                && !routes.iter().any(leads)
            {
                let backends: Vec<String> = route.backends.iter().map(|b| format!("Service {}", b.service)).collect();
                let message = format!("{} sends {host} to {}, which is not MAS", label(route), listed(&backends));
                self.route_finding(route, message, "let its backend be MAS's Service");
            }
            for route in routes.into_iter().filter(leads) {
                self.check_ports(route, host, &own);
            }
        }
    }

    fn check_ports(&mut self, route: &Entrance, host: &str, own: &[&Service]) {
        for backend in &route.backends {
            let Some(target) = own.iter().find(|service| service.name == backend.service) else {
                continue;
            };
            if let Some(port) = &backend.port
                && service::entry(target, port, self.edge.protocol).is_none()
            {
                let message = format!(
                    "{} sends {host} to port {port} of Service {}, which has no such port",
                    label(route),
                    target.name
                );
                self.route_finding(route, message, "name one of the Service's ports");
            }
        }
    }

    fn route_finding(&mut self, route: &Entrance, message: String, fix: &str) {
        let finding = Finding::new(Code::ReferenceBroken, label(route), message, fix);
        self.findings.push(finding.on(&self.edge.name).at(route.place.clone()));
    }
}

/// Where a controller's pods are.
enum Controller {
    Pods(Vec<PodId>),
    /// Not here; the chart's own labels stand in.
    Default(&'static Family),
    /// A finding says why.
    Unknown,
}

fn default_port(family: &Family, client: u16) -> u16 {
    match client {
        443 => family.https,
        80 => family.http,
        other => other,
    }
}

fn label(entrance: &Entrance) -> String {
    let kind = match entrance.kind {
        EntranceKind::Ingress => "Ingress",
        EntranceKind::IngressRoute => "IngressRoute",
        EntranceKind::HttpRoute => "HTTPRoute",
    };
    format!("{kind}/{}", entrance.name)
}
