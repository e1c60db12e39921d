//! Synapse with delegated authentication: its client API, and the endpoints that it has for MAS.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;

use super::http::{self, Answer, Ask, AskError, Asked};
use crate::demo::net::Serve;

/// How long it waits for MAS. The real one waits longer; the demo's clients should not have to.
const MAS_WAIT: Duration = Duration::from_millis(2500);
const MAS: &str = "mas.matrix.svc.cluster.local:8080";
/// What Synapse and MAS share in the demo. It opens nothing.
pub(super) const SHARED: &str = "portreeve-demo";

/// A stand-in for Synapse.
pub(super) struct Synapse {
    /// MAS, through Synapse's own gate.
    mas: SocketAddr,
    /// What MAS said of itself, asked once: Synapse keeps it, too.
    metadata: OnceCell<serde_json::Value>,
}

impl Synapse {
    pub(super) fn new(mas: SocketAddr) -> Self {
        Self { mas, metadata: OnceCell::new() }
    }

    async fn answer(&self, asked: &Asked) -> Answer {
        match (asked.method(), asked.uri().path()) {
            (&Method::GET, "/_matrix/client/versions") => http::json(StatusCode::OK, &versions()),
            (&Method::GET, "/health") => http::plain(StatusCode::OK, "OK"),
            (&Method::GET, "/_matrix/client/v3/account/whoami") => self.whoami(asked).await,
            (&Method::GET, "/_matrix/client/v1/auth_metadata") => self.auth_metadata().await,
            (&Method::GET, "/_synapse/mas/is_localpart_available") => localpart(asked),
            _ => matrix_error(StatusCode::NOT_FOUND, "M_UNRECOGNIZED", "Unrecognized request"),
        }
    }

    /// 401 when MAS said that the token is not active, 503 when MAS could not be asked (synapse/api/auth/mas.py).
    async fn whoami(&self, asked: &Asked) -> Answer {
        let Some(token) = http::bearer(asked) else {
            return missing_token();
        };
        match self.introspect(token).await {
            Ok(true) => matrix_error(StatusCode::UNAUTHORIZED, "M_UNKNOWN_TOKEN", "Token is not active"),
            Ok(false) | Err(_) => {
                matrix_error(StatusCode::SERVICE_UNAVAILABLE, "M_UNKNOWN", "Unable to introspect the access token")
            }
        }
    }

    /// MAS's discovery document, which only a Synapse with delegated authentication has (MSC2965); 500 where MAS never gave one.
    async fn auth_metadata(&self) -> Answer {
        match self.metadata.get_or_try_init(|| self.discover()).await {
            Ok(metadata) => http::json(StatusCode::OK, metadata),
            Err(_) => matrix_error(StatusCode::INTERNAL_SERVER_ERROR, "M_UNKNOWN", "Internal server error"),
        }
    }

    async fn discover(&self) -> Result<serde_json::Value, AskError> {
        let path = "/.well-known/openid-configuration";
        let ask = Ask { method: "GET", host: MAS, path, headers: &[("Accept", "application/json")], body: b"" };
        let told = http::ask(self.mas, &ask, MAS_WAIT).await?;
        serde_json::from_slice(&told.body).map_err(|_| AskError::Failed)
    }

    /// Whether MAS said "not active"; it never says anything else about a token of the demo.
    async fn introspect(&self, token: &str) -> Result<bool, AskError> {
        let body = format!("token={}&token_type_hint=access_token", escape(token));
        let authorization = format!("Bearer {SHARED}");
        let headers = [
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("Accept", "application/json"),
            ("X-MAS-Supports-Device-Id", "1"),
            ("Authorization", authorization.as_str()),
        ];
        let ask =
            Ask { method: "POST", host: MAS, path: "/oauth2/introspect", headers: &headers, body: body.as_bytes() };
        let told = http::ask(self.mas, &ask, MAS_WAIT).await?;
        let answer: serde_json::Value = serde_json::from_slice(&told.body).unwrap_or_default();
        Ok(told.status == StatusCode::OK && answer.get("active") == Some(&serde_json::Value::Bool(false)))
    }
}

impl Serve for Synapse {
    fn connection(self: Arc<Self>, stream: TcpStream) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send>> {
        Box::pin(async move { http::serve(stream, |asked| async { self.answer(&{ asked }).await }).await })
    }
}

/// 403 with a wrong secret, 400 with the right one and without a parameter: how `mas-cli doctor` tells the two.
fn localpart(asked: &Asked) -> Answer {
    let Some(bearer) = http::bearer(asked) else { return missing_token() };
    if bearer != SHARED {
        return matrix_error(StatusCode::FORBIDDEN, "M_UNKNOWN", "This endpoint must only be called by MAS");
    }
    match asked.uri().query() {
        Some(query) if query.starts_with("localpart=") => http::json(StatusCode::OK, &json!({})),
        _ => matrix_error(StatusCode::BAD_REQUEST, "M_UNKNOWN", "Missing localpart"),
    }
}

fn versions() -> serde_json::Value {
    json!({
        "versions": ["v1.1", "v1.2", "v1.3", "v1.4", "v1.5", "v1.6", "v1.7", "v1.8", "v1.9", "v1.10", "v1.11", "v1.12"],
        "unstable_features": {"org.matrix.simplified_msc3575": true}
    })
}

fn missing_token() -> Answer {
    matrix_error(StatusCode::UNAUTHORIZED, "M_MISSING_TOKEN", "Missing access token")
}

fn matrix_error(status: StatusCode, code: &str, text: &str) -> Answer {
    http::json(status, &json!({"errcode": code, "error": text}))
}

/// `application/x-www-form-urlencoded`, by bytes.
fn escape(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let write = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(write).collect()
}
