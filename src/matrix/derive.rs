//! Sources → [`Intent`]: which connections this deployment needs, and which must stay closed.
//!
//! Each source is asked about each edge and answers with one `Said`; `Draft::settle` joins the answers.
//! Where two sources name different targets both stay allowed and a finding cites both, because a policy that follows the wrong one cuts MAS off.

mod extras;
mod inbound;
mod outbound;
mod overrides;
mod providers;
mod table;

use std::collections::BTreeSet;

use self::table::Row;
use super::edge::{Edge, Exchange, Expect, Intent, Party, Port, Provenance, SubjectRule, Target};
use super::traffic_matrix::TrafficMatrix;
use crate::finding::{Code, Finding};
use crate::guide::{Cite, GuideValues, MasConfig, Setting, Url};
use crate::source::Place;
use crate::world::PortRef;

/// All that can say what is intended.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The guide's values, from `--guide`.
    pub values: Option<GuideValues>,
    /// MAS's own config.
    pub mas_config: Option<MasConfig>,
    /// The TrafficMatrix, which may carry the guide's values too.
    pub matrix: Option<TrafficMatrix>,
}

/// Derives the edges, in the order of product.md §4: the guide's, then further ones, then those that must stay closed.
pub fn derive(sources: &Sources) -> Intent {
    let context = Context::new(sources);
    let mut draft = Draft::default();
    context.notes(&mut draft);
    if context.describes_mas() {
        inbound::derive(&context, &mut draft);
        outbound::postgres(&context, &mut draft);
        outbound::synapse(&context, &mut draft);
        providers::derive(&context, &mut draft);
        outbound::dns(&context, &mut draft);
        outbound::smtp(&context, &mut draft);
        extras::derive(&context, &mut draft);
    }
    overrides::peers(&context, &mut draft);
    overrides::edges(&context, &mut draft);
    overrides::forbidden(&context, &mut draft);
    let Draft { edges, findings, notes, unread, .. } = draft;
    Intent { edges, subject: context.subject(), findings, notes, unread }
}

/// The two edges to the cluster's DNS servers, as every MAS has them.
pub fn dns() -> Vec<Edge> {
    let mut draft = Draft::default();
    outbound::dns(&Context { guides: Vec::new(), config: None, matrix: None }, &mut draft);
    draft.edges
}

/// The sources, as the rules ask them.
struct Context<'s> {
    guides: Vec<&'s GuideValues>,
    config: Option<&'s MasConfig>,
    matrix: Option<&'s TrafficMatrix>,
}

impl<'s> Context<'s> {
    fn new(sources: &'s Sources) -> Self {
        let matrix = sources.matrix.as_ref();
        let guides = sources.values.iter().chain(matrix.and_then(|matrix| matrix.guide.as_ref())).collect();
        Self { guides, config: sources.mas_config.as_ref(), matrix }
    }

    /// Whether a TrafficMatrix with peers is all there is: `portreeve init` writes such ones.
    fn only_peers(&self) -> bool {
        self.guides.is_empty() && self.config.is_none() && self.matrix.is_some_and(|matrix| !matrix.peers.is_empty())
    }

    /// Plain edges alone do not say that this is a MAS deployment.
    fn describes_mas(&self) -> bool {
        !self.guides.is_empty() || self.config.is_some() || self.only_peers()
    }

    fn has_peer(&self, key: &str) -> bool {
        self.matrix.is_some_and(|matrix| matrix.peers.iter().any(|peer| peer.key == key))
    }

    fn subject(&self) -> SubjectRule {
        if let Some((party, _)) = self.matrix.and_then(|matrix| matrix.subject.as_ref()) {
            return SubjectRule::Named(party.clone());
        }
        // MAS's own image is found under any registry, as mirrors are common; only another name must be told.
        let image = self.guides.iter().find_map(|guide| guide.image.known());
        match image {
            Some(image) if image.rsplit('/').next() != Some("matrix-authentication-service") => {
                SubjectRule::Image(image.clone())
            }
            _ => SubjectRule::ByImage,
        }
    }

    fn notes(&self, draft: &mut Draft) {
        for guide in &self.guides {
            if guide.enabled.known() == Some(&false) {
                draft.notes.push(format!("`{}.enabled` is false, which changes nothing here", guide.block.key));
            }
            if guide.ingress_enabled.known() == Some(&false) {
                let note = "is false; traefik-to-mas stays, as people must reach MAS somehow";
                draft.notes.push(format!("`{}.ingress.enabled` {note}", guide.block.key));
            }
        }
        let Some(matrix) = self.matrix else {
            return;
        };
        let unread = [
            (
                "spec.guide.valuesFrom",
                !matrix.values_from.is_empty() && self.guides.is_empty(),
                "the values with --guide",
            ),
            (
                "spec.masConfigFrom",
                !matrix.mas_config_from.is_empty() && self.config.is_none(),
                "the file with --mas-config",
            ),
        ];
        for (key, _, give) in unread.into_iter().filter(|(_, is_unread, _)| *is_unread) {
            draft.notes.push(format!("{key} is followed by the controller only: give {give}"));
            draft.unread.push(key);
        }
        if !self.describes_mas() && !matrix.edges.is_empty() {
            draft.notes.push("no guide, MAS config or peers: only the TrafficMatrix's own edges are intended".into());
        }
    }
}

/// What one source says about one edge.
enum Said {
    /// Nothing.
    Silent,
    /// The edge is there, but the source does not say where it goes.
    Somewhere(Ask),
    /// It goes to one of these.
    Targets(Vec<Ask>),
    /// There is no such connection.
    Nowhere { why: String, cite: Cite },
}

/// One target that a source asks for.
#[derive(Clone)]
struct Ask {
    party: Party,
    port: Port,
    provenance: Vec<Provenance>,
}

impl Ask {
    fn new(party: Party, port: Port, provenance: Provenance) -> Self {
        Self { party, port, provenance: vec![provenance] }
    }

    fn place(&self) -> Option<&Place> {
        self.provenance.iter().find_map(|provenance| provenance.place.as_ref())
    }

    fn target(&self) -> Target {
        Target { party: self.party.clone(), port: self.port.clone(), place: self.place().cloned() }
    }

    /// `file:1:2 (mas.synapse.endpoint) says matrix-synapse:8008`
    fn words(&self) -> String {
        let says = self.provenance.first().map_or("", |provenance| &provenance.says);
        let port = match &self.port {
            Port::Client(port) | Port::Pod(port) => format!(" port {port}"),
            Port::Unknown { .. } => String::new(),
        };
        let place = self.place().map_or_else(|| "a default".to_owned(), ToString::to_string);
        format!("{place} (`{says}`) says {}{port}", self.party)
    }
}

/// A source's own words for an edge.
fn says(section: &str, cite: &Cite) -> Provenance {
    Provenance { place: Some(cite.place.clone()), section: section.to_owned(), says: cite.key.clone() }
}

const CONFIG: &str = "MAS's config";

/// Whom a URL or host reaches. `None` when the connection stays inside the pod.
fn party(host: &str) -> Option<Party> {
    match host.parse::<std::net::IpAddr>() {
        // Linux takes a connection to the unspecified address for one to itself.
        Ok(address) if address.is_unspecified() || crate::guide::is_loopback(host) => None,
        Ok(address) => Some(Party::Address(address.to_canonical())),
        Err(_) if crate::guide::is_loopback(host) => None,
        Err(_) => Some(Party::Host { host: host.to_owned(), allow_private: Vec::new() }),
    }
}

/// What a source says with a URL.
fn said_url(section: &str, url: &Url, cite: &Cite) -> Said {
    match party(&url.host) {
        Some(party) => {
            let port = Port::Client(PortRef::Number(url.port_or_default()));
            Said::Targets(vec![Ask::new(party, port, says(section, cite))])
        }
        None => {
            Said::Nowhere { why: format!("`{}` stays inside the pod ({})", cite.key, url.host), cite: cite.clone() }
        }
    }
}

/// The edge as it settled.
struct Settled {
    to: Vec<Target>,
    provenance: Vec<Provenance>,
}

/// The intent while it grows.
#[derive(Default)]
struct Draft {
    edges: Vec<Edge>,
    findings: Vec<Finding>,
    notes: Vec<String>,
    unread: Vec<&'static str>,
    taken: BTreeSet<String>,
}

impl Draft {
    /// Joins what the sources say about one edge. `None` when there is no such edge.
    fn settle(&mut self, name: &str, said: Vec<Said>) -> Option<Settled> {
        let (mut sources, mut somewhere, mut nowhere) = (Vec::new(), Vec::new(), Vec::new());
        for said in said {
            match said {
                Said::Silent => {}
                Said::Somewhere(ask) => somewhere.push(ask),
                Said::Targets(asks) => sources.push(asks),
                Said::Nowhere { why, cite } => nowhere.push((why, cite)),
            }
        }
        sources.retain(|asks| !asks.is_empty());
        let Some(first) = sources.first().and_then(|asks| asks.first()) else {
            if let Some((why, cite)) = nowhere.first() {
                self.notes.push(format!("no edge {name}: {why} ({})", cite.place));
                return None;
            }
            let knows_port = |ask: &&Ask| !matches!(ask.port, Port::Unknown { .. });
            let to = vec![somewhere.iter().find(knows_port).or_else(|| somewhere.first())?.target()];
            return Some(Settled { to, provenance: unique(somewhere) });
        };
        if let Some((why, cite)) = nowhere.first() {
            let message = format!("{}, but {why} ({})", first.words(), cite.place);
            self.contradiction(name, first.place(), message);
        }
        let to = self.join(name, &sources);
        let provenance = unique(sources.into_iter().flatten().chain(somewhere).collect());
        Some(Settled { to, provenance })
    }

    /// All distinct targets; sources that agree on some of theirs mean just those.
    fn join(&mut self, name: &str, sources: &[Vec<Ask>]) -> Vec<Target> {
        let mut kept: Vec<Ask> = Vec::new();
        for asks in sources {
            let agreed: Vec<Ask> =
                kept.iter().filter(|known| asks.iter().any(|ask| agree(known, ask))).cloned().collect();
            if kept.is_empty() {
                kept.clone_from(asks);
            } else if agreed.is_empty() {
                if let (Some(known), Some(ask)) = (kept.first(), asks.first())
                    && !may_be_same(known, ask)
                {
                    let message = format!("{}, but {}; both stay allowed", known.words(), ask.words());
                    let place = known.place().cloned();
                    self.contradiction(name, place.as_ref(), message);
                }
                kept.extend(asks.iter().cloned());
            } else {
                kept = agreed;
            }
            // A port that one source leaves open is what another says.
            for known in &mut kept {
                if let (Port::Unknown { .. }, Some(ask)) = (&known.port, asks.iter().find(|ask| agree(known, ask))) {
                    known.port = ask.port.clone();
                }
            }
        }
        kept.iter().map(Ask::target).collect()
    }

    fn contradiction(&mut self, name: &str, place: Option<&Place>, message: String) {
        let peer = name.strip_prefix("mas-to-").or_else(|| name.strip_suffix("-to-mas")).unwrap_or(name);
        let fix = format!("make the sources agree, or name the right one under spec.peers.{peer} of a TrafficMatrix");
        let mut finding = Finding::new(Code::SourcesContradict, name, message, fix).on(name);
        finding.place = place.cloned();
        self.findings.push(finding);
    }

    /// A name that no edge has yet.
    fn name(&mut self, wanted: &str) -> String {
        let mut name = wanted.to_owned();
        let mut count = 2;
        while !self.taken.insert(name.clone()) {
            name = format!("{wanted}-{count}");
            count += 1;
        }
        name
    }

    /// Adds an edge from the subject.
    fn outward(&mut self, name: &str, row: &Row, settled: Settled, exchange: Exchange) {
        self.add(name, row, vec![Party::Subject], settled, exchange, Expect::Allow);
    }

    fn add(&mut self, name: &str, row: &Row, from: Vec<Party>, settled: Settled, exchange: Exchange, expect: Expect) {
        let name = self.name(name);
        self.edges.push(Edge {
            name,
            from,
            to: settled.to,
            protocol: row.protocol,
            expect,
            tier: row.tier,
            breaks: row.breaks.to_owned(),
            provenance: settled.provenance,
            exchange,
        });
    }

    fn edge(&self, name: &str) -> Option<&Edge> {
        self.edges.iter().find(|edge| edge.name == name)
    }
}

/// Provenance of all asks, each once, in order.
fn unique(asks: Vec<Ask>) -> Vec<Provenance> {
    let mut all: Vec<Provenance> = Vec::new();
    for provenance in asks.into_iter().flat_map(|ask| ask.provenance) {
        if !all.contains(&provenance) {
            all.push(provenance);
        }
    }
    all
}

/// Whether two sources name one target. A port that one of them leaves open does not make it another target.
fn agree(a: &Ask, b: &Ask) -> bool {
    let port = matches!((&a.port, &b.port), (Port::Unknown { .. }, _) | (_, Port::Unknown { .. })) || a.port == b.port;
    let party = match (&a.party, &b.party) {
        (Party::Host { host: a, .. }, Party::Host { host: b, .. }) => service_name(a) == service_name(b),
        (a, b) => a == b,
    };
    party && port
}

/// Whether two sources may name one target in two spellings: `db` and `db.postgres` are one if MAS runs in `postgres`.
fn may_be_same(a: &Ask, b: &Ask) -> bool {
    let (Party::Host { host: a_host, .. }, Party::Host { host: b_host, .. }) = (&a.party, &b.party) else {
        return false;
    };
    let (a_host, b_host) = (service_name(a_host), service_name(b_host));
    let (short, long) = if a_host.len() < b_host.len() { (a_host, b_host) } else { (b_host, a_host) };
    let in_namespace = long.strip_prefix(short).and_then(|rest| rest.strip_prefix('.'));
    a.port == b.port && !short.contains('.') && in_namespace.is_some_and(|namespace| !namespace.contains('.'))
}

/// `db.ns` for `db.ns.svc` and `db.ns.svc.cluster.local`.
fn service_name(host: &str) -> &str {
    let host = host.strip_suffix(".cluster.local").unwrap_or(host);
    host.strip_suffix(".svc").unwrap_or(host)
}

/// A port that a client dials, or the protocol's own when the value is hidden.
fn client_port(port: &Setting<u16>, default: u16) -> Port {
    match port {
        Setting::Known(port, _) => Port::Client(PortRef::Number(*port)),
        Setting::Absent => Port::Client(PortRef::Number(default)),
        Setting::Hidden(_) => Port::Unknown { default: Some(default) },
    }
}

#[cfg(test)]
mod tests;
