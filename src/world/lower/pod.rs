//! Pod, and the pod spec that it shares with workload templates.

use std::net::IpAddr;

use serde::Deserialize;

use super::super::{ContainerPort, DnsPolicy, Labels, Object, ObjectName, Phase, Pod, PodDns, Proxies};
use super::meta::{RawMeta, RawOwner, fields, name_of, protocol, refuse};
use super::{Lowered, WorldBuilder};
use crate::source::Node;
use crate::source::de::Field;

/// A pod whose owner is not yet looked up.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) pod: Pod,
    pub(super) owner: Option<RawOwner>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawPod {
    metadata: RawMeta,
    spec: RawPodSpec,
    status: RawStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct RawPodSpec {
    containers: Vec<RawContainer>,
    init_containers: Vec<RawContainer>,
    host_network: bool,
    node_name: Option<String>,
    dns_policy: Option<String>,
    dns_config: Option<RawDnsConfig>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawDnsConfig {
    searches: Option<Vec<String>>,
    options: Option<Vec<RawDnsOption>>,
}

#[derive(Debug, Deserialize)]
struct RawDnsOption {
    name: Option<String>,
    value: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawContainer {
    /// A variable as the tag is common in what Flux reconciles; the pod is worth knowing without its image.
    image: Option<Field<String>>,
    ports: Vec<RawPort>,
    env: Vec<RawEnv>,
    restart_policy: Option<String>,
}

/// A value from a Secret or ConfigMap, or one that is filled in later, is not in this file.
#[derive(Debug, Deserialize)]
struct RawEnv {
    name: String,
    value: Option<Field<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawPort {
    name: Option<String>,
    container_port: u16,
    protocol: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawStatus {
    phase: Option<String>,
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    #[serde(rename = "podIPs")]
    pod_ips: Vec<RawIp>,
    conditions: Option<Vec<RawCondition>>,
}

#[derive(Deserialize)]
struct RawIp {
    ip: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawCondition {
    r#type: String,
    status: String,
    #[serde(default)]
    last_transition_time: Option<String>,
}

impl WorldBuilder {
    pub(super) fn pod(&mut self, object: &Object) -> Lowered {
        let mut raw: RawPod = fields(object)?;
        let name = name_of(object)?;
        let owner = raw.metadata.owner();
        let mut pod = raw.spec.lower(object, name.clone(), raw.metadata.labels)?;
        pod.addresses = raw.status.addresses(object)?;
        let ready = raw.status.ready();
        pod.ready = ready.map(|(ready, _)| ready);
        pod.ready_since = ready.and_then(|(_, since)| since);
        pod.leaving = raw.metadata.deletion_timestamp.is_some();
        if matches!(raw.status.phase.as_deref(), Some("Succeeded" | "Failed")) {
            pod.phase = Phase::Finished;
        }
        note_node_local(&mut self.world.node_local_dns, &pod.labels, object.document.root.at_path("/spec/containers"));
        let draft = Draft { pod, owner };
        if name.name.ends_with('*') {
            self.pods.push(draft);
        } else {
            let earlier = self.pods.put(name, draft);
            self.replaced(object, earlier.map(|draft| draft.pod.place));
        }
        Ok(())
    }
}

impl RawPodSpec {
    /// A live pod with this spec; address, readiness and phase come from the status.
    pub(super) fn lower(self, object: &Object, name: ObjectName, labels: Labels) -> Lowered<Pod> {
        let images =
            self.containers.iter().filter_map(|container| container.image.as_ref()?.known().cloned()).collect();
        // Ports of init containers count only while these run beside the others (KEP-753: restartPolicy Always).
        let sidecars = self.init_containers.iter().filter(|init| init.restart_policy.as_deref() == Some("Always"));
        let mut ports = Vec::new();
        for raw in self.containers.iter().chain(sidecars).flat_map(|container| &container.ports) {
            if raw.container_port == 0 {
                return refuse(object, "a containerPort is 0; ports are 1 to 65535");
            }
            let name = raw.name.clone().filter(|name| !name.is_empty());
            let protocol = protocol(object, raw.protocol.as_deref())?;
            ports.push(ContainerPort { name, number: raw.container_port, protocol });
        }
        let proxies = proxies(self.containers.iter().flat_map(|container| &container.env));
        Ok(Pod {
            name,
            proxies,
            dns: dns(self.dns_policy.as_deref(), self.dns_config.unwrap_or_default()),
            workload: None,
            template: false,
            labels,
            images,
            ports,
            addresses: Vec::new(),
            host_network: self.host_network,
            node: self.node_name.filter(|node| !node.is_empty()),
            phase: Phase::Live,
            ready: None,
            ready_since: None,
            leaving: false,
            place: object.place(),
        })
    }
}

fn dns(policy: Option<&str>, config: RawDnsConfig) -> PodDns {
    let policy = match policy {
        Some("Default") => DnsPolicy::Default,
        Some("None") => DnsPolicy::None,
        Some("ClusterFirstWithHostNet") => DnsPolicy::ClusterFirstWithHostNet,
        _ => DnsPolicy::ClusterFirst,
    };
    let options = config.options.unwrap_or_default();
    let ndots = options.iter().filter(|option| option.name.as_deref() == Some("ndots"));
    let ndots = ndots.filter_map(|option| option.value.as_deref()?.parse().ok()).next_back();
    PodDns { policy, searches: config.searches.unwrap_or_default(), ndots }
}

/// As reqwest reads the environment, which is what MAS's HTTP client does.
fn proxies<'e>(environment: impl Iterator<Item = &'e RawEnv>) -> Proxies {
    let mut found = Proxies::default();
    let mut all = None;
    for variable in environment {
        let value = variable.value.as_ref().and_then(Field::known).map(String::as_str);
        let authority = || value.map_or_else(|| Some("a proxy that is not in the manifests".to_owned()), authority);
        match variable.name.to_ascii_lowercase().as_str() {
            "http_proxy" => found.http = authority(),
            "https_proxy" => found.https = authority(),
            "all_proxy" => all = authority(),
            "no_proxy" => {
                let entries = value.unwrap_or_default().split(',').map(str::trim).filter(|entry| !entry.is_empty());
                found.except = entries.map(str::to_lowercase).collect();
            }
            _ => {}
        }
    }
    found.http = found.http.or_else(|| all.clone());
    found.https = found.https.or(all);
    found
}

/// Host and port of a proxy's URL, without user and password; `None` when it is empty, which means no proxy.
fn authority(url: &str) -> Option<String> {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = after_scheme.split(['/', '?', '#']).next().unwrap_or_default();
    // A password may hold a raw `@`: what stands after the last one is the host.
    let host = authority.rsplit('@').next().unwrap_or_default();
    (!host.is_empty()).then(|| host.to_owned())
}

impl RawStatus {
    /// `podIPs` and `podIP`, the first of each family: the API allows one per family.
    fn addresses(&self, object: &Object) -> Lowered<Vec<IpAddr>> {
        let mut found: Vec<IpAddr> = Vec::new();
        let single = self.pod_ip.iter().map(String::as_str);
        for text in single.chain(self.pod_ips.iter().map(|ip| ip.ip.as_str())).filter(|text| !text.is_empty()) {
            let ip: IpAddr = text.parse().or_else(|_| refuse(object, "status.podIP is not an IP address"))?;
            if !found.iter().any(|other| other.is_ipv4() == ip.is_ipv4()) {
                found.push(ip);
            }
        }
        Ok(found)
    }

    /// Whether it is Ready, and since when that is so.
    fn ready(&self) -> Option<(bool, Option<i64>)> {
        let ready = self.conditions.as_ref()?.iter().find(|condition| condition.r#type == "Ready");
        let since = ready.and_then(|ready| ready.last_transition_time.as_deref()?.parse::<jiff::Timestamp>().ok());
        Some((ready.is_some_and(|ready| ready.status == "True"), since.map(jiff::Timestamp::as_second)))
    }
}

/// NodeLocal DNSCache listens on the addresses of its `-localip` argument (kubernetes `nodelocaldns.yaml`); its own manifest ships placeholders there.
pub(super) fn note_node_local(found: &mut Vec<IpAddr>, labels: &Labels, containers: Option<&Node>) {
    const LABEL: (&str, &str) = ("k8s-app", "node-local-dns");
    const USUAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(169, 254, 20, 10));
    if labels.get(LABEL.0).is_none_or(|value| value != LABEL.1) {
        return;
    }
    let words: Vec<&str> = containers
        .into_iter()
        .flat_map(Node::items)
        .flat_map(|container| ["command", "args"].into_iter().filter_map(|key| container.get(key)))
        .flat_map(Node::items)
        .filter_map(Node::text)
        .collect();
    let is_flag = |word: &&str| *word == "-localip" || *word == "--localip";
    let spaced = words.iter().position(is_flag).and_then(|at| words.get(at + 1)).copied();
    let joined = words.iter().find_map(|word| word.trim_start_matches('-').strip_prefix("localip="));
    let listed = spaced.or(joined).unwrap_or("").split(',').filter_map(|ip| ip.trim().parse().ok());
    let mut addresses: Vec<IpAddr> = listed.collect();
    if addresses.is_empty() {
        addresses.push(USUAL);
    }
    found.extend(addresses);
    found.sort();
    found.dedup();
}
