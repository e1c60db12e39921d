//! Why a connection is allowed or not: every pair that a question or an edge means, everything that was looked at, and the smallest fix.
//!
//! ```text
//! question ─► ends.rs ─► pairs ─┐
//! edge ─────► audit ───► pairs ─┴─► groups of equal answers ─► fix.rs, tried on a copy of the policies
//! ```

mod fix;
mod names;
mod open;

use std::collections::{BTreeMap, BTreeSet};

pub use fix::{Fix, Way};
pub use open::Open;

use self::fix::Context;
use self::names::{Name, Rows, Wholes};
use super::Declared;
use super::audit::{Addresses, Listed, Pair, Reach, Side, each_pair, nothing_asked};
use super::verify::ends::{Ends, Target};
use super::verify::{Assertion, Expectation};
use crate::matrix::{Expect, Party, PeerKind, Resolution, ResolvedEdge, Subject};
use crate::policy::{Direction, End, Engine, Explanation, PolicyRef};
use crate::source::Place;
use crate::world::labels::matches_all;
use crate::world::{ObjectName, Pod, PortRef, PortText, Protocol, Service, ServicePort, World};

/// The most pairs that one question may mean; more is a matter for `audit`, `verify` or `diff`.
pub const MAX_PAIRS: usize = 100_000;

/// A question: may `from` open connections to `to`, on this port?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Who opens the connection.
    pub from: Party,
    /// Whom it goes to.
    pub to: Party,
    /// The Service port where `to` is a Service, else the pod port; `None` asks which ports are admitted.
    pub port: Option<PortText>,
}

/// A question that cannot be answered as it is put.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("these are {0} pairs of pods, more than {MAX_PAIRS}: name one end more closely")]
pub struct TooMany(usize);

/// The answer to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// Over all pairs.
    pub verdict: Overall,
    /// How Service ports and pod ports are related; empty when no Service is in the way.
    pub services: Vec<Through>,
    /// The pairs, grouped by equal answers, those that are not allowed first.
    pub groups: Vec<Group>,
    /// Asked without a port: what is admitted.
    pub open: Vec<Open>,
    /// What to change for a denied pair to be allowed, each once. Each was tried on a copy of the policies.
    pub fixes: Vec<Fix>,
    /// Remarks: what the question probably means, what could not be fixed.
    pub notes: Vec<String>,
}

/// The verdict over several pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Overall {
    /// All are allowed.
    Allowed,
    /// All are denied.
    Denied,
    /// For one at least a fact is missing, and no two others differ.
    Unknown,
    /// Some are allowed, some are not.
    Mixed,
}

impl Overall {
    /// The word used everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Unknown => "unknown",
            Self::Mixed => "mixed",
        }
    }

    fn over(verdicts: impl Iterator<Item = Declared>) -> Self {
        let seen: BTreeSet<Declared> = verdicts.collect();
        let has = |declared| seen.contains(&declared);
        match (has(Declared::Allowed), has(Declared::Denied), has(Declared::Unknown)) {
            (true, true, _) => Self::Mixed,
            (_, _, true) | (false, false, false) => Self::Unknown,
            (true, false, false) => Self::Allowed,
            (false, true, false) => Self::Denied,
        }
    }
}

impl From<Declared> for Overall {
    fn from(declared: Declared) -> Self {
        match declared {
            Declared::Allowed => Self::Allowed,
            Declared::Denied => Self::Denied,
            Declared::Unknown => Self::Unknown,
        }
    }
}

/// A Service port, and the pod ports that a connection to it ends at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Through {
    /// `namespace/name` of the Service.
    pub service: String,
    /// What clients dial.
    pub service_port: u16,
    /// What policies see; empty when the sources do not say.
    pub pod_ports: BTreeSet<u16>,
    /// Its protocol.
    pub protocol: Protocol,
}

/// Pairs that have the same answer for the same reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Their verdict.
    pub declared: Declared,
    /// The pairs, in the order of the sources.
    pub pairs: Vec<PairName>,
    /// Everything that was looked at for the first of them; `None` when the engine could not be asked.
    pub first: Option<Explanation>,
    /// Why, in one sentence with file:line.
    pub because: String,
}

/// Two ends and a pod port, in words.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PairName {
    /// The source; a range where one is meant.
    pub from: String,
    /// The destination.
    pub to: String,
    /// The pod port, after Service DNAT; 0 when it is not known.
    pub pod_port: u16,
}

/// What explaining rests on.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'e> {
    /// The world under its policies.
    pub engine: &'e Engine<'e>,
    /// The intent; an empty one does for questions that name no edge and no subject.
    pub intended: &'e Resolution,
    /// The matrix, for proposals.
    pub name: &'e ObjectName,
}

impl<'e> Sources<'e> {
    fn world(&self) -> &'e World {
        self.engine.world()
    }

    fn subject(&self) -> Option<&'e Subject> {
        self.intended.subject.as_ref()
    }
}

/// Answers a question.
///
/// # Errors
/// When it means more than [`MAX_PAIRS`] pairs.
pub fn question(question: &Question, sources: Sources<'_>) -> Result<Explained, TooMany> {
    let (engine, world) = (sources.engine, sources.world());
    let reach = Reach::new(world, engine);
    let service = service_of(&question.to, world);
    let Some(port) = &question.port else {
        return open::ports(question, service, &reach, sources);
    };
    let protocol = port.protocol.unwrap_or_else(|| only_protocol(service, &port.port));
    let assertion = assertion(question, &question.to, port.port.clone(), protocol);
    let mut ends = Ends::new(world, &reach, sources.subject());
    let (from, to) = (ends.sources(&assertion), ends.targets(&assertion));
    bounded(&from, to.iter().map(|target| &target.side), world)?;
    let mut groups = Groups::new(protocol);
    groups.wholes.add(&question.from, from.iter());
    groups.wholes.add(&question.to, to.iter().map(|target| &target.side));
    for Target { side: target, port } in to.iter() {
        for source in from.iter() {
            for (source, target) in cut(source, target, &reach) {
                reach.each(&source, &target, *port, protocol, &mut |pair| {
                    groups.add(&pair, &source, &target, *port);
                });
            }
        }
    }
    let mut notes = aliases(question, world);
    if groups.found.is_empty() {
        notes.push("there is no pair of two different ends to ask about".to_owned());
    }
    notes.extend(port_of_a_service(&to, &port.port, protocol, service, world));
    let services = service.map(|service| through(service, &port.port, protocol, &to)).into_iter().flatten().collect();
    Ok(groups.explained(&Context { sources, edge: None, asked: Some(question) }, services, notes))
}

/// Explains an edge of the intent.
pub fn edge(edge: &ResolvedEdge, sources: Sources<'_>) -> Explained {
    let reach = Reach::new(sources.world(), sources.engine);
    let protocol = edge.edge.protocol;
    let mut groups = Groups::new(protocol);
    let mut services: BTreeMap<(String, u16), Through> = BTreeMap::new();
    each_pair(&reach, &Listed::of(sources.intended), edge, &mut |to, port, pair| {
        if let Some((service, service_port)) = &to.service {
            let through = services.entry((service.to_string(), *service_port)).or_insert_with(|| Through {
                service: service.to_string(),
                service_port: *service_port,
                pod_ports: BTreeSet::new(),
                protocol,
            });
            through.pod_ports.insert(port);
        }
        let pods = Side::Pods(Vec::new());
        // A wide range was asked at one address of it; hosts with several addresses are pairs of their own.
        let range = match &to.kind {
            PeerKind::Blocks { nets, except, .. } if to.by_default || nets.len() == 1 => {
                Some(Side::Range(Addresses::of(nets, except)))
            }
            _ => None,
        };
        groups.add(&pair, &pods, range.as_ref().unwrap_or(&pods), port);
    });
    let mut notes = Vec::new();
    if groups.found.is_empty() {
        notes.push(nothing_asked(edge).to_owned());
    }
    let context = Context { sources, edge: Some(edge), asked: None };
    let mut explained = groups.explained(&context, services.into_values().collect(), notes);
    let verdicts: BTreeSet<Declared> = explained.groups.iter().map(|group| group.declared).collect();
    // As in an audit, the pair that fits the expectation least is the edge's verdict.
    let ranked = match edge.edge.expect {
        Expect::Allow => [Declared::Denied, Declared::Unknown, Declared::Allowed],
        Expect::Deny => [Declared::Allowed, Declared::Unknown, Declared::Denied],
    };
    let worst = ranked.into_iter().find(|declared| verdicts.contains(declared)).unwrap_or(Declared::Unknown);
    explained.verdict = worst.into();
    explained
}

/// Whether a verdict is what an edge expects. An unknown one is not.
pub fn fits(expect: Expect, verdict: Overall) -> bool {
    matches!((expect, verdict), (Expect::Allow, Overall::Allowed) | (Expect::Deny, Overall::Denied))
}

/// The ends are looked up as those of an assertion are; what it expects is not asked.
fn assertion(question: &Question, to: &Party, port: PortRef, protocol: Protocol) -> Assertion {
    Assertion {
        name: String::new(),
        from: question.from.clone(),
        from_text: String::new(),
        to: to.clone(),
        to_text: String::new(),
        port,
        protocol,
        expect: Expectation::Unknown,
        place: Place::whole("-"),
    }
}

/// The Service that a destination is, by name or by one of its addresses.
fn service_of<'w>(party: &Party, world: &'w World) -> Option<&'w Service> {
    match party {
        Party::Service(name) => world.services.get(name),
        Party::Address(address) => {
            world.services.values().find(|service| service.virtual_addresses().any(|own| own == *address))
        }
        _ => None,
    }
}

fn service_ports<'w>(service: &'w Service, port: &PortRef) -> impl Iterator<Item = &'w ServicePort> {
    service.ports.iter().filter(move |declared| match port {
        PortRef::Number(number) => declared.port == *number,
        PortRef::Name(name) => declared.name.as_ref() == Some(name),
    })
}

/// `53` of a Service that serves it over UDP only means UDP.
fn only_protocol(service: Option<&Service>, port: &PortRef) -> Protocol {
    let mut protocols = service.into_iter().flat_map(|service| service_ports(service, port)).map(|port| port.protocol);
    match (protocols.next(), protocols.next()) {
        (Some(one), None) => one,
        _ => Protocol::default(),
    }
}

fn bounded<'s>(from: &[Side], to: impl Iterator<Item = &'s Side>, world: &World) -> Result<(), TooMany> {
    let count = |side: &Side| match side {
        Side::Pods(pods) | Side::AnyPod(pods) => pods.len(),
        Side::At(_) | Side::Range(_) | Side::Unknown(_) => world.pods.len().min(1),
    };
    let pairs = from.iter().map(count).sum::<usize>().saturating_mul(to.map(count).sum());
    if pairs > MAX_PAIRS { Err(TooMany(pairs)) } else { Ok(()) }
}

/// Cuts a range into the pieces that the policies of the other end tell apart, so that each has an answer of its own.
fn cut(from: &Side, to: &Side, reach: &Reach<'_>) -> Vec<(Side, Side)> {
    let pieces = |ends: Vec<(End, Side)>, range: &Addresses, direction| {
        let one = |(end, side): (End, Side)| {
            let found = reach.pieces(end, range, direction);
            found.into_iter().map(|(piece, _)| (side.clone(), Side::Range(piece))).collect::<Vec<_>>()
        };
        ends.into_iter().flat_map(one).collect::<Vec<_>>()
    };
    match (single_ends(from), from, to, single_ends(to)) {
        (Some(ends), _, Side::Range(range), _) => pieces(ends, range, Direction::Egress),
        (_, Side::Range(range), _, Some(ends)) => {
            pieces(ends, range, Direction::Ingress).into_iter().map(|(end, range)| (range, end)).collect()
        }
        _ => vec![(from.clone(), to.clone())],
    }
}

/// The single ends of a side, each as a side of its own; `None` for a range and for what is not known.
fn single_ends(side: &Side) -> Option<Vec<(End, Side)>> {
    match side {
        Side::Pods(pods) | Side::AnyPod(pods) => {
            Some(pods.iter().map(|pod| (End::Pod(*pod), Side::Pods(vec![*pod]))).collect())
        }
        Side::At(address) => Some(vec![(End::Address(*address), side.clone())]),
        Side::Range(_) | Side::Unknown(_) => None,
    }
}

/// Says so when an address is a Service's or a pod's.
fn aliases(question: &Question, world: &World) -> Vec<String> {
    let one = |party: &Party| {
        let Party::Address(address) = party else { return None };
        if let Some(service) = service_of(party, world) {
            return Some(format!("{address} is an address of Service {}", service.name));
        }
        let pod = world.pods.iter().find(|pod| !pod.host_network && pod.addresses.contains(address))?;
        Some(format!("{address} is the address of pod {}", pod.name))
    };
    [&question.from, &question.to].into_iter().filter_map(one).collect()
}

/// The most common confusion: the number that clients dial at a Service, asked of its pods.
fn port_of_a_service(
    to: &[Target],
    port: &PortRef,
    protocol: Protocol,
    asked: Option<&Service>,
    world: &World,
) -> Option<String> {
    let PortRef::Number(number) = port else { return None };
    let pods = to.iter().filter_map(|target| match &target.side {
        Side::Pods(pods) if asked.is_none() => Some(pods),
        _ => None,
    });
    let pod = pods.flatten().map(|id| world.pod(*id)).find(|pod| !pod.ports.iter().any(|own| own.number == *number))?;
    let selects = |service: &&Service| {
        service.name.namespace == pod.name.namespace
            && service.selector.as_ref().is_some_and(|selector| matches_all(selector, &pod.labels))
    };
    let leads = |service: &Service| {
        let mut ports = service_ports(service, port).filter(|declared| declared.protocol == protocol);
        ports.find_map(|declared| pod_port(pod, &declared.target, protocol)).filter(|inner| inner != number)
    };
    world.services.values().filter(selects).find_map(|service| {
        let inner = leads(service)?;
        let name = &service.name;
        Some(format!(
            "{number} is a port of Service {name}, which leads to pod port {inner}: policies see {inner}. \
             Ask for {}/svc/{} {number}, or for the pod's {inner}",
            name.namespace, name.name
        ))
    })
}

fn pod_port(pod: &Pod, target: &PortRef, protocol: Protocol) -> Option<u16> {
    match target {
        PortRef::Number(number) => Some(*number),
        PortRef::Name(name) => {
            let mut own = pod.ports.iter().filter(|own| own.protocol == protocol && own.name.as_ref() == Some(name));
            own.next().map(|own| own.number)
        }
    }
}

fn through(service: &Service, port: &PortRef, protocol: Protocol, to: &[Target]) -> Option<Through> {
    let declared = service_ports(service, port).find(|declared| declared.protocol == protocol);
    let service_port = match (declared, port) {
        (Some(declared), _) => declared.port,
        (None, PortRef::Number(number)) => *number,
        (None, PortRef::Name(_)) => return None,
    };
    let pod_ports = to.iter().map(|target| target.port).filter(|port| *port != 0).collect();
    Some(Through { service: service.name.to_string(), service_port, pod_ports, protocol })
}

/// Pairs by equal answers.
struct Groups {
    protocol: Protocol,
    found: Vec<Found>,
    wholes: Wholes,
}

/// A group, its pairs before they are named, and the ends of the first of them.
type Found = (Key, Group, Rows, Option<(End, End)>);

/// What makes two answers equal: the same policies and rules at both ends.
#[derive(PartialEq, Eq)]
struct Key {
    declared: Declared,
    port: u16,
    sides: Option<[SideKey; 2]>,
    note: Option<String>,
}

#[derive(PartialEq, Eq)]
struct SideKey {
    declared: Declared,
    isolated_by: Vec<PolicyRef>,
    rule: Option<(PolicyRef, usize)>,
    exempt: Option<&'static str>,
}

impl Groups {
    fn new(protocol: Protocol) -> Self {
        Self { protocol, found: Vec::new(), wholes: Wholes::default() }
    }

    fn add(&mut self, pair: &Pair, from: &Side, to: &Side, port: u16) {
        let key = key(pair, port);
        let unknown = || "not known".to_owned();
        let ends = pair.answer.as_ref().map(|answer| (answer.from.clone(), answer.to.clone()));
        let (own_from, own_to) = ends.unwrap_or_else(|| (unknown(), unknown()));
        let (from, to) = (Name::of(from, own_from), Name::of(to, own_to));
        if let Some((_, _, rows, _)) = self.found.iter_mut().find(|(other, ..)| *other == key) {
            return rows.add(from, to, port);
        }
        let mut rows = Rows::default();
        rows.add(from, to, port);
        let group = Group { declared: pair.declared, pairs: Vec::new(), first: None, because: pair.because() };
        self.found.push((key, group, rows, pair.ends));
    }

    fn explained(mut self, context: &Context<'_>, services: Vec<Through>, mut notes: Vec<String>) -> Explained {
        // A stable sort: what needs attention first, else the order of the sources.
        self.found.sort_by_key(|(_, group, ..)| match group.declared {
            Declared::Denied => 0,
            Declared::Unknown => 1,
            Declared::Allowed => 2,
        });
        let wanted = context.edge.is_none_or(|edge| edge.edge.expect == Expect::Allow);
        let mut fixes: Vec<Fix> = Vec::new();
        for (key, group, rows, ends) in &mut self.found {
            group.pairs = std::mem::take(rows).named(&self.wholes);
            let Some((from, to)) = *ends else { continue };
            group.first = Some(context.sources.engine.explain_all(from, to, key.port, self.protocol));
            let found = match (group.declared, wanted) {
                (Declared::Denied, true) => fix::open(context, from, to, key.port, self.protocol),
                (Declared::Allowed, false) => fix::close(group.first.as_ref()),
                _ => continue,
            };
            match found {
                Ok(found) => fixes.extend(found),
                Err(why) => notes.push(why),
            }
        }
        dedup(&mut fixes);
        dedup(&mut notes);
        let groups: Vec<Group> = self.found.into_iter().map(|(_, group, ..)| group).collect();
        let verdict = Overall::over(groups.iter().map(|group| group.declared));
        Explained { verdict, services, groups, open: Vec::new(), fixes, notes }
    }
}

fn dedup<T: PartialEq>(items: &mut Vec<T>) {
    let mut kept: Vec<T> = Vec::new();
    for item in items.drain(..) {
        if !kept.contains(&item) {
            kept.push(item);
        }
    }
    *items = kept;
}

fn key(pair: &Pair, port: u16) -> Key {
    let sides = pair.answer.as_ref().map(|answer| {
        [&answer.egress, &answer.ingress].map(|side| SideKey {
            declared: side.declared,
            isolated_by: side.isolated_by.clone(),
            rule: (side.decided_by.as_ref().or(side.nearest.as_ref().map(|miss| &miss.rule)))
                .map(|rule| (rule.policy.clone(), rule.index)),
            exempt: side.exempt.map(crate::policy::Exemption::as_str),
        })
    });
    // What is missing is part of the answer.
    let note = (pair.declared == Declared::Unknown || pair.answer.is_none()).then(|| pair.because());
    Key { declared: pair.declared, port, sides, note }
}
