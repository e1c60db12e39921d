//! An address that drops every SYN, without a firewall: a listener whose queue is full.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};

pub(crate) struct Silence {
    pub(crate) address: SocketAddr,
    _queued: Vec<TcpStream>,
    _listener: TcpListener,
    _runtime: tokio::runtime::Runtime,
}

impl Silence {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let guard = runtime.enter();
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(0).unwrap();
        drop(guard);
        let address = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(500)) {
            queued.push(stream);
            assert!(queued.len() < 10, "the queue does not get full");
        }
        Self { address, _queued: queued, _listener: listener, _runtime: runtime }
    }
}
