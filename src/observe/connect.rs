//! Sockets that tell why they failed.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrStorage, setsockopt, sockopt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout_at};

use super::failure::Failure;
use super::wire_error;
use crate::judge::Reason;

/// Opens a TCP connection, or says why not.
pub(super) async fn tcp(address: SocketAddr, source: Option<IpAddr>, deadline: Instant) -> Result<TcpStream, Failure> {
    let socket = open(address, source, SockType::Stream)?;
    match socket::connect(socket.as_raw_fd(), &SockaddrStorage::from(address)) {
        Ok(()) | Err(Errno::EINPROGRESS) => {}
        Err(errno) => return Err(wire_error::explain(&socket, errno)),
    }
    let stream = TcpStream::from_std(std::net::TcpStream::from(socket)).map_err(|error| ours(&error))?;
    match timeout_at(deadline, stream.writable()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(ours(&error)),
        Err(_) => return Err(silence(&stream)),
    }
    if let Some(error) = stream.take_error().map_err(|error| ours(&error))? {
        return Err(wire_error::explain(&stream, errno_of(&error)));
    }
    if stream.local_addr().is_ok_and(|own| own == address) {
        // On loopback a client can be given the very port it dials and then meets itself (simultaneous open, RFC 9293 §3.5).
        return Err(wire_error::by_errno(Errno::ECONNREFUSED));
    }
    // From here on a stray ICMP message must not cut a conversation that works: with the option on, Linux reports soft errors as hard ones.
    wire_error::keep_errors(&stream, address, false).map_err(wire_error::by_errno)?;
    stream.set_nodelay(true).map_err(|error| ours(&error))?;
    Ok(stream)
}

/// Opens a UDP socket that talks to one peer only. Its errors come with the first `recv`.
pub(super) fn udp(address: SocketAddr, source: Option<IpAddr>) -> Result<UdpSocket, Failure> {
    let socket = open(address, source, SockType::Datagram)?;
    socket::connect(socket.as_raw_fd(), &SockaddrStorage::from(address))
        .map_err(|errno| wire_error::explain(&socket, errno))?;
    UdpSocket::from_std(std::net::UdpSocket::from(socket)).map_err(|error| ours(&error))
}

/// Whether the kernel knows a way to this address. Nothing is sent: connecting a datagram socket only looks the route up.
pub(super) fn has_route(address: IpAddr) -> bool {
    const DISCARD: u16 = 9;
    let address = SocketAddr::new(address, DISCARD);
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = match socket::socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None) {
        Ok(socket) => socket,
        Err(errno) => return errno != Errno::EAFNOSUPPORT,
    };
    // ENETUNREACH: no route; EADDRNOTAVAIL: no address of this family to send from. What a policy may do (EACCES, EPERM, EHOSTUNREACH) is for the probe to see.
    !matches!(
        socket::connect(socket.as_raw_fd(), &SockaddrStorage::from(address)),
        Err(Errno::ENETUNREACH | Errno::EADDRNOTAVAIL)
    )
}

fn open(address: SocketAddr, source: Option<IpAddr>, kind: SockType) -> Result<OwnedFd, Failure> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket::socket(family, kind, flags, None).map_err(wire_error::by_errno)?;
    wire_error::keep_errors(&socket, address, true).map_err(wire_error::by_errno)?;
    if let Some(source) = source {
        if source.is_ipv4() != address.is_ipv4() {
            let detail = format!("the source {source} and the target {} are of different families", address.ip());
            return Err(Failure::new(Reason::ProberError, detail));
        }
        if kind == SockType::Stream {
            // Otherwise bind takes a port that no other connection may share, and probes from one address run out of ports.
            setsockopt(&socket, sockopt::IpBindAddressNoPort, &true).map_err(wire_error::by_errno)?;
        }
        socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(source, 0))).map_err(|errno| {
            Failure::new(Reason::ProberError, format!("the source {source} cannot be used: {}", errno.desc()))
        })?;
    }
    Ok(socket)
}

/// The deadline came first. A message that came in the same instant still counts.
fn silence(stream: &TcpStream) -> Failure {
    match wire_error::queued(stream).and_then(|icmp| Some((icmp, icmp.reason()?))) {
        Some((icmp, reason)) => wire_error::by_icmp(icmp, reason),
        None => Failure::new(Reason::ConnectTimeout, "no answer came to the connection request before the deadline"),
    }
}

/// A failure of our own runtime.
pub(super) fn ours(error: &std::io::Error) -> Failure {
    Failure::new(Reason::ProberError, format!("the socket could not be used: {}", error.kind()))
}

/// The number behind an error of the operating system.
pub(super) fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}
