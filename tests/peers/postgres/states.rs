//! A PostgreSQL that answers and takes no session: starting, recovering, full, refusing. Only the deep probe can tell.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use portreeve::judge::Reason;
use portreeve::matrix::SslMode;
use portreeve::observe::Prober;

use super::{Cluster, USER, check_deep, exchange, with_tls};
use crate::server::{PATIENCE, give};
use crate::{certificate, check};

const KNOWN: Option<(&str, &str)> = Some((USER, "postgres"));

/// A session that holds one of the server's connections for as long as the value lives.
pub(crate) fn session(address: SocketAddr, user: &str, database: &str) -> TcpStream {
    let body = format!("\0\x03\0\0user\0{user}\0database\0{database}\0\0");
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&[&length, body.as_bytes()].concat()).unwrap();
    let mut answer = [0; 9];
    stream.read_exact(&mut answer).unwrap();
    // AuthenticationOk.
    assert_eq!(&answer, b"R\0\0\0\x08\0\0\0\0", "{user} gets no session");
    stream
}

#[test]
fn a_full_postgres_is_told() {
    let cluster = Cluster::new();
    let (address, log) = (cluster.address, cluster.log());
    let prober = Prober::new(&[]).unwrap();
    let few = ["max_connections=1", "superuser_reserved_connections=0", "max_wal_senders=0", "autovacuum=off"];
    let server = cluster.start(&log, &few);
    for login in [None, KNOWN] {
        // A made-up user is refused, which proves as much.
        let part = if login.is_some() { "it takes connections" } else { "refuses a made-up one" };
        check_deep(&prober, address, login, Reason::Ok, part);
    }
    let held = session(address, USER, "postgres");
    for login in [None, KNOWN] {
        check_deep(&prober, address, login, Reason::ProtoMismatch, "53300");
    }
    // The shallow probe cannot know: the postmaster still answers.
    check(&prober, address, exchange(SslMode::Prefer), Reason::Ok, "PostgreSQL answers");
    drop(held);
    server.stop(address);
}

#[test]
fn a_postgres_that_starts_or_recovers_is_told() {
    let cluster = Cluster::new();
    let (address, log) = (cluster.address, cluster.log());
    let prober = Prober::new(&[]).unwrap();
    fs::write(cluster.data.join("standby.signal"), "").unwrap();
    // Waiting for the archive; and at the end of it, without leave to serve.
    for settings in [&["restore_command=sleep 600"][..], &["restore_command=false", "hot_standby=off"]] {
        let server = cluster.start_only(&log, settings);
        for login in [None, KNOWN] {
            check_deep(&prober, address, login, Reason::ProtoMismatch, "57P03");
        }
        check(&prober, address, exchange(SslMode::Prefer), Reason::Ok, "PostgreSQL answers");
        server.stop(address);
    }
}

#[test]
fn a_postgres_that_refuses_us_is_told() {
    let cluster = Cluster::new();
    let (address, log) = (cluster.address, cluster.log());
    let prober = Prober::new(&[]).unwrap();
    let files = certificate::write(cluster.folder.path());
    give(&files.key, USER, 0o600);
    let with_tls = with_tls(&files);
    let with_tls = with_tls.each_ref().map(String::as_str);

    // No line for this user; no line for a connection without TLS.
    for (lines, settings) in [
        ("host all mas 127.0.0.1/32 scram-sha-256\n", &with_tls[..]),
        ("hostssl all all 127.0.0.1/32 scram-sha-256\n", &[]),
    ] {
        cluster.allow(lines);
        let server = cluster.start(&log, settings);
        check_deep(&prober, address, KNOWN, Reason::ProtoAuth, "28000");
        check_deep(&prober, address, None, Reason::Ok, "refuses a made-up one");
        server.stop(address);
    }
    // The same line, and TLS: it asks for the password.
    let server = cluster.start(&log, &with_tls);
    check_deep(&prober, address, KNOWN, Reason::Ok, "with TLS; it takes connections");
    server.stop(address);

    // The user is let in, the database is not there.
    cluster.allow("host all all 127.0.0.1/32 trust\n");
    let server = cluster.start(&log, &[]);
    check_deep(&prober, address, Some((USER, "mas")), Reason::ProtoAuth, "3D000");
    server.stop(address);
}
