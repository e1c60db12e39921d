//! Ways into the cluster: Ingress, Traefik's IngressRoute, Gateway API's HTTPRoute.

use super::{ObjectName, PortRef};
use crate::source::Place;

/// An object that routes a host to Services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entrance {
    /// Which API it is of.
    pub kind: EntranceKind,
    /// Its name.
    pub name: ObjectName,
    /// The hosts it answers for, as written (may hold `*.`).
    pub hosts: Vec<String>,
    /// The Services behind it.
    pub backends: Vec<Backend>,
    /// `ingressClassName`, the class annotation, or the Gateway's class; `None` when it says none.
    pub class: Option<String>,
    /// HTTPRoute: the Gateways it hangs on.
    pub gateways: Vec<ObjectName>,
    /// Where it stands.
    pub place: Place,
}

/// The APIs that route hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntranceKind {
    /// networking.k8s.io Ingress.
    Ingress,
    /// traefik.io IngressRoute.
    IngressRoute,
    /// gateway.networking.k8s.io HTTPRoute.
    HttpRoute,
}

/// A Service behind an entrance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// The Service.
    pub service: ObjectName,
    /// Its Service port, by number or name, if said.
    pub port: Option<PortRef>,
}
