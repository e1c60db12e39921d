//! Pairs in words: pieces of a range that have the same answer are one range again.

use std::net::IpAddr;

use super::PairName;
use crate::judge::audit::{Addresses, Side};
use crate::matrix::Party;

/// One end of a pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Name {
    /// A pod or an address.
    Text(String),
    /// A piece of a range.
    Range(Addresses),
}

impl Name {
    /// A range where the side is one, else what the answer calls the end.
    pub(super) fn of(side: &Side, answered: String) -> Self {
        match side {
            Side::Range(range) => Self::Range(range.clone()),
            Side::Pods(_) | Side::AnyPod(_) | Side::At(_) | Side::Unknown(_) => Self::Text(answered),
        }
    }
}

/// Ranges as they were asked for, to be called so where all of one has the same answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Wholes(Vec<(Addresses, String)>);

impl Wholes {
    pub(super) fn add<'s>(&mut self, party: &Party, sides: impl Iterator<Item = &'s Side>) {
        for side in sides {
            if let (Side::Range(range), Party::World | Party::Block(_)) = (side, party) {
                self.0.push((range.clone(), party.to_string()));
            }
        }
    }

    /// A pod of one family never meets the other half of `world`.
    fn name(&self, range: &Addresses) -> String {
        let has = |range: &Addresses, of: fn(&IpAddr) -> bool| range.any(of);
        let missing = |whole: &Addresses, of: fn(&IpAddr) -> bool| has(range, of) && has(&whole.minus(range), of);
        let found = self.0.iter().find(|(whole, _)| {
            range.minus(whole).is_empty() && !missing(whole, IpAddr::is_ipv4) && !missing(whole, IpAddr::is_ipv6)
        });
        match found {
            Some((whole, text)) if whole.minus(range).is_empty() => text.clone(),
            Some((_, text)) if has(range, IpAddr::is_ipv4) => format!("{text} (IPv4)"),
            Some((_, text)) => format!("{text} (IPv6)"),
            None => range.describe(),
        }
    }
}

/// Pairs of one group.
#[derive(Debug, Clone, Default)]
pub(super) struct Rows(Vec<(Name, Name, u16)>);

impl Rows {
    pub(super) fn add(&mut self, from: Name, to: Name, port: u16) {
        for (own_from, own_to, own_port) in &mut self.0 {
            match (&mut *own_from, &mut *own_to, &from, &to) {
                _ if *own_port != port => {}
                (Name::Range(own), same, Name::Range(range), other) if same == other => return *own = own.union(range),
                (same, Name::Range(own), other, Name::Range(range)) if same == other => return *own = own.union(range),
                _ => {}
            }
        }
        self.0.push((from, to, port));
    }

    pub(super) fn named(self, wholes: &Wholes) -> Vec<PairName> {
        let text = |name: Name| match name {
            Name::Text(text) => text,
            Name::Range(range) => wholes.name(&range),
        };
        let one = |(from, to, pod_port)| PairName { from: text(from), to: text(to), pod_port };
        self.0.into_iter().map(one).collect()
    }
}
