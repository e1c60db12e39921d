//! The joined view of a matrix: what the table, the JSON, the metrics and the page show, from one value.

use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};

use super::{Attempt, Class, Declared, Reason, State, TlsFacts};
use crate::finding::Finding;
use crate::matrix::{Exchange, Expect, Party, Peer, PeerKind, ResolvedEdge};

/// Everything there is to show about one matrix at one time.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Board {
    /// `namespace/name` of the matrix.
    pub matrix: String,
    /// One row an edge, in the matrix's order.
    pub edges: Vec<EdgeReport>,
    /// What is wrong, worst first, root causes before what follows from them.
    pub findings: Vec<Finding>,
    /// The newest attempts.
    pub probes: Vec<Attempt>,
    /// Remarks that need nobody to act.
    pub notes: Vec<String>,
    /// What happened lately, newest first.
    pub changes: Vec<Change>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// RFC 3339, UTC.
    pub at: String,
    /// What happened, in one sentence.
    pub what: String,
}

/// One edge with its three facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgeReport {
    /// Its name.
    pub name: String,
    /// Who opens it, in the endpoint grammar or in words.
    pub from: String,
    /// Whom it reaches.
    pub to: String,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: &'static str,
    /// Pod ports after Service DNAT, sorted; empty when not known.
    pub pod_ports: Vec<u16>,
    /// The Service port that clients dial, if they go through a Service.
    pub service_port: Option<u16>,
    /// What is needed to know what is missing; empty when nothing is.
    pub needs: String,
    /// Whether it must work.
    pub expect: Expect,
    /// 0, 1 or 2.
    pub tier: u8,
    /// What people notice when it is cut.
    pub breaks: String,
    /// The conversation that proves it.
    pub exchange: Exchange,
    /// Every source's words: `file:line:column section: what it says`.
    pub provenance: Vec<String>,
    /// What the policies say; `None` when none were given.
    pub declared: Option<Declared>,
    /// Why the policies say so, in one sentence with file:line.
    pub because: String,
    /// What the probes say; `None` when none was made.
    pub observed: Option<Class>,
    /// The reason behind `observed`.
    pub reason: Option<Reason>,
    /// The state; `None` before anything was judged.
    pub state: Option<State>,
    /// The finding, if there is one.
    pub finding: Option<Finding>,
}

impl Serialize for EdgeReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("EdgeReport", 19)?;
        out.serialize_field("name", &self.name)?;
        out.serialize_field("from", &self.from)?;
        out.serialize_field("to", &self.to)?;
        out.serialize_field("protocol", self.protocol)?;
        // One number for the usual case; several ports (or none known) are in `podPorts`.
        out.serialize_field("podPort", &(self.pod_ports.len() == 1).then(|| self.pod_ports[0]))?;
        out.serialize_field("podPorts", &self.pod_ports)?;
        out.serialize_field("servicePort", &self.service_port)?;
        out.serialize_field("needs", &self.needs)?;
        out.serialize_field("expect", self.expect.as_str())?;
        out.serialize_field("tier", &self.tier)?;
        out.serialize_field("breaks", &self.breaks)?;
        out.serialize_field("exchange", self.exchange.as_str())?;
        out.serialize_field("provenance", &self.provenance)?;
        out.serialize_field("declared", &self.declared.map(Declared::as_str))?;
        out.serialize_field("because", &self.because)?;
        out.serialize_field("observed", &self.observed.map(Class::as_str))?;
        out.serialize_field("reason", &self.reason.map(Reason::as_str))?;
        out.serialize_field("state", &self.state.map(State::as_str))?;
        out.serialize_field("finding", &self.finding)?;
        out.end()
    }
}

impl Serialize for Attempt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Attempt", 8)?;
        out.serialize_field("edge", &self.edge)?;
        out.serialize_field("address", &self.address)?;
        out.serialize_field("reason", self.reason.as_str())?;
        out.serialize_field("offender", &self.offender)?;
        let phases: serde_json::Map<_, _> = self
            .phases
            .named()
            .iter()
            .filter_map(|(name, duration)| duration.map(|d| ((*name).to_owned(), d.as_secs_f64().into())))
            .collect();
        out.serialize_field("phases", &phases)?;
        out.serialize_field("detail", &self.detail)?;
        out.serialize_field("tlsNotAfter", &self.tls_not_after())?;
        out.serialize_field("tls", &self.tls)?;
        out.end()
    }
}

impl Serialize for TlsFacts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("TlsFacts", 8)?;
        out.serialize_field("notBefore", &self.not_before)?;
        out.serialize_field("notAfter", &self.not_after)?;
        out.serialize_field("chainNotAfter", &self.chain_not_after)?;
        out.serialize_field("issuer", &self.issuer)?;
        out.serialize_field("names", &self.names)?;
        out.serialize_field("firstNames", &self.first_names)?;
        out.serialize_field("version", &self.version)?;
        out.serialize_field("alpn", &self.alpn)?;
        out.end()
    }
}

impl EdgeReport {
    /// A row with the intended fact only.
    pub fn intended(resolved: &ResolvedEdge) -> Self {
        let edge = &resolved.edge;
        let mut pod_ports: Vec<u16> = resolved.to.iter().flat_map(|peer| peer.ports.iter().copied()).collect();
        pod_ports.sort_unstable();
        pod_ports.dedup();
        Self {
            name: edge.name.clone(),
            from: end(edge.from.iter(), &resolved.from),
            to: end(edge.to.iter().map(|target| &target.party), &resolved.to),
            protocol: edge.protocol.as_str(),
            pod_ports,
            service_port: resolved.to.iter().find_map(|peer| peer.service.as_ref().map(|(_, port)| *port)),
            needs: String::new(),
            expect: edge.expect,
            tier: edge.tier,
            breaks: edge.breaks.clone(),
            exchange: edge.exchange.clone(),
            provenance: edge.provenance.iter().map(ToString::to_string).collect(),
            declared: None,
            because: String::new(),
            observed: None,
            reason: None,
            state: None,
            finding: None,
        }
    }

    /// The ports for people: `5432/TCP`, `8000,8443/TCP`, `?/TCP`.
    pub fn ports(&self) -> String {
        let numbers: Vec<String> = self.pod_ports.iter().map(ToString::to_string).collect();
        let numbers = if numbers.is_empty() { "?".to_owned() } else { numbers.join(",") };
        format!("{numbers}/{}", self.protocol)
    }
}

/// One end in words: the subject, else the peers that were found, else what the source calls it.
fn end<'a>(parties: impl Iterator<Item = &'a Party>, peers: &[Peer]) -> String {
    let parties: Vec<&Party> = parties.collect();
    if !parties.is_empty() && parties.iter().all(|party| **party == Party::Subject) {
        return "subject".to_owned();
    }
    let known = peers.iter().filter(|peer| peer.kind != PeerKind::Unresolved).map(ToString::to_string);
    let mut words: Vec<String> = known.collect();
    if words.is_empty() {
        words = parties.iter().map(ToString::to_string).collect();
    }
    words.dedup();
    if words.is_empty() { "not known".to_owned() } else { words.join(" or ") }
}
