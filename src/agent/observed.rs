//! Agents' reports → what was observed of each edge.

use std::time::Duration;

use super::assignment::Vantage;
use super::report::{self, Edge, Report, Seen};
use crate::judge::{Attempt, Observation, Reason};

/// A pod whose agent was asked.
#[derive(Debug, Clone)]
pub struct Witness {
    /// `namespace/pod`
    pub pod: String,
    /// Whose identity it has.
    pub vantage: Vantage,
    /// What it said, or why it said nothing.
    pub report: Result<Report, String>,
}

/// Older than so many of its intervals, an attempt says nothing any more (product.md §6).
const FRESH_INTERVALS: f64 = 3.0;

/// Network plug-ins take so long, in seconds, until they enforce a new pod's policies (k3s and AWS: 1 to 9; then some for a busy node).
const BEGINNING: f64 = 30.0;

/// What the agents saw of an edge. Every pod counts, and the judgement takes the worst.
///
/// A silent agent, one without this edge, and one whose attempts are too old all count as an attempt that was not made: unknown, never fine.
///
/// `ready` is for how long the target is Ready, if somebody says so.
pub fn observe(edge: &str, vantage: Vantage, witnesses: &[Witness], ready: Option<Duration>) -> Observation {
    let mut observation = Observation { source_has_network: true, ..Observation::default() };
    let begun = witnesses.iter().filter(|witness| witness.vantage == Vantage::Subject);
    let begun = begun.filter_map(|witness| Some(witness.report.as_ref().ok()?.uptime_seconds)).reduce(f64::min);
    for witness in witnesses.iter().filter(|witness| witness.vantage == vantage) {
        let not_made =
            |why: String| Attempt::not_made(edge, Reason::ProberError, &format!("the agent in {} {why}", witness.pod));
        let report = match &witness.report {
            Ok(report) => report,
            Err(why) => {
                observation.attempts.push(not_made(format!("did not answer: {why}")));
                continue;
            }
        };
        observation.source_has_network &= has_network(report);
        let Some(row) = report.edges.iter().find(|row| row.name == edge) else {
            observation.attempts.push(not_made("was not told to probe it".to_owned()));
            continue;
        };
        let settled = settled(row);
        if settled.is_empty() {
            observation.attempts.push(not_made("has not probed it yet".to_owned()));
        }
        for seen in settled {
            // The agent is the first container of MAS's pod.
            if begun.is_some_and(|begun| begun - seen.age_seconds < BEGINNING) {
                observation.early.insert(observation.attempts.len());
            }
            if ready.is_some_and(|ready| seen.age_seconds > ready.as_secs_f64()) {
                observation.outdated.insert(observation.attempts.len());
            }
            let limit = row.interval_seconds * FRESH_INTERVALS;
            // A lie such as NaN is not fresh either.
            let is_fresh = seen.age_seconds <= limit;
            observation.attempts.push(if is_fresh {
                seen.attempt(edge)
            } else {
                not_made(format!("probed it {:.0} s ago, which is too long ago", seen.age_seconds))
            });
        }
    }
    observation
}

/// How long an edge has had this reason somewhere, by the agent that has seen it for longest.
pub fn since(edge: &str, vantage: Vantage, reason: Reason, witnesses: &[Witness]) -> Option<Duration> {
    let reports = witnesses
        .iter()
        .filter(|witness| witness.vantage == vantage)
        .filter_map(|witness| witness.report.as_ref().ok());
    let rows = reports.flat_map(|report| &report.edges).filter(|row| row.name == edge);
    let spans = rows.flat_map(settled).filter(|seen| seen.reason == reason.as_str());
    spans.filter_map(|seen| Duration::try_from_secs_f64(seen.since_seconds).ok()).max()
}

/// Something answered that agent lately, whatever it said.
fn has_network(report: &Report) -> bool {
    let fresh = report.edges.iter().flat_map(|row| {
        let limit = row.interval_seconds * FRESH_INTERVALS;
        row.attempts.iter().filter(move |seen| seen.age_seconds <= limit).map(|seen| seen.attempt(&row.name))
    });
    fresh.into_iter().any(|attempt| attempt.reason.is_from_outside())
}

/// The attempts that count.
fn settled(row: &Edge) -> Vec<&Seen> {
    report::settled(&row.attempts, |seen| seen.address, Seen::is_silence)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(seq: u64, age_seconds: f64, address: &str, reason: Reason) -> Seen {
        Seen {
            seq,
            age_seconds,
            since_seconds: age_seconds,
            address: Some(address.parse().unwrap()),
            reason: reason.as_str().to_owned(),
            offender: None,
            seconds: 0.001,
            detail: String::new(),
            tls_not_after: None,
        }
    }

    fn witness(pod: &str, attempts: Vec<Seen>) -> Witness {
        let edges = vec![Edge { name: "mas-to-postgres".to_owned(), interval_seconds: 15.0, attempts }];
        let report = Report {
            version: report::VERSION,
            generation: 1,
            matrix: "matrix/mas".to_owned(),
            vantage: Vantage::Subject,
            seq: 9,
            uptime_seconds: 600.0,
            edges,
            nameservers: Vec::new(),
        };
        Witness { pod: pod.to_owned(), vantage: Vantage::Subject, report: Ok(report) }
    }

    #[track_caller]
    fn check(witnesses: &[Witness], reasons: &[Reason], source_has_network: bool) {
        let observation = observe("mas-to-postgres", Vantage::Subject, witnesses, None);
        let got: Vec<Reason> = observation.attempts.iter().map(|attempt| attempt.reason).collect();
        assert_eq!((got.as_slice(), observation.source_has_network), (reasons, source_has_network), "{observation:#?}");
    }

    #[test]
    fn what_was_seen_as_the_pod_began_is_early() {
        let attempts = vec![seen(1, 3.0, "10.0.0.1:5432", Reason::Ok), seen(2, 13.0, "10.0.0.2:5432", Reason::Ok)];
        for (uptime, early) in [(600.0, vec![]), (40.0, vec![1]), (32.0, vec![0, 1]), (f64::NAN, vec![])] {
            let mut subject = witness("matrix/mas-0", attempts.clone());
            subject.report.as_mut().unwrap().uptime_seconds = uptime;
            // By the age of MAS's pod, whoever looks.
            let stranger = Witness { vantage: Vantage::Stranger, ..witness("matrix/stranger", attempts.clone()) };
            for vantage in [Vantage::Subject, Vantage::Stranger] {
                let both = [subject.clone(), stranger.clone()];
                let observation = observe("mas-to-postgres", vantage, &both, None);
                assert!(observation.outdated.is_empty());
                assert_eq!(observation.early.into_iter().collect::<Vec<_>>(), early, "{uptime} {vantage:?}");
            }
        }
    }

    #[test]
    fn what_was_seen_before_the_target_was_ready_is_outdated() {
        let attempts = vec![seen(1, 3.0, "10.0.0.1:5432", Reason::Ok), seen(2, 13.0, "10.0.0.2:5432", Reason::Ok)];
        let witnesses = [witness("matrix/mas-0", attempts)];
        for (ready, outdated) in [(60, vec![]), (5, vec![1]), (0, vec![0, 1])] {
            let ready = Some(Duration::from_secs(ready));
            let observation = observe("mas-to-postgres", Vantage::Subject, &witnesses, ready);
            assert_eq!(observation.outdated.into_iter().collect::<Vec<_>>(), outdated, "{ready:?}");
        }
    }

    #[test]
    fn every_pod_counts_and_what_is_old_or_missing_is_unknown() {
        use Reason::{ConnectRefusedRst, ConnectTimeout, DnsTimeout, Ok, ProberError};
        let fine = || witness("matrix/mas-0", vec![seen(1, 3.0, "10.0.0.1:5432", Ok)]);
        check(&[], &[], true);
        check(&[fine()], &[Ok], true);
        // The newest of each address.
        let twice = vec![seen(1, 18.0, "10.0.0.1:5432", ConnectTimeout), seen(2, 3.0, "10.0.0.1:5432", Ok)];
        check(&[witness("a", twice)], &[Ok], true);
        // Silence counts when it came twice; a refusal at once.
        let once = || vec![seen(1, 18.0, "10.0.0.1:5432", Ok), seen(2, 3.0, "10.0.0.1:5432", ConnectTimeout)];
        check(&[witness("a", once())], &[Ok], true);
        let again = [once(), vec![seen(3, 1.0, "10.0.0.1:5432", ConnectTimeout)]].concat();
        check(&[witness("a", again)], &[ConnectTimeout], true);
        let refused = vec![seen(1, 18.0, "10.0.0.1:5432", Ok), seen(2, 3.0, "10.0.0.1:5432", ConnectRefusedRst)];
        check(&[witness("a", refused)], &[ConnectRefusedRst], true);
        let nameless = Seen { address: None, ..seen(2, 3.0, "10.0.0.1:5432", DnsTimeout) };
        check(&[witness("a", vec![seen(1, 18.0, "10.0.0.1:5432", Ok), nameless.clone()])], &[Ok], true);
        check(&[witness("a", vec![nameless])], &[DnsTimeout], false);
        let two = vec![seen(1, 3.0, "10.0.0.1:5432", ConnectTimeout), seen(2, 3.0, "10.0.0.2:5432", Ok)];
        check(&[witness("a", two)], &[ConnectTimeout, Ok], true);
        // Silence alone does not show that this pod has a network.
        check(
            &[fine(), witness("b", vec![seen(1, 3.0, "10.0.0.1:5432", ConnectTimeout)])],
            &[Ok, ConnectTimeout],
            false,
        );
        check(&[witness("a", vec![seen(1, 46.0, "10.0.0.1:5432", Ok)])], &[ProberError], false);
        check(&[witness("a", vec![seen(1, f64::NAN, "10.0.0.1:5432", Ok)])], &[ProberError], false);
        check(&[witness("a", Vec::new())], &[ProberError], false);
        let silent = Witness { report: Err("connection refused".to_owned()), ..fine() };
        check(&[fine(), silent], &[Ok, ProberError], true);
        let other = Witness { vantage: Vantage::Stranger, ..fine() };
        check(&[other], &[], true);
    }
}
