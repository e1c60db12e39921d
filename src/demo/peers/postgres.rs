//! PostgreSQL's start-up, as far as a client without a password gets (protocol 3.0; backend_startup.c, auth.c).

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::tls::{Ca, TlsError};
use crate::demo::net::Serve;

const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;
const CANCEL_REQUEST: u32 = 80_877_102;
/// 3.0. Minor versions above 0 are negotiated down by the real one; no client asks for them here.
const PROTOCOL: u32 = 196_608;
/// `MAX_STARTUP_PACKET_LENGTH`, in bytes.
const MAX_PACKET: usize = 10_000;

/// A stand-in for PostgreSQL.
pub(super) struct Postgres {
    tls: TlsAcceptor,
}

impl Postgres {
    pub(super) fn new(ca: &Ca) -> Result<Self, TlsError> {
        // CloudNativePG's certificate has these forms of each Service's name.
        let names = [
            "matrix-db-rw",
            "matrix-db-rw.postgres",
            "matrix-db-rw.postgres.svc",
            "matrix-db-rw.postgres.svc.cluster.local",
        ];
        Ok(Self { tls: ca.acceptor(&names)? })
    }

    async fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        loop {
            let Some(packet) = start_up_packet(&mut stream).await? else { return Ok(()) };
            match packet.code {
                SSL_REQUEST => {
                    stream.write_all(b"S").await?;
                    let mut stream = self.tls.accept(stream).await?;
                    let Some(packet) = start_up_packet(&mut stream).await? else { return Ok(()) };
                    return authenticate(&mut stream, &packet, &["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]).await;
                }
                // No Kerberos; the client goes on in the clear or asks for TLS.
                GSSENC_REQUEST => stream.write_all(b"N").await?,
                CANCEL_REQUEST => return Ok(()),
                _ => return authenticate(&mut stream, &packet, &["SCRAM-SHA-256"]).await,
            }
        }
    }
}

impl Serve for Postgres {
    fn connection(self: Arc<Self>, stream: TcpStream) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send>> {
        Box::pin(async move { self.converse(stream).await })
    }
}

/// A packet without a type byte.
struct Packet {
    code: u32,
    /// What follows the code: names and values, each ended by a zero byte.
    parameters: Vec<u8>,
}

/// The next start-up packet; nothing when the client leaves, or sends a length that the server does not accept.
async fn start_up_packet(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Packet>> {
    let length = match stream.read_u32().await {
        Ok(length) => usize::try_from(length).unwrap_or(usize::MAX),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    if !(8..=MAX_PACKET).contains(&length) {
        return Ok(None);
    }
    let code = stream.read_u32().await?;
    let mut parameters = vec![0; length - 8];
    stream.read_exact(&mut parameters).await?;
    Ok(Some(Packet { code, parameters }))
}

/// Offers SASL, and refuses whatever the client proves: nobody has a role here.
async fn authenticate<S>(stream: &mut S, packet: &Packet, mechanisms: &[&str]) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if packet.code != PROTOCOL {
        let text = "unsupported frontend protocol: server supports 3.0 to 3.0";
        return fail(stream, "0A000", text).await;
    }
    let Some(user) = parameter(&packet.parameters, "user") else {
        return fail(stream, "28000", "no PostgreSQL user name specified in startup packet").await;
    };
    // AuthenticationSASL: code 10, then the mechanisms, then an empty string.
    let mut body = 10_u32.to_be_bytes().to_vec();
    for mechanism in mechanisms {
        body.extend_from_slice(mechanism.as_bytes());
        body.push(0);
    }
    body.push(0);
    send(stream, b'R', &body).await?;
    let mut reply = [0];
    match stream.read(&mut reply).await? {
        0 => Ok(()),
        _ => fail(stream, "28P01", &format!("password authentication failed for user \"{user}\"")).await,
    }
}

fn parameter(parameters: &[u8], name: &str) -> Option<String> {
    let mut texts = parameters.split(|byte| *byte == 0);
    while let (Some(key), Some(value)) = (texts.next(), texts.next()) {
        if key == name.as_bytes() && !value.is_empty() {
            return Some(String::from_utf8_lossy(value).into_owned());
        }
    }
    None
}

/// An ErrorResponse, FATAL, after which the server closes.
async fn fail(stream: &mut (impl AsyncWrite + Unpin), sqlstate: &str, text: &str) -> io::Result<()> {
    let body = format!("SFATAL\0VFATAL\0C{sqlstate}\0M{text}\0\0");
    send(stream, b'E', body.as_bytes()).await?;
    stream.shutdown().await
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), kind: u8, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len() + 4).map_err(io::Error::other)?;
    stream.write_all(&[&[kind], length.to_be_bytes().as_slice(), body].concat()).await?;
    stream.flush().await
}
