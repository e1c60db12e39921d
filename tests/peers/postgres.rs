//! PostgreSQL, without and with TLS, and in the states in which it serves nobody (`postgres/states.rs`).

#[path = "postgres/states.rs"]
pub(crate) mod states;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use portreeve::judge::{Attempt, Reason};
use portreeve::matrix::{Exchange, SslMode};
use portreeve::observe::{Login, Prober, Target};
use tempfile::TempDir;

use crate::server::{PATIENCE, Server, as_user, folder, free, give, program};
use crate::{DEADLINE, block_on, certificate, check};

pub(crate) const USER: &str = "postgres";

/// A database cluster of its own, which trusts everybody who comes over loopback.
pub(crate) struct Cluster {
    pub(crate) folder: TempDir,
    pub(crate) data: PathBuf,
    pub(crate) address: SocketAddr,
}

impl Cluster {
    pub(crate) fn new() -> Self {
        let folder = folder();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        give(&data, USER, 0o700);
        let mut initdb = as_user(USER, &binary("initdb"));
        initdb.arg("-D").arg(&data).args(["--no-sync", "-A", "trust", "--locale", "C"]);
        let made = initdb.output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self { folder, data, address: free() }
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Starts it and waits until it takes sessions.
    pub(crate) fn start(&self, log: &Path, settings: &[&str]) -> Server {
        let before = times_ready(log);
        // SIGTERM is the smart shutdown: backends that still say goodbye to a client do so. A fast one makes them complain.
        let server = self.run(log, settings, "TERM");
        // It listens before it takes sessions: until then it answers with 57P03.
        let end = Instant::now() + PATIENCE;
        while times_ready(log) == before {
            assert!(Instant::now() < end, "PostgreSQL does not get ready");
            sleep(Duration::from_millis(20));
        }
        server
    }

    /// Starts it and waits until it listens, for a server that never takes sessions.
    pub(crate) fn start_only(&self, log: &Path, settings: &[&str]) -> Server {
        // The fast shutdown.
        self.run(log, settings, "INT")
    }

    fn run(&self, log: &Path, settings: &[&str], signal: &'static str) -> Server {
        let mut command = as_user(USER, &binary("postgres"));
        command.arg("-D").arg(&self.data).args(["-h", "127.0.0.1", "-p", &self.address.port().to_string(), "-F"]);
        command.arg("-c").arg(format!("unix_socket_directories={}", self.data.display()));
        for setting in settings {
            command.args(["-c", setting]);
        }
        Server::start(&mut command, signal, self.address, log)
    }

    pub(crate) fn allow(&self, lines: &str) {
        fs::write(self.data.join("pg_hba.conf"), lines).unwrap();
    }
}

fn binary(name: &str) -> PathBuf {
    program(name, &["/usr/lib/postgresql/*/bin", "/usr/local/bin", "/usr/bin"], "postgresql")
}

fn times_ready(log: &Path) -> usize {
    fs::read_to_string(log).map_or(0, |text| text.matches("ready to accept connections").count())
}

pub(crate) fn exchange(ssl_mode: SslMode) -> Exchange {
    Exchange::Postgres { ssl_mode }
}

/// The deep probe, which goes on to the startup message.
pub(crate) fn deep(prober: &Prober, address: SocketAddr, login: Option<(&str, &str)>) -> Attempt {
    let mut target = Target::new("a-to-b", address, exchange(SslMode::Prefer)).named(certificate::NAME).deep();
    target.login = login.map(|(user, database)| Login { user: user.to_owned(), database: database.to_owned() });
    block_on(prober.probe(&target, DEADLINE))
}

#[track_caller]
pub(crate) fn check_deep(
    prober: &Prober,
    address: SocketAddr,
    login: Option<(&str, &str)>,
    reason: Reason,
    part: &str,
) -> Attempt {
    let got = deep(prober, address, login);
    assert_eq!(got.reason, reason, "{}", got.detail);
    assert!(got.detail.contains(part), "{}", got.detail);
    got
}

#[test]
fn postgres_is_proven_and_hears_nothing_of_it() {
    let cluster = Cluster::new();
    let (address, log) = (cluster.address, cluster.log());
    let prober = Prober::new(&[]).unwrap();

    let server = cluster.start(&log, &[]);
    check(&prober, address, Exchange::Tcp, Reason::Ok, "");
    check(&prober, address, exchange(SslMode::Disable), Reason::Ok, "without TLS");
    check(&prober, address, exchange(SslMode::Prefer), Reason::Ok, "without TLS");
    check(&prober, address, exchange(SslMode::Require), Reason::TlsHandshake, "offers no TLS");
    // `trust` lets a known user in without a password.
    check_deep(&prober, address, Some((USER, "postgres")), Reason::Ok, "it takes connections");
    server.stop(address);
    assert_eq!(complaints(&log), Vec::<String>::new());

    // SCRAM asks everybody, known or not, and complains about nobody who leaves then.
    cluster.allow("host all all 127.0.0.1/32 scram-sha-256\n");
    let server = cluster.start(&log, &[]);
    for login in [None, Some(("nobody", "postgres"))] {
        check_deep(&prober, address, login, Reason::Ok, "it takes connections");
    }
    server.stop(address);
    assert_eq!(complaints(&log), Vec::<String>::new());
    check(&prober, address, exchange(SslMode::Prefer), Reason::ConnectRefusedRst, "reset");

    let files = certificate::write(cluster.folder.path());
    give(&files.key, USER, 0o600);
    let with_tls = with_tls(&files);
    let server = cluster.start(&log, &with_tls.each_ref().map(String::as_str));
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
    let got = check(&prober, address, exchange(SslMode::VerifyFull), Reason::TlsUntrusted, "self-signed");
    assert_eq!(got.tls_not_after(), Some(certificate::END));
    // Proves that complaints would be seen.
    let mut rude = TcpStream::connect(address).unwrap();
    rude.write_all(&[0; 8]).unwrap();
    // Its end is the server's answer.
    let _ = rude.read(&mut [0]);
    server.stop(address);
    let complaints = complaints(&log);
    assert!(matches!(&complaints[..], [one] if one.contains("invalid length of startup packet")), "{complaints:#?}");
}

fn with_tls(files: &certificate::Certificate) -> [String; 3] {
    [
        "ssl=on".to_owned(),
        format!("ssl_cert_file={}", files.certificate.display()),
        format!("ssl_key_file={}", files.key.display()),
    ]
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
