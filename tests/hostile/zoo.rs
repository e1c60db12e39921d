//! The zoo: every certificate, in every conversation that has TLS.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use portreeve::judge::{Attempt, Reason};
use portreeve::matrix::{Exchange, SmtpMode, SslMode, SslNegotiation};
use portreeve::observe::{Prober, Target, roots_from_pem};
use rcgen::{DnType, ExtendedKeyUsagePurpose, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::certificates::{Authority, Chain, NAME, OpenSsl, leaf, openssl_authority, openssl_leaf, self_signed};
use crate::{LONG, block_on};

/// A conversation with TLS, and what its server says around the handshake; an empty text waits for the client.
struct Secure {
    name: &'static str,
    exchange: Exchange,
    before: &'static [&'static str],
    after: &'static [&'static str],
}

const GREETED: &[&str] = &["220 mail.example\r\n", "", "250-mail.example\r\n250 STARTTLS\r\n", "", "220 go\r\n"];
const HELLO: &str = "250-mail.example\r\n250 AUTH PLAIN\r\n";
const AFTER_STARTTLS: &[&str] = &["", HELLO, "", "221 bye\r\n"];
const SMTPS: &[&str] = &["220 mail.example\r\n", "", HELLO, "", "221 bye\r\n"];

fn conversations() -> Vec<Secure> {
    let postgres = |ssl_mode, negotiation| Exchange::Postgres { ssl_mode, negotiation, login: None };
    let https = Exchange::Http { tls: true, host: NAME.to_owned() };
    let secure = |name, exchange, before, after| Secure { name, exchange, before, after };
    vec![
        secure("https", https, &[], &["", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]),
        secure("smtps", Exchange::smtp(SmtpMode::Tls), &[], SMTPS),
        secure("starttls", Exchange::smtp(SmtpMode::StartTls), GREETED, AFTER_STARTTLS),
        secure("verify-full", postgres(SslMode::VerifyFull, SslNegotiation::Postgres), &["", "S"], &[]),
        secure("direct", postgres(SslMode::VerifyFull, SslNegotiation::Direct), &[], &[]),
        // Encryption only: no certificate stops it, and all of them are told.
        secure("require", postgres(SslMode::Require, SslNegotiation::Postgres), &["", "S"], &[]),
    ]
}

/// A certificate: how it looks, what comes of it, and what must be said.
struct Animal {
    name: &'static str,
    chain: Chain,
    reason: Reason,
    says: &'static str,
}

fn animal(name: &'static str, chain: Chain, reason: Reason, says: &'static str) -> Animal {
    Animal { name, chain, reason, says }
}

/// The right certificate with one thing changed.
fn changed(authority: &Authority, change: impl Fn(&mut rcgen::CertificateParams)) -> Chain {
    let mut params = leaf(&[NAME]);
    change(&mut params);
    authority.sign(&params)
}

fn old(params: &mut rcgen::CertificateParams) {
    params.not_after = date_time_ymd(2001, 9, 9);
}

fn zoo(authority: &Authority) -> Vec<Animal> {
    [right(authority), wrong_dates(authority), wrong_names(authority), wrong_issuers(authority), wrong_uses(authority)]
        .into_iter()
        .flatten()
        .collect()
}

/// Hosts that are not the one that is asked for.
fn others() -> Vec<String> {
    (0..100).map(|number| format!("h{number}.example")).collect()
}

fn right(authority: &Authority) -> Vec<Animal> {
    let others = others();
    let mut with_ours: Vec<&str> = others.iter().map(String::as_str).collect();
    with_ours[99] = NAME;
    vec![
        animal("right", changed(authority, |_| {}), Reason::Ok, ""),
        animal("wildcard", authority.sign(&leaf(&["*.zoo.example"])), Reason::Ok, ""),
        animal("100 names", authority.sign(&leaf(&with_ours)), Reason::Ok, ""),
        animal("intermediate", authority.sign_below(&leaf(&[NAME]), |_| {}, true), Reason::Ok, ""),
    ]
}

fn wrong_dates(authority: &Authority) -> Vec<Animal> {
    let soon = SystemTime::now() + Duration::from_mins(10);
    let mut wrong_name_too = leaf(&["other.example"]);
    old(&mut wrong_name_too);
    vec![
        animal("expired", changed(authority, old), Reason::TlsExpired, "expired on 2001-09-09 (the clock here says 20"),
        animal(
            "not yet valid",
            changed(authority, |params| params.not_before = date_time_ymd(2039, 1, 1)),
            Reason::TlsNotYetValid,
            "not valid before 2039-01-01T00:00Z (the clock here says 20",
        ),
        animal(
            "clock skewed",
            changed(authority, |params| params.not_before = soon.into()),
            Reason::TlsNotYetValid,
            "the clock here",
        ),
        animal("expired, wrong name", authority.sign(&wrong_name_too), Reason::TlsExpired, "expired on 2001-09-09"),
        animal(
            "expired intermediate",
            authority.sign_below(&leaf(&[NAME]), old, true),
            Reason::TlsExpired,
            "of an issuer on the way expired on 2001-09-09; the server's own ends on 2040-01-01",
        ),
    ]
}

fn wrong_names(authority: &Authority) -> Vec<Animal> {
    let others = others();
    let without_ours: Vec<&str> = others.iter().map(String::as_str).collect();
    vec![
        animal(
            "wrong name",
            authority.sign(&leaf(&["other.example"])),
            Reason::TlsNameMismatch,
            r#"not for "mas.zoo.example": its only name is "other.example""#,
        ),
        animal("no name", authority.sign(&leaf(&[])), Reason::TlsNameMismatch, "it names no host (subjectAltName)"),
        animal(
            "100 other names",
            authority.sign(&leaf(&without_ours)),
            Reason::TlsNameMismatch,
            r#"it has 100 names, "h0.example", "h1.example", "h2.example" and others"#,
        ),
    ]
}

fn wrong_issuers(authority: &Authority) -> Vec<Animal> {
    let mut traefik = leaf(&["a1b2.traefik.default"]);
    traefik.distinguished_name.push(DnType::CommonName, "TRAEFIK DEFAULT CERT");
    vec![
        animal("self-signed", self_signed(&leaf(&[NAME])), Reason::TlsUntrusted, "its own issuer (self-signed)"),
        animal(
            "Traefik's default",
            self_signed(&traefik),
            Reason::TlsUntrusted,
            "it is Traefik's default certificate: Traefik has none for this name",
        ),
        animal(
            "unknown issuer",
            Authority::new("another root").sign_below(&leaf(&[NAME]), |_| {}, true),
            Reason::TlsUntrusted,
            r#"issuer "the intermediate" is not among"#,
        ),
        // A CA that was made anew: its name is known, its key is not.
        animal(
            "issuer's namesake",
            Authority::new("the root").sign(&leaf(&[NAME])),
            Reason::TlsUntrusted,
            "known by that name with another key",
        ),
        animal(
            "intermediate not sent",
            authority.sign_below(&leaf(&[NAME]), |_| {}, false),
            Reason::TlsUntrusted,
            "the server sends no intermediate certificate",
        ),
    ]
}

fn wrong_uses(authority: &Authority) -> Vec<Animal> {
    vec![
        animal(
            "for clients",
            changed(authority, |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]),
            Reason::TlsUntrusted,
            "not for servers (extendedKeyUsage)",
        ),
        animal(
            "an authority",
            changed(authority, |params| params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained)),
            Reason::TlsUntrusted,
            "an authority's",
        ),
    ]
}

async fn act(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin), steps: &[&str]) {
    for text in steps {
        if text.is_empty() {
            let _ = stream.read(&mut [0; 4096]).await;
        } else {
            let _ = stream.write_all(text.as_bytes()).await;
        }
    }
}

/// One attempt against a server with this certificate.
fn attempt(config: Arc<ServerConfig>, conversation: &Secure, root: &CertificateDer<'_>) -> Attempt {
    block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (before, after) = (conversation.before, conversation.after);
        tokio::spawn(async move {
            let mut stream = listener.accept().await.unwrap().0;
            act(&mut stream, before).await;
            let Ok(mut stream) = TlsAcceptor::from(config).accept(stream).await else { return };
            act(&mut stream, after).await;
            while matches!(stream.read(&mut [0; 4096]).await, Ok(1..)) {}
        });
        probe(address, conversation.exchange.clone(), root).await
    })
}

async fn probe(address: SocketAddr, exchange: Exchange, root: &CertificateDer<'_>) -> Attempt {
    let target = Target::new("a-to-b", address, exchange).named(NAME);
    Prober::new(std::slice::from_ref(root)).unwrap().probe(&target, LONG).await
}

#[test]
fn every_certificate_in_every_conversation() {
    let authority = Authority::new("the root");
    let conversations = conversations();
    let mut table = format!("{:<23}", "");
    for conversation in &conversations {
        let _ = write!(table, "{:<20}", conversation.name);
    }
    let mut wrong = Vec::new();
    for Animal { name, chain, reason, says } in zoo(&authority) {
        let config = chain.config();
        let _ = write!(table, "\n{name:<23}");
        let mut detail = String::new();
        for conversation in &conversations {
            let got = attempt(Arc::clone(&config), conversation, &authority.root);
            let _ = write!(table, "{:<20}", got.reason.as_str());
            let expect = if conversation.name == "require" { Reason::Ok } else { reason };
            let facts = got.tls.clone().unwrap_or_default();
            let whole =
                facts.not_after.is_some() && facts.version == Some("TLSv1.3") && facts.chain_not_after.is_some();
            if got.reason != expect || !whole || (expect != Reason::Ok && !got.detail.contains(says)) {
                wrong.push(format!("{name} with {}: {got:?}", conversation.name));
            }
            if got.reason == reason && reason != Reason::Ok {
                detail = got.detail;
            }
        }
        if !detail.is_empty() {
            let _ = write!(table, "\n    {detail}");
        }
    }
    println!("{table}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What rcgen does not make, and rustls would not show.
#[test]
fn weak_certificates_and_old_servers() {
    let folder = tempfile::Builder::new().prefix("portreeve-").tempdir().unwrap();
    openssl_authority(folder.path());
    openssl_leaf(folder.path(), "right", "rsa:2048", "sha256");
    openssl_leaf(folder.path(), "short", "rsa:1024", "sha256");
    openssl_leaf(folder.path(), "sha1", "rsa:2048", "sha1");
    openssl_leaf(folder.path(), "md5", "rsa:2048", "md5");
    let root = roots_from_pem(&std::fs::read(folder.path().join("root.pem")).unwrap()).unwrap().remove(0);
    let https = || Exchange::Http { tls: true, host: NAME.to_owned() };
    let direct = |ssl_mode| Exchange::Postgres { ssl_mode, negotiation: SslNegotiation::Direct, login: None };
    // Name, certificate, more arguments → reason, what is said, and whether encryption alone would be content.
    for (name, certificate, more, reason, says, content) in [
        ("right", "right", "", Reason::Ok, "", true),
        ("TLS 1.2", "right", "-tls1_2", Reason::Ok, "", true),
        ("RSA of 1024 bits", "short", "", Reason::TlsUntrusted, "RSA key has 1024 bits", true),
        ("the same, TLS 1.2", "short", "-tls1_2", Reason::TlsUntrusted, "RSA key has 1024 bits", true),
        ("signed over SHA-1", "sha1", "", Reason::TlsUntrusted, "signed over SHA-1", true),
        ("signed over MD5", "md5", "", Reason::TlsUntrusted, "signed over MD5", true),
        ("TLS 1.1", "right", "-tls1_1", Reason::TlsVersion, "neither TLS 1.2 nor TLS 1.3", false),
        ("wants a client's", "right", "-Verify 1 -tls1_2", Reason::TlsHandshake, "", false),
        ("the same, TLS 1.3", "right", "-Verify 1", Reason::TlsHandshake, "wants a certificate of its client", true),
    ] {
        let server = OpenSsl::serve(folder.path(), certificate, more);
        let got = block_on(probe(server.address, https(), &root));
        println!("{name}: {}, {}", got.reason, got.detail);
        assert_eq!(got.reason, reason, "{name}: {}", got.detail);
        assert!(got.detail.contains(says), "{name}: {}", got.detail);
        let seen = got.tls.as_ref().is_some_and(|facts| facts.not_after.is_some());
        assert_eq!(seen, reason != Reason::TlsVersion, "{name}: what was shown survives");
        let got = block_on(probe(server.address, direct(SslMode::Require), &root));
        assert_eq!(got.reason == Reason::Ok, content, "{name}, sslmode=require: {} {}", got.reason, got.detail);
    }
}
