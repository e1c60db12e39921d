//! MAS itself: its discovery document, at its listener or through the ingress controller, and its health.

use super::failure::{Failure, quoted};
use super::http::{self, Answer, Get, WELL_KNOWN};
use super::oidc;
use super::run::Run;
use super::synapse::{Base, non_default, text};
use crate::judge::Reason;

/// Asks MAS's listener for its discovery document, as Synapse and the ingress controller do.
pub(super) async fn discovery(run: &mut Run<'_>, issuer: Option<&str>) -> Result<String, Failure> {
    let host = run.host();
    let get = Get { body_for: &[200], ..own(run, &host, WELL_KNOWN) };
    let answer = http::fetch(run, &get).await?;
    match answer.status {
        200 => names_itself(&answer.body, issuer),
        404 => Err(Failure::new(
            Reason::HttpStatus,
            "HTTP status 404: this listener of MAS does not serve `discovery`, or something else listens here",
        )),
        status => Err(http::status(&get, status)),
    }
}

/// Asks for the same by the public URL. The ingress controller answers, and says in its status whether it reached MAS.
pub(super) async fn public(run: &mut Run<'_>, url: &str, issuer: &str) -> Result<String, Failure> {
    let base = Base::parse(url)?;
    let path = base.join(&WELL_KNOWN[1..]);
    let get =
        Get { tls: base.tls, host: &base.host, port: base.port, path: &path, bearer: None, body_for: &[200, 404] };
    let answer = http::fetch(run, &get).await?;
    match answer.status {
        200 => Ok(format!("{}, through its public URL", names_itself(&answer.body, Some(issuer))?)),
        _ => Err(behind(&answer, &get)),
    }
}

/// What the ingress controller's status means (Traefik, `pkg/proxy/httputil` `ComputeStatusCode`, and its balancer's 503).
fn behind(answer: &Answer, get: &Get<'_>) -> Failure {
    let host = quoted(get.host);
    match answer.status {
        // Go's `http.NotFound`, which Traefik answers when no router matches.
        404 if answer.body.trim_ascii() == b"404 page not found" => Failure::new(
            Reason::HttpStatus,
            format!("HTTP status 404 of the ingress controller: it has no router for {host} and {}", get.path),
        ),
        404 => Failure::new(
            Reason::HttpStatus,
            format!(
                "HTTP status 404 for {}: MAS's listener does not serve `discovery`, or another service answers for {host}",
                get.path
            ),
        ),
        502 => Failure::new(
            Reason::RelayFailed,
            "the ingress controller answers, but MAS refused it or broke off: HTTP status 502",
        ),
        504 => Failure::new(Reason::RelayFailed, "the ingress controller answers, but MAS did not: HTTP status 504"),
        503 => Failure::new(
            Reason::NoEndpoints,
            "the ingress controller answers, but has no endpoint of MAS to ask: HTTP status 503",
        ),
        status @ (300..=399 | 401 | 403) => Failure::new(
            Reason::HttpStatus,
            format!(
                "HTTP status {status}: something before MAS redirects or guards {}, which clients ask without a login",
                get.path
            ),
        ),
        status => http::status(get, status),
    }
}

/// Asks whether MAS reaches its database: that is all that `/health` does (`crates/handlers/src/health.rs`).
pub(super) async fn health(run: &mut Run<'_>) -> Result<String, Failure> {
    let host = run.host();
    let get = Get { body_for: &[200], ..own(run, &host, "/health") };
    let answer = http::fetch(run, &get).await.map_err(|mut failure| {
        if failure.reason == Reason::FirstByteTimeout {
            // The pool's `connect_timeout`.
            failure.detail += "; MAS waits up to 30 s for its database before it answers";
        }
        failure
    })?;
    match answer.status {
        200 if answer.body.trim_ascii() == b"ok" => Ok("MAS answers, and so does its database".to_owned()),
        200 => Err(Failure::new(Reason::HttpBody, "the body is not MAS's `ok`: another service answers here")),
        404 => Err(Failure::new(
            Reason::HttpStatus,
            "HTTP status 404: this listener does not serve `health` (MAS's default has it on localhost:8081 only)",
        )),
        500 => Err(Failure::new(Reason::RelayFailed, "MAS answers, but its database does not: HTTP status 500")),
        status => Err(http::status(&get, status)),
    }
}

/// A request to MAS's own listener.
fn own<'a>(run: &Run<'_>, host: &'a str, path: &'a str) -> Get<'a> {
    let port = run.target.host.is_none().then(|| non_default(false, run.target.address.port())).flatten();
    Get { tls: false, host, port, path, bearer: None, body_for: &[] }
}

/// The issuer of the document, which must be the wanted one byte for byte where one is known: clients refuse every other (OpenID Connect Discovery 1.0 §4.3).
fn names_itself(body: &[u8], issuer: Option<&str>) -> Result<String, Failure> {
    if let Some(issuer) = issuer {
        oidc::read_document("MAS", body, issuer)?;
    }
    let object = http::json_object(body)?;
    Ok(format!("MAS calls itself {}", quoted(text(&object, "issuer")?)))
}

/// Any bytes as MAS's document, and as a page of the ingress controller.
#[cfg(fuzzing)]
pub(super) fn fuzz(body: &[u8]) {
    let _ = names_itself(body, None);
    let get = Get { tls: true, host: "h", port: None, path: "/", bearer: None, body_for: &[] };
    let _ = behind(&Answer { status: 404, body: body.to_vec() }, &get);
}
