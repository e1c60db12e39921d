//! A submission server (RFC 6409): banner, EHLO, STARTTLS (RFC 3207). It takes no mail.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::tls::{Ca, TlsError};
use crate::demo::net::Serve;

/// The longest command line, with its end (RFC 5321 §4.5.3.1.4).
const MAX_LINE: u64 = 512;
/// Commands in one connection.
const MAX_COMMANDS: usize = 20;
const HOST: &str = "smtp.mail.svc.cluster.local";

/// A stand-in for the mail relay.
pub(super) struct Smtp {
    tls: TlsAcceptor,
}

/// How a session ended.
enum End {
    /// The client wants TLS now.
    StartTls,
    /// It is over.
    Closed,
}

/// Whether a session is encrypted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Channel {
    Plain,
    Tls,
}

impl Smtp {
    pub(super) fn new(ca: &Ca) -> Result<Self, TlsError> {
        Ok(Self { tls: ca.acceptor(&[HOST, "smtp.mail.svc", "smtp.mail", "smtp"])? })
    }

    async fn converse(&self, stream: TcpStream) -> io::Result<()> {
        let mut plain = BufReader::new(stream);
        say(&mut plain, &format!("220 {HOST} ESMTP portreeve demo\r\n")).await?;
        let End::StartTls = session(&mut plain, Channel::Plain).await? else { return Ok(()) };
        // What was sent before the handshake was sent by anybody (CVE-2011-0411).
        if !plain.buffer().is_empty() {
            return say(&mut plain, "554 5.5.1 Data before the TLS handshake\r\n").await;
        }
        let mut encrypted = BufReader::new(self.tls.accept(plain.into_inner()).await?);
        session(&mut encrypted, Channel::Tls).await?;
        encrypted.shutdown().await
    }
}

impl Serve for Smtp {
    fn connection(self: Arc<Self>, stream: TcpStream) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send>> {
        Box::pin(async move { self.converse(stream).await })
    }
}

async fn session<S>(stream: &mut BufReader<S>, channel: Channel) -> io::Result<End>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    for _ in 0..MAX_COMMANDS {
        let Some(line) = command(stream).await? else { return Ok(End::Closed) };
        let verb = line.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        let reply = match (verb.as_str(), channel) {
            ("EHLO", Channel::Plain) => format!("250-{HOST}\r\n250-SIZE 10240000\r\n250-8BITMIME\r\n250 STARTTLS\r\n"),
            ("EHLO", Channel::Tls) => {
                format!("250-{HOST}\r\n250-SIZE 10240000\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN\r\n")
            }
            ("HELO", _) => format!("250 {HOST}\r\n"),
            ("STARTTLS", Channel::Plain) => "220 2.0.0 Ready to start TLS\r\n".to_owned(),
            ("NOOP" | "RSET", _) => "250 2.0.0 Ok\r\n".to_owned(),
            ("QUIT", _) => "221 2.0.0 Bye\r\n".to_owned(),
            ("AUTH", Channel::Tls) => "535 5.7.8 Authentication failed\r\n".to_owned(),
            ("AUTH" | "MAIL", Channel::Plain) => "530 5.7.0 Must issue a STARTTLS command first\r\n".to_owned(),
            ("MAIL", Channel::Tls) => "530 5.7.0 Authentication required\r\n".to_owned(),
            ("RCPT" | "DATA" | "STARTTLS", _) => "503 5.5.1 Bad sequence of commands\r\n".to_owned(),
            _ => "500 5.5.2 Command not recognized\r\n".to_owned(),
        };
        say(stream, &reply).await?;
        match (verb.as_str(), channel) {
            ("STARTTLS", Channel::Plain) => return Ok(End::StartTls),
            ("QUIT", _) => return Ok(End::Closed),
            _ => {}
        }
    }
    say(stream, "421 4.7.0 Too many commands\r\n").await?;
    Ok(End::Closed)
}

/// The next line; nothing when the client left or sent no line.
async fn command(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    stream.take(MAX_LINE).read_until(b'\n', &mut line).await?;
    Ok(line.ends_with(b"\n").then(|| String::from_utf8_lossy(&line).into_owned()))
}

async fn say(stream: &mut (impl AsyncWrite + Unpin), text: &str) -> io::Result<()> {
    stream.write_all(text.as_bytes()).await?;
    stream.flush().await
}
