//! What an agent is told to probe: `agent.json` of the ConfigMap `portreeve-agent-<matrix>`.
//!
//! It holds names and Service addresses, never a pod's: a mounted ConfigMap lags a minute or two behind, so the agent resolves at each probe.
//! Nothing that is not in it is ever dialled.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::matrix::traffic_matrix::ProbeSpec;
use crate::matrix::{Exchange, Expect, Party, PeerKind, Resolution, ResolvedEdge};
use crate::policy::render::{MANAGED_BY, MATRIX};
use crate::world::ObjectName;

/// The format that this program reads and writes.
pub const VERSION: u32 = 1;
/// The largest file that is read; also the API's limit for a ConfigMap.
pub const MAX_BYTES: u64 = 1 << 20;
/// The most edges that one file may hold.
const MAX_EDGES: usize = 1000;
/// The most places that one edge may lead to.
const MAX_PLACES: usize = 64;
/// The key in the ConfigMap, and the file's name where it is mounted.
pub const KEY: &str = "agent.json";
/// The key of the certificates that are trusted beside the public roots.
pub const CA_KEY: &str = "ca.pem";

/// The ConfigMap's name for a matrix.
pub fn config_map_name(matrix: &ObjectName) -> String {
    format!("portreeve-agent-{}", matrix.name)
}

/// Whose network identity an agent has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Vantage {
    /// A sidecar of MAS: what it sees is what MAS would see.
    Subject,
    /// A pod that must be refused, and that asks the public URL as anybody would.
    Stranger,
}

impl Vantage {
    /// `subject` or `stranger`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Subject => "subject",
            Self::Stranger => "stranger",
        }
    }
}

/// The whole file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Assignment {
    /// [`VERSION`].
    pub version: u32,
    /// `metadata.generation` of the TrafficMatrix that it was made from; 0 when a file was.
    pub generation: u64,
    /// `namespace/name` of the matrix.
    pub matrix: String,
    /// How often.
    pub intervals: Intervals,
    /// What to probe.
    pub edges: Vec<Assigned>,
}

/// How often edges are probed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Intervals {
    /// The shortest, in seconds, 1 to 3600; conversations that take more of the peer have multiples of it.
    pub probe_seconds: f64,
    /// From one deep probe to the next, in seconds, 1 to 86400.
    pub deep_seconds: f64,
}

impl Default for Intervals {
    /// Those of product.md §5: 15 s and 5 min.
    fn default() -> Self {
        Self { probe_seconds: 15.0, deep_seconds: 300.0 }
    }
}

impl From<&ProbeSpec> for Intervals {
    fn from(spec: &ProbeSpec) -> Self {
        Self { probe_seconds: spec.interval.as_secs_f64(), deep_seconds: spec.deep_interval.as_secs_f64() }
    }
}

impl Intervals {
    /// The shortest interval.
    pub fn probe(&self) -> Duration {
        Duration::from_secs_f64(self.probe_seconds)
    }

    /// From one deep probe to the next.
    pub fn deep(&self) -> Duration {
        Duration::from_secs_f64(self.deep_seconds)
    }
}

/// One edge to probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Assigned {
    /// Its name.
    pub name: String,
    /// Who probes it.
    pub vantage: Vantage,
    /// Whether it must work.
    pub expect: Expect,
    /// 0, 1 or 2.
    pub tier: u8,
    /// What is said.
    pub exchange: Exchange,
    /// Where. Empty for DNS: the servers of the pod's own resolv.conf.
    pub to: Vec<Place>,
}

/// Somewhere to dial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Place {
    /// A name as MAS has it, or an address.
    pub host: String,
    /// The port that a client dials.
    pub port: u16,
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// No JSON of this shape.
    #[error("line {}, column {}: {}", .0.line(), .0.column(), what(.0))]
    Shape(#[source] serde_json::Error),
    /// Of another version of portreeve.
    #[error(
        "it is of version {found}, this agent reads version {VERSION}: run the same version of portreeve on both sides"
    )]
    Version {
        /// Its version.
        found: u32,
    },
    /// A value out of its range.
    #[error("{what}")]
    Range {
        /// Which, and what is allowed.
        what: String,
    },
}

/// serde's words without its own place, which stands before them.
fn what(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(what, _)| what.to_owned())
}

impl Assignment {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`Unusable`], with what to change.
    pub fn parse(text: &[u8]) -> Result<Self, Unusable> {
        /// The version alone: a newer file may have another shape.
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let Versioned { version } = serde_json::from_slice(text).map_err(Unusable::Shape)?;
        if version != VERSION {
            return Err(Unusable::Version { found: version });
        }
        let assignment: Self = serde_json::from_slice(text).map_err(Unusable::Shape)?;
        assignment.check().map_err(|what| Unusable::Range { what })?;
        Ok(assignment)
    }

    fn check(&self) -> Result<(), String> {
        let Intervals { probe_seconds, deep_seconds } = self.intervals;
        if !(1.0..=3600.0).contains(&probe_seconds) || !(1.0..=86400.0).contains(&deep_seconds) {
            return Err("intervals: probeSeconds is from 1 to 3600, deepSeconds from 1 to 86400".to_owned());
        }
        if self.edges.len() > MAX_EDGES {
            return Err(format!("edges: {} are given, {MAX_EDGES} at most", self.edges.len()));
        }
        let mut names = std::collections::BTreeSet::new();
        for edge in &self.edges {
            let Assigned { name, to, .. } = edge;
            if !names.insert((name, edge.vantage)) {
                return Err(format!("edges: {name} is given twice"));
            }
            if to.len() > MAX_PLACES {
                return Err(format!("{name}: {} places are given, {MAX_PLACES} at most", to.len()));
            }
            if to.is_empty() && !edge.exchange.is_dns() {
                return Err(format!("{name}: `to` is empty"));
            }
            if to.iter().any(|place| place.port == 0 || !is_host(&place.host)) {
                return Err(format!("{name}: a place in `to` has no host, or port 0"));
            }
        }
        Ok(())
    }

    /// Makes the file of a matrix. Edges of which nobody says where they lead are left out; those of other sources than MAS and the stranger too.
    pub fn new(resolution: &Resolution, matrix: &ObjectName, generation: u64, intervals: Intervals) -> Self {
        let edges = resolution.edges.iter().filter_map(|edge| assigned(edge, resolution)).collect();
        Self { version: VERSION, generation, matrix: matrix.to_string(), intervals, edges }
    }

    /// As JSON, for people too: an operator may read it in the cluster.
    pub fn to_json(&self) -> String {
        // Numbers, texts and lists: nothing of it can fail.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// The ConfigMap that holds it, and the certificates (PEM) that are to be trusted beside the public roots.
    pub fn config_map(&self, matrix: &ObjectName, ca: Option<&str>) -> serde_json::Value {
        let mut data = BTreeMap::from([(KEY, self.to_json())]);
        data.extend(ca.map(|pem| (CA_KEY, pem.to_owned())));
        serde_json::json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": config_map_name(matrix),
                "namespace": matrix.namespace,
                "labels": {MANAGED_BY: "portreeve", MATRIX: matrix.name},
            },
            "data": data,
        })
    }
}

fn is_host(host: &str) -> bool {
    let fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    host.parse::<IpAddr>().is_ok() || ((1..=253).contains(&host.len()) && host.bytes().all(fit))
}

fn assigned(resolved: &ResolvedEdge, resolution: &Resolution) -> Option<Assigned> {
    let edge = &resolved.edge;
    let (vantage, exchange, to) = if edge.exchange == Exchange::Whoami {
        // Whether Synapse reaches MAS is asked at Synapse, where MAS reaches it.
        let synapse = resolution.edges.iter().find(|e| matches!(e.edge.exchange, Exchange::Synapse { .. }))?;
        (Vantage::Subject, Exchange::Whoami, places(synapse))
    } else if edge.from.contains(&Party::Subject) {
        (Vantage::Subject, edge.exchange.clone(), places(resolved))
    } else if let Some((host, port)) = edge.exchange.asked_at() {
        // From MAS's own pod the public URL is no edge, and may be closed: it is asked as anybody asks it.
        (Vantage::Stranger, edge.exchange.clone(), vec![Place { host, port }])
    } else if edge.expect == Expect::Deny && edge.from.contains(&Party::AnyPod) {
        (Vantage::Stranger, edge.exchange.clone(), places(resolved))
    } else {
        return None;
    };
    if to.is_empty() && !exchange.is_dns() {
        return None;
    }
    Some(Assigned { name: edge.name.clone(), vantage, expect: edge.expect, tier: edge.tier, exchange, to })
}

/// Where a client dials for an edge: as MAS's own config says it, else the Service that leads there.
fn places(resolved: &ResolvedEdge) -> Vec<Place> {
    if resolved.edge.exchange.is_dns() {
        return Vec::new();
    }
    let said = resolved.edge.to.iter().filter_map(crate::matrix::Target::dialled);
    let mut places: Vec<(String, u16)> = said.collect();
    if places.is_empty() {
        places = resolved
            .to
            .iter()
            .filter_map(|peer| peer.service.as_ref())
            .map(|(s, port)| (s.service_host(), *port))
            .collect();
    }
    if places.is_empty() && resolved.edge.to.iter().any(|target| target.party == Party::Stranger) {
        places = resolved.to.iter().filter_map(|peer| stranger(&peer.kind).zip(peer.ports.first().copied())).collect();
    }
    places.sort();
    places.dedup();
    places.into_iter().map(|(host, port)| Place { host, port }).collect()
}

/// The Service of `deploy/`, in the stranger's own namespace.
fn stranger(kind: &PeerKind) -> Option<String> {
    let PeerKind::Pods { namespace, .. } = kind else { return None };
    Some(ObjectName::new(namespace.clone(), "portreeve-stranger").service_host())
}
