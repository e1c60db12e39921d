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

/// A stand-in for MAS, which has issued no token: the demo's, and that of the tests, where a real Synapse asks it.
#[derive(Debug, Clone)]
pub struct Mas {
    issuer: String,
    secret: String,
}

impl Mas {
    /// `issuer` ends with a slash, as MAS's does; `secret` is the one that it shares with Synapse (`matrix.secret`).
    pub fn new(issuer: impl Into<String>, secret: impl Into<String>) -> Self {
        Self { issuer: issuer.into(), secret: secret.into() }
    }

    fn answer(&self, asked: &Asked) -> Answer {
        match (asked.method(), asked.uri().path()) {
            (&Method::GET, "/.well-known/openid-configuration") => http::json(StatusCode::OK, &self.discovery()),
            (&Method::GET, "/oauth2/keys.json") => http::json(StatusCode::OK, &keys()),
            (&Method::POST, "/oauth2/introspect") => self.introspect(http::bearer(asked)),
            (_, "/oauth2/introspect" | "/.well-known/openid-configuration") => {
                http::plain(StatusCode::METHOD_NOT_ALLOWED, "")
            }
            (&Method::GET, "/health") => http::plain(StatusCode::OK, "ok"),
            _ => http::plain(StatusCode::NOT_FOUND, "404 page not found"),
        }
    }

    /// The caller proves itself first; a token that MAS did not issue is then inactive, of whatever form it is
    /// (element-hq/matrix-authentication-service, `crates/handlers/src/oauth2/introspection.rs`, and for the 400 `crates/axum-utils/src/client_authorization.rs`).
    fn introspect(&self, bearer: Option<&str>) -> Answer {
        match bearer {
            Some(secret) if secret == self.secret => http::json(StatusCode::OK, &json!({"active": false})),
            Some(_) => http::json(
                StatusCode::UNAUTHORIZED,
                &json!({"error": "access_denied", "error_description": "bearer token presented is invalid"}),
            ),
            None => http::json(
                StatusCode::BAD_REQUEST,
                &json!({"error": "invalid_request", "error_description": "No credentials were presented"}),
            ),
        }
    }

    fn discovery(&self) -> serde_json::Value {
        let url = |path: &str| format!("{}{path}", self.issuer);
        json!({
            "issuer": self.issuer,
            "authorization_endpoint": url("authorize"),
            "token_endpoint": url("oauth2/token"),
            "jwks_uri": url("oauth2/keys.json"),
            "registration_endpoint": url("oauth2/registration"),
            "introspection_endpoint": url("oauth2/introspect"),
            "revocation_endpoint": url("oauth2/revoke"),
            "userinfo_endpoint": url("oauth2/userinfo"),
            "scopes_supported": ["openid", "email"],
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
            "code_challenge_methods_supported": ["plain", "S256"],
            "account_management_uri": url("account/")
        })
    }
}

/// The example key of RFC 7517 §A.1: nothing is ever signed with it.
fn keys() -> serde_json::Value {
    json!({"keys": [{
        "kty": "EC",
        "crv": "P-256",
        "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
        "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
        "use": "sig",
        "alg": "ES256",
        "kid": "1"
    }]})
}

impl Serve for Mas {
    fn connection(self: Arc<Self>, stream: TcpStream) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send>> {
        Box::pin(async move { http::serve(stream, |asked| async { self.answer(&{ asked }) }).await })
    }
}
