//! Peers that are addresses.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::Lookup;
use crate::matrix::{Peer, PeerKind, Port, ResolvedEdge};

const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length))
}

const fn v6(first: u16, last: u16, length: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, last), length))
}

/// Everything.
const ANY: [IpNet; 2] = [v4(0, 0, 0, 0, 0), v6(0, 0, 0)];

/// What is not the internet: RFC 1918 private, RFC 6598 shared (CGNAT), RFC 1122 loopback, RFC 3927 link-local;
/// RFC 4291 loopback and link-local, RFC 4193 unique local. Pods, Services, nodes and metadata servers live there.
pub(super) const INSIDE: [IpNet; 9] = [
    v4(10, 0, 0, 0, 8),
    v4(100, 64, 0, 0, 10),
    v4(127, 0, 0, 0, 8),
    v4(169, 254, 0, 0, 16),
    v4(172, 16, 0, 0, 12),
    v4(192, 168, 0, 0, 16),
    v6(0, 1, 128),
    v6(0xfc00, 0, 7),
    v6(0xfe80, 0, 10),
];

/// Of these, where a host that people run themselves may be: RFC 1918, RFC 6598 and RFC 4193.
const PRIVATE: [IpNet; 5] =
    [v4(10, 0, 0, 0, 8), v4(100, 64, 0, 0, 10), v4(172, 16, 0, 0, 12), v4(192, 168, 0, 0, 16), v6(0xfc00, 0, 7)];

impl Lookup<'_> {
    /// Addresses, sorted.
    pub(super) fn blocks(
        &mut self,
        mut nets: Vec<IpNet>,
        except: Vec<IpNet>,
        host: Option<&str>,
        port: Option<&Port>,
    ) -> Peer {
        nets.sort();
        nets.dedup();
        let kind = PeerKind::Blocks { nets, except, host: host.map(str::to_owned) };
        Peer { kind, ports: self.literal_ports(port), service: None, by_default: false }
    }

    /// Any address outside the cluster, as far as that can be told without knowing the cluster's own ranges: whatever is public.
    pub(super) fn outside_peer(&mut self, host: Option<&str>, port: Option<&Port>) -> Peer {
        self.blocks(ANY.to_vec(), INSIDE.to_vec(), host, port)
    }
}

/// A host whose addresses are not known, so that a default without private ones stands in for them, and its edge as it were if they are private.
/// `None` where the edge has no such host, or where a source says in which private ranges they may lie.
pub fn if_private(resolved: &ResolvedEdge) -> Option<(Option<&str>, ResolvedEdge)> {
    let is_named = |peer: &&Peer| matches!(&peer.kind, PeerKind::Blocks { host: Some(_), .. }) && !peer.by_default;
    if resolved.to.iter().any(|peer| is_named(&peer)) {
        return None;
    }
    let (peer, host) = resolved.to.iter().find_map(|peer| match &peer.kind {
        PeerKind::Blocks { except, host, .. } if peer.by_default && !except.is_empty() => Some((peer, host.as_deref())),
        _ => None,
    })?;
    let kind = PeerKind::Blocks { nets: PRIVATE.to_vec(), except: Vec::new(), host: host.map(str::to_owned) };
    let to = vec![Peer { kind, ports: peer.ports.clone(), service: None, by_default: false }];
    Some((host, ResolvedEdge { to, ..resolved.clone() }))
}
