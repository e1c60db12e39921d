//! Proxies in the environment of MAS's pods: its HTTP client follows them, so an edge that is right on paper is never opened.
//!
//! Source: facts/mas-edges.md §1.5 (reqwest with `system-proxy`); matching of `NO_PROXY` as reqwest documents it (`NoProxy::from_string`).

use std::net::IpAddr;

use ipnet::IpNet;

use super::Lookup;
use crate::finding::{Code, Finding};
use crate::matrix::{Exchange, Expect, Party};
use crate::world::Proxies;

impl Lookup<'_> {
    /// Says so when MAS would ask a proxy instead of this edge's target.
    pub(super) fn check_proxy(&mut self) {
        let (Some(map), Some(subject)) = (self.map, self.subject) else { return };
        let Some(tls) = over_tls(&self.edge.exchange).filter(|_| self.edge.expect == Expect::Allow) else { return };
        if self.edge.from != [Party::Subject] {
            return;
        }
        for target in &self.edge.to {
            let host = match &target.party {
                Party::Host { host, .. } => host.clone(),
                Party::Address(address) => address.to_string(),
                _ => continue,
            };
            let mut pods = subject.pods.iter().map(|id| map.world.pod(*id));
            let Some((pod, proxy)) = pods.find_map(|pod| Some((pod, rerouted(&pod.proxies, tls, &host)?))) else {
                continue;
            };
            let variable = if tls { "HTTPS_PROXY" } else { "HTTP_PROXY" };
            let message = format!(
                "MAS's pod has {variable} in its environment, so it asks {proxy} for {host}: this edge is never opened"
            );
            let fix = format!(
                "add {host} to NO_PROXY, or allow the proxy: an edge to {proxy} in the TrafficMatrix's `edges:`"
            );
            let object = format!("Pod/{}", pod.name);
            let finding = Finding::new(Code::ProxyInUse, object, message, fix).at(pod.place.clone());
            self.findings.push(finding.on(self.edge.name.clone()));
        }
    }
}

/// Whether an exchange is HTTP, and over TLS.
fn over_tls(exchange: &Exchange) -> Option<bool> {
    match exchange {
        Exchange::Oidc { issuer: url } | Exchange::Synapse { endpoint: url } => Some(url.starts_with("https:")),
        Exchange::Http { tls, .. } => Some(*tls),
        Exchange::Tcp
        | Exchange::DnsUdp
        | Exchange::DnsTcp
        | Exchange::Postgres { .. }
        | Exchange::Smtp { .. }
        | Exchange::MasDiscovery { .. }
        | Exchange::MasPublic { .. }
        | Exchange::MasHealth
        | Exchange::Whoami => None,
    }
}

/// The proxy that is asked for a host, if one is.
fn rerouted<'p>(proxies: &'p Proxies, tls: bool, host: &str) -> Option<&'p str> {
    let proxy = if tls { &proxies.https } else { &proxies.http };
    proxy.as_deref().filter(|_| !proxies.except.iter().any(|entry| excepts(entry, host)))
}

/// `*` is everything; a network or address holds addresses; a domain holds itself and what is below it, with or without a leading dot.
fn excepts(entry: &str, host: &str) -> bool {
    if entry == "*" {
        return true;
    }
    if let Ok(address) = host.parse::<IpAddr>() {
        return entry.parse::<IpNet>().is_ok_and(|net| net.contains(&address)) || entry.parse() == Ok(address);
    }
    let domain = entry.trim_start_matches("*.").trim_start_matches('.');
    host == domain || host.strip_suffix(domain).is_some_and(|rest| !domain.is_empty() && rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(entry: &str, host: &str, expect: bool) {
        assert_eq!(excepts(entry, host), expect, "{entry} {host}");
    }

    #[test]
    fn no_proxy_means_what_reqwest_reads() {
        check("*", "a.example", true);
        check("example.org", "example.org", true);
        check("example.org", "id.example.org", true);
        check(".example.org", "id.example.org", true);
        check(".example.org", "example.org", true);
        check("example.org", "notexample.org", false);
        check("", "example.org", false);
        check("10.0.0.0/8", "10.1.2.3", true);
        check("10.1.2.3", "10.1.2.3", true);
        check("10.0.0.0/8", "192.0.2.1", false);
        check("10.0.0.0/8", "example.org", false);
    }
}
