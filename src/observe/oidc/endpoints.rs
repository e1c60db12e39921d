//! The endpoints that a discovery document names: MAS calls them, on whatever host they are.
//!
//! Policies are written for the issuer's host, and a token endpoint on another one is forgotten: the provider looks fine and no login works. A document names whatever its author likes, though, so only a prober that was told to goes there ([`Prober::with_followed_endpoints`](crate::observe::Prober::with_followed_endpoints)), and never to an address of this machine or this link.

use std::net::{IpAddr, SocketAddr};

use serde_json::{Map, Value};

use crate::judge::Reason;
use crate::observe::failure::{Failure, quoted};
use crate::observe::http::{self, Get};
use crate::observe::resolver::resolve;
use crate::observe::run::Run;
use crate::observe::synapse::{Base, text};

/// One endpoint that MAS itself calls; the authorization endpoint is the browser's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// Its key in the document.
    pub(super) key: &'static str,
    pub(super) base: Base,
}

/// In the order of a login. A userinfo endpoint need not be there.
pub(super) fn called(document: &Map<String, Value>) -> Result<Vec<Endpoint>, Failure> {
    let mut found = Vec::new();
    for key in ["token_endpoint", "jwks_uri", "userinfo_endpoint"] {
        if key == "userinfo_endpoint" && !document.contains_key(key) {
            continue;
        }
        // Its text is not repeated.
        let refuse =
            |_| Failure::new(Reason::HttpBody, format!("{key} of the discovery document is no http or https URL"));
        found.push(Endpoint { key, base: Base::with_query(text(document, key)?).map_err(refuse)? });
    }
    Ok(found)
}

/// Reaches every endpoint that is elsewhere, and gets the keys. The sentence says what was found.
pub(super) async fn follow(run: &mut Run<'_>, elsewhere: &[&Endpoint]) -> Result<Vec<String>, Failure> {
    let mut said = Vec::new();
    for Endpoint { key, base } in elsewhere {
        let at = format!("{key} at {}", quoted(&base.host));
        match reach(run, key, base).await {
            Ok(more) => said.push(format!("{at} is reached{more}")),
            // MAS calls it only with `fetch_userinfo: true`.
            Err(failure) if *key == "userinfo_endpoint" => {
                said.push(format!("{at} is not ({}), which matters with fetch_userinfo", failure.reason));
            }
            Err(failure) => return Err(Failure { detail: format!("{at}: {}", failure.detail), ..failure }),
        }
    }
    Ok(said)
}

/// One address that answers is enough, as it is for MAS's client.
async fn reach(run: &Run<'_>, key: &str, base: &Base) -> Result<String, Failure> {
    let Some(resolv) = &run.prober.followed else { return Ok(String::new()) };
    let found = resolve(&base.host, resolv, run.left()).await;
    let found = found.map_err(|(reason, detail)| Failure::new(reason, detail))?;
    let port = base.port.unwrap_or(if base.tls { 443 } else { 80 });
    let mut first = None;
    for address in found {
        let outcome = if is_beyond_here(address, run.target.address.ip()) {
            ask(run, SocketAddr::new(address, port), key, base).await
        } else {
            let detail = format!("{} leads to an address of this machine or link", quoted(&base.host));
            Err(Failure::new(Reason::ProberError, detail))
        };
        match outcome {
            Ok(said) => return Ok(said),
            Err(failure) => drop(first.get_or_insert(failure)),
        }
    }
    Err(first.unwrap_or_else(|| Failure::new(Reason::DnsNxdomain, "the name has no address")))
}

/// A GET of the keys. The other endpoints want a POST with secrets: a handshake is all there.
async fn ask(run: &Run<'_>, address: SocketAddr, key: &str, base: &Base) -> Result<String, Failure> {
    let get =
        Get { tls: base.tls, host: &base.host, port: base.port, path: &base.path, bearer: None, body_for: &[200] };
    if key != "jwks_uri" {
        return http::greet(run, address, &get).await.map(|()| String::new());
    }
    let answer = http::fetch_from(run, address, &get).await?;
    if answer.status != 200 {
        return Err(http::status(&get, answer.status));
    }
    super::count_keys(&answer.body).map(|keys| format!("; {keys}"))
}

/// A document must not send anybody to loopback, to the link (where clouds have their metadata), or nowhere; unless the provider itself is there.
fn is_beyond_here(address: IpAddr, provider: IpAddr) -> bool {
    let here = |address: IpAddr| match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local() || v4.is_unspecified() || v4.is_multicast(),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => v4.is_loopback() || v4.is_link_local(),
            None => v6.is_loopback() || v6.is_unicast_link_local() || v6.is_unspecified() || v6.is_multicast(),
        },
    };
    !here(address) || here(provider)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_to_this_machine_or_link() {
        let beyond =
            |address: &str, provider: &str| is_beyond_here(address.parse().unwrap(), provider.parse().unwrap());
        for address in
            ["127.0.0.1", "169.254.169.254", "::1", "fe80::1", "::ffff:127.0.0.1", "0.0.0.0", "::", "224.0.0.1"]
        {
            assert!(!beyond(address, "192.0.2.1"), "{address}");
            assert!(beyond(address, "127.0.0.1"), "{address}");
        }
        assert!(beyond("10.0.0.1", "192.0.2.1") && beyond("2001:db8::1", "192.0.2.1"));
    }

    #[test]
    fn what_mas_calls() {
        let keys = |text: &[u8]| {
            let called = called(&http::json_object(text).unwrap());
            called.map(|list| {
                list.iter().map(|e| format!("{} {}{}", e.key, e.base.host, e.base.path)).collect::<Vec<_>>()
            })
        };
        let document =
            br#"{"jwks_uri":"https://a/x?p=1","token_endpoint":"https://b/t","authorization_endpoint":"https://c/"}"#;
        assert_eq!(keys(document).unwrap(), ["token_endpoint b/t", "jwks_uri a/x?p=1"]);
        let without_path = br#"{"jwks_uri":"https://a?p=1","token_endpoint":"https://b"}"#;
        assert_eq!(keys(without_path).unwrap(), ["token_endpoint b/", "jwks_uri a/?p=1"]);
        assert_eq!(
            keys(br#"{"jwks_uri":"nowhere","token_endpoint":"https://b/"}"#).unwrap_err().reason,
            Reason::HttpBody
        );
        assert_eq!(keys(br#"{"jwks_uri":"https://a/"}"#).unwrap_err().reason, Reason::HttpBody);
    }
}
