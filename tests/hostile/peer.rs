//! The peers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::Conversation;

/// What a peer does with its one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Behaviour {
    Hang,
    Close,
    Reset,
    Drip,
    Endless,
    Gigabyte,
    Another,
}

impl Behaviour {
    pub(crate) const ALL: [Self; 7] =
        [Self::Hang, Self::Close, Self::Reset, Self::Drip, Self::Endless, Self::Gigabyte, Self::Another];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Hang => "hangs",
            Self::Close => "closes at once",
            Self::Reset => "resets midway",
            Self::Drip => "one byte a second",
            Self::Endless => "endless greeting",
            Self::Gigabyte => "a gigabyte",
            Self::Another => "speaks SSH",
        }
    }

    /// Only the deadline ends it.
    pub(crate) fn never_ends(self) -> bool {
        matches!(self, Self::Hang | Self::Drip)
    }
}

/// A peer that is there until it is dropped.
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    taken: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Peer {
    pub(crate) async fn start(behaviour: Behaviour, conversation: &Conversation) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let taken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&taken);
        let conversation = conversation.clone();
        let task = tokio::spawn(async move {
            let stream = listener.accept().await.unwrap().0;
            act(stream, behaviour, &conversation, &count).await;
        });
        Self { address, taken, task }
    }

    /// Bytes that the other end, or the kernel on its way there, took.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn act(mut stream: TcpStream, behaviour: Behaviour, of: &Conversation, taken: &AtomicUsize) {
    stream.set_nodelay(true).unwrap();
    match behaviour {
        Behaviour::Hang => std::future::pending().await,
        Behaviour::Close => {
            let _ = stream.shutdown().await;
            drain(stream).await;
        }
        Behaviour::Reset => {
            // PostgreSQL's answer is one byte, and TLS begins with the client.
            let midway = if of.opening.starts_with(b"S") { 1 } else { of.opening.len().div_ceil(2).min(5) };
            let _ = stream.write_all(&of.opening[..midway]).await;
            // So that the other end is in the middle of it.
            let _ = tokio::time::timeout(Duration::from_secs(1), stream.read(&mut [0; 4096])).await;
            stream.set_zero_linger().unwrap();
        }
        Behaviour::Drip => {
            for byte in of.opening.iter().chain(std::iter::repeat(&b'x')) {
                if stream.write_all(&[*byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        Behaviour::Endless => {
            let _ = stream.write_all(&of.opening[..greeting(of)]).await;
            pour(stream, &of.endless.repeat(16 * 1024 / of.endless.len()), taken).await;
        }
        Behaviour::Gigabyte => {
            let _ = stream.write_all(of.before_gigabyte).await;
            pour(stream, &vec![b'x'; 64 * 1024], taken).await;
        }
        Behaviour::Another => {
            let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n").await;
            // A server that waits for its own protocol.
            drain(stream).await;
        }
    }
}

/// Of the opening, what stands before something endless: an HTTP head needs its status line.
fn greeting(of: &Conversation) -> usize {
    if of.opening.starts_with(b"HTTP/") { of.opening.len() } else { 0 }
}

/// Writes until a gigabyte is gone or nobody takes more.
async fn pour(mut stream: TcpStream, piece: &[u8], taken: &AtomicUsize) {
    while taken.load(Ordering::Relaxed) < 1 << 30 {
        match stream.write(piece).await {
            Ok(count) => taken.fetch_add(count, Ordering::Relaxed),
            Err(_) => return,
        };
    }
    drain(stream).await;
}

/// Unread bytes would turn a close into a reset.
async fn drain(mut stream: TcpStream) {
    while matches!(stream.read(&mut [0; 4096]).await, Ok(1..)) {}
}

/// What a name server sends for a question.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Datagrams {
    None,
    Garbage,
    /// As fast as it can, with other numbers.
    OthersAnswers,
    /// An answer that promises 65,535 records and has none.
    ManyRecords,
    /// 60,000 bytes behind the number of the question.
    Large,
}

pub(crate) async fn name_server(what: Datagrams) -> SocketAddr {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    tokio::spawn(async move {
        let mut question = vec![0; 512];
        let (count, from) = server.recv_from(&mut question).await.unwrap();
        question.truncate(count);
        question[2] |= 0x80;
        let answers = match what {
            Datagrams::None => return std::future::pending().await,
            Datagrams::Garbage => vec![b"SSH-2.0-OpenSSH_9.2p1\r\n".to_vec()],
            Datagrams::OthersAnswers => {
                question[0] ^= 1;
                vec![question; 100_000]
            }
            Datagrams::ManyRecords => {
                (question[6], question[7]) = (0xff, 0xff);
                vec![question]
            }
            Datagrams::Large => {
                question.truncate(2);
                question.resize(60_000, 0xff);
                vec![question]
            }
        };
        for answer in answers {
            // A full queue at the other end is its own affair.
            let _ = server.send_to(&answer, from).await;
            tokio::task::yield_now().await;
        }
        std::future::pending::<()>().await;
    });
    address
}
