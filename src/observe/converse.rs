//! From something to dial to what came of it: names are looked up, and every address gets its own conversation.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::{Dial, Prober, ResolvConf, Target, connect, resolve};
use crate::judge::Attempt;
use crate::matrix::Exchange;

/// Conversations of one [`converse_all`] that run at the same time.
const AT_ONCE: usize = 16;

/// What conversations are had with.
#[derive(Debug, Clone)]
pub struct Means {
    /// Who has them.
    pub prober: Arc<Prober>,
    /// Where names are looked up.
    pub resolv: Arc<ResolvConf>,
    /// Longest time for one conversation.
    pub deadline: Duration,
}

/// One conversation to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// The edge's name.
    pub edge: String,
    /// Where.
    pub dial: Dial,
    /// What is said there.
    pub exchange: Exchange,
    /// Longest time for it.
    pub deadline: Duration,
    /// With the step that is to be done seldom.
    pub deep: bool,
}

/// Has all conversations, a few at a time. Attempts come in the order in which they end.
pub async fn converse_all(means: &Means, tasks: Vec<Task>) -> Vec<Attempt> {
    let mut waiting = tasks.into_iter();
    let mut attempts: Vec<Attempt> = Vec::new();
    let mut running = JoinSet::new();
    loop {
        while running.len() < AT_ONCE {
            let Some(task) = waiting.next() else { break };
            running.spawn(converse(means.clone(), task));
        }
        match running.join_next().await {
            Some(Ok(done)) => attempts.extend(done),
            Some(Err(_)) => {}
            None => return attempts,
        }
    }
}

/// Resolves if need be, and has the conversation with every address.
async fn converse(means: Means, task: Task) -> Vec<Attempt> {
    let Means { prober, resolv, .. } = means;
    let target = |address| Target { deep: task.deep, ..Target::new(task.edge.clone(), address, task.exchange.clone()) };
    match &task.dial {
        Dial::Address { address, host } => {
            let target = Target { host: host.clone(), ..target(*address) };
            vec![prober.probe(&target, task.deadline).await]
        }
        Dial::Name { host, port } => {
            let started = tokio::time::Instant::now();
            match resolve(host, &resolv, task.deadline).await {
                Err((reason, detail)) => {
                    let mut attempt = Attempt::not_made(&task.edge, reason, &detail);
                    attempt.phases.resolve = Some(started.elapsed());
                    vec![attempt]
                }
                Ok(addresses) => {
                    let resolve = started.elapsed();
                    let mut attempts = Vec::new();
                    for address in usable(addresses, connect::has_route) {
                        let target = target(SocketAddr::new(address, *port)).named(host.clone());
                        let mut attempt = prober.probe(&target, task.deadline).await;
                        attempt.phases.resolve = Some(resolve);
                        attempts.push(attempt);
                    }
                    attempts
                }
            }
        }
    }
}

/// Of a name's addresses, those to which there is a way from here, if there is any. MAS's clients try one after another, so an IPv6 address costs a pod without IPv6 nothing, and says nothing of the edge (RFC 6724 §6, rule 1: avoid unusable destinations).
fn usable(addresses: Vec<IpAddr>, has_route: impl Fn(IpAddr) -> bool) -> Vec<IpAddr> {
    let (routed, stranded): (Vec<IpAddr>, Vec<IpAddr>) = addresses.into_iter().partition(|address| has_route(*address));
    // Within a family the one address is as good as the other: that one of them has no route is for the probe to say.
    let other_family = |address: &&IpAddr| !routed.iter().any(|routed| routed.is_ipv4() == address.is_ipv4());
    if routed.is_empty() || !stranded.iter().all(|address| other_family(&address)) {
        let mut all = [routed, stranded].concat();
        all.sort_unstable();
        return all;
    }
    routed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(addresses: &[&str], unrouted: &[&str], expect: &[&str]) {
        let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>();
        let unrouted = parse(unrouted);
        assert_eq!(usable(parse(addresses), |address| !unrouted.contains(&address)), parse(expect));
    }

    #[test]
    fn a_family_that_this_place_does_not_have_is_left_out() {
        check(&["192.0.2.1", "2001:db8::1"], &[], &["192.0.2.1", "2001:db8::1"]);
        check(&["192.0.2.1", "2001:db8::1"], &["2001:db8::1"], &["192.0.2.1"]);
        check(&["192.0.2.1", "2001:db8::1"], &["192.0.2.1"], &["2001:db8::1"]);
        // Nowhere to go: the probe says so.
        check(&["192.0.2.1", "2001:db8::1"], &["192.0.2.1", "2001:db8::1"], &["192.0.2.1", "2001:db8::1"]);
        check(&["2001:db8::1"], &["2001:db8::1"], &["2001:db8::1"]);
        // It has the family, and no way to this address of it.
        check(&["192.0.2.1", "198.51.100.1"], &["192.0.2.1"], &["192.0.2.1", "198.51.100.1"]);
    }

    #[test]
    fn there_is_a_way_to_oneself() {
        assert!(connect::has_route([127, 0, 0, 1].into()));
    }
}
