//! The cluster's DNS servers, as a pod reaches them.

use super::{Lookup, merge};
use crate::finding::Code;
use crate::matrix::{Peer, PeerKind, Port};
use crate::world::{Labels, PortRef, Service};

/// The label that CoreDNS kept from kube-dns everywhere, and its namespace.
const LABEL: (&str, &str) = ("k8s-app", "kube-dns");
const NAMESPACE: &str = "kube-system";
const PORT: u16 = 53;

impl<'a> Lookup<'a> {
    pub(super) fn cluster_dns(&mut self, port: Option<&Port>) -> Vec<Peer> {
        let dialled = Port::Client(PortRef::Number(PORT));
        let wanted = port.map(|_| &dialled);
        let Some(map) = self.map else {
            return vec![self.usual_dns(port.is_some())];
        };
        let service = self.dns_service();
        let pods = map.with_label(LABEL.0, LABEL.1);
        let mut peers = match service {
            Some(service) => self.service(service, wanted),
            None if pods.is_empty() => vec![self.usual_dns(port.is_some())],
            None => self.pods("the DNS server", &pods, wanted),
        };
        if !map.world.node_local_dns.is_empty() {
            // NodeLocal DNSCache answers on its own address and on the Service's, in the node's network: no selector matches it.
            let addresses =
                map.world.node_local_dns.iter().chain(service.iter().flat_map(|service| &service.cluster_ips));
            let nets = addresses.map(|ip| (*ip).into()).collect();
            let local = self.blocks(nets, Vec::new(), None, wanted);
            merge(&mut peers, vec![local]);
        }
        peers
    }

    /// `kube-system/kube-dns` almost everywhere; otherwise the Service in front of the pods with that label, or one called after CoreDNS.
    fn dns_service(&self) -> Option<&'a Service> {
        let map = self.map?;
        let dns = |service: &&Service| service.ports.iter().any(|entry| entry.port == PORT);
        let labelled = |service: &&Service| {
            service.selector.as_ref().is_some_and(|s| s.get(LABEL.0).is_some_and(|value| value == LABEL.1))
        };
        let called = |service: &&Service| {
            let name = service.name.name.as_str();
            name.ends_with("coredns") || name == "dns-default"
        };
        let mut own = map.services_in(NAMESPACE).filter(dns);
        let usual = own.find(|service| service.name.name == "kube-dns");
        usual
            .or_else(|| map.world.services.values().filter(dns).find(labelled))
            .or_else(|| map.services_in(NAMESPACE).filter(dns).find(called))
            .or_else(|| map.world.services.values().filter(dns).find(called))
    }

    fn usual_dns(&mut self, at_to_end: bool) -> Peer {
        let message = format!(
            "the DNS server is not known; pods labelled {}: {} in {NAMESPACE} stand in for it",
            LABEL.0, LABEL.1
        );
        let fix = format!("add its Service and pods (`kubectl get svc,pods -n {NAMESPACE} -o yaml`)");
        let gap = self.unseen("Service", NAMESPACE).or_else(|| self.unseen("Pod", NAMESPACE));
        self.report_absence(gap, Code::DefaultUsed, "dns", message, fix);
        let selector = Labels::from([(LABEL.0.to_owned(), LABEL.1.to_owned())]);
        let kind = PeerKind::Pods { namespace: NAMESPACE.to_owned(), selector, pods: Vec::new() };
        let ports = if at_to_end { vec![PORT] } else { Vec::new() };
        Peer { kind, ports, service: None, by_default: true }
    }
}
