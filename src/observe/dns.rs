//! DNS over UDP and TCP: one question, and whether what came back is its answer.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::failure::Failure;
use super::run::Run;
use super::talk::{Heard, Talk, unfinished};
use super::{connect, wire_error};
use crate::judge::Reason;

/// Largest datagram that is read. Without EDNS an answer has at most 512 bytes (RFC 1035 §4.2.1).
const MOST_UDP: usize = 4096;
/// When a question is sent again, as Linux does it with a SYN: a lost datagram is not to look like a blocked port.
const AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];
/// Bytes of the DNS header.
const HEADER: usize = 12;

/// One question in its bytes, with an unguessable number and spelling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    bytes: Vec<u8>,
}

/// What a message that came in is.
#[derive(Debug, Clone)]
pub(super) enum Seen {
    /// The answer to the question.
    Answer(Box<Message>),
    /// Not the answer to this question: late, forged, or somebody else's.
    NotOurs,
    /// The answer by its header, but it cannot be read.
    Broken,
}

impl Question {
    /// A new question. Letters change their case at random: whoever did not see the question cannot spell the answer (draft-vixie-dnsext-dns0x20).
    pub(super) fn new(name: &Name, kind: RecordType) -> Result<Self, Failure> {
        let mixed: String = name
            .to_ascii()
            .chars()
            .map(|letter| if rand::random() { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() })
            .collect();
        let refuse = |_| Failure::new(Reason::ProberError, "the name cannot be put into a DNS question");
        let mut name = Name::from_ascii(mixed).map_err(refuse)?;
        name.set_fqdn(true);
        let mut message = Message::new(rand::random(), MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(name, kind));
        Ok(Self { bytes: message.to_vec().map_err(refuse)? })
    }

    /// Whether `bytes` are the answer.
    pub(super) fn read(&self, bytes: &[u8]) -> Seen {
        let Some((header, rest)) = bytes.split_at_checked(HEADER) else { return Seen::NotOurs };
        let (asked_header, asked) = self.bytes.split_at(HEADER.min(self.bytes.len()));
        let is_response = header[2] & 0x80 != 0;
        if !is_response || header.get(..2) != asked_header.get(..2) {
            return Seen::NotOurs;
        }
        match u16::from_be_bytes([header[4], header[5]]) {
            // A server that could not even read the question may leave it out.
            0 if matches!(header[3] & 0x0f, 1 | 4) => {}
            1 if rest.starts_with(asked) => {}
            _ => return Seen::NotOurs,
        }
        Message::from_vec(bytes).map_or(Seen::Broken, |message| Seen::Answer(Box::new(message)))
    }
}

/// One exchange over UDP.
pub(super) async fn udp(run: &mut Run<'_>) -> Result<String, Failure> {
    let question = Question::new(&run.prober.question, RecordType::A)?;
    let socket = connect::udp(run.target.address, run.target.source)?;
    run.unconnected();
    let answer = over_udp(&socket, &question, run.deadline, &AGAIN).await?;
    let said = verdict(&answer)?;
    Ok(if answer.metadata.truncation { format!("{said}; the answer does not fit, and needs TCP") } else { said })
}

/// One exchange over TCP.
pub(super) async fn tcp(run: &mut Run<'_>) -> Result<String, Failure> {
    let question = Question::new(&run.prober.question, RecordType::A)?;
    let mut talk = run.connect().await?;
    verdict(&over_tcp(&mut talk, &question).await?)
}

/// One lookup by UDP, and by TCP when the answer does not fit (RFC 7766 §5).
pub(super) async fn ask(server: SocketAddr, question: &Question, deadline: Instant) -> Result<Message, Failure> {
    let socket = connect::udp(server, None)?;
    let answer = over_udp(&socket, question, deadline, &AGAIN).await?;
    if !answer.metadata.truncation {
        return Ok(answer);
    }
    let stream = connect::tcp(server, None, deadline).await?;
    over_tcp(&mut Talk::new(stream, deadline), question).await
}

/// Sends, waits, and sends the same again each time that one of the spans of `again` has passed. Datagrams that are no answer are passed over: the
/// deadline bounds them.
async fn over_udp(
    socket: &UdpSocket,
    question: &Question,
    deadline: Instant,
    again: &[Duration],
) -> Result<Message, Failure> {
    let failed = |error: &std::io::Error| wire_error::explain(socket, connect::errno_of(error));
    socket.send(&question.bytes).await.map_err(|error| failed(&error))?;
    let mut buffer = vec![0; MOST_UDP];
    let mut strange = false;
    let mut again = again.iter().scan(Instant::now(), |at, span| {
        *at += *span;
        Some(*at)
    });
    let mut next = again.next();
    loop {
        let until = next.map_or(deadline, |next| next.min(deadline));
        match timeout_at(until, socket.recv(&mut buffer)).await {
            Ok(Ok(count)) => match question.read(&buffer[..count]) {
                Seen::Answer(message) => return Ok(*message),
                Seen::Broken => return Err(broken()),
                Seen::NotOurs => strange = true,
            },
            Ok(Err(error)) => return Err(failed(&error)),
            Err(_) if until < deadline => {
                socket.send(&question.bytes).await.map_err(|error| failed(&error))?;
                next = again.next();
            }
            Err(_) if strange => return Err(not_ours()),
            Err(_) => return Err(Failure::new(Reason::DnsTimeout, "no answer came before the deadline")),
        }
    }
}

async fn over_tcp<S>(talk: &mut Talk<S>, question: &Question) -> Result<Message, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let length = u16::try_from(question.bytes.len())
        .map_err(|_| Failure::new(Reason::ProberError, "the DNS question is too long"))?;
    // One write: some servers do not wait for the rest of a split length (RFC 7766 §8).
    talk.send(&[&length.to_be_bytes(), question.bytes.as_slice()].concat()).await?;
    let mut frame = Vec::new();
    let mut buffer = vec![0; MOST_UDP];
    loop {
        if let Some(message) = framed(&frame) {
            return match question.read(message) {
                Seen::Answer(message) => Ok(*message),
                Seen::Broken => Err(broken()),
                Seen::NotOurs => Err(not_ours()),
            };
        }
        match talk.read(&mut buffer).await? {
            Heard::Bytes(count) => frame.extend_from_slice(&buffer[..count]),
            heard => return Err(unfinished(heard == Heard::Closed, !frame.is_empty(), "the DNS answer")),
        }
    }
}

/// The message behind its two bytes of length, once it is whole: at most 65,535 bytes.
fn framed(frame: &[u8]) -> Option<&[u8]> {
    let (length, rest) = frame.split_at_checked(2)?;
    rest.get(..usize::from(u16::from_be_bytes([length[0], length[1]])))
}

fn broken() -> Failure {
    Failure::new(Reason::ProtoMismatch, "the answer cannot be read as DNS")
}

fn not_ours() -> Failure {
    Failure::new(Reason::ProtoMismatch, "something answers, but not to the question that was asked")
}

/// A name that does not exist proves the edge as well as one that does.
fn verdict(answer: &Message) -> Result<String, Failure> {
    let code = answer.metadata.response_code;
    match code {
        ResponseCode::NoError => Ok("the DNS server answers".to_owned()),
        ResponseCode::NXDomain => Ok("the DNS server answers: the name it was asked for does not exist".to_owned()),
        other => Err(refusal(other)),
    }
}

/// The failure behind a response code.
pub(super) fn refusal(code: ResponseCode) -> Failure {
    match code {
        ResponseCode::ServFail => Failure::new(Reason::DnsServfail, "the DNS server answers that it failed"),
        ResponseCode::Refused => {
            Failure::new(Reason::DnsRefused, "the DNS server, or a policy in front of it, refuses the question")
        }
        ResponseCode::NXDomain => Failure::new(Reason::DnsNxdomain, "the name does not exist"),
        other => {
            let number = u16::from(other);
            Failure::new(Reason::ProtoMismatch, format!("the DNS server answers a plain question with code {number}"))
        }
    }
}

/// Any bytes as a frame, and behind a fitting header as an answer, which names end in addresses.
#[cfg(fuzzing)]
pub(super) fn fuzz(bytes: &[u8]) {
    use super::resolver::addresses;
    assert!(framed(bytes).is_none_or(|message| message.len() + 2 <= bytes.len()));
    let Ok(name) = Name::from_ascii("mas.example.") else { return };
    let mut asked = Message::new(7, MessageType::Query, OpCode::Query);
    asked.add_query(Query::query(name.clone(), RecordType::A));
    let Ok(asked) = asked.to_vec() else { return };
    let question = Question { bytes: asked };
    let _ = question.read(bytes);
    // Flags, code and counts are the peer's; number and question are ours, else nothing behind them is read.
    let Some((chosen, records)) = bytes.split_at_checked(8) else { return };
    let counts = [&[0, 1], &chosen[2..8]].concat();
    let (head, asked) = question.bytes.split_at(HEADER);
    let answer = [&head[..2], &[chosen[0] | 0x80, chosen[1]], &counts, asked, records].concat();
    if let Seen::Answer(message) = question.read(&answer) {
        let _ = verdict(&message);
        assert!(addresses(&name, &message).len() <= message.answers.len());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn question() -> Question {
        Question::new(&Name::from_ascii("kubernetes.default.svc.cluster.local.").unwrap(), RecordType::A).unwrap()
    }

    fn answer(question: &Question, code: u8) -> Vec<u8> {
        let mut bytes = question.bytes.clone();
        bytes[2] |= 0x80;
        bytes[3] = code;
        bytes
    }

    #[track_caller]
    fn check(change: impl Fn(&mut Vec<u8>), expect: &str) {
        let question = question();
        let mut bytes = answer(&question, 0);
        change(&mut bytes);
        let got = match question.read(&bytes) {
            Seen::Answer(_) => "answer",
            Seen::NotOurs => "not ours",
            Seen::Broken => "broken",
        };
        assert_eq!(got, expect);
    }

    #[test]
    fn one_thing_wrong_at_a_time() {
        check(|_| {}, "answer");
        check(|b| b[0] ^= 1, "not ours");
        check(|b| b[2] &= 0x7f, "not ours");
        check(|b| b[13] ^= 0x20, "not ours");
        check(|b| b[5] = 0, "not ours");
        check(|b| b[5] = 2, "not ours");
        check(|b| b.truncate(11), "not ours");
        check(|b| b.truncate(30), "not ours");
        // It promises an answer record and has none.
        check(|b| b[7] = 1, "broken");
        // FORMERR may leave the question out.
        check(
            |b| {
                b.truncate(HEADER);
                b[3] = 1;
                b[5] = 0;
            },
            "answer",
        );
    }

    #[test]
    fn codes() {
        let question = question();
        let reason = |code| match question.read(&answer(&question, code)) {
            Seen::Answer(message) => verdict(&message).map(drop).map_err(|failure| failure.reason),
            other => panic!("{other:?}"),
        };
        assert_eq!(reason(0), Ok(()));
        assert_eq!(reason(3), Ok(()));
        assert_eq!(reason(2), Err(Reason::DnsServfail));
        assert_eq!(reason(5), Err(Reason::DnsRefused));
        assert_eq!(reason(4), Err(Reason::ProtoMismatch));
    }

    #[test]
    fn every_question_is_another() {
        let (one, two) = (question(), question());
        assert_ne!(one.bytes, two.bytes);
        assert!(one.bytes.eq_ignore_ascii_case(&[&one.bytes[..2], &two.bytes[2..]].concat()));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let question = question();
            let _ = question.read(&bytes);
            // The same with a header that fits, so that the codec is reached.
            let _ = question.read(&[&answer(&question, 0)[..], &bytes].concat());
            let _ = framed(&bytes);
        }

        #[test]
        fn a_frame_ends_where_it_says(body in proptest::collection::vec(any::<u8>(), 0..300), more in 0usize..4) {
            let frame = [&u16::try_from(body.len()).unwrap().to_be_bytes(), &body[..], &vec![7; more]].concat();
            prop_assert_eq!(framed(&frame), Some(&body[..]));
            prop_assert_eq!(framed(&frame[..=body.len()]), None);
        }
    }
}
