//! What the TrafficMatrix adds: who the peers are, further edges, and what must stay closed.

use super::table::{FROM_MATRIX, MAS_PORT, MAS_TO_STRANGER, Row, STRANGER_PORT, STRANGER_TO_MAS, TRAEFIK_TO_MAS};
use super::{Context, Draft, Edge, Exchange, Expect, Party, Port, Provenance, Settled, Target, says};
use crate::finding::Code;
use crate::matrix::traffic_matrix::{EdgeSpec, PeerSpec, stray_peer};
use crate::world::{PortRef, Protocol};

const PEERS: &str = "TrafficMatrix: spec.peers";

/// Lets `spec.peers` say who the other ends are.
pub(super) fn peers(context: &Context<'_>, draft: &mut Draft) {
    for peer in context.matrix.map_or(&[][..], |matrix| &matrix.peers) {
        let mut used = false;
        for index in 0..draft.edges.len() {
            let edge = &mut draft.edges[index];
            let end = end_of(edge, &peer.key);
            if let Some(end) = end {
                used = true;
                apply(edge, end, peer);
                let name = edge.name.clone();
                settle_findings(draft, &name, peer);
            }
        }
        if !used {
            unused(context, draft, peer);
        }
    }
}

/// The end of an edge that a peer's key means.
#[derive(Clone, Copy)]
enum End {
    From,
    To,
}

fn end_of(edge: &Edge, key: &str) -> Option<End> {
    let from = edge.name.strip_suffix("-to-mas");
    let to = edge.name.strip_prefix("mas-to-");
    if from == Some(key) || (from == Some("traefik") && key == "ingress") {
        return Some(End::From);
    }
    let is_dns = key == "dns" && matches!(edge.exchange, Exchange::DnsUdp | Exchange::DnsTcp);
    let is_unnamed = edge.to.iter().any(|target| matches!(target.party, Party::Unknown { peer } if peer == key));
    (to == Some(key) || is_dns || is_unnamed).then_some(End::To)
}

fn apply(edge: &mut Edge, end: End, peer: &PeerSpec) {
    // A hidden peer changes nothing; it has its finding.
    if peer.parties.is_empty() {
        return;
    }
    edge.provenance.push(says(PEERS, &peer.cite));
    if matches!(end, End::From) {
        edge.from.clone_from(&peer.parties);
        return;
    }
    let before = edge.to.iter().map(|target| target.port.clone()).find(|port| !matches!(port, Port::Unknown { .. }));
    let before = before.or_else(|| edge.to.first().map(|target| target.port.clone()));
    let port = |party: &Party| match (&peer.port, &before) {
        // Pods named by their labels are reached on the pod port; everything else on the port that clients dial.
        (Some(port), _) if matches!(party, Party::Selector { .. }) => Port::Pod(port.clone()),
        (Some(port), _) => Port::Client(port.clone()),
        (None, Some(port)) => port.clone(),
        (None, None) => Port::Unknown { default: None },
    };
    let place = Some(peer.cite.place.clone());
    edge.to = peer
        .parties
        .iter()
        .map(|party| Target { party: party.clone(), port: port(party), place: place.clone() })
        .collect();
    if let (Exchange::Tcp, "mas-to-synapse", Some(endpoint)) =
        (&edge.exchange, edge.name.as_str(), edge.to.first().and_then(endpoint))
    {
        edge.exchange = Exchange::Synapse { endpoint };
    }
}

/// Synapse's URL, where a peer alone says where Synapse is.
fn endpoint(target: &Target) -> Option<String> {
    let port = match &target.port {
        Port::Client(PortRef::Number(port)) => *port,
        Port::Unknown { default } => (*default)?,
        _ => return None,
    };
    match &target.party {
        Party::Host { host, .. } => Some(format!("http://{host}:{port}")),
        Party::Service(service) => Some(format!("http://{}.{}:{port}", service.name, service.namespace)),
        _ => None,
    }
}

/// Whoever names the peer has settled what the sources left open.
fn settle_findings(draft: &mut Draft, name: &str, peer: &PeerSpec) {
    if peer.parties.is_empty() {
        return;
    }
    draft.findings.retain(|finding| {
        let about = finding.edge.as_deref() == Some(name);
        let port_trap = finding.code == Code::GuideUnsound && name == "mas-to-synapse" && peer.port.is_some();
        !(about && (finding.code == Code::SourcesContradict || port_trap))
    });
}

/// A peer without an edge: a misspelling, or, where peers are all there is, an edge of its own.
fn unused(context: &Context<'_>, draft: &mut Draft, peer: &PeerSpec) {
    if context.only_peers() {
        if peer.parties.is_empty() {
            return;
        }
        let to = peer.parties.iter().map(|party| Target {
            party: party.clone(),
            port: peer.port.clone().map_or(Port::Unknown { default: None }, |port| match party {
                Party::Selector { .. } => Port::Pod(port),
                _ => Port::Client(port),
            }),
            place: Some(peer.cite.place.clone()),
        });
        let settled = Settled { to: to.collect(), provenance: vec![says(PEERS, &peer.cite)] };
        draft.outward(&format!("mas-to-{}", peer.key), &FROM_MATRIX, settled, Exchange::Tcp);
        return;
    }
    // These are peers of edges that a deployment may lack.
    if matches!(peer.key.as_str(), "smtp" | "otlp" | "sentry" | "captcha" | "prometheus" | "postgres" | "synapse") {
        draft.notes.push(format!("`{}` is not used: no source asks for such an edge", peer.cite.key));
        return;
    }
    let known: Vec<&str> = draft
        .edges
        .iter()
        .filter_map(|edge| edge.name.strip_prefix("mas-to-").or_else(|| edge.name.strip_suffix("-to-mas")))
        .filter(|key| !key.starts_with("dns-"))
        .chain(["dns"])
        .collect();
    let mut keys = known.clone();
    keys.sort_unstable();
    keys.dedup();
    let finding = stray_peer(peer, &keys);
    draft.findings.push(finding);
}

/// Adds `spec.edges`.
pub(super) fn edges(context: &Context<'_>, draft: &mut Draft) {
    for spec in context.matrix.map_or(&[][..], |matrix| &matrix.edges) {
        add(draft, spec, Expect::Allow);
    }
}

/// Adds what must stay closed: `spec.forbid` or its default, and the built-in edge to the stranger.
pub(super) fn forbidden(context: &Context<'_>, draft: &mut Draft) {
    if let Some(list) = context.matrix.and_then(|matrix| matrix.forbid.as_ref()) {
        for spec in list {
            add(draft, spec, Expect::Deny);
        }
    } else {
        // MAS's own port, as the ingress controller's edge has it.
        let listener = draft.edge(TRAEFIK_TO_MAS.name).map(|edge| edge.to.clone());
        let default = || {
            let port = Port::Pod(PortRef::Number(MAS_PORT));
            vec![Target { party: Party::Subject, port, place: None }]
        };
        closed(draft, &STRANGER_TO_MAS, Party::AnyPod, listener.unwrap_or_else(default));
    }
    let port = Port::Pod(PortRef::Number(STRANGER_PORT));
    closed(draft, &MAS_TO_STRANGER, Party::Subject, vec![Target { party: Party::Stranger, port, place: None }]);
}

fn closed(draft: &mut Draft, row: &Row, from: Party, to: Vec<Target>) {
    let provenance =
        vec![Provenance { place: None, section: row.section.to_owned(), says: "what no source asks for".to_owned() }];
    draft.add(row.name, row, vec![from], Settled { to, provenance }, Exchange::Tcp, Expect::Deny);
}

fn add(draft: &mut Draft, spec: &EdgeSpec, expect: Expect) {
    let port = match &spec.to {
        // A pod has only pod ports; what clients dial for a Service or an address may be another one.
        Party::Subject | Party::Pod(_) | Party::Workload(..) | Party::AnyPod => Port::Pod(spec.port.clone()),
        _ => Port::Client(spec.port.clone()),
    };
    if draft.taken.contains(&spec.name) {
        draft.notes.push(format!(
            "`{}` has the name of another edge, {}, and got a number behind it",
            spec.cite.key, spec.name
        ));
    }
    let section = if expect == Expect::Allow { "TrafficMatrix: spec.edges" } else { "TrafficMatrix: spec.forbid" };
    let to = vec![Target { party: spec.to.clone(), port, place: Some(spec.cite.place.clone()) }];
    let settled = Settled { to, provenance: vec![says(section, &spec.cite)] };
    let mut row = Row { protocol: spec.protocol, ..FROM_MATRIX };
    if expect == Expect::Deny {
        row.breaks = "nothing when closed; when open, a connection works that the TrafficMatrix forbids";
    }
    let is_dns = spec.port == PortRef::Number(53);
    let exchange = match spec.protocol {
        Protocol::Udp if is_dns => Exchange::DnsUdp,
        Protocol::Tcp if is_dns => Exchange::DnsTcp,
        Protocol::Tcp | Protocol::Udp | Protocol::Sctp => Exchange::Tcp,
    };
    draft.add(&spec.name, &row, vec![spec.from.clone()], settled, exchange, expect);
}
