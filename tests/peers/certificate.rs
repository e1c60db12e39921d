//! A certificate authority and a server certificate, as files.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::CertificateDer;

/// The name in the certificate.
pub(crate) const NAME: &str = "peer.example";
/// 2040-01-01, seconds since 1970.
pub(crate) const END: i64 = 2_208_988_800;

pub(crate) struct Certificate {
    pub(crate) root: CertificateDer<'static>,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

pub(crate) fn write(folder: &Path) -> Certificate {
    write_for(folder, &[NAME])
}

pub(crate) fn write_for(folder: &Path, names: &[&str]) -> Certificate {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let root = authority.self_signed(&key).unwrap().der().clone();
    let issuer = Issuer::new(authority, key);
    let mut leaf = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    leaf.not_after = date_time_ymd(2040, 1, 1);
    let key = KeyPair::generate().unwrap();
    let written = Certificate { root, certificate: folder.join("cert.pem"), key: folder.join("key.pem") };
    fs::write(&written.certificate, leaf.signed_by(&key, &issuer).unwrap().pem()).unwrap();
    fs::write(&written.key, key.serialize_pem()).unwrap();
    written
}
