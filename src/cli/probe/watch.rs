//! `probe --watch`: again and again, as an exporter.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use super::round::Round;
use super::{Done, Exit};
use crate::serve::{self, Role, Shared, Surface};

pub(super) async fn watch(round: &Round, interval: Duration, listen: SocketAddr) -> anyhow::Result<Done> {
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    let shared = Arc::new(Shared::new(Role::Both));
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let address = listener.local_addr()?;
    let _ = std::io::Write::write_all(
        &mut std::io::stderr(),
        format!("portreeve probe: http://{address}/metrics\n").as_bytes(),
    );
    let mut tasks = JoinSet::new();
    tasks.spawn(serve::serve(listener, Arc::clone(&shared), Surface::Metrics, None, std::future::pending()));
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            Some(ended) = tasks.join_next() => anyhow::bail!("the listener ended by itself ({ended:?})"),
            _ = ticks.tick() => {
                let board = tokio::select! {
                    biased;
                    _ = interrupt.recv() => break,
                    _ = terminate.recv() => break,
                    board = round.run(Some(&shared)) => board,
                };
                shared.publish(board);
                shared.set_ready(true);
            }
        }
    }
    shared.set_ready(false);
    tasks.shutdown().await;
    Ok(Done { text: String::new(), exit: Exit::Fine })
}
