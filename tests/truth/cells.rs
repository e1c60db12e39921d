//! The cells: what is broken, and what is true then.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use portreeve::judge::{Class, Declared, Reason, State};

/// How the prober speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    /// DNS over TCP: connect, ask, hear.
    Tcp,
    /// DNS over UDP.
    Udp,
    /// A name is looked up for an edge that is not DNS's own.
    Name,
}

impl Wire {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Name => "name",
        }
    }
}

/// Who may send an ICMP message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Router,
    Target,
}

impl Who {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Router => "router",
            Self::Target => "target",
        }
    }
}

/// What must be said of a cell.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Truth {
    pub(crate) reason: Reason,
    pub(crate) offender: Option<Who>,
    /// What the policies say in this story.
    pub(crate) declared: Declared,
    /// The class from the attempt alone.
    pub(crate) alone: Class,
    /// The class with a control (another source, the same target) and a self-control (the same source, another target).
    pub(crate) known: Class,
    /// The state of an edge that must work.
    pub(crate) allowed: State,
    /// The state of an edge that must not work.
    pub(crate) forbidden: State,
}

/// One fault, one protocol, one family.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell {
    pub(crate) fault: &'static str,
    pub(crate) wire: Wire,
    pub(crate) address: SocketAddr,
    /// Nothing ends this attempt but its deadline.
    pub(crate) silent: bool,
    pub(crate) truth: Truth,
}

impl Cell {
    pub(crate) fn family(&self) -> &'static str {
        if self.address.is_ipv4() { "v4" } else { "v6" }
    }
}

/// The last part of an address in 10.77.`net`.0/24 and fd77:`net`::/64.
pub(crate) fn address(v6: bool, net: u8, host: u8) -> IpAddr {
    if v6 {
        IpAddr::V6(Ipv6Addr::new(0xfd77, net.into(), 0, 0, 0, 0, 0, host.into()))
    } else {
        IpAddr::V4(Ipv4Addr::new(10, 77, net, host))
    }
}

/// Network 1 has the client (2 is refused by the router's rules, 3 is not), network 2 the peer.
pub(crate) const DENIED: u8 = 2;
pub(crate) const CONTROL: u8 = 3;
const PEER: u8 = 10;

/// Ports of the peer; the router's rules name them too (network.rs).
pub(crate) const OPEN: u16 = 5300;
pub(crate) const DROP: u16 = 5301;
pub(crate) const REJECT: u16 = 5302;
pub(crate) const PROHIBITED: u16 = 5303;
pub(crate) const RESET: u16 = 5304;
pub(crate) const LOSS: u16 = 5305;
pub(crate) const CLOSED: u16 = 5310;
pub(crate) const SILENT: u16 = 5311;
pub(crate) const DRIP: u16 = 5312;

/// A peer's port over one family.
pub(crate) fn at_peer(v6: bool, port: u16) -> SocketAddr {
    SocketAddr::new(address(v6, 2, PEER), port)
}

/// How the story ends for an edge that must work and one that must not.
type Ends = (Class, Class, State, State);

const OPENED: Ends = (Class::Reachable, Class::Reachable, State::Ok, State::Violated);
/// Certain from the message alone.
const REFUSED: Ends = (Class::Blocked, Class::Blocked, State::Violated, State::Ok);
/// Certain once a control proves that the target serves.
const PROVEN: Ends = (Class::Unknown, Class::Blocked, State::Violated, State::Ok);
/// Nothing serves: an edge that must work is violated, and one that must not is not proven closed.
const DOWN: Ends = (Class::Down, Class::Down, State::Violated, State::Unknown);
/// Silence that proves nothing, for the control hears nothing either.
const UNPROVEN: Ends = (Class::Unknown, Class::Unknown, State::Unknown, State::Unknown);

/// All cells of both families.
pub(crate) fn all() -> Vec<Cell> {
    [false, true].into_iter().flat_map(of_family).collect()
}

fn of_family(v6: bool) -> Vec<Cell> {
    use Declared::{Allowed, Denied};
    use Reason::{
        ConnectRefusedRst, ConnectTimeout, DnsTimeout, FirstByteTimeout, IcmpAdminProhibited, IcmpNoRoute,
        IcmpPortUnreachable, LocalDenied, ProtoMismatch,
    };
    use Wire::{Name, Tcp, Udp};
    const ROUTER: Option<Who> = Some(Who::Router);
    const TARGET: Option<Who> = Some(Who::Target);
    let at = |fault, wire, address, reason, offender, declared, (alone, known, allowed, forbidden): Ends| {
        let silent = matches!(reason, ConnectTimeout | DnsTimeout | FirstByteTimeout | ProtoMismatch);
        let truth = Truth { reason, offender, declared, alone, known, allowed, forbidden };
        Cell { fault, wire, address, silent, truth }
    };
    let peer = |fault, wire, port, reason, offender, declared, ends| {
        at(fault, wire, at_peer(v6, port), reason, offender, declared, ends)
    };
    let host = |fault, wire, (net, host), reason, offender, ends| {
        let address = SocketAddr::new(address(v6, net, host), OPEN);
        let declared = if reason == LocalDenied { Denied } else { Allowed };
        at(fault, wire, address, reason, offender, declared, ends)
    };
    // A reset says nothing of its sender: without the policies' word it is a closed port.
    let reset = (Class::Down, Class::Blocked, State::Violated, State::Ok);
    // Bytes came, so a forbidden edge is open, and one that must work has a target that does not serve.
    let dripping = (Class::Down, Class::Down, State::Violated, State::Violated);
    let mut cells = vec![
        peer("open", Tcp, OPEN, Reason::Ok, None, Allowed, OPENED),
        peer("open", Udp, OPEN, Reason::Ok, None, Allowed, OPENED),
        peer("drop", Tcp, DROP, ConnectTimeout, None, Denied, PROVEN),
        peer("drop", Udp, DROP, DnsTimeout, None, Denied, PROVEN),
        peer("reject", Tcp, REJECT, IcmpPortUnreachable, ROUTER, Denied, PROVEN),
        peer("reject", Udp, REJECT, IcmpPortUnreachable, ROUTER, Denied, PROVEN),
        peer("admin prohibited", Tcp, PROHIBITED, IcmpAdminProhibited, ROUTER, Denied, REFUSED),
        peer("admin prohibited", Udp, PROHIBITED, IcmpAdminProhibited, ROUTER, Denied, REFUSED),
        peer("reject with reset", Tcp, RESET, ConnectRefusedRst, None, Denied, reset),
        peer("closed port", Tcp, CLOSED, ConnectRefusedRst, None, Allowed, DOWN),
        peer("closed port", Udp, CLOSED, IcmpPortUnreachable, TARGET, Allowed, DOWN),
        peer("accepts, says nothing", Tcp, SILENT, FirstByteTimeout, None, Allowed, DOWN),
        peer("hears, says nothing", Udp, SILENT, DnsTimeout, None, Allowed, UNPROVEN),
        peer("slow drip", Tcp, DRIP, ProtoMismatch, None, Allowed, dripping),
        peer("black hole for DNS", Name, DROP, DnsTimeout, None, Allowed, UNPROVEN),
        peer("5 % loss", Tcp, LOSS, Reason::Ok, None, Allowed, OPENED),
        peer("5 % loss, asked again", Udp, LOSS, Reason::Ok, None, Allowed, OPENED),
    ];
    // One dead address a protocol, so that no attempt finds the other's search for the neighbour under way.
    for (wire, dead) in [(Tcp, 66), (Udp, 67)] {
        cells.extend([
            host("no route", wire, (3, 10), IcmpNoRoute, ROUTER, DOWN),
            host("dead host", wire, (2, dead), IcmpNoRoute, ROUTER, DOWN),
            host("own kernel refuses", wire, (4, 10), LocalDenied, None, REFUSED),
        ]);
    }
    cells
}
