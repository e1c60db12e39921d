//! The resolver against name servers that refuse, fail, truncate and keep silent.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

use super::block_on;
use crate::judge::Reason;
use crate::observe::{ResolvConf, resolve};

const DEADLINE: Duration = Duration::from_millis(600);

/// Answers by the first label of the name that is asked for.
fn reply(query: &[u8], over_tcp: bool) -> Option<Vec<u8>> {
    let mut message = Message::from_vec(query).unwrap();
    let (name, kind) = (message.queries[0].name().clone(), message.queries[0].query_type());
    let text = name.to_ascii().to_ascii_lowercase();
    message.metadata.message_type = MessageType::Response;
    let a = |name: &Name| Record::from_rdata(name.clone(), 60, RData::A(A::new(192, 0, 2, 1)));
    let aaaa = |name: &Name| Record::from_rdata(name.clone(), 60, RData::AAAA(AAAA("2001:db8::1".parse().unwrap())));
    match (text.split('.').next().unwrap(), kind) {
        ("silent", _) => return None,
        ("servfail", _) => message.metadata.response_code = ResponseCode::ServFail,
        ("refused", _) => message.metadata.response_code = ResponseCode::Refused,
        ("both", RecordType::A) => drop(message.add_answer(a(&name))),
        ("both", RecordType::AAAA) => drop(message.add_answer(aaaa(&name))),
        ("v4", RecordType::A) => drop(message.add_answer(a(&name))),
        ("half", RecordType::A) => drop(message.add_answer(a(&name))),
        ("half", _) => message.metadata.response_code = ResponseCode::ServFail,
        ("v4" | "nodata", _) => {}
        ("big", RecordType::A) if over_tcp => drop(message.add_answer(a(&name))),
        ("big", RecordType::A) => message.metadata.truncation = true,
        ("big" | "alias", RecordType::AAAA) => {}
        ("alias", _) => {
            let other = Name::from_ascii("Other.example.").unwrap();
            message.add_answer(Record::from_rdata(name, 60, RData::CNAME(CNAME(other.clone()))));
            message.add_answer(a(&other));
            // Not about the name: must be passed over.
            let stray = RData::A(A::new(203, 0, 113, 9));
            message.add_answer(Record::from_rdata(Name::from_ascii("stray.example.").unwrap(), 60, stray));
        }
        ("searched", _) if text != "searched.second.example." => {
            message.metadata.response_code = ResponseCode::NXDomain;
        }
        ("searched", _) => drop(message.add_answer(a(&name))),
        _ => message.metadata.response_code = ResponseCode::NXDomain,
    }
    Some(message.to_vec().unwrap())
}

/// A name server on UDP and TCP of one port.
async fn server() -> SocketAddr {
    let (udp, tcp) = loop {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
            break (udp, tcp);
        }
    };
    let address = udp.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        loop {
            // Errors tell of clients that are gone.
            let Ok((count, from)) = udp.recv_from(&mut buffer).await else { continue };
            if let Some(answer) = reply(&buffer[..count], false) {
                let _ = udp.send_to(&answer, from).await;
            }
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let mut query = vec![0; usize::from(stream.read_u16().await.unwrap())];
            stream.read_exact(&mut query).await.unwrap();
            let answer = reply(&query, true).unwrap();
            stream.write_u16(u16::try_from(answer.len()).unwrap()).await.unwrap();
            stream.write_all(&answer).await.unwrap();
        }
    });
    address
}

#[track_caller]
fn check(name: &str, search: &[&str], expect: Result<&[&str], Reason>) {
    let got = block_on(async {
        let mut conf = ResolvConf::servers(vec![server().await]);
        conf.search = search.iter().map(|domain| (*domain).to_owned()).collect();
        conf.ndots = 5;
        resolve(name, &conf, DEADLINE).await
    });
    let expect = expect.map(|list| list.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>());
    assert_eq!(
        got.as_ref().map_err(|(reason, _)| *reason),
        expect.as_ref().map_err(|reason| *reason),
        "{name}: {got:?}"
    );
}

#[test]
fn answers() {
    check("192.0.2.7", &[], Ok(&["192.0.2.7"]));
    check("both.example", &[], Ok(&["192.0.2.1", "2001:db8::1"]));
    check("v4.example.", &[], Ok(&["192.0.2.1"]));
    check("half.example", &[], Ok(&["192.0.2.1"]));
    check("big.example", &[], Ok(&["192.0.2.1"]));
    check("alias.example", &[], Ok(&["192.0.2.1"]));
    check("searched", &["first.example", "second.example"], Ok(&["192.0.2.1"]));
    check("searched.", &["second.example"], Err(Reason::DnsNxdomain));
}

#[test]
fn failures() {
    check("missing.example", &["a.example"], Err(Reason::DnsNxdomain));
    check("nodata.example", &[], Err(Reason::DnsNxdomain));
    check("servfail.example", &[], Err(Reason::DnsServfail));
    check("refused.example", &[], Err(Reason::DnsRefused));
    check("silent.example", &["a.example"], Err(Reason::DnsTimeout));
    check("no name", &[], Err(Reason::ProberError));
    check(&"a".repeat(70), &[], Err(Reason::ProberError));
}

#[test]
fn a_dead_server_leaves_time_for_the_next() {
    block_on(async {
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let closed = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let good = server().await;
        for dead in [silent.local_addr().unwrap(), closed] {
            let conf = ResolvConf::servers(vec![dead, good]);
            assert_eq!(resolve("v4.example", &conf, DEADLINE).await, Ok(vec![[192, 0, 2, 1].into()]));
        }
        // A closed port is a fault of DNS, not of the way to the name's owner.
        let began = Instant::now();
        let failure = resolve("v4.example", &ResolvConf::servers(vec![closed]), DEADLINE).await.unwrap_err();
        assert_eq!(failure.0, Reason::DnsTimeout, "{}", failure.1);
        assert!(began.elapsed() < DEADLINE, "refused at once, so not waited for");
        let none = resolve("v4.example", &ResolvConf::servers(Vec::new()), DEADLINE).await.unwrap_err();
        assert_eq!(none.0, Reason::DnsTimeout);
    });
}
