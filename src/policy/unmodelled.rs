//! Policies that exist and are not evaluated: which verdicts they can change.

use super::Direction;
use crate::source::{Node, Place};
use crate::world::{NotCovered, Object, Scope, Uncovered};

/// A policy that is not evaluated. The verdicts that it can change are `unknown`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmodelled {
    /// `Kind/namespace/name`.
    pub object: String,
    /// Where it stands.
    pub place: Place,
    /// Whose connections it can touch.
    pub scope: Scope,
    /// What it can do to a verdict of the NetworkPolicies.
    pub effect: Effect,
    /// The one direction it speaks of; `None` for both.
    pub only: Option<Direction>,
    /// Why it is not evaluated, as the rest of "X ...".
    pub why: &'static str,
}

/// What a policy that is not evaluated can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Admit what is denied and deny what is admitted.
    Overrides,
    /// Deny what is admitted, never the other way round.
    Restricts,
    /// Decide only where no NetworkPolicy isolates.
    Baseline,
    /// Isolate, and admit more: a NetworkPolicy of which not everything is known. It takes nothing away from a rule that admits.
    Adds,
}

/// `kind` and `group` of what is known by name; the group may be a parent of the written one. The kinds of `policy.networking.k8s.io` come
/// here in versions that are not known only.
const KINDS: &[(&str, &str, Effect, Option<Direction>)] = &[
    ("policy.networking.k8s.io", "ClusterNetworkPolicy", Effect::Overrides, None),
    ("policy.networking.k8s.io", "AdminNetworkPolicy", Effect::Overrides, None),
    ("policy.networking.k8s.io", "BaselineAdminNetworkPolicy", Effect::Baseline, None),
    ("cilium.io", "CiliumNetworkPolicy", Effect::Overrides, None),
    ("cilium.io", "CiliumClusterwideNetworkPolicy", Effect::Overrides, None),
    ("projectcalico.org", "NetworkPolicy", Effect::Overrides, None),
    ("projectcalico.org", "GlobalNetworkPolicy", Effect::Overrides, None),
    ("antrea.io", "NetworkPolicy", Effect::Overrides, None),
    ("antrea.io", "ClusterNetworkPolicy", Effect::Overrides, None),
    ("networking.k8s.aws", "ApplicationNetworkPolicy", Effect::Overrides, None),
    ("networking.k8s.aws", "ClusterNetworkPolicy", Effect::Overrides, None),
    ("k8s.ovn.org", "EgressFirewall", Effect::Restricts, Some(Direction::Egress)),
    ("security.istio.io", "AuthorizationPolicy", Effect::Restricts, Some(Direction::Ingress)),
    ("policy.linkerd.io", "Server", Effect::Restricts, Some(Direction::Ingress)),
];

/// These kinds, as `(group, kind)`.
#[cfg(test)]
pub(crate) fn unmodelled_kinds() -> impl Iterator<Item = (&'static str, &'static str)> {
    KINDS.iter().map(|(group, kind, ..)| (*group, *kind))
}

/// Kinds that are namespaced in none of these groups.
const CLUSTER_KINDS: [&str; 5] = [
    "ClusterNetworkPolicy",
    "AdminNetworkPolicy",
    "BaselineAdminNetworkPolicy",
    "CiliumClusterwideNetworkPolicy",
    "GlobalNetworkPolicy",
];

/// How Calico's own API shows the NetworkPolicies of Kubernetes.
const CALICO_VIEW: &str = "knp.default.";

fn of_kind(group: &str, kind: &str) -> Option<(Effect, Option<Direction>)> {
    let below = |parent: &str| group.strip_suffix(parent).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    KINDS.iter().find(|(parent, own, ..)| *own == kind && below(parent)).map(|(_, _, effect, only)| (*effect, *only))
}

/// Recognises a policy of another kind.
pub(super) fn recognise(object: &Object) -> Option<Unmodelled> {
    let (effect, only) = of_kind(object.group(), &object.kind)?;
    if object.group().ends_with("projectcalico.org") && object.name.starts_with(CALICO_VIEW) {
        return None;
    }
    let tier = object.document.root.at_path("/spec/tier").and_then(Node::text);
    let effect =
        if object.kind == "ClusterNetworkPolicy" && tier == Some("Baseline") { Effect::Baseline } else { effect };
    // Istio applies an AuthorizationPolicy of its root namespace to the whole mesh; the root is configurable, this is its default.
    let mesh_wide = object.kind == "AuthorizationPolicy" && object.namespace.as_deref() == Some("istio-system");
    let scope = if CLUSTER_KINDS.contains(&object.kind.as_str()) || mesh_wide {
        Scope::Cluster
    } else {
        written_namespace(object)
    };
    Some(Unmodelled {
        object: object.label(),
        place: object.place(),
        scope,
        effect,
        only,
        why: "is of a kind that is not evaluated",
    })
}

/// Policies of a kind that may exist and are not shown; `None` for a kind that is no policy.
pub(super) fn unseen(group: &str, kind: &str, gap: &NotCovered) -> Option<Unmodelled> {
    let (effect, only) = match (group, kind) {
        ("networking.k8s.io", "NetworkPolicy") => (Effect::Adds, None),
        _ => of_kind(group, kind)?,
    };
    let Uncovered::Kinds { scope, .. } = &gap.subject else { return None };
    Some(Unmodelled {
        object: gap.subject.to_string(),
        place: gap.place.clone(),
        scope: scope.clone(),
        effect,
        only,
        why: "cannot be seen",
    })
}

/// What may stand in a file that cannot be read: the worst is a kind that overrules all others, in every namespace.
pub(super) fn unread(gap: &NotCovered) -> Unmodelled {
    let path = &gap.place.file;
    Unmodelled {
        object: path.rsplit('/').next().unwrap_or(path).to_owned(),
        place: gap.place.clone(),
        scope: Scope::Cluster,
        effect: Effect::Overrides,
        only: None,
        why: "cannot be read",
    }
}

/// The namespace of an object; the whole cluster when it is a variable.
pub(super) fn written_namespace(object: &Object) -> Scope {
    match (&object.namespace, object.document.root.at_path("/metadata/namespace")) {
        (Some(namespace), _) => Scope::Namespace(namespace.clone()),
        (None, Some(Node { value: crate::source::Value::Opaque(_), .. })) => Scope::Cluster,
        (None, _) => Scope::Namespace("default".to_owned()),
    }
}
