//! Sets of ports: per protocol, as intervals.

use std::fmt;

use crate::world::Protocol;

/// Ports of one protocol, 1 to 65535, as sorted intervals that neither overlap nor touch. Both ends are inclusive.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Intervals(Vec<(u16, u16)>);

impl Intervals {
    /// No port.
    pub fn none() -> Self {
        Self::default()
    }

    /// Every port.
    pub fn all() -> Self {
        Self(vec![(1, u16::MAX)])
    }

    /// From one port to another, inclusive; nothing when `from > to`. Port 0 is no port.
    pub fn range(from: u16, to: u16) -> Self {
        let from = from.max(1);
        if from <= to { Self(vec![(from, to)]) } else { Self::none() }
    }

    /// The intervals, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u16, u16)> + '_ {
        self.0.iter().copied()
    }

    /// Whether there is no port in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether every port is in it.
    pub fn is_all(&self) -> bool {
        self.0 == [(1, u16::MAX)]
    }

    /// How many ports are in it.
    pub fn len(&self) -> usize {
        self.iter().map(|(from, to)| usize::from(to - from) + 1).sum()
    }

    /// Whether a port is in it.
    pub fn contains(&self, port: u16) -> bool {
        let after = self.0.partition_point(|(from, _)| *from <= port);
        after.checked_sub(1).and_then(|index| self.0.get(index)).is_some_and(|(_, to)| port <= *to)
    }

    /// What is in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut parts: Vec<(u16, u16)> = self.iter().chain(other.iter()).collect();
        parts.sort_unstable();
        let mut merged: Vec<(u16, u16)> = Vec::with_capacity(parts.len());
        for (from, to) in parts {
            match merged.last_mut() {
                Some(last) if from <= last.1.saturating_add(1) => last.1 = last.1.max(to),
                _ => merged.push((from, to)),
            }
        }
        Self(merged)
    }

    /// What is in both.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        let (mut left, mut right) = (self.iter().peekable(), other.iter().peekable());
        let mut common = Vec::new();
        while let (Some(&a), Some(&b)) = (left.peek(), right.peek()) {
            let (from, to) = (a.0.max(b.0), a.1.min(b.1));
            if from <= to {
                common.push((from, to));
            }
            if a.1 < b.1 {
                left.next()
            } else {
                right.next()
            };
        }
        Self(common)
    }

    /// What is in this and not in the other.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        self.intersect(&other.complement())
    }

    fn complement(&self) -> Self {
        let mut gaps = Vec::with_capacity(self.0.len() + 1);
        let mut next = Some(1_u16);
        for (from, to) in self.iter() {
            if let Some(next) = next
                && next < from
            {
                gaps.push((next, from - 1));
            }
            next = to.checked_add(1);
        }
        gaps.extend(next.map(|next| (next, u16::MAX)));
        Self(gaps)
    }
}

/// `80, 443-445`, `all ports` or `nothing`.
impl fmt::Display for Intervals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing");
        }
        if self.is_all() {
            return f.write_str("all ports");
        }
        for (index, (from, to)) in self.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { ", " })?;
            if from == to { write!(f, "{from}")? } else { write!(f, "{from}-{to}")? }
        }
        Ok(())
    }
}

/// Ports of all three protocols.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct PortSet([Intervals; 3]);

impl PortSet {
    /// No port of any protocol.
    pub fn none() -> Self {
        Self::default()
    }

    /// Every port of every protocol.
    pub fn all() -> Self {
        Self(std::array::from_fn(|_| Intervals::all()))
    }

    /// Ports of one protocol.
    pub fn of(protocol: Protocol, ports: Intervals) -> Self {
        let mut set = Self::none();
        set.0[protocol as usize] = ports;
        set
    }

    /// The ports of one protocol.
    pub fn get(&self, protocol: Protocol) -> &Intervals {
        &self.0[protocol as usize]
    }

    /// Whether a port is in it.
    pub fn contains(&self, protocol: Protocol, port: u16) -> bool {
        self.get(protocol).contains(port)
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Intervals::is_empty)
    }

    /// Whether everything is in it.
    pub fn is_all(&self) -> bool {
        self.0.iter().all(Intervals::is_all)
    }

    /// What is in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.each(other, Intervals::union)
    }

    /// What is in both.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        self.each(other, Intervals::intersect)
    }

    /// What is in this and not in the other.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        self.each(other, Intervals::minus)
    }

    fn each(&self, other: &Self, join: impl Fn(&Intervals, &Intervals) -> Intervals) -> Self {
        Self(std::array::from_fn(|index| join(&self.0[index], &other.0[index])))
    }
}

/// `TCP 80, 443; UDP all ports`, `everything` or `nothing`.
impl fmt::Display for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing");
        }
        if self.is_all() {
            return f.write_str("everything");
        }
        let parts = Protocol::ALL.iter().filter(|p| !self.get(**p).is_empty());
        let texts: Vec<String> = parts.map(|p| format!("{p} {}", self.get(*p))).collect();
        f.write_str(&texts.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn build(parts: &[(u16, u16)]) -> Intervals {
        parts.iter().fold(Intervals::none(), |set, (from, to)| set.union(&Intervals::range(*from, *to)))
    }

    #[track_caller]
    fn check(parts: &[(u16, u16)], expect: &str) {
        assert_eq!(build(parts).to_string(), expect);
    }

    #[test]
    fn intervals_are_canonical() {
        check(&[], "nothing");
        check(&[(80, 80), (81, 90), (85, 100), (443, 443)], "80-100, 443");
        check(&[(0, 0), (5, 4)], "nothing");
        check(&[(1, 40000), (40001, 65535)], "all ports");
        check(&[(65535, 65535), (65534, 65535)], "65534-65535");
        let set =
            PortSet::of(Protocol::Tcp, Intervals::range(80, 80)).union(&PortSet::of(Protocol::Udp, Intervals::all()));
        assert_eq!(set.to_string(), "TCP 80; UDP all ports");
        assert_eq!(PortSet::all().minus(&PortSet::all()).to_string(), "nothing");
        assert_eq!(PortSet::all().to_string(), "everything");
    }

    /// Ports near the ends of the range and close to each other, where off-by-one errors live.
    fn port() -> impl Strategy<Value = u16> {
        prop_oneof![1..12_u16, 65_525..=65_535_u16]
    }

    proptest! {
        #[test]
        fn set_operations_are_pointwise(
            a in prop::collection::vec((port(), port()), 0..5),
            b in prop::collection::vec((port(), port()), 0..5),
        ) {
            let (a, b) = (build(&a), build(&b));
            for p in (1..14_u16).chain(65_520..=65_535) {
                prop_assert_eq!(a.union(&b).contains(p), a.contains(p) || b.contains(p));
                prop_assert_eq!(a.intersect(&b).contains(p), a.contains(p) && b.contains(p));
                prop_assert_eq!(a.minus(&b).contains(p), a.contains(p) && !b.contains(p));
            }
            prop_assert_eq!(a.union(&b).len() + a.intersect(&b).len(), a.len() + b.len());
            prop_assert_eq!(a.union(&b), b.union(&a));
        }
    }
}
