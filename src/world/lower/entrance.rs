//! Ingress, IngressClass and Traefik's IngressRoute: one [`Entrance`] per rule, so that a host keeps its own backends.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::super::{Backend, Entrance, EntranceKind, Object, ObjectName, PortRef};
use super::meta::{RawPortRef, fields, name_of};
use super::{Lowered, WorldBuilder};
use crate::source::Place;

/// The annotation that stood for `ingressClassName` before it, and still does for IngressRoute.
const CLASS: &str = "kubernetes.io/ingress.class";
/// Marks the IngressClass of Ingresses that name none.
const DEFAULT_CLASS: &str = "ingressclass.kubernetes.io/is-default-class";
/// The host of a rule without a host.
pub(super) const ANY_HOST: &str = "*";

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawMeta {
    annotations: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawIngress {
    metadata: RawMeta,
    spec: RawIngressSpec,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawIngressSpec {
    ingress_class_name: Option<String>,
    default_backend: Option<RawBackend>,
    rules: Vec<RawRule>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawRule {
    host: Option<String>,
    http: RawHttp,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawHttp {
    paths: Vec<RawPath>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawPath {
    backend: RawBackend,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawBackend {
    service: Option<RawServiceBackend>,
    /// extensions/v1beta1.
    service_name: Option<String>,
    service_port: Option<RawPortRef>,
}

#[derive(Deserialize)]
struct RawServiceBackend {
    name: String,
    #[serde(default)]
    port: RawBackendPort,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawBackendPort {
    name: Option<String>,
    number: Option<u16>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawClass {
    metadata: RawMeta,
    spec: RawClassSpec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawClassSpec {
    controller: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawIngressRoute {
    metadata: RawMeta,
    spec: RawIngressRouteSpec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawIngressRouteSpec {
    routes: Vec<RawRoute>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawRoute {
    r#match: String,
    services: Vec<RawRouteService>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawRouteService {
    kind: Option<String>,
    name: String,
    namespace: Option<String>,
    port: Option<RawPortRef>,
}

impl WorldBuilder {
    pub(super) fn ingress(&mut self, object: &Object) -> Lowered {
        let mut raw: RawIngress = fields(object)?;
        let name = name_of(object)?;
        self.refer(&name.namespace);
        let class = raw.spec.ingress_class_name.or_else(|| raw.metadata.annotations.remove(CLASS));
        let entrance = |host: String, backends: Vec<Backend>, place: Place| Entrance {
            kind: EntranceKind::Ingress,
            name: name.clone(),
            hosts: vec![host],
            backends,
            class: class.clone().filter(|class| !class.is_empty()),
            gateways: Vec::new(),
            place,
        };
        let mut entrances = Vec::new();
        for (at, rule) in raw.spec.rules.into_iter().enumerate() {
            let paths = rule.http.paths.into_iter();
            let backends = paths.filter_map(|path| path.backend.lower(&name.namespace)).collect();
            entrances.push(entrance(host(rule.host), backends, object.place_of(&format!("/spec/rules/{at}"))));
        }
        if let Some(backend) = raw.spec.default_backend.and_then(|backend| backend.lower(&name.namespace)) {
            entrances.push(entrance(ANY_HOST.to_owned(), vec![backend], object.place_of("/spec/defaultBackend")));
        }
        self.enter(object, name, entrances);
        Ok(())
    }

    pub(super) fn ingress_class(&mut self, object: &Object) -> Lowered {
        let raw: RawClass = fields(object)?;
        if raw.metadata.annotations.get(DEFAULT_CLASS).is_some_and(|value| value == "true") {
            self.default_classes.push(object.name.clone());
        }
        self.world.ingress_classes.insert(object.name.clone(), raw.spec.controller);
        Ok(())
    }

    pub(super) fn ingress_route(&mut self, object: &Object) -> Lowered {
        let mut raw: RawIngressRoute = fields(object)?;
        let name = name_of(object)?;
        self.refer(&name.namespace);
        let class = raw.metadata.annotations.remove(CLASS);
        let mut entrances = Vec::new();
        for (at, route) in raw.spec.routes.into_iter().enumerate() {
            let backends = route.services.into_iter().filter_map(|service| service.lower(&name.namespace)).collect();
            entrances.push(Entrance {
                kind: EntranceKind::IngressRoute,
                name: name.clone(),
                hosts: rule_hosts(&route.r#match),
                backends,
                class: class.clone(),
                gateways: Vec::new(),
                place: object.place_of(&format!("/spec/routes/{at}")),
            });
        }
        self.enter(object, name, entrances);
        Ok(())
    }

    /// Takes the entrances of one object.
    pub(super) fn enter(&mut self, object: &Object, name: ObjectName, entrances: Vec<Entrance>) {
        let earlier = self.entrances.put((object.kind.clone(), name), entrances);
        self.replaced(object, earlier.and_then(|entrances| Some(entrances.first()?.place.clone())));
    }
}

/// An Ingress that names no class belongs to the default class, if there is exactly one.
pub(super) fn default_class(entrances: &mut [Entrance], defaults: &[String]) {
    if let [class] = defaults {
        for entrance in entrances.iter_mut().filter(|e| e.kind == EntranceKind::Ingress && e.class.is_none()) {
            entrance.class = Some(class.clone());
        }
    }
}

fn host(host: Option<String>) -> String {
    host.filter(|host| !host.is_empty()).map_or_else(|| ANY_HOST.to_owned(), |host| host.to_ascii_lowercase())
}

impl RawBackend {
    fn lower(self, namespace: &str) -> Option<Backend> {
        let (name, port) = match self.service {
            Some(service) => {
                let name = service.port.name.filter(|name| !name.is_empty()).map(PortRef::Name);
                (service.name, service.port.number.map(PortRef::Number).or(name))
            }
            None => (self.service_name?, self.service_port.map(|port| port.0)),
        };
        Some(Backend { service: ObjectName::new(namespace, name), port })
    }
}

impl RawRouteService {
    /// A TraefikService is a choice among Services; which, is not read.
    fn lower(self, namespace: &str) -> Option<Backend> {
        let is_service = self.kind.as_deref().is_none_or(|kind| kind == "Service" || kind.is_empty());
        let namespace = self.namespace.unwrap_or_else(|| namespace.to_owned());
        is_service
            .then(|| Backend { service: ObjectName { namespace, name: self.name }, port: self.port.map(|port| port.0) })
    }
}

/// The hosts of a Traefik rule: every ``Host(`a`, `b`)`` and `HostSNI(…)` that is not negated. A rule without one answers for any host.
pub(super) fn rule_hosts(rule: &str) -> Vec<String> {
    let mut hosts = Vec::new();
    for (at, _) in rule.match_indices("Host") {
        let before = rule[..at].trim_end().chars().next_back();
        if before.is_some_and(|c| c == '!' || c.is_ascii_alphanumeric()) {
            continue;
        }
        let rest = &rule[at + "Host".len()..];
        let rest = rest.strip_prefix("SNI").unwrap_or(rest).trim_start();
        // `HostRegexp(` names no host that could be compared; it falls out here.
        let Some((list, _)) = rest.strip_prefix('(').and_then(|rest| rest.split_once(')')) else {
            continue;
        };
        let quoted = list.split(',').map(|word| word.trim().trim_matches(['`', '"', '\'']));
        hosts.extend(quoted.filter(|word| !word.is_empty()).map(str::to_ascii_lowercase));
    }
    if hosts.is_empty() && !rule.contains("Host") {
        hosts.push(ANY_HOST.to_owned());
    }
    hosts
}
