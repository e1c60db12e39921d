//! Peers that no source names: looked for in the world where that is safe, and said aloud.

use std::collections::BTreeSet;

use super::map::{image_name, repository};
use super::select::listed;
use super::{Lookup, merge, service, unresolved};
use crate::finding::Code;
use crate::matrix::{Party, Peer, PeerKind, Port, Provenance};
use crate::world::{Pod, PodId, PortRef, Protocol, Service, ServiceKind, WorkloadKind};

/// Parts of the paths of PostgreSQL images.
const POSTGRES_IMAGES: &[&str] = &["postgres", "spilo", "cnpg"];
/// Ends of the names of Services that lead to replicas, to single pods or to a pooler. A transaction pooler breaks MAS's locks (MAS docs/setup/database.md).
const NOT_PRIMARY: &[&str] =
    &["-ro", "-r", "-any", "-repl", "-replica", "-replicas", "-read", "-hl", "-headless", "-config", "-pods"];
/// Last part of the repository of every Synapse image.
const SYNAPSE_IMAGE: &str = "synapse";
/// By which charts tell one deployment of Synapse from another in the same namespace.
const PART_OF: &str = "app.kubernetes.io/part-of";
/// What the operators call the Service of the primary: CloudNativePG.
const PRIMARY: &str = "-rw";

impl<'a> Lookup<'a> {
    /// A peer that no source names.
    pub(super) fn discover(&mut self, peer: &str, port: Option<&Port>) -> Vec<Peer> {
        let candidates = match peer {
            "postgres" => self.postgres(),
            "smtp" => self.relays(port),
            "synapse" => self.running(SYNAPSE_IMAGE),
            "prometheus" => self.running("prometheus"),
            _ => Vec::new(),
        };
        match candidates.as_slice() {
            [service] => {
                let name = &service.name;
                let message = format!("no source names {peer}; Service {name} is the only one here that can be it");
                let fix = format!("pin it with `peers: {{{peer}: {{service: {name}}}}}`");
                self.report(Code::DefaultUsed, peer, message, fix);
                let mut peers = self.service(service, port);
                for peer in &mut peers {
                    peer.by_default = true;
                }
                peers
            }
            [] if peer == "smtp" => self.unknown_relay(port),
            _ => {
                let names: Vec<String> = candidates.iter().map(|service| service.name.to_string()).collect();
                let example = names.first().map_or("<namespace>/<service>", String::as_str);
                let message = match names.as_slice() {
                    [] => format!("no source says where {peer} is"),
                    _ => format!("no source says where {peer} is; it could be {}", listed(&names)),
                };
                let fix = format!("write `peers: {{{peer}: {{service: {example}}}}}`");
                let gap = self.map.filter(|_| names.is_empty()).and_then(|map| map.world.unseen_anywhere("Service"));
                self.report_absence(gap, Code::PeerUnknown, peer, message, fix);
                vec![unresolved(None)]
            }
        }
    }

    /// Whoever opens an edge for Synapse is Synapse, all of its processes: each worker that authenticates clients asks MAS about their tokens
    /// (facts/mas-edges.md §1.2), whichever of them the endpoint leads to. Returns why, where that is more than the endpoint says.
    pub(super) fn synapse_itself(&mut self, from: Vec<Peer>) -> (Vec<Peer>, Vec<Provenance>) {
        let Some(map) = self.map else {
            return (from, Vec::new());
        };
        let image = |id: &PodId| map.world.pod(*id).images.iter().find(|image| image_name(image) == SYNAPSE_IMAGE);
        let (mut namespaces, mut own, mut known) = (BTreeSet::new(), Vec::new(), true);
        for peer in &from {
            if let PeerKind::Pods { namespace, pods, .. } = &peer.kind {
                namespaces.insert(namespace.as_str());
                known &= !pods.is_empty();
                own.extend(pods.iter().copied().filter(|pod| image(pod).is_some()));
            }
        }
        let lasting = |pod: &Pod| {
            let kind = pod.workload.as_ref().map(|workload| workload.kind);
            !matches!(kind, Some(WorkloadKind::Job | WorkloadKind::CronJob))
        };
        let here = map.filtered(|pod| namespaces.contains(pod.name.namespace.as_str()) && lasting(pod));
        let all: Vec<PodId> = here.into_iter().filter(|pod| image(pod).is_some()).collect();
        if own.is_empty() {
            return (if known && !all.is_empty() { self.behind_proxy(&all) } else { from }, Vec::new());
        }
        // Whoever selects pods means these and no others.
        let is_exact = |party: &Party| matches!(party, Party::Selector { .. } | Party::Workload(..) | Party::Pod(_));
        if self.edge.from.iter().all(is_exact) {
            return (from, Vec::new());
        }
        let selected =
            |id: &PodId| from.iter().any(|peer| matches!(&peer.kind, PeerKind::Pods { pods, .. } if pods.contains(id)));
        let is_kin = |id: &PodId| {
            own.iter().any(|first| {
                let (pod, first_pod) = (map.world.pod(*id), map.world.pod(*first));
                let part_of = |pod: &Pod| pod.labels.get(PART_OF).cloned();
                pod.name.namespace == first_pod.name.namespace
                    && image(id).map(|image| repository(image)) == image(first).map(|image| repository(image))
                    && part_of(pod) == part_of(first_pod)
            })
        };
        let workers: Vec<PodId> = all.into_iter().filter(|id| !selected(id) && is_kin(id)).collect();
        let mut provenance: Vec<Provenance> = Vec::new();
        for pod in workers.iter().map(|id| map.world.pod(*id)) {
            let name = pod.workload.as_ref().map_or(&pod.name.name, |workload| &workload.name);
            let says =
                format!("{}/{name} runs the same image as the pods behind Synapse's endpoint", pod.name.namespace);
            if provenance.iter().all(|known| known.says != says) {
                let section = "every Synapse process asks MAS about tokens".to_owned();
                provenance.push(Provenance { place: Some(pod.place.clone()), section, says });
            }
        }
        let found: Vec<_> = workers.into_iter().map(|id| (id, Vec::new())).collect();
        let mut from = from;
        merge(&mut from, self.peers_of("Synapse", &found, None, None));
        (from, provenance)
    }

    /// The chart of the Element Server Suite puts HAProxy behind the Service of Synapse's name, and HAProxy asks MAS nothing.
    fn behind_proxy(&mut self, synapse: &[PodId]) -> Vec<Peer> {
        let message =
            "the Service of Synapse's name leads to a proxy; Synapse's own pods, told by their image, open this edge";
        let fix = "pin them with `peers: {synapse: {selector: {namespace: …, …}}}`";
        self.report(Code::DefaultUsed, "synapse", message.to_owned(), fix);
        let found: Vec<_> = synapse.iter().map(|id| (*id, Vec::new())).collect();
        self.peers_of("Synapse", &found, None, None)
    }

    /// product.md §7: an unknown relay is somewhere outside.
    fn unknown_relay(&mut self, port: Option<&Port>) -> Vec<Peer> {
        let message = "no source names the mail relay, so every public address stands in for it".to_owned();
        let fix = "write `peers: {smtp: {host: <relay>, port: <port>}}`";
        self.report(Code::DefaultUsed, "smtp", message, fix);
        let mut outside = self.outside_peer(None, port);
        outside.by_default = true;
        vec![outside]
    }

    fn postgres(&self) -> Vec<&'a Service> {
        let found = self.serving(|service| {
            let name = &service.name.name;
            let primary = !NOT_PRIMARY.iter().any(|end| name.ends_with(end)) && !name.contains("pooler");
            primary && service.kind == ServiceKind::Virtual && self.listens(service, 5432)
        });
        // Of several the ones that show PostgreSQL's image, and of these the one that an operator calls the primary.
        let sure: Vec<&Service> = found.iter().copied().filter(|service| self.runs_postgres(service)).collect();
        let found = if sure.is_empty() { found } else { sure };
        let primaries: Vec<&Service> = found.iter().copied().filter(|s| s.name.name.ends_with(PRIMARY)).collect();
        if primaries.len() == 1 { primaries } else { found }
    }

    fn relays(&self, port: Option<&Port>) -> Vec<&'a Service> {
        let default = match port {
            Some(Port::Unknown { default }) => *default,
            Some(Port::Client(PortRef::Number(number))) => Some(*number),
            _ => None,
        };
        let by_port = |port: u16| self.serving(|s| service::entry(s, &PortRef::Number(port), Protocol::Tcp).is_some());
        let usual = default.map(by_port).unwrap_or_default();
        if !usual.is_empty() {
            return usual;
        }
        let mail = [587, 465, 25].map(PortRef::Number);
        self.serving(|s| mail.iter().any(|port| service::entry(s, port, Protocol::Tcp).is_some()))
    }

    /// Services with an address of their own whose pods run an image of this name.
    fn running(&self, image: &str) -> Vec<&'a Service> {
        let runs = |service: &Service| self.runs(service, |own| image_name(own) == image);
        self.serving(|service| service.kind == ServiceKind::Virtual && runs(service))
    }

    fn serving(&self, keep: impl Fn(&Service) -> bool) -> Vec<&'a Service> {
        let Some(map) = self.map else {
            return Vec::new();
        };
        map.world.services.values().filter(|service| keep(service)).collect()
    }

    fn listens(&self, service: &Service, port: u16) -> bool {
        let direct = service::entry(service, &PortRef::Number(port), Protocol::Tcp).is_some();
        direct || self.map.is_some_and(|map| service::entry_to(map, service, &[port], Protocol::Tcp).is_some())
    }

    fn runs_postgres(&self, service: &Service) -> bool {
        self.runs(service, |image| POSTGRES_IMAGES.iter().any(|part| repository(image).contains(part)))
    }

    fn runs(&self, service: &Service, fits: impl Fn(&str) -> bool) -> bool {
        let Some(map) = self.map else {
            return false;
        };
        let mut pods = service.ports.iter().flat_map(|entry| service::endpoints(map, service, entry).pods);
        pods.any(|(id, _)| map.world.pod(id).images.iter().any(|image| fits(image)))
    }
}
