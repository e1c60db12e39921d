//! CoreDNS: A records over UDP and TCP (RFC 1035 §4.2).

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use hickory_proto::op::{Edns, Message, MessageType, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::demo::net::Serve;
use crate::demo::world::NAMES;

/// Seconds that an answer may be kept; CoreDNS's default for cluster names.
const TTL: u32 = 5;

/// A stand-in for CoreDNS.
pub(super) struct Dns;

impl Serve for Dns {
    fn connection(self: Arc<Self>, mut stream: TcpStream) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send>> {
        Box::pin(async move {
            // Each message has two bytes of length before it. A client that sends none is cut off by the gate.
            while let Ok(length) = stream.read_u16().await {
                let mut query = vec![0; usize::from(length)];
                stream.read_exact(&mut query).await?;
                let Some(answer) = answer(&query) else { return Ok(()) };
                let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
                stream.write_all(&[&length.to_be_bytes(), answer.as_slice()].concat()).await?;
            }
            Ok(())
        })
    }

    fn datagram(&self, query: &[u8]) -> Option<Vec<u8>> {
        answer(query)
    }
}

/// The answer to a query; nothing for what is no query.
fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let query = Message::from_vec(query).ok()?;
    if query.metadata.message_type != MessageType::Query {
        return None;
    }
    let mut answer = Message::response(query.metadata.id, query.metadata.op_code);
    answer.metadata = Metadata::response_from_request(&query.metadata);
    answer.metadata.recursion_available = true;
    answer.metadata.response_code = match query.queries.as_slice() {
        _ if query.metadata.op_code != OpCode::Query => ResponseCode::NotImp,
        [question] => resolve(question, &mut answer),
        _ => ResponseCode::FormErr,
    };
    // The question comes back as it was asked, in the same case: clients check that (0x20).
    answer.add_queries(query.queries);
    if query.edns.is_some() {
        answer.set_edns(Edns::new());
    }
    answer.to_vec().ok()
}

fn resolve(question: &Query, answer: &mut Message) -> ResponseCode {
    let asked = question.name().to_ascii().to_ascii_lowercase();
    let asked = asked.trim_end_matches('.');
    let Some((_, address)) = NAMES.iter().find(|(name, _)| *name == asked) else {
        return ResponseCode::NXDomain;
    };
    answer.metadata.authoritative = true;
    // A name that exists has no records of other types: no error, no answer.
    if question.query_type() == RecordType::A {
        answer.add_answer(Record::from_rdata(question.name().clone(), TTL, RData::A(A(*address))));
    }
    ResponseCode::NoError
}
