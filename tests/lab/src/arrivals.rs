//! Which pods are too young to be isolated.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// When each pod was first seen with an address. Those of the first look were there before; a plugin that restarts does not set its pods free.
#[derive(Debug, Default)]
pub struct Arrivals {
    seen: HashMap<String, Option<Instant>>,
    begun: bool,
}

/// Pods that are not isolated yet.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Young {
    /// Their uids.
    pub uids: BTreeSet<String>,
    /// When the first of them comes of age.
    pub next: Option<Instant>,
}

impl Arrivals {
    /// Takes note of the pods that are there, and forgets those that went.
    pub fn look<'p>(&mut self, uids: impl Iterator<Item = &'p str>, now: Instant) {
        let since = self.begun.then_some(now);
        self.begun = true;
        let mut before = std::mem::take(&mut self.seen);
        self.seen = uids.map(|uid| (uid.to_owned(), before.remove(uid).unwrap_or(since))).collect();
    }

    /// Those that were first seen less than `delay` ago.
    pub fn young(&self, delay: Duration, now: Instant) -> Young {
        let mut young = Young::default();
        for (uid, since) in &self.seen {
            let Some(due) = since.map(|since| since + delay).filter(|due| *due > now) else { continue };
            young.uids.insert(uid.clone());
            young.next = Some(young.next.map_or(due, |next| next.min(due)));
        }
        young
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pods_that_come_later_are_young() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut arrivals = Arrivals::default();
        arrivals.look(["old"].into_iter(), start);
        arrivals.look(["old", "new"].into_iter(), after(10));
        arrivals.look(["old", "new", "newer"].into_iter(), after(12));
        let delay = Duration::from_secs(5);
        let young = |uids: &[&str], next| Young { uids: uids.iter().map(|uid| (*uid).to_owned()).collect(), next };
        assert_eq!(arrivals.young(delay, after(14)), young(&["new", "newer"], Some(after(15))));
        assert_eq!(arrivals.young(delay, after(15)), young(&["newer"], Some(after(17))));
        assert_eq!(arrivals.young(delay, after(17)), young(&[], None));
        assert_eq!(arrivals.young(Duration::ZERO, after(12)), young(&[], None));

        // A pod that went and came back is new.
        arrivals.look(["old"].into_iter(), after(20));
        arrivals.look(["new"].into_iter(), after(30));
        assert_eq!(arrivals.young(delay, after(31)), young(&["new"], Some(after(35))));
    }
}
