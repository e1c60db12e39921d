//! `spec` of the cluster-wide kinds as written.

use serde::Deserialize;

use super::Selector;

/// v1alpha2 ClusterNetworkPolicy.
#[derive(Debug, Deserialize)]
pub(in crate::policy) struct ClusterSpec {
    pub(in crate::policy) tier: Option<String>,
    pub(in crate::policy) priority: Option<i64>,
    pub(in crate::policy) subject: Option<Subject>,
    pub(in crate::policy) ingress: Option<Vec<ClusterRule>>,
    pub(in crate::policy) egress: Option<Vec<ClusterRule>>,
}

/// v1alpha1 AdminNetworkPolicy.
#[derive(Debug, Deserialize)]
pub(in crate::policy) struct AdminSpec {
    pub(in crate::policy) priority: Option<i64>,
    pub(in crate::policy) subject: Option<Subject>,
    pub(in crate::policy) ingress: Option<Vec<AdminRule>>,
    pub(in crate::policy) egress: Option<Vec<AdminRule>>,
}

/// v1alpha1 BaselineAdminNetworkPolicy.
#[derive(Debug, Deserialize)]
pub(in crate::policy) struct BaselineSpec {
    pub(in crate::policy) subject: Option<Subject>,
    pub(in crate::policy) ingress: Option<Vec<AdminRule>>,
    pub(in crate::policy) egress: Option<Vec<AdminRule>>,
}

#[derive(Debug, Deserialize)]
pub(in crate::policy) struct Subject {
    pub(in crate::policy) namespaces: Option<Selector>,
    pub(in crate::policy) pods: Option<NamespacedPod>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::policy) struct NamespacedPod {
    pub(in crate::policy) namespace_selector: Option<Selector>,
    pub(in crate::policy) pod_selector: Option<Selector>,
}

/// A rule of v1alpha2; of `from` and `to` one belongs to each direction.
#[derive(Debug, Deserialize)]
pub(in crate::policy) struct ClusterRule {
    pub(in crate::policy) name: Option<String>,
    pub(in crate::policy) action: Option<String>,
    pub(in crate::policy) from: Option<Vec<Peer>>,
    pub(in crate::policy) to: Option<Vec<Peer>>,
    pub(in crate::policy) protocols: Option<Vec<ByProtocol>>,
}

/// A rule of v1alpha1.
#[derive(Debug, Deserialize)]
pub(in crate::policy) struct AdminRule {
    pub(in crate::policy) name: Option<String>,
    pub(in crate::policy) action: Option<String>,
    pub(in crate::policy) from: Option<Vec<Peer>>,
    pub(in crate::policy) to: Option<Vec<Peer>>,
    pub(in crate::policy) ports: Option<Vec<AdminPort>>,
}

/// A peer of either direction: the last three are fields of egress peers only.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::policy) struct Peer {
    pub(in crate::policy) namespaces: Option<Selector>,
    pub(in crate::policy) pods: Option<NamespacedPod>,
    pub(in crate::policy) nodes: Option<Selector>,
    pub(in crate::policy) networks: Option<Vec<Option<String>>>,
    pub(in crate::policy) domain_names: Option<Vec<Option<String>>>,
}

/// An item of v1alpha2 `protocols`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::policy) struct ByProtocol {
    pub(in crate::policy) tcp: Option<Destination>,
    pub(in crate::policy) udp: Option<Destination>,
    pub(in crate::policy) sctp: Option<Destination>,
    pub(in crate::policy) destination_named_port: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::policy) struct Destination {
    pub(in crate::policy) destination_port: Option<NumberOrRange>,
}

#[derive(Debug, Deserialize)]
pub(in crate::policy) struct NumberOrRange {
    pub(in crate::policy) number: Option<i64>,
    pub(in crate::policy) range: Option<Range>,
}

#[derive(Debug, Deserialize)]
pub(in crate::policy) struct Range {
    pub(in crate::policy) start: Option<i64>,
    pub(in crate::policy) end: Option<i64>,
}

/// An item of v1alpha1 `ports`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::policy) struct AdminPort {
    pub(in crate::policy) port_number: Option<AdminNumber>,
    pub(in crate::policy) port_range: Option<AdminRange>,
    pub(in crate::policy) named_port: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(in crate::policy) struct AdminNumber {
    pub(in crate::policy) protocol: Option<String>,
    pub(in crate::policy) port: Option<i64>,
}

#[derive(Debug, Deserialize)]
pub(in crate::policy) struct AdminRange {
    pub(in crate::policy) protocol: Option<String>,
    pub(in crate::policy) start: Option<i64>,
    pub(in crate::policy) end: Option<i64>,
}
