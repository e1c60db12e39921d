//! Service.

use std::net::IpAddr;

use serde::Deserialize;

use super::super::{Labels, LoadBalancerAddress, Object, PortRef, Service, ServiceKind, ServicePort};
use super::meta::{RawPortRef, fields, name_of, protocol, refuse};
use super::{Lowered, WorldBuilder};

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawService {
    spec: RawSpec,
    status: RawStatus,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawSpec {
    r#type: Option<String>,
    selector: Labels,
    ports: Vec<RawPort>,
    #[serde(rename = "clusterIP")]
    cluster_ip: Option<String>,
    #[serde(rename = "clusterIPs")]
    cluster_ips: Vec<String>,
    #[serde(rename = "externalIPs")]
    external_ips: Vec<String>,
    external_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawPort {
    name: Option<String>,
    port: u16,
    target_port: Option<RawPortRef>,
    protocol: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawStatus {
    load_balancer: RawLoadBalancer,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawLoadBalancer {
    ingress: Vec<RawIngress>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawIngress {
    ip: Option<String>,
    hostname: Option<String>,
    ip_mode: Option<String>,
}

impl WorldBuilder {
    pub(super) fn service(&mut self, object: &Object) -> Lowered {
        let raw: RawService = fields(object)?;
        let name = name_of(object)?;
        let RawSpec { selector, ports, cluster_ip, cluster_ips, external_ips, external_name, r#type } = raw.spec;
        let headless = cluster_ip.as_deref() == Some("None") || cluster_ips.iter().any(|ip| ip == "None");
        let kind = match (r#type.as_deref(), external_name) {
            (Some("ExternalName"), Some(host)) if !host.is_empty() => {
                ServiceKind::ExternalName(host.trim_end_matches('.').to_ascii_lowercase())
            }
            (Some("ExternalName"), _) => return refuse(object, "type ExternalName needs spec.externalName"),
            _ if headless => ServiceKind::Headless,
            _ => ServiceKind::Virtual,
        };
        let ports = ports.into_iter().map(|port| port.lower(object)).collect::<Result<Vec<_>, _>>()?;
        let mut addresses: Vec<IpAddr> = Vec::new();
        for ip in cluster_ip.iter().chain(&cluster_ips).filter_map(|ip| ip.parse().ok()) {
            if !addresses.contains(&ip) {
                addresses.push(ip);
            }
        }
        let external = external_ips.iter().filter_map(|ip| ip.parse().ok());
        let external = external.map(|ip| LoadBalancerAddress { ip: Some(ip), hostname: None, proxy: false });
        let load_balancer =
            external.chain(raw.status.load_balancer.ingress.into_iter().map(RawIngress::lower)).collect();
        let service = Service {
            name: name.clone(),
            kind,
            // The API: an empty selector means that somebody else manages the endpoints.
            selector: (!selector.is_empty()).then_some(selector),
            ports,
            cluster_ips: addresses,
            load_balancer,
            place: object.place(),
        };
        self.refer(&name.namespace);
        let earlier = self.world.services.insert(name, service);
        self.replaced(object, earlier.map(|service| service.place));
        Ok(())
    }
}

impl RawPort {
    fn lower(self, object: &Object) -> Lowered<ServicePort> {
        if self.port == 0 {
            return refuse(object, "a Service port is 0; ports are 1 to 65535");
        }
        let protocol = protocol(object, self.protocol.as_deref())?;
        let target = self.target_port.map_or(PortRef::Number(self.port), |target| target.0);
        Ok(ServicePort { name: self.name.filter(|name| !name.is_empty()), port: self.port, target, protocol })
    }
}

impl RawIngress {
    fn lower(self) -> LoadBalancerAddress {
        LoadBalancerAddress {
            ip: self.ip.and_then(|ip| ip.parse().ok()),
            hostname: self.hostname.filter(|hostname| !hostname.is_empty()),
            proxy: self.ip_mode.as_deref() == Some("Proxy"),
        }
    }
}
