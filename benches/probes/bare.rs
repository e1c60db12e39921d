//! The ceiling: the same bytes with blocking sockets and nothing around them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portreeve::observe::roots_from_pem;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, Stream};

use crate::common::say;
use crate::process::cpu;
use crate::targets::{self, address};
use crate::{SECONDS, Talk};

pub(crate) fn rate(talk: Talk, quick: bool) {
    let config = config();
    let talk_with = |number: usize| match talk {
        Talk::Tcp => drop(connect(number, targets::TCP)),
        Talk::Http => ask(&mut connect(number, targets::HTTP)),
        Talk::Tls => {
            let name = ServerName::try_from(targets::NAME).unwrap();
            let mut connection = ClientConnection::new(Arc::clone(&config), name).unwrap();
            let mut stream = connect(number, targets::HTTPS);
            ask(&mut Stream::new(&mut connection, &mut stream));
        }
    };
    (0..200).for_each(talk_with);
    let (end, before) = (Instant::now() + seconds(quick), cpu(std::process::id()));
    let mut count = 0;
    while Instant::now() < end {
        talk_with(count);
        count += 1;
    }
    say("rate", count as f64 / (cpu(std::process::id()) - before));
}

pub(crate) fn seconds(quick: bool) -> Duration {
    Duration::from_secs(if quick { 1 } else { SECONDS })
}

fn connect(number: usize, port: u16) -> TcpStream {
    let stream = TcpStream::connect((address(number), port)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn ask(stream: &mut (impl Read + Write)) {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: peer.example\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = [0; 1024];
    let count = stream.read(&mut answer).unwrap();
    assert!(answer[..count].starts_with(b"HTTP/1.1 200"), "the target does not serve");
}

fn config() -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(roots_from_pem(&std::fs::read(targets::ca()).unwrap()).unwrap());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = versions.with_root_certificates(roots).with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    Arc::new(config)
}
