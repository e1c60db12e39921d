//! Each peer, spoken to by a plain client.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_proto::op::{Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::demo::net::{LabClaim, Policy};

async fn peers() -> (Peers, LabClaim) {
    let claim = LabClaim::first_free().unwrap();
    (Peers::start(claim.lab()).await.unwrap(), claim)
}

const ANSWER_WAIT: Duration = Duration::from_secs(10);

fn address(peers: &Peers, source: Source, dest: LabPod) -> SocketAddr {
    let (port, protocol) = dest.ports()[0];
    peers.net().gate(source, dest, port, protocol).expect("the demo has this gate").address()
}

async fn connect(peers: &Peers, source: Source, dest: LabPod) -> TcpStream {
    TcpStream::connect(address(peers, source, dest)).await.unwrap()
}

async fn encrypt<S>(peers: &Peers, stream: S, name: &str) -> std::io::Result<TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut roots = RootCertStore::empty();
    roots.add(peers.ca()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = builder.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// All that comes until the peer closes.
async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut text = Vec::new();
    let read = timeout(ANSWER_WAIT, stream.read_to_end(&mut text)).await.expect("the peer closes");
    // A peer may close TLS without notice.
    drop(read);
    String::from_utf8_lossy(&text).into_owned()
}

async fn exactly<const N: usize>(stream: &mut (impl AsyncRead + Unpin)) -> [u8; N] {
    let mut bytes = [0; N];
    timeout(ANSWER_WAIT, stream.read_exact(&mut bytes)).await.expect("an answer").unwrap();
    bytes
}

/// Sends a request that ends with its connection; `more` is further header lines and the body.
async fn http(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), line: &str, host: &str, more: &str) -> String {
    let more = if more.is_empty() { "\r\n" } else { more };
    let request = format!("{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}");
    stream.write_all(request.as_bytes()).await.unwrap();
    rest(stream).await
}

#[track_caller]
fn check_http(answer: &str, status: u16, holds: &str) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    assert!(answer.contains(holds), "{answer}");
}

#[tokio::test]
async fn mas_answers_discovery_introspection_and_health() {
    let (peers, _claim) = peers().await;
    let cases = [
        ("GET /.well-known/openid-configuration", "", 200, r#""issuer":"https://auth.waadoo.ovh/""#),
        (
            "POST /oauth2/introspect",
            "Authorization: Bearer portreeve-demo\r\nContent-Length: 7\r\n\r\ntoken=a",
            200,
            r#"{"active":false}"#,
        ),
        ("POST /oauth2/introspect", "Authorization: Bearer x\r\n\r\n", 401, "access_denied"),
        ("POST /oauth2/introspect", "", 400, "No credentials"),
        ("GET /oauth2/introspect", "", 405, ""),
        ("GET /health", "", 200, "ok"),
        ("GET /nowhere", "", 404, ""),
    ];
    for (line, more, status, holds) in cases {
        let mut stream = connect(&peers, Source::Traefik, LabPod::Mas).await;
        check_http(&http(&mut stream, line, "mas", more).await, status, holds);
    }
    peers.close().await;
}

#[tokio::test]
async fn synapse_tells_whether_it_reaches_mas() {
    let (peers, _claim) = peers().await;
    let ask = async |line: &str, more: &str| {
        let mut stream = connect(&peers, Source::Mas, LabPod::Synapse).await;
        http(&mut stream, line, "synapse", more).await
    };
    check_http(&ask("GET /_matrix/client/versions", "").await, 200, r#""versions":["#);
    check_http(&ask("GET /health", "").await, 200, "OK");
    check_http(&ask("GET /nowhere", "").await, 404, "M_UNRECOGNIZED");
    let wrong = "Authorization: Bearer wrong\r\n\r\n";
    check_http(&ask("GET /_synapse/mas/is_localpart_available", "").await, 401, "M_MISSING_TOKEN");
    check_http(&ask("GET /_synapse/mas/is_localpart_available", wrong).await, 403, "only be called by MAS");
    let shared = "Authorization: Bearer portreeve-demo\r\n\r\n";
    check_http(&ask("GET /_synapse/mas/is_localpart_available", shared).await, 400, "Missing localpart");

    let whoami = "GET /_matrix/client/v3/account/whoami";
    let bogus = "Authorization: Bearer bogus&token\r\n\r\n";
    check_http(&ask(whoami, "").await, 401, "M_MISSING_TOKEN");
    check_http(&ask(whoami, bogus).await, 401, "M_UNKNOWN_TOKEN");
    let to_mas = peers.net().gate(Source::Synapse, LabPod::Mas, 8080, Protocol::Tcp).unwrap();
    to_mas.set_policy(Policy::Drops).await.unwrap();
    let metadata = "GET /_matrix/client/v1/auth_metadata";
    check_http(&ask(metadata, "").await, 500, "M_UNKNOWN");
    check_http(&ask(whoami, bogus).await, 503, "Unable to introspect");
    to_mas.set_policy(Policy::Allows).await.unwrap();
    check_http(&ask(whoami, bogus).await, 401, "M_UNKNOWN_TOKEN");
    let issuer = r#""issuer":"https://auth.waadoo.ovh/""#;
    check_http(&ask(metadata, "").await, 200, issuer);
    peers.stop(LabPod::Mas).await.unwrap();
    check_http(&ask(whoami, bogus).await, 503, "Unable to introspect");
    check_http(&ask(metadata, "").await, 200, issuer);
    peers.resume(LabPod::Mas).await.unwrap();
    check_http(&ask(whoami, bogus).await, 401, "M_UNKNOWN_TOKEN");
    peers.close().await;
}

async fn through_traefik(peers: &Peers, host: &str, line: &str) -> String {
    let stream = connect(peers, Source::Mas, LabPod::Traefik).await;
    let mut stream = encrypt(peers, stream, host).await.unwrap();
    http(&mut stream, line, host, "").await
}

#[tokio::test]
async fn traefik_routes_by_host_to_what_it_can_reach() {
    let (peers, _claim) = peers().await;
    let discovery = "GET /.well-known/openid-configuration";
    let authelia = through_traefik(&peers, "authelia.waadoo.ovh", discovery).await;
    check_http(&authelia, 200, r#""issuer":"https://authelia.waadoo.ovh","#);
    check_http(&through_traefik(&peers, "authelia.waadoo.ovh", "GET /jwks.json").await, 200, r#""kty":"EC""#);
    check_http(
        &through_traefik(&peers, "auth.waadoo.ovh", discovery).await,
        200,
        r#""issuer":"https://auth.waadoo.ovh/""#,
    );

    let to_mas = peers.net().gate(Source::Traefik, LabPod::Mas, 8080, Protocol::Tcp).unwrap();
    to_mas.set_policy(Policy::Drops).await.unwrap();
    check_http(&through_traefik(&peers, "auth.waadoo.ovh", discovery).await, 504, "");
    to_mas.set_policy(Policy::Allows).await.unwrap();
    peers.stop(LabPod::Mas).await.unwrap();
    check_http(&through_traefik(&peers, "auth.waadoo.ovh", discovery).await, 502, "");
    check_http(&through_traefik(&peers, "authelia.waadoo.ovh", discovery).await, 200, "");
    peers.close().await;
}

#[tokio::test]
async fn traefik_shows_its_default_certificate_to_others() {
    let (peers, _claim) = peers().await;
    let stream = connect(&peers, Source::Mas, LabPod::Traefik).await;
    let error = encrypt(&peers, stream, "other.example").await.unwrap_err();
    assert!(error.to_string().contains("invalid peer certificate"), "{error}");
    peers.close().await;
}

#[tokio::test]
async fn authelia_refuses_whoever_comes_without_the_proxys_headers() {
    let (peers, _claim) = peers().await;
    let ask = async |more: &str| {
        let mut stream = connect(&peers, Source::Mas, LabPod::Authelia).await;
        http(&mut stream, "GET /.well-known/openid-configuration", "authelia", more).await
    };
    check_http(&ask("").await, 400, "");
    let proxied = "X-Forwarded-Proto: https\r\nX-Forwarded-Host: authelia.waadoo.ovh\r\n\r\n";
    check_http(&ask(proxied).await, 200, "https://authelia.waadoo.ovh");
    peers.close().await;
}

const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xD2, 0x16, 0x2F];

fn start_up(parameters: &[u8]) -> Vec<u8> {
    let length = u32::try_from(parameters.len() + 8).unwrap();
    [&length.to_be_bytes(), &[0, 3, 0, 0], parameters].concat()
}

#[tokio::test]
async fn postgres_offers_tls_then_scram() {
    let (peers, _claim) = peers().await;
    let mut stream = connect(&peers, Source::Mas, LabPod::Postgres).await;
    stream.write_all(&SSL_REQUEST).await.unwrap();
    assert_eq!(exactly::<1>(&mut stream).await, *b"S");
    let mut stream = encrypt(&peers, stream, "matrix-db-rw.postgres.svc.cluster.local").await.unwrap();
    stream.write_all(&start_up(b"user\0mas\0database\0mas\0\0")).await.unwrap();
    let answer = exactly::<43>(&mut stream).await;
    assert_eq!(answer, *b"R\0\0\0\x2A\0\0\0\x0ASCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0");
    stream.write_all(b"p\0\0\0\x04").await.unwrap();
    let refusal = rest(&mut stream).await;
    assert!(refusal.starts_with('E') && refusal.contains("C28P01\0"), "{refusal:?}");
    peers.close().await;
}

#[tokio::test]
async fn postgres_names_what_it_does_not_accept() {
    let (peers, _claim) = peers().await;
    let cases: [(&[u8], &str); 4] = [
        (&[0, 0, 0, 8, 0, 2, 0, 0], "C0A000\0"),
        (&start_up(b"\0"), "C28000\0"),
        // A length that no packet has: closed without a word.
        (b"GET / HTTP/1.1\r\n\r\n", ""),
        (&[0, 0, 0, 8, 0x04, 0xD2, 0x16, 0x2E], ""),
    ];
    for (sent, holds) in cases {
        let mut stream = connect(&peers, Source::Mas, LabPod::Postgres).await;
        stream.write_all(sent).await.unwrap();
        let answer = rest(&mut stream).await;
        assert!(answer.contains(holds) && answer.is_empty() == holds.is_empty(), "{sent:?}: {answer:?}");
    }
    let mut stream = connect(&peers, Source::Mas, LabPod::Postgres).await;
    stream.write_all(&[0, 0, 0, 8, 0x04, 0xD2, 0x16, 0x30]).await.unwrap();
    assert_eq!(exactly::<1>(&mut stream).await, *b"N");
    stream.write_all(&start_up(b"user\0mas\0\0")).await.unwrap();
    assert_eq!(exactly::<24>(&mut stream).await, *b"R\0\0\0\x17\0\0\0\x0ASCRAM-SHA-256\0\0");
    peers.close().await;
}

/// Reads one reply, however many lines it has.
async fn reply(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut text = String::new();
    loop {
        let start = text.len();
        while !text.ends_with("\r\n") || text.len() == start {
            text.push(char::from(exactly::<1>(stream).await[0]));
        }
        if text.as_bytes()[start + 3] == b' ' {
            return text;
        }
    }
}

#[tokio::test]
async fn smtp_upgrades_and_only_then_offers_auth() {
    let (peers, _claim) = peers().await;
    let mut stream = connect(&peers, Source::Mas, LabPod::Smtp).await;
    assert!(reply(&mut stream).await.starts_with("220 "));
    stream.write_all(b"EHLO probe.example\r\n").await.unwrap();
    let plain = reply(&mut stream).await;
    assert!(plain.contains("250-SIZE") && plain.contains("250 STARTTLS") && !plain.contains("AUTH"), "{plain}");
    stream.write_all(b"STARTTLS\r\n").await.unwrap();
    assert!(reply(&mut stream).await.starts_with("220 "));
    let mut stream = encrypt(&peers, stream, "smtp.mail.svc.cluster.local").await.unwrap();
    stream.write_all(b"EHLO probe.example\r\n").await.unwrap();
    let encrypted = reply(&mut stream).await;
    assert!(encrypted.contains("250 AUTH PLAIN LOGIN") && !encrypted.contains("STARTTLS"), "{encrypted}");
    stream.write_all(b"QUIT\r\n").await.unwrap();
    assert!(rest(&mut stream).await.starts_with("221 "));
    peers.close().await;
}

#[tokio::test]
async fn smtp_refuses_what_is_smuggled_before_the_handshake() {
    let (peers, _claim) = peers().await;
    let mut stream = connect(&peers, Source::Mas, LabPod::Smtp).await;
    stream.write_all(b"EHLO a\r\nSTARTTLS\r\nRSET\r\n").await.unwrap();
    let all = rest(&mut stream).await;
    assert!(all.contains("220 2.0.0") && all.ends_with("554 5.5.1 Data before the TLS handshake\r\n"), "{all}");
    peers.close().await;
}

fn question(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::new(4242, hickory_proto::op::MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message.to_vec().unwrap()
}

async fn resolve(peers: &Peers, protocol: Protocol, question: &[u8]) -> Message {
    let to = peers.net().gate(Source::Mas, LabPod::Dns, 5353, protocol).unwrap().address();
    let mut answer = vec![0; 1024];
    if protocol == Protocol::Udp {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(question, to).await.unwrap();
        let (length, _) = timeout(ANSWER_WAIT, socket.recv_from(&mut answer)).await.unwrap().unwrap();
        answer.truncate(length);
    } else {
        let mut stream = TcpStream::connect(to).await.unwrap();
        stream.write_u16(u16::try_from(question.len()).unwrap()).await.unwrap();
        stream.write_all(question).await.unwrap();
        answer.truncate(usize::from(stream.read_u16().await.unwrap()));
        stream.read_exact(&mut answer).await.unwrap();
    }
    Message::from_vec(&answer).unwrap()
}

#[tokio::test]
async fn dns_answers_over_udp_and_tcp_and_keeps_the_case() {
    let (peers, _claim) = peers().await;
    let cases = [
        ("kUbErNeTeS.default.svc.cluster.local.", RecordType::A, ResponseCode::NoError, Some("127.96.0.1")),
        ("matrix-db-rw.postgres.svc.cluster.local.", RecordType::A, ResponseCode::NoError, Some("127.96.20.30")),
        ("authelia.waadoo.ovh.", RecordType::A, ResponseCode::NoError, Some("127.96.30.1")),
        ("authelia.waadoo.ovh.", RecordType::AAAA, ResponseCode::NoError, None),
        ("nobody.example.", RecordType::A, ResponseCode::NXDomain, None),
    ];
    for protocol in [Protocol::Udp, Protocol::Tcp] {
        for (name, kind, code, address) in &cases {
            let answer = resolve(&peers, protocol, &question(name, *kind)).await;
            assert_eq!((answer.metadata.id, answer.metadata.response_code), (4242, *code), "{name}");
            assert_eq!(answer.queries[0].name().to_ascii(), *name, "the question comes back as asked");
            let found: Vec<_> = answer.answers.iter().map(|record| record.data.clone()).collect();
            let expected: Vec<_> =
                address.iter().map(|a| RData::A(hickory_proto::rr::rdata::A(a.parse().unwrap()))).collect();
            assert_eq!(found, expected, "{name}");
        }
    }
    peers.close().await;
}

#[tokio::test]
async fn the_stranger_says_one_line_and_what_is_no_query_gets_no_answer() {
    let (peers, _claim) = peers().await;
    let mut stream = connect(&peers, Source::Mas, LabPod::Stranger).await;
    assert_eq!(rest(&mut stream).await, "portreeve stranger\r\n");
    let gate = peers.net().gate(Source::Mas, LabPod::Dns, 5353, Protocol::Udp).unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(b"no query", gate.address()).await.unwrap();
    assert!(timeout(Duration::from_millis(200), socket.recv_from(&mut [0; 64])).await.is_err());
    peers.close().await;
}

#[tokio::test]
async fn a_stopped_peer_refuses_every_source_and_comes_back() {
    let (peers, _claim) = peers().await;
    let knock = async |source| TcpStream::connect(address(&peers, source, LabPod::Mas)).await.map(drop);
    peers.stop(LabPod::Mas).await.unwrap();
    for source in [Source::Synapse, Source::Traefik, Source::Stranger, Source::Node] {
        assert_eq!(knock(source).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused, "{source:?}");
    }
    peers.resume(LabPod::Mas).await.unwrap();
    for source in [Source::Synapse, Source::Traefik, Source::Stranger, Source::Node] {
        knock(source).await.unwrap();
    }
    peers.close().await;
}

#[test]
fn the_node_reaches_every_port_of_every_pod() {
    for dest in LabPod::ALL {
        for (port, protocol) in dest.ports() {
            let control = Route { source: Source::Node, dest, port: *port, protocol: *protocol };
            assert!(routes().any(|route| route == control), "{control}");
        }
    }
    for route in routes() {
        assert!(route.dest.ports().contains(&(route.port, route.protocol)), "{route}");
    }
}
