//! MAS's listener as the objects show it: the pod ports behind its Services, and those of them to which routes lead.

use std::collections::BTreeSet;

use super::{Lookup, Map, service};
use crate::finding::Code;
use crate::matrix::{Exchange, Expect, Peer, PeerKind, Resolution, ResolvedEdge, Subject};
use crate::world::{PortRef, Protocol, Service, ServiceKind, World};

/// Pod ports at which the objects let others reach MAS.
struct Shown {
    /// Behind any port of its Services.
    exposed: BTreeSet<u16>,
    /// Behind those ports to which an Ingress or another route sends.
    routed: BTreeSet<u16>,
}

impl Shown {
    fn of(map: &Map<'_>, subject: &Subject, protocol: Protocol) -> Self {
        let mut services = map.services_of(&subject.namespace, &subject.pods);
        // Who dials a headless Service reaches the Service port itself, where nothing may listen: it tells least.
        if services.iter().any(|service| service.kind == ServiceKind::Virtual) {
            services.retain(|service| service.kind == ServiceKind::Virtual);
        }
        let behind = |service: &Service, port: Option<&PortRef>| {
            let entries = service.ports.iter().filter(move |entry| entry.protocol == protocol);
            let meant = entries.filter(|entry| match port {
                None => true,
                Some(PortRef::Number(number)) => entry.port == *number,
                Some(PortRef::Name(name)) => entry.name.as_ref() == Some(name),
            });
            let found = meant.flat_map(|entry| service::endpoints(map, service, entry).pods);
            let own = found.filter(|(pod, _)| subject.pods.contains(pod));
            own.flat_map(|(_, ports)| ports).collect::<BTreeSet<u16>>()
        };
        let exposed = services.iter().flat_map(|service| behind(service, None)).collect();
        let backends = map.world.entrances.iter().flat_map(|entrance| &entrance.backends);
        let routed = backends
            .filter_map(|backend| {
                let service = services.iter().find(|service| service.name == backend.service)?;
                Some(behind(service, backend.port.as_ref()))
            })
            .flatten()
            .collect();
        Self { exposed, routed }
    }
}

impl Lookup<'_> {
    /// The port on which MAS listens, where no source names it: the one that its routes, else its Services, else its containers show.
    /// `default` holds only where the objects do not contradict it. None when they show several.
    pub(super) fn listener(&mut self, subject: &Subject, default: u16) -> Vec<u16> {
        let Some(map) = self.map else {
            return vec![default];
        };
        let shown = Shown::of(map, subject, self.edge.protocol);
        let protocol = self.edge.protocol;
        let containers = subject.pods.iter().flat_map(|id| &map.world.pod(*id).ports);
        let containers = containers.filter(|port| port.protocol == protocol).map(|port| port.number);
        let containers: BTreeSet<u16> = containers.collect();
        let told = [shown.routed, shown.exposed, containers].into_iter().find(|ports| !ports.is_empty());
        let Some(told) = told else {
            return vec![default];
        };
        if told.contains(&default) {
            return vec![default];
        }
        if told.len() == 1 {
            return told.into_iter().collect();
        }
        let listed: Vec<String> = told.iter().map(u16::to_string).collect();
        let message =
            format!("no source says on which port MAS listens, and its pods are reached on {}", listed.join(" and "));
        let fix = "write `guide: {values: {mas: {service: {targetPort: <port>}}}}` into the TrafficMatrix";
        self.report(Code::PeerUnknown, "subject", message, fix);
        Vec::new()
    }
}

/// Ports of MAS that the objects show to those who open an edge to it, and that the edge's own do not cover: all that routes lead to, and all that its
/// Services expose where none of them leads to a port of the edge. Whoever plans by a wrong port cuts what runs there.
pub fn shown(resolution: &Resolution, world: &World) -> Vec<ResolvedEdge> {
    let Some(subject) = &resolution.subject else {
        return Vec::new();
    };
    let map = Map::new(world);
    let mut more = Vec::new();
    for resolved in resolution.edges.iter().filter(|resolved| is_callers(resolved)) {
        let shown = Shown::of(&map, subject, resolved.edge.protocol);
        let own: BTreeSet<u16> = resolved.to.iter().flat_map(|peer| peer.ports.iter().copied()).collect();
        let is_right = !shown.exposed.is_disjoint(&own);
        // A route is the ingress controller's business alone.
        let wanted = match resolved.edge.exchange {
            _ if !is_right => shown.exposed,
            Exchange::Whoami => continue,
            _ => shown.routed,
        };
        for port in wanted.difference(&own) {
            let kind = PeerKind::Pods {
                namespace: subject.namespace.clone(),
                selector: subject.selector.clone(),
                pods: subject.pods.clone(),
            };
            let to = vec![Peer { kind, ports: vec![*port], service: None, by_default: false }];
            more.push(ResolvedEdge { to, ..resolved.clone() });
        }
    }
    more
}

/// Who calls MAS by its listener: the ingress controller and Synapse. Other edges to MAS name a port of their own.
fn is_callers(resolved: &ResolvedEdge) -> bool {
    let by_listener =
        matches!(resolved.edge.exchange, Exchange::Whoami | Exchange::MasPublic { .. } | Exchange::MasDiscovery { .. });
    let seen = |peer: &Peer| matches!(&peer.kind, PeerKind::Pods { pods, .. } if !pods.is_empty());
    resolved.edge.expect == Expect::Allow && by_listener && resolved.from.iter().any(seen)
}
