//! A TCP gate.
//!
//! Silence without privilege: a listener whose accept queue is full drops every further SYN (`tcp_conn_request`: "goto drop" when
//! `sk_acceptq_is_full`), and the client retries in vain, exactly as behind a policy that drops. `listen(2)` with backlog *n* queues *n* + 1
//! connections, and may be called again on a listening socket to change *n*, so the port is never closed on the way. With
//! `net.ipv4.tcp_abort_on_overflow` set, a connection that races the last place gets a reset; it is 0 unless somebody changed it.

use std::io;
use std::net::{SocketAddr, TcpListener as Queue};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::{Backlog, listen};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{GateState, NetError, Serve, bind_error};
use crate::demo::world::LabPod;

/// The backlog of a gate that serves.
const SERVING: u32 = 128;
/// The backlog of a silent gate. Not 0: there some kernels answer with SYN cookies instead.
const SILENT: u8 = 1;
/// A connection on the loopback is done in microseconds; this long means that the queue was full.
const FILL_WAIT: Duration = Duration::from_millis(40);
/// How often a queue is emptied and filled anew when clients get in between.
const FILL_TRIES: usize = 5;
/// Connections served at once; more wait in the accept queue.
const MAX_CONNECTIONS: usize = 64;
/// The pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The longest a connection may last, idle or not.
const CONNECTION_LIFE: Duration = Duration::from_secs(30);

/// See the module.
pub(super) struct TcpDoor {
    address: SocketAddr,
    pod: LabPod,
    service: Arc<dyn Serve>,
    state: GateState,
    sockets: Option<Sockets>,
    /// Our own connections that fill the queue.
    fillers: Vec<TcpStream>,
    connections: JoinSet<()>,
}

/// One listening socket under two handles: one to wait on, one to take what is there at this instant.
struct Sockets {
    listener: TcpListener,
    queue: Queue,
}

impl TcpDoor {
    pub(super) fn new(address: SocketAddr, pod: LabPod, service: Arc<dyn Serve>) -> Self {
        let state = GateState::Stopped;
        Self { address, pod, service, state, sockets: None, fillers: Vec::new(), connections: JoinSet::new() }
    }

    pub(super) async fn turn(&mut self, to: GateState) -> Result<(), NetError> {
        if to == self.state {
            return Ok(());
        }
        let done = match to {
            GateState::Stopped => {
                self.stop().await;
                Ok(())
            }
            GateState::Open => self.open(),
            GateState::Denied => self.deny().await,
        };
        match done {
            Ok(()) => self.state = to,
            // Half a transition is no state that anybody asked for.
            Err(_) => self.stop().await,
        }
        done
    }

    pub(super) async fn work(&mut self) {
        let Self { state, sockets, connections, service, .. } = self;
        let admits = *state == GateState::Open && connections.len() < MAX_CONNECTIONS;
        tokio::select! {
            stream = accept(sockets.as_ref()), if admits => match stream {
                Ok(stream) => serve(connections, service, stream),
                // Out of file descriptors, most likely: the connection stays queued, so asking again at once would only spin.
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            else => std::future::pending().await,
        }
    }

    pub(super) async fn cut(&mut self) {
        self.connections.shutdown().await;
    }

    async fn stop(&mut self) {
        self.sockets = None;
        self.let_fillers_go();
        self.cut().await;
        self.state = GateState::Stopped;
    }

    fn open(&mut self) -> Result<(), NetError> {
        self.listen(SERVING)?;
        let ours = self.let_fillers_go();
        self.take_queued(&ours);
        Ok(())
    }

    async fn deny(&mut self) -> Result<(), NetError> {
        self.listen(u32::from(SILENT))?;
        for _ in 0..FILL_TRIES {
            let ours = self.let_fillers_go();
            // Whoever stands in the queue connected before the policy changed.
            self.take_queued(&ours);
            if self.fill().await.map_err(|cause| self.error(cause))? {
                return Ok(());
            }
        }
        Err(NetError::NotFull { address: self.address })
    }

    /// Fills the queue; false when somebody else took a place in it.
    async fn fill(&mut self) -> io::Result<bool> {
        for _ in 0..=SILENT {
            match timeout(FILL_WAIT, TcpStream::connect(self.address)).await {
                Ok(connected) => self.fillers.push(connected?),
                Err(_) => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Binds, or changes the backlog of what is bound.
    fn listen(&mut self, backlog: u32) -> Result<(), NetError> {
        if let Some(sockets) = &self.sockets {
            let set = Backlog::new(i32::try_from(backlog).unwrap_or(i32::MAX)).and_then(|b| listen(&sockets.queue, b));
            return set.map_err(|errno| self.error(errno.into()));
        }
        let sockets = bind(self.address, backlog).map_err(|cause| self.error(cause))?;
        self.sockets = Some(sockets);
        Ok(())
    }

    /// Drops our own connections by reset, so that they leave no TIME_WAIT behind; returns where they came from.
    fn let_fillers_go(&mut self) -> Vec<SocketAddr> {
        let ours = self.fillers.iter().filter_map(|filler| filler.local_addr().ok()).collect();
        for filler in self.fillers.drain(..) {
            drop(filler.set_zero_linger());
        }
        ours
    }

    /// Serves all that is in the queue, save our own connections.
    fn take_queued(&mut self, ours: &[SocketAddr]) {
        let Some(sockets) = &self.sockets else { return };
        while let Ok((stream, from)) = sockets.queue.accept() {
            if ours.contains(&from) || stream.set_nonblocking(true).is_err() {
                continue;
            }
            if let Ok(stream) = TcpStream::from_std(stream) {
                serve(&mut self.connections, &self.service, stream);
            }
        }
    }

    fn error(&self, cause: io::Error) -> NetError {
        bind_error(self.address, self.pod, cause)
    }
}

fn bind(address: SocketAddr, backlog: u32) -> io::Result<Sockets> {
    let socket = TcpSocket::new_v4()?;
    // A port with connections in TIME_WAIT must open again at once.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let queue = socket.listen(backlog)?.into_std()?;
    let listener = TcpListener::from_std(queue.try_clone()?)?;
    Ok(Sockets { listener, queue })
}

async fn accept(sockets: Option<&Sockets>) -> io::Result<TcpStream> {
    match sockets {
        Some(sockets) => sockets.listener.accept().await.map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}

fn serve(connections: &mut JoinSet<()>, service: &Arc<dyn Serve>, stream: TcpStream) {
    let conversation = Arc::clone(service).connection(stream);
    connections.spawn(async move {
        match timeout(CONNECTION_LIFE, conversation).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a conversation of the demo ended early"),
            Err(_) => tracing::debug!("a conversation of the demo took too long"),
        }
    });
}
