//! MAS cannot be had here. Its stand-in is the demo's, which answers what MAS answers (`src/demo/peers/mas.rs`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use portreeve::demo::net::Serve;
use portreeve::demo::peers::Mas;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

pub(crate) const SECRET: &str = "shared-by-synapse-and-mas";

pub(crate) struct StandIn {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl StandIn {
    /// Serves until it is dropped.
    pub(crate) fn start(address: SocketAddr) -> Self {
        let mas = Arc::new(Mas::new("https://auth.example/", SECRET));
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let (stop, mut stopped) = oneshot::channel();
        let serve = async move {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                tokio::select! {
                    accepted = listener.accept() => drop(tokio::spawn(Arc::clone(&mas).connection(accepted.unwrap().0))),
                    _ = &mut stopped => return,
                }
            }
        };
        let thread = std::thread::spawn(|| {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(serve);
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
