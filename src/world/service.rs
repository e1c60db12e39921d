//! Services and EndpointSlices.

use std::net::IpAddr;

use super::{Labels, ObjectName, PortRef, Protocol};
use crate::source::Place;

/// A Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: ObjectName,
    /// What it is.
    pub kind: ServiceKind,
    /// Its pods; `None` when somebody else writes its endpoints.
    pub selector: Option<Labels>,
    /// Its ports.
    pub ports: Vec<ServicePort>,
    /// Virtual addresses; empty for a headless Service or when the source has none.
    pub cluster_ips: Vec<IpAddr>,
    /// `spec.externalIPs` and `status.loadBalancer.ingress`.
    pub load_balancer: Vec<LoadBalancerAddress>,
    /// Where it stands.
    pub place: Place,
}

impl Service {
    /// Its addresses that never leave the cluster: kube-proxy rewrites them to a pod's, for a load balancer unless its `ipMode` is Proxy (KEP-1860).
    pub fn virtual_addresses(&self) -> impl Iterator<Item = IpAddr> {
        let balancers = self.load_balancer.iter().filter(|address| !address.proxy);
        self.cluster_ips.iter().copied().chain(balancers.filter_map(|address| address.ip))
    }
}

/// The kinds of Service, as far as routing differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceKind {
    /// ClusterIP, NodePort or LoadBalancer: kube-proxy rewrites to a pod port.
    Virtual,
    /// `clusterIP: None`: DNS answers with pod addresses, so the client's port is the pod port.
    Headless,
    /// A CNAME to this host.
    ExternalName(String),
}

/// A port of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// The Service port.
    pub port: u16,
    /// `targetPort`, defaulted to the Service port.
    pub target: PortRef,
    /// Its protocol.
    pub protocol: Protocol,
}

/// Where a load balancer can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadBalancerAddress {
    /// Its address, if it is named by address.
    pub ip: Option<IpAddr>,
    /// Its host name, if it is named so.
    pub hostname: Option<String>,
    /// `ipMode: Proxy`: in-cluster clients leave the cluster and come back (KEP-1860). Default is `VIP`, which kube-proxy short-circuits.
    pub proxy: bool,
}

/// An EndpointSlice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSlice {
    /// The Service it belongs to (`kubernetes.io/service-name`).
    pub service: ObjectName,
    /// Name, number (`None` means all ports), protocol.
    pub ports: Vec<(Option<String>, Option<u16>, Protocol)>,
    /// Its endpoints.
    pub endpoints: Vec<Endpoint>,
    /// Where it stands.
    pub place: Place,
}

/// One endpoint of a slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// `conditions.ready`; absent means ready, as the API says.
    pub ready: bool,
    /// The pod it refers to, if it refers to one.
    pub pod: Option<ObjectName>,
}
