//! Policies with everything defaulted and validated.

use std::collections::HashMap;
use std::fmt;

use ipnet::IpNet;

use super::Unmodelled;
use super::tiers::{Tier, TierPolicy};
use crate::source::Place;
use crate::world::labels::Selector;
use crate::world::{Labels, ObjectName, Pod, Protocol, Scope};

/// The direction of a rule, seen from the pods that its policy selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Connections to the selected pods.
    Ingress,
    /// Connections from the selected pods.
    Egress,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        })
    }
}

/// A NetworkPolicy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Its name.
    pub name: ObjectName,
    /// Where it stands.
    pub place: Place,
    /// Its own labels (Flux and Argo CD sign there).
    pub labels: Labels,
    /// Those of its annotations that name an owner (Helm, Argo CD) or speak to portreeve.
    pub annotations: Labels,
    /// The pods of its namespace that it selects.
    pub pod_selector: Selector,
    /// `Some` isolates ingress; a rule that matches admits. `Some` of no rules admits nothing.
    pub ingress: Option<Vec<Rule>>,
    /// The same for egress.
    pub egress: Option<Vec<Rule>>,
}

impl Policy {
    /// The rules of a direction; `None` when the policy does not isolate it.
    pub fn rules(&self, direction: Direction) -> Option<&[Rule]> {
        match direction {
            Direction::Ingress => self.ingress.as_deref(),
            Direction::Egress => self.egress.as_deref(),
        }
    }

    /// Whether it applies to a pod. Policies do not apply to pods in their node's network.
    pub fn selects(&self, pod: &Pod) -> bool {
        !pod.host_network && pod.name.namespace == self.name.namespace && self.pod_selector.matches(&pod.labels)
    }

    /// The policy as far as it decides: where it stands is left out, and what its owner wrote on it.
    #[must_use]
    pub fn decision(&self) -> Self {
        let nowhere = Place::whole("");
        let mut policy = self.clone();
        policy.place = nowhere.clone();
        policy.labels.clear();
        policy.annotations.clear();
        for rule in policy.ingress.iter_mut().chain(&mut policy.egress).flatten() {
            rule.place = nowhere.clone();
            if let Peers::Listed(peers) = &mut rule.peers {
                for peer in peers {
                    peer.place = nowhere.clone();
                }
            }
            if let Ports::Listed(ports) = &mut rule.ports {
                for port in ports {
                    port.place = nowhere.clone();
                }
            }
        }
        policy
    }

    /// Who put it there, from the marks that Helm, Flux and Argo CD leave.
    pub fn owner(&self) -> Option<String> {
        let annotation = |key: &str| self.annotations.get(key);
        let label = |key: &str| self.labels.get(key);
        let pair = |kind: &str, name: Option<&String>, namespace: Option<&String>| match (name, namespace) {
            (Some(name), Some(namespace)) => Some(format!("{kind} {namespace}/{name}")),
            (Some(name), None) => Some(format!("{kind} {name}")),
            _ => None,
        };
        let helm = annotation("meta.helm.sh/release-name");
        pair("Flux HelmRelease", label("helm.toolkit.fluxcd.io/name"), label("helm.toolkit.fluxcd.io/namespace"))
            .or_else(|| pair("Helm release", helm, annotation("meta.helm.sh/release-namespace")))
            .or_else(|| {
                let (name, namespace) =
                    (label("kustomize.toolkit.fluxcd.io/name"), label("kustomize.toolkit.fluxcd.io/namespace"));
                pair("Flux Kustomization", name, namespace)
            })
            .or_else(|| {
                let id = annotation("argocd.argoproj.io/tracking-id")?;
                Some(format!("Argo CD application {}", id.split(':').next().unwrap_or(id)))
            })
            .or_else(|| pair("Argo CD application", label("argocd.argoproj.io/instance"), None))
    }
}

/// One item of `ingress` or `egress`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Where it stands.
    pub place: Place,
    /// The other end.
    pub peers: Peers,
    /// The destination ports.
    pub ports: Ports,
}

/// `from` or `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peers {
    /// Empty or left out: whoever it is.
    Any,
    /// Any of these; never empty.
    Listed(Vec<PolicyPeer>),
}

/// One item of `from` or `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyPeer {
    /// Where it stands.
    pub place: Place,
    /// Whom it means.
    pub matches: PeerMatch,
}

/// Whom a peer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerMatch {
    /// Pods, by labels of theirs and of their namespace; both must fit.
    Pods {
        /// In which namespaces.
        namespaces: NamespaceMatch,
        /// Which pods there.
        pods: Selector,
    },
    /// Addresses.
    Block {
        /// The range, without host bits.
        net: IpNet,
        /// Cut out of this range, and only of this one.
        except: Vec<IpNet>,
    },
}

/// Which namespaces a peer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamespaceMatch {
    /// The policy's own (no `namespaceSelector`).
    Own,
    /// Those that the selector selects; the empty one selects all.
    Selected(Selector),
}

/// `ports`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ports {
    /// Empty or left out: all ports of all protocols.
    All,
    /// Any of these; never empty.
    Listed(Vec<PolicyPort>),
}

/// One item of `ports`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyPort {
    /// Where it stands.
    pub place: Place,
    /// TCP when left out.
    pub protocol: Protocol,
    /// Which ports of that protocol.
    pub ports: PortMatch,
}

/// Which ports of a protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortMatch {
    /// No `port`: all of this protocol, and of no other.
    All,
    /// From `port` to `endPort`, inclusive.
    Range(u16, u16),
    /// The container ports of this name on the destination pod.
    Named(String),
}

/// All policies of a cluster or folder, with an index by namespace.
///
/// Made by [`PolicySet::new`]; after a change of the fields it must be made anew ([`PolicySet::with`], [`PolicySet::without`]).
#[derive(Debug, Clone, Default)]
pub struct PolicySet {
    /// In source order.
    pub policies: Vec<Policy>,
    /// Policies of kinds that are not evaluated, or with parts that are not known.
    pub unmodelled: Vec<Unmodelled>,
    /// Cluster-wide policies, by tier and priority, then in source order.
    pub tiers: Vec<TierPolicy>,
    by_namespace: HashMap<String, InNamespace>,
    everywhere: Vec<usize>,
}

#[derive(Debug, Clone, Default)]
struct InNamespace {
    policies: Vec<usize>,
    unmodelled: Vec<usize>,
}

impl PolicySet {
    /// Indexes policies.
    pub fn new(policies: Vec<Policy>, unmodelled: Vec<Unmodelled>) -> Self {
        let mut set = Self { policies, unmodelled, ..Self::default() };
        for (index, policy) in set.policies.iter().enumerate() {
            in_namespace(&mut set.by_namespace, &policy.name.namespace).policies.push(index);
        }
        for (index, unmodelled) in set.unmodelled.iter().enumerate() {
            match &unmodelled.scope {
                Scope::Cluster | Scope::Outside(_) => set.everywhere.push(index),
                Scope::Namespace(name) => in_namespace(&mut set.by_namespace, name).unmodelled.push(index),
            }
        }
        set
    }

    /// The set with these cluster-wide policies.
    #[must_use]
    pub fn with_tiers(mut self, mut tiers: Vec<TierPolicy>) -> Self {
        tiers.sort_by_key(|policy| (policy.tier, policy.priority));
        self.tiers = tiers;
        self
    }

    /// The cluster-wide policies of a tier, those first that are asked first. Within a group nothing defines the order.
    pub fn tied(&self, tier: Tier) -> impl Iterator<Item = &[TierPolicy]> {
        let start = self.tiers.partition_point(|policy| policy.tier < tier);
        let end = self.tiers.partition_point(|policy| policy.tier <= tier);
        let of_tier = self.tiers.get(start..end).unwrap_or_default();
        // A policy without a priority stands at the front and is tied with all others of its tier.
        let unordered = of_tier.first().is_some_and(|policy| policy.priority.is_none());
        of_tier.chunk_by(move |a, b| unordered || a.priority == b.priority)
    }

    /// The policies of a namespace, in source order.
    pub fn in_namespace(&self, namespace: &str) -> impl Iterator<Item = &Policy> {
        self.by_namespace.get(namespace).into_iter().flat_map(|n| &n.policies).filter_map(|i| self.policies.get(*i))
    }

    /// What is not modelled and could touch pods of a namespace.
    pub fn unmodelled_in<'s>(&'s self, namespace: &'s str) -> impl Iterator<Item = &'s Unmodelled> {
        let here = self.by_namespace.get(namespace).into_iter().flat_map(|n| &n.unmodelled);
        let all = self.everywhere.iter().chain(here).filter_map(|index| self.unmodelled.get(*index));
        all.filter(move |other| other.scope.touches(namespace))
    }

    /// The policy of this name.
    pub fn get(&self, name: &ObjectName) -> Option<&Policy> {
        self.in_namespace(&name.namespace).find(|policy| policy.name == *name)
    }

    /// The set after this policy was applied: it takes the place of one of the same name.
    #[must_use]
    pub fn with(&self, policy: Policy) -> Self {
        let mut policies = self.policies.clone();
        match policies.iter_mut().find(|other| other.name == policy.name) {
            Some(other) => *other = policy,
            None => policies.push(policy),
        }
        Self::new(policies, self.unmodelled.clone()).with_tiers(self.tiers.clone())
    }

    /// The set without what is not evaluated.
    #[must_use]
    pub fn evaluated(&self) -> Self {
        Self::new(self.policies.clone(), Vec::new()).with_tiers(self.tiers.clone())
    }

    /// The set after the policy of this name was deleted.
    #[must_use]
    pub fn without(&self, name: &ObjectName) -> Self {
        let policies = self.policies.iter().filter(|policy| policy.name != *name).cloned().collect();
        Self::new(policies, self.unmodelled.clone()).with_tiers(self.tiers.clone())
    }
}

fn in_namespace<'m>(map: &'m mut HashMap<String, InNamespace>, name: &str) -> &'m mut InNamespace {
    map.entry(name.to_owned()).or_default()
}
