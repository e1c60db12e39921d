//! Sets of addresses, as intervals: what a range of an edge has in common with the ranges of policies, without counting hosts.
//!
//! Families stay apart: an interval never reaches from IPv4 into IPv6, because [`IpAddr`] orders all of IPv4 before it and every interval is built within one net.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Sorted intervals that neither overlap nor touch; both ends are inclusive and of one family.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Addresses(Vec<(IpAddr, IpAddr)>);

impl Addresses {
    /// Nets with others cut out.
    pub(crate) fn of(nets: &[IpNet], except: &[IpNet]) -> Self {
        let build = |nets: &[IpNet]| Self::build(nets.iter().map(|net| (net.network(), net.broadcast())).collect());
        build(nets).minus(&build(except))
    }

    /// Single addresses.
    pub(crate) fn single(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        Self::build(addresses.into_iter().map(|address| (address, address)).collect())
    }

    /// Every address of both families.
    pub(crate) fn all() -> Self {
        Self(vec![
            (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::BROADCAST.into()),
            (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::from(u128::MAX).into()),
        ])
    }

    fn build(mut parts: Vec<(IpAddr, IpAddr)>) -> Self {
        parts.sort_unstable();
        let mut merged: Vec<(IpAddr, IpAddr)> = Vec::with_capacity(parts.len());
        for (from, to) in parts {
            match merged.last_mut() {
                Some(last) if from <= last.1 || after(last.1) == Some(from) => last.1 = last.1.max(to),
                _ => merged.push((from, to)),
            }
        }
        Self(merged)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the first address of any interval is such a one; all of an interval is of one family.
    pub(crate) fn any(&self, of: fn(&IpAddr) -> bool) -> bool {
        self.0.iter().any(|(from, _)| of(from))
    }

    /// What is in either.
    pub(crate) fn union(&self, other: &Self) -> Self {
        Self::build(self.0.iter().chain(&other.0).copied().collect())
    }

    /// What is in this and not in the other.
    pub(crate) fn minus(&self, other: &Self) -> Self {
        let mut left = Vec::new();
        for &(from, to) in &self.0 {
            let mut next = Some(from);
            for &(hole_from, hole_to) in other.0.iter().filter(|(a, b)| *a <= to && *b >= from) {
                if let (Some(start), Some(end)) = (next, before(hole_from))
                    && start <= end
                {
                    left.push((start, end));
                }
                next = after(hole_to).filter(|next| *next <= to);
            }
            left.extend(next.map(|next| (next, to)));
        }
        Self(left)
    }

    /// The pieces into which the borders cut this set, each with an address of it: whatever is decided by membership in ranges with these borders is the same within a piece.
    ///
    /// Addresses in `avoid` are passed over where a piece has another (pods and nodes follow rules of their own).
    pub(crate) fn pieces(&self, borders: &BTreeSet<IpAddr>, avoid: &BTreeSet<IpAddr>) -> Vec<(Self, IpAddr)> {
        let mut pieces = Vec::new();
        for &(from, to) in &self.0 {
            let starts = std::iter::once(from)
                .chain(borders.range((std::ops::Bound::Excluded(from), std::ops::Bound::Included(to))).copied());
            let starts: Vec<IpAddr> = starts.collect();
            for (index, start) in starts.iter().enumerate() {
                let end = starts.get(index + 1).and_then(|next| before(*next)).unwrap_or(to);
                let mut sample = *start;
                while avoid.contains(&sample) {
                    match after(sample).filter(|next| *next <= end) {
                        Some(next) => sample = next,
                        None => break,
                    }
                }
                pieces.push((Self(vec![(*start, end)]), sample));
            }
        }
        pieces
    }

    /// The first ranges as CIDRs where they are one, for a sentence; what does not fit is counted.
    pub(crate) fn describe(&self) -> String {
        const SHOWN: usize = 4;
        let nets: Vec<IpNet> = self.nets();
        let shown: Vec<String> = nets.iter().take(SHOWN).map(ToString::to_string).collect();
        match nets.len().checked_sub(SHOWN) {
            Some(more) if more > 0 => format!("{} and {more} more ranges", shown.join(", ")),
            _ => shown.join(", "),
        }
    }

    /// As CIDRs, sorted. An interval needs at most 2 × 128 of them.
    fn nets(&self) -> Vec<IpNet> {
        let mut nets: Vec<IpNet> = Vec::new();
        for &(from, to) in &self.0 {
            match (from, to) {
                (IpAddr::V4(from), IpAddr::V4(to)) => {
                    nets.extend(ipnet::Ipv4Subnets::new(from, to, 0).map(IpNet::V4));
                }
                (IpAddr::V6(from), IpAddr::V6(to)) => {
                    nets.extend(ipnet::Ipv6Subnets::new(from, to, 0).map(IpNet::V6));
                }
                _ => {}
            }
        }
        nets
    }
}

/// Where ranges begin and where the addresses behind them begin: between two neighbours membership does not change.
pub(crate) fn borders<'n>(nets: impl IntoIterator<Item = &'n IpNet>) -> BTreeSet<IpAddr> {
    nets.into_iter().flat_map(|net| std::iter::once(net.network()).chain(after(net.broadcast()))).collect()
}

fn after(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => v4.to_bits().checked_add(1).map(|bits| Ipv4Addr::from_bits(bits).into()),
        IpAddr::V6(v6) => v6.to_bits().checked_add(1).map(|bits| Ipv6Addr::from_bits(bits).into()),
    }
}

fn before(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => v4.to_bits().checked_sub(1).map(|bits| Ipv4Addr::from_bits(bits).into()),
        IpAddr::V6(v6) => v6.to_bits().checked_sub(1).map(|bits| Ipv6Addr::from_bits(bits).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[track_caller]
    fn check(of: &[&str], minus: &[&str], expect: &str) {
        let set = Addresses::of(&nets(of), &nets(minus));
        assert_eq!(set.describe(), expect);
    }

    #[test]
    fn subtraction() {
        check(&["10.0.0.0/8"], &[], "10.0.0.0/8");
        check(&["10.0.0.0/8"], &["10.0.0.0/9"], "10.128.0.0/9");
        check(&["10.0.0.0/8"], &["0.0.0.0/0"], "");
        check(&["10.0.0.0/8", "11.0.0.0/8"], &["::/0"], "10.0.0.0/7");
        check(&["0.0.0.0/0", "::/0"], &["128.0.0.0/1"], "0.0.0.0/1, ::/0");
        check(&["255.255.255.255/32"], &["255.255.255.254/31"], "");
        check(&["10.0.0.0/30"], &["10.0.0.1/32", "10.0.0.2/32"], "10.0.0.0/32, 10.0.0.3/32");
        assert_eq!(Addresses::all(), Addresses::of(&nets(&["0.0.0.0/0", "::/0"]), &[]));
    }

    #[test]
    fn samples_are_one_a_piece() {
        let set = Addresses::of(&nets(&["10.0.0.0/29"]), &[]);
        let cut = borders(&nets(&["10.0.0.2/31", "10.0.0.0/8"]));
        let avoid = ["10.0.0.0".parse().unwrap(), "10.0.0.2".parse().unwrap(), "10.0.0.3".parse().unwrap()].into();
        let samples: Vec<String> = set.pieces(&cut, &avoid).iter().map(|(_, sample)| sample.to_string()).collect();
        assert_eq!(samples, ["10.0.0.1", "10.0.0.3", "10.0.0.4"]);
    }

    fn some_nets() -> impl Strategy<Value = Vec<IpNet>> {
        let net = (any::<bool>(), 0..32_u8, 27..=32_u8).prop_map(|(v6, host, prefix)| {
            let text = if v6 { format!("fd00::{host:x}/{}", prefix + 96) } else { format!("10.0.0.{host}/{prefix}") };
            text.parse::<IpNet>().unwrap().trunc()
        });
        prop::collection::vec(net, 0..5)
    }

    proptest! {
        #[test]
        fn membership_is_pointwise(a in some_nets(), b in some_nets()) {
            let set = Addresses::of(&a, &b);
            let both = Addresses::of(&a, &[]).union(&Addresses::of(&b, &[]));
            for host in 0..32_u8 {
                for text in [format!("10.0.0.{host}"), format!("fd00::{host:x}")] {
                    let address: IpAddr = text.parse().unwrap();
                    let within = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&address));
                    let one = Addresses::single([address]);
                    prop_assert_eq!(one.minus(&set).is_empty(), within(&a) && !within(&b));
                    prop_assert_eq!(one.minus(&both).is_empty(), within(&a) || within(&b));
                }
            }
            // Every piece has its sample, and only pieces have.
            for (_, sample) in set.pieces(&borders(a.iter().chain(&b)), &BTreeSet::new()) {
                prop_assert!(Addresses::single([sample]).minus(&set).is_empty());
            }
        }
    }
}
