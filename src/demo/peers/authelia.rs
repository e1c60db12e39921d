//! Authelia: plain HTTP on 9091; behind Traefik it is `https://authelia.waadoo.ovh`.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use hyper::{Method, StatusCode};
use serde_json::json;
use tokio::net::TcpStream;

use super::http::{self, Answer, Asked};
use crate::demo::net::Serve;
use crate::demo::world::AUTHELIA_HOST;

/// A stand-in for Authelia.
pub(super) struct Authelia;

impl Serve for Authelia {
    fn connection(self: Arc<Self>, stream: TcpStream) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send>> {
        Box::pin(http::serve(stream, async |asked| answer(&asked)))
    }
}

fn answer(asked: &Asked) -> Answer {
    let header = |name| asked.headers().get(name).and_then(|value| value.to_str().ok());
    match (asked.method(), asked.uri().path()) {
        (&Method::GET, "/api/health") => http::json(StatusCode::OK, &json!({"status": "OK"})),
        // Its issuer is the URL that the proxy says it was asked by, and only https will do (authelia_context.go).
        _ if header("x-forwarded-proto") != Some("https") || header("x-forwarded-host") != Some(AUTHELIA_HOST) => {
            http::plain(StatusCode::BAD_REQUEST, "400 Bad Request")
        }
        (&Method::GET, "/.well-known/openid-configuration") => http::json(StatusCode::OK, &discovery()),
        (&Method::GET, "/jwks.json") => http::json(StatusCode::OK, &keys()),
        _ => http::plain(StatusCode::NOT_FOUND, "404 Not Found"),
    }
}

/// No trailing slash: the issuer must be what clients have configured, byte for byte.
fn discovery() -> serde_json::Value {
    json!({
        "issuer": "https://authelia.waadoo.ovh",
        "jwks_uri": "https://authelia.waadoo.ovh/jwks.json",
        "authorization_endpoint": "https://authelia.waadoo.ovh/api/oidc/authorization",
        "token_endpoint": "https://authelia.waadoo.ovh/api/oidc/token",
        "userinfo_endpoint": "https://authelia.waadoo.ovh/api/oidc/userinfo",
        "introspection_endpoint": "https://authelia.waadoo.ovh/api/oidc/introspection",
        "revocation_endpoint": "https://authelia.waadoo.ovh/api/oidc/revocation",
        "subject_types_supported": ["public", "pairwise"],
        "response_types_supported": ["code"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "scopes_supported": ["openid", "profile", "email", "groups", "offline_access"],
        "id_token_signing_alg_values_supported": ["RS256", "ES256"],
        "code_challenge_methods_supported": ["S256"]
    })
}

/// One public key: the base point of P-256, whose private half is 1. It signs nothing here.
fn keys() -> serde_json::Value {
    json!({"keys": [{
        "kid": "portreeve-demo", "use": "sig", "alg": "ES256", "kty": "EC", "crv": "P-256",
        "x": "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY",
        "y": "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU"
    }]})
}
