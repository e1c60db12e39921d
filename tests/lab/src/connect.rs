//! Many connections at once from this network namespace, and what became of each: for tests that ask the network and not the product.

use std::fmt;
use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::str::FromStr;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, SockaddrStorage, connect, getsockopt, recv,
    recvmsg, sendmsg, setsockopt, socket, sockopt,
};

use crate::cluster::Protocol;

/// What one side says and the other gives back.
const WORD: &[u8] = b"portreeve-lab\n";
/// `SO_EE_ORIGIN_ICMP` and `SO_EE_ORIGIN_ICMP6` of `linux/errqueue.h`.
const ICMP_ORIGINS: [u8; 2] = [2, 3];

/// Where to: `tcp 10.0.0.1 80`, `udp fd00::1 53`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The other end.
    pub address: SocketAddr,
}

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The word came back.
    Open,
    /// A reset: a closed port, or `reject with tcp reset`.
    Reset,
    /// An ICMP message of this type and code, from there.
    Icmp(u8, u8, Option<IpAddr>),
    /// Nothing in time.
    Timeout,
    /// Anything else.
    Failed(String),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.protocol.as_str(), self.address.ip(), self.address.port())
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no target; write `tcp ADDRESS PORT` or `udp ADDRESS PORT`");
        let mut words = text.split_whitespace();
        let protocol = match words.next() {
            Some("tcp") => Protocol::Tcp,
            Some("udp") => Protocol::Udp,
            _ => return Err(wrong()),
        };
        let address = words.next().and_then(|word| word.parse().ok()).ok_or_else(wrong)?;
        let port = words.next().and_then(|word| word.parse().ok()).ok_or_else(wrong)?;
        Ok(Self { protocol, address: SocketAddr::new(address, port) })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("open"),
            Self::Reset => f.write_str("reset"),
            Self::Icmp(kind, code, Some(from)) => write!(f, "icmp {kind}/{code} from {from}"),
            Self::Icmp(kind, code, None) => write!(f, "icmp {kind}/{code}"),
            Self::Timeout => f.write_str("timeout"),
            Self::Failed(why) => write!(f, "failed: {why}"),
        }
    }
}

/// One attempt each, all at once; the outcomes in the targets' order.
pub fn attempt(targets: &[Target], timeout: Duration) -> Vec<Outcome> {
    let end = Instant::now() + timeout;
    let mut attempts: Vec<Attempt> = targets.iter().map(Attempt::begin).collect();
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        let mut waiting: Vec<&mut Attempt> = attempts.iter_mut().filter(|one| one.outcome.is_none()).collect();
        if waiting.is_empty() {
            break;
        }
        let mut fds: Vec<PollFd<'_>> = waiting.iter().filter_map(|one| one.poll_fd()).collect();
        let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let _ = poll(&mut fds, left);
        let events: Vec<PollFlags> = fds.iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty())).collect();
        for (one, events) in waiting.iter_mut().zip(events) {
            one.advance(events);
        }
    }
    attempts.into_iter().map(|one| one.outcome.unwrap_or(Outcome::Timeout)).collect()
}

/// A socket on its way.
struct Attempt {
    socket: Option<OwnedFd>,
    /// Whether the word was sent.
    sent: bool,
    outcome: Option<Outcome>,
}

impl Attempt {
    fn begin(target: &Target) -> Self {
        match open(target) {
            Ok(socket) => Self { socket: Some(socket), sent: false, outcome: None },
            Err(errno) => Self { socket: None, sent: false, outcome: Some(failed(errno)) },
        }
    }

    fn poll_fd(&self) -> Option<PollFd<'_>> {
        let socket = self.socket.as_ref()?;
        Some(PollFd::new(socket.as_fd(), if self.sent { PollFlags::POLLIN } else { PollFlags::POLLOUT }))
    }

    fn advance(&mut self, events: PollFlags) {
        let Some(socket) = self.socket.as_ref().filter(|_| !events.is_empty()) else { return };
        let step = if events.intersects(PollFlags::POLLERR | PollFlags::POLLHUP) {
            Some(explain(socket))
        } else if self.sent {
            Some(answer(socket))
        } else {
            self.sent = true;
            say(socket).err().map(|_| explain(socket))
        };
        if step.is_some() {
            self.outcome = step;
            self.socket = None;
        }
    }
}

fn open(target: &Target) -> nix::Result<OwnedFd> {
    let family = if target.address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let kind = if target.protocol == Protocol::Udp { SockType::Datagram } else { SockType::Stream };
    let socket = socket(family, kind, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC, None)?;
    if target.address.is_ipv4() {
        setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?;
    } else {
        setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?;
    }
    match connect(socket.as_raw_fd(), &SockaddrStorage::from(target.address)) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(socket),
        Err(errno) => Err(errno),
    }
}

fn say(socket: &OwnedFd) -> nix::Result<usize> {
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(WORD)], &[], MsgFlags::MSG_NOSIGNAL, None)
}

fn answer(socket: &OwnedFd) -> Outcome {
    let mut buffer = [0; 64];
    match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
        Ok(count) if buffer.get(..count) == Some(WORD) => Outcome::Open,
        Ok(count) => Outcome::Failed(format!("{count} bytes came that are not the word")),
        Err(errno) => failed(errno),
    }
}

/// The ICMP message if there was one, else `errno`: a reset and ICMP port unreachable have the same.
fn explain(socket: &OwnedFd) -> Outcome {
    if let Some(icmp) = queued(socket) {
        return icmp;
    }
    let errno = getsockopt(socket, sockopt::SocketError).map_or_else(|errno| errno, Errno::from_raw);
    failed(errno)
}

fn failed(errno: Errno) -> Outcome {
    match errno {
        Errno::ECONNREFUSED | Errno::ECONNRESET => Outcome::Reset,
        Errno::ETIMEDOUT => Outcome::Timeout,
        other => Outcome::Failed(other.desc().to_owned()),
    }
}

fn queued(socket: &OwnedFd) -> Option<Outcome> {
    let mut control = nix::cmsg_space!(nix::libc::sock_extended_err, nix::libc::sockaddr_in6);
    let mut packet = [0; 64];
    let mut slices = [IoSliceMut::new(&mut packet)];
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut control), flags).ok()?;
    message.cmsgs().ok()?.find_map(|entry| {
        let (error, from) = match entry {
            ControlMessageOwned::Ipv4RecvErr(error, from) => {
                (error, from.map(|from| IpAddr::V4(Ipv4Addr::from(u32::from_be(from.sin_addr.s_addr)))))
            }
            ControlMessageOwned::Ipv6RecvErr(error, from) => {
                (error, from.map(|from| IpAddr::V6(Ipv6Addr::from(from.sin6_addr.s6_addr))))
            }
            _ => return None,
        };
        ICMP_ORIGINS.contains(&error.ee_origin).then_some(Outcome::Icmp(error.ee_type, error.ee_code, from))
    })
}
