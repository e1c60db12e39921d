//! Every transition of a gate, seen by plain clients.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::*;

/// Says what it is told, upside down.
struct Echo;

impl Serve for Echo {
    fn connection(self: Arc<Self>, mut stream: TcpStream) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send>> {
        Box::pin(async move {
            loop {
                let byte = stream.read_u8().await?;
                stream.write_u8(!byte).await?;
            }
        })
    }

    fn datagram(&self, query: &[u8]) -> Option<Vec<u8>> {
        Some(query.iter().map(|byte| !byte).collect())
    }
}

/// What a client meets.
#[derive(Debug, PartialEq, Eq)]
enum Met {
    Answer,
    Silence,
    Refusal,
}

/// Longer than two SYN retries would take on a healthy path is for the test that asks for it; most need only a moment.
const MOMENT: Duration = Duration::from_millis(120);

async fn meet_tcp(address: SocketAddr, wait: Duration) -> Met {
    match timeout(wait, TcpStream::connect(address)).await {
        Err(_) => Met::Silence,
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => Met::Refusal,
        Ok(Err(error)) => panic!("{address}: {error}"),
        Ok(Ok(mut stream)) => {
            stream.write_u8(5).await.unwrap();
            let reply = timeout(Duration::from_secs(5), stream.read_u8()).await;
            assert_eq!(reply.expect("an accepted connection is served").unwrap(), !5);
            Met::Answer
        }
    }
}

async fn meet_udp(address: SocketAddr, wait: Duration) -> Met {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(address).await.unwrap();
    socket.send(&[5]).await.unwrap();
    let mut reply = [0; 8];
    match timeout(wait, socket.recv(&mut reply)).await {
        Err(_) => Met::Silence,
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => Met::Refusal,
        Ok(Err(error)) => panic!("{address}: {error}"),
        Ok(Ok(length)) => {
            assert_eq!(reply[..length], [!5]);
            Met::Answer
        }
    }
}

async fn meet(gate: &Gate, wait: Duration) -> Met {
    match gate.route().protocol {
        Protocol::Udp => meet_udp(gate.address(), wait).await,
        _ => meet_tcp(gate.address(), wait).await,
    }
}

/// Tests run at the same time: each has a lab, and a port of its own process's kind.
async fn gate(lab: u8, protocol: Protocol) -> Net {
    let mut net = Net::new(Lab(lab));
    net.add(route(protocol), Arc::new(Echo)).await.unwrap();
    net
}

fn route(protocol: Protocol) -> Route {
    Route { source: Source::Synapse, dest: LabPod::Mas, port: 8080, protocol }
}

fn only(net: &Net) -> &Gate {
    net.gates().next().unwrap()
}

/// Puts a gate into one state.
async fn turn(gate: &Gate, to: GateState) {
    let (policy, process) = match to {
        GateState::Open => (Policy::Allows, Process::Runs),
        GateState::Denied => (Policy::Drops, Process::Runs),
        GateState::Stopped => (Policy::Allows, Process::Stopped),
    };
    gate.set_process(process).await.unwrap();
    gate.set_policy(policy).await.unwrap();
    assert_eq!(gate.state(), to);
}

async fn check_every_transition(lab: u8, protocol: Protocol) {
    let net = gate(lab, protocol).await;
    let gate = only(&net);
    let states =
        [(GateState::Open, Met::Answer), (GateState::Denied, Met::Silence), (GateState::Stopped, Met::Refusal)];
    for (from, _) in &states {
        for (to, met) in &states {
            turn(gate, *from).await;
            turn(gate, *to).await;
            assert_eq!(meet(gate, MOMENT).await, *met, "{protocol} {from:?} -> {to:?}");
        }
    }
    net.close().await;
}

#[tokio::test]
async fn tcp_goes_from_every_state_to_every_state() {
    check_every_transition(101, Protocol::Tcp).await;
}

#[tokio::test]
async fn udp_goes_from_every_state_to_every_state() {
    check_every_transition(101, Protocol::Udp).await;
}

#[tokio::test]
async fn silence_lasts_for_many_clients_through_their_retries() {
    let net = gate(102, Protocol::Tcp).await;
    turn(only(&net), GateState::Denied).await;
    let address = only(&net).address();
    // The kernel repeats a SYN after 1 s and 3 s: neither may slip into the queue, however many try.
    let clients: Vec<_> = (0..30).map(|_| tokio::spawn(meet_tcp(address, Duration::from_millis(3500)))).collect();
    for client in clients {
        assert_eq!(client.await.unwrap(), Met::Silence);
    }
    turn(only(&net), GateState::Open).await;
    assert_eq!(meet_tcp(address, MOMENT).await, Met::Answer);
    net.close().await;
}

#[tokio::test]
async fn transitions_under_load_never_lose_a_client_between_two_states() {
    let net = gate(103, Protocol::Tcp).await;
    let gate = only(&net);
    let address = gate.address();
    let load = tokio::spawn(async move {
        // Each client is served, or silence, or refusal; `meet_tcp` panics on a connection that is accepted and then ignored.
        for _ in 0..150 {
            meet_tcp(address, Duration::from_millis(5)).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    while !load.is_finished() {
        for (policy, state) in [(Policy::Drops, GateState::Denied), (Policy::Allows, GateState::Open)] {
            gate.set_policy(policy).await.unwrap();
            assert_eq!(gate.state(), state);
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    }
    load.await.unwrap();
    net.close().await;
}

#[tokio::test]
async fn a_denied_gate_hides_whether_the_process_runs() {
    let net = gate(104, Protocol::Tcp).await;
    let gate = only(&net);
    gate.set_policy(Policy::Drops).await.unwrap();
    gate.set_process(Process::Stopped).await.unwrap();
    assert_eq!(meet(gate, MOMENT).await, Met::Silence);
    gate.set_policy(Policy::Allows).await.unwrap();
    assert_eq!(meet(gate, MOMENT).await, Met::Refusal);
    net.close().await;
}

#[tokio::test]
async fn a_policy_spares_what_is_established_and_a_stop_does_not() {
    let net = gate(105, Protocol::Tcp).await;
    let gate = only(&net);
    let mut stream = TcpStream::connect(gate.address()).await.unwrap();
    stream.write_u8(1).await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), !1);
    gate.set_policy(Policy::Drops).await.unwrap();
    stream.write_u8(2).await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), !2);
    gate.set_process(Process::Stopped).await.unwrap();
    let end = timeout(Duration::from_secs(2), stream.read_u8()).await.expect("the connection ends");
    assert!(end.is_err(), "{end:?}");
    net.close().await;
}

#[tokio::test]
async fn a_query_that_was_dropped_is_never_answered() {
    let net = gate(106, Protocol::Udp).await;
    let gate = only(&net);
    gate.set_policy(Policy::Drops).await.unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&[5], gate.address()).await.unwrap();
    gate.set_policy(Policy::Allows).await.unwrap();
    let mut reply = [0; 8];
    assert!(timeout(MOMENT, socket.recv_from(&mut reply)).await.is_err());
    net.close().await;
}

#[tokio::test]
async fn a_taken_port_is_named() {
    for (lab, protocol) in [(107, Protocol::Tcp), (108, Protocol::Udp)] {
        let net = gate(lab, protocol).await;
        let mut second = Net::new(Lab(lab));
        let error = second.add(route(protocol), Arc::new(Echo)).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("127.78.{lab}.20:8080 (the demo's mas) is in use")), "{error}");
        net.close().await;
        second.add(route(protocol), Arc::new(Echo)).await.expect("close frees the port");
        second.close().await;
    }
}

#[tokio::test]
async fn transitions_are_quick_and_leak_no_file_descriptor() {
    let net = gate(109, Protocol::Tcp).await;
    let gate = only(&net);
    let mut longest = Duration::ZERO;
    let mut round = async || {
        for state in [GateState::Denied, GateState::Stopped, GateState::Denied, GateState::Open] {
            let before = Instant::now();
            turn(gate, state).await;
            longest = longest.max(before.elapsed());
        }
    };
    for _ in 0..50 {
        round().await;
    }
    // A bound that only a waiting transition breaks: a retried SYN alone takes 1 s.
    assert!(longest < Duration::from_millis(500), "{longest:?}");
    // Ours alone: other tests of this process open descriptors too.
    let open = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let ours = format!("146D4E7F:{:04X}", 8080);
    let left: Vec<_> = open.lines().filter(|line| line.contains(&ours)).collect();
    let listening = left.iter().filter(|line| line.split_whitespace().nth(3) == Some("0A")).count();
    assert_eq!((listening, left.len()), (1, 1), "{left:#?}");
    net.close().await;
}

#[test]
fn addresses_lead_to_the_same_pod_by_a_route_of_each_source() {
    let net = Net::new(Lab(7));
    let real = SocketAddr::from((LabPod::Mas.address(Lab(7)), 8080));
    let mut seen = std::collections::BTreeSet::new();
    for source in Source::ALL {
        let address = net.translate(source, real);
        assert_eq!(net.real(address.ip()), Some(LabPod::Mas));
        assert!(seen.insert(address), "{source:?}");
    }
    assert_eq!(net.translate(Source::Mas, real), real);
    let elsewhere = SocketAddr::from(([192, 0, 2, 1], 80));
    assert_eq!(net.translate(Source::Node, elsewhere), elsewhere);
    assert_eq!(net.real(elsewhere.ip()), None);
}
