//! Certificates that are wrong in one way each, and servers that show them.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// The name that is asked for everywhere.
pub(crate) const NAME: &str = "mas.zoo.example";

/// An authority, an authority below it, and what they signed.
pub(crate) struct Authority {
    pub(crate) root: CertificateDer<'static>,
    root_issuer: Issuer<'static, KeyPair>,
}

/// What a server shows.
pub(crate) struct Chain {
    certificates: Vec<CertificateDer<'static>>,
    key: KeyPair,
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

pub(crate) fn leaf(names: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "the leaf");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.not_after = date_time_ymd(2040, 1, 1);
    params
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let params = authority(name);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap().der().clone();
        Self { root, root_issuer: Issuer::new(params, key) }
    }

    /// Signed by the root.
    pub(crate) fn sign(&self, params: &CertificateParams) -> Chain {
        let key = KeyPair::generate().unwrap();
        Chain { certificates: vec![params.signed_by(&key, &self.root_issuer).unwrap().der().clone()], key }
    }

    /// Signed by an authority below the root, which `change` may spoil; `sent` or not.
    pub(crate) fn sign_below(
        &self,
        params: &CertificateParams,
        change: impl FnOnce(&mut CertificateParams),
        sent: bool,
    ) -> Chain {
        let mut below = authority("the intermediate");
        change(&mut below);
        let key = KeyPair::generate().unwrap();
        let certificate = below.signed_by(&key, &self.root_issuer).unwrap().der().clone();
        let issuer = Issuer::new(below, key);
        let key = KeyPair::generate().unwrap();
        let mut certificates = vec![params.signed_by(&key, &issuer).unwrap().der().clone()];
        certificates.extend(sent.then_some(certificate));
        Chain { certificates, key }
    }
}

pub(crate) fn self_signed(params: &CertificateParams) -> Chain {
    let key = KeyPair::generate().unwrap();
    Chain { certificates: vec![params.self_signed(&key).unwrap().der().clone()], key }
}

impl Chain {
    pub(crate) fn config(self) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let versions = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap();
        let mut config = versions.with_no_client_auth().with_single_cert(self.certificates, key).unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec(), b"postgresql".to_vec()];
        Arc::new(config)
    }
}

/// OpenSSL, for what neither rcgen makes nor rustls shows.
pub(crate) struct OpenSsl {
    pub(crate) address: SocketAddr,
    child: Child,
}

/// Runs `openssl` in a folder.
pub(crate) fn openssl(folder: &Path, args: &str) {
    let outcome = Command::new("openssl").args(args.split_whitespace()).current_dir(folder).output();
    let outcome =
        outcome.unwrap_or_else(|error| panic!("openssl cannot be run ({error}): install the package openssl"));
    assert!(outcome.status.success(), "openssl {args}: {}", String::from_utf8_lossy(&outcome.stderr));
}

/// An authority in the folder: `root.pem`, `root.key`, and what leaves have in common.
pub(crate) fn openssl_authority(folder: &Path) {
    fs::write(folder.join("leaf.ext"), format!("subjectAltName=DNS:{NAME}\nextendedKeyUsage=serverAuth\n")).unwrap();
    openssl(
        folder,
        "req -x509 -newkey rsa:2048 -nodes -sha256 -days 3650 -subj /CN=root -keyout root.key -out root.pem",
    );
}

/// `NAME.pem` and `NAME.key`, by the authority.
pub(crate) fn openssl_leaf(folder: &Path, name: &str, key: &str, digest: &str) {
    openssl(folder, &format!("req -newkey {key} -nodes -subj /CN=leaf -keyout {name}.key -out {name}.csr"));
    openssl(
        folder,
        &format!(
            "x509 -req -in {name}.csr -CA root.pem -CAkey root.key -CAcreateserial -days 3650 -{digest} -extfile leaf.ext -out {name}.pem"
        ),
    );
}

impl OpenSsl {
    pub(crate) fn serve(folder: &Path, certificate: &str, more: &str) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let args = format!(
            "s_server -accept {address} -cert {certificate}.pem -key {certificate}.key -cipher DEFAULT@SECLEVEL=0 -alpn http/1.1,postgresql -www -quiet {more}"
        );
        let mut command = Command::new("openssl");
        command.args(args.split_whitespace()).current_dir(folder);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut server = Self { address, child };
        let end = Instant::now() + Duration::from_mins(1);
        while TcpStream::connect(address).is_err() {
            let ended = server.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < end, "openssl {args} does not listen: {ended:?}");
            sleep(Duration::from_millis(20));
        }
        server
    }
}

impl Drop for OpenSsl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
