//! The DNS record of the auth host.

use std::net::IpAddr;

use super::prerequisites::entrances;
use super::{Answer, GIVE_MANIFESTS, RUN_NETWORK, fail, no_manifests, no_mas_config, pass, unknown};
use crate::doctor::facts::Facts;
use crate::judge::Reason;
use crate::matrix::{Lookup, PeerKind, SearchList, lookups};

/// Addresses at which the ingress controller can be reached, with or without the name of a balancer.
fn balancers(facts: &Facts) -> (Vec<IpAddr>, Option<String>) {
    let Some(world) = &facts.world else { return (Vec::new(), None) };
    let edges = facts.resolution.edges.iter();
    let front = edges.filter(|edge| edge.edge.to.iter().any(|to| to.party == crate::matrix::Party::Subject));
    let pods: Vec<_> = front
        .flat_map(|edge| &edge.from)
        .filter_map(|peer| match &peer.kind {
            PeerKind::Pods { namespace, pods, .. } => Some((namespace.clone(), pods.clone())),
            _ => None,
        })
        .collect();
    let (mut addresses, mut name) = (Vec::new(), None);
    for service in world.services.values().filter(|service| !service.load_balancer.is_empty()) {
        let fronts = pods.iter().any(|(namespace, pods)| {
            *namespace == service.name.namespace
                && service.selector.as_ref().is_some_and(|selector| {
                    pods.iter().any(|pod| crate::world::labels::matches_all(selector, &world.pod(*pod).labels))
                })
        });
        if fronts {
            addresses.extend(service.load_balancer.iter().filter_map(|lb| lb.ip));
            name = name.or_else(|| service.load_balancer.iter().find_map(|lb| lb.hostname.clone()));
        }
    }
    (addresses, name)
}

pub(in crate::doctor) fn address(facts: &Facts) -> Answer {
    let Some(world) = &facts.world else { return no_manifests() };
    if entrances(facts, world).is_empty() {
        return unknown("nothing answers for the auth host", "see ingress-host");
    }
    match balancers(facts) {
        (addresses, _) if !addresses.is_empty() => pass(format!("the ingress controller is at {}", say(&addresses))),
        (_, Some(name)) => pass(format!("the ingress controller is at {name}")),
        _ => unknown(
            "the ingress controller's Service shows no address",
            format!("{GIVE_MANIFESTS} with the status of its Service (type LoadBalancer)"),
        ),
    }
}

fn say(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

pub(in crate::doctor) fn record(facts: &Facts) -> Answer {
    let Some(network) = &facts.network else { return unknown("the network was not asked", RUN_NETWORK) };
    let (Some(auth), Some((host, _))) = (&network.auth, facts.auth_host()) else { return no_mas_config() };
    let found = match &auth.addresses {
        Ok(found) => found,
        Err((Reason::DnsNxdomain, _)) => {
            return fail(
                format!("{host} does not exist in DNS"),
                "add an A, AAAA or CNAME record that leads to the ingress controller",
            );
        }
        Err((reason, detail)) => {
            return unknown(format!("{host}: {reason}: {detail}"), "see mas-to-dns-udp in `portreeve probe`");
        }
    };
    let (balancers, name) = balancers(facts);
    if balancers.is_empty() {
        let hint = name.map_or_else(String::new, |name| format!("; it should be a CNAME to {name}"));
        return unknown(
            format!("{host} is {}; where the ingress controller is, is not known{hint}", say(found)),
            "compare it with the ingress controller's address: kubectl get service",
        );
    }
    if found.iter().any(|address| balancers.contains(address)) {
        return pass(format!("{host} is {}, where the ingress controller is", say(found)));
    }
    fail(
        format!("{host} is {}, the ingress controller is at {}", say(found), say(&balancers)),
        "let the record lead to the ingress controller (or see whether a proxy or split horizon is meant to stand between)",
    )
}

/// Older C libraries read no more (`MAXDNSRCH` before glibc 2.26), and each domain is a chance more that a question is lost.
const MOST_DOMAINS: usize = 6;

pub(in crate::doctor) fn search(facts: &Facts) -> Answer {
    let pods = facts.resolution.subject.iter().flat_map(|subject| &subject.pods);
    let pod = facts.world.as_ref().and_then(|world| pods.map(|pod| world.pod(*pod)).next());
    let list = match pod {
        None => SearchList::cluster_first(&facts.namespace),
        Some(pod) => match SearchList::of_pod(pod) {
            Some(list) => list,
            None => return unknown("MAS's pod has its node's search list (dnsPolicy)", "see /etc/resolv.conf there"),
        },
    };
    let names = lookups(&facts.resolution.edges, &list);
    let Some(dearest) = names.iter().map(|lookup| lookup.questions).max() else {
        return unknown("no source names a host that MAS looks up", "see database-named and provider-issuer");
    };
    let costs = |lookup: &Lookup| format!("{} {}", lookup.host, lookup.questions);
    let costs: Vec<String> = names.iter().map(costs).collect();
    let said = format!("DNS questions for each name, at least: {}", costs.join(", "));
    if list.domains.len() <= MOST_DOMAINS {
        let advice = "two for each would do: options ndots:1 in dnsConfig of MAS's pod, where names are written whole";
        return Answer { todo: if dearest > 2 { advice.to_owned() } else { String::new() }, ..pass(said) };
    }
    fail(
        format!("{} search domains: up to {dearest} questions before a name is found; {said}", list.domains.len()),
        "shorten dnsConfig.searches of MAS's pod, or set options ndots:1 in its dnsConfig and write names whole",
    )
}
