//! The guide's peers: the demo's stand-ins in a process of their own, with the Services before them.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};

use portreeve::demo::net::{Route, Source};
use portreeve::demo::peers::Peers;
use portreeve::demo::world::{Lab, LabPod, TRAFFIC_MATRIX, write_world};
use portreeve::world::Protocol;
use serde_json::{Value, json};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::namespace::folder;

/// What lets MAS through in the demo's world.
const POLICY: &str = include_str!("../../policies/matrix_portreeve-mas.yaml");
/// Where the cluster's DNS answers.
const DNS: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 53);

/// The edges of the demo's world.
pub(crate) const EDGES: [&str; 10] = [
    "traefik-to-mas",
    "synapse-to-mas",
    "mas-to-postgres",
    "mas-to-synapse",
    "mas-to-authelia",
    "mas-to-dns-udp",
    "mas-to-dns-tcp",
    "mas-to-smtp",
    "stranger-to-mas",
    "mas-to-stranger",
];

/// As many for an agent, at this interval in seconds: those that its vantage has, and plain ones.
pub(crate) fn assignment(interval: f64) -> Value {
    let edge = |name: &str, exchange: Value, to: &[(&str, u16)]| {
        let to: Vec<Value> = to.iter().map(|(host, port)| json!({"host": host, "port": port})).collect();
        json!({"name": name, "vantage": "subject", "expect": "allow", "tier": 0, "exchange": exchange, "to": to})
    };
    let synapse = "matrix-synapse-synapse.matrix.svc.cluster.local";
    let postgres = "matrix-db-rw.postgres.svc.cluster.local";
    json!({
        "version": 1, "generation": 1, "matrix": "matrix/mas", "intervals": {"probeSeconds": interval, "deepSeconds": 20.0 * interval},
        "edges": [
            edge("synapse-to-mas", json!({"kind": "whoami"}), &[(synapse, 8008)]),
            edge("mas-to-postgres", json!({"kind": "postgres", "sslMode": "prefer"}), &[(postgres, 5432)]),
            edge("mas-to-synapse", json!({"kind": "synapse", "endpoint": format!("http://{synapse}:8008")}), &[(synapse, 8008)]),
            edge("mas-to-authelia", json!({"kind": "oidc", "issuer": "https://authelia.waadoo.ovh"}), &[("authelia.waadoo.ovh", 443)]),
            edge("mas-to-dns-udp", json!({"kind": "dns-udp"}), &[]),
            edge("mas-to-dns-tcp", json!({"kind": "dns-tcp"}), &[]),
            edge("mas-to-smtp", json!({"kind": "smtp", "mode": "starttls"}), &[("smtp.mail.svc.cluster.local", 587)]),
            edge("mas-to-stranger", json!({"kind": "tcp"}), &[("127.77.0.60", 9691)]),
            edge("mas-to-traefik", json!({"kind": "tcp"}), &[("auth.waadoo.ovh", 443)]),
            edge("mas-to-replica", json!({"kind": "tcp"}), &[(postgres, 5432)]),
        ]
    })
}

/// Runs for ever.
pub(crate) async fn serve() {
    let lab = Lab::default();
    let peers = Peers::start(lab).await.unwrap();
    let pod = |pod: LabPod, port: u16| SocketAddr::from((pod.address(lab), port));
    // Each source has a way of its own to MAS in the demo; Synapse's does for everybody here.
    let mas = Route { source: Source::Synapse, dest: LabPod::Mas, port: 8080, protocol: Protocol::Tcp }.address(lab);
    let services = [
        (pod(LabPod::Mas, 8080), mas),
        (([127, 96, 10, 21], 8008).into(), pod(LabPod::Synapse, 8008)),
        (([127, 96, 20, 30], 5432).into(), pod(LabPod::Postgres, 5432)),
        (([127, 96, 30, 1], 443).into(), pod(LabPod::Traefik, 8443)),
        (([127, 96, 50, 50], 587).into(), pod(LabPod::Smtp, 2525)),
        (DNS.into(), pod(LabPod::Dns, 5353)),
    ];
    for (from, to) in services {
        tokio::spawn(forward(from, to));
    }
    tokio::spawn(forward_datagrams(DNS.into(), pod(LabPod::Dns, 5353)));

    let folder = folder().join("guide");
    fs::create_dir_all(folder.join("cluster")).unwrap();
    write_world(&folder.join("cluster"), lab).unwrap();
    fs::write(folder.join("cluster").join("matrix_portreeve-mas.yaml"), POLICY).unwrap();
    fs::write(folder.join("matrix.yaml"), TRAFFIC_MATRIX).unwrap();
    fs::write(folder.join("ca.pem"), peers.ca_pem()).unwrap();
    println!("ready");
    std::future::pending::<()>().await;
}

/// What kube-proxy does.
async fn forward(from: SocketAddr, to: SocketAddr) {
    let listener = TcpListener::bind(from).await.unwrap();
    loop {
        let (mut client, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let mut server = TcpStream::connect(to).await?;
            copy_bidirectional(&mut client, &mut server).await.map(drop)
        });
    }
}

/// The same, one question at a time.
async fn forward_datagrams(from: SocketAddr, to: SocketAddr) {
    let (clients, server) = (UdpSocket::bind(from).await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
    server.connect(to).await.unwrap();
    let mut buffer = [0; 4096];
    loop {
        // The error of a client that is gone is nobody's question.
        let Ok((count, client)) = clients.recv_from(&mut buffer).await else { continue };
        server.send(&buffer[..count]).await.unwrap();
        let count = server.recv(&mut buffer).await.unwrap();
        let _ = clients.send_to(&buffer[..count], client).await;
    }
}
