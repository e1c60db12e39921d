//! What every check of the audit looks at.

use crate::matrix::{Expect, Peer, Resolution, ResolvedEdge, Subject};
use crate::policy::render;
use crate::policy::{Direction, Engine, NamespaceMatch, Policy, PolicySet};
use crate::world::labels::NAMESPACE_NAME;
use crate::world::{Labels, ObjectName, Phase, Pod, PodId, Protocol, World};

/// One audit's inputs.
#[derive(Clone, Copy)]
pub(super) struct View<'v> {
    pub(super) intended: &'v Resolution,
    pub(super) subject: &'v Subject,
    pub(super) name: &'v ObjectName,
    pub(super) world: &'v World,
    pub(super) policies: &'v PolicySet,
    pub(super) engine: &'v Engine<'v>,
}

impl<'v> View<'v> {
    /// The subject's pods that can have connections.
    pub(super) fn subject_pods(&self) -> impl Iterator<Item = &'v Pod> + use<'v> {
        let world = self.world;
        self.subject.pods.iter().map(|id| world.pod(*id)).filter(|pod| pod.phase == Phase::Live)
    }

    /// The policies that select a pod of the subject, in source order.
    pub(super) fn subject_policies(&self) -> impl Iterator<Item = &'v Policy> + use<'v> {
        let view = *self;
        let here = view.policies.in_namespace(&view.subject.namespace);
        here.filter(move |policy| view.subject_pods().any(|pod| policy.selects(pod)))
    }

    /// The policies that select a pod.
    pub(super) fn policies_of(&self, pod: &'v Pod) -> impl Iterator<Item = &'v Policy> + use<'v> {
        self.policies.in_namespace(&pod.name.namespace).filter(|policy| policy.selects(pod))
    }

    /// The edges that must work.
    pub(super) fn allowed(&self) -> impl Iterator<Item = &'v ResolvedEdge> + use<'v> {
        self.intended.edges.iter().filter(|edge| edge.edge.expect == Expect::Allow)
    }

    /// Whom the subject must be open to in a direction, with the destination's ports. The very list that a rendered policy is made of.
    pub(super) fn needs(&self, direction: Direction) -> impl Iterator<Item = (&'v Peer, Protocol, Vec<u16>)> + use<'v> {
        let subject = self.subject;
        self.allowed().flat_map(move |edge| {
            let needs = render::needs(subject, edge, direction);
            needs.into_iter().map(|(peer, ports)| (peer, edge.edge.protocol, ports))
        })
    }

    /// Live pods of the pod network: those that selectors reach.
    pub(super) fn plain_pods(&self) -> impl Iterator<Item = (PodId, &'v Pod)> + use<'v> {
        self.world.pods().filter(|(_, pod)| pod.phase == Phase::Live && !pod.host_network)
    }

    /// Whether this is the subject's only pod: what a rule admits between it and itself changes nothing. A template may become several.
    pub(super) fn is_lone_subject(&self, id: PodId) -> bool {
        self.subject.pods == [id] && !self.world.pod(id).template
    }

    /// Whether a peer of a policy means this namespace.
    pub(super) fn selects_namespace(&self, policy: &Policy, namespaces: &NamespaceMatch, name: &str) -> bool {
        match namespaces {
            NamespaceMatch::Own => policy.name.namespace == name,
            NamespaceMatch::Selected(selector) => match self.world.namespaces.get(name) {
                Some(namespace) => selector.matches(&namespace.labels),
                None => selector.matches(&Labels::from([(NAMESPACE_NAME.to_owned(), name.to_owned())])),
            },
        }
    }
}
