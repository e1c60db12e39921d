//! TLS handshakes that keep the certificate's end when verification fails, and say what failed.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, InvalidMessage, PeerIncompatible,
    ProtocolVersion, RootCertStore, SignatureScheme,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::failure::{Failure, quoted};
use super::{SetupError, der};
use crate::judge::{Reason, TlsFacts};

/// The certificates of a PEM text.
///
/// # Errors
/// [`SetupError::Pem`] when a section is broken.
pub fn roots_from_pem(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, SetupError> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(SetupError::Pem)
}

/// How much of the certificate is checked; libpq's distinctions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// Encryption only.
    Nothing,
    /// A trusted issuer and the dates.
    Chain,
    /// That, and the name.
    ChainAndName,
}

/// Whom the prober trusts.
#[derive(Debug)]
pub(super) struct Trust {
    provider: Arc<CryptoProvider>,
    verifier: Arc<WebPkiServerVerifier>,
}

impl Trust {
    pub(super) fn new(extra_roots: &[CertificateDer<'_>]) -> Result<Self, SetupError> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        for (index, root) in extra_roots.iter().enumerate() {
            let added = roots.add(root.clone().into_owned());
            added.map_err(|source| SetupError::Root { number: index + 1, source })?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .map_err(SetupError::Verifier)?;
        Ok(Self { provider, verifier })
    }

    /// Shakes hands over `stream`. The second value is what was shown, if a certificate came.
    pub(super) async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        host: &str,
        check: Check,
        alpn: Option<&[u8]>,
        deadline: Instant,
    ) -> (Result<TlsStream<Heeded<S>>, Failure>, Option<TlsFacts>) {
        // A host name's final dot is no part of the certificate's name (RFC 6066 §3).
        let Ok(name) = ServerName::try_from(host.strip_suffix('.').unwrap_or(host).to_owned()) else {
            let detail = format!("{} cannot be asked for in a TLS handshake", quoted(host));
            return (Err(Failure::new(Reason::ProberError, detail)), None);
        };
        let shown = Arc::new(OnceLock::new());
        let config = match self.config(check, alpn, shown.clone()) {
            Ok(config) => config,
            Err(error) => return (Err(failure_of(&error, None)), None),
        };
        let heard = Arc::new(AtomicBool::new(false));
        let stream = Heeded { stream, heard: heard.clone() };
        let outcome = timeout_at(deadline, TlsConnector::from(config).connect(name, stream)).await;
        let shown: Option<&Shown> = shown.get();
        let mut facts = shown.map(|shown| shown.facts.clone());
        let heard = heard.load(Ordering::Relaxed);
        if let (Ok(Ok(stream)), Some(facts)) = (&outcome, &mut facts) {
            let (_, session) = stream.get_ref();
            facts.version = session.protocol_version().and_then(version);
            facts.alpn = session.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
        }
        let outcome =
            outcome.map_or_else(|_| Err(too_slow(heard)), |done| done.map_err(|error| failed(&error, heard, shown)));
        (outcome, facts)
    }

    /// A configuration for one handshake: no session is resumed, or the second probe would prove less than the first.
    fn config(
        &self,
        check: Check,
        alpn: Option<&[u8]>,
        shown: Arc<OnceLock<Shown>>,
    ) -> Result<Arc<ClientConfig>, rustls::Error> {
        let capture = Capture { verifier: self.verifier.clone(), check, shown };
        let mut config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(capture))
            .with_no_client_auth();
        config.resumption = rustls::client::Resumption::disabled();
        config.alpn_protocols.extend(alpn.map(<[u8]>::to_vec));
        Ok(Arc::new(config))
    }
}

/// The subject of the certificate that Traefik makes for itself where it has none for the name (`pkg/tls/generate`).
const TRAEFIK_DEFAULT: &str = "TRAEFIK DEFAULT CERT";

/// What the peer's certificates say.
#[derive(Debug, Clone, Default)]
pub(super) struct Shown {
    facts: TlsFacts,
    /// The leaf is Traefik's own default.
    is_traefik_default: bool,
}

impl Shown {
    fn new(leaf: &[u8], intermediates: &[CertificateDer<'_>]) -> Self {
        let Some(leaf) = der::read(leaf) else { return Self::default() };
        let ends = intermediates.iter().filter_map(|der| Some(der::read(der)?.not_after));
        let facts = TlsFacts {
            not_before: Some(leaf.not_before),
            not_after: Some(leaf.not_after),
            chain_not_after: ends.chain([leaf.not_after]).min(),
            issuer: leaf.issuer,
            names: leaf.names,
            ..TlsFacts::default()
        };
        Self { facts, is_traefik_default: leaf.subject.as_deref() == Some(TRAEFIK_DEFAULT) }
    }
}

fn version(version: ProtocolVersion) -> Option<&'static str> {
    match version {
        ProtocolVersion::TLSv1_2 => Some("TLSv1.2"),
        ProtocolVersion::TLSv1_3 => Some("TLSv1.3"),
        _ => None,
    }
}

/// The usual verifier, which first notes what the certificates say.
#[derive(Debug)]
struct Capture {
    verifier: Arc<WebPkiServerVerifier>,
    check: Check,
    shown: Arc<OnceLock<Shown>>,
}

impl ServerCertVerifier for Capture {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let _ = self.shown.set(Shown::new(end_entity, intermediates));
        if self.check == Check::Nothing {
            return Ok(ServerCertVerified::assertion());
        }
        let verdict = self.verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verdict {
            // webpki looks at the name last, so the chain is good when only the name is not.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.check == Check::Chain => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// A stream that notes whether the peer ever said anything.
#[derive(Debug)]
pub(super) struct Heeded<S> {
    stream: S,
    heard: Arc<AtomicBool>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Heeded<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.heard.store(true, Ordering::Relaxed);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heeded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

fn too_slow(heard: bool) -> Failure {
    if heard {
        Failure::new(Reason::TlsHandshake, "the peer began the TLS handshake and did not finish it before the deadline")
    } else {
        Failure::new(Reason::FirstByteTimeout, "connected, but the TLS handshake got no answer before the deadline")
    }
}

fn failed(error: &io::Error, heard: bool, shown: Option<&Shown>) -> Failure {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(error) => failure_of(error, shown),
        None if heard => Failure::new(Reason::ClosedEarly, "the peer closed in the middle of the TLS handshake"),
        None => Failure::new(Reason::ClosedEarly, "the peer closed instead of answering the TLS handshake"),
    }
}

/// What a TLS error means for the edge.
pub(super) fn failure_of(error: &rustls::Error, shown: Option<&Shown>) -> Failure {
    use rustls::Error::{
        AlertReceived, InvalidCertificate, InvalidMessage as Invalid, PeerIncompatible as Incompatible,
    };
    match error {
        InvalidCertificate(error) => {
            let mut failure = certificate(error, shown.and_then(|shown| shown.facts.not_after));
            if shown.is_some_and(|shown| shown.is_traefik_default) {
                failure.detail += "; it is Traefik's default certificate: Traefik has none for this name";
            }
            failure
        }
        AlertReceived(AlertDescription::ProtocolVersion)
        | Incompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled,
        ) => Failure::new(Reason::TlsVersion, "the peer speaks neither TLS 1.2 nor TLS 1.3"),
        // The first bytes were no TLS record: plain HTTP, SMTP or the like.
        Invalid(InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion) => {
            Failure::new(Reason::ProtoMismatch, "the answer to the TLS handshake is not TLS")
        }
        AlertReceived(alert) => {
            Failure::new(Reason::TlsHandshake, format!("the peer ended the TLS handshake with the alert {alert:?}"))
        }
        // rustls's own texts name protocol states, never data of the connection.
        error => Failure::new(Reason::TlsHandshake, format!("the TLS handshake failed: {error}")),
    }
}

fn certificate(error: &CertificateError, not_after: Option<i64>) -> Failure {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            // The leaf's own end is told, for an issuer on the way may be what expired.
            let leaf =
                not_after.and_then(day).map_or_else(String::new, |day| format!(" (the certificate ends on {day})"));
            Failure::new(Reason::TlsExpired, format!("the certificate or one of its issuers has expired{leaf}"))
        }
        CertificateError::NotValidYet => Failure::new(Reason::TlsNotYetValid, "the certificate is not valid yet"),
        CertificateError::NotValidYetContext { not_before, .. } => {
            let from = i64::try_from(not_before.as_secs()).ok().and_then(day);
            let detail = from.map_or_else(
                || "the certificate is not valid yet".to_owned(),
                |day| format!("the certificate is not valid before {day}"),
            );
            Failure::new(Reason::TlsNotYetValid, detail)
        }
        CertificateError::NotValidForName => {
            Failure::new(Reason::TlsNameMismatch, "the certificate is for another name")
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let detail =
                format!("the certificate is not for {} but for {}", expected.to_str(), quoted(&presented.join(", ")));
            Failure::new(Reason::TlsNameMismatch, detail)
        }
        CertificateError::UnknownIssuer => Failure::new(
            Reason::TlsUntrusted,
            "the certificate's issuer is not among the public roots or the extra roots",
        ),
        error => Failure::new(Reason::TlsUntrusted, format!("the certificate cannot be trusted: {error}")),
    }
}

/// The UTC day of a time, as people write it.
fn day(seconds: i64) -> Option<String> {
    Some(jiff::Timestamp::from_second(seconds).ok()?.strftime("%Y-%m-%d").to_string())
}
