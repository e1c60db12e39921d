//! PostgreSQL, without and with TLS.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use portreeve::judge::Reason;
use portreeve::matrix::{Exchange, Login, SslMode, SslNegotiation};
use portreeve::observe::{Prober, Target};

use crate::server::{Server, as_user, folder, free, give, program};
use crate::{DEADLINE, block_on, certificate, check};

const USER: &str = "postgres";

fn binary(name: &str) -> PathBuf {
    program(name, &["/usr/lib/postgresql/*/bin", "/usr/local/bin", "/usr/bin"], "postgresql")
}

fn start(data: &Path, address: SocketAddr, log: &Path, settings: &[String]) -> Server {
    let mut command = as_user(USER, &binary("postgres"));
    command.arg("-D").arg(data).args(["-h", "127.0.0.1", "-p", &address.port().to_string(), "-F"]);
    command.arg("-c").arg(format!("unix_socket_directories={}", data.display()));
    for setting in settings {
        command.args(["-c", setting]);
    }
    let before = times_ready(log);
    // SIGINT is the fast shutdown.
    let server = Server::start(&mut command, "INT", address, log);
    // It listens before it takes sessions: until then it answers with 57P03.
    let end = Instant::now() + Duration::from_secs(15);
    while times_ready(log) == before {
        assert!(Instant::now() < end, "PostgreSQL does not get ready");
        sleep(Duration::from_millis(20));
    }
    server
}

fn times_ready(log: &Path) -> usize {
    fs::read_to_string(log).map_or(0, |text| text.matches("ready to accept connections").count())
}

fn exchange(ssl_mode: SslMode) -> Exchange {
    Exchange::postgres(ssl_mode)
}

#[test]
fn postgres_is_proven_and_hears_nothing_of_it() {
    let folder = folder();
    let (data, log, address) = (folder.path().join("data"), folder.path().join("log"), free());
    fs::create_dir(&data).unwrap();
    give(&data, USER, 0o700);
    let mut initdb = as_user(USER, &binary("initdb"));
    initdb.arg("-D").arg(&data).args(["--no-sync", "-A", "trust", "--locale", "C"]);
    let made = initdb.output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let prober = Prober::new(&[]).unwrap();

    let server = start(&data, address, &log, &[]);
    check(&prober, address, Exchange::Tcp, Reason::Ok, "");
    check(&prober, address, exchange(SslMode::Disable), Reason::Ok, "without TLS");
    check(&prober, address, exchange(SslMode::Prefer), Reason::Ok, "without TLS");
    check(&prober, address, exchange(SslMode::Require), Reason::TlsHandshake, "offers no TLS");
    let deep = |prober: &Prober, login: Option<&str>| {
        let login = login.map(|user| Login { user: user.to_owned(), database: "postgres".to_owned() });
        let negotiation = SslNegotiation::Postgres;
        let exchange = Exchange::Postgres { ssl_mode: SslMode::Prefer, negotiation, login };
        let target = Target::new("a-to-b", address, exchange).named(certificate::NAME).deep();
        block_on(prober.probe(&target, DEADLINE))
    };
    // `trust` lets a known user in without a password.
    let got = deep(&prober, Some(USER));
    assert_eq!(got.reason, Reason::Ok, "{}", got.detail);
    assert!(got.detail.contains("it takes connections"), "{}", got.detail);
    server.stop(address);
    assert_eq!(complaints(&log), Vec::<String>::new());

    // SCRAM asks everybody, known or not, and complains about nobody who leaves then.
    fs::write(data.join("pg_hba.conf"), "host all all 127.0.0.1/32 scram-sha-256\n").unwrap();
    let server = start(&data, address, &log, &[]);
    for login in [None, Some("nobody")] {
        let got = deep(&prober, login);
        assert_eq!(got.reason, Reason::Ok, "{}", got.detail);
        assert!(got.detail.contains("it takes connections"), "{}", got.detail);
    }
    server.stop(address);
    assert_eq!(complaints(&log), Vec::<String>::new());
    let refusing = folder.path().join("refusing");
    fs::write(data.join("pg_hba.conf"), "host all mas 127.0.0.1/32 scram-sha-256\n").unwrap();
    let server = start(&data, address, &refusing, &[]);
    assert_eq!(deep(&prober, Some("nobody")).reason, Reason::ProtoAuth);
    let got = deep(&prober, None);
    assert_eq!(got.reason, Reason::Ok, "{}", got.detail);
    assert!(got.detail.contains("refuses a made-up one"), "{}", got.detail);
    server.stop(address);

    check(&prober, address, exchange(SslMode::Prefer), Reason::ConnectRefusedRst, "reset");

    let files = certificate::write(folder.path());
    give(&files.key, USER, 0o600);
    let settings = [
        "ssl=on".to_owned(),
        format!("ssl_cert_file={}", files.certificate.display()),
        format!("ssl_key_file={}", files.key.display()),
    ];
    let server = start(&data, address, &log, &settings);
    let trusting = Prober::new(&[files.root]).unwrap();
    for (prober, mode) in [
        (&prober, SslMode::Prefer),
        (&prober, SslMode::Require),
        (&trusting, SslMode::VerifyCa),
        (&trusting, SslMode::VerifyFull),
    ] {
        let got = check(prober, address, exchange(mode), Reason::Ok, "with TLS");
        assert_eq!(got.tls_not_after(), Some(certificate::END), "{mode:?}");
    }
    check(&prober, address, exchange(SslMode::Disable), Reason::Ok, "offers TLS");
    // A certificate that is not trusted is no reason to break a handshake off, so it leaves no line either.
    let got = check(&prober, address, exchange(SslMode::VerifyFull), Reason::TlsUntrusted, "issuer");
    assert_eq!(got.tls_not_after(), Some(certificate::END));
    // The one that has to complain: it proves that complaints would be seen.
    TcpStream::connect(address).unwrap().write_all(&[0, 0]).unwrap();
    server.stop(address);
    let complaints = complaints(&log);
    assert!(matches!(&complaints[..], [one] if one.contains("incomplete startup packet")), "{complaints:#?}");
}

/// What the server said about connections. Read after its end, when all is written.
fn complaints(log: &Path) -> Vec<String> {
    let text = fs::read_to_string(log).unwrap();
    assert!(text.contains("ready to accept connections") && text.contains("database system is shut down"), "{text}");
    let words = ["SSL", "connection", "packet", "FATAL", "ERROR"];
    text.lines()
        .filter(|line| !line.contains("ready to accept connections"))
        .filter(|line| words.iter().any(|word| line.contains(word)))
        .map(str::to_owned)
        .collect()
}
