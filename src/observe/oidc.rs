//! OpenID Connect discovery of an identity provider.

mod endpoints;

use super::failure::{Failure, quoted};
use super::http::{self, Get, WELL_KNOWN};
use super::run::Run;
use super::synapse::{Base, text};
use crate::judge::Reason;
use endpoints::Endpoint;

/// Asks for an identity provider's discovery document, as MAS does at its start and every 15 minutes.
pub(super) async fn exchange(run: &mut Run<'_>, issuer: &str) -> Result<String, Failure> {
    let base = Base::parse(issuer)?;
    // OpenID Connect Discovery 1.0 §4.1: a final slash is removed before the suffix is put on.
    let path = format!("{}{WELL_KNOWN}", base.path.strip_suffix('/').unwrap_or(&base.path));
    let get = Get { tls: base.tls, host: &base.host, port: base.port, path: &path, bearer: None, body_for: &[200] };
    let answer = http::fetch(run, &get).await?;
    if answer.status != 200 {
        return Err(http::status(&get, answer.status));
    }
    let detail = read_document("the provider", &answer.body, issuer)?;
    if !run.target.deep {
        return Ok(detail);
    }
    Ok(format!("{detail}; {}", deeper(run, &base, &answer.body).await?))
}

/// Asks for the keys, and reaches what MAS calls on other hosts, or says that it was not asked.
async fn deeper(run: &mut Run<'_>, base: &Base, document: &[u8]) -> Result<String, Failure> {
    let called = endpoints::called(&http::json_object(document)?)?;
    let is_own = |endpoint: &&Endpoint| {
        let other = &endpoint.base;
        (other.tls, &other.host, other.port) == (base.tls, &base.host, base.port)
    };
    let mut said = Vec::new();
    if let Some(Endpoint { base: jwks, .. }) = called.iter().filter(is_own).find(|endpoint| endpoint.key == "jwks_uri")
    {
        let get =
            Get { tls: jwks.tls, host: &jwks.host, port: jwks.port, path: &jwks.path, bearer: None, body_for: &[200] };
        let answer = http::fetch(run, &get).await?;
        if answer.status != 200 {
            return Err(http::status(&get, answer.status));
        }
        said.push(count_keys(&answer.body)?);
    } else if run.prober.followed.is_none() {
        said.push("its keys were not asked for".to_owned());
    }
    let elsewhere: Vec<&Endpoint> = called.iter().filter(|endpoint| !is_own(endpoint)).collect();
    if run.prober.followed.is_some() {
        said.extend(endpoints::follow(run, &elsewhere).await?);
    } else if !elsewhere.is_empty() {
        let mut hosts: Vec<String> = elsewhere.iter().map(|endpoint| quoted(&endpoint.base.host)).collect();
        hosts.sort();
        hosts.dedup();
        said.push(format!("MAS must also reach {}", hosts.join(", ")));
    }
    Ok(said.join("; "))
}

/// Without a key no login can be verified (RFC 7517 §5).
fn count_keys(body: &[u8]) -> Result<String, Failure> {
    match http::json_object(body)?.get("keys") {
        Some(serde_json::Value::Array(keys)) if !keys.is_empty() => Ok(format!("it has {} keys", keys.len())),
        Some(serde_json::Value::Array(_)) => {
            Err(Failure::new(Reason::HttpBody, "the provider's list of keys is empty"))
        }
        _ => Err(Failure::new(Reason::HttpBody, "the provider's jwks_uri gives no list of keys")),
    }
}

/// The issuer must be the configured one byte for byte, a final slash included (OpenID Connect Discovery 1.0 §4.3); MAS refuses every login otherwise.
///
/// `whose` document it is, for the sentence.
pub(super) fn read_document(whose: &str, body: &[u8], issuer: &str) -> Result<String, Failure> {
    let object = http::json_object(body)?;
    let says = text(&object, "issuer")?;
    if says != issuer {
        let detail = format!("{whose} calls itself {}, configured is {}", quoted(says), quoted(issuer));
        return Err(Failure::new(Reason::HttpBody, detail));
    }
    for key in ["authorization_endpoint", "token_endpoint", "jwks_uri"] {
        text(&object, key)?;
    }
    Ok(format!("{whose}'s discovery document names the configured issuer"))
}

/// Any bytes as a provider's document and as its keys.
#[cfg(fuzzing)]
pub(super) fn fuzz(body: &[u8]) {
    let _ = read_document("the provider", body, "https://auth.example.org/");
    let _ = count_keys(body);
    if let Ok(object) = http::json_object(body) {
        let called = endpoints::called(&object).unwrap_or_default();
        assert!(called.iter().all(|endpoint| endpoint.base.path.starts_with('/') && !endpoint.base.host.is_empty()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://auth.example.org/";

    #[track_caller]
    fn check(change: impl Fn(&mut serde_json::Map<String, serde_json::Value>), expect: Result<(), &str>) {
        let mut object = serde_json::Map::new();
        object.insert("issuer".into(), ISSUER.into());
        for key in ["authorization_endpoint", "token_endpoint", "jwks_uri"] {
            object.insert(key.into(), format!("{ISSUER}{key}").into());
        }
        change(&mut object);
        let body = serde_json::to_vec(&object).unwrap();
        match (read_document("the provider", &body, ISSUER), expect) {
            (Ok(_), Ok(())) => {}
            (Err(failure), Err(part)) => {
                assert_eq!(failure.reason, Reason::HttpBody);
                assert!(failure.detail.contains(part), "{}", failure.detail);
            }
            (got, expect) => panic!("{got:?}, expected {expect:?}"),
        }
    }

    #[test]
    fn keys() {
        let reason = |body: &[u8]| count_keys(body).map(drop).map_err(|failure| failure.reason);
        assert_eq!(reason(br#"{"keys":[{}]}"#), Ok(()));
        for body in [&br#"{"keys":[]}"#[..], b"{}", b"[]", b"<html>", br#"{"keys":"k"}"#] {
            assert_eq!(reason(body), Err(Reason::HttpBody), "{body:?}");
        }
    }

    #[test]
    fn one_thing_wrong_at_a_time() {
        check(|_| {}, Ok(()));
        check(|o| drop(o.remove("issuer")), Err("no issuer"));
        check(|o| drop(o.remove("jwks_uri")), Err("no jwks_uri"));
        check(|o| drop(o.remove("token_endpoint")), Err("no token_endpoint"));
        check(|o| drop(o.insert("jwks_uri".into(), 5.into())), Err("is no string"));
        // Without the final slash it is another issuer, and both are named.
        check(
            |o| drop(o.insert("issuer".into(), "https://auth.example.org".into())),
            Err(r#""https://auth.example.org", configured is "https://auth.example.org/""#),
        );
    }
}
