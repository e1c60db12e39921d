//! Whether the proxy of the environment is meant for the API server, as `kubectl` has it (Go's `httpproxy`): `HTTPS_PROXY` is for https alone, never
//! for this machine, and not for what `NO_PROXY` names. kube 5.0 compares `NO_PROXY` with the proxy's own address.

use std::net::IpAddr;

use ipnet::IpNet;

/// Whether a URL is reached through the proxy of the environment.
pub(super) fn is_meant(scheme: Option<&str>, host: &str, no_proxy: &str) -> bool {
    let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
    let address: Option<IpAddr> = host.parse().ok();
    let local = host == "localhost" || address.is_some_and(|address| address.is_loopback());
    let exempt = |entry: &str| match (address, entry.parse::<IpNet>(), entry.parse::<IpAddr>()) {
        _ if entry == "*" => true,
        (Some(address), Ok(net), _) => net.contains(&address),
        (Some(address), _, Ok(own)) => own == address,
        (Some(_), ..) => false,
        // `example.org` and `.example.org` both mean what is below; the first means itself too.
        (None, ..) => {
            let entry = entry.strip_prefix('*').unwrap_or(entry);
            let below = if entry.starts_with('.') { entry.to_owned() } else { format!(".{entry}") };
            host == entry || host.ends_with(&below)
        }
    };
    let mut entries =
        no_proxy.split(',').map(|entry| entry.trim().to_ascii_lowercase()).filter(|entry| !entry.is_empty());
    scheme == Some("https") && !local && !entries.any(|entry| exempt(&entry))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(host: &str, no_proxy: &str, expect: bool) {
        assert_eq!(is_meant(Some("https"), host, no_proxy), expect, "{host} {no_proxy}");
    }

    #[test]
    fn what_no_proxy_names_is_reached_directly() {
        check("api.example.org", "", true);
        check("api.example.org", "other.org, .svc", true);
        check("api.example.org", "example.org", false);
        check("api.example.org", "Example.ORG", false);
        check("example.org", ".example.org", true);
        check("api.example.org", "*.example.org", false);
        check("notexample.org", "example.org", true);
        check("api.example.org", "*", false);
        check("10.1.2.3", "10.0.0.0/8", false);
        check("10.1.2.3", "10.1.2.3", false);
        check("10.1.2.3", "10.1.2.4,192.168.0.0/16", true);
        check("[fd00::1]", "fd00::/8", false);
        check("127.0.0.1", "", false);
        check("localhost", "", false);
        assert!(!is_meant(Some("http"), "api.example.org", ""));
    }
}
