//! PostgreSQL: the SSLRequest and its one-byte answer, and TLS where both ends want it; or TLS from the first byte.
//!
//! A deep probe goes one step further: the startup message (`startup.rs`). It may leave a line in the log of a server that refuses the user before it asks for a password, so it is made seldom.
//!
//! The probe is silent in the server's log. The packet is exactly 8 bytes; a client that leaves after `N`, or after the TLS handshake, is not complained about (`ProcessStartupPacket` in `src/backend/tcop/backend_startup.c`: "If we get no data at all, don't clutter the log"). One that leaves between `S` and the handshake is: "could not accept SSL connection: EOF detected". So `S` is always followed by a handshake, and the handshake is finished whatever the certificate.

mod startup;

use tokio::io::{AsyncRead, AsyncWrite};

use super::failure::Failure;
use super::run::Run;
use super::talk::{Heard, Talk, unfinished};
use super::tls::Check;
use crate::judge::Reason;
use crate::matrix::{Login, SslMode, SslNegotiation};

/// Length 8, code 80877103 (PostgreSQL protocol, SSLRequest).
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// The protocol's name in ALPN, registered with IANA.
const ALPN: &[u8] = b"postgresql";

/// What the server says to the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reply {
    Tls,
    NoTls,
}

pub(super) async fn exchange(
    run: &mut Run<'_>,
    ssl_mode: SslMode,
    negotiation: SslNegotiation,
    login: Option<&Login>,
) -> Result<String, Failure> {
    match (negotiation, ssl_mode) {
        (SslNegotiation::Direct, _) => direct(run, ssl_mode, login).await,
        // sqlx has no fallback for `allow`: it is `disable` (`sqlx-postgres/src/connection/tls.rs`).
        (SslNegotiation::Postgres, SslMode::Disable | SslMode::Allow) if run.target.deep => {
            let talk = run.connect().await?;
            finish(run, talk, login, "PostgreSQL answers in clear, as ssl_mode has it").await
        }
        (SslNegotiation::Postgres, _) => asked(run, ssl_mode, login).await,
    }
}

/// TLS from the first byte. The server, too, must say the protocol's name, or the encrypted bytes might be taken for another protocol's (libpq, `pqsecure_open_client`; PostgreSQL, "SSL Session Encryption").
async fn direct(run: &mut Run<'_>, ssl_mode: SslMode, login: Option<&Login>) -> Result<String, Failure> {
    let talk = run.connect().await?;
    let host = run.host();
    let talk = run.tls(talk, &host, check_of(ssl_mode), Some(ALPN)).await.map_err(|mut failure| {
        if failure.reason == Reason::ClosedEarly {
            failure.detail += ": PostgreSQL before 17 does so, it knows no sslnegotiation=direct";
        }
        failure
    })?;
    if !talk.speaks(ALPN) {
        talk.close().await;
        let detail = "TLS began, but the server did not agree to speak `postgresql` (ALPN): this is no PostgreSQL 17";
        return Err(Failure::new(Reason::ProtoMismatch, detail));
    }
    finish(run, talk, login, "PostgreSQL answers, with TLS from the first byte").await
}

/// The SSLRequest, and what follows from its answer.
async fn asked(run: &mut Run<'_>, ssl_mode: SslMode, login: Option<&Login>) -> Result<String, Failure> {
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
            finish(run, talk, login, "PostgreSQL answers, without TLS").await
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
            finish(run, talk, login, "PostgreSQL answers, with TLS").await
        }
    }
}

/// The startup message, where a deep probe is wanted, and the end.
async fn finish<S>(run: &Run<'_>, mut talk: Talk<S>, login: Option<&Login>, so_far: &str) -> Result<String, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if !run.target.deep {
        talk.close().await;
        return Ok(so_far.to_owned());
    }
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
        // A session has begun, and is ended in order. A client that leaves while it is asked for a password is not complained about; one that says `X` then is.
        talk.hurry();
        talk.send(&startup::TERMINATE).await?;
    }
    talk.leave().await;
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

/// Any bytes as the answer to the SSLRequest and to the startup message.
#[cfg(fuzzing)]
pub(super) fn fuzz(bytes: &[u8]) {
    let _ = read_reply(bytes);
    startup::fuzz(bytes);
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
