//! OpenID Connect discovery: of an identity provider, and of MAS itself.

use super::failure::{Failure, quoted};
use super::http::{self, Get};
use super::run::Run;
use super::synapse::{Base, non_default, text};
use crate::judge::Reason;

const WELL_KNOWN: &str = "/.well-known/openid-configuration";

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
    read_document(&answer.body, issuer)
}

/// Asks MAS for its own discovery document, as Synapse and the ingress controller's clients do.
pub(super) async fn mas_discovery(run: &mut Run<'_>) -> Result<String, Failure> {
    let host = run.host();
    let port = run.target.host.is_none().then(|| non_default(false, run.target.address.port())).flatten();
    let get = Get { tls: false, host: &host, port, path: WELL_KNOWN, bearer: None, body_for: &[200] };
    let answer = http::fetch(run, &get).await?;
    if answer.status != 200 {
        return Err(http::status(&get, answer.status));
    }
    let object = http::json_object(&answer.body)?;
    Ok(format!("MAS calls itself {}", quoted(text(&object, "issuer")?)))
}

/// The issuer must be the configured one byte for byte, a final slash included (OpenID Connect Discovery 1.0 §4.3); MAS refuses every login otherwise.
pub(super) fn read_document(body: &[u8], issuer: &str) -> Result<String, Failure> {
    let object = http::json_object(body)?;
    let says = text(&object, "issuer")?;
    if says != issuer {
        let detail = format!("the provider calls itself {}, configured is {}", quoted(says), quoted(issuer));
        return Err(Failure::new(Reason::HttpBody, detail));
    }
    for key in ["authorization_endpoint", "token_endpoint", "jwks_uri"] {
        text(&object, key)?;
    }
    Ok("the provider's discovery document names the configured issuer".to_owned())
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
        match (read_document(&body, ISSUER), expect) {
            (Ok(_), Ok(())) => {}
            (Err(failure), Err(part)) => {
                assert_eq!(failure.reason, Reason::HttpBody);
                assert!(failure.detail.contains(part), "{}", failure.detail);
            }
            (got, expect) => panic!("{got:?}, expected {expect:?}"),
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
