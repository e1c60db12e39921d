//! Edges after they met a world: pods, pod ports, addresses.

use std::fmt;

use ipnet::IpNet;

use super::Edge;
use crate::finding::Finding;
use crate::world::{Labels, ObjectName, PodId, World};

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

impl ResolvedEdge {
    /// Whether a world shows a Ready pod among the targets: `Some(false)` when all that it shows are not Ready, `None` when it does not say.
    pub fn readiness(&self, world: &World) -> Option<bool> {
        let mut known = None;
        for peer in &self.to {
            let PeerKind::Pods { pods, .. } = &peer.kind else { continue };
            for ready in pods.iter().filter_map(|pod| world.pod(*pod).ready) {
                known = Some(known.unwrap_or(false) || ready);
            }
        }
        known
    }
}
