//! Every transition of a gate, seen by plain clients.

use std::collections::BTreeSet;
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Met {
    Answer,
    Silence,
    Refusal,
}

/// How long silence must last to count, where nothing else is asked for.
const MOMENT: Duration = Duration::from_millis(120);
/// Far longer than an answer takes: only a broken gate needs so long.
const PLENTY: Duration = Duration::from_secs(10);

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

async fn expect(gate: &Gate, expected: Met, context: &str) {
    let wait = if expected == Met::Silence { MOMENT } else { PLENTY };
    let met = match gate.route().protocol {
        Protocol::Udp => meet_udp(gate.address(), wait).await,
        _ => meet_tcp(gate.address(), wait).await,
    };
    assert_eq!(met, expected, "{} {context}", gate.route());
}

/// A network with one gate, and the claim that keeps its lab from others.
async fn lone_gate(protocol: Protocol) -> (Net, LabClaim) {
    let claim = LabClaim::first_free().unwrap();
    let mut net = Net::new(claim.lab());
    net.add(route(protocol), Arc::new(Echo)).await.unwrap();
    (net, claim)
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

async fn check_every_transition(protocol: Protocol) {
    let (net, _claim) = lone_gate(protocol).await;
    let gate = only(&net);
    let states =
        [(GateState::Open, Met::Answer), (GateState::Denied, Met::Silence), (GateState::Stopped, Met::Refusal)];
    for (from, _) in states {
        for (to, met) in states {
            turn(gate, from).await;
            turn(gate, to).await;
            expect(gate, met, &format!("{from:?} -> {to:?}")).await;
        }
    }
    net.close().await;
}

#[tokio::test]
async fn tcp_goes_from_every_state_to_every_state() {
    check_every_transition(Protocol::Tcp).await;
}

#[tokio::test]
async fn udp_goes_from_every_state_to_every_state() {
    check_every_transition(Protocol::Udp).await;
}

#[tokio::test]
async fn silence_lasts_for_many_clients_through_their_retries() {
    let (net, _claim) = lone_gate(Protocol::Tcp).await;
    turn(only(&net), GateState::Denied).await;
    let address = only(&net).address();
    // The kernel repeats a SYN after 1 s and 3 s: neither may slip into the queue, however many try.
    let clients: Vec<_> = (0..30).map(|_| tokio::spawn(meet_tcp(address, Duration::from_millis(3500)))).collect();
    for client in clients {
        assert_eq!(client.await.unwrap(), Met::Silence);
    }
    turn(only(&net), GateState::Open).await;
    expect(only(&net), Met::Answer, "afterwards").await;
    net.close().await;
}

#[tokio::test]
async fn transitions_under_load_never_lose_a_client_between_two_states() {
    let (net, _claim) = lone_gate(Protocol::Tcp).await;
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
    let (net, _claim) = lone_gate(Protocol::Tcp).await;
    let gate = only(&net);
    gate.set_policy(Policy::Drops).await.unwrap();
    gate.set_process(Process::Stopped).await.unwrap();
    expect(gate, Met::Silence, "denied and stopped").await;
    gate.set_policy(Policy::Allows).await.unwrap();
    expect(gate, Met::Refusal, "stopped").await;
    net.close().await;
}

#[tokio::test]
async fn a_policy_spares_what_is_established_and_a_stop_does_not() {
    let (net, _claim) = lone_gate(Protocol::Tcp).await;
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
    let (net, _claim) = lone_gate(Protocol::Udp).await;
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
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let (net, claim) = lone_gate(protocol).await;
        let mut second = Net::new(claim.lab());
        let error = second.add(route(protocol), Arc::new(Echo)).await.unwrap_err().to_string();
        let expected = format!("{} (the demo's mas) is in use", only(&net).address());
        assert!(error.starts_with(&expected), "{error}");
        net.close().await;
        second.add(route(protocol), Arc::new(Echo)).await.expect("close frees the port");
        second.close().await;
    }
}

#[tokio::test]
async fn transitions_are_quick_and_leave_no_socket_behind() {
    let claim = LabClaim::first_free().unwrap();
    let mut net = Net::new(claim.lab());
    let route = Route { port: 8099, ..route(Protocol::Tcp) };
    // Whatever earlier tests left in TIME_WAIT is theirs.
    let before = sockets_at(route.address(claim.lab()));
    net.add(route, Arc::new(Echo)).await.unwrap();
    let gate = only(&net);
    let mut durations = Vec::new();
    for _ in 0..50 {
        for state in [GateState::Denied, GateState::Stopped, GateState::Denied, GateState::Open] {
            let before = Instant::now();
            turn(gate, state).await;
            durations.push(before.elapsed());
        }
    }
    // The median, since a busy machine may stall any one; a transition that waits for the network would slow them all.
    durations.sort();
    assert!(durations[100] < Duration::from_millis(100), "{:?}", durations[100]);
    // One listener; no filler, no connection, no TIME_WAIT.
    let after = sockets_at(gate.address());
    let left: Vec<_> = after.difference(&before).collect();
    assert!(matches!(left.as_slice(), [one] if one.ends_with(" 0A")), "{left:#?}");
    net.close().await;
}

/// Both ends and the state (0A: listening) of every TCP socket that has this end.
fn sockets_at(address: SocketAddr) -> BTreeSet<String> {
    let SocketAddr::V4(address) = address else { panic!("the demo is IPv4") };
    // The table writes addresses in the machine's byte order.
    let end = format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let columns = table.lines().map(|line| line.split_whitespace().skip(1).take(3).collect::<Vec<_>>().join(" "));
    columns.filter(|socket| socket.contains(&end)).collect()
}

#[test]
fn addresses_lead_to_the_same_pod_by_a_route_of_each_source() {
    let net = Net::new(Lab(7));
    let real = SocketAddr::from((LabPod::Mas.address(Lab(7)), 8080));
    let mut seen = BTreeSet::new();
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
