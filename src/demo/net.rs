//! The lab network: a gate for every connection that the demo opens.
//!
//! NetworkPolicy decides by source and destination, but on the loopback every source looks alike. So each source has its own addresses for all pods:
//! what MAS dials as 127.77.*lab*.30 is 127.78.*lab*.30 for Synapse. A [`Gate`] sits on each such address and behaves, for any client, as a pod behind
//! a policy does: it serves, or is silent (a drop), or refuses (nothing listens). No privilege is needed for any of the three.

mod claim;
mod tcp;
mod udp;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use thiserror::Error;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::world::{Lab, LabPod, POD_NET};
use crate::world::Protocol;

pub use claim::LabClaim;

/// Who opens connections in the demo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// MAS's pod. It sees every pod at its real address.
    Mas,
    /// Synapse's pod.
    Synapse,
    /// Traefik's pod.
    Traefik,
    /// The stranger's pod.
    Stranger,
    /// The node, as the kubelet's probes: policies do not hold it ("traffic to and from the node where a Pod is running is always allowed"), so it is the control.
    Node,
}

impl Source {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Mas, Self::Synapse, Self::Traefik, Self::Stranger, Self::Node];

    /// Its pod; `None` for the node.
    pub fn pod(self) -> Option<LabPod> {
        match self {
            Self::Mas => Some(LabPod::Mas),
            Self::Synapse => Some(LabPod::Synapse),
            Self::Traefik => Some(LabPod::Traefik),
            Self::Stranger => Some(LabPod::Stranger),
            Self::Node => None,
        }
    }

    /// Its word in messages.
    pub fn name(self) -> &'static str {
        self.pod().map_or("node", LabPod::name)
    }

    /// How far its addresses are from the real ones, in the second octet.
    fn offset(self) -> u8 {
        match self {
            Self::Mas => 0,
            Self::Synapse => 1,
            Self::Traefik => 2,
            Self::Stranger => 3,
            Self::Node => 4,
        }
    }
}

/// One connection that the demo may open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Route {
    /// Who opens it.
    pub source: Source,
    /// The pod it goes to.
    pub dest: LabPod,
    /// The pod port, 1024 to 65535.
    pub port: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
}

impl Route {
    /// Where its source finds its destination.
    pub fn address(&self, lab: Lab) -> SocketAddr {
        let address = Ipv4Addr::new(127, POD_NET + self.source.offset(), lab.0, self.dest.host());
        SocketAddr::from((address, self.port))
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}:{}/{}", self.source.name(), self.dest, self.port, self.protocol)
    }
}

/// What a pod does with what a gate lets through.
pub trait Serve: Send + Sync + 'static {
    /// One accepted connection, until either side ends it. The gate bounds its time.
    fn connection(self: Arc<Self>, stream: TcpStream) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

    /// The answer to one datagram, if it deserves one.
    fn datagram(&self, _query: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

/// What the policies of both ends say about a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// They let it through.
    Allows,
    /// One of them does not, so packets vanish.
    Drops,
}

/// Whether the destination's process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    /// It serves.
    Runs,
    /// Its ports are closed.
    Stopped,
}

/// What a client meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateState {
    /// The peer serves.
    Open,
    /// Silence.
    Denied,
    /// TCP: a reset. UDP: ICMP port unreachable from the target itself.
    Stopped,
}

impl GateState {
    /// A packet that a policy drops never finds out whether anybody listens.
    fn of(policy: Policy, process: Process) -> Self {
        match (policy, process) {
            (Policy::Drops, _) => Self::Denied,
            (Policy::Allows, Process::Runs) => Self::Open,
            (Policy::Allows, Process::Stopped) => Self::Stopped,
        }
    }
}

/// Why a gate could not take the state it was told to take.
#[derive(Debug, Error)]
pub enum NetError {
    /// Somebody else listens there.
    #[error("{address} (the demo's {pod}) is in use: stop what listens there, for example another `portreeve demo`")]
    PortTaken {
        /// Where.
        address: SocketAddr,
        /// Whose port it would be.
        pod: LabPod,
    },
    /// A system call failed.
    #[error("cannot set up {address} (the demo's {pod})")]
    Socket {
        /// Where.
        address: SocketAddr,
        /// Whose port it would be.
        pod: LabPod,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// Clients kept connecting faster than the queue could be filled.
    #[error("the accept queue of {address} did not fill, so it would not look like a drop")]
    NotFull {
        /// Where.
        address: SocketAddr,
    },
    /// The network is shut down.
    #[error("the demo's network has ended")]
    Ended,
}

/// All gates. Dropping it closes them and ends what they serve.
#[derive(Debug)]
pub struct Net {
    lab: Lab,
    gates: BTreeMap<Route, Gate>,
}

impl Net {
    /// A network without gates.
    pub fn new(lab: Lab) -> Self {
        Self { lab, gates: BTreeMap::new() }
    }

    /// Its lab.
    pub fn lab(&self) -> Lab {
        self.lab
    }

    /// Adds a gate, open, or replaces it. Needs a tokio runtime with I/O and time.
    pub async fn add(&mut self, route: Route, service: Arc<dyn Serve>) -> Result<(), NetError> {
        if let Some(before) = self.gates.remove(&route) {
            before.close().await;
        }
        let gate = Gate::build(route, self.lab, service);
        gate.set_policy(Policy::Allows).await?;
        self.gates.insert(route, gate);
        Ok(())
    }

    /// The gate of a connection; `None` when the demo opens no such connection.
    pub fn gate(&self, source: Source, dest: LabPod, port: u16, protocol: Protocol) -> Option<&Gate> {
        self.gates.get(&Route { source, dest, port, protocol })
    }

    /// All gates, by route.
    pub fn gates(&self) -> impl Iterator<Item = &Gate> {
        self.gates.values()
    }

    /// Where a source has to connect to reach what the manifests call `pod`; unchanged when that is no pod of the demo.
    pub fn translate(&self, source: Source, pod: SocketAddr) -> SocketAddr {
        let Some(dest) = LabPod::at(pod.ip(), self.lab) else {
            return pod;
        };
        Route { source, dest, port: pod.port(), protocol: Protocol::Tcp }.address(self.lab)
    }

    /// Closes all gates; their ports are free when it returns.
    pub async fn close(self) {
        for gate in self.gates.into_values() {
            gate.close().await;
        }
    }

    /// The pod behind an address that [`Net::translate`] gave.
    pub fn real(&self, address: IpAddr) -> Option<LabPod> {
        let IpAddr::V4(address) = address else {
            return None;
        };
        let [first, net, lab, host] = address.octets();
        let known = Source::ALL.iter().any(|source| POD_NET + source.offset() == net);
        LabPod::ALL.into_iter().find(|pod| first == 127 && known && lab == self.lab.0 && pod.host() == host)
    }
}

/// One gate: a task that owns the sockets, told what to be.
#[derive(Debug)]
pub struct Gate {
    route: Route,
    address: SocketAddr,
    orders: mpsc::Sender<Order>,
    state: watch::Receiver<GateState>,
    task: JoinHandle<()>,
}

/// What a gate's task is told.
enum Order {
    Policy(Policy, oneshot::Sender<Result<(), NetError>>),
    Process(Process, oneshot::Sender<Result<(), NetError>>),
}

impl Gate {
    fn build(route: Route, lab: Lab, service: Arc<dyn Serve>) -> Self {
        let address = route.address(lab);
        let (orders, inbox) = mpsc::channel(8);
        let (told, state) = watch::channel(GateState::Stopped);
        let door = match route.protocol {
            Protocol::Udp => Door::Udp(udp::UdpDoor::new(address, route.dest, service)),
            Protocol::Tcp | Protocol::Sctp => Door::Tcp(tcp::TcpDoor::new(address, route.dest, service)),
        };
        let task = tokio::spawn(keep(door, inbox, told));
        Self { route, address, orders, state, task }
    }

    /// The connection it stands for.
    pub fn route(&self) -> Route {
        self.route
    }

    /// Where its source connects to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What a client meets now.
    pub fn state(&self) -> GateState {
        *self.state.borrow()
    }

    /// Says what the policies of both ends say; in force when it returns. Connections that were let through before live on, as they do behind most CNIs.
    pub async fn set_policy(&self, policy: Policy) -> Result<(), NetError> {
        self.order(|answer| Order::Policy(policy, answer)).await
    }

    /// Starts or stops the process behind it; a stop ends its connections.
    pub async fn set_process(&self, process: Process) -> Result<(), NetError> {
        self.order(|answer| Order::Process(process, answer)).await
    }

    async fn close(mut self) {
        self.task.abort();
        // Cancelled is what it should be.
        drop((&mut self.task).await);
    }

    async fn order(&self, order: impl FnOnce(oneshot::Sender<Result<(), NetError>>) -> Order) -> Result<(), NetError> {
        let (answer, answered) = oneshot::channel();
        self.orders.send(order(answer)).await.map_err(|_| NetError::Ended)?;
        answered.await.map_err(|_| NetError::Ended)?
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

enum Door {
    Tcp(tcp::TcpDoor),
    Udp(udp::UdpDoor),
}

impl Door {
    async fn turn(&mut self, state: GateState) -> Result<(), NetError> {
        match self {
            Self::Tcp(door) => door.turn(state).await,
            Self::Udp(door) => door.turn(state).await,
        }
    }

    /// Ends the connections that are served: their process is gone.
    async fn cut(&mut self) {
        match self {
            Self::Tcp(door) => door.cut().await,
            Self::Udp(_) => {}
        }
    }

    /// One piece of work. Safe to cancel.
    async fn work(&mut self) {
        match self {
            Self::Tcp(door) => door.work().await,
            Self::Udp(door) => door.work().await,
        }
    }
}

/// A gate's task. It alone touches the sockets, so orders take effect one after the other.
async fn keep(mut door: Door, mut inbox: mpsc::Receiver<Order>, told: watch::Sender<GateState>) {
    let (mut policy, mut process) = (Policy::Allows, Process::Runs);
    loop {
        let order = tokio::select! {
            order = inbox.recv() => order,
            () = door.work() => continue,
        };
        let answer = match order {
            Some(Order::Policy(to, answer)) => {
                policy = to;
                answer
            }
            Some(Order::Process(to, answer)) => {
                process = to;
                answer
            }
            None => return,
        };
        if process == Process::Stopped {
            door.cut().await;
        }
        let state = GateState::of(policy, process);
        let done = door.turn(state).await;
        if done.is_ok() {
            told.send_replace(state);
        }
        // Whoever gave the order may have left.
        drop(answer.send(done));
    }
}

/// Names a bind error for what it is.
fn bind_error(address: SocketAddr, pod: LabPod, cause: io::Error) -> NetError {
    if cause.kind() == io::ErrorKind::AddrInUse {
        NetError::PortTaken { address, pod }
    } else {
        NetError::Socket { address, pod, cause }
    }
}
