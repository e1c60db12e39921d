//! What an agent remembers of its attempts: enough for the report, bounded by the edges of its file.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use super::assignment::Vantage;
use super::report::{self, KEPT, Report, Seen};
use crate::judge::Attempt;

/// The attempts, by edge.
#[derive(Debug, Default)]
pub(super) struct Notebook {
    generation: u64,
    matrix: String,
    seq: u64,
    edges: BTreeMap<String, Page>,
}

#[derive(Debug, Default)]
struct Page {
    interval: Duration,
    /// Oldest first.
    attempts: VecDeque<Line>,
}

#[derive(Debug)]
struct Line {
    seq: u64,
    /// When it ended.
    at: Duration,
    /// When the first attempt at this address ended that had this reason, without another since.
    since: Duration,
    attempt: Attempt,
}

impl Line {
    fn seen(&self, now: Duration) -> Seen {
        Seen::of(&self.attempt, self.seq, now.saturating_sub(self.at), now.saturating_sub(self.since))
    }
}

impl Notebook {
    /// These edges and no others, each with its interval. What is known of an edge that stays is kept.
    pub(super) fn assign(&mut self, generation: u64, matrix: &str, edges: &BTreeMap<String, Duration>) {
        self.generation = generation;
        matrix.clone_into(&mut self.matrix);
        self.edges.retain(|name, _| edges.contains_key(name));
        for (name, interval) in edges {
            self.edges.entry(name.clone()).or_default().interval = *interval;
        }
    }

    /// How long it takes until the next probe of an edge: longer than its interval while its peer wants a pause, and what is known of it holds as much longer.
    pub(super) fn pace(&mut self, edge: &str, pace: Duration) {
        if let Some(page) = self.edges.get_mut(edge) {
            page.interval = pace;
        }
    }

    /// Writes down one probe of an edge: an attempt at each of its addresses. Addresses that it no longer found are forgotten.
    pub(super) fn write(&mut self, edge: &str, attempts: &[Attempt], now: Duration) {
        let Some(page) = self.edges.get_mut(edge) else { return };
        let found: Vec<Option<SocketAddr>> = attempts.iter().map(|attempt| attempt.address).collect();
        // A name that is not answered for once says nothing of the addresses that it had.
        let lost = |attempt: &Attempt| attempt.address.is_none() && attempt.reason.is_silence();
        let once = attempts.iter().all(lost) && page.attempts.back().is_some_and(|old| !lost(&old.attempt));
        page.attempts.retain(|old| once || found.contains(&old.attempt.address));
        for attempt in attempts {
            self.seq += 1;
            let before = page.attempts.iter().rfind(|old| old.attempt.address == attempt.address);
            let since = before.filter(|old| old.attempt.reason == attempt.reason).map_or(now, |old| old.since);
            page.attempts.push_back(Line { seq: self.seq, at: now, since, attempt: attempt.clone() });
        }
        while page.attempts.len() > KEPT * attempts.len().max(1) {
            page.attempts.pop_front();
        }
    }

    /// What counts of every edge that was probed.
    pub(super) fn settled(&self) -> BTreeMap<String, Vec<Attempt>> {
        let settled = |page: &Page| {
            let lines =
                report::settled(&page.attempts, |line| line.attempt.address, |line| line.attempt.reason.is_silence());
            lines.into_iter().map(|line| line.attempt.clone()).collect::<Vec<_>>()
        };
        let pages = self.edges.iter().filter(|(_, page)| !page.attempts.is_empty());
        pages.map(|(name, page)| (name.clone(), settled(page))).collect()
    }

    /// The report of this moment.
    pub(super) fn report(&self, vantage: Vantage, nameservers: &[SocketAddr], now: Duration) -> Report {
        let edges = self.edges.iter().map(|(name, page)| report::Edge {
            name: name.clone(),
            interval_seconds: page.interval.as_secs_f64(),
            attempts: page.attempts.iter().map(|line| line.seen(now)).collect(),
        });
        Report {
            version: report::VERSION,
            generation: self.generation,
            matrix: self.matrix.clone(),
            vantage,
            seq: self.seq,
            uptime_seconds: now.as_secs_f64(),
            edges: edges.collect(),
            nameservers: nameservers.to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::{Phases, Reason};

    fn attempt(address: Option<&str>) -> Attempt {
        let address = address.map(|address| address.parse().unwrap());
        Attempt {
            edge: "e".to_owned(),
            address,
            reason: Reason::Ok,
            offender: None,
            phases: Phases::default(),
            detail: String::new(),
            tls: None,
        }
    }

    #[track_caller]
    fn check(notebook: &Notebook, edge: &str, expect: &[(u64, f64, Option<&str>)]) {
        let report = notebook.report(Vantage::Subject, &[], Duration::from_secs(100));
        let page = report.edges.iter().find(|row| row.name == edge).unwrap();
        let got: Vec<_> = page.attempts.iter().map(|seen| (seen.seq, seen.age_seconds, seen.address)).collect();
        let expect: Vec<_> = expect.iter().map(|(seq, age, a)| (*seq, *age, a.map(|a| a.parse().unwrap()))).collect();
        assert_eq!(got, expect);
    }

    #[test]
    fn numbers_rise_addresses_go_and_all_is_bounded() {
        let at = Duration::from_secs;
        let both = BTreeMap::from([("a".to_owned(), at(15)), ("b".to_owned(), at(60))]);
        let mut notebook = Notebook::default();
        notebook.assign(1, "matrix/mas", &both);
        let (one, two) = (Some("10.0.0.1:1"), Some("10.0.0.2:1"));
        notebook.write("a", &[attempt(one), attempt(two)], at(10));
        notebook.write("b", &[attempt(one)], at(20));
        notebook.write("stranger", &[attempt(one)], at(20));
        check(&notebook, "a", &[(1, 90.0, one), (2, 90.0, two)]);
        check(&notebook, "b", &[(3, 80.0, one)]);
        // One address is gone from the name.
        notebook.write("a", &[attempt(two)], at(30));
        check(&notebook, "a", &[(2, 90.0, two), (4, 70.0, two)]);
        // Its peer wants a pause.
        notebook.pace("a", at(120));
        notebook.pace("stranger", at(1));
        let intervals = notebook.report(Vantage::Subject, &[], at(100)).edges;
        assert_eq!(intervals.iter().map(|row| row.interval_seconds).collect::<Vec<_>>(), [120.0, 60.0]);
        // The name is not answered for: once its addresses stay, twice they go.
        let lost = Attempt { reason: Reason::DnsTimeout, ..attempt(None) };
        let mut deaf = Notebook::default();
        deaf.assign(1, "matrix/mas", &both);
        deaf.write("a", &[attempt(one)], at(10));
        deaf.write("a", std::slice::from_ref(&lost), at(20));
        check(&deaf, "a", &[(1, 90.0, one), (2, 80.0, None)]);
        deaf.write("a", &[lost], at(30));
        check(&deaf, "a", &[(2, 80.0, None), (3, 70.0, None)]);
        // The name is gone.
        notebook.write("a", &[attempt(None)], at(40));
        check(&notebook, "a", &[(5, 60.0, None)]);
        for _ in 0..100 {
            notebook.write("a", &[attempt(one), attempt(two)], at(50));
        }
        let report = notebook.report(Vantage::Subject, &[], at(60));
        assert_eq!((report.seq, report.edges[0].attempts.len()), (205, 2 * KEPT));
        // Since when it is as it is.
        assert!(report.edges[0].attempts.iter().all(|seen| (seen.since_seconds - 10.0).abs() < 1e-9), "{report:#?}");
        let failed = Attempt { reason: Reason::ConnectTimeout, ..attempt(one) };
        notebook.write("b", &[failed], at(70));
        let since = |second: u64| {
            let report = notebook.report(Vantage::Subject, &[], at(second));
            report.edges[1].attempts.iter().map(|seen| seen.since_seconds).collect::<Vec<_>>()
        };
        assert_eq!(since(80), [60.0, 10.0]);
        // An edge that stays keeps what is known of it; an age is never negative.
        notebook.assign(2, "matrix/mas", &BTreeMap::from([("b".to_owned(), at(60))]));
        check(&notebook, "b", &[(3, 80.0, one), (206, 30.0, one)]);
        assert!(notebook.report(Vantage::Subject, &[], at(0)).edges[0].attempts[0].age_seconds < 1e-9);
    }
}
