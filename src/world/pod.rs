//! Pods, and workload templates as the pods they will become.

use std::net::IpAddr;

use super::{Labels, ObjectName, Protocol, WorkloadKind};
use crate::source::Place;

/// Index into [`super::World::pods`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodId(pub usize);

/// A pod, or the template of a workload as the pod it will become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Its name; for a template the workload's name.
    pub name: ObjectName,
    /// What owns it, resolved to the top (a ReplicaSet of a Deployment is the Deployment).
    pub workload: Option<Workload>,
    /// True for a workload's template without a pod of its own: it has no address yet.
    pub template: bool,
    /// Its labels.
    pub labels: Labels,
    /// Images of its regular containers, in order.
    pub images: Vec<String>,
    /// Ports of regular containers and restartable init containers (native sidecars), in order.
    pub ports: Vec<ContainerPort>,
    /// Its addresses, one per family at most; empty while it has none.
    pub addresses: Vec<IpAddr>,
    /// The proxies in the environment of its regular containers.
    pub proxies: Proxies,
    /// How it looks names up.
    pub dns: PodDns,
    /// It shares its node's network.
    pub host_network: bool,
    /// The node it is bound to.
    pub node: Option<String>,
    /// How far its life is.
    pub phase: Phase,
    /// The Ready condition; `None` when the source has no status.
    pub ready: Option<bool>,
    /// When that condition last changed, in seconds since 1970.
    pub ready_since: Option<i64>,
    /// It was deleted, and is on its way out (`metadata.deletionTimestamp`): no Service leads to it any more.
    pub leaving: bool,
    /// Where it stands.
    pub place: Place,
}

/// `dnsPolicy` and `dnsConfig`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodDns {
    /// `dnsPolicy`.
    pub policy: DnsPolicy,
    /// `dnsConfig.searches`, put behind those of the policy.
    pub searches: Vec<String>,
    /// `ndots` of `dnsConfig.options`.
    pub ndots: Option<usize>,
}

/// `dnsPolicy` of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DnsPolicy {
    /// The cluster's DNS; with the node's network the node's.
    #[default]
    ClusterFirst,
    /// The cluster's DNS also with the node's network.
    ClusterFirstWithHostNet,
    /// The node's resolv.conf.
    Default,
    /// `dnsConfig` alone.
    None,
}

/// What `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` say, in either case. A proxy's user and password are dropped while reading.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Proxies {
    /// `host:port` for `http` URLs.
    pub http: Option<String>,
    /// `host:port` for `https` URLs.
    pub https: Option<String>,
    /// Hosts, domains and networks that are reached without it.
    pub except: Vec<String>,
}

/// The owner of a pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Workload {
    /// Its kind.
    pub kind: WorkloadKind,
    /// Its name; the namespace is the pod's.
    pub name: String,
    /// `spec.selector.matchLabels`: the labels that will not change with a roll-out. Empty when unknown.
    pub selector: Labels,
}

/// A declared container port. A port that is not declared is reachable all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerPort {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// 1 to 65535.
    pub number: u16,
    /// Its protocol.
    pub protocol: Protocol,
}

/// How far a pod's life is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Pending, Running, Terminating or not said: it can have connections.
    Live,
    /// Succeeded or Failed: its address may belong to another pod by now.
    Finished,
}
