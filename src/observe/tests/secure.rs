//! TLS with certificates that are wrong in one way each.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::{DEADLINE, Hang, Hear, Say, block_on, check, postgres, smtp};
use crate::judge::{Attempt, Reason};
use crate::matrix::{Exchange, SmtpMode, SslMode};
use crate::observe::{Prober, Target};

/// A certificate authority and one server certificate.
struct Pki {
    root: CertificateDer<'static>,
    acceptor: TlsAcceptor,
}

/// 2040-01-01, and its seconds since 1970.
const END: (i32, i64) = (2040, 2_208_988_800);

impl Pki {
    /// A proven clean one, which each test breaks in one way.
    fn new(change: impl Fn(&mut CertificateParams)) -> Self {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = authority.self_signed(&key).unwrap().der().clone();
        let issuer = Issuer::new(authority, key);
        let mut leaf = CertificateParams::new(vec!["mas.example".to_owned()]).unwrap();
        leaf.not_after = date_time_ymd(END.0, 1, 1);
        change(&mut leaf);
        let key = KeyPair::generate().unwrap();
        let certificate = leaf.signed_by(&key, &issuer).unwrap().der().clone();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        Self { root, acceptor: TlsAcceptor::from(Arc::new(config)) }
    }
}

/// What the server says before and after the handshake; an empty text waits for the client.
#[derive(Clone, Copy, Default)]
struct Script {
    before: &'static [&'static str],
    after: &'static [&'static str],
}

async fn act(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), steps: &[&str]) {
    for text in steps {
        if text.is_empty() {
            let _ = stream.read(&mut [0; 4096]).await;
        } else {
            let _ = stream.write_all(text.as_bytes()).await;
        }
    }
}

async fn serve(mut stream: TcpStream, acceptor: TlsAcceptor, script: Script) {
    act(&mut stream, script.before).await;
    let Ok(mut stream) = acceptor.accept(stream).await else { return };
    act(&mut stream, script.after).await;
    while matches!(stream.read(&mut [0; 4096]).await, Ok(1..)) {}
}

fn attempt(pki: &Pki, exchange: Exchange, host: Option<&str>, script: Script, trusted: bool) -> Attempt {
    block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut target = Target::new("a-to-b", listener.local_addr().unwrap(), exchange);
        target.host = host.map(str::to_owned);
        let acceptor = pki.acceptor.clone();
        tokio::spawn(async move { serve(listener.accept().await.unwrap().0, acceptor, script).await });
        let roots = if trusted { vec![pki.root.clone()] } else { Vec::new() };
        Prober::new(&roots).unwrap().probe(&target, DEADLINE * 3).await
    })
}

fn https(host: &str) -> Exchange {
    Exchange::Http { tls: true, host: host.to_owned() }
}

const HTTP_OK: Script = Script { before: &[], after: &["", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"] };

#[track_caller]
fn check_certificate(change: impl Fn(&mut CertificateParams), host: &str, trusted: bool, reason: Reason, end: i64) {
    let got = attempt(&Pki::new(change), https(host), None, HTTP_OK, trusted);
    assert_eq!(got.reason, reason, "{}", got.detail);
    let named = got.detail.contains(r#"not for "other.example": its only name is "mas.example""#);
    assert_eq!(named, reason == Reason::TlsNameMismatch, "{}", got.detail);
    assert_eq!(got.tls_not_after(), Some(end), "the end survives: {got:?}");
    let facts = got.tls.unwrap();
    assert_eq!((facts.not_after, facts.chain_not_after, facts.names), (Some(end), Some(end), 1), "{facts:?}");
    assert_eq!(facts.issuer.as_deref(), Some("rcgen self signed cert"));
    assert!(facts.not_before.is_some());
    assert_eq!(facts.version, Some("TLSv1.3"), "the handshake is finished whatever the certificate");
    assert_eq!(facts.first_names, ["mas.example"]);
    assert!(got.phases.tls.is_some());
}

#[test]
fn one_thing_wrong_at_a_time() {
    check_certificate(|_| {}, "mas.example", true, Reason::Ok, END.1);
    check_certificate(|_| {}, "other.example", true, Reason::TlsNameMismatch, END.1);
    check_certificate(|_| {}, "mas.example", false, Reason::TlsUntrusted, END.1);
    let expired = |leaf: &mut CertificateParams| leaf.not_after = date_time_ymd(2001, 9, 9);
    check_certificate(expired, "mas.example", true, Reason::TlsExpired, 999_993_600);
    let later = |leaf: &mut CertificateParams| leaf.not_before = date_time_ymd(2039, 1, 1);
    check_certificate(later, "mas.example", true, Reason::TlsNotYetValid, END.1);
    let authority = |leaf: &mut CertificateParams| leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    check_certificate(authority, "mas.example", true, Reason::TlsUntrusted, END.1);
}

#[test]
fn traefik_without_a_certificate_of_its_own() {
    let default = Pki::new(|leaf| {
        leaf.subject_alt_names = vec![rcgen::SanType::DnsName("a1b2.traefik.default".try_into().unwrap())];
        leaf.distinguished_name.push(rcgen::DnType::CommonName, "TRAEFIK DEFAULT CERT");
    });
    for (trusted, reason) in [(true, Reason::TlsNameMismatch), (false, Reason::TlsUntrusted)] {
        let got = attempt(&default, https("mas.example"), None, HTTP_OK, trusted);
        assert_eq!(got.reason, reason, "{}", got.detail);
        assert!(got.detail.contains("Traefik's default certificate"), "{}", got.detail);
    }
    let own = attempt(&Pki::new(|_| {}), https("other.example"), None, HTTP_OK, true);
    assert!(!own.detail.contains("Traefik"), "{}", own.detail);
}

#[test]
fn no_common_version() {
    // An alert, fatal, protocol_version: what a server says that only knows TLS 1.1.
    let alert = Say(vec![0x15, 3, 1, 0, 2, 2, 0x46]);
    check(https("mas.example"), &[Hear, alert, Hang], Reason::TlsVersion, "neither TLS 1.2 nor TLS 1.3");
    let refused = Say(vec![0x15, 3, 3, 0, 2, 2, 0x28]);
    check(https("mas.example"), &[Hear, refused, Hang], Reason::TlsHandshake, "HandshakeFailure");
    // A record that never ends is no silence.
    check(
        https("mas.example"),
        &[Hear, Say(vec![0x16, 3, 3, 0, 100, 2]), Hang],
        Reason::TlsHandshake,
        "did not finish",
    );
}

const DOCUMENT: &str =
    r#"{"issuer":"https://mas.example/","authorization_endpoint":"a","token_endpoint":"t","jwks_uri":"j"}"#;

#[test]
fn oidc_over_tls() {
    let exchange = Exchange::Oidc { issuer: "https://mas.example/".to_owned() };
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", DOCUMENT.len()).leak();
    let script = Script { before: &[], after: vec!["", head, DOCUMENT].leak() };
    let got = attempt(&Pki::new(|_| {}), exchange.clone(), None, script, true);
    assert_eq!((got.reason, got.tls_not_after()), (Reason::Ok, Some(END.1)), "{}", got.detail);
    assert!(got.phases.tls.is_some() && got.phases.exchange.is_some());
    let other = Exchange::Oidc { issuer: "https://mas.example".to_owned() };
    assert_eq!(attempt(&Pki::new(|_| {}), other, None, script, true).reason, Reason::HttpBody);
}

#[test]
fn postgres_modes() {
    use SslMode::{Allow, Disable, Prefer, Require, VerifyCa, VerifyFull};
    const SCRIPT: Script = Script { before: &["", "S"], after: &[] };
    let pki = Pki::new(|_| {});
    // ssl_mode, host, whether the root is known → reason, whether a certificate was seen.
    let table = [
        (Disable, "mas.example", false, Reason::Ok, true),
        (Allow, "mas.example", false, Reason::Ok, true),
        (Prefer, "other.example", false, Reason::Ok, true),
        (Require, "other.example", false, Reason::Ok, true),
        (VerifyCa, "other.example", true, Reason::Ok, true),
        (VerifyCa, "other.example", false, Reason::TlsUntrusted, true),
        (VerifyFull, "mas.example", true, Reason::Ok, true),
        (VerifyFull, "other.example", true, Reason::TlsNameMismatch, true),
        (VerifyFull, "mas.example", false, Reason::TlsUntrusted, true),
    ];
    for (mode, host, trusted, reason, seen) in table {
        let got = attempt(&pki, postgres(mode), Some(host), SCRIPT, trusted);
        assert_eq!((got.reason, got.tls_not_after().is_some()), (reason, seen), "{mode:?} {host}: {}", got.detail);
    }
    // Without a name the address must be in the certificate.
    assert_eq!(attempt(&pki, postgres(VerifyFull), None, SCRIPT, true).reason, Reason::TlsNameMismatch);
    let expired = Pki::new(|leaf| leaf.not_after = date_time_ymd(2001, 9, 9));
    assert_eq!(attempt(&expired, postgres(VerifyCa), None, SCRIPT, true).reason, Reason::TlsExpired);
}

#[test]
fn mail_over_tls() {
    let start = Script {
        before: &["220 mail.example\r\n", "", "250-mail.example\r\n250 STARTTLS\r\n", "", "220 go\r\n"],
        after: &["", "250-mail.example\r\n250 AUTH PLAIN\r\n", "", "221 bye\r\n"],
    };
    let pki = Pki::new(|_| {});
    let got = attempt(&pki, smtp(SmtpMode::StartTls), Some("mas.example"), start, true);
    assert_eq!((got.reason, got.tls_not_after()), (Reason::Ok, Some(END.1)), "{}", got.detail);
    assert!(got.detail.contains("with STARTTLS; it offers AUTH"), "{}", got.detail);
    let got = attempt(&pki, smtp(SmtpMode::StartTls), Some("other.example"), start, true);
    assert_eq!((got.reason, got.tls_not_after()), (Reason::TlsNameMismatch, Some(END.1)), "{}", got.detail);
    let implicit =
        Script { after: &["220 mail.example\r\n", "", "250 mail.example\r\n", "", "221 bye\r\n"], ..Script::default() };
    let got = attempt(&pki, smtp(SmtpMode::Tls), Some("mas.example"), implicit, true);
    assert_eq!(got.reason, Reason::Ok, "{}", got.detail);
    let got = attempt(&pki, smtp(SmtpMode::Tls), Some("mas.example"), implicit, false);
    assert_eq!(got.reason, Reason::TlsUntrusted, "{}", got.detail);
}
