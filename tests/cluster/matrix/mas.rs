//! A stand-in for MAS in a real cluster: it answers what MAS answers to those without credentials, and opens what MAS opens.
//!
//! `mas-stand-in migrate` waits until the database takes MAS's user, as MAS's init container does. `mas-stand-in server` serves the web listener on 8080 and
//! `/health`, which asks the database, on 8081; every few seconds it has the conversations that MAS has with its peers, and prints how they go when that changes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a program for tests ends loudly"
)]

use std::collections::BTreeMap;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use portreeve::demo::net::Serve;
use portreeve::demo::peers::Mas;
use portreeve::judge::Reason;
use portreeve::matrix::{Exchange, SmtpMode, SslMode};
use portreeve::observe::{Login, Prober, ResolvConf, Target, roots_from_pem};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, timeout};

/// From one round of conversations to the next.
const ROUND: Duration = Duration::from_secs(5);
/// MAS waits for its database so long (`crates/config/src/sections/database.rs`).
const PATIENCE: Duration = Duration::from_secs(30);

fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

/// One of MAS's own connections.
struct Peer {
    edge: &'static str,
    /// `host:port`, looked up by the system's resolver as MAS does it.
    to: String,
    exchange: Exchange,
}

struct Outbound {
    prober: Prober,
    peers: Vec<Peer>,
}

impl Outbound {
    fn new() -> Self {
        let ca = std::fs::read("/ca/ca.crt").expect("/ca/ca.crt cannot be read");
        let issuer = env("ISSUER");
        let synapse = env("SYNAPSE");
        let host = |url: &str| url.split_once("://").map(|(_, rest)| rest.to_owned()).expect("a URL has a scheme");
        let resolver = ResolvConf::system().expect("/etc/resolv.conf cannot be read").nameservers[0].to_string();
        let peer = |edge, to, exchange| Peer { edge, to, exchange };
        let peers = vec![
            peer("mas-to-postgres", env("DATABASE"), Exchange::Postgres { ssl_mode: SslMode::Prefer }),
            peer("mas-to-synapse", host(&synapse), Exchange::Synapse { endpoint: synapse }),
            peer("mas-to-authelia", format!("{}:443", host(&issuer)), Exchange::Oidc { issuer }),
            peer("mas-to-smtp", env("SMTP"), Exchange::Smtp { mode: SmtpMode::StartTls }),
            peer("mas-to-dns-udp", resolver.clone(), Exchange::DnsUdp),
            peer("mas-to-dns-tcp", resolver, Exchange::DnsTcp),
        ];
        Self { prober: Prober::new(&roots_from_pem(&ca).expect("/ca/ca.crt is no PEM")).expect("a prober"), peers }
    }

    /// What came of one conversation, in a word.
    async fn converse(&self, peer: &Peer) -> &'static str {
        let Ok(Ok(mut found)) = timeout(PATIENCE, lookup_host(&peer.to)).await else {
            return "its name does not resolve";
        };
        let Some(address) = found.next() else { return "its name has no address" };
        let host = peer.to.rsplit_once(':').map_or(&*peer.to, |(host, _)| host);
        let login = Login { user: "mas".to_owned(), database: "mas".to_owned() };
        let target = Target::new(peer.edge, address, peer.exchange.clone()).named(host).with_login(login).deep();
        self.prober.probe(&target, PATIENCE).await.reason.as_str()
    }

    async fn database(&self) -> bool {
        self.converse(&self.peers[0]).await == Reason::Ok.as_str()
    }

    async fn talk(self: Arc<Self>) {
        let mut last = BTreeMap::new();
        loop {
            let next = Instant::now() + ROUND;
            for peer in &self.peers {
                let now = self.converse(peer).await;
                if last.insert(peer.edge, now) != Some(now) {
                    println!("{}: {now}", peer.edge);
                }
            }
            tokio::time::sleep_until(next).await;
        }
    }
}

/// The `health` resource: 200 when the database answers.
async fn health(outbound: Arc<Outbound>, mut stream: TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(&mut stream).lines();
    let asked = lines.next_line().await?.unwrap_or_default();
    while lines.next_line().await?.is_some_and(|line| !line.is_empty()) {}
    let (status, body) = match &*asked {
        "GET /health HTTP/1.1" if outbound.database().await => ("200 OK", "ok"),
        "GET /health HTTP/1.1" => ("500 Internal Server Error", "the database does not answer"),
        _ => ("404 Not Found", ""),
    };
    let length = body.len();
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    stream.write_all(answer.as_bytes()).await
}

async fn listen(port: u16) -> TcpListener {
    TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await.expect("the port is free")
}

async fn serve(outbound: Arc<Outbound>) {
    let secret = std::fs::read_to_string("/secret/synapse-shared-secret").expect("the shared secret cannot be read");
    let mas = Arc::new(Mas::new("https://auth.waadoo.ovh/", secret.trim()));
    let (web, internal) = (listen(8080).await, listen(8081).await);
    let mut end = signal(SignalKind::terminate()).expect("SIGTERM can be awaited");
    tokio::spawn(Arc::clone(&outbound).talk());
    println!("this is a stand-in for MAS: its image cannot be had here");
    loop {
        tokio::select! {
            accepted = web.accept() => if let Ok((stream, _)) = accepted {
                tokio::spawn(Arc::clone(&mas).connection(stream));
            },
            accepted = internal.accept() => if let Ok((stream, _)) = accepted {
                tokio::spawn(health(Arc::clone(&outbound), stream));
            },
            _ = end.recv() => return,
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let outbound = Arc::new(Outbound::new());
    match std::env::args().nth(1).as_deref() {
        Some("migrate") => {
            while !outbound.database().await {
                sleep(Duration::from_millis(500)).await;
            }
        }
        Some("server") => serve(outbound).await,
        _ => panic!("say `migrate` or `server`"),
    }
}
