//! Peers that close, hang, drip, lie: every attempt ends by its deadline, with the right reason. All on loopback.

mod names;
mod secure;

use std::future::Future;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};

use super::{Prober, Target};
use crate::judge::{Attempt, Reason};
use crate::matrix::{Exchange, SmtpMode, SslMode};

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
    Exchange::Postgres { ssl_mode }
}

fn smtp(mode: SmtpMode) -> Exchange {
    Exchange::Smtp { mode }
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
        Exchange::MasDiscovery,
        Exchange::Whoami,
    ]
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
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
fn synapse_versions() {
    let ok = answer("200 OK", r#"{"versions":["v1.11","v1.12"]}"#);
    check(synapse(), &[Hear, say(&ok)], Reason::Ok, "2 versions");
    check(synapse(), &[Hear, Drip(ok.clone().into_bytes())], Reason::Ok, "2 versions");
    check(synapse(), &[Hear, say(&answer("404 Not Found", "{}"))], Reason::HttpStatus, "404");
    check(synapse(), &[Hear, say(&answer("200 OK", "<html>Welcome</html>"))], Reason::HttpBody, "page instead of JSON");
    check(synapse(), &[Hear, say(&answer("200 OK", r#"{"other":1}"#))], Reason::HttpBody, "no list of versions");
    check(synapse(), &[Hear, say(&ok[..ok.len() - 3]), Hang], Reason::HttpBody, "before the deadline");
    check(synapse(), &[Hear, say(&ok[..ok.len() - 3])], Reason::ClosedEarly, "HTTP body");
    check(synapse(), &[Hear, say(&ok[..10]), Hang], Reason::ProtoMismatch, "did not finish");
    check(synapse(), &[Hear, say(&ok[..10])], Reason::ClosedEarly, "in the middle");
    let big = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(300 * 1024));
    check(synapse(), &[Hear, say(&big), Hang], Reason::HttpBody, "longer than 262144 bytes");
    let endless = format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(20 * 1024));
    check(synapse(), &[Hear, say(&endless), Hang], Reason::ProtoMismatch, "longer than 16384 bytes");
    let url = Exchange::Synapse { endpoint: "http://user:secret@synapse:8008/".to_owned() };
    let got = attempt(url, &[]);
    assert_eq!(got.reason, Reason::ProberError);
    assert!(!got.detail.contains("secret"), "{}", got.detail);
}

/// An endless drip keeps no probe alive past its deadline.
#[test]
fn an_endless_drip() {
    let drip = "HTTP/1.1 200 OK\r\nA: ".bytes().chain(std::iter::repeat_n(b'x', 10_000)).collect();
    check(http(), &[Hear, Drip(drip)], Reason::ProtoMismatch, "did not finish");
}

#[test]
fn whoami() {
    let unknown = r#"{"errcode":"M_UNKNOWN_TOKEN","error":"Token is not active"}"#;
    check(Exchange::Whoami, &[Hear, say(&answer("401 Unauthorized", unknown))], Reason::Ok, "asked MAS");
    check(Exchange::Whoami, &[Hear, say(&answer("503 No", "{}"))], Reason::HttpStatus, "cannot ask MAS");
    check(Exchange::Whoami, &[Hear, say(&answer("401 No", "<html>"))], Reason::HttpBody, "page instead");
}

#[test]
fn any_http() {
    for status in ["200 OK", "302 Found", "404 Not Found", "401 No"] {
        check(http(), &[Hear, say(&answer(status, "x"))], Reason::Ok, &status[..3]);
    }
    check(http(), &[Hear, say(&answer("502 Bad Gateway", "x"))], Reason::HttpStatus, "502");
}

#[test]
fn discovery() {
    let document =
        r#"{"issuer":"http://auth.example/","authorization_endpoint":"a","token_endpoint":"t","jwks_uri":"j"}"#;
    check(oidc(), &[Hear, say(&answer("200 OK", document))], Reason::Ok, "configured issuer");
    let other = document.replace("example/\"", "example\"");
    check(oidc(), &[Hear, say(&answer("200 OK", &other))], Reason::HttpBody, "configured is");
    check(Exchange::MasDiscovery, &[Hear, say(&answer("200 OK", document))], Reason::Ok, "http://auth.example/");
    check(Exchange::MasDiscovery, &[Hear, say(&answer("200 OK", "{}"))], Reason::HttpBody, "no issuer");
}

/// One deep attempt against a peer that answers each connection in turn.
fn deep(exchange: fn(SocketAddr) -> Exchange, answers: &[String]) -> Attempt {
    block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answers: Vec<String> =
            answers.iter().map(|text| text.replace("PORT", &address.port().to_string())).collect();
        tokio::spawn(async move {
            for text in answers {
                act(listener.accept().await.unwrap().0, vec![Hear, say(&answer("200 OK", &text))]).await;
            }
        });
        let target = Target::new("a-to-b", address, exchange(address)).deep();
        Prober::new(&[]).unwrap().probe(&target, DEADLINE).await
    })
}

#[test]
fn the_keys_of_a_provider() {
    let issuer = |to: SocketAddr| Exchange::Oidc { issuer: format!("http://127.0.0.1:{}/", to.port()) };
    let document = |keys: &str| {
        format!(
            r#"{{"issuer":"http://127.0.0.1:PORT/","authorization_endpoint":"http://a/","token_endpoint":"http://127.0.0.1:PORT/t","jwks_uri":"{keys}"}}"#
        )
    };
    let own = document("http://127.0.0.1:PORT/jwks");
    let got = deep(issuer, &[own.clone(), r#"{"keys":[{},{}]}"#.to_owned()]);
    assert_eq!(got.reason, Reason::Ok, "{}", got.detail);
    assert!(got.detail.ends_with("it has 2 keys"), "{}", got.detail);
    let got = deep(issuer, &[own.clone(), r#"{"keys":[]}"#.to_owned()]);
    assert_eq!(got.reason, Reason::HttpBody, "{}", got.detail);
    // A document cannot send the probe elsewhere.
    let got = deep(issuer, &[document("http://keys.example/jwks")]);
    assert_eq!(got.reason, Reason::Ok, "{}", got.detail);
    assert!(got.detail.contains(r#"not asked for; MAS must also reach "keys.example""#), "{}", got.detail);
    let got = deep(issuer, &[document("nowhere")]);
    assert_eq!(got.reason, Reason::HttpBody, "{}", got.detail);
}

#[test]
fn the_interface_for_mas() {
    for (status, part) in [("403 Forbidden", "is there"), ("404 Not Found", "is not there")] {
        let got = block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let target = Target::new("a-to-b", listener.local_addr().unwrap(), synapse()).deep();
            let answers = [answer("200 OK", r#"{"versions":["v1.11"]}"#), answer(status, "{}")];
            tokio::spawn(async move {
                for text in answers {
                    act(listener.accept().await.unwrap().0, vec![Hear, say(&text)]).await;
                }
            });
            Prober::new(&[]).unwrap().probe(&target, DEADLINE).await
        });
        assert_eq!(got.reason, Reason::Ok, "{}", got.detail);
        assert!(got.detail.contains(part), "{}", got.detail);
    }
}

/// What is asked, byte for byte, apart from the version.
#[test]
fn requests() {
    let asked = |target: fn(SocketAddr) -> Target| {
        block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let target = target(listener.local_addr().unwrap());
            let prober = Prober::new(&[]).unwrap();
            let serve = async {
                let mut stream = listener.accept().await.unwrap().0;
                let mut buffer = vec![0; 4096];
                let count = stream.read(&mut buffer).await.unwrap();
                buffer.truncate(count);
                String::from_utf8(buffer).unwrap().replace(&listener.local_addr().unwrap().port().to_string(), "PORT")
            };
            tokio::join!(prober.probe(&target, DEADLINE), serve).1
        })
    };
    let text = asked(|to| Target::new("e", to, Exchange::Oidc { issuer: "http://auth.example:81/realm/".to_owned() }));
    assert!(
        text.starts_with("GET /realm/.well-known/openid-configuration HTTP/1.1\r\nHost: auth.example:81\r\n"),
        "{text}"
    );
    assert!(text.ends_with("\r\nConnection: close\r\n\r\n"), "{text}");
    let text = asked(|to| Target::new("e", to, Exchange::MasDiscovery));
    assert!(text.contains("\r\nHost: 127.0.0.1:PORT\r\n"), "{text}");
    let text = asked(|to| Target::new("e", to, Exchange::MasDiscovery).named("auth.example"));
    assert!(text.contains("\r\nHost: auth.example\r\n"), "{text}");
    let tokens: Vec<_> = (0..2)
        .map(|_| {
            let text = asked(|to| Target::new("e", to, Exchange::Whoami));
            text.lines().find(|line| line.starts_with("Authorization: Bearer portreeve-probe-")).unwrap().to_owned()
        })
        .collect();
    assert_ne!(tokens[0], tokens[1], "Synapse remembers tokens");
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
