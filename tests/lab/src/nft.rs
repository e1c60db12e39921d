//! Rules as one nftables table.
//!
//! A packet meets the chain of its source's egress, then the chain of its destination's ingress: both ends must allow. `return` means that this end does. The chains hang on the forward hook at the priority of filters, after the address translation of Services: "policies apply to the pod's port". What a node sends to its own pods, and what they send to it, is not forwarded, and so never refused.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;
use std::net::IpAddr;
use std::rc::Rc;

use crate::arrivals::Young;
use crate::cluster::Cluster;
use crate::rules::{Admission, Direction, Peer, Traffic, rules};
use crate::style::Style;

/// nftables takes comments of up to 128 bytes (`NFTNL_UDATA_COMMENT_MAXLEN`).
const COMMENT: usize = 120;

/// The text that puts a whole new table in the place of the old one, in one transaction.
pub fn ruleset(table: &str, cluster: &Cluster, style: Style, young: &Young) -> String {
    let members = cluster.members();
    let addresses: BTreeSet<IpAddr> = members.iter().flat_map(|member| &member.addresses).copied().collect();
    let mut sets = Sets::default();
    let (mut ingress, mut egress) = (Chains::new(Direction::Ingress), Chains::new(Direction::Egress));
    if style != Style::Off {
        let rules = rules(cluster, &members);
        let lines: Vec<Vec<String>> = rules.admissions.iter().map(|one| lines(one, &mut sets)).collect();
        for (member, isolation) in members.iter().zip(&rules.isolations) {
            if !young.uids.contains(member.uid) {
                ingress.add(&member.addresses, isolation.ingress.as_deref(), &lines);
                egress.add(&member.addresses, isolation.egress.as_deref(), &lines);
            }
        }
    }
    let mut out = removal(table);
    let _ = writeln!(out, "table inet {table} {{");
    sets.write(&mut out);
    chain(&mut out, "refuse", style.refusal());
    egress.write(&mut out);
    ingress.write(&mut out);
    chain(&mut out, "forward", &forward(&addresses, &egress, &ingress));
    out.push_str("}\n");
    out
}

/// The text that removes the table, whether it is there or not.
pub fn removal(table: &str) -> String {
    format!("table inet {table}\ndelete table inet {table}\n")
}

/// The way of a packet.
///
/// Policies decide about connections, not packets, and what becomes of open ones when policies change is left to the plugin: here they stay. "A pod cannot block access to itself": what comes back to it by a Service is forwarded.
fn forward(addresses: &BTreeSet<IpAddr>, egress: &Chains, ingress: &Chains) -> Vec<String> {
    let mut rules = vec![
        "type filter hook forward priority filter; policy accept;".to_owned(),
        "ct state established,related accept".to_owned(),
    ];
    for family in FAMILIES {
        let own: Vec<String> = family.among(addresses).iter().map(|one| format!("{one} . {one}")).collect();
        if !own.is_empty() {
            let ip = family.ip();
            rules.push(format!("{ip} saddr . {ip} daddr {{ {} }} accept", own.join(", ")));
        }
    }
    for chains in [egress, ingress] {
        let (field, _) = fields(chains.direction);
        for family in FAMILIES {
            let look = chains.map(family).map(|map| format!("{} {field} vmap @{map}", family.ip()));
            rules.extend(look);
        }
    }
    rules
}

fn chain(out: &mut String, name: &str, rules: &[impl AsRef<str>]) {
    let _ = writeln!(out, "\tchain {name} {{");
    for rule in rules {
        let _ = writeln!(out, "\t\t{}", rule.as_ref());
    }
    out.push_str("\t}\n");
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

impl Family {
    fn ip(self) -> &'static str {
        if matches!(self, Self::V4) { "ip" } else { "ip6" }
    }

    /// The type of its addresses.
    fn addr(self) -> &'static str {
        if matches!(self, Self::V4) { "ipv4_addr" } else { "ipv6_addr" }
    }

    fn of(address: &IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    fn has(self, address: &IpAddr) -> bool {
        Self::of(address) == self
    }

    /// Those of this family.
    fn among(self, addresses: &BTreeSet<IpAddr>) -> Vec<String> {
        addresses.iter().filter(|address| self.has(address)).map(ToString::to_string).collect()
    }
}

/// The addresses of the pods that selectors meet; rules that meet the same share one.
#[derive(Debug, Default)]
struct Sets {
    numbers: HashMap<Rc<BTreeSet<IpAddr>>, usize>,
    in_order: Vec<Rc<BTreeSet<IpAddr>>>,
}

impl Sets {
    /// How a packet's field is compared with a set, once for each family that it has.
    fn matching(&mut self, addresses: &Rc<BTreeSet<IpAddr>>, field: &str) -> Vec<String> {
        let number = *self.numbers.entry(addresses.clone()).or_insert_with(|| {
            self.in_order.push(addresses.clone());
            self.in_order.len() - 1
        });
        let families = FAMILIES.into_iter().filter(|family| addresses.iter().any(|one| family.has(one)));
        families.map(|family| format!("{ip} {field} @pods-{number}-{ip} ", ip = family.ip())).collect()
    }

    fn write(&self, out: &mut String) {
        for (number, addresses) in self.in_order.iter().enumerate() {
            for family in FAMILIES {
                let name = format!("pods-{number}-{}", family.ip());
                container(out, "set", &name, family.addr(), &family.among(addresses));
            }
        }
    }
}

/// A set or a map; none if it would be empty.
fn container(out: &mut String, what: &str, name: &str, kind: &str, elements: &[String]) {
    if !elements.is_empty() {
        let _ = writeln!(out, "\t{what} {name} {{\n\t\ttype {kind}");
        let _ = writeln!(out, "\t\telements = {{ {} }}\n\t}}", elements.join(", "));
    }
}

/// The chains of one direction; pods that admit the same share one.
#[derive(Debug)]
struct Chains {
    direction: Direction,
    bodies: Vec<Vec<String>>,
    known: HashMap<Vec<usize>, usize>,
    of: BTreeMap<IpAddr, usize>,
}

impl Chains {
    fn new(direction: Direction) -> Self {
        Self { direction, bodies: Vec::new(), known: HashMap::new(), of: BTreeMap::new() }
    }

    /// Gives a pod that is isolated the chain for its admissions, whose lines are in `lines`.
    fn add(&mut self, addresses: &BTreeSet<IpAddr>, admissions: Option<&[usize]>, lines: &[Vec<String>]) {
        let Some(admissions) = admissions else { return };
        let number = *self.known.entry(admissions.to_vec()).or_insert_with(|| {
            let admitted = admissions.iter().filter_map(|place| lines.get(*place)).flatten().cloned();
            self.bodies.push(admitted.chain(["goto refuse".to_owned()]).collect());
            self.bodies.len() - 1
        });
        self.of.extend(addresses.iter().map(|address| (*address, number)));
    }

    fn elements(&self, family: Family) -> Vec<String> {
        let name = self.direction.as_str();
        let of = self.of.iter().filter(|(address, _)| family.has(address));
        of.map(|(address, number)| format!("{address} : jump {name}-{number}")).collect()
    }

    /// The map from a pod's address to its chain, if any is isolated.
    fn map(&self, family: Family) -> Option<String> {
        let any = self.of.keys().any(|address| family.has(address));
        any.then(|| format!("{}-{}", self.direction.as_str(), family.ip()))
    }

    /// The chains come first: a map refers to them.
    fn write(&self, out: &mut String) {
        for (number, body) in self.bodies.iter().enumerate() {
            chain(out, &format!("{}-{number}", self.direction.as_str()), body);
        }
        for family in FAMILIES {
            if let Some(name) = self.map(family) {
                let kind = format!("{} : verdict", family.addr());
                container(out, "map", &name, &kind, &self.elements(family));
            }
        }
    }
}

/// Where a packet has the address of the pod, and where that of its peer.
fn fields(direction: Direction) -> (&'static str, &'static str) {
    match direction {
        Direction::Ingress => ("daddr", "saddr"),
        Direction::Egress => ("saddr", "daddr"),
    }
}

/// One line for each combination of a peer's family and a protocol.
fn lines(admission: &Admission, sets: &mut Sets) -> Vec<String> {
    let (_, field) = fields(admission.direction);
    let traffic = traffic(&admission.traffic);
    let comment: String = admission.origin.chars().take(COMMENT).collect();
    peers(&admission.peer, field, sets)
        .iter()
        .flat_map(|peer| traffic.iter().map(move |traffic| (peer, traffic)))
        .map(|(peer, traffic)| format!("{peer}{traffic}return comment \"{comment}\""))
        .collect()
}

fn peers(peer: &Peer, field: &str, sets: &mut Sets) -> Vec<String> {
    match peer {
        Peer::Anyone => vec![String::new()],
        Peer::Pods(addresses) => sets.matching(addresses, field),
        Peer::Block(net, except) => {
            let ip = Family::of(&net.addr()).ip();
            let but = except.iter().map(|one| format!("{ip} {field} != {one} "));
            vec![format!("{ip} {field} {net} {}", but.collect::<String>())]
        }
    }
}

fn traffic(traffic: &Traffic) -> Vec<String> {
    let Traffic::Ports(ports) = traffic else { return vec![String::new()] };
    ports
        .iter()
        .map(|(protocol, ranges)| {
            let protocol = protocol.as_str();
            match merged(ranges).as_slice() {
                [(0, u16::MAX)] => format!("meta l4proto {protocol} "),
                ranges => format!("{protocol} dport {{ {} }} ", listed(ranges)),
            }
        })
        .collect()
}

fn listed(ranges: &[(u16, u16)]) -> String {
    let range = |(first, last): &(u16, u16)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    ranges.iter().map(range).collect::<Vec<_>>().join(", ")
}

/// nftables refuses a set with ranges that overlap.
fn merged(ranges: &BTreeSet<(u16, u16)>) -> Vec<(u16, u16)> {
    let mut merged: Vec<(u16, u16)> = Vec::new();
    for &(first, last) in ranges {
        match merged.last_mut() {
            Some(before) if first <= before.1 => before.1 = before.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    merged
}
