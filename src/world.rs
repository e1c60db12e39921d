//! The objects of a cluster, as far as connections depend on them.
//!
//! Pure: API objects come in as located documents and leave as plain values with everything defaulted.
//! `Option`, empty and default collapse in [`lower`] and nowhere else.

mod entrance;
pub mod labels;
pub mod lower;
mod names;
mod object;
mod pod;
mod ports;
mod service;
mod unseen;

use std::collections::BTreeMap;
use std::net::IpAddr;

pub use entrance::{Backend, Entrance, EntranceKind};
pub use labels::Labels;
pub use names::{ObjectName, PortRef, Protocol, WorkloadKind};
pub use object::{Object, objects};
pub use pod::{ContainerPort, DnsPolicy, Phase, Pod, PodDns, PodId, Proxies, Workload};
pub(crate) use ports::is_label;
pub use ports::{PortText, parse_port, parse_protocol};
pub use service::{Endpoint, EndpointSlice, LoadBalancerAddress, Service, ServiceKind, ServicePort};
pub use unseen::{NotCovered, Scope, Uncovered};

use crate::source::Place;

/// Everything known of a cluster (or of a folder of manifests).
#[derive(Debug, Clone, Default)]
pub struct World {
    /// By name. A namespace that is only referred to is here too, with its automatic label.
    pub namespaces: BTreeMap<String, Namespace>,
    /// Pods, and the templates of workloads that have no pod here, as pods. Indexed by [`PodId`].
    pub pods: Vec<Pod>,
    /// By name.
    pub services: BTreeMap<ObjectName, Service>,
    /// In source order.
    pub endpoint_slices: Vec<EndpointSlice>,
    /// Ingress, IngressRoute, HTTPRoute.
    pub entrances: Vec<Entrance>,
    /// By name.
    pub nodes: BTreeMap<String, Node>,
    /// IngressClass → `spec.controller`.
    pub ingress_classes: BTreeMap<String, String>,
    /// GatewayClass → `spec.controllerName`.
    pub gateway_classes: BTreeMap<String, String>,
    /// Addresses on which NodeLocal DNSCache listens, sorted; empty when none was seen. No pod selector reaches them.
    pub node_local_dns: Vec<IpAddr>,
    /// What may change what is reachable and is not read ("not rendered, its pods are unknown"; "User x may not list them").
    pub not_covered: Vec<NotCovered>,
}

/// A namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// Labels, always with `kubernetes.io/metadata.name`.
    pub labels: Labels,
    /// Where it is declared; `None` when it is only referred to, so that its other labels are unknown.
    pub place: Option<Place>,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its labels.
    pub labels: Labels,
    /// Its internal addresses.
    pub addresses: Vec<IpAddr>,
    /// Where it is declared.
    pub place: Place,
}

impl World {
    /// The pod behind an index.
    pub fn pod(&self, id: PodId) -> &Pod {
        &self.pods[id.0]
    }

    /// All pods with their index.
    pub fn pods(&self) -> impl Iterator<Item = (PodId, &Pod)> {
        self.pods.iter().enumerate().map(|(index, pod)| (PodId(index), pod))
    }
}
