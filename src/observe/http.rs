//! HTTP/1.1: one GET, one answer.

mod decode;

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::connect;
use super::failure::{Failure, quoted};
use super::run::Run;
use super::talk::{Heard, Talk, unfinished};
use super::tls::{Check, Heeded};
use crate::judge::Reason;

use decode::{Decoder, Fault};

/// Where OpenID Connect Discovery 1.0 §4 has the document.
pub(super) const WELL_KNOWN: &str = "/.well-known/openid-configuration";

/// One request. `Connection: close`, no body, no retry.
#[derive(Debug, Clone)]
pub(super) struct Get<'a> {
    pub(super) tls: bool,
    /// For SNI, the certificate and, with `port`, the `Host` header.
    pub(super) host: &'a str,
    /// Only where it is not the scheme's own.
    pub(super) port: Option<u16>,
    pub(super) path: &'a str,
    pub(super) bearer: Option<&'a str>,
    /// Statuses whose body is wanted; after any other the connection ends with the head.
    pub(super) body_for: &'static [u16],
}

/// An answer; the body is empty unless it was wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

/// Any status below 500 proves that something serves HTTP there.
pub(super) async fn exchange(run: &mut Run<'_>, tls: bool, host: &str) -> Result<String, Failure> {
    let get = Get { tls, host, port: None, path: "/", bearer: None, body_for: &[] };
    let answer = fetch(run, &get).await?;
    if answer.status >= 500 {
        return Err(status(&get, answer.status));
    }
    Ok(format!("HTTP status {}", answer.status))
}

/// Connects, asks, and reads the answer.
pub(super) async fn fetch(run: &mut Run<'_>, get: &Get<'_>) -> Result<Answer, Failure> {
    let request = request(get)?;
    let mut talk = run.connect().await?;
    if get.tls {
        let mut talk = run.tls(talk, get.host, Check::ChainAndName, Some(b"http/1.1")).await?;
        let answer = ask(&mut talk, &request, get.body_for).await;
        talk.close().await;
        answer
    } else {
        ask(&mut talk, &request, get.body_for).await
    }
}

/// Like [`fetch`], from another address than the target's.
pub(super) async fn fetch_from(run: &Run<'_>, address: SocketAddr, get: &Get<'_>) -> Result<Answer, Failure> {
    let request = request(get)?;
    let mut talk = dial(run, address).await?;
    if get.tls {
        let mut talk = secured(run, talk, get).await?;
        let answer = ask(&mut talk, &request, get.body_for).await;
        talk.close().await;
        answer
    } else {
        ask(&mut talk, &request, get.body_for).await
    }
}

/// Connects there, shakes hands if TLS is meant, and leaves.
pub(super) async fn greet(run: &Run<'_>, address: SocketAddr, get: &Get<'_>) -> Result<(), Failure> {
    let talk = dial(run, address).await?;
    if get.tls {
        secured(run, talk, get).await?.close().await;
    } else {
        talk.close().await;
    }
    Ok(())
}

async fn dial(run: &Run<'_>, address: SocketAddr) -> Result<Talk<TcpStream>, Failure> {
    let source = run.target.source.filter(|source| source.is_ipv4() == address.is_ipv4());
    let stream = connect::tcp(address, source, run.deadline).await?;
    Ok(Talk::new(stream, run.deadline))
}

async fn secured(
    run: &Run<'_>,
    talk: Talk<TcpStream>,
    get: &Get<'_>,
) -> Result<Talk<TlsStream<Heeded<TcpStream>>>, Failure> {
    let trust = &run.prober.trust;
    let (outcome, _) =
        trust.handshake(talk.into_stream(), get.host, Check::ChainAndName, Some(b"http/1.1"), run.deadline).await;
    Ok(Talk::new(outcome?, run.deadline))
}

/// The failure of a status that the exchange does not accept.
pub(super) fn status(get: &Get<'_>, status: u16) -> Failure {
    Failure::new(Reason::HttpStatus, format!("GET {} gave HTTP status {status}", get.path))
}

async fn ask<S>(talk: &mut Talk<S>, request: &str, body_for: &'static [u16]) -> Result<Answer, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    talk.send(request.as_bytes()).await?;
    let mut decoder = Decoder::new(body_for);
    let mut buffer = vec![0; 8192];
    loop {
        if let Some((status, body)) = decoder.take() {
            return Ok(Answer { status, body });
        }
        match talk.read(&mut buffer).await? {
            Heard::Bytes(count) => decoder.push(&buffer[..count]).map_err(fault)?,
            Heard::Closed => {
                if !decoder.close() {
                    return Err(waiting(&decoder, true));
                }
            }
            Heard::Silence => return Err(waiting(&decoder, false)),
        }
    }
}

/// The request's text. Host and path come from configuration: what could end a line is never sent.
fn request(get: &Get<'_>) -> Result<String, Failure> {
    let fit = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !fit(get.host) || !fit(get.path) {
        let detail = format!("{} and {} cannot be sent in an HTTP request", quoted(get.host), quoted(get.path));
        return Err(Failure::new(Reason::ProberError, detail));
    }
    // RFC 3986 §3.2.2: an IPv6 address stands in brackets.
    let host = if get.host.contains(':') && !get.host.starts_with('[') {
        format!("[{}]", get.host)
    } else {
        get.host.to_owned()
    };
    let port = get.port.map_or_else(String::new, |port| format!(":{port}"));
    let bearer = get.bearer.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    Ok(format!(
        "GET {} HTTP/1.1\r\nHost: {host}{port}\r\nUser-Agent: portreeve/{}\r\nAccept: application/json\r\n{bearer}Connection: close\r\n\r\n",
        get.path,
        env!("CARGO_PKG_VERSION")
    ))
}

fn waiting(decoder: &Decoder, closed: bool) -> Failure {
    match decoder.status() {
        None => unfinished(closed, decoder.begun(), "the HTTP answer"),
        Some(_) if closed => unfinished(true, true, "the HTTP body"),
        Some(_) => Failure::new(Reason::HttpBody, "the HTTP body was not whole before the deadline"),
    }
}

fn fault(fault: Fault) -> Failure {
    match fault {
        Fault::NotHttp => Failure::new(Reason::ProtoMismatch, "the answer is not HTTP/1"),
        Fault::HeadTooLong => {
            Failure::new(Reason::ProtoMismatch, format!("the HTTP head is longer than {} bytes", decode::MOST_HEAD))
        }
        Fault::BodyTooLong => {
            Failure::new(Reason::HttpBody, format!("the HTTP body is longer than {} bytes", decode::MOST_BODY))
        }
        Fault::BadFraming(what) => Failure::new(Reason::ProtoMismatch, format!("the HTTP answer has {what}")),
    }
}

/// The JSON object of a body, or what stands there instead.
pub(super) fn json_object(body: &[u8]) -> Result<serde_json::Map<String, serde_json::Value>, Failure> {
    let what = match serde_json::from_slice(body) {
        Ok(serde_json::Value::Object(object)) => return Ok(object),
        Ok(_) => "JSON that is no object",
        Err(_) if body.trim_ascii_start().starts_with(b"<") => {
            "a page instead of JSON: a login page, a proxy's error or another application answers there"
        }
        Err(_) if body.trim_ascii().is_empty() => "empty",
        Err(_) => "not JSON",
    };
    Err(Failure::new(Reason::HttpBody, format!("the HTTP body is {what}")))
}

#[cfg(fuzzing)]
pub(super) fn fuzz(bytes: &[u8]) {
    decode::fuzz(bytes);
}
