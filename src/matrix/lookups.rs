//! What names cost: how many DNS questions the C library asks for a host before it has its addresses.
//!
//! A pod's resolv.conf has a search list and `ndots:5`, so a name with fewer than five dots is first tried with every domain of the list, and each try is a question for A and one for AAAA. A public name costs eight questions where two would do, and each of them can be lost.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Party, PeerKind, ResolvedEdge};
use crate::world::{DnsPolicy, ObjectName, Pod};

/// A and AAAA.
const FAMILIES: usize = 2;
/// `ndots` of a resolv.conf that does not say (resolv.conf(5)).
const NDOTS: usize = 1;
/// `ndots` that the kubelet writes for `ClusterFirst` (`pkg/kubelet/network/dns`).
const CLUSTER_NDOTS: usize = 5;

/// The search list of a resolv.conf(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchList {
    /// Put behind names, in order.
    pub domains: Vec<String>,
    /// Names with fewer dots try the list first.
    pub ndots: usize,
}

impl SearchList {
    /// What the kubelet writes for a pod of this namespace; the node's own domains may follow.
    pub fn cluster_first(namespace: &str) -> Self {
        let domains =
            vec![format!("{namespace}.svc.cluster.local"), "svc.cluster.local".to_owned(), "cluster.local".to_owned()];
        Self { domains, ndots: CLUSTER_NDOTS }
    }

    /// A pod's, as far as its spec says it: `None` for the node's own resolv.conf.
    pub fn of_pod(pod: &Pod) -> Option<Self> {
        let mut list = match pod.dns.policy {
            DnsPolicy::ClusterFirst if pod.host_network => return None,
            DnsPolicy::ClusterFirst | DnsPolicy::ClusterFirstWithHostNet => Self::cluster_first(&pod.name.namespace),
            DnsPolicy::Default => return None,
            DnsPolicy::None => Self { domains: Vec::new(), ndots: NDOTS },
        };
        list.domains.extend(pod.dns.searches.iter().cloned());
        list.ndots = pod.dns.ndots.unwrap_or(list.ndots);
        Some(list)
    }

    /// The names to try for `name`, in order.
    pub fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(whole) = name.strip_suffix('.') {
            return vec![whole.to_owned()];
        }
        let searched = self
            .domains
            .iter()
            .map(|domain| domain.trim_matches('.'))
            .map(|domain| if domain.is_empty() { name.to_owned() } else { format!("{name}.{domain}") });
        let dots = name.bytes().filter(|byte| *byte == b'.').count();
        let mut candidates: Vec<String> = searched.collect();
        if dots >= self.ndots {
            candidates.insert(0, name.to_owned());
        } else {
            candidates.push(name.to_owned());
        }
        candidates
    }

    /// What `host` costs when `full` is the name that exists.
    fn lookup(&self, host: &str, full: &str) -> Lookup {
        let candidates = self.candidates(host);
        let tried = candidates.iter().position(|candidate| candidate == full).map_or(candidates.len(), |at| at + 1);
        let questions = tried * FAMILIES;
        Lookup { host: host.to_owned(), questions, needless: questions - FAMILIES }
    }
}

/// The cost of one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lookup {
    /// As MAS's config has it.
    pub host: String,
    /// DNS questions until its addresses are known.
    pub questions: usize,
    /// Of these, the ones that ask for names that do not exist.
    pub needless: usize,
}

/// Every host that MAS looks up, by name.
pub fn lookups(edges: &[ResolvedEdge], list: &SearchList) -> Vec<Lookup> {
    let mut found: BTreeMap<&str, Lookup> = BTreeMap::new();
    for resolved in edges.iter().filter(|resolved| resolved.edge.from.contains(&Party::Subject)) {
        for target in &resolved.edge.to {
            let Party::Host { host, .. } = &target.party else { continue };
            let full = meant(host, resolved, list);
            found.entry(host).or_insert_with(|| list.lookup(host, &full));
        }
    }
    found.into_values().collect()
}

/// The name that exists: of the Service that was found behind the host, or that a name of one label or with `svc` can only mean.
fn meant(host: &str, resolved: &ResolvedEdge, list: &SearchList) -> String {
    let labels: Vec<&str> = host.split('.').collect();
    let is_it = |service: &&ObjectName| {
        labels.first() == Some(&service.name.as_str()) || labels.get(1) == Some(&service.name.as_str())
    };
    let services = resolved.to.iter().filter(|peer| matches!(peer.kind, PeerKind::Pods { .. }));
    let mut services = services.filter_map(|peer| peer.service.as_ref().map(|(service, _)| service));
    match services.find(is_it) {
        // A headless Service's pods have a label more in front.
        Some(service) if labels.first() == Some(&service.name.as_str()) => service.service_host(),
        Some(service) => format!("{}.{}", labels[0], service.service_host()),
        None if labels.len() == 1 => list.candidates(host).swap_remove(0),
        None if labels.get(2) == Some(&"svc") => format!("{}.{}.svc.cluster.local", labels[0], labels[1]),
        None => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(domains: &[&str], ndots: usize, name: &str, expect: &[&str]) {
        let list = SearchList { domains: domains.iter().map(|domain| (*domain).to_owned()).collect(), ndots };
        assert_eq!(list.candidates(name), expect, "{name}");
    }

    #[test]
    fn search_lists() {
        let pod = SearchList::cluster_first("matrix");
        let short = [
            "db.postgres.matrix.svc.cluster.local",
            "db.postgres.svc.cluster.local",
            "db.postgres.cluster.local",
            "db.postgres",
        ];
        assert_eq!(pod.candidates("db.postgres"), short);
        assert_eq!(pod.candidates("auth.example.org."), ["auth.example.org"]);
        check(&["example.org"], 1, "a.b", &["a.b", "a.b.example.org"]);
        check(&["example.org."], 1, "a", &["a.example.org", "a"]);
        check(&["."], 1, "a", &["a", "a"]);
        check(&[], 1, "a", &["a"]);
    }

    #[test]
    fn costs() {
        let pod = SearchList::cluster_first("matrix");
        let cost = |list: &SearchList, host: &str, full: &str| {
            let lookup = list.lookup(host, full);
            (lookup.questions, lookup.needless)
        };
        assert_eq!(cost(&pod, "auth.example.org", "auth.example.org"), (8, 6));
        assert_eq!(cost(&pod, "auth.example.org.", "auth.example.org"), (2, 0));
        assert_eq!(cost(&pod, "synapse", "synapse.matrix.svc.cluster.local"), (2, 0));
        assert_eq!(cost(&pod, "db.postgres", "db.postgres.svc.cluster.local"), (4, 2));
        // Four dots are fewer than five.
        assert_eq!(cost(&pod, "db.postgres.svc.cluster.local", "db.postgres.svc.cluster.local"), (8, 6));
        let one = SearchList { ndots: 1, ..pod };
        assert_eq!(cost(&one, "auth.example.org", "auth.example.org"), (2, 0));
    }
}
