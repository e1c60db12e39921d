//! What a live cluster is asked for: these kinds and no others, by `list` alone. `deploy/reader-cluster.yaml` grants exactly these.

use super::Need;

/// A kind that is listed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kind {
    /// The API group; empty for the core group.
    pub(super) group: &'static str,
    /// The version that is read best; another that is served does as well.
    pub(super) version: &'static str,
    /// The kind.
    pub(super) kind: &'static str,
    /// Its name in URLs and roles.
    pub(super) plural: &'static str,
    pub(super) namespaced: bool,
    /// Who wants it; `None` for what every answer depends on.
    pub(super) need: Option<Need>,
}

impl Kind {
    const fn new(group: &'static str, version: &'static str, kind: &'static str, plural: &'static str) -> Self {
        Self { group, version, kind, plural, namespaced: true, need: None }
    }

    const fn of_cluster(mut self) -> Self {
        self.namespaced = false;
        self
    }

    const fn wanted_for(mut self, need: Need) -> Self {
        self.need = Some(need);
        self
    }

    /// `pods`, `clusternetworkpolicies.policy.networking.k8s.io`: as `kubectl` takes it.
    pub(super) fn resource(&self) -> String {
        if self.is_built_in() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// Most objects of one page: as kubectl has it, and fewer where each may be a mebibyte.
    pub(super) fn page(&self) -> u32 {
        if self.kind == "ConfigMap" { 50 } else { 500 }
    }

    /// Every API server that is supported (1.25 and later) has it in this version.
    pub(super) fn is_built_in(&self) -> bool {
        BUILT_IN.contains(&self.group)
    }
}

const BUILT_IN: [&str; 5] = ["", "apps", "batch", "discovery.k8s.io", "networking.k8s.io"];

const ANP: &str = "policy.networking.k8s.io";
const GATEWAY: &str = "gateway.networking.k8s.io";
const CNPG: &str = "postgresql.cnpg.io";

/// In the order in which they are listed.
pub(super) const KINDS: &[Kind] = &[
    Kind::new("", "v1", "Namespace", "namespaces").of_cluster(),
    Kind::new("", "v1", "Node", "nodes").of_cluster(),
    Kind::new("", "v1", "Pod", "pods"),
    Kind::new("apps", "v1", "Deployment", "deployments"),
    Kind::new("apps", "v1", "ReplicaSet", "replicasets"),
    Kind::new("apps", "v1", "StatefulSet", "statefulsets"),
    Kind::new("apps", "v1", "DaemonSet", "daemonsets"),
    Kind::new("batch", "v1", "Job", "jobs"),
    Kind::new("batch", "v1", "CronJob", "cronjobs"),
    Kind::new("", "v1", "Service", "services"),
    Kind::new("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"),
    Kind::new("networking.k8s.io", "v1", "IngressClass", "ingressclasses").of_cluster(),
    Kind::new("networking.k8s.io", "v1", "Ingress", "ingresses"),
    Kind::new("traefik.io", "v1alpha1", "IngressRoute", "ingressroutes"),
    Kind::new("traefik.io", "v1alpha1", "IngressRouteTCP", "ingressroutetcps"),
    Kind::new("traefik.containo.us", "v1alpha1", "IngressRoute", "ingressroutes"),
    Kind::new("traefik.containo.us", "v1alpha1", "IngressRouteTCP", "ingressroutetcps"),
    Kind::new(GATEWAY, "v1", "GatewayClass", "gatewayclasses").of_cluster(),
    Kind::new(GATEWAY, "v1", "Gateway", "gateways"),
    Kind::new(GATEWAY, "v1", "HTTPRoute", "httproutes"),
    // Routes that are not read: the hosts they serve are unknown.
    Kind::new(GATEWAY, "v1", "TLSRoute", "tlsroutes"),
    Kind::new("networking.istio.io", "v1", "VirtualService", "virtualservices"),
    Kind::new("projectcontour.io", "v1", "HTTPProxy", "httpproxies"),
    Kind::new("route.openshift.io", "v1", "Route", "routes"),
    Kind::new("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
    Kind::new(ANP, "v1alpha2", "ClusterNetworkPolicy", "clusternetworkpolicies").of_cluster(),
    Kind::new(ANP, "v1alpha1", "AdminNetworkPolicy", "adminnetworkpolicies").of_cluster(),
    Kind::new(ANP, "v1alpha1", "BaselineAdminNetworkPolicy", "baselineadminnetworkpolicies").of_cluster(),
    // Policies that are not evaluated: the verdicts that they can change are unknown.
    Kind::new("cilium.io", "v2", "CiliumNetworkPolicy", "ciliumnetworkpolicies"),
    Kind::new("cilium.io", "v2", "CiliumClusterwideNetworkPolicy", "ciliumclusterwidenetworkpolicies").of_cluster(),
    Kind::new("crd.projectcalico.org", "v1", "NetworkPolicy", "networkpolicies"),
    Kind::new("crd.projectcalico.org", "v1", "GlobalNetworkPolicy", "globalnetworkpolicies").of_cluster(),
    Kind::new("projectcalico.org", "v3", "NetworkPolicy", "networkpolicies"),
    Kind::new("projectcalico.org", "v3", "GlobalNetworkPolicy", "globalnetworkpolicies").of_cluster(),
    Kind::new("crd.antrea.io", "v1beta1", "NetworkPolicy", "networkpolicies"),
    Kind::new("crd.antrea.io", "v1beta1", "ClusterNetworkPolicy", "clusternetworkpolicies").of_cluster(),
    Kind::new("networking.k8s.aws", "v1alpha1", "ApplicationNetworkPolicy", "applicationnetworkpolicies"),
    Kind::new("networking.k8s.aws", "v1alpha1", "ClusterNetworkPolicy", "clusternetworkpolicies").of_cluster(),
    Kind::new("k8s.ovn.org", "v1", "EgressFirewall", "egressfirewalls"),
    Kind::new("security.istio.io", "v1", "AuthorizationPolicy", "authorizationpolicies"),
    Kind::new("policy.linkerd.io", "v1beta3", "Server", "servers"),
    Kind::new("portreeve.io", "v1alpha1", "TrafficMatrix", "trafficmatrices").wanted_for(Need::Matrix),
    Kind::new("", "v1", "ConfigMap", "configmaps").wanted_for(Need::Configs),
    Kind::new(CNPG, "v1", "Cluster", "clusters").wanted_for(Need::Checks),
    Kind::new(CNPG, "v1", "Pooler", "poolers").wanted_for(Need::Checks),
    Kind::new(CNPG, "v1", "Database", "databases").wanted_for(Need::Checks),
    Kind::new("acid.zalan.do", "v1", "postgresql", "postgresqls").wanted_for(Need::Checks),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::unmodelled_kinds;
    use crate::world::lower::route_kinds;

    /// A kind of policy or route that is recognised in a file and not asked for in a cluster would be missed in silence.
    #[test]
    fn every_kind_that_can_change_an_answer_is_asked_for() {
        let asked = |group: &str, kind: &str| {
            let below = |own: &str| own.strip_suffix(group).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
            KINDS.iter().any(|own| own.kind == kind && below(own.group))
        };
        let missed: Vec<_> =
            unmodelled_kinds().chain(route_kinds()).filter(|(group, kind)| !asked(group, kind)).collect();
        assert!(missed.is_empty(), "{missed:?}");
        assert!(!KINDS.iter().any(|own| own.kind == "Secret"));
    }
}
