//! TLS handshakes that keep what the certificates say when their verification fails, and say what failed.

mod verify;
mod words;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ProtocolVersion, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::SetupError;
use super::failure::{Failure, quoted};
use super::talk::Talk;
use crate::judge::{Reason, TlsFacts};
use verify::{Capture, Notes, Shown};

pub(super) use words::failure_of;
#[cfg(fuzzing)]
pub(super) use words::fuzz;

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
    ///
    /// The handshake is finished also when the certificate is bad, and then ended before anything is said: no peer logs an alert, and nothing that was shown is lost.
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
        let notes = Arc::new(Notes::default());
        let config = match self.config(check, alpn, notes.clone()) {
            Ok(config) => config,
            Err(error) => return (Err(failure_of(&error, host, None)), None),
        };
        let heard = Arc::new(AtomicBool::new(false));
        let stream = Heeded { stream, heard: heard.clone() };
        let outcome = timeout_at(deadline, TlsConnector::from(config).connect(name, stream)).await;
        let mut facts = notes.shown.get().map(|shown| shown.facts.clone());
        let heard = heard.load(Ordering::Relaxed);
        if let (Ok(Ok(stream)), Some(facts)) = (&outcome, &mut facts) {
            let (_, session) = stream.get_ref();
            facts.version = session.protocol_version().and_then(version);
            facts.alpn = session.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
        }
        // A bad certificate says more than how the handshake went on after it.
        let verdict = notes.verdict.get().map(|error| failure_of(error, host, notes.shown.get()));
        let outcome = match (verdict, outcome) {
            (Some(failure), outcome) => {
                if let Ok(Ok(stream)) = outcome {
                    Talk::new(stream, deadline).close().await;
                }
                Err(failure)
            }
            (None, Ok(done)) => done.map_err(|error| failed(&error, host, heard, notes.shown.get())),
            (None, Err(_)) => Err(too_slow(heard)),
        };
        (outcome, facts)
    }

    /// A configuration for one handshake: no session is resumed, or the second probe would prove less than the first.
    fn config(&self, check: Check, alpn: Option<&[u8]>, notes: Arc<Notes>) -> Result<Arc<ClientConfig>, rustls::Error> {
        let capture = Capture { verifier: self.verifier.clone(), check, notes };
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

fn version(version: ProtocolVersion) -> Option<&'static str> {
    match version {
        ProtocolVersion::TLSv1_2 => Some("TLSv1.2"),
        ProtocolVersion::TLSv1_3 => Some("TLSv1.3"),
        _ => None,
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

fn failed(error: &io::Error, host: &str, heard: bool, shown: Option<&Shown>) -> Failure {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(error) => failure_of(error, host, shown),
        None if heard => Failure::new(Reason::ClosedEarly, "the peer closed in the middle of the TLS handshake"),
        None => Failure::new(Reason::ClosedEarly, "the peer closed instead of answering the TLS handshake"),
    }
}
