//! Kinds from which pods or routes arise that are not read: what is not known must be said.

use std::collections::HashSet;

use super::super::{NotCovered, Object, Uncovered};
use super::meta::name_of;
use super::workload::Owners;
use super::{Lowered, WorldBuilder};
use crate::finding::{Code, Finding};
use crate::source::{Node, Value};

/// An object that may matter; whether it does is known once all pods are.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    not_covered: NotCovered,
    namespace: String,
    kind: String,
    name: String,
    covered_if: CoveredIf,
}

/// When the pods of an uncovered object are known all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CoveredIf {
    /// A pod or workload here names it as its owner.
    Owned,
    /// Its target namespace has live pods here: then this is a dump of a cluster, and what it rendered is in it.
    PodsInTarget,
    /// Never.
    Never,
}

const NOT_RENDERED: &str = "not rendered, its pods are unknown";
const NO_PODS: &str = "its pods are made by an operator and are not among the inputs";
const NO_ROUTES: &str = "not read, so the hosts it routes are unknown";

/// `(group, kind, what is unknown)`; every kind here is known to make pods or routes.
const KINDS: &[(&str, &str, &str, CoveredIf)] = &[
    ("helm.toolkit.fluxcd.io", "HelmRelease", NOT_RENDERED, CoveredIf::PodsInTarget),
    ("helm.cattle.io", "HelmChart", NOT_RENDERED, CoveredIf::PodsInTarget),
    ("kustomize.toolkit.fluxcd.io", "Kustomization", NOT_RENDERED, CoveredIf::PodsInTarget),
    ("kustomize.config.k8s.io", "Kustomization", "not built: give the output of `kustomize build`", CoveredIf::Never),
    ("kustomize.config.k8s.io", "Component", "not built: give the output of `kustomize build`", CoveredIf::Never),
    ("argoproj.io", "Application", NOT_RENDERED, CoveredIf::PodsInTarget),
    ("argoproj.io", "ApplicationSet", NOT_RENDERED, CoveredIf::Never),
    ("argoproj.io", "Rollout", NO_PODS, CoveredIf::Owned),
    ("", "ReplicationController", NO_PODS, CoveredIf::Owned),
    ("apps.openshift.io", "DeploymentConfig", NO_PODS, CoveredIf::Owned),
    ("postgresql.cnpg.io", "Cluster", NO_PODS, CoveredIf::Owned),
    ("postgresql.cnpg.io", "Pooler", NO_PODS, CoveredIf::Owned),
    ("acid.zalan.do", "postgresql", NO_PODS, CoveredIf::PodsInTarget),
    ("postgres-operator.crunchydata.com", "PostgresCluster", NO_PODS, CoveredIf::Owned),
    ("stackgres.io", "SGCluster", NO_PODS, CoveredIf::Owned),
    ("kubevirt.io", "VirtualMachine", NO_PODS, CoveredIf::PodsInTarget),
    ("serving.knative.dev", "Service", NO_PODS, CoveredIf::PodsInTarget),
    ("networking.istio.io", "VirtualService", NO_ROUTES, CoveredIf::Never),
    ("projectcontour.io", "HTTPProxy", NO_ROUTES, CoveredIf::Never),
    ("route.openshift.io", "Route", NO_ROUTES, CoveredIf::Never),
    ("gateway.networking.k8s.io", "TLSRoute", NO_ROUTES, CoveredIf::Never),
];

/// Kinds of routes that are not read, as `(group, kind)`.
#[cfg(test)]
pub(crate) fn route_kinds() -> impl Iterator<Item = (&'static str, &'static str)> {
    KINDS.iter().filter(|(_, _, why, _)| *why == NO_ROUTES).map(|(group, kind, ..)| (*group, *kind))
}

impl WorldBuilder {
    /// Any kind that is not lowered here.
    pub(super) fn other(&mut self, object: &Object) -> Lowered {
        let name = name_of(object)?;
        if object.namespace.is_some() || object.kind == "NetworkPolicy" {
            self.refer(&name.namespace);
        }
        let listed = KINDS.iter().find(|(group, kind, ..)| *group == object.group() && *kind == object.kind);
        let (why, covered_if) = match listed {
            Some((_, _, why, covered_if)) => (*why, *covered_if),
            None if has_pod_template(object) => (NO_PODS, CoveredIf::Owned),
            None => return Ok(()),
        };
        let target = ["/spec/targetNamespace", "/spec/destination/namespace"]
            .iter()
            .find_map(|path| object.document.root.at_path(path).and_then(Node::text));
        self.uncovered.push(Draft {
            not_covered: NotCovered {
                subject: Uncovered::Object(object.label()),
                why: why.to_owned(),
                fix: fix(why).to_owned(),
                place: object.place(),
            },
            namespace: target.unwrap_or(&name.namespace).to_owned(),
            kind: object.kind.clone(),
            name: name.name,
            covered_if,
        });
        Ok(())
    }
}

/// A custom workload gives itself away by the pod template that it holds.
fn has_pod_template(object: &Object) -> bool {
    let containers = object.document.root.at_path("/spec/template/spec/containers");
    containers.is_some_and(|node| matches!(node.value, Value::Seq(_))) && object.kind != "PodTemplate"
}

impl Draft {
    /// What stays unknown because of this object, if anything does. `seen` are the namespaces of which there are pods.
    pub(super) fn settle(self, seen: &HashSet<&str>, owners: &Owners) -> Option<NotCovered> {
        let covered = match self.covered_if {
            CoveredIf::Never => false,
            CoveredIf::Owned => owners.contains(&(self.namespace, self.kind, self.name)),
            CoveredIf::PodsInTarget => seen.contains(self.namespace.as_str()),
        };
        (!covered).then_some(self.not_covered)
    }
}

fn fix(why: &str) -> &'static str {
    match why {
        NO_ROUTES => "name the peers of the edges that use it under `peers:`",
        NO_PODS => "add the pods: `kubectl get pods -A -o yaml`",
        _ => "give the rendered manifests (`helm template`, `kustomize build`) or a dump of the cluster",
    }
}

/// The finding that says so.
pub(super) fn finding(gap: &NotCovered) -> Finding {
    Finding::new(Code::NotCovered, gap.subject.to_string(), gap.why.clone(), gap.fix.clone()).at(gap.place.clone())
}
