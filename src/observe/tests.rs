//! Peers that close, hang, drip, lie: every attempt ends by its deadline, with the right reason. All on loopback.

mod names;
mod secure;
mod web;

use std::future::Future;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};

use super::{Prober, Target};
use crate::judge::{Attempt, Reason};
use crate::matrix::{Exchange, Login, SmtpMode, SslMode, SslNegotiation};

/// Long enough for a busy machine to answer, short enough for a test that waits for it.
const DEADLINE: Duration = Duration::from_millis(700);

/// For peers that never speak, where nothing but the deadline is waited for.
const SHORT: Duration = Duration::from_millis(250);

/// What a fake peer does with its one connection. At the end it closes in order.
#[derive(Debug, Clone)]
enum Step {
    Say(Vec<u8>),
    /// Waits for something to be sent.
    Hear,
    /// One byte at a time.
    Drip(Vec<u8>),
    Hang,
    Reset,
}
use Step::{Drip, Hang, Hear, Reset, Say};

fn say(text: &str) -> Step {
    Say(text.as_bytes().to_vec())
}

async fn act(mut stream: TcpStream, steps: Vec<Step>) {
    for step in steps {
        let done = match step {
            Say(bytes) => stream.write_all(&bytes).await.map(drop),
            Hear => stream.read(&mut [0; 4096]).await.map(drop),
            Drip(bytes) => drip(&mut stream, &bytes).await,
            Hang => return std::future::pending().await,
            Reset => return stream.set_zero_linger().unwrap(),
        };
        if done.is_err() {
            return;
        }
    }
    let _ = stream.shutdown().await;
    // Unread bytes would turn the close into a reset.
    while matches!(stream.read(&mut [0; 4096]).await, Ok(1..)) {}
}

async fn drip(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    for byte in bytes {
        stream.write_all(&[*byte]).await?;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// One attempt against one fake peer.
fn attempt(exchange: Exchange, steps: &[Step]) -> Attempt {
    let deadline = if matches!(steps, [Hang]) { SHORT } else { DEADLINE };
    block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let steps = steps.to_vec();
        tokio::spawn(async move { act(listener.accept().await.unwrap().0, steps).await });
        let began = Instant::now();
        let attempt = Prober::new(&[]).unwrap().probe(&Target::new("a-to-b", address, exchange), deadline).await;
        assert!(began.elapsed() < deadline + Duration::from_secs(2), "ended {:?} after its start", began.elapsed());
        attempt
    })
}

#[track_caller]
fn check(exchange: Exchange, steps: &[Step], reason: Reason, part: &str) {
    let shown = format!("{exchange:?} {steps:?}");
    let got = attempt(exchange, steps);
    assert_eq!(got.reason, reason, "{shown}: {}", got.detail);
    assert!(got.detail.contains(part), "{shown}: {}", got.detail);
    assert!(got.phases.connect.is_some() && got.offender.is_none(), "{shown}: {got:?}");
}

fn synapse() -> Exchange {
    Exchange::Synapse { endpoint: "http://synapse:8008/".to_owned() }
}

fn oidc() -> Exchange {
    Exchange::Oidc { issuer: "http://auth.example/".to_owned() }
}

fn http() -> Exchange {
    Exchange::Http { tls: false, host: "mas.example".to_owned() }
}

fn postgres(ssl_mode: SslMode) -> Exchange {
    Exchange::postgres(ssl_mode)
}

fn smtp(mode: SmtpMode) -> Exchange {
    Exchange::smtp(mode)
}

fn mas() -> Exchange {
    Exchange::MasDiscovery { issuer: None }
}

/// Without TLS, which the tests of certificates have.
fn public() -> Exchange {
    Exchange::MasPublic { url: "http://auth.example/".to_owned(), issuer: "http://auth.example/".to_owned() }
}

/// Every exchange over TCP that waits for bytes.
fn conversations() -> Vec<Exchange> {
    vec![
        Exchange::DnsTcp,
        postgres(SslMode::Prefer),
        smtp(SmtpMode::Plain),
        smtp(SmtpMode::StartTls),
        smtp(SmtpMode::Tls),
        synapse(),
        oidc(),
        http(),
        Exchange::Http { tls: true, host: "mas.example".to_owned() },
        mas(),
        public(),
        Exchange::MasHealth,
        Exchange::Whoami,
    ]
}

#[test]
fn silence_after_accept() {
    for exchange in conversations() {
        let part = if exchange == Exchange::Whoami { "itself waits for MAS" } else { "before the deadline" };
        check(exchange, &[Hang], Reason::FirstByteTimeout, part);
    }
    check(Exchange::Tcp, &[Hang], Reason::Ok, "accepted");
}

#[test]
fn closed_or_reset_after_accept() {
    for exchange in conversations() {
        check(exchange.clone(), &[Reset], Reason::ClosedEarly, "closed");
        check(exchange, &[], Reason::ClosedEarly, "closed");
    }
}

#[test]
fn another_protocol() {
    let ssh = "SSH-2.0-OpenSSH_9.2\r\n";
    for exchange in conversations() {
        // A TLS client takes the first bytes for a record; DNS takes them for a length and waits for the rest.
        let part = if exchange == Exchange::DnsTcp { "DNS answer" } else { "" };
        check(exchange, &[say(ssh), Hang], Reason::ProtoMismatch, part);
    }
}

#[test]
fn a_closed_port() {
    block_on(async {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        for exchange in conversations() {
            let got = Prober::new(&[]).unwrap().probe(&Target::new("a-to-b", closed, exchange), DEADLINE).await;
            assert_eq!((got.reason, got.offender), (Reason::ConnectRefusedRst, None), "{}", got.detail);
            assert_eq!((got.phases.tls, got.phases.exchange), (None, None));
        }
        let got = Prober::new(&[]).unwrap().probe(&Target::new("a-to-b", closed, Exchange::DnsUdp), DEADLINE).await;
        assert_eq!((got.reason, got.offender), (Reason::IcmpPortUnreachable, Some(closed.ip())), "{}", got.detail);
    });
}

/// A listener whose queue is full drops connection requests, as a policy would.
#[test]
fn a_full_accept_queue() {
    block_on(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        let _listener = socket.listen(1).unwrap();
        let mut waiting = Vec::new();
        for _ in 0..2 {
            waiting.push(TcpStream::connect(address).await.unwrap());
        }
        let got = Prober::new(&[]).unwrap().probe(&Target::new("a-to-b", address, Exchange::Tcp), DEADLINE).await;
        assert_eq!(got.reason, Reason::ConnectTimeout, "{}", got.detail);
        assert!(got.phases.connect.unwrap() >= DEADLINE);
    });
}

#[test]
fn the_local_kernel_says_no() {
    block_on(async {
        // UDP to the broadcast address needs SO_BROADCAST: EACCES before anything is sent.
        let target = Target::new("a-to-b", SocketAddr::from(([255, 255, 255, 255], 53)), Exchange::DnsUdp);
        let got = Prober::new(&[]).unwrap().probe(&target, DEADLINE).await;
        assert_eq!(got.reason, Reason::LocalDenied, "{}", got.detail);
    });
}

#[test]
fn the_source_address_is_used() {
    block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let target = Target::new("a-to-b", address, Exchange::Tcp).from_source([127, 0, 0, 77].into());
        let prober = Prober::new(&[]).unwrap();
        let (got, accepted) = tokio::join!(prober.probe(&target, DEADLINE), listener.accept());
        assert_eq!(got.reason, Reason::Ok);
        assert_eq!(accepted.unwrap().1.ip(), SocketAddr::from(([127, 0, 0, 77], 0)).ip());
        let wrong = Target::new("a-to-b", address, Exchange::Tcp).from_source("::1".parse().unwrap());
        assert_eq!(prober.probe(&wrong, DEADLINE).await.reason, Reason::ProberError);
    });
}

#[test]
fn postgres_without_tls() {
    use SslMode::{Allow, Disable, Prefer, Require, VerifyCa, VerifyFull};
    for mode in [Disable, Allow, Prefer] {
        check(postgres(mode), &[Hear, say("N")], Reason::Ok, "without TLS");
    }
    for mode in [Require, VerifyCa, VerifyFull] {
        check(postgres(mode), &[Hear, say("N")], Reason::TlsHandshake, "offers no TLS");
    }
    check(postgres(Disable), &[Hear, say("S")], Reason::Ok, "offers TLS");
    check(postgres(Prefer), &[Hear, say("EFATAL")], Reason::ProtoMismatch, "an error");
    check(postgres(Prefer), &[Hear, say("Sinjected")], Reason::ProtoMismatch, "before TLS began");
    check(postgres(Prefer), &[Hear, say("S"), Hear, say("no tls"), Hang], Reason::ProtoMismatch, "not TLS");
}

/// With `disable` MAS sends the startup message at once; what `pg_hba.conf` says to that counts.
#[test]
fn postgres_in_clear() {
    let sasl = Say(b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0".to_vec());
    let no_hba = Say(b"E\0\0\0\x16SFATAL\0C28000\0Mn\0\0".to_vec());
    let says = |mode, known: bool, answer: &Step, reason, part: &str| {
        let got = block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let login = known.then(|| Login { user: "mas".to_owned(), database: "mas".to_owned() });
            let exchange = Exchange::Postgres { ssl_mode: mode, negotiation: SslNegotiation::Postgres, login };
            let target = Target::new("a-to-b", listener.local_addr().unwrap(), exchange).deep();
            let answer = answer.clone();
            let heard = tokio::spawn(async move {
                let mut stream = listener.accept().await.unwrap().0;
                let mut first = [0; 8];
                stream.read_exact(&mut first).await.unwrap();
                let rest = usize::try_from(u32::from_be_bytes(first[..4].try_into().unwrap())).unwrap() - 8;
                stream.read_exact(&mut vec![0; rest]).await.unwrap();
                act(stream, vec![answer]).await;
                first
            });
            let got = Prober::new(&[]).unwrap().probe(&target, DEADLINE).await;
            assert_eq!(
                heard.await.unwrap()[4..],
                [0, 3, 0, 0],
                "the startup message comes first, without an SSLRequest"
            );
            got
        });
        assert_eq!(got.reason, reason, "{}", got.detail);
        assert!(got.detail.contains(part), "{}", got.detail);
    };
    says(SslMode::Disable, false, &sasl, Reason::Ok, "in clear, as ssl_mode has it; it takes connections");
    says(SslMode::Allow, true, &sasl, Reason::Ok, "in clear");
    says(SslMode::Disable, true, &no_hba, Reason::ProtoAuth, "pg_hba.conf");
    says(SslMode::Disable, false, &no_hba, Reason::Ok, "refuses a made-up one");
}

#[test]
fn mail_in_plain() {
    let hello = "250-mail.example\r\n250-SIZE 1000\r\n250 AUTH PLAIN\r\n";
    let rest = [Hear, say(hello), Hear, say("221 bye\r\n")];
    let with = |banner: &str| [&[say(banner)][..], &rest].concat();
    check(smtp(SmtpMode::Plain), &with("220-mail\r\n220 ready\r\n"), Reason::Ok, "it offers AUTH");
    check(
        smtp(SmtpMode::Plain),
        &[Drip(b"220 a\r\n".to_vec()), Hear, Drip(b"250 b\r\n".to_vec())],
        Reason::Ok,
        "no AUTH",
    );
    let login = Exchange::Smtp { mode: SmtpMode::Plain, auth: true };
    check(login.clone(), &with("220 ready\r\n"), Reason::Ok, "it offers AUTH");
    let without = [say("220 a\r\n"), Hear, say("250 b\r\n"), Hear, say("221 bye\r\n")];
    check(login, &without, Reason::ProtoAuth, "offers no AUTH, and MAS is to log in");
    check(smtp(SmtpMode::Plain), &with("421 busy\r\n"), Reason::ProtoMismatch, "code 421");
    check(smtp(SmtpMode::Plain), &with("554 no\r\n"), Reason::ProtoAuth, "code 554");
    check(smtp(SmtpMode::Plain), &[say("220 a\r\n"), Hear, say("550 no\r\n")], Reason::ProtoAuth, "EHLO");
    check(smtp(SmtpMode::Plain), &[say("220 a\r\n"), Hear, say("502 no\r\n")], Reason::ProtoMismatch, "502");
    check(smtp(SmtpMode::Plain), &[say("220 a\r\n"), Hear, Hang], Reason::FirstByteTimeout, "the reply to EHLO");
    check(smtp(SmtpMode::Plain), &[say("220-a\r\n"), Hang], Reason::ProtoMismatch, "did not finish");
    check(smtp(SmtpMode::Plain), &[say(&"220-a\r\n".repeat(200)), Hang], Reason::ProtoMismatch, "more than 100 lines");
    check(
        smtp(SmtpMode::Plain),
        &[say(&format!("220 {}", "a".repeat(2000))), Hang],
        Reason::ProtoMismatch,
        "a line of more",
    );
}

#[test]
fn starttls_refused_or_injected() {
    let begin = [say("220 mail.example\r\n"), Hear];
    let with = |rest: &[Step]| [&begin[..], rest].concat();
    let hello = say("250-mail.example\r\n250 STARTTLS\r\n");
    let mode = SmtpMode::StartTls;
    check(smtp(mode), &with(&[say("250 mail.example\r\n"), Hear]), Reason::TlsHandshake, "offers no STARTTLS");
    check(smtp(mode), &with(&[hello.clone(), Hear, say("454 later\r\n"), Hear]), Reason::TlsHandshake, "code 454");
    let injected = say("220 go\r\n250 AUTH PLAIN\r\n");
    check(smtp(mode), &with(&[hello.clone(), Hear, injected, Hear]), Reason::ProtoMismatch, "before TLS began");
    // The same a moment later: then the handshake reads it and refuses it.
    let late = [hello, Hear, say("220 go\r\n"), Hear, say("250 AUTH PLAIN\r\n"), Hear];
    check(smtp(mode), &with(&late), Reason::ProtoMismatch, "not TLS");
}

/// What a name server does to a question to make its answer.
type Change = fn(&mut Vec<u8>);

fn name_server(change: Change) -> Attempt {
    block_on(async {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = vec![0; 512];
            let (count, from) = server.recv_from(&mut buffer).await.unwrap();
            buffer.truncate(count);
            buffer[2] |= 0x80;
            change(&mut buffer);
            server.send_to(&buffer, from).await.unwrap();
            std::future::pending::<()>().await;
        });
        Prober::new(&[]).unwrap().probe(&Target::new("a-to-b", address, Exchange::DnsUdp), DEADLINE).await
    })
}

#[test]
fn dns_over_udp() {
    let cases: [(Change, Reason); 7] = [
        (|_| {}, Reason::Ok),
        (|b| b[3] = 3, Reason::Ok),
        (|b| b[3] = 2, Reason::DnsServfail),
        (|b| b[3] = 5, Reason::DnsRefused),
        (|b| b[0] ^= 1, Reason::ProtoMismatch),
        (|b| b.make_ascii_lowercase(), Reason::ProtoMismatch),
        (|b| b[7] = 9, Reason::ProtoMismatch),
    ];
    for (number, (change, reason)) in cases.into_iter().enumerate() {
        let got = name_server(change);
        assert_eq!(got.reason, reason, "case {number}: {}", got.detail);
    }
}

#[test]
fn dns_over_udp_without_an_answer() {
    block_on(async {
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let target = Target::new("a-to-b", silent.local_addr().unwrap(), Exchange::DnsUdp);
        let got = Prober::new(&[]).unwrap().probe(&target, DEADLINE).await;
        assert_eq!(got.reason, Reason::DnsTimeout, "{}", got.detail);
    });
}

/// Callers spawn probes on runtimes of either flavour.
#[test]
fn probes_can_be_spawned() {
    fn sendable<T: Send>(_: &T) {}
    let prober = Prober::new(&[]).unwrap();
    let target = Target::new("a-to-b", SocketAddr::from(([127, 0, 0, 1], 1)), Exchange::Tcp);
    let endless = Duration::MAX;
    sendable(&prober.probe(&target, endless));
    let conf = super::ResolvConf::servers(Vec::new());
    sendable(&super::resolve("a", &conf, endless));
    assert_eq!(block_on(prober.probe(&target, endless)).reason, Reason::ConnectRefusedRst);
    assert!(block_on(super::resolve("a", &conf, endless)).is_err());
}

#[test]
fn settings_that_could_break_a_line() {
    let prober = || Prober::new(&[]).unwrap();
    assert!(prober().with_helo("probe.example.org").is_ok() && prober().with_helo("[192.0.2.1]").is_ok());
    for name in ["", "a\r\nMAIL FROM:<>", "a b", "ä"] {
        assert!(prober().with_helo(name).is_err(), "{name:?}");
    }
    assert!(prober().with_dns_question("example.org").is_ok());
    assert!(prober().with_dns_question(&"a".repeat(300)).is_err());
    let broken = Exchange::Http { tls: false, host: "a\r\nX: y".to_owned() };
    assert_eq!(attempt(broken, &[]).reason, Reason::ProberError);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Whatever a peer says, no exchange takes it for a proof by chance, and each ends.
    #[test]
    fn noise_proves_nothing(bytes in proptest::collection::vec(any::<u8>(), 1..200)) {
        for exchange in conversations() {
            // One byte is all that PostgreSQL's protocol has for a yes.
            if exchange == postgres(SslMode::Prefer) && matches!(bytes[..], [b'S' | b'N']) {
                continue;
            }
            let got = attempt(exchange.clone(), &[Say(bytes.clone())]);
            prop_assert!(got.reason != Reason::Ok && got.reason != Reason::ProberError, "{:?} {:?}", exchange, got);
        }
    }
}
