//! SMTP submission as MAS's mailer begins it: banner, EHLO, STARTTLS, EHLO again; and QUIT, so that the server logs no lost connection.

mod reply;

use tokio::io::{AsyncRead, AsyncWrite};

use super::failure::Failure;
use super::run::Run;
use super::talk::{Heard, Talk, unfinished};
use super::tls::Check;
use crate::judge::Reason;
use crate::matrix::SmtpMode;

use reply::{Fault, Reader, Reply};

/// Whether a name can stand in `EHLO`: a domain or an address literal (RFC 5321 §4.1.1.1), at most 255 bytes.
pub(super) fn is_helo(name: &str) -> bool {
    let fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    (1..=255).contains(&name.len()) && name.bytes().all(fit)
}

/// `auth`: MAS has a name and a password for this server, so AUTH must be offered once the connection is as it will be.
pub(super) async fn exchange(run: &mut Run<'_>, mode: SmtpMode, auth: bool) -> Result<String, Failure> {
    let talk = run.connect().await?;
    let helo = match &run.prober.helo {
        Some(name) => name.clone(),
        None => literal(&talk)?,
    };
    let host = run.host();
    match mode {
        SmtpMode::Plain => Session::new(talk).greet_and_quit(&helo, auth, "without TLS").await,
        SmtpMode::Tls => {
            let talk = run.tls(talk, &host, Check::ChainAndName, None).await?;
            Session::new(talk).greet_and_quit(&helo, auth, "with TLS").await
        }
        SmtpMode::StartTls => {
            let talk = start_tls(Session::new(talk), &helo).await?;
            let talk = run.tls(talk, &host, Check::ChainAndName, None).await?;
            // What was said before TLS is forgotten (RFC 3207 §4.2), and no banner comes again.
            let mut session = Session::new(talk);
            let outcome = session.ehlo(&helo).await.and_then(|hello| verdict(&hello, auth, "with STARTTLS"));
            session.quit().await;
            outcome
        }
    }
}

/// The address literal of our own end, for `EHLO` (RFC 5321 §4.1.3).
fn literal(talk: &Talk<tokio::net::TcpStream>) -> Result<String, Failure> {
    let own = talk.stream().local_addr().map_err(|error| super::connect::ours(&error))?.ip();
    Ok(if own.is_ipv4() { format!("[{own}]") } else { format!("[IPv6:{own}]") })
}

/// Brings the conversation to the point where TLS begins.
async fn start_tls<S: AsyncRead + AsyncWrite + Unpin>(mut session: Session<S>, helo: &str) -> Result<Talk<S>, Failure> {
    match session.ask_for_tls(helo).await {
        Ok(()) => Ok(session.talk),
        Err(failure) => {
            session.quit().await;
            Err(failure)
        }
    }
}

/// A conversation in lines.
struct Session<S> {
    talk: Talk<S>,
    reader: Reader,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    fn new(talk: Talk<S>) -> Self {
        Self { talk, reader: Reader::default() }
    }

    async fn greet_and_quit(mut self, helo: &str, auth: bool, how: &str) -> Result<String, Failure> {
        let outcome = match self.banner().await {
            Ok(()) => self.ehlo(helo).await.and_then(|hello| verdict(&hello, auth, how)),
            Err(failure) => Err(failure),
        };
        self.quit().await;
        outcome
    }

    /// Waits for the banner before anything is sent (RFC 5321 §4.3.1).
    async fn banner(&mut self) -> Result<(), Failure> {
        let banner = self.reply("the SMTP banner").await?;
        expect(&banner, 220, "the connection")
    }

    async fn ehlo(&mut self, name: &str) -> Result<Reply, Failure> {
        let hello = self.command(&format!("EHLO {name}\r\n"), "the reply to EHLO").await?;
        expect(&hello, 250, "EHLO")?;
        Ok(hello)
    }

    async fn ask_for_tls(&mut self, helo: &str) -> Result<(), Failure> {
        self.banner().await?;
        if !self.ehlo(helo).await?.offers("STARTTLS") {
            return Err(Failure::new(
                Reason::TlsHandshake,
                "the mail server offers no STARTTLS, and email.mode asks for it",
            ));
        }
        let reply = self.command("STARTTLS\r\n", "the reply to STARTTLS").await?;
        if reply.code != 220 {
            let detail = format!("the mail server offers STARTTLS and then refuses it with code {}", reply.code);
            return Err(Failure::new(Reason::TlsHandshake, detail));
        }
        if !self.reader.is_empty() {
            // Somebody in between put them there to be taken for the server's own words after the handshake (CVE-2011-0411).
            return Err(Failure::new(Reason::ProtoMismatch, "bytes follow the reply to STARTTLS before TLS began"));
        }
        Ok(())
    }

    async fn command(&mut self, line: &str, awaited: &str) -> Result<Reply, Failure> {
        self.talk.send(line.as_bytes()).await?;
        self.reply(awaited).await
    }

    async fn reply(&mut self, awaited: &str) -> Result<Reply, Failure> {
        let mut buffer = vec![0; 2048];
        loop {
            if let Some(reply) = self.reader.next().map_err(fault)? {
                return Ok(reply);
            }
            match self.talk.read(&mut buffer).await? {
                Heard::Bytes(count) => self.reader.push(&buffer[..count]),
                heard => return Err(unfinished(heard == Heard::Closed, !self.reader.is_empty(), awaited)),
            }
        }
    }

    /// Leaves in order. How that goes says nothing more about the edge.
    async fn quit(mut self) {
        self.talk.hurry();
        let _ = self.command("QUIT\r\n", "the reply to QUIT").await;
        self.talk.close().await;
    }
}

/// What a reply other than the expected one means.
fn expect(reply: &Reply, code: u16, to: &str) -> Result<(), Failure> {
    match reply.code {
        got if got == code => Ok(()),
        // RFC 5321 §3.1: 554 in place of a banner, and 5yz policy codes of §4.2.4 and RFC 7504 (521), turn the client away.
        got @ (521 | 530 | 550 | 554) => {
            Err(Failure::new(Reason::ProtoAuth, format!("the mail server turns us away with code {got} to {to}")))
        }
        got @ 400..500 => {
            Err(Failure::new(Reason::ProtoMismatch, format!("the mail server does not serve now: code {got} to {to}")))
        }
        got => Err(Failure::new(Reason::ProtoMismatch, format!("the mail server answers {to} with code {got}"))),
    }
}

fn verdict(hello: &Reply, auth: bool, how: &str) -> Result<String, Failure> {
    match (hello.offers("AUTH"), auth) {
        (true, _) => Ok(format!("the mail server answers, {how}; it offers AUTH")),
        (false, false) => Ok(format!("the mail server answers, {how}; it offers no AUTH")),
        // lettre gives up then: "No compatible authentication mechanism was found".
        (false, true) => {
            let detail = format!("the mail server answers, {how}, but offers no AUTH, and MAS is to log in there");
            Err(Failure::new(Reason::ProtoAuth, detail))
        }
    }
}

fn fault(fault: Fault) -> Failure {
    let detail = match fault {
        Fault::NotSmtp => "the answer is not SMTP".to_owned(),
        Fault::LineTooLong => format!("an SMTP reply has a line of more than {} bytes", reply::MOST_LINE),
        Fault::TooManyLines => format!("an SMTP reply has more than {} lines", reply::MOST_LINES),
    };
    Failure::new(Reason::ProtoMismatch, detail)
}

#[cfg(fuzzing)]
pub(super) fn fuzz(bytes: &[u8]) {
    reply::fuzz(bytes);
}
