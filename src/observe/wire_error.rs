//! The socket error queue: which ICMP message ended a connection, and who sent it.
//!
//! `errno` alone cannot tell a closed port from a policy's REJECT, nor a prohibition from a missing route. With `IP_RECVERR` set before `connect`, Linux keeps the ICMP message of a TCP socket in `SYN_SENT` too (since 45af29ca761c, `net/ipv4/tcp_ipv4.c`, although `IP_RECVERR(2const)` still denies it), and any process may read it.

use std::io::IoSliceMut;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};

use super::failure::Failure;
use crate::judge::Reason;

/// `SO_EE_ORIGIN_ICMP` and `SO_EE_ORIGIN_ICMP6` of `linux/errqueue.h`.
const ORIGIN_ICMP: u8 = 2;
const ORIGIN_ICMP6: u8 = 3;

/// Errors that stay queued on one socket are few: one per packet that was sent.
const MOST_ENTRIES: usize = 8;

/// One ICMP message of the error queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Icmp {
    pub(super) v6: bool,
    pub(super) kind: u8,
    pub(super) code: u8,
    pub(super) offender: Option<IpAddr>,
}

impl Icmp {
    /// What the message says: the code comes first, whoever sent it. Antrea rejects with the target's own address as the sender.
    pub(super) fn reason(self) -> Option<Reason> {
        match (self.v6, self.kind, self.code) {
            // RFC 792 and RFC 1812 §5.2.7.1. Code 2 (protocol) and 3 (port) both come from the end that has nothing there, or from a REJECT.
            (false, 3, 2 | 3) => Some(Reason::IcmpPortUnreachable),
            (false, 3, 9 | 10 | 13) => Some(Reason::IcmpAdminProhibited),
            (false, 3, 0 | 1 | 5..=8 | 11 | 12) => Some(Reason::IcmpNoRoute),
            // Time exceeded: a routing loop.
            (false, 11, _) => Some(Reason::IcmpNoRoute),
            // RFC 4443 §3.1: 1 prohibited, 5 source address failed policy, 6 reject route.
            (true, 1, 1 | 5 | 6) => Some(Reason::IcmpAdminProhibited),
            (true, 1, 4) => Some(Reason::IcmpPortUnreachable),
            (true, 1, 0 | 2 | 3) => Some(Reason::IcmpNoRoute),
            (true, 3, _) => Some(Reason::IcmpNoRoute),
            _ => None,
        }
    }
}

/// Asks the kernel to keep ICMP messages for this socket.
pub(super) fn keep_errors(socket: &impl AsFd, address: SocketAddr, keep: bool) -> nix::Result<()> {
    match address {
        SocketAddr::V4(_) => setsockopt(socket, sockopt::Ipv4RecvErr, &keep),
        SocketAddr::V6(_) => setsockopt(socket, sockopt::Ipv6RecvErr, &keep),
    }
}

/// The first queued ICMP message that explains a failure.
pub(super) fn queued(socket: &impl AsRawFd) -> Option<Icmp> {
    (0..MOST_ENTRIES).map_while(|_| next(socket).ok()).flatten().find(|icmp| icmp.reason().is_some())
}

/// Takes one entry, which may be no ICMP message; an error when the queue is empty.
fn next(socket: &impl AsRawFd) -> nix::Result<Option<Icmp>> {
    let mut control =
        nix::cmsg_space!(nix::libc::sock_extended_err, nix::libc::sockaddr_in6, nix::libc::sock_extended_err);
    // The packet that caused the error comes along; it says nothing new.
    let mut packet = [0u8; 64];
    let mut slices = [IoSliceMut::new(&mut packet)];
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut control), flags)?;
    let Ok(entries) = message.cmsgs() else { return Ok(None) };
    Ok(entries.into_iter().find_map(|entry| match entry {
        ControlMessageOwned::Ipv4RecvErr(error, from) if error.ee_origin == ORIGIN_ICMP => {
            let offender = from.map(|a| IpAddr::V4(Ipv4Addr::from(u32::from_be(a.sin_addr.s_addr))));
            Some(Icmp { v6: false, kind: error.ee_type, code: error.ee_code, offender })
        }
        ControlMessageOwned::Ipv6RecvErr(error, from) if error.ee_origin == ORIGIN_ICMP6 => {
            let offender = from.map(|a| IpAddr::V6(Ipv6Addr::from(a.sin6_addr.s6_addr)));
            Some(Icmp { v6: true, kind: error.ee_type, code: error.ee_code, offender })
        }
        _ => None,
    }))
}

/// Why a socket failed: by the queue, else by `errno`.
pub(super) fn explain(socket: &impl AsRawFd, errno: Errno) -> Failure {
    match queued(socket).and_then(|icmp| Some((icmp, icmp.reason()?))) {
        Some((icmp, reason)) => by_icmp(icmp, reason),
        None => by_errno(errno),
    }
}

pub(super) fn by_icmp(icmp: Icmp, reason: Reason) -> Failure {
    let family = if icmp.v6 { "ICMPv6" } else { "ICMP" };
    let from = icmp.offender.map_or_else(|| "an unknown sender".to_owned(), |a| a.to_string());
    let detail = format!("{family} type {} code {} came from {from}", icmp.kind, icmp.code);
    Failure { reason, detail, offender: icmp.offender }
}

/// What `errno` says when no ICMP message was kept (the map of facts/probing.md §3.2).
pub(super) fn by_errno(errno: Errno) -> Failure {
    let (reason, detail) = match errno {
        Errno::ECONNREFUSED | Errno::ECONNRESET => {
            (Reason::ConnectRefusedRst, "a reset came back: nothing listens there, or something answers for it")
        }
        Errno::EHOSTUNREACH | Errno::EHOSTDOWN => (Reason::IcmpNoRoute, "the host is unreachable"),
        Errno::ENETUNREACH => (Reason::IcmpNoRoute, "there is no route to that network from here"),
        Errno::EPERM | Errno::EACCES => (Reason::LocalDenied, "the local kernel refused to send"),
        Errno::ETIMEDOUT => (Reason::ConnectTimeout, "no answer came to any connection request"),
        Errno::EADDRNOTAVAIL => (Reason::ProberError, "no local address or port is left for this probe"),
        Errno::EMFILE | Errno::ENFILE => (Reason::ProberError, "no file descriptor is left for this probe"),
        other => return Failure::new(Reason::ProberError, format!("the socket failed: {}", other.desc())),
    };
    Failure::new(reason, detail)
}

/// Any message of the error queue.
#[cfg(fuzzing)]
pub(super) fn fuzz(bytes: &[u8]) {
    if let [version, kind, code, ..] = *bytes {
        let icmp = Icmp { v6: version & 1 == 1, kind, code, offender: None };
        let _ = icmp.reason().map(|reason| by_icmp(icmp, reason));
    }
    if let Some(number) = bytes.first_chunk::<4>() {
        let _ = by_errno(Errno::from_raw(i32::from_be_bytes(*number)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(v6: bool, kind: u8, code: u8, expect: Option<Reason>) {
        assert_eq!(Icmp { v6, kind, code, offender: None }.reason(), expect, "v6={v6} type {kind} code {code}");
    }

    #[test]
    fn codes_say_why() {
        for code in [0, 1, 5, 6, 7, 8, 11, 12] {
            check(false, 3, code, Some(Reason::IcmpNoRoute));
        }
        for code in [9, 10, 13] {
            check(false, 3, code, Some(Reason::IcmpAdminProhibited));
        }
        check(false, 3, 3, Some(Reason::IcmpPortUnreachable));
        // Fragmentation needed is about the path's packet size, not about reachability.
        check(false, 3, 4, None);
        check(false, 0, 3, None);
        for code in [0, 2, 3] {
            check(true, 1, code, Some(Reason::IcmpNoRoute));
        }
        for code in [1, 5, 6] {
            check(true, 1, code, Some(Reason::IcmpAdminProhibited));
        }
        check(true, 1, 4, Some(Reason::IcmpPortUnreachable));
        check(true, 2, 0, None);
    }

    #[test]
    fn errno_is_the_fallback() {
        for (errno, reason) in [
            (Errno::ECONNREFUSED, Reason::ConnectRefusedRst),
            (Errno::EHOSTUNREACH, Reason::IcmpNoRoute),
            (Errno::ENETUNREACH, Reason::IcmpNoRoute),
            (Errno::EPERM, Reason::LocalDenied),
            (Errno::EACCES, Reason::LocalDenied),
            (Errno::ETIMEDOUT, Reason::ConnectTimeout),
            (Errno::EMFILE, Reason::ProberError),
            (Errno::EINVAL, Reason::ProberError),
        ] {
            assert_eq!(by_errno(errno).reason, reason, "{errno}");
        }
    }

    /// The kernel's own message, through the real queue: a closed UDP port on loopback answers with ICMP.
    #[test]
    fn the_queue_names_the_offender() {
        for local in ["127.0.0.1:0", "[::1]:0"] {
            let closed = std::net::UdpSocket::bind(local).unwrap().local_addr().unwrap();
            let socket = std::net::UdpSocket::bind(local).unwrap();
            keep_errors(&socket, closed, true).unwrap();
            socket.connect(closed).unwrap();
            assert_eq!(queued(&socket), None);
            socket.send(b"?").unwrap();
            let error = socket.recv(&mut [0; 8]).unwrap_err();
            let failure = explain(&socket, Errno::from_raw(error.raw_os_error().unwrap()));
            assert_eq!(failure.reason, Reason::IcmpPortUnreachable, "{local}: {}", failure.detail);
            assert_eq!(failure.offender, Some(closed.ip()), "{local}");
            assert_eq!(queued(&socket), None, "the queue is empty after it was read");
        }
    }
}
