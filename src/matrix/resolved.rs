//! Edges after they met a world: pods, pod ports, addresses.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::Edge;
use crate::finding::Finding;
use crate::world::{EndpointSlice, Labels, ObjectName, PodId, World};

/// The intent, resolved.
#[derive(Debug, Clone, Default)]
pub struct Resolution {
    /// MAS's pods; `None` without a world or when they could not be told for certain.
    pub subject: Option<Subject>,
    /// In the order of the intent.
    pub edges: Vec<ResolvedEdge>,
    /// What could not be resolved, what came from a default, what contradicts.
    pub findings: Vec<Finding>,
}

/// The pods of MAS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Their namespace.
    pub namespace: String,
    /// Labels that select them and nothing else: what the policy's `podSelector` says.
    pub selector: Labels,
    /// The pods.
    pub pods: Vec<PodId>,
}

/// An edge with its ends resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedEdge {
    /// The edge as intended.
    pub edge: Edge,
    /// Who opens it.
    pub from: Vec<Peer>,
    /// Whom it reaches; each with the pod ports.
    pub to: Vec<Peer>,
}

/// One group of peers with one way to select it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Who.
    pub kind: PeerKind,
    /// Destination ports after Service DNAT, sorted; what a policy must name. Empty at the `from` end.
    pub ports: Vec<u16>,
    /// The Service and Service port that clients use to get there.
    pub service: Option<(ObjectName, u16)>,
    /// True when this comes from a default of product.md §7 instead of a source; a finding says how to narrow it.
    pub by_default: bool,
}

/// The ways to select peers in a NetworkPolicy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerKind {
    /// Pods by labels in one namespace.
    Pods {
        /// The namespace.
        namespace: String,
        /// `matchLabels`; empty selects all its pods.
        selector: Labels,
        /// Those of them that the world has. May be empty when the world does not show them.
        pods: Vec<PodId>,
    },
    /// Any pod of any namespace.
    AnyPod,
    /// Addresses.
    Blocks {
        /// The ranges, sorted.
        nets: Vec<IpNet>,
        /// Cut out of them, sorted.
        except: Vec<IpNet>,
        /// The host name they stand for, if any.
        host: Option<String>,
    },
    /// Not known; a finding says what to write into `peers:`.
    Unresolved,
}

/// Labels by which people know a workload, most telling first.
const TELLING: [&str; 5] =
    ["app.kubernetes.io/component", "cnpg.io/cluster", "k8s-app", "app.kubernetes.io/name", "app"];

impl fmt::Display for Peer {
    /// For people: the Service if there is one, else what selects the peer.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.service, &self.kind) {
            (Some((service, port)), _) => write!(f, "{}/svc/{}:{port}", service.namespace, service.name),
            (None, PeerKind::Pods { namespace, selector, .. }) => {
                // Enough to recognise the peer; a policy has all labels.
                let telling =
                    TELLING.iter().find_map(|key| selector.get_key_value(*key)).or_else(|| selector.iter().next());
                let labels = telling.map_or_else(|| "all pods".to_owned(), |(key, value)| format!("{key}={value}"));
                write!(f, "{namespace}/({labels})")
            }
            (None, PeerKind::AnyPod) => f.write_str("any-pod"),
            (None, PeerKind::Blocks { host: Some(host), .. }) => f.write_str(host),
            (None, PeerKind::Blocks { nets, except, host: None }) => {
                let nets: Vec<String> = nets.iter().map(ToString::to_string).collect();
                let except = if except.is_empty() { "" } else { " except private ranges" };
                write!(f, "{}{except}", nets.join(","))
            }
            (None, PeerKind::Unresolved) => f.write_str("not known"),
        }
    }
}

/// How long a target without a Ready pod may be one that is being replaced (product.md §1): seconds, without and with a pod that is seen to leave.
const GRACE: (i64, i64) = (120, 300);

impl ResolvedEdge {
    /// Addresses behind which nobody serves now: pods that are not Ready or on their way out, by their own status or by a Service's endpoints.
    pub fn unready(&self, world: &World) -> BTreeSet<IpAddr> {
        let pods = self.pods().map(|pod| world.pod(pod)).filter(|pod| pod.ready == Some(false) || pod.leaving);
        let mut addresses: BTreeSet<IpAddr> = pods.flat_map(|pod| pod.addresses.iter().copied()).collect();
        let endpoints = self.slices(world).flat_map(|slice| &slice.endpoints).filter(|endpoint| !endpoint.ready);
        addresses.extend(endpoints.flat_map(|endpoint| endpoint.addresses.iter().copied()));
        addresses
    }

    /// The endpoints of its Services.
    fn slices<'a>(&'a self, world: &'a World) -> impl Iterator<Item = &'a EndpointSlice> {
        let services = self.to.iter().filter_map(|peer| peer.service.as_ref());
        services.flat_map(|(service, _)| world.endpoint_slices.iter().filter(move |slice| slice.service == *service))
    }

    /// Whether none of its pods is Ready, but not for long: then a roll-out is as likely as an outage. `now` in seconds since 1970.
    pub fn is_settling(&self, world: &World, now: i64) -> bool {
        let pods = || self.pods().map(|pod| world.pod(pod)).filter(|pod| pod.ready.is_some());
        if pods().any(|pod| pod.ready == Some(true) && !pod.leaving) {
            return false;
        }
        let grace = if pods().any(|pod| pod.leaving) { GRACE.1 } else { GRACE.0 };
        pods().filter_map(|pod| pod.ready_since).max().is_some_and(|since| (0..=grace).contains(&(now - since)))
    }

    /// Since when a pod of the target is Ready without a break, in seconds since 1970; `None` when none is, or one does not say.
    pub fn ready_since(&self, world: &World) -> Option<i64> {
        let ready = self.pods().map(|pod| world.pod(pod)).filter(|pod| pod.ready == Some(true) && !pod.leaving);
        ready.map(|pod| pod.ready_since).min().flatten()
    }

    fn pods(&self) -> impl Iterator<Item = PodId> {
        self.to
            .iter()
            .flat_map(|peer| match &peer.kind {
                PeerKind::Pods { pods, .. } => pods.as_slice(),
                _ => &[],
            })
            .copied()
    }

    /// Whether a world shows a Ready pod among the targets: `Some(false)` when all that it shows are not Ready, or when there is none and its Service's
    /// endpoints say so; `None` when it does not say.
    pub fn readiness(&self, world: &World) -> Option<bool> {
        let pods = self.pods().map(|pod| world.pod(pod));
        let ready = pods.filter_map(|pod| pod.ready.map(|ready| ready && !pod.leaving));
        ready.reduce(|any, ready| any || ready).or_else(|| {
            let served = self.slices(world).map(|slice| slice.endpoints.iter().any(|endpoint| endpoint.ready));
            served.reduce(|any, served| any || served)
        })
    }
}
