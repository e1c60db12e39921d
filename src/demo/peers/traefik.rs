//! Traefik's `websecure` entry point: TLS by SNI, routes by Host, and a connection of its own to the backend for every request.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Response, StatusCode};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::http::{self, Answer, Ask, AskError, Asked};
use super::tls::{Ca, TlsError};
use crate::demo::net::Serve;
use crate::demo::world::{AUTH_HOST, AUTHELIA_HOST};

/// How long it waits for a backend. The real one dials for 30 s; the demo's clients should not have to.
const BACKEND_WAIT: Duration = Duration::from_millis(2500);

/// A stand-in for Traefik.
pub(super) struct Traefik {
    tls: TlsAcceptor,
    /// MAS, through Traefik's own gate.
    mas: SocketAddr,
    /// Authelia, through Traefik's own gate.
    authelia: SocketAddr,
}

impl Traefik {
    pub(super) fn new(ca: &Ca, mas: SocketAddr, authelia: SocketAddr) -> Result<Self, TlsError> {
        Ok(Self { tls: ca.acceptor_by_host(&[AUTH_HOST, AUTHELIA_HOST])?, mas, authelia })
    }

    async fn answer(&self, asked: &Asked) -> Answer {
        let host = asked.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let host = host.split(':').next().unwrap_or_default().to_ascii_lowercase();
        match host.as_str() {
            AUTH_HOST => relay(self.mas, &host, asked).await,
            AUTHELIA_HOST => relay(self.authelia, &host, asked).await,
            _ => http::plain(StatusCode::NOT_FOUND, "404 page not found\n"),
        }
    }
}

impl Serve for Traefik {
    fn connection(self: Arc<Self>, stream: TcpStream) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send>> {
        Box::pin(async move {
            let stream = self.tls.accept(stream).await?;
            http::serve(stream, |asked| async { self.answer(&{ asked }).await }).await
        })
    }
}

/// Traefik answers 504 when the backend was silent and 502 when it refused or broke off.
async fn relay(to: SocketAddr, host: &str, asked: &Asked) -> Answer {
    let text = |name| asked.headers().get(name).and_then(|value| value.to_str().ok());
    let passed = [("Content-Type", text(CONTENT_TYPE)), ("Authorization", text(AUTHORIZATION))];
    let forwarded =
        [("X-Forwarded-Proto", Some("https")), ("X-Forwarded-Host", Some(host)), ("X-Forwarded-Port", Some("443"))];
    let headers: Vec<_> =
        passed.into_iter().chain(forwarded).filter_map(|(name, value)| Some((name, value?))).collect();
    let path = asked.uri().path_and_query().map_or("/", |path| path.as_str());
    let ask = Ask { method: asked.method().as_str(), host, path, headers: &headers, body: asked.body() };
    match http::ask(to, &ask, BACKEND_WAIT).await {
        Ok(told) => {
            let mut answer = Response::new(Full::new(told.body));
            *answer.status_mut() = told.status;
            if let Some(content_type) = told.content_type {
                answer.headers_mut().insert(CONTENT_TYPE, content_type);
            }
            answer
        }
        Err(AskError::Timeout) => http::plain(StatusCode::GATEWAY_TIMEOUT, "Gateway Timeout"),
        Err(AskError::Failed) => http::plain(StatusCode::BAD_GATEWAY, "Bad Gateway"),
    }
}
