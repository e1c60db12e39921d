//! Address families and CIDR blocks.
//!
//! IPv4 and IPv6 never meet: `0.0.0.0/0` says nothing about IPv6 (the API's ipBlock compares addresses of one family).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both, in order.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// The family of a net.
    pub fn of_net(net: IpNet) -> Self {
        Self::of(net.addr())
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// What is loose about a CIDR that names an address inside its net.
pub(super) const HOST_BITS: &str = "has host bits set";

/// A CIDR as read: the net it means, and whether API servers from 1.36 on still take this spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cidr {
    /// Without host bits.
    pub(super) net: IpNet,
    /// What `StrictIPCIDRValidation` objects to, if anything.
    pub(super) loose: Option<&'static str>,
}

/// Reads a CIDR as Kubernetes does (`netutils.ParseCIDRSloppy`): host bits are masked, leading zeros are decimal.
pub(super) fn parse(text: &str) -> Option<Cidr> {
    let (address, prefix) = text.split_once('/')?;
    let plain_number = !prefix.is_empty() && prefix.len() <= 4 && prefix.bytes().all(|b| b.is_ascii_digit());
    let prefix_length: u8 = if plain_number { prefix.parse().ok()? } else { return None };
    let (address, zeros) = match address.parse::<IpAddr>() {
        Ok(address) => (address, false),
        Err(_) => (IpAddr::V4(leading_zeros(address)?), true),
    };
    let given = IpNet::new(address, prefix_length).ok()?;
    let (net, mapped) = match given {
        IpNet::V6(net) => match mapped(net) {
            Some(v4) => (IpNet::V4(v4), true),
            None => (given, false),
        },
        IpNet::V4(_) => (given, false),
    };
    let net = net.trunc();
    let loose = if zeros || (prefix.len() > 1 && prefix.starts_with('0')) {
        Some("is written with leading zeros")
    } else if mapped {
        Some("is an IPv4 net in IPv6 spelling")
    } else if given.addr() != given.network() {
        Some(HOST_BITS)
    } else {
        None
    };
    Some(Cidr { net, loose })
}

/// `010.1.02.3`: Go's sloppy parser reads each part as a decimal number.
fn leading_zeros(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<u8> = text
        .split('.')
        .map(|part| part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok()).flatten())
        .collect::<Option<_>>()?;
    Some(Ipv4Addr::from(<[u8; 4]>::try_from(parts).ok()?))
}

/// `::ffff:10.0.0.0/104` means `10.0.0.0/8`, as Go's `IPNet.Contains` has it.
fn mapped(net: Ipv6Net) -> Option<Ipv4Net> {
    let address: Ipv6Addr = net.addr();
    Ipv4Net::new(address.to_ipv4_mapped()?, net.prefix_len().checked_sub(96)?).ok()
}

/// How a block stands to all addresses of a family at once: what can be said of a pod that has no address yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cover {
    /// Every address of the family is in it.
    All,
    /// None is.
    Nothing,
    /// Some are.
    Some,
}

/// See [`Cover`].
pub(super) fn cover(net: IpNet, except: &[IpNet], family: Family) -> Cover {
    if Family::of_net(net) != family || IpNet::aggregate(&except.to_vec()).contains(&net) {
        Cover::Nothing
    } else if net.prefix_len() == 0 && except.is_empty() {
        Cover::All
    } else {
        Cover::Some
    }
}

/// Whether an address is in a block and in none of its exceptions.
pub(super) fn contains(net: IpNet, except: &[IpNet], address: IpAddr) -> bool {
    net.contains(&address) && !except.iter().any(|except| except.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Option<(&str, bool)>) {
        let got = parse(text).map(|cidr| (cidr.net.to_string(), cidr.loose.is_none()));
        assert_eq!(got, expect.map(|(net, strict)| (net.to_owned(), strict)), "{text}");
    }

    #[test]
    fn cidrs_as_kubernetes_reads_them() {
        check("10.0.0.0/8", Some(("10.0.0.0/8", true)));
        check("10.1.2.3/32", Some(("10.1.2.3/32", true)));
        check("10.10.1.12/24", Some(("10.10.1.0/24", false)));
        check("0.0.0.0/0", Some(("0.0.0.0/0", true)));
        check("::/0", Some(("::/0", true)));
        check("2001:db8::1/64", Some(("2001:db8::/64", false)));
        check("010.0.0.0/8", Some(("10.0.0.0/8", false)));
        check("10.0.0.0/08", Some(("10.0.0.0/8", false)));
        check("::ffff:10.0.0.0/104", Some(("10.0.0.0/8", false)));
        for bad in
            ["", "10.0.0.0", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/", "10.0.0.0/+8", "::/129", "fe80::1%eth0/64", "a/8"]
        {
            check(bad, None);
        }
    }

    #[test]
    fn what_can_be_said_without_an_address() {
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        assert_eq!(cover(net("0.0.0.0/0"), &[], Family::V4), Cover::All);
        assert_eq!(cover(net("0.0.0.0/0"), &[], Family::V6), Cover::Nothing);
        assert_eq!(cover(net("0.0.0.0/0"), &[net("10.0.0.0/8")], Family::V4), Cover::Some);
        assert_eq!(cover(net("0.0.0.0/0"), &[net("0.0.0.0/1"), net("128.0.0.0/1")], Family::V4), Cover::Nothing);
        assert_eq!(cover(net("10.0.0.0/8"), &[], Family::V4), Cover::Some);
    }
}
