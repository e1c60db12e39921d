//! The verifier, which notes what the certificates say and its own verdict, and lets the handshake go on.
//!
//! A handshake that is broken off over a certificate leaves a line in the peer's log, and nothing about version and protocol. So it is finished in any case; whoever asked for it ends the connection before anything is said over it if the verdict is bad.

use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};

use super::super::der::{self, Weakness};
use super::Check;
use crate::judge::TlsFacts;

/// The subject of the certificate that Traefik makes for itself where it has none for the name (`pkg/tls/generate`).
const TRAEFIK_DEFAULT: &str = "TRAEFIK DEFAULT CERT";

/// What the peer's certificates say.
#[derive(Debug, Clone, Default)]
pub(in crate::observe) struct Shown {
    pub(super) facts: TlsFacts,
    /// The leaf is Traefik's own default.
    pub(super) is_traefik_default: bool,
    /// The leaf names itself as its issuer.
    pub(super) self_issued: bool,
    /// Certificates that came beside the leaf.
    pub(super) intermediates: usize,
    /// What is too weak about the first of them that is.
    pub(super) weakness: Option<Weakness>,
    /// Our clock when they came, in seconds since 1970.
    pub(super) now: i64,
}

impl Shown {
    pub(super) fn new(leaf: &[u8], intermediates: &[CertificateDer<'_>], now: UnixTime) -> Self {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let Some(leaf) = der::read(leaf) else { return Self { now, ..Self::default() } };
        let chain: Vec<der::Certificate> = intermediates.iter().filter_map(|der| der::read(der)).collect();
        // A root that came along is trusted by its key, whatever its signature.
        let weak = chain.iter().filter(|certificate| !certificate.self_issued).find_map(|c| c.weakness);
        let facts = TlsFacts {
            not_before: Some(leaf.not_before),
            not_after: Some(leaf.not_after),
            chain_not_after: chain.iter().map(|certificate| certificate.not_after).chain([leaf.not_after]).min(),
            issuer: leaf.issuer,
            names: leaf.names,
            first_names: leaf.first_names,
            ..TlsFacts::default()
        };
        Self {
            facts,
            is_traefik_default: leaf.subject.as_deref() == Some(TRAEFIK_DEFAULT),
            self_issued: leaf.self_issued,
            intermediates: intermediates.len(),
            weakness: leaf.weakness.or(weak),
            now,
        }
    }
}

/// What a handshake leaves behind.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) shown: OnceLock<Shown>,
    /// The first thing that was wrong.
    pub(super) verdict: OnceLock<rustls::Error>,
}

/// The usual verifier, which only takes notes.
#[derive(Debug)]
pub(super) struct Capture {
    pub(super) verifier: Arc<WebPkiServerVerifier>,
    pub(super) check: Check,
    pub(super) notes: Arc<Notes>,
}

impl Capture {
    fn note<T>(&self, verdict: Result<T, rustls::Error>) {
        // As sqlx's verifier for sslmode=require, which looks at neither chain nor signature.
        if let Err(error) = verdict
            && self.check != Check::Nothing
        {
            let _ = self.notes.verdict.set(error);
        }
    }
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
        let _ = self.notes.shown.set(Shown::new(end_entity, intermediates, now));
        let verdict = self.verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verdict {
            // webpki looks at the name last, so the chain is good when only the name is not.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.check == Check::Chain => {}
            verdict => self.note(verdict),
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.note(self.verifier.verify_tls12_signature(message, cert, dss));
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.note(self.verifier.verify_tls13_signature(message, cert, dss));
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
