//! From something to dial to what came of it: names are looked up, and every address gets its own conversation.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::{Dial, Prober, ResolvConf, Target, resolve};
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
                    for address in addresses {
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
