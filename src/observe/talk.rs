//! One conversation over a stream: reads and writes that end by the deadline.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Duration, Instant, timeout_at};

use super::failure::Failure;
use crate::judge::Reason;

/// How long a polite goodbye may take. Its outcome changes nothing.
const GOODBYE: Duration = Duration::from_millis(500);

/// A stream with its deadline.
#[derive(Debug)]
pub(super) struct Talk<S> {
    stream: S,
    deadline: Instant,
}

/// What came of one read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// So many bytes, at least one.
    Bytes(usize),
    /// The peer closed or reset.
    Closed,
    /// The deadline came first.
    Silence,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<S> {
    pub(super) fn new(stream: S, deadline: Instant) -> Self {
        Self { stream, deadline }
    }

    pub(super) fn into_stream(self) -> S {
        self.stream
    }

    pub(super) fn stream(&self) -> &S {
        &self.stream
    }

    /// Sends all of `bytes`. A peer that closed meanwhile is no failure yet: what it said before is still to be read.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let write = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        match timeout_at(self.deadline, write).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) if is_close(&error) => Ok(()),
            Ok(Err(error)) => Err(broken(&error)),
            Err(_) => Err(Failure::new(Reason::FirstByteTimeout, "the peer took no data before the deadline")),
        }
    }

    /// Reads once.
    pub(super) async fn read(&mut self, buffer: &mut [u8]) -> Result<Heard, Failure> {
        match timeout_at(self.deadline, self.stream.read(buffer)).await {
            Ok(Ok(0)) => Ok(Heard::Closed),
            Ok(Ok(count)) => Ok(Heard::Bytes(count)),
            Ok(Err(error)) if is_close(&error) => Ok(Heard::Closed),
            Ok(Err(error)) => Err(broken(&error)),
            Err(_) => Ok(Heard::Silence),
        }
    }

    /// Ends the stream in order: `close_notify` where there is TLS, then FIN.
    pub(super) async fn close(mut self) {
        let soon = Instant::now() + GOODBYE;
        // The proof is made; how the end goes says nothing more.
        let _ = timeout_at(soon.min(self.deadline), self.stream.shutdown()).await;
    }

    /// The same conversation with another deadline, for a goodbye.
    pub(super) fn hurry(&mut self) {
        self.deadline = self.deadline.min(Instant::now() + GOODBYE);
    }
}

/// A close in any form, seen from our end.
fn is_close(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
    // UnexpectedEof: TLS ended without close_notify.
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof)
}

fn broken(error: &std::io::Error) -> Failure {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(error) => super::tls::failure_of(error, "", None),
        None => Failure::new(Reason::ClosedEarly, format!("the connection broke: {}", error.kind())),
    }
}

/// The failure of waiting for `awaited` in vain; `begun` when a part of it had come.
pub(super) fn unfinished(closed: bool, begun: bool, awaited: &str) -> Failure {
    match (closed, begun) {
        (true, false) => Failure::new(Reason::ClosedEarly, format!("the peer closed instead of sending {awaited}")),
        (true, true) => Failure::new(Reason::ClosedEarly, format!("the peer closed in the middle of {awaited}")),
        (false, false) => Failure::new(
            Reason::FirstByteTimeout,
            format!("connected, but no byte of {awaited} came before the deadline"),
        ),
        // Bytes came, so the edge is open; that matters where it must not be.
        (false, true) => Failure::new(
            Reason::ProtoMismatch,
            format!("the peer began {awaited} and did not finish it before the deadline"),
        ),
    }
}
