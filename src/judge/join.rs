//! The join over a whole matrix: rows with declared facts + what probes found → states, findings, root causes first.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{Attempt, Class, Declared, EdgeReport, Evidence, Judgement, Mode, Reason, State, judge};
use crate::finding::{Code, Finding};
use crate::matrix::{Exchange, Expect};

/// What was observed of one edge in one cycle.
#[derive(Debug, Clone, Default)]
pub struct Observation {
    /// One attempt an address; the worst pair decides.
    pub attempts: Vec<Attempt>,
    /// `Some(true)`: a Ready endpoint, or a control that connected. `Some(false)`: known not to serve. `None`: not known.
    pub target_up: Option<bool>,
    /// The source got an answer from something else in the same cycle.
    pub source_has_network: bool,
    /// Addresses of pods that are not Ready or on their way out. While another address is asked, too, theirs do not decide.
    pub unready: BTreeSet<IpAddr>,
    /// No pod of the target is Ready, but not for long: a roll-out is as likely as an outage.
    pub settling: bool,
    /// Which of `attempts` were made so soon after MAS's pod began that its policies may not have been in force: many plug-ins are seconds late.
    pub early: BTreeSet<usize>,
    /// Which of `attempts` were made before the target was as Ready as it is now: that they failed says nothing of now.
    pub outdated: BTreeSet<usize>,
}

/// Judges every row that was observed, and orders the findings: worst first, causes before what follows from them.
///
/// `audited` are the findings of the static comparison; a blocked edge takes its culprit, place and fix from them.
pub fn join(
    rows: &mut [EdgeReport],
    observed: &BTreeMap<String, Observation>,
    audited: &[Finding],
    mode: Mode,
) -> Vec<Finding> {
    for row in rows.iter_mut() {
        if let Some(observation) = observed.get(&row.name) {
            judge_row(row, observation, audited, mode);
        }
    }
    let causes = suppress(rows);
    let mut findings: Vec<Finding> = rows.iter().filter_map(|row| row.finding.clone()).collect();
    let tier: BTreeMap<&str, u8> = rows.iter().map(|row| (row.name.as_str(), row.tier)).collect();
    let rank = |finding: &Finding| {
        let edge = finding.edge.as_deref().unwrap_or_default();
        let severity = std::cmp::Reverse(finding.code.severity());
        (severity, !causes.contains(edge), tier.get(edge).copied().unwrap_or(u8::MAX))
    };
    findings.sort_by_key(rank);
    findings
}

fn judge_row(row: &mut EdgeReport, observation: &Observation, audited: &[Finding], mode: Mode) {
    let declared = row.declared.unwrap_or(Declared::Unknown);
    let comes_or_goes = |attempt: &Attempt| attempt.address.is_some_and(|a| observation.unready.contains(&a.ip()));
    let served: Vec<&Attempt> = observation.attempts.iter().filter(|attempt| !comes_or_goes(attempt)).collect();
    // What must not work must not work anywhere.
    let all_decide = served.is_empty() || row.expect == Expect::Deny;
    let decisive = observation.attempts.iter().enumerate().filter(|(_, attempt)| all_decide || !comes_or_goes(attempt));
    let judged = decisive.map(|(index, attempt)| {
        let evidence = Evidence {
            is_dns: row.exchange.is_dns(),
            target_up: observation.target_up,
            source_has_network: observation.source_has_network,
            // A closed TCP port answers with a reset. Over UDP it may be the target; but address translation puts a Service's address on a node's refusals, too.
            offender_is_target: row.exchange == Exchange::DnsUdp
                && attempt.offender.is_some()
                && attempt.offender == attempt.address.map(|a| a.ip()),
            declared_denied: declared == Declared::Denied,
            must_not_work: row.expect == Expect::Deny,
            comes_or_goes: (comes_or_goes(attempt) && !served.is_empty()) || observation.settling,
            relayed: row.exchange.is_relayed(),
        };
        let class = attempt.reason.class(&evidence);
        let judgement = judge(row.expect, declared, class, attempt.reason, mode);
        let judgement = if observation.early.contains(&index) { judgement.early() } else { judgement };
        let outdated = observation.outdated.contains(&index) && row.expect == Expect::Allow;
        (attempt, class, if outdated { judgement.outdated() } else { judgement })
    });
    // The worst pair decides; among equals the first address, so that the row does not flicker.
    let worst = judged.reduce(|worst, next| if next.2.state > worst.2.state { next } else { worst });
    let Some((attempt, class, Judgement { state, finding })) = worst else { return };
    row.observed = Some(class);
    row.reason = Some(attempt.reason);
    row.state = Some(state);
    if state == State::Unknown && (observation.settling || comes_or_goes(attempt)) {
        "its pods come or go (not Ready): look again when they have settled".clone_into(&mut row.needs);
    }
    if state == State::Pending && !observation.early.is_empty() {
        "MAS's pod had just begun: its policies may not have been in force yet".clone_into(&mut row.needs);
    } else if state == State::Pending && !observation.outdated.is_empty() {
        "it failed before its target was Ready: look again after the next probe".clone_into(&mut row.needs);
    }
    row.finding = finding.map(|code| describe(code, row, attempt, audited));
}

/// The finding in words: who is at fault, and the smallest thing to do.
fn describe(code: Code, row: &EdgeReport, attempt: &Attempt, audited: &[Finding]) -> Finding {
    let target = attempt.address.map_or_else(|| row.to.clone(), |address| format!("{} at {address}", row.to));
    let on_edge = |code: Code| audited.iter().find(|f| f.code == code && f.edge.as_deref() == Some(&row.name));
    let culprit = match code {
        Code::PolicyBlocks => on_edge(Code::PolicyBlocks)
            .or_else(|| on_edge(Code::PeerSideMissing))
            .or_else(|| on_edge(Code::ServicePortUsed))
            .or_else(|| on_edge(Code::DnsWithoutTcp)),
        Code::ForbiddenOpen => on_edge(Code::ForbiddenOpen),
        _ => None,
    };
    if let Some(culprit) = culprit {
        return Finding { code, ..culprit.clone() };
    }
    let seen = format!("{target}: {}", attempt.reason.sentence());
    let seen = if attempt.detail.is_empty() { seen } else { format!("{seen} ({})", attempt.detail) };
    let (message, fix) = match code {
        Code::PolicyBlocks => (format!("{seen}; {}", row.because), "run `portreeve audit` on the policies of both ends".to_owned()),
        Code::NotEnforced => (
            format!("it works although {}", row.because),
            "install or repair the network plug-in that enforces NetworkPolicies on these nodes".to_owned(),
        ),
        Code::BlockedElsewhere => (
            format!("{seen}, although {}", row.because),
            "look at what stands outside NetworkPolicy: plug-in lag, host or cloud firewall, mesh, policy kinds that are not modelled".to_owned(),
        ),
        Code::ForbiddenOpen => (format!("it works; {}", row.because), "isolate the target: a policy that selects it and does not name this source".to_owned()),
        Code::ClosedByLuck => (
            format!("it is closed today ({}), but {}", attempt.reason.sentence(), row.because),
            "add the policy that forbids it, before something else opens it".to_owned(),
        ),
        Code::TargetDown => (seen, format!("bring {} back: look at its pods, their events and logs", row.to)),
        Code::NameNotResolved => (seen, "check the name in the sources and the DNS servers".to_owned()),
        Code::TlsInvalid => (seen, "renew or correct the certificate that the target serves".to_owned()),
        Code::ProtocolMismatch => (seen, "check that the port leads to the service that is meant".to_owned()),
        _ => (seen, "see docs/findings.md".to_owned()),
    };
    Finding::new(code, row.to.clone(), message, fix).on(row.name.clone())
}

/// Takes away findings that follow from another, and gives the edges that are causes.
///
/// One destination failing for several edges is one finding; DNS down explains every name that did not resolve.
fn suppress(rows: &mut [EdgeReport]) -> BTreeSet<String> {
    let violated = |row: &EdgeReport| row.state == Some(State::Violated);
    let mut causes = BTreeSet::new();
    let dns_down = rows
        .iter()
        .find(|row| violated(row) && row.expect == Expect::Allow && row.exchange.is_dns())
        .map(|row| row.name.clone());
    let mut first_down: BTreeMap<(String, Vec<u16>), String> = BTreeMap::new();
    for row in rows.iter_mut() {
        let Some(finding) = &row.finding else { continue };
        let is_name = matches!(row.reason, Some(Reason::DnsTimeout | Reason::DnsServfail | Reason::DnsRefused));
        if let Some(dns) = dns_down.as_ref().filter(|dns| **dns != row.name && is_name) {
            causes.insert(dns.clone());
            row.because = format!("follows from {dns}");
            row.finding = None;
            continue;
        }
        if finding.code == Code::TargetDown && row.observed == Some(Class::Down) {
            let key = (row.to.clone(), row.pod_ports.clone());
            if let Some(first) = first_down.get(&key) {
                causes.insert(first.clone());
                row.because = format!("follows from {first}: one target, down for all");
                row.finding = None;
            } else {
                first_down.insert(key, row.name.clone());
            }
        }
    }
    causes
}

impl Reason {
    /// What happened, in words that stand behind a target's name.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Ok => "answered as it should",
            Self::DnsTimeout => "no DNS answer came",
            Self::DnsNxdomain => "the name does not exist",
            Self::DnsServfail => "the DNS server failed to answer",
            Self::DnsRefused => "the DNS server refused to answer",
            Self::NoEndpoints => "the Service has no ready endpoint",
            Self::ConnectTimeout => "silence: nothing came back",
            Self::ConnectRefusedRst => "the connection was refused: nothing listens there",
            Self::IcmpPortUnreachable => "rejected with ICMP port unreachable",
            Self::IcmpAdminProhibited => "rejected by a policy or firewall (ICMP administratively prohibited)",
            Self::IcmpNoRoute => "there is no route to it",
            Self::LocalDenied => "the local kernel refused to send",
            Self::TlsHandshake => "the TLS handshake failed",
            Self::TlsExpired => "its certificate has expired",
            Self::TlsNotYetValid => "its certificate is not valid yet",
            Self::TlsNameMismatch => "its certificate is for another name",
            Self::TlsUntrusted => "its certificate's issuer is not trusted",
            Self::TlsVersion => "no common TLS version",
            Self::ProtoMismatch => "something answers that does not speak the protocol",
            Self::ProtoAuth => "it refused who we are",
            Self::HttpStatus => "it answered with an HTTP status that means failure",
            Self::HttpBody => "it answered with something else than expected",
            Self::RelayFailed => "whoever was asked could not reach it",
            Self::FirstByteTimeout => "it accepted the connection and said nothing",
            Self::ClosedEarly => "it closed in the middle of the conversation",
            Self::ProberError => "no probe could be made",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Phases;
    use super::*;

    fn row(name: &str, expect: Expect, declared: Declared) -> EdgeReport {
        EdgeReport {
            name: name.to_owned(),
            from: "subject".to_owned(),
            to: format!("to-of-{name}"),
            protocol: "TCP",
            pod_ports: vec![5432],
            service_port: None,
            needs: String::new(),
            expect,
            tier: 0,
            breaks: String::new(),
            exchange: if name.contains("dns") { Exchange::DnsUdp } else { Exchange::Tcp },
            provenance: Vec::new(),
            declared: Some(declared),
            because: "the policies say so".to_owned(),
            observed: None,
            reason: None,
            state: None,
            finding: None,
        }
    }

    fn seen(name: &str, reasons: &[Reason]) -> (String, Observation) {
        let attempt = |reason: &Reason| Attempt {
            edge: name.to_owned(),
            address: None,
            reason: *reason,
            offender: None,
            phases: Phases::default(),
            detail: String::new(),
            tls: None,
        };
        let attempts = reasons.iter().map(attempt).collect();
        (
            name.to_owned(),
            Observation { attempts, target_up: Some(true), source_has_network: true, ..Observation::default() },
        )
    }

    #[test]
    fn the_worst_pair_decides() {
        let mut rows = [row("mas-to-postgres", Expect::Allow, Declared::Allowed)];
        let observed = BTreeMap::from([seen("mas-to-postgres", &[Reason::Ok, Reason::ConnectRefusedRst, Reason::Ok])]);
        let findings = join(&mut rows, &observed, &[], Mode::Enforce);
        assert_eq!((rows[0].state, rows[0].reason), (Some(State::Violated), Some(Reason::ConnectRefusedRst)));
        assert_eq!(findings[0].code, Code::TargetDown);
    }

    /// One attempt an address, the last byte of each address and whether its pod is Ready.
    #[track_caller]
    fn check_roll_out(expect: Expect, attempts: &[(Reason, u8, bool)], settling: bool, state: State) {
        let mut rows = [row("mas-to-postgres", expect, Declared::Allowed)];
        let reasons: Vec<Reason> = attempts.iter().map(|(reason, ..)| *reason).collect();
        let (name, mut observation) = seen("mas-to-postgres", &reasons);
        for (attempt, (_, last, ready)) in observation.attempts.iter_mut().zip(attempts) {
            let address = IpAddr::from([10, 0, 0, *last]);
            attempt.address = Some((address, 5432).into());
            if !ready {
                observation.unready.insert(address);
            }
        }
        observation.target_up = Some(attempts.iter().any(|(_, _, ready)| *ready));
        observation.settling = settling;
        join(&mut rows, &BTreeMap::from([(name, observation)]), &[], Mode::Enforce);
        assert_eq!(rows[0].state, Some(state), "{attempts:?}");
        assert_eq!(rows[0].needs.is_empty(), state != State::Unknown || !settling, "{}", rows[0].needs);
    }

    #[test]
    fn pods_that_come_and_go_do_not_decide() {
        use Expect::{Allow, Deny};
        use Reason::{ConnectRefusedRst, ConnectTimeout, Ok};
        check_roll_out(Allow, &[(Ok, 1, true), (ConnectRefusedRst, 2, false)], false, State::Ok);
        check_roll_out(Allow, &[(Ok, 1, true), (ConnectTimeout, 2, false)], false, State::Ok);
        check_roll_out(Allow, &[(ConnectRefusedRst, 1, true), (Ok, 2, false)], false, State::Violated);
        // None is Ready: for a short time nothing is known, then the target is down.
        check_roll_out(Allow, &[(ConnectRefusedRst, 1, false), (ConnectTimeout, 2, false)], true, State::Unknown);
        check_roll_out(Allow, &[(ConnectRefusedRst, 1, false)], false, State::Violated);
        // What works works, Ready or not; and what must not, must not.
        check_roll_out(Allow, &[(Ok, 1, false)], true, State::Ok);
        check_roll_out(Deny, &[(ConnectTimeout, 1, true), (Ok, 2, false)], false, State::Violated);
    }

    /// A node that rejects a connection to a Service seems to be the Service: conntrack translates the ICMP error's source back.
    #[test]
    fn a_refusal_in_the_name_of_a_service_is_a_policys() {
        for (edge, declared, class) in [
            ("mas-to-postgres", Declared::Denied, Class::Blocked),
            ("mas-to-postgres", Declared::Allowed, Class::Blocked),
            ("mas-to-dns-udp", Declared::Denied, Class::Blocked),
            ("mas-to-dns-udp", Declared::Allowed, Class::Down),
        ] {
            let mut rows = [row(edge, Expect::Allow, declared)];
            let (name, mut observation) = seen(edge, &[Reason::IcmpPortUnreachable]);
            let service = IpAddr::from([10, 96, 0, 10]);
            observation.attempts[0].address = Some((service, 53).into());
            observation.attempts[0].offender = Some(service);
            join(&mut rows, &BTreeMap::from([(name, observation)]), &[], Mode::Enforce);
            assert_eq!(rows[0].observed, Some(class), "{edge} {declared:?}");
        }
    }

    #[test]
    fn what_a_pod_sees_as_it_begins_accuses_nobody() {
        for (expect, declared, reason, state, early) in [
            (Expect::Deny, Declared::Denied, Reason::Ok, State::Violated, State::Pending),
            (Expect::Allow, Declared::Allowed, Reason::IcmpAdminProhibited, State::Violated, State::Pending),
            // This is as the policies say, late or not.
            (Expect::Deny, Declared::Allowed, Reason::Ok, State::Violated, State::Violated),
            (Expect::Allow, Declared::Denied, Reason::IcmpAdminProhibited, State::Violated, State::Violated),
            (Expect::Allow, Declared::Allowed, Reason::ConnectRefusedRst, State::Violated, State::Violated),
            (Expect::Deny, Declared::Denied, Reason::IcmpAdminProhibited, State::Ok, State::Ok),
        ] {
            for (indexes, state) in [(BTreeSet::new(), state), (BTreeSet::from([0]), early)] {
                let mut rows = [row("mas-to-postgres", expect, declared)];
                let (name, observation) = seen("mas-to-postgres", &[reason]);
                let observation = Observation { early: indexes, ..observation };
                join(&mut rows, &BTreeMap::from([(name, observation)]), &[], Mode::Enforce);
                assert_eq!(rows[0].state, Some(state), "{expect:?} {declared:?} {reason}");
                assert_eq!(rows[0].finding.is_some(), state == State::Violated);
                assert_eq!(rows[0].needs.is_empty(), state != State::Pending);
            }
        }
    }

    #[test]
    fn what_failed_before_the_target_was_ready_may_work_now() {
        for (declared, reason, state) in [
            (Declared::Allowed, Reason::ConnectTimeout, State::Pending),
            (Declared::Allowed, Reason::ConnectRefusedRst, State::Pending),
            (Declared::Denied, Reason::ConnectTimeout, State::Violated),
            (Declared::Allowed, Reason::Ok, State::Ok),
        ] {
            let mut rows = [row("mas-to-postgres", Expect::Allow, declared)];
            let (name, observation) = seen("mas-to-postgres", &[reason]);
            let observation = Observation { outdated: BTreeSet::from([0]), ..observation };
            join(&mut rows, &BTreeMap::from([(name, observation)]), &[], Mode::Enforce);
            assert_eq!(rows[0].state, Some(state), "{declared:?} {reason}");
            assert_eq!(rows[0].needs.is_empty(), state != State::Pending);
        }
    }

    #[test]
    fn a_blocked_edge_takes_its_culprit_from_the_audit() {
        let mut rows = [row("mas-to-postgres", Expect::Allow, Declared::Denied)];
        let observed = BTreeMap::from([seen("mas-to-postgres", &[Reason::ConnectTimeout])]);
        let culprit =
            Finding::new(Code::PeerSideMissing, "NetworkPolicy/postgres/deny", "its ingress is closed", "open it")
                .on("mas-to-postgres");
        let findings = join(&mut rows, &observed, std::slice::from_ref(&culprit), Mode::Enforce);
        assert_eq!(findings, [Finding { code: Code::PolicyBlocks, ..culprit }]);
    }

    #[test]
    fn causes_stand_before_what_follows_and_one_dead_target_is_one_finding() {
        let mut rows = [
            row("mas-to-synapse", Expect::Allow, Declared::Allowed),
            row("mas-to-dns-udp", Expect::Allow, Declared::Allowed),
            row("synapse-whoami", Expect::Allow, Declared::Allowed),
        ];
        rows[2].to = rows[0].to.clone();
        let observed = BTreeMap::from([
            seen("mas-to-synapse", &[Reason::ConnectRefusedRst]),
            seen("mas-to-dns-udp", &[Reason::DnsTimeout]),
            seen("synapse-whoami", &[Reason::ConnectRefusedRst]),
        ]);
        let findings = join(&mut rows, &observed, &[], Mode::Enforce);
        let names: Vec<_> = findings.iter().filter_map(|f| f.edge.as_deref()).collect();
        assert_eq!(names, ["mas-to-synapse", "mas-to-dns-udp"]);
        assert_eq!(rows[2].state, Some(State::Violated));
    }

    #[test]
    fn what_was_not_observed_keeps_no_state() {
        let mut rows = [row("mas-to-postgres", Expect::Allow, Declared::Allowed)];
        assert!(join(&mut rows, &BTreeMap::new(), &[], Mode::Enforce).is_empty());
        assert_eq!(rows[0].state, None);
    }
}
