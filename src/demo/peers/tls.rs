//! The demo's certificate authority, made anew at each start and kept in memory only.

use std::sync::Arc;

use jiff::{Timestamp, ToSpan, civil::Date, tz::TimeZone};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rcgen::{KeyUsagePurpose, date_time_ymd};
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use tokio_rustls::TlsAcceptor;

/// Why a certificate could not be made or used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// Making it failed.
    #[error("a certificate could not be made")]
    Make(#[from] rcgen::Error),
    /// rustls refused it.
    #[error("a certificate could not be used")]
    Use(#[from] rustls::Error),
    /// The clock is out of the range of dates.
    #[error("the clock gives no usable date")]
    Clock(#[from] jiff::Error),
}

/// The demo's certificate authority.
pub(super) struct Ca {
    issuer: CertifiedIssuer<'static, KeyPair>,
    provider: Arc<CryptoProvider>,
    today: Date,
}

impl Ca {
    pub(super) fn new() -> Result<Self, TlsError> {
        let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "portreeve demo CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_dates(&mut params, today)?;
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        Ok(Self { issuer, provider: Arc::new(ring::default_provider()), today })
    }

    pub(super) fn certificate(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    pub(super) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A server that shows one certificate, for all these names.
    pub(super) fn acceptor(&self, names: &[&str]) -> Result<TlsAcceptor, TlsError> {
        let shown = One(Arc::new(self.certify(names)?));
        self.acceptor_with(Arc::new(shown), &[])
    }

    /// A server that shows the certificate of the host that the client names, or one that is good for nothing.
    pub(super) fn acceptor_by_host(&self, hosts: &[&'static str]) -> Result<TlsAcceptor, TlsError> {
        let certify = |host: &&'static str| Ok((*host, Arc::new(self.certify(&[host])?)));
        let by_host = hosts.iter().map(certify).collect::<Result<_, TlsError>>()?;
        let shown = ByHost { by_host, default: Arc::new(self.default_certificate()?) };
        self.acceptor_with(Arc::new(shown), &[b"http/1.1"])
    }

    fn acceptor_with(&self, shown: Arc<dyn ResolvesServerCert>, alpn: &[&[u8]]) -> Result<TlsAcceptor, TlsError> {
        let versions =
            ServerConfig::builder_with_provider(Arc::clone(&self.provider)).with_safe_default_protocol_versions()?;
        let mut config = versions.with_no_client_auth().with_cert_resolver(shown);
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    fn certify(&self, names: &[&str]) -> Result<CertifiedKey, TlsError> {
        let key = KeyPair::generate()?;
        let certificate = self.leaf(names)?.signed_by(&key, &self.issuer)?;
        self.usable(certificate.der().clone(), key)
    }

    /// What Traefik shows for a host that it has no certificate for: self-signed, for a name that nobody asks for.
    fn default_certificate(&self) -> Result<CertifiedKey, TlsError> {
        let key = KeyPair::generate()?;
        let mut params = self.leaf(&["traefik.default"])?;
        params.distinguished_name.push(DnType::CommonName, "TRAEFIK DEFAULT CERT");
        let certificate = params.self_signed(&key)?;
        self.usable(certificate.der().clone(), key)
    }

    fn leaf(&self, names: &[&str]) -> Result<CertificateParams, TlsError> {
        let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
        params.distinguished_name.push(DnType::CommonName, names.first().copied().unwrap_or("portreeve demo"));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        set_dates(&mut params, self.today)?;
        Ok(params)
    }

    fn usable(&self, certificate: CertificateDer<'static>, key: KeyPair) -> Result<CertifiedKey, TlsError> {
        Ok(CertifiedKey::from_der(vec![certificate], PrivateKeyDer::from(key), &self.provider)?)
    }
}

/// Yesterday, for clients whose clock is behind, to 90 days from now, as ACME certificates have it.
fn set_dates(params: &mut CertificateParams, today: Date) -> Result<(), TlsError> {
    let date = |day: Date| date_time_ymd(day.year().into(), day.month().unsigned_abs(), day.day().unsigned_abs());
    params.not_before = date(today.checked_sub(1.day())?);
    params.not_after = date(today.checked_add(90.days())?);
    Ok(())
}

#[derive(Debug)]
struct One(Arc<CertifiedKey>);

impl ResolvesServerCert for One {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

#[derive(Debug)]
struct ByHost {
    by_host: Vec<(&'static str, Arc<CertifiedKey>)>,
    default: Arc<CertifiedKey>,
}

impl ResolvesServerCert for ByHost {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asked = hello.server_name().unwrap_or_default();
        let known = self.by_host.iter().find(|(host, _)| host.eq_ignore_ascii_case(asked));
        Some(Arc::clone(known.map_or(&self.default, |(_, key)| key)))
    }
}
