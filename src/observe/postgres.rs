//! PostgreSQL: the SSLRequest and its one-byte answer, and TLS where both ends want it.
//!
//! A deep probe goes one step further: the startup message (`startup.rs`). It may leave a line in the log of a server that refuses the user before it asks for a password, so it is made seldom.
//!
//! The probe is silent in the server's log. The packet is exactly 8 bytes; a client that leaves after `N`, or after the TLS handshake, is not complained about (`ProcessStartupPacket` in `src/backend/tcop/backend_startup.c`: "If we get no data at all, don't clutter the log"). One that leaves between `S` and the handshake is: "could not accept SSL connection: EOF detected". So `S` is always followed by a handshake.

mod startup;

use tokio::io::{AsyncRead, AsyncWrite};

use super::failure::Failure;
use super::run::Run;
use super::talk::{Heard, Talk, unfinished};
use super::tls::Check;
use crate::judge::Reason;
use crate::matrix::SslMode;

pub use startup::Login;

/// Length 8, code 80877103 (PostgreSQL protocol, SSLRequest).
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// What the server says to the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reply {
    Tls,
    NoTls,
}

pub(super) async fn exchange(run: &mut Run<'_>, ssl_mode: SslMode) -> Result<String, Failure> {
    let mut talk = run.connect().await?;
    talk.send(&SSL_REQUEST).await?;
    let mut buffer = [0; 64];
    let reply = match talk.read(&mut buffer).await? {
        Heard::Bytes(count) => read_reply(&buffer[..count])?,
        heard => return Err(unfinished(heard == Heard::Closed, false, "the answer to the SSLRequest")),
    };
    let host = run.host();
    match (reply, ssl_mode) {
        (Reply::NoTls, SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull) => {
            Err(Failure::new(Reason::TlsHandshake, "the server offers no TLS, and ssl_mode asks for it"))
        }
        (Reply::NoTls, SslMode::Disable | SslMode::Allow | SslMode::Prefer) => {
            finish(run, talk, "PostgreSQL answers, without TLS").await
        }
        (Reply::Tls, SslMode::Disable | SslMode::Allow) => {
            // MAS would not begin TLS, so how it goes changes nothing for it; this is for a quiet log.
            if let Ok(talk) = run.tls(talk, &host, Check::Nothing, None).await {
                talk.close().await;
            }
            Ok("PostgreSQL answers, and offers TLS".to_owned())
        }
        (Reply::Tls, _) => {
            let talk = run.tls(talk, &host, check_of(ssl_mode), None).await?;
            finish(run, talk, "PostgreSQL answers, with TLS").await
        }
    }
}

/// The startup message, where a deep probe is wanted, and the end.
async fn finish<S>(run: &Run<'_>, mut talk: Talk<S>, so_far: &str) -> Result<String, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if !run.target.deep {
        talk.close().await;
        return Ok(so_far.to_owned());
    }
    let login = run.target.login.as_ref();
    talk.send(&startup::message(login)?).await?;
    let mut heard = Vec::new();
    let mut buffer = [0; 2048];
    let word = loop {
        if let Some(word) = startup::read(&heard)? {
            break word;
        }
        match talk.read(&mut buffer).await? {
            Heard::Bytes(count) => heard.extend_from_slice(&buffer[..count]),
            end => {
                return Err(unfinished(end == Heard::Closed, !heard.is_empty(), "the answer to the startup message"));
            }
        }
    };
    if word == startup::Word::Welcome {
        // A session has begun: it is ended in order, and waited for, or it might outlive the probe.
        talk.hurry();
        talk.send(&startup::TERMINATE).await?;
        while matches!(talk.read(&mut buffer).await, Ok(Heard::Bytes(_))) {}
    }
    talk.close().await;
    Ok(format!("{so_far}; {}", startup::meaning(word, login.is_some())?))
}

/// libpq's table (PostgreSQL, "SSL Support", Protection Provided in Different Modes).
fn check_of(ssl_mode: SslMode) -> Check {
    match ssl_mode {
        SslMode::Disable | SslMode::Allow | SslMode::Prefer | SslMode::Require => Check::Nothing,
        SslMode::VerifyCa => Check::Chain,
        SslMode::VerifyFull => Check::ChainAndName,
    }
}

/// Anything after the one byte was put there before the encryption began, by somebody in between (CVE-2021-23222).
fn read_reply(bytes: &[u8]) -> Result<Reply, Failure> {
    match bytes {
        [b'S'] => Ok(Reply::Tls),
        [b'N'] => Ok(Reply::NoTls),
        [b'S' | b'N', ..] => {
            Err(Failure::new(Reason::ProtoMismatch, "bytes follow the answer to the SSLRequest before TLS began"))
        }
        [b'E', ..] => Err(Failure::new(
            Reason::ProtoMismatch,
            "the server answers the SSLRequest with an error: no PostgreSQL, or one that cannot take connections",
        )),
        _ => Err(Failure::new(Reason::ProtoMismatch, "the answer to the SSLRequest is not PostgreSQL's")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies() {
        assert_eq!(read_reply(b"S"), Ok(Reply::Tls));
        assert_eq!(read_reply(b"N"), Ok(Reply::NoTls));
        for bytes in [&b"E\0\0"[..], b"SX", b"NN", b"HTTP/1.1 400", b"\0", b""] {
            assert_eq!(read_reply(bytes).map_err(|failure| failure.reason), Err(Reason::ProtoMismatch), "{bytes:?}");
        }
    }
}
