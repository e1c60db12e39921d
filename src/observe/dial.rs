//! Edges → what to dial: the addresses of the pods where a world shows them, else the names that MAS's config gives.
//!
//! Nothing outside the matrix is ever dialled: every address comes from an edge.

use std::net::SocketAddr;

use crate::matrix::{Exchange, Party, PeerKind, Port, ResolvedEdge};
use crate::world::{PortRef, World};

/// One thing to dial for an edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dial {
    /// This address.
    Address(SocketAddr),
    /// Every address that this name resolves to.
    Name {
        /// The host as the source has it.
        host: String,
        /// The port that a client dials.
        port: u16,
    },
}

/// What to dial for an edge. `nameservers` are this host's own, for DNS edges. Empty: no source says where it goes.
pub fn dials(resolved: &ResolvedEdge, world: Option<&World>, nameservers: &[SocketAddr]) -> Vec<Dial> {
    if matches!(resolved.edge.exchange, Exchange::DnsUdp | Exchange::DnsTcp) && !nameservers.is_empty() {
        return nameservers.iter().map(|server| Dial::Address(*server)).collect();
    }
    let mut found: Vec<Dial> = Vec::new();
    for peer in &resolved.to {
        match (&peer.kind, world) {
            (PeerKind::Pods { pods, .. }, Some(world)) => {
                let addresses = pods.iter().flat_map(|pod| world.pod(*pod).addresses.iter());
                found.extend(
                    addresses.flat_map(|ip| peer.ports.iter().map(|port| Dial::Address(SocketAddr::new(*ip, *port)))),
                );
            }
            (PeerKind::Blocks { nets, .. }, _) => {
                let hosts = nets.iter().filter(|net| net.prefix_len() == net.max_prefix_len()).map(ipnet::IpNet::addr);
                found.extend(
                    hosts.flat_map(|ip| peer.ports.iter().map(move |port| Dial::Address(SocketAddr::new(ip, *port)))),
                );
            }
            _ => {}
        }
    }
    if found.is_empty() {
        found = resolved.edge.to.iter().filter_map(|target| by_source(&target.party, &target.port)).collect();
    }
    found.sort_by_key(|dial| format!("{dial:?}"));
    found.dedup();
    found
}

/// What the source itself says to dial.
fn by_source(party: &Party, port: &Port) -> Option<Dial> {
    let port = match port {
        Port::Client(PortRef::Number(port)) | Port::Pod(PortRef::Number(port)) => *port,
        Port::Client(PortRef::Name(_)) | Port::Pod(PortRef::Name(_)) => return None,
        Port::Unknown { default } => (*default)?,
    };
    match party {
        Party::Host { host, .. } => Some(Dial::Name { host: host.clone(), port }),
        Party::Service(service) => {
            Some(Dial::Name { host: format!("{}.{}.svc.cluster.local", service.name, service.namespace), port })
        }
        Party::Address(address) => Some(Dial::Address(SocketAddr::new(*address, port))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::{Edge, Expect, Peer, Target};
    use crate::world::{ObjectName, Protocol};

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
                Dial::Address(address) => address.to_string(),
                Dial::Name { host, port } => format!("{host} {port}"),
            })
            .collect();
        assert_eq!(got, expect);
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
        check(&edge(Party::Unknown { peer: "postgres" }, client(5432), Exchange::Tcp, &[]), &["192.0.2.53:53"], &[]);
    }
}
