//! API objects → [`World`]: one file per group of kinds, and the only place where absent, empty and default collapse.
//!
//! An object that cannot be read is a finding with its place and is left out; lowering never stops.
//! Network policies are lowered by `policy/`; here they only make their namespace known.

mod entrance;
mod gateway;
mod meta;
mod node;
mod pod;
mod service;
mod slice;
mod uncovered;
mod workload;

use std::collections::{BTreeMap, HashMap, HashSet};

#[cfg(test)]
pub(crate) use uncovered::route_kinds;

use super::labels::NAMESPACE_NAME;
use super::{EndpointSlice, Entrance, Labels, Namespace, NotCovered, Object, ObjectName, WorkloadKind, World};
use crate::finding::{Code, Finding};
use crate::source::Place;

/// What comes of one object, or why it is left out. Boxed: it is rare and large.
type Lowered<T = ()> = Result<T, Box<Finding>>;

/// Takes objects in any order and makes a [`World`] of them.
#[derive(Debug, Default, Clone)]
pub struct WorldBuilder {
    world: World,
    findings: Vec<Finding>,
    pods: Keyed<pod::Draft>,
    workloads: Keyed<workload::Draft, (WorkloadKind, ObjectName)>,
    slices: Keyed<EndpointSlice>,
    /// `v1` Endpoints, as slices; they count only for a Service without EndpointSlices.
    endpoints: Keyed<Vec<EndpointSlice>>,
    entrances: Keyed<Vec<Entrance>, (String, ObjectName)>,
    gateways: BTreeMap<ObjectName, gateway::Gateway>,
    default_classes: Vec<String>,
    uncovered: Vec<uncovered::Draft>,
    /// What is not shown and was asked for.
    unseen: Vec<NotCovered>,
}

impl WorldBuilder {
    /// Takes one object. Kinds on which no connection depends are passed over.
    pub fn add(&mut self, object: &Object) {
        if let Err(finding) = self.lower(object) {
            self.findings.push(*finding);
        }
    }

    fn lower(&mut self, object: &Object) -> Lowered {
        match (object.group(), object.kind.as_str()) {
            ("", "Namespace") => self.namespace(object),
            ("", "Node") => self.node(object),
            ("", "Pod") => self.pod(object),
            ("apps" | "extensions" | "batch", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
            | ("batch", "Job" | "CronJob") => self.workload(object),
            ("", "Service") => self.service(object),
            ("", "Endpoints") => self.endpoints(object),
            ("discovery.k8s.io", "EndpointSlice") => self.slice(object),
            ("networking.k8s.io" | "extensions", "Ingress") => self.ingress(object),
            ("networking.k8s.io", "IngressClass") => self.ingress_class(object),
            ("traefik.io" | "traefik.containo.us", "IngressRoute" | "IngressRouteTCP") => self.ingress_route(object),
            ("gateway.networking.k8s.io", "HTTPRoute") => self.http_route(object),
            ("gateway.networking.k8s.io", "Gateway") => self.gateway(object),
            ("gateway.networking.k8s.io", "GatewayClass") => self.gateway_class(object),
            _ => self.other(object),
        }
    }

    /// Takes note of objects that may exist and are not shown. `told`: nobody asked for less, so it is a finding too.
    pub fn unseen(&mut self, gap: NotCovered, told: bool) {
        self.unseen.extend(told.then(|| gap.clone()));
        self.world.not_covered.push(gap);
    }

    /// The world, and what was wrong or not covered in its objects, in source order.
    pub fn finish(mut self) -> (World, Vec<Finding>) {
        let (pods, owners) = workload::join(self.pods.items, &self.workloads.items);
        for name in pods.iter().map(|pod| pod.name.namespace.as_str()).collect::<HashSet<_>>() {
            refer(&mut self.world.namespaces, name);
        }
        self.world.pods = pods;
        self.world.endpoint_slices = self.slices.items;
        let sliced: HashSet<ObjectName> =
            self.world.endpoint_slices.iter().map(|slice| slice.service.clone()).collect();
        let unsliced = self.endpoints.items.into_iter().flatten().filter(|slice| !sliced.contains(&slice.service));
        self.world.endpoint_slices.extend(unsliced);
        self.world.entrances = self.entrances.items.into_iter().flatten().collect();
        entrance::default_class(&mut self.world.entrances, &self.default_classes);
        gateway::attach(&mut self.world.entrances, &self.gateways);
        self.findings.extend(NotCovered::together(&self.unseen).iter().map(uncovered::finding));
        let seen = self.world.pods.iter().filter(|pod| !pod.template);
        let seen: HashSet<&str> = seen.map(|pod| pod.name.namespace.as_str()).collect();
        for draft in self.uncovered {
            if let Some(not_covered) = draft.settle(&seen, &owners) {
                self.findings.push(uncovered::finding(&not_covered));
                self.world.not_covered.push(not_covered);
            }
        }
        (self.world, self.findings)
    }

    fn refer(&mut self, namespace: &str) {
        refer(&mut self.world.namespaces, namespace);
    }

    /// An object that stands twice: the later one counts, as when both are applied in order.
    fn replaced(&mut self, object: &Object, earlier: Option<Place>) {
        if let Some(place) = earlier {
            let message = format!("this object stands again at {}; the later one counts", object.place());
            let finding = Finding::new(Code::BrokenObject, object.label(), message, "remove one of the two").at(place);
            self.findings.push(finding);
        }
    }
}

/// Makes a namespace known that is only referred to: the API server gives every namespace its name as a label.
fn refer(namespaces: &mut BTreeMap<String, Namespace>, name: &str) {
    if !namespaces.contains_key(name) {
        namespaces.insert(name.to_owned(), Namespace { labels: named(Labels::new(), name), place: None });
    }
}

fn named(mut labels: Labels, name: &str) -> Labels {
    labels.insert(NAMESPACE_NAME.to_owned(), name.to_owned());
    labels
}

/// Items in source order, the later of two with one key in the place of the earlier.
#[derive(Debug, Clone)]
struct Keyed<T, K = ObjectName> {
    index: HashMap<K, usize>,
    items: Vec<T>,
}

impl<T, K> Default for Keyed<T, K> {
    fn default() -> Self {
        Self { index: HashMap::new(), items: Vec::new() }
    }
}

impl<T, K: std::hash::Hash + Eq> Keyed<T, K> {
    /// Puts an item in; returns the one it replaces.
    fn put(&mut self, key: K, item: T) -> Option<T> {
        if let Some(&at) = self.index.get(&key) {
            return Some(std::mem::replace(&mut self.items[at], item));
        }
        self.index.insert(key, self.items.len());
        self.items.push(item);
        None
    }

    /// Puts an item in that replaces none (its name is not known yet).
    fn push(&mut self, item: T) {
        self.items.push(item);
    }
}

#[cfg(test)]
mod tests;
