//! What is probed: small servers in one process, each on a port of its own, on every loopback address.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::namespace::folder;
use crate::process::quantile;

/// The name in the certificates.
pub(crate) const NAME: &str = "peer.example";

/// Accepts and closes.
pub(crate) const TCP: u16 = 7001;
/// Answers 200.
pub(crate) const HTTP: u16 = 7002;
/// The same over TLS.
pub(crate) const HTTPS: u16 = 7003;
/// Answers 200 after [`LATE_BY`], and says at `/error` how exactly it kept that.
pub(crate) const LATE: u16 = 7004;
/// Answers 503.
pub(crate) const BUSY: u16 = 7005;
/// Its certificate has expired.
pub(crate) const EXPIRED: u16 = 7006;
/// Its certificate is for another name.
pub(crate) const MISNAMED: u16 = 7007;
/// Its certificate is by an issuer that nobody trusts.
pub(crate) const UNTRUSTED: u16 = 7008;
/// Closes when the request has come.
pub(crate) const HANGUP: u16 = 7009;
/// Accepts, and says nothing.
pub(crate) const SILENT: u16 = 7010;
/// Nothing listens.
pub(crate) const CLOSED: u16 = 7011;

/// Long against the way there and back (50 µs), short enough for many.
pub(crate) const LATE_BY: Duration = Duration::from_millis(20);

/// One of many addresses: a port of a client can be in use once for each.
pub(crate) fn address(number: usize) -> IpAddr {
    let octet = |number: usize| u8::try_from(number % 250).unwrap();
    IpAddr::V4(Ipv4Addr::new(127, 1, octet(number / 250), 1 + octet(number)))
}

/// The root that signs what is right, as PEM.
pub(crate) fn ca() -> std::path::PathBuf {
    folder().join("ca.pem")
}

pub(crate) fn serve() {
    std::thread::spawn(late);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (trusted, unknown) = (Authority::new(), Authority::new());
        fs::write(ca(), &trusted.pem).unwrap();
        listen(TCP, |stream| async move { drop(stream) });
        listen(HTTP, |stream| answer(stream, OK));
        listen(BUSY, |stream| answer(stream, UNAVAILABLE));
        listen(HANGUP, |stream| answer(stream, ""));
        listen(
            SILENT,
            |mut stream: TcpStream| async move { while matches!(stream.read(&mut [0; 1024]).await, Ok(1..)) {} },
        );
        let tls = [
            (HTTPS, &trusted, NAME, 2040),
            (EXPIRED, &trusted, NAME, 2020),
            (MISNAMED, &trusted, "other.example", 2040),
            (UNTRUSTED, &unknown, NAME, 2040),
        ];
        for (port, authority, name, end) in tls {
            let acceptor = authority.acceptor(name, end);
            listen(port, move |stream| {
                let acceptor = acceptor.clone();
                async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        answer(stream, OK).await;
                    }
                }
            });
        }
        println!("ready");
        std::future::pending::<()>().await;
    });
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n";
const UNAVAILABLE: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

fn listen<F: Future<Output = ()> + Send + 'static>(port: u16, serve: impl Fn(TcpStream) -> F + Send + 'static) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).unwrap();
    let listener = socket.listen(4096).unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let _ = stream.set_nodelay(true);
            tokio::spawn(serve(stream));
        }
    });
}

/// Reads one request, says the answer, and closes when the client has.
async fn answer<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, text: &'static str) {
    let (mut request, mut buffer) = (Vec::new(), [0; 1024]);
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(count @ 1..) => request.extend_from_slice(&buffer[..count]),
            _ => return,
        }
    }
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// Threads that sleep, for a runtime's timers are as coarse as a millisecond.
fn late() {
    let listener = std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, LATE)).unwrap();
    let errors = Arc::new(Mutex::new(Vec::new()));
    for _ in 0..64 {
        let (listener, errors) = (listener.try_clone().unwrap(), Arc::clone(&errors));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let _ = answer_late(&mut stream.unwrap(), &errors);
            }
        });
    }
}

fn answer_late(stream: &mut std::net::TcpStream, errors: &Mutex<Vec<f64>>) -> std::io::Result<()> {
    let (mut request, mut buffer) = (Vec::new(), [0; 1024]);
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            count => request.extend_from_slice(&buffer[..count]),
        }
    }
    if request.starts_with(b"GET /error ") {
        let mut errors = std::mem::take(&mut *errors.lock().unwrap());
        return write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}", quantile(&mut errors, 0.99));
    }
    let heard = Instant::now();
    std::thread::sleep(LATE_BY);
    errors.lock().unwrap().push(heard.elapsed().saturating_sub(LATE_BY).as_secs_f64() * 1e3);
    stream.write_all(OK.as_bytes())
}

/// Issues certificates of the kind that most servers have today: ECDSA on P-256.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn acceptor(&self, name: &str, end: i32) -> TlsAcceptor {
        let mut leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (leaf.not_before, leaf.not_after) = (date_time_ymd(2019, 1, 1), date_time_ymd(end, 1, 1));
        let key = KeyPair::generate().unwrap();
        let certificate = leaf.signed_by(&key, &self.issuer).unwrap().der().clone();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = versions.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}
