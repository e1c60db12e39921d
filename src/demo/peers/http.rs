//! HTTP/1.1 for the peers: serving through hyper, and one plain request for those that ask others.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The longest wait for a request's head, also between two requests.
const HEAD_WAIT: Duration = Duration::from_secs(10);
/// The largest body that a peer reads, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// A request with its body read.
pub(super) type Asked = Request<Bytes>;
/// An answer.
pub(super) type Answer = Response<Full<Bytes>>;

/// Serves one connection until it ends.
pub(super) async fn serve<S, F, A>(stream: S, answer: F) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(Asked) -> A,
    A: Future<Output = Answer>,
{
    let answer = &answer;
    let service = service_fn(move |request: Request<Incoming>| async move {
        let (head, body) = request.into_parts();
        Ok::<_, Infallible>(match Limited::new(body, MAX_BODY).collect().await {
            Ok(body) => answer(Request::from_parts(head, body.to_bytes())).await,
            Err(_) => plain(StatusCode::PAYLOAD_TOO_LARGE, "Payload Too Large"),
        })
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_WAIT).max_buf_size(MAX_BODY);
    server.serve_connection(TokioIo::new(stream), service).await.map_err(io::Error::other)
}

/// An answer in plain text.
pub(super) fn plain(status: StatusCode, text: &str) -> Answer {
    answer(status, "text/plain; charset=utf-8", Bytes::copy_from_slice(text.as_bytes()))
}

/// An answer in JSON.
pub(super) fn json(status: StatusCode, value: &serde_json::Value) -> Answer {
    answer(status, "application/json", Bytes::from(value.to_string()))
}

fn answer(status: StatusCode, content_type: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// The bearer token of a request, if it has one.
pub(super) fn bearer(asked: &Asked) -> Option<&str> {
    asked.headers().get(hyper::header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

/// One request to another peer.
pub(super) struct Ask<'a> {
    pub(super) method: &'a str,
    pub(super) host: &'a str,
    /// Path and query.
    pub(super) path: &'a str,
    /// Further headers; none may hold a line break.
    pub(super) headers: &'a [(&'a str, &'a str)],
    pub(super) body: &'a [u8],
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum AskError {
    /// Nothing came before the deadline.
    Timeout,
    /// Refused, reset, or no HTTP.
    Failed,
}

/// What came back.
pub(super) struct Told {
    pub(super) status: StatusCode,
    pub(super) content_type: Option<HeaderValue>,
    pub(super) body: Bytes,
}

/// Opens a new connection, sends the request, reads the whole answer.
pub(super) async fn ask(to: SocketAddr, ask: &Ask<'_>, deadline: Duration) -> Result<Told, AskError> {
    let conversation = async {
        let mut stream = TcpStream::connect(to).await?;
        stream.write_all(&request(ask)).await?;
        let mut answer = Vec::new();
        stream.take(MAX_BODY as u64).read_to_end(&mut answer).await?;
        Ok::<_, io::Error>(answer)
    };
    let answer = timeout(deadline, conversation).await.map_err(|_| AskError::Timeout)?;
    told(&answer.map_err(|_| AskError::Failed)?).ok_or(AskError::Failed)
}

fn request(ask: &Ask<'_>) -> Vec<u8> {
    let Ask { method, host, path, .. } = ask;
    let length = ask.body.len();
    let mut text =
        format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n");
    for (name, value) in ask.headers {
        text.extend([*name, ": ", *value, "\r\n"]);
    }
    text.push_str("\r\n");
    [text.as_bytes(), ask.body].concat()
}

/// Reads an answer that ends with its connection. The peers send no chunks: their bodies are [`Full`].
fn told(answer: &[u8]) -> Option<Told> {
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?;
    let content_type = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-type").then(|| HeaderValue::from_str(value.trim()).ok())?
    });
    let body = Bytes::copy_from_slice(&answer[end + 4..]);
    Some(Told { status: StatusCode::from_bytes(status.as_bytes()).ok()?, content_type, body })
}
