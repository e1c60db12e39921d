//! pgbouncer in front of PostgreSQL. It answers the startup message itself, and says 08P01 to nearly everything.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use portreeve::judge::Reason;
use portreeve::matrix::SslMode;
use portreeve::observe::Prober;

use crate::postgres::states::session;
use crate::postgres::{Cluster, USER, check_deep, exchange};
use crate::server::{Server, as_user, free, give, program};
use crate::{certificate, check};

/// Clients that it takes.
const MOST: usize = 2;

fn start(folder: &Path, address: SocketAddr, database: SocketAddr, settings: &str) -> Server {
    let pgbouncer = program("pgbouncer", &["/usr/sbin", "/usr/local/bin", "/usr/bin"], "pgbouncer");
    let (config, users) = (folder.join("pgbouncer.ini"), folder.join("users"));
    let mut text = format!(
        "[databases]\nmas = host=127.0.0.1 port={} dbname=postgres user={USER}\n[pgbouncer]\n",
        database.port()
    );
    let port = address.port();
    write!(text, "listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\npool_mode = session\n").unwrap();
    write!(text, "max_client_conn = {MOST}\nauth_file = {}\n{settings}", users.display()).unwrap();
    fs::write(&config, text).unwrap();
    fs::write(&users, "\"mas\" \"secret\"\n").unwrap();
    let mut command = as_user(USER, &pgbouncer);
    command.arg("--quiet").arg(&config);
    Server::start(&mut command, "INT", address, &folder.join("pgbouncer.log"))
}

#[test]
fn pgbouncer_is_proven() {
    let cluster = Cluster::new();
    let server = cluster.start(&cluster.log(), &[]);
    let (folder, address) = (cluster.folder.path(), free());
    let prober = Prober::new(&[]).unwrap();
    let mas = Some(("mas", "mas"));

    let pooler = start(folder, address, cluster.address, "auth_type = trust\n");
    check(&prober, address, exchange(SslMode::Prefer), Reason::Ok, "without TLS");
    check_deep(&prober, address, mas, Reason::Ok, "it takes connections");
    check_deep(&prober, address, None, Reason::Ok, "refuses a made-up one");
    check_deep(&prober, address, Some(("mas", "other")), Reason::ProtoMismatch, "no such user or database");
    let held: Vec<_> = (0..MOST).map(|_| session(address, "mas", "mas")).collect();
    for login in [mas, None] {
        check_deep(&prober, address, login, Reason::ProtoMismatch, "too many clients");
    }
    drop(held);
    pooler.stop(address);

    let files = certificate::write(folder);
    give(&files.key, USER, 0o600);
    let (certificate, key) = (files.certificate.display(), files.key.display());
    let tls = format!(
        "client_tls_sslmode = require\nclient_tls_cert_file = {certificate}\nclient_tls_key_file = {key}\nauth_type = scram-sha-256\n"
    );
    let pooler = start(folder, address, cluster.address, &tls);
    let trusting = Prober::new(&[files.root]).unwrap();
    check(&trusting, address, exchange(SslMode::VerifyFull), Reason::Ok, "with TLS");
    check_deep(&trusting, address, mas, Reason::Ok, "with TLS; it takes connections");
    server.stop(cluster.address);
    // It asks for the password before it looks for its server, so nobody without one can tell.
    check_deep(&trusting, address, mas, Reason::Ok, "with TLS; it takes connections");
    pooler.stop(address);
}
