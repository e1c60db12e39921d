//! Edges → what to dial: the addresses of the pods where a world shows them, else the names that MAS's config gives.
//!
//! Nothing outside the matrix is ever dialled: every address comes from an edge.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::matrix::{self, PeerKind, ResolvedEdge};
use crate::world::{ObjectName, World};

/// One thing to dial for an edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dial {
    /// This address.
    Address {
        /// Where.
        address: SocketAddr,
        /// The name by which MAS knows it, for certificates.
        host: Option<String>,
    },
    /// Every address that this name resolves to.
    Name {
        /// The host as the source has it.
        host: String,
        /// The port that a client dials.
        port: u16,
    },
}

impl Dial {
    /// To a name, or to an address in text form.
    pub fn to(host: &str, port: u16) -> Self {
        match host.parse() {
            Ok(address) => Self::Address { address: SocketAddr::new(address, port), host: None },
            Err(_) => Self::Name { host: host.to_owned(), port },
        }
    }
}

/// What to dial for an edge. `nameservers` are this host's own: they stand for the cluster's where no world shows those.
///
/// Empty: no source says where it goes.
pub fn dials(resolved: &ResolvedEdge, world: Option<&World>, nameservers: &[SocketAddr]) -> Vec<Dial> {
    let host = resolved.edge.to.iter().find_map(|target| target.party.host());
    let address = |address| Dial::Address { address, host: host.clone() };
    if let Some((host, port)) = resolved.edge.exchange.asked_at() {
        // Who answers there is the ingress controller, not the pods behind it.
        return vec![Dial::to(&host, port)];
    }
    let mut found: Vec<Dial> = Vec::new();
    for peer in &resolved.to {
        let with_ports = |ip: IpAddr| peer.ports.iter().map(move |port| SocketAddr::new(ip, *port));
        match (&peer.kind, world) {
            (PeerKind::Pods { pods, .. }, Some(world)) => {
                let families = peer.service.as_ref().map_or(Families::ANY, |(service, _)| Families::of(service, world));
                let addresses = pods.iter().flat_map(|pod| world.pod(*pod).addresses.iter().copied());
                let addresses = addresses.filter(|address| families.contain(*address));
                found.extend(addresses.flat_map(with_ports).map(address));
            }
            (PeerKind::Blocks { nets, .. }, _) => {
                let single = nets.iter().filter(|net| net.prefix_len() == net.max_prefix_len()).map(IpNet::addr);
                found.extend(single.flat_map(with_ports).map(address));
            }
            _ => {}
        }
    }
    if resolved.edge.exchange.is_dns()
        && let Some(world) = world
    {
        // MAS asks the Service, whichever pod answers: the way there is one of its own.
        found.extend(
            nameservers.iter().filter(|server| leads_there(resolved, world, server.ip())).copied().map(address),
        );
    }
    if found.is_empty() && resolved.edge.exchange.is_dns() {
        found = nameservers.iter().copied().map(address).collect();
    }
    if found.is_empty() {
        let said = resolved.edge.to.iter().filter_map(matrix::Target::dialled);
        found = said.map(|(host, port)| Dial::to(&host, port)).collect();
    }
    found.sort_by_key(|dial| format!("{dial:?}"));
    found.dedup();
    found
}

/// Whether an address is one of the Services that lead to the edge's targets.
fn leads_there(resolved: &ResolvedEdge, world: &World, address: IpAddr) -> bool {
    let services = resolved.to.iter().filter_map(|peer| world.services.get(&peer.service.as_ref()?.0));
    services.into_iter().any(|service| service.virtual_addresses().any(|own| own == address))
}

/// The address families in which a Service can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Families {
    v4: bool,
    v6: bool,
}

impl Families {
    const ANY: Self = Self { v4: true, v6: true };

    /// Pods of a dual-stack cluster have addresses of both, a Service only endpoints of its own (`spec.ipFamilies`): the others are nobody's way to it.
    fn of(service: &ObjectName, world: &World) -> Self {
        let slices = world.endpoint_slices.iter().filter(|slice| slice.service == *service);
        let endpoints: Vec<IpAddr> =
            slices.flat_map(|slice| &slice.endpoints).flat_map(|endpoint| endpoint.addresses.iter().copied()).collect();
        let virtual_ones = world.services.get(service).map_or(&[][..], |service| &service.cluster_ips);
        let known = if endpoints.is_empty() { virtual_ones } else { &endpoints };
        if known.is_empty() {
            return Self::ANY;
        }
        Self { v4: known.iter().any(IpAddr::is_ipv4), v6: known.iter().any(IpAddr::is_ipv6) }
    }

    fn contain(self, address: IpAddr) -> bool {
        if address.is_ipv4() { self.v4 } else { self.v6 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::{Edge, Exchange, Expect, Party, Peer, Port, Target};
    use crate::source::{Place, Position};
    use crate::world::{Endpoint, EndpointSlice, PortRef, Protocol, Service, ServiceKind};

    fn edge(party: Party, port: Port, exchange: Exchange, nets: &[&str]) -> ResolvedEdge {
        let peer = |net: &&str| Peer {
            kind: PeerKind::Blocks { nets: vec![net.parse().unwrap()], except: Vec::new(), host: None },
            ports: vec![443],
            service: None,
            by_default: false,
        };
        ResolvedEdge {
            edge: Edge {
                name: "e".to_owned(),
                from: vec![Party::Subject],
                to: vec![Target { party, port, place: None }],
                protocol: Protocol::Tcp,
                expect: Expect::Allow,
                tier: 0,
                breaks: String::new(),
                provenance: Vec::new(),
                exchange,
            },
            from: Vec::new(),
            to: nets.iter().map(peer).collect(),
        }
    }

    #[track_caller]
    fn check(edge: &ResolvedEdge, nameservers: &[&str], expect: &[&str]) {
        let nameservers: Vec<SocketAddr> = nameservers.iter().map(|s| s.parse().unwrap()).collect();
        let got: Vec<String> = dials(edge, None, &nameservers)
            .iter()
            .map(|dial| match dial {
                Dial::Address { address, .. } => address.to_string(),
                Dial::Name { host, port } => format!("{host} {port}"),
            })
            .collect();
        assert_eq!(got, expect);
    }

    #[test]
    fn a_service_is_dialled_in_its_own_families() {
        let name = ObjectName::new("ns", "db");
        let check = |endpoints: &[&str], cluster_ips: &[&str], v4, v6| {
            let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>();
            let place = Place::new(&"a.yaml".into(), Position { line: 1, column: 1 });
            let endpoint = |address| Endpoint { addresses: vec![address], ready: true, pod: None };
            let slice = EndpointSlice {
                service: name.clone(),
                ports: Vec::new(),
                endpoints: parse(endpoints).into_iter().map(endpoint).collect(),
                place: place.clone(),
            };
            let service = Service {
                name: name.clone(),
                kind: ServiceKind::Virtual,
                selector: None,
                ports: Vec::new(),
                cluster_ips: parse(cluster_ips),
                load_balancer: Vec::new(),
                place,
            };
            let services = [(name.clone(), service)].into();
            let world = World { services, endpoint_slices: vec![slice], ..World::default() };
            assert_eq!(Families::of(&name, &world), Families { v4, v6 }, "{endpoints:?} {cluster_ips:?}");
        };
        check(&["10.244.0.4"], &["10.96.0.1"], true, false);
        check(&["fd00::4"], &[], false, true);
        check(&["10.244.0.4", "fd00::4"], &["10.96.0.1"], true, true);
        check(&[], &["10.96.0.1"], true, false);
        check(&[], &[], true, true);
    }

    #[test]
    fn only_what_the_edge_names_is_dialled() {
        let host = || Party::Host { host: "db.example".to_owned(), allow_private: Vec::new() };
        let client = |port| Port::Client(PortRef::Number(port));
        check(&edge(host(), client(5432), Exchange::Tcp, &[]), &[], &["db.example 5432"]);
        check(&edge(host(), Port::Unknown { default: Some(25) }, Exchange::Tcp, &[]), &[], &["db.example 25"]);
        check(&edge(host(), Port::Unknown { default: None }, Exchange::Tcp, &[]), &[], &[]);
        check(
            &edge(Party::Service(ObjectName::new("ns", "db")), client(1), Exchange::Tcp, &[]),
            &[],
            &["db.ns.svc.cluster.local 1"],
        );
        // A single address is dialled; a range never is.
        check(
            &edge(host(), client(443), Exchange::Tcp, &["192.0.2.1/32", "2001:db8::1/128"]),
            &[],
            &["192.0.2.1:443", "[2001:db8::1]:443"],
        );
        check(&edge(host(), client(443), Exchange::Tcp, &["192.0.2.0/24"]), &[], &["db.example 443"]);
        check(&edge(Party::ClusterDns, client(53), Exchange::DnsUdp, &[]), &["192.0.2.53:53"], &["192.0.2.53:53"]);
        let public = Exchange::MasPublic { url: "https://auth.example/".to_owned(), issuer: String::new() };
        check(&edge(Party::Subject, client(8080), public, &["192.0.2.1/32"]), &[], &["auth.example 443"]);
        check(&edge(Party::Unknown { peer: "postgres" }, client(5432), Exchange::Tcp, &[]), &["192.0.2.53:53"], &[]);
    }
}
