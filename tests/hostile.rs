//! Peers that mean harm, or are merely broken: every conversation with every one of them ends in bounded time and memory, with the right reason.
//!
//! And the zoo of certificates (`hostile/zoo.rs`). All on loopback. `cargo test --test hostile -- --nocapture` prints both tables.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests are tests, and the tables are for people"
)]

#[path = "hostile/certificates.rs"]
mod certificates;
#[path = "hostile/peer.rs"]
mod peer;
#[path = "hostile/zoo.rs"]
mod zoo;

use std::fmt::Write;
use std::future::Future;
use std::time::Duration;

use portreeve::judge::{Attempt, Reason};
use portreeve::matrix::{Exchange, SmtpMode, SslMode, SslNegotiation};
use portreeve::observe::{Prober, Target};
use tokio::task::JoinSet;

use peer::Behaviour;

/// Peers that never end a conversation: it ends now.
const SHORT: Duration = Duration::from_secs(5);
/// Peers that end it themselves, on a machine that does other things, too.
const LONG: Duration = Duration::from_mins(1);
/// Nothing may take longer than its deadline; this is for a machine that stands still.
const HOPELESS: Duration = Duration::from_mins(5);
/// What all conversations together may take, with the peers and the other tests of this process: some hundred KiB each, and never what a peer sends.
const MOST_MEMORY_KIB: u64 = 256 * 1024;

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// One conversation, and how a right peer begins it.
#[derive(Clone)]
struct Conversation {
    name: &'static str,
    exchange: Exchange,
    deep: bool,
    /// What a right peer says first.
    opening: &'static [u8],
    /// What can follow for ever.
    endless: &'static [u8],
    /// What a gigabyte follows.
    before_gigabyte: &'static [u8],
    /// How it ends when the opening comes too slowly, when it never ends, and with the gigabyte.
    ends: [Reason; 3],
}

const SERVER_HELLO: &[u8] = &[0x16, 3, 3, 0, 0x7a, 2, 0, 0, 0x76, 3, 3, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
/// A handshake message of 16 MiB, in records of one KiB.
const ENDLESS_HANDSHAKE: &[u8] = &{
    let mut record = [0; 1029];
    (record[0], record[1], record[2], record[3]) = (0x16, 3, 3, 4);
    (record[5], record[6], record[7], record[8]) = (2, 0xff, 0xff, 0xff);
    record
};
const APPLICATION_DATA: &[u8] = &[0x17, 3, 3, 0x40, 0];

fn conversations() -> Vec<Conversation> {
    use Reason::{HttpBody, Ok, ProtoMismatch, TlsHandshake};
    let tls = |name, exchange| Conversation {
        name,
        exchange,
        deep: false,
        opening: SERVER_HELLO,
        endless: ENDLESS_HANDSHAKE,
        before_gigabyte: APPLICATION_DATA,
        ends: [TlsHandshake; 3],
    };
    let http = |name, exchange| Conversation {
        name,
        exchange,
        deep: false,
        opening: b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n",
        endless: b"A: b\r\n",
        before_gigabyte: b"HTTP/1.1 200 OK\r\n\r\n",
        ends: [ProtoMismatch, ProtoMismatch, HttpBody],
    };
    let smtp = |name, mode| Conversation {
        name,
        exchange: Exchange::smtp(mode),
        deep: false,
        opening: b"220-mail.example\r\n220 ready\r\n",
        endless: b"220-more\r\n",
        before_gigabyte: b"220 ",
        ends: [ProtoMismatch; 3],
    };
    let url = || "http://auth.example/".to_owned();
    let anything = http("http", Exchange::Http { tls: false, host: "mas.example".to_owned() });
    let whoami = http("whoami", Exchange::Whoami);
    let direct = Exchange::Postgres { ssl_mode: SslMode::Require, negotiation: SslNegotiation::Direct, login: None };
    vec![
        Conversation {
            name: "dns-tcp",
            exchange: Exchange::DnsTcp,
            deep: false,
            opening: &[0, 60, 1, 2, 0x81, 0x80, 0, 1, 0, 0, 0, 0],
            endless: &[0xff; 16],
            before_gigabyte: &[0xff, 0xff],
            ends: [ProtoMismatch; 3],
        },
        Conversation {
            name: "postgres",
            exchange: Exchange::postgres(SslMode::Prefer),
            deep: false,
            opening: b"S\x16\x03\x03\x00\x7a",
            endless: b"NNNN",
            before_gigabyte: b"E",
            ends: [TlsHandshake, ProtoMismatch, ProtoMismatch],
        },
        Conversation {
            name: "postgres startup",
            exchange: Exchange::postgres(SslMode::Disable),
            deep: true,
            opening: b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0",
            // Notices, before any word that counts.
            endless: b"N\0\0\0\x05\0",
            before_gigabyte: b"E\x3f\xff\xff\xff",
            ends: [ProtoMismatch; 3],
        },
        tls("postgres direct", direct),
        smtp("smtp", SmtpMode::Plain),
        smtp("smtp starttls", SmtpMode::StartTls),
        tls("smtps", Exchange::smtp(SmtpMode::Tls)),
        http("synapse", Exchange::Synapse { endpoint: url() }),
        Conversation { before_gigabyte: b"HTTP/1.1 401 Unauthorized\r\n\r\n", ..whoami },
        http("oidc", Exchange::Oidc { issuer: url() }),
        http("mas-discovery", Exchange::MasDiscovery { issuer: None }),
        http("mas-public", Exchange::MasPublic { url: url(), issuer: url() }),
        http("mas-health", Exchange::MasHealth),
        // The status is all that it wants: a body is not read.
        Conversation { ends: [ProtoMismatch, ProtoMismatch, Ok], ..anything },
        tls("https", Exchange::Http { tls: true, host: "mas.example".to_owned() }),
    ]
}

impl Conversation {
    fn expect(&self, behaviour: Behaviour) -> Reason {
        match behaviour {
            Behaviour::Hang => Reason::FirstByteTimeout,
            Behaviour::Close | Behaviour::Reset => Reason::ClosedEarly,
            Behaviour::Drip => self.ends[0],
            Behaviour::Endless => self.ends[1],
            Behaviour::Gigabyte => self.ends[2],
            Behaviour::Another => Reason::ProtoMismatch,
        }
    }
}

/// What came of one pair: how the attempt ended, and how many bytes the peer got rid of.
struct Cell {
    conversation: usize,
    behaviour: Behaviour,
    attempt: Attempt,
    taken: usize,
}

async fn meet(conversation: usize, of: Conversation, behaviour: Behaviour) -> Cell {
    let peer = peer::Peer::start(behaviour, &of).await;
    // DNS takes SSH's first two bytes for the length of a message, and waits for the rest.
    let waits = behaviour.never_ends() || (of.exchange == Exchange::DnsTcp && behaviour == Behaviour::Another);
    let deadline = if waits { SHORT } else { LONG };
    let target = Target { deep: of.deep, ..Target::new("a-to-b", peer.address, of.exchange) };
    let prober = Prober::new(&[]).unwrap();
    let attempt = tokio::time::timeout(HOPELESS, prober.probe(&target, deadline)).await;
    let attempt = attempt.unwrap_or_else(|_| panic!("{} with {behaviour:?} never ends", of.name));
    Cell { conversation, behaviour, attempt, taken: peer.taken() }
}

#[test]
fn every_conversation_survives_every_peer() {
    let conversations = conversations();
    let mut cells = block_on(async {
        let mut running = JoinSet::new();
        for (index, conversation) in conversations.iter().enumerate() {
            for behaviour in Behaviour::ALL {
                running.spawn(meet(index, conversation.clone(), behaviour));
            }
        }
        running.join_all().await
    });
    let peak = peak_memory_kib();
    cells.sort_by_key(|cell| (cell.conversation, cell.behaviour));
    println!("{}", table(&conversations, &cells));
    println!("{} conversations at once, and their peers, had {peak} KiB at most", cells.len());
    let wrong: Vec<String> = cells
        .iter()
        .filter_map(|cell| {
            let conversation = &conversations[cell.conversation];
            let expect = conversation.expect(cell.behaviour);
            let Attempt { reason, detail, .. } = &cell.attempt;
            (*reason != expect)
                .then(|| format!("{} with {:?}: {reason} ({detail}), not {expect}", conversation.name, cell.behaviour))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(peak < MOST_MEMORY_KIB, "{peak} KiB");
}

/// A row a conversation, a column a behaviour; and what was taken of the gigabyte, most of it by the kernel's buffers.
fn table(conversations: &[Conversation], cells: &[Cell]) -> String {
    let mut out = format!("{:<17}", "");
    for behaviour in Behaviour::ALL {
        let _ = write!(out, "{:<24}", behaviour.title());
    }
    for cell in cells {
        if cell.behaviour == Behaviour::Hang {
            let _ = write!(out, "\n{:<17}", conversations[cell.conversation].name);
        }
        let taken =
            if cell.behaviour == Behaviour::Gigabyte { format!(", {} MiB", cell.taken >> 20) } else { String::new() };
        let _ = write!(out, "{:<24}", format!("{}{taken}", cell.attempt.reason));
    }
    out
}

#[test]
fn dns_over_udp_survives_every_datagram() {
    for (what, reason) in [
        (peer::Datagrams::None, Reason::DnsTimeout),
        (peer::Datagrams::Garbage, Reason::ProtoMismatch),
        (peer::Datagrams::OthersAnswers, Reason::ProtoMismatch),
        (peer::Datagrams::ManyRecords, Reason::ProtoMismatch),
        (peer::Datagrams::Large, Reason::ProtoMismatch),
    ] {
        let got = block_on(async {
            let address = peer::name_server(what).await;
            let target = Target::new("a-to-b", address, Exchange::DnsUdp);
            Prober::new(&[]).unwrap().probe(&target, Duration::from_secs(2)).await
        });
        println!("dns-udp, {what:?}: {}, {}", got.reason, got.detail);
        assert_eq!(got.reason, reason, "{what:?}: {}", got.detail);
    }
    assert!(peak_memory_kib() < MOST_MEMORY_KIB);
}

/// The most memory that this process ever had (`VmHWM` of proc(5)).
fn peak_memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
