//! The objects, and the pods among them that policies are about.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Namespace, Pod, PodSpec, PodStatus};
use k8s_openapi::api::networking::v1::NetworkPolicy;

/// All objects at one moment.
#[derive(Debug, Default, Clone)]
pub struct Cluster {
    /// Every namespace.
    pub namespaces: Vec<Arc<Namespace>>,
    /// Every pod.
    pub pods: Vec<Arc<Pod>>,
    /// Every policy.
    pub policies: Vec<Arc<NetworkPolicy>>,
}

/// What a port is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// `TCP`
    Tcp,
    /// `UDP`
    Udp,
    /// `SCTP`
    Sctp,
}

impl Protocol {
    /// "If not specified, this field defaults to TCP." (API, for the ports of containers and of policies alike)
    pub fn parse(text: Option<&str>) -> Option<Self> {
        match text.unwrap_or("TCP") {
            "TCP" => Some(Self::Tcp),
            "UDP" => Some(Self::Udp),
            "SCTP" => Some(Self::Sctp),
            _ => None,
        }
    }

    /// As nftables writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

/// A pod with a network of its own.
#[derive(Debug)]
pub struct Member<'c> {
    /// The object's.
    pub uid: &'c str,
    /// Where it lives.
    pub namespace: &'c str,
    /// The pod's labels.
    pub labels: &'c BTreeMap<String, String>,
    /// Its namespace's labels.
    pub namespace_labels: &'c BTreeMap<String, String>,
    /// One, or one of each family.
    pub addresses: BTreeSet<IpAddr>,
    /// The named ports of its containers.
    pub named: Vec<(&'c str, Protocol, u16)>,
}

static NO_LABELS: BTreeMap<String, String> = BTreeMap::new();

impl Cluster {
    /// Every pod that can send and receive, and has its own network: a hostNetwork pod's traffic is its node's ("behaviour for hostNetwork pods is undefined", and this is the more common of the two that the documentation permits).
    ///
    /// A pod that has finished keeps its address in the API while another pod gets it (kubernetes#92697). Of two that live, the later created has it.
    pub fn members(&self) -> Vec<Member<'_>> {
        let namespaces: HashMap<&str, &BTreeMap<String, String>> = self
            .namespaces
            .iter()
            .filter_map(|one| Some((one.metadata.name.as_deref()?, one.metadata.labels.as_ref()?)))
            .collect();
        let mut pods: Vec<&Pod> = self.pods.iter().map(Arc::as_ref).filter(|pod| lives(pod)).collect();
        pods.sort_by_key(|pod| (pod.metadata.creation_timestamp.clone(), &pod.metadata.namespace, &pod.metadata.name));
        let mut members: Vec<Member<'_>> = pods.into_iter().map(|pod| member(pod, &namespaces)).collect();
        let mut taken = BTreeSet::new();
        for member in members.iter_mut().rev() {
            member.addresses.retain(|address| taken.insert(*address));
        }
        members.retain(|member| !member.addresses.is_empty());
        members
    }
}

fn lives(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let on_host = pod.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or(false);
    !on_host && !matches!(phase, Some("Succeeded" | "Failed"))
}

fn member<'c>(pod: &'c Pod, namespaces: &HashMap<&str, &'c BTreeMap<String, String>>) -> Member<'c> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    Member {
        uid: pod.metadata.uid.as_deref().unwrap_or_default(),
        namespace,
        labels: pod.metadata.labels.as_ref().unwrap_or(&NO_LABELS),
        namespace_labels: namespaces.get(namespace).copied().unwrap_or(&NO_LABELS),
        addresses: pod.status.as_ref().map(addresses).unwrap_or_default(),
        named: pod.spec.as_ref().map(named_ports).unwrap_or_default(),
    }
}

fn addresses(status: &PodStatus) -> BTreeSet<IpAddr> {
    let all = status.pod_ips.iter().flatten().map(|one| one.ip.as_str());
    all.chain(status.pod_ip.as_deref()).filter_map(|text| text.parse().ok()).collect()
}

/// Of containers and of sidecars, which are init containers that restart: they run beside the others, and policies "apply equally" to them (documentation, *Network Policies* and *Sidecar Containers*).
fn named_ports(spec: &PodSpec) -> Vec<(&str, Protocol, u16)> {
    let is_sidecar = |one: &&Container| one.restart_policy.as_deref() == Some("Always");
    let sidecars = spec.init_containers.iter().flatten().filter(is_sidecar);
    let ports = spec.containers.iter().chain(sidecars).flat_map(|one| one.ports.iter().flatten());
    ports
        .filter_map(|port| {
            let number = u16::try_from(port.container_port).ok()?;
            Some((port.name.as_deref()?, Protocol::parse(port.protocol.as_deref())?, number))
        })
        .collect()
}
