//! MAS's web listener: discovery, introspection, health.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use hyper::{Method, StatusCode};
use serde_json::json;
use tokio::net::TcpStream;

use super::http::{self, Answer, Asked};
use crate::demo::net::Serve;

/// A stand-in for MAS.
pub(super) struct Mas;

impl Serve for Mas {
    fn connection(self: Arc<Self>, stream: TcpStream) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send>> {
        Box::pin(http::serve(stream, async |asked| answer(&asked)))
    }
}

fn answer(asked: &Asked) -> Answer {
    match (asked.method(), asked.uri().path()) {
        (&Method::GET, "/.well-known/openid-configuration") => http::json(StatusCode::OK, &discovery()),
        // MAS asks the caller to prove itself first, then tells nothing about a token that it did not issue (RFC 7662 §2.2).
        (&Method::POST, "/oauth2/introspect") if http::bearer(asked).is_some() => {
            http::json(StatusCode::OK, &json!({"active": false}))
        }
        (&Method::POST, "/oauth2/introspect") => {
            http::json(StatusCode::UNAUTHORIZED, &json!({"error": "invalid_client"}))
        }
        (_, "/oauth2/introspect" | "/.well-known/openid-configuration") => {
            http::plain(StatusCode::METHOD_NOT_ALLOWED, "")
        }
        (&Method::GET, "/health") => http::plain(StatusCode::OK, "ok"),
        _ => http::plain(StatusCode::NOT_FOUND, "404 page not found"),
    }
}

/// MAS's issuer ends with a slash, unlike Authelia's.
fn discovery() -> serde_json::Value {
    json!({
        "issuer": "https://auth.waadoo.ovh/",
        "authorization_endpoint": "https://auth.waadoo.ovh/authorize",
        "token_endpoint": "https://auth.waadoo.ovh/oauth2/token",
        "jwks_uri": "https://auth.waadoo.ovh/oauth2/keys.json",
        "registration_endpoint": "https://auth.waadoo.ovh/oauth2/registration",
        "introspection_endpoint": "https://auth.waadoo.ovh/oauth2/introspect",
        "revocation_endpoint": "https://auth.waadoo.ovh/oauth2/revoke",
        "userinfo_endpoint": "https://auth.waadoo.ovh/oauth2/userinfo",
        "scopes_supported": ["openid", "email"],
        "response_types_supported": ["code"],
        "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256", "ES256"],
        "code_challenge_methods_supported": ["plain", "S256"],
        "account_management_uri": "https://auth.waadoo.ovh/account/"
    })
}
