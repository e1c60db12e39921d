//! Gateway API: HTTPRoute → Gateway → GatewayClass.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::super::{Backend, Entrance, EntranceKind, Object, ObjectName, PortRef};
use super::entrance::ANY_HOST;
use super::meta::{fields, name_of};
use super::{Lowered, WorldBuilder};

/// A Gateway, kept until all routes are known.
#[derive(Debug, Clone)]
pub(super) struct Gateway {
    class: String,
    /// Host names of its listeners.
    hosts: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawRoute {
    spec: RawRouteSpec,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawRouteSpec {
    parent_refs: Vec<RawRef>,
    hostnames: Vec<String>,
    rules: Vec<RawRule>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawRule {
    backend_refs: Vec<RawRef>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawRef {
    kind: Option<String>,
    name: String,
    namespace: Option<String>,
    port: Option<u16>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawGateway {
    spec: RawGatewaySpec,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawGatewaySpec {
    gateway_class_name: String,
    listeners: Vec<RawListener>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawListener {
    hostname: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawClass {
    spec: RawClassSpec,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawClassSpec {
    controller_name: String,
}

impl WorldBuilder {
    pub(super) fn http_route(&mut self, object: &Object) -> Lowered {
        let raw: RawRoute = fields(object)?;
        let name = name_of(object)?;
        self.refer(&name.namespace);
        let parents = raw.spec.parent_refs.into_iter();
        let gateways = parents.filter_map(|parent| parent.lower("Gateway", &name.namespace)).map(|(name, _)| name);
        let backends = raw.spec.rules.into_iter().flat_map(|rule| rule.backend_refs);
        let backends = backends.filter_map(|backend| backend.lower("Service", &name.namespace));
        let entrance = Entrance {
            kind: EntranceKind::HttpRoute,
            name: name.clone(),
            hosts: raw.spec.hostnames.iter().map(|host| host.to_ascii_lowercase()).collect(),
            gateways: gateways.collect(),
            backends: backends.map(|(service, port)| Backend { service, port: port.map(PortRef::Number) }).collect(),
            class: None,
            place: object.place(),
        };
        self.enter(object, name, vec![entrance]);
        Ok(())
    }

    pub(super) fn gateway(&mut self, object: &Object) -> Lowered {
        let raw: RawGateway = fields(object)?;
        let name = name_of(object)?;
        self.refer(&name.namespace);
        let hosts = raw.spec.listeners.into_iter().filter_map(|listener| listener.hostname);
        let hosts = hosts.filter(|host| !host.is_empty()).map(|host| host.to_ascii_lowercase()).collect();
        self.gateways.insert(name, Gateway { class: raw.spec.gateway_class_name, hosts });
        Ok(())
    }

    pub(super) fn gateway_class(&mut self, object: &Object) -> Lowered {
        let raw: RawClass = fields(object)?;
        self.world.gateway_classes.insert(object.name.clone(), raw.spec.controller_name);
        Ok(())
    }
}

impl RawRef {
    /// The referent, if it is of the kind (which is also what an absent kind means).
    fn lower(self, kind: &str, namespace: &str) -> Option<(ObjectName, Option<u16>)> {
        let fits = self.kind.as_deref().is_none_or(|own| own == kind);
        let namespace = self.namespace.unwrap_or_else(|| namespace.to_owned());
        fits.then_some((ObjectName { namespace, name: self.name }, self.port))
    }
}

/// Gives each route the class of its Gateway, and the Gateway's hosts if it names none itself (an HTTPRoute without hostnames takes those of its listeners).
pub(super) fn attach(entrances: &mut [Entrance], gateways: &BTreeMap<ObjectName, Gateway>) {
    for entrance in entrances.iter_mut().filter(|entrance| entrance.kind == EntranceKind::HttpRoute) {
        let parents: Vec<&Gateway> = entrance.gateways.iter().filter_map(|name| gateways.get(name)).collect();
        entrance.class = parents.first().map(|gateway| gateway.class.clone()).filter(|class| !class.is_empty());
        if entrance.hosts.is_empty() {
            entrance.hosts = parents.iter().flat_map(|gateway| gateway.hosts.clone()).collect();
        }
        if entrance.hosts.is_empty() {
            entrance.hosts.push(ANY_HOST.to_owned());
        }
    }
}
