//! The TrafficMatrix of product.md §4, from a file or as a custom resource.
//!
//! It is the one input that is ours, so unknown keys are refused; hidden values (`${VAR}`, encrypted) are findings, as everywhere.

mod raw;
mod secrets;
mod spec;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use self::raw::{RawEdge, RawPeer, RawPort, RawSpec};
pub use self::spec::{
    ConfigMapKey, DeletionPolicy, Directions, EdgeSpec, Mode, NamesSpec, Owner, PeerSpec, ProbeSpec, Rollout, Strategy,
    TrafficMatrix, ValuesFrom, ValuesKind,
};
use super::Party;
use super::endpoint::{parse_block, parse_endpoint};
use crate::finding::{Code, Finding};
use crate::guide::{self, Cite, GuideValues, Setting};
use crate::source::de::{self, Field, UnknownKeys, closest};
use crate::source::{Document, InputError, Node, Place, Position, Value};
use crate::world::parse_protocol;
use crate::world::{Labels, ObjectName, PortRef};

/// The API group and version that is read.
pub const API_VERSION: &str = "portreeve.io/v1alpha1";

/// Reads a TrafficMatrix.
///
/// # Errors
///
/// It is none, a key is unknown, a value has the wrong type or breaks the grammar, or `guide.values` carries a secret.
pub fn read(document: &Document) -> Result<(TrafficMatrix, Vec<Finding>), InputError> {
    let name = header(document)?;
    let empty = Node { at: document.root.at, value: Value::Map(Vec::new()) };
    let spec = document.root.get("spec").unwrap_or(&empty);
    if let Value::Opaque(why) = spec.value {
        return Err(InputError::new(
            document.place(spec),
            format!("spec is {why}: give the file as it will be applied"),
        ));
    }
    let raw: RawSpec =
        de::read(document, spec, UnknownKeys::Refuse, &mut Vec::new()).map_err(|error| guide::under("spec", error))?;
    let mut reader = Reader { file: &document.file, findings: Vec::new() };
    let guide = reader.guide(document)?;
    let matrix = reader.matrix(name, document.place(&document.root), guide, raw)?;
    Ok((matrix, reader.findings))
}

/// Checks what stands around `spec`.
fn header(document: &Document) -> Result<ObjectName, InputError> {
    const KEYS: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];
    let root = &document.root;
    let fail = |node: &Node, message: String| Err(InputError::new(document.place(node), message));
    if !matches!(root.value, Value::Map(_)) {
        return fail(
            root,
            "a TrafficMatrix is a mapping with apiVersion, kind, metadata and spec; this is none".into(),
        );
    }
    let text = |key: &str| root.get(key).and_then(Node::text);
    if text("kind") != Some("TrafficMatrix") || text("apiVersion") != Some(API_VERSION) {
        return fail(
            root,
            format!("not a TrafficMatrix: apiVersion {API_VERSION} and kind TrafficMatrix are expected"),
        );
    }
    if let Some((key, _)) = root.entries().iter().find(|(key, _)| !KEYS.contains(&&*key.text)) {
        let near = closest(&key.text, &KEYS).map_or(String::new(), |near| format!(": did you mean `{near}`?"));
        let place = Place::new(&document.file, key.at);
        return Err(InputError::new(place, format!("unknown key `{}`{near}", key.text)));
    }
    let meta = |key: &str| root.get("metadata").and_then(|meta| meta.get(key)).and_then(Node::text);
    match meta("name") {
        Some(name) => Ok(ObjectName::new(meta("namespace").unwrap_or("default"), name)),
        None => fail(root, "metadata.name is missing: name the TrafficMatrix".into()),
    }
}

struct Reader<'d> {
    file: &'d Arc<str>,
    findings: Vec<Finding>,
}

type Read<T> = Result<T, InputError>;

impl Reader<'_> {
    fn error<T>(&self, at: Position, key: &str, message: impl std::fmt::Display) -> Read<T> {
        Err(InputError::new(Place::new(self.file, at), format!("{key}: {message}")))
    }

    /// A value, or `None` when it is absent or hidden; a hidden one is reported.
    fn known<T: Clone>(&mut self, key: &str, field: Option<&Field<T>>) -> Option<(T, Position)> {
        match guide::setting(&mut self.findings, self.file, key.to_owned(), field) {
            Setting::Known(value, cite) => Some((value, cite.place.position)),
            Setting::Hidden(_) | Setting::Absent => None,
        }
    }

    fn or<T: Clone>(&mut self, key: &str, field: Option<&Field<T>>, default: T) -> T {
        self.known(key, field).map_or(default, |(value, _)| value)
    }

    fn guide(&mut self, document: &Document) -> Read<Option<GuideValues>> {
        let Some(values) = document.root.at_path("/spec/guide/values") else {
            return Ok(None);
        };
        secrets::refuse(document, values)?;
        let Some(block) = values.get("mas") else {
            if matches!(values.value, Value::Null) || (values.entries().is_empty() && values.kind() == "a mapping") {
                return Ok(None);
            }
            return self.error(values.at, "spec.guide.values", "there is no `mas:` block in it");
        };
        let (guide, mut findings) = guide::values::read_block(document, "spec.guide.values.", block)?;
        self.findings.append(&mut findings);
        Ok(Some(guide))
    }

    fn matrix(
        &mut self,
        name: ObjectName,
        place: Place,
        guide: Option<GuideValues>,
        raw: RawSpec,
    ) -> Read<TrafficMatrix> {
        let subject = self.subject(&raw)?;
        let mut peers = Vec::new();
        for (key, field) in &raw.peers {
            peers.push(self.peer(key, field)?);
        }
        let mut names = BTreeSet::new();
        let edges = self.edges("spec.edges", &raw.edges, &mut names)?;
        let forbid = match &raw.forbid {
            None => None,
            Some(list) => Some(self.edges("spec.forbid", list, &mut names)?),
        };
        let (values_from, mas_config_from) = (self.values_from(&raw)?, self.mas_config_from(&raw)?);
        let (directions, rollout) = (self.directions(&raw)?, self.rollout(&raw)?);
        let (probe, names) = (self.probe(&raw)?, self.names(&raw)?);
        Ok(TrafficMatrix {
            name,
            place,
            guide,
            values_from,
            mas_config_from,
            subject,
            peers,
            edges,
            forbid,
            mode: self.or("spec.mode", raw.mode.as_ref(), Mode::default()),
            directions,
            owner: self.or("spec.policies.owner", raw.policies.owner.as_ref(), Owner::default()),
            rollout,
            deletion_policy: self.or("spec.deletionPolicy", raw.deletion_policy.as_ref(), DeletionPolicy::default()),
            probe,
            names,
            adopt: raw.adopt,
        })
    }

    fn subject(&mut self, raw: &RawSpec) -> Read<Option<(Party, Place)>> {
        let Some((text, at)) = self.known("spec.subject", raw.subject.as_ref()) else {
            return Ok(None);
        };
        match parse_endpoint(&text) {
            Ok(party @ (Party::Workload(..) | Party::Pod(_))) => Ok(Some((party, Place::new(self.file, at)))),
            Ok(_) => self.error(at, "spec.subject", "a workload is expected, for example matrix/deploy/mas"),
            Err(message) => self.error(at, "spec.subject", message),
        }
    }

    fn peer(&mut self, key: &str, field: &Field<RawPeer>) -> Read<PeerSpec> {
        let path = format!("spec.peers.{key}");
        let cite = Cite { key: path.clone(), place: Place::new(self.file, field.at) };
        if !is_name(key) {
            return self.error(field.at, &path, NAME_RULE);
        }
        let Some((raw, at)) = self.known(&path, Some(field)) else {
            return Ok(PeerSpec { key: key.to_owned(), cite, parties: Vec::new(), port: None });
        };
        let ways = [raw.service.is_some(), raw.selector.is_some(), raw.host.is_some(), raw.cidrs.is_some()];
        if ways.iter().filter(|given| **given).count() != 1 {
            return self.error(at, &path, "exactly one of service, selector, host and cidrs is expected");
        }
        if raw.allow_private.is_some() && raw.host.is_none() {
            return self.error(at, &path, "allowPrivate is for a host's addresses: it needs `host`");
        }
        let parties = self.parties(&path, &raw)?;
        let port = match self.known(&format!("{path}.port"), raw.port.as_ref()) {
            None => None,
            Some((RawPort { port, protocol: None }, _)) => Some(port),
            Some((_, at)) => {
                return self.error(at, &format!("{path}.port"), "write the port alone: the edge knows its protocol");
            }
        };
        Ok(PeerSpec { key: key.to_owned(), cite, parties, port })
    }

    fn parties(&mut self, path: &str, raw: &RawPeer) -> Read<Vec<Party>> {
        if let Some((text, at)) = self.known(&format!("{path}.service"), raw.service.as_ref()) {
            // `ns/name` is a Service here, as the key says so; the grammar alone would read a pod.
            return match parse_endpoint(&text) {
                Ok(Party::Pod(name) | Party::Service(name)) => Ok(vec![Party::Service(name)]),
                _ => self.error(
                    at,
                    &format!("{path}.service"),
                    "a Service is expected, for example postgres/matrix-db-rw",
                ),
            };
        }
        if let Some((text, at)) = self.known(&format!("{path}.host"), raw.host.as_ref()) {
            let Ok(host) = guide::host_name(&text) else {
                return self.error(
                    at,
                    &format!("{path}.host"),
                    "a host name or address is expected, without scheme and port",
                );
            };
            let allow_private = self.blocks(&format!("{path}.allowPrivate"), raw.allow_private.as_ref())?;
            return Ok(vec![match host.parse() {
                Ok(address) => Party::Address(address),
                Err(_) => Party::Host { host, allow_private },
            }]);
        }
        if let Some((selector, at)) = self.known(&format!("{path}.selector"), raw.selector.as_ref()) {
            let namespace =
                self.known(&format!("{path}.selector.namespace"), selector.namespace.as_ref()).map(|(name, _)| name);
            let labels: Labels = selector.pod_selector.match_labels;
            if labels.is_empty() {
                let message = "podSelector.matchLabels is empty: that would be every pod of the namespace";
                return self.error(at, &format!("{path}.selector"), message);
            }
            return Ok(vec![Party::Selector { namespace, labels }]);
        }
        Ok(self.blocks(&format!("{path}.cidrs"), raw.cidrs.as_ref())?.into_iter().map(Party::Block).collect())
    }

    fn blocks(&mut self, path: &str, field: Option<&Field<Vec<Field<String>>>>) -> Read<Vec<IpNet>> {
        let mut nets = Vec::new();
        let Some((items, at)) = self.known(path, field) else {
            return Ok(nets);
        };
        if items.is_empty() {
            return self.error(at, path, "the list is empty: name at least one range");
        }
        for (index, item) in items.iter().enumerate() {
            let path = format!("{path}[{index}]");
            if let Some((text, at)) = self.known(&path, Some(item)) {
                let net =
                    text.parse::<IpAddr>().map_or_else(|_| parse_block(&text), |address| Ok(IpNet::from(address)));
                match net {
                    Ok(net) => nets.push(net),
                    Err(message) => return self.error(at, &path, message),
                }
            }
        }
        Ok(nets)
    }

    fn edges(&mut self, path: &str, list: &[Field<RawEdge>], names: &mut BTreeSet<String>) -> Read<Vec<EdgeSpec>> {
        let mut edges = Vec::new();
        for (index, field) in list.iter().enumerate() {
            let path = format!("{path}[{index}]");
            let Some((raw, at)) = self.known(&path, Some(field)) else {
                continue;
            };
            if !is_name(&raw.name) {
                return self.error(at, &format!("{path}.name"), NAME_RULE);
            }
            if !names.insert(raw.name.clone()) {
                return self.error(
                    at,
                    &format!("{path}.name"),
                    "two edges have this name: names are unique in a matrix",
                );
            }
            edges.extend(self.edge(&path, at, raw)?);
        }
        Ok(edges)
    }

    /// `None` when a part of it is hidden.
    fn edge(&mut self, path: &str, at: Position, raw: RawEdge) -> Read<Option<EdgeSpec>> {
        let from = self.endpoint(&format!("{path}.from"), &raw.from)?;
        let to = self.endpoint(&format!("{path}.to"), &raw.to)?;
        let protocol = match self.known(&format!("{path}.protocol"), raw.protocol.as_ref()) {
            None => None,
            Some((text, at)) => match parse_protocol(&text) {
                Ok(protocol) => Some(protocol),
                Err(message) => return self.error(at, &format!("{path}.protocol"), message),
            },
        };
        let port = self.known(&format!("{path}.port"), Some(&raw.port));
        let (Some(from), Some(to), Some((port, port_at))) = (from, to, port) else {
            return Ok(None);
        };
        if port.protocol.is_some() && protocol.is_some() && port.protocol != protocol {
            return self.error(
                port_at,
                &format!("{path}.port"),
                "the port and `protocol` name different protocols: keep one",
            );
        }
        if matches!(port.port, PortRef::Name(_))
            && matches!(to, Party::Address(_) | Party::Block(_) | Party::World | Party::Node(_))
        {
            return self.error(
                port_at,
                &format!("{path}.port"),
                "only pods and Services have named ports: write a number",
            );
        }
        let cite = Cite { key: path.to_owned(), place: Place::new(self.file, at) };
        let protocol = protocol.or(port.protocol).unwrap_or_default();
        Ok(Some(EdgeSpec { name: raw.name, cite, from, to, port: port.port, protocol }))
    }

    fn endpoint(&mut self, path: &str, field: &Field<String>) -> Read<Option<Party>> {
        match self.known(path, Some(field)) {
            None => Ok(None),
            Some((text, at)) => match parse_endpoint(&text) {
                Ok(party) => Ok(Some(party)),
                Err(message) => self.error(at, path, message),
            },
        }
    }

    fn values_from(&mut self, raw: &RawSpec) -> Read<Vec<ValuesFrom>> {
        let mut list = Vec::new();
        for (index, field) in raw.guide.values_from.iter().enumerate() {
            let path = format!("spec.guide.valuesFrom[{index}]");
            let Some((entry, at)) = self.known(&path, Some(field)) else {
                continue;
            };
            let kind = match entry.kind.as_str() {
                "ConfigMap" => ValuesKind::ConfigMap,
                "HelmRelease" => ValuesKind::HelmRelease,
                _ => return self.error(at, &format!("{path}.kind"), "expected ConfigMap or HelmRelease"),
            };
            list.push(ValuesFrom { kind, name: entry.name, path: entry.path });
        }
        Ok(list)
    }

    fn mas_config_from(&mut self, raw: &RawSpec) -> Read<Vec<ConfigMapKey>> {
        let mut list = Vec::new();
        for (index, field) in raw.mas_config_from.iter().enumerate() {
            let path = format!("spec.masConfigFrom[{index}]");
            let Some((entry, at)) = self.known(&path, Some(field)) else {
                continue;
            };
            if entry.kind.as_deref().is_some_and(|kind| kind != "ConfigMap") {
                let message = "only ConfigMaps are read, never Secrets: `portreeve init` writes their hosts into peers";
                return self.error(at, &format!("{path}.kind"), message);
            }
            list.push(ConfigMapKey { name: entry.name, key: entry.key.unwrap_or_else(|| "config.yaml".to_owned()) });
        }
        Ok(list)
    }

    fn directions(&mut self, raw: &RawSpec) -> Read<Directions> {
        let Some((list, at)) = self.known("spec.directions", raw.directions.as_ref()) else {
            return Ok(Directions { ingress: true, egress: true });
        };
        if list.is_empty() {
            return self.error(at, "spec.directions", "the list is empty: name Ingress, Egress or both");
        }
        let has = |direction| list.contains(&direction);
        Ok(Directions { ingress: has(raw::RawDirection::Ingress), egress: has(raw::RawDirection::Egress) })
    }

    fn rollout(&mut self, raw: &RawSpec) -> Read<Rollout> {
        let strategy = self.or("spec.rollout.strategy", raw.rollout.strategy.as_ref(), Strategy::default());
        let window = self.duration("spec.rollout.window", raw.rollout.window.as_ref(), Duration::from_mins(2))?;
        Ok(Rollout { strategy, window })
    }

    fn probe(&mut self, raw: &RawSpec) -> Read<ProbeSpec> {
        let ca = self.or("spec.probe.caConfigMap", raw.probe.ca_config_map.as_ref(), String::new());
        let (interval, deep) = (raw.probe.interval.as_ref(), raw.probe.deep_interval.as_ref());
        Ok(ProbeSpec {
            interval: self.interval(
                "spec.probe.interval",
                interval,
                Duration::from_secs(15),
                Duration::from_hours(1),
            )?,
            deep_interval: self.interval(
                "spec.probe.deepInterval",
                deep,
                Duration::from_mins(5),
                Duration::from_hours(24),
            )?,
            ca_config_map: (!ca.is_empty()).then_some(ca),
        })
    }

    /// A duration that an agent takes: what it refuses is to be seen here, and not in its log.
    fn interval(
        &mut self,
        path: &str,
        field: Option<&Field<String>>,
        default: Duration,
        most: Duration,
    ) -> Read<Duration> {
        match self.known(path, field) {
            None => Ok(default),
            Some((text, at)) => match duration(&text) {
                Some(interval) if (Duration::from_secs(1)..=most).contains(&interval) => Ok(interval),
                _ => self.error(at, path, format!("a duration from 1s to {}h is expected", most.as_secs() / 3600)),
            },
        }
    }

    fn names(&mut self, raw: &RawSpec) -> Read<NamesSpec> {
        let max = self.known("spec.names.max", raw.names.max.as_ref());
        if let Some((0, at)) = max {
            return self.error(at, "spec.names.max", "a limit of 0 would allow no address at all");
        }
        let grace = self.duration("spec.names.grace", raw.names.grace.as_ref(), Duration::from_hours(1))?;
        Ok(NamesSpec { grace, max: max.map_or(100, |(max, _)| max) })
    }

    fn duration(&mut self, path: &str, field: Option<&Field<String>>, default: Duration) -> Read<Duration> {
        match self.known(path, field) {
            None => Ok(default),
            Some((text, at)) => match duration(&text) {
                Some(duration) => Ok(duration),
                None => self.error(at, path, "a duration is expected, for example 15s, 5m or 1h30m, more than nothing"),
            },
        }
    }
}

const NAME_RULE: &str = "a name has lower-case letters, digits and `-`, at most 63";

/// RFC 1123 label: the name becomes a metric's label value and a part of annotations.
fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 63
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Go's `time.ParseDuration` without signs and fractions, as Kubernetes' `metav1.Duration` writes it. Zero is refused.
fn duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        let after = &rest[digits..];
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let millis = match &after[..end] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        total = total.checked_add(Duration::from_millis(number.checked_mul(millis)?))?;
        rest = &after[end..];
    }
    (!total.is_zero()).then_some(total)
}

/// The finding about a key of `peers` that belongs to no edge.
pub(super) fn stray_peer(peer: &PeerSpec, known: &[&str]) -> Finding {
    let message = match closest(&peer.key, known) {
        Some(near) => format!("`{}` belongs to no edge: did you mean `{near}`?", peer.cite.key),
        None => format!("`{}` belongs to no edge: known are {}", peer.cite.key, known.join(", ")),
    };
    Finding::new(
        Code::UnknownKey,
        &peer.cite.key,
        message,
        "use the name of an edge's peer, or write an edge under spec.edges",
    )
    .at(peer.cite.place.clone())
}

#[cfg(test)]
mod tests;
