//! EndpointSlice, and `v1` Endpoints as slices.

use std::net::IpAddr;

use serde::Deserialize;

use super::super::{Endpoint, EndpointSlice, Object, ObjectName, Protocol};
use super::meta::{RawMeta, fields, name_of, protocol};
use super::{Lowered, WorldBuilder};

/// The label that ties a slice to its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawSlice {
    metadata: RawMeta,
    ports: Vec<RawPort>,
    endpoints: Vec<RawEndpoint>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawPort {
    name: Option<String>,
    port: Option<u16>,
    protocol: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawEndpoint {
    addresses: Vec<String>,
    conditions: RawConditions,
    target_ref: Option<RawTarget>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawConditions {
    ready: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawTarget {
    kind: String,
    name: String,
    namespace: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawEndpoints {
    subsets: Vec<RawSubset>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawSubset {
    addresses: Vec<RawAddress>,
    not_ready_addresses: Vec<RawAddress>,
    ports: Vec<RawPort>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawAddress {
    ip: String,
    target_ref: Option<RawTarget>,
}

impl WorldBuilder {
    pub(super) fn slice(&mut self, object: &Object) -> Lowered {
        let mut raw: RawSlice = fields(object)?;
        let name = name_of(object)?;
        self.refer(&name.namespace);
        let Some(service) = raw.metadata.labels.remove(SERVICE_NAME) else {
            // A slice that no Service uses routes nothing.
            return Ok(());
        };
        let namespace = name.namespace.clone();
        let endpoints = raw.endpoints.into_iter().map(|endpoint| endpoint.lower(&namespace)).collect();
        let slice = EndpointSlice {
            service: ObjectName { namespace: namespace.clone(), name: service },
            ports: ports(object, raw.ports)?,
            endpoints,
            place: object.place(),
        };
        let earlier = self.slices.put(name, slice);
        self.replaced(object, earlier.map(|slice| slice.place));
        Ok(())
    }

    pub(super) fn endpoints(&mut self, object: &Object) -> Lowered {
        let raw: RawEndpoints = fields(object)?;
        let name = name_of(object)?;
        self.refer(&name.namespace);
        let mut slices = Vec::with_capacity(raw.subsets.len());
        for subset in raw.subsets {
            let ready = subset.addresses.into_iter().map(|address| address.lower(&name.namespace, true));
            let waiting = subset.not_ready_addresses.into_iter().map(|address| address.lower(&name.namespace, false));
            slices.push(EndpointSlice {
                service: name.clone(),
                ports: ports(object, subset.ports)?,
                endpoints: ready.chain(waiting).collect(),
                place: object.place(),
            });
        }
        let _ = self.endpoints.put(name, slices);
        Ok(())
    }
}

/// Name, number (`None`: all ports), protocol.
type SlicePort = (Option<String>, Option<u16>, Protocol);

fn ports(object: &Object, raw: Vec<RawPort>) -> Lowered<Vec<SlicePort>> {
    let lower = |port: RawPort| {
        let protocol = protocol(object, port.protocol.as_deref())?;
        Ok((port.name.filter(|name| !name.is_empty()), port.port, protocol))
    };
    raw.into_iter().map(lower).collect()
}

impl RawEndpoint {
    fn lower(self, namespace: &str) -> Endpoint {
        Endpoint {
            // Slices of type FQDN hold names; those have no address here.
            addresses: self.addresses.iter().filter_map(|ip| ip.parse::<IpAddr>().ok()).collect(),
            ready: self.conditions.ready.unwrap_or(true),
            pod: self.target_ref.and_then(|target| target.pod(namespace)),
        }
    }
}

impl RawAddress {
    fn lower(self, namespace: &str, ready: bool) -> Endpoint {
        Endpoint {
            addresses: self.ip.parse::<IpAddr>().into_iter().collect(),
            ready,
            pod: self.target_ref.and_then(|target| target.pod(namespace)),
        }
    }
}

impl RawTarget {
    fn pod(self, namespace: &str) -> Option<ObjectName> {
        let namespace = self.namespace.filter(|own| !own.is_empty()).unwrap_or_else(|| namespace.to_owned());
        (self.kind == "Pod" && !self.name.is_empty()).then_some(ObjectName { namespace, name: self.name })
    }
}
