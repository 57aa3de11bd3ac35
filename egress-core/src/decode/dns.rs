//! DNS messages, with hickory's parser; what is cut off is left out.

use std::net::IpAddr;

use hickory_proto::op::{Header, Message, MessageType, Query};
use hickory_proto::rr::{RData, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

/// A DNS message, as far as it matters.
#[derive(Clone, Debug, PartialEq)]
pub struct DnsMessage {
    /// Identifier.
    pub id: u16,
    /// The first question's name, lower case, without the trailing dot.
    pub name: String,
    /// Its type: `A`, `AAAA`, `SRV`, ….
    pub kind: String,
    /// The answer; `None` for a question.
    pub answer: Option<DnsAnswer>,
}

/// The answer part of a message.
#[derive(Clone, Debug, PartialEq)]
pub struct DnsAnswer {
    /// Response code (without the extended bits where the message is cut).
    pub code: u16,
    /// Records in the answer section, as its header counts them.
    pub records: u16,
    /// The TC bit.
    pub truncated: bool,
    /// Addresses in the answer section (what could be read of it).
    pub addresses: Vec<IpAddr>,
}

/// Parses a message; `tcp` strips the length prefix.
pub(super) fn parse(payload: &[u8], tcp: bool) -> Option<DnsMessage> {
    let bytes = if tcp { payload.get(2..)? } else { payload };
    match Message::from_vec(bytes) {
        Ok(message) => {
            let question = message.queries.first()?;
            let answer = (message.metadata.message_type == MessageType::Response).then(|| DnsAnswer {
                code: message.metadata.response_code.into(),
                records: u16::try_from(message.answers.len()).unwrap_or(u16::MAX),
                truncated: message.metadata.truncation,
                addresses: message.answers.iter().filter_map(|record| address(&record.data)).collect(),
            });
            Some(named(message.metadata.id, question, answer))
        }
        Err(_) => head(bytes),
    }
}

/// Header and question alone, of a message that is cut or broken further on.
fn head(bytes: &[u8]) -> Option<DnsMessage> {
    let mut decoder = BinDecoder::new(bytes);
    let header = Header::read(&mut decoder).ok()?;
    let question = Query::read(&mut decoder).ok()?;
    let answer = (header.metadata.message_type == MessageType::Response).then(|| DnsAnswer {
        code: header.metadata.response_code.into(),
        records: header.counts.answers,
        truncated: header.metadata.truncation,
        addresses: Vec::new(),
    });
    Some(named(header.metadata.id, &question, answer))
}

fn named(id: u16, question: &Query, answer: Option<DnsAnswer>) -> DnsMessage {
    let mut name = question.name().to_lowercase().to_ascii();
    if name.len() > 1 && name.ends_with('.') {
        name.pop();
    }
    DnsMessage { id, name, kind: question.query_type().to_string(), answer }
}

fn address(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(a) => Some(IpAddr::V4(a.0)),
        RData::AAAA(a) => Some(IpAddr::V6(a.0)),
        _ => None,
    }
}

impl DnsMessage {
    /// The question asks for an address.
    #[must_use]
    pub fn wants_address(&self) -> bool {
        self.kind == RecordType::A.to_string() || self.kind == RecordType::AAAA.to_string()
    }
}
