//! A UDP gate: a socket that answers, a socket that never does, or no socket, for which the kernel answers with ICMP port unreachable.

use std::future::pending;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use nix::sys::socket::{MsgFlags, recv};
use tokio::net::UdpSocket;

use super::{GateState, NetError, Serve, bind_error};
use crate::demo::world::LabPod;

/// The largest query that is read; EDNS clients stay far below.
const MAX_DATAGRAM: usize = 4096;

/// See the module.
pub(super) struct UdpDoor {
    address: SocketAddr,
    pod: LabPod,
    service: Arc<dyn Serve>,
    state: GateState,
    socket: Option<UdpSocket>,
}

impl UdpDoor {
    pub(super) fn new(address: SocketAddr, pod: LabPod, service: Arc<dyn Serve>) -> Self {
        Self { address, pod, service, state: GateState::Stopped, socket: None }
    }

    pub(super) async fn turn(&mut self, to: GateState) -> Result<(), NetError> {
        match to {
            GateState::Stopped => self.socket = None,
            GateState::Open | GateState::Denied if self.socket.is_none() => {
                // No SO_REUSEADDR: with UDP it would let two sockets share the port, and UDP has no TIME_WAIT.
                let bound = UdpSocket::bind(self.address).await;
                self.socket = Some(bound.map_err(|cause| bind_error(self.address, self.pod, cause))?);
            }
            GateState::Open if self.state == GateState::Denied => self.forget_queued(),
            GateState::Open | GateState::Denied => {}
        }
        self.state = to;
        Ok(())
    }

    pub(super) async fn work(&mut self) {
        let (GateState::Open, Some(socket)) = (self.state, &self.socket) else {
            return pending().await;
        };
        let mut query = [0; MAX_DATAGRAM];
        // An error here is an ICMP message about an earlier answer.
        let Ok((length, from)) = socket.recv_from(&mut query).await else {
            return;
        };
        if let Some(answer) = self.service.datagram(&query[..length]) {
            // A full send buffer loses the answer, as UDP may.
            drop(socket.try_send_to(&answer, from));
        }
    }

    /// A query that was dropped must not be answered later.
    fn forget_queued(&mut self) {
        let Some(socket) = &self.socket else { return };
        let mut query = [0; MAX_DATAGRAM];
        // Not tokio's own try: that knows only what it has been told so far.
        while recv(socket.as_raw_fd(), &mut query, MsgFlags::MSG_DONTWAIT).is_ok() {}
    }
}
