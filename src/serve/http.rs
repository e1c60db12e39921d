//! The listener: HTTP/1.1 with every wait bounded, and the rules on who may ask what.

use std::convert::Infallible;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::api::View;
use super::{Action, Actions, Reports, Shared, Surface, metrics};

/// Connections served at once; further ones wait in the kernel's queue.
const CONNECTIONS: usize = 64;
/// For a request's head, and for the wait for the next one on a kept connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(2);
/// Largest request head, in bytes: also the smallest buffer that hyper takes.
const HEAD_SIZE: usize = 8 * 1024;
/// Largest body of an action, in bytes.
const BODY_SIZE: usize = 4 * 1024;
/// A connection is closed after this, so that readers who never read cannot hold every place for ever.
const LIFETIME: Duration = Duration::from_mins(1);
/// What an answer may still take after the end was announced.
const GRACE: Duration = Duration::from_secs(3);

type Answer = Response<Full<Bytes>>;

struct Site {
    shared: Arc<Shared>,
    surface: Surface,
}

/// Serves until `shutdown` is done, then lets running answers end (3 s at most).
///
/// With [`Surface::Page`] the caller must have bound `listener` to loopback; requests for the page and the API that name another host are refused
/// all the same, because a web page elsewhere can point its own name at 127.0.0.1 (DNS rebinding).
pub async fn serve(listener: TcpListener, shared: Arc<Shared>, surface: Surface, shutdown: impl Future<Output = ()>) {
    let site = Arc::new(Site { shared, surface });
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    // Dropping the sender is the announcement of the end.
    let (running, ending) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            biased;
            () = &mut shutdown => break,
            next = next => next,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) => {
                let connection = connection(stream, Arc::clone(&site), ending.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                // Out of file descriptors, mostly: trying again at once would only burn the processor.
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop((listener, running));
    let _ = timeout(GRACE, async { while connections.join_next().await.is_some() {} }).await;
}

async fn connection(stream: TcpStream, site: Arc<Site>, mut ending: watch::Receiver<()>) {
    let service = service_fn(move |request| {
        let site = Arc::clone(&site);
        async move { Ok::<_, Infallible>(site.answer(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_SIZE)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => {
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended early");
            }
            return;
        }
        _ = ending.changed() => {}
        () = sleep(LIFETIME) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(GRACE, connection).await;
}

/// What stands at a path.
enum Place<'a> {
    Metrics,
    Health,
    Ready,
    File(&'static str, &'static str),
    Report(&'a dyn Reports),
    Board,
    Edge(&'a str),
    Actions,
}

fn place<'a>(surface: &'a Surface, path: &'a str) -> Option<Place<'a>> {
    Some(match (surface, path) {
        (_, "/metrics") => Place::Metrics,
        (_, "/healthz") => Place::Health,
        (_, "/readyz") => Place::Ready,
        (Surface::Agent(reports), "/v1/report") => Place::Report(reports.as_ref()),
        (Surface::Metrics | Surface::Agent(_), _) => return None,
        (Surface::Page(_), "/") => Place::File("text/html; charset=utf-8", include_str!("page/index.html")),
        (Surface::Page(_), "/style.css") => Place::File("text/css; charset=utf-8", include_str!("page/style.css")),
        (Surface::Page(_), "/app.js") => Place::File("text/javascript; charset=utf-8", include_str!("page/app.js")),
        (Surface::Page(_), "/drawing.js") => {
            Place::File("text/javascript; charset=utf-8", include_str!("page/drawing.js"))
        }
        (Surface::Page(_), "/icon.svg") => Place::File("image/svg+xml", include_str!("page/icon.svg")),
        (Surface::Page(_), "/api/v1/board") => Place::Board,
        (Surface::Page(_), "/api/v1/actions") => Place::Actions,
        (Surface::Page(_), path) => Place::Edge(path.strip_prefix("/api/v1/edges/").filter(|name| !name.is_empty())?),
    })
}

impl Place<'_> {
    /// Machines ask these by address or by a Service's name, on a port that is open to the network.
    fn for_any_host(&self) -> bool {
        matches!(self, Self::Metrics | Self::Health | Self::Ready | Self::Report(_))
    }

    fn methods(&self) -> &'static str {
        match self {
            Self::Actions => "POST",
            _ => "GET, HEAD",
        }
    }

    fn takes(&self, method: &Method) -> bool {
        match self {
            Self::Actions => method == Method::POST,
            // RFC 9110 §9.1: whoever serves GET serves HEAD; hyper leaves the body out.
            _ => method == Method::GET || method == Method::HEAD,
        }
    }
}

impl Site {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path().to_owned();
        let Some(place) = place(&self.surface, &path) else {
            return text(StatusCode::NOT_FOUND, "nothing here\n");
        };
        if !place.for_any_host() && !names_loopback(&request) {
            return text(
                StatusCode::FORBIDDEN,
                "this page answers to localhost only; reach it with kubectl port-forward\n",
            );
        }
        if !place.takes(request.method()) {
            let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "this method is not for this path\n");
            answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(place.methods()));
            return answer;
        }
        match place {
            Place::Metrics => {
                of(StatusCode::OK, metrics::CONTENT_TYPE, self.shared.metrics.render(&self.shared.board()))
            }
            Place::Health => text(StatusCode::OK, "ok\n"),
            Place::Ready if self.shared.is_ready() => text(StatusCode::OK, "ready\n"),
            Place::Ready => text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
            Place::File(kind, content) => of(StatusCode::OK, kind, content),
            Place::Report(reports) => of(StatusCode::OK, "application/json", reports.report()),
            Place::Board => {
                let controls = self.actions().map(|actions| actions.controls());
                json(StatusCode::OK, &View::new(&self.shared.board(), &self.shared, controls))
            }
            Place::Edge(name) => match self.shared.board().edges.iter().find(|edge| edge.name == name) {
                Some(edge) => json(StatusCode::OK, edge),
                None => refusal(StatusCode::NOT_FOUND, "no edge of this name"),
            },
            Place::Actions => self.act(request).await,
        }
    }

    fn actions(&self) -> Option<&Arc<dyn Actions>> {
        match &self.surface {
            Surface::Page(actions) => actions.as_ref(),
            Surface::Metrics | Surface::Agent(_) => None,
        }
    }

    async fn act(&self, request: Request<Incoming>) -> Answer {
        let Some(actions) = self.actions().cloned() else {
            return refusal(StatusCode::NOT_FOUND, "nothing can be changed here; actions are for the demo");
        };
        if let Err(why) = same_origin(&request) {
            return refusal(StatusCode::FORBIDDEN, why);
        }
        let body = match timeout(HEAD_TIMEOUT, Limited::new(request.into_body(), BODY_SIZE).collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(_)) => return refusal(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large or was cut off"),
            Err(_) => return refusal(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"),
        };
        let Ok(action) = serde_json::from_slice::<Action>(&body) else {
            return refusal(StatusCode::BAD_REQUEST, "the body is no action: send break, mend or repair");
        };
        match tokio::task::spawn_blocking(move || actions.act(action)).await {
            Ok(Ok(done)) => json(StatusCode::OK, &serde_json::json!({ "done": done })),
            Ok(Err(why)) => refusal(StatusCode::CONFLICT, &why),
            Err(_) => refusal(StatusCode::INTERNAL_SERVER_ERROR, "the action failed half-way"),
        }
    }
}

/// A form on a foreign page can post to loopback without asking, but it cannot set a header of its own, and it cannot hide its origin.
fn same_origin(request: &Request<Incoming>) -> Result<(), &'static str> {
    if request.headers().get("x-portreeve").is_none_or(|value| value != "1") {
        return Err("the header `x-portreeve: 1` is missing");
    }
    let Some(origin) = request.headers().get(header::ORIGIN) else { return Ok(()) };
    let host = request.headers().get(header::HOST).map_or(&b""[..], HeaderValue::as_bytes);
    match origin.as_bytes().strip_prefix(b"http://") {
        Some(origin) if origin == host => Ok(()),
        _ => Err("the request comes from another page"),
    }
}

/// Whether the `Host` header names this machine, as a browser does that was sent here by hand or by `kubectl port-forward`.
fn names_loopback(request: &Request<Incoming>) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    host.to_str().is_ok_and(is_loopback)
}

fn is_loopback(host: &str) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        return (port.is_empty() || port.starts_with(':'))
            && address.parse::<Ipv6Addr>().is_ok_and(|a| a.is_loopback());
    }
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    name.eq_ignore_ascii_case("localhost") || name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

fn text(status: StatusCode, body: &'static str) -> Answer {
    of(status, "text/plain; charset=utf-8", body)
}

fn refusal(status: StatusCode, why: &str) -> Answer {
    json(status, &serde_json::json!({ "error": why }))
}

fn json(status: StatusCode, value: &impl serde::Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(body) => of(status, "application/json", body),
        Err(error) => {
            tracing::error!(%error, "an answer could not be written");
            text(StatusCode::INTERNAL_SERVER_ERROR, "the answer could not be written\n")
        }
    }
}

fn of(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        // Everything shown is of this moment.
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}

#[cfg(test)]
mod tests {
    #[track_caller]
    fn check(host: &str, loopback: bool) {
        assert_eq!(super::is_loopback(host), loopback, "{host}");
    }

    #[test]
    fn only_names_of_this_machine_are_loopback() {
        for host in
            ["localhost", "LOCALHOST:9692", "127.0.0.1", "127.0.0.1:9692", "127.8.9.1:80", "[::1]", "[::1]:9692"]
        {
            check(host, true);
        }
        for host in [
            "",
            ":9692",
            "example.org",
            "localhost.example.org",
            "10.0.0.1:9692",
            "[::2]:80",
            "[::1]x",
            "[::1",
            "::1:80",
        ] {
            check(host, false);
        }
    }
}
