//! DNS messages, with hickory's parser; what is cut off is left out.

use std::fmt;
use std::net::IpAddr;

use hickory_proto::op::{Header, MessageType, OpCode, Query};
use hickory_proto::rr::{RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

/// Messages of one TCP segment that are read at most.
const IN_SEGMENT: usize = 8;
/// Answer records that are read at most.
const RECORDS: u16 = 64;
/// Bytes of a message's header.
const HEADER: usize = 12;

/// A DNS message, as far as it matters.
#[derive(Clone, Debug, PartialEq)]
pub struct DnsMessage {
    /// Identifier.
    pub id: u16,
    /// The question's name: lower case, without the trailing dot, other characters than printable ones escaped as
    /// `\ddd`. Empty if an error answer carries no question.
    pub name: String,
    /// Its type.
    pub kind: DnsType,
    /// Largest UDP answer the sender takes, bytes (EDNS0); `None`: the 512 of old, or not seen.
    pub edns: Option<u16>,
    /// The answer; `None` for a question.
    pub answer: Option<DnsAnswer>,
    /// The message behind it in the same TCP segment.
    pub next: Option<Box<DnsMessage>>,
}

/// The answer part of a message.
#[derive(Clone, Debug, PartialEq)]
pub struct DnsAnswer {
    /// Response code, the four bits of the header.
    pub code: u16,
    /// Records in the answer section, as its header counts them.
    pub records: u16,
    /// The TC bit.
    pub truncated: bool,
    /// All of the answer section could be read.
    pub complete: bool,
    /// It came as the first fragment of a larger packet.
    pub fragmented: bool,
    /// Addresses in the answer section (what could be read of it).
    pub addresses: Vec<IpAddr>,
}

/// Type of a question, as IANA numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DnsType(pub u16);

impl DnsType {
    /// IPv4 address.
    pub const A: Self = Self(1);
    /// IPv6 address.
    pub const AAAA: Self = Self(28);

    /// It asks for an address.
    #[must_use]
    pub fn wants_address(self) -> bool {
        self == Self::A || self == Self::AAAA
    }
}

impl fmt::Display for DnsType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match RecordType::from(self.0) {
            // RFC 3597.
            RecordType::Unknown(number) => write!(f, "TYPE{number}"),
            known => known.fmt(f),
        }
    }
}

impl DnsMessage {
    /// This message and those behind it in the same TCP segment.
    pub fn chain(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |message| message.next.as_deref())
    }
}

/// Parses a payload. Over TCP a length stands before each message, and several may share a segment.
pub(super) fn parse(payload: &[u8], tcp: bool) -> Option<DnsMessage> {
    if !tcp {
        return message(payload);
    }
    // Some clients send the length in a segment of its own.
    segment(payload).or_else(|| message(payload))
}

fn segment(payload: &[u8]) -> Option<DnsMessage> {
    let mut messages = Vec::new();
    let mut rest = payload;
    while let (Some((length, behind)), true) = (rest.split_first_chunk::<2>(), messages.len() < IN_SEGMENT) {
        let length = usize::from(u16::from_be_bytes(*length));
        let body = behind.get(..length).unwrap_or(behind);
        let Some(found) = (length > HEADER).then(|| message(body)).flatten() else { break };
        messages.push(found);
        rest = behind.get(length..).unwrap_or_default();
    }
    messages.into_iter().rev().reduce(|next, first| DnsMessage { next: Some(Box::new(next)), ..first })
}

fn message(bytes: &[u8]) -> Option<DnsMessage> {
    let mut decoder = BinDecoder::new(bytes);
    let header = Header::read(&mut decoder).ok()?;
    let (metadata, counts) = (header.metadata, header.counts);
    let is_answer = metadata.message_type == MessageType::Response;
    // Notifications and updates are no questions, and nobody asks two at once.
    if metadata.op_code != OpCode::Query || counts.queries > 1 || (counts.queries == 0 && !is_answer) {
        return None;
    }
    let (name, kind) = match counts.queries {
        0 => (String::new(), DnsType(0)),
        _ => {
            let question = Query::read(&mut decoder).ok()?;
            (lower(question.name().to_ascii()), DnsType(question.query_type().into()))
        }
    };
    let answer = is_answer.then(|| {
        let (addresses, complete) = addresses(&mut decoder, counts.answers);
        DnsAnswer {
            code: metadata.response_code.into(),
            records: counts.answers,
            truncated: metadata.truncation,
            complete,
            fragmented: false,
            addresses,
        }
    });
    let edns = if is_answer || counts.additionals == 0 { None } else { edns(bytes.get(decoder.index()..)) };
    Some(DnsMessage { id: metadata.id, name, kind, edns, answer, next: None })
}

/// Reads the answer section until it ends or is cut. Gives its addresses, and whether that was all.
fn addresses(decoder: &mut BinDecoder<'_>, records: u16) -> (Vec<IpAddr>, bool) {
    let mut addresses = Vec::new();
    for _ in 0..records.min(RECORDS) {
        match Record::read(decoder).map(|record| record.data) {
            Ok(RData::A(a)) => addresses.push(IpAddr::V4(a.0)),
            Ok(RData::AAAA(a)) => addresses.push(IpAddr::V6(a.0)),
            Ok(_) => {}
            Err(_) => return (addresses, false),
        }
    }
    (addresses, records <= RECORDS)
}

/// The UDP size of the OPT record (RFC 6891) behind a question: root name, type 41, size in the place of the class.
fn edns(behind: Option<&[u8]>) -> Option<u16> {
    match behind? {
        [0, 0, 41, high, low, ..] => Some(u16::from_be_bytes([*high, *low])),
        _ => None,
    }
}

fn lower(mut name: String) -> String {
    name.make_ascii_lowercase();
    if name.len() > 1 && name.ends_with('.') {
        name.pop();
    }
    name
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use hickory_proto::op::{Edns, Message, ResponseCode};
    use hickory_proto::rr::{Name, RecordType};

    use super::*;

    fn question(id: u16, name: &str) -> Message {
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.add_query(Query::query(Name::from_str(name).unwrap(), RecordType::A));
        message
    }

    fn prefixed(message: &Message) -> Vec<u8> {
        let bytes = message.to_vec().unwrap();
        [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes.as_slice()].concat()
    }

    #[test]
    fn a_question_tells_its_name_type_and_size() {
        let mut asked = question(7, "API.Stripe.com.");
        let mut edns = Edns::new();
        edns.set_max_payload(4096);
        asked.edns = Some(edns);
        let read = parse(&asked.to_vec().unwrap(), false).unwrap();
        assert_eq!((read.id, read.name.as_str(), read.kind), (7, "api.stripe.com", DnsType::A));
        assert_eq!((read.edns, read.answer), (Some(4096), None));
    }

    #[test]
    fn an_answer_that_is_cut_keeps_what_could_be_read() {
        let mut answer = question(7, "api.stripe.com.");
        answer.metadata.message_type = MessageType::Response;
        for last in 1..=3 {
            let address = RData::A(std::net::Ipv4Addr::new(203, 0, 113, last).into());
            answer.add_answer(Record::from_rdata(Name::from_str("api.stripe.com.").unwrap(), 60, address));
        }
        let bytes = answer.to_vec().unwrap();
        let read = parse(&bytes[..bytes.len() - 1], false).unwrap().answer.unwrap();
        assert_eq!((read.records, read.addresses.len()), (3, 2));
    }

    #[test]
    fn an_error_without_a_question_is_an_answer() {
        let mut error = Message::new(9, MessageType::Response, OpCode::Query);
        error.metadata.response_code = ResponseCode::FormErr;
        let read = parse(&error.to_vec().unwrap(), false).unwrap();
        assert_eq!((read.id, read.name.as_str(), read.answer.unwrap().code), (9, "", 1));
    }

    #[test]
    fn a_segment_holds_several_messages_and_may_end_in_the_middle() {
        let two = [prefixed(&question(1, "a.example.")), prefixed(&question(2, "b.example."))].concat();
        let read = parse(&two, true).unwrap();
        assert_eq!(
            read.chain().map(|m| (m.id, m.name.as_str())).collect::<Vec<_>>(),
            [(1, "a.example"), (2, "b.example")]
        );
        let one = parse(&two[..two.len() - 6], true).unwrap();
        assert_eq!(one.chain().count(), 1);
        let bare = parse(&question(3, "c.example.").to_vec().unwrap(), true).unwrap();
        assert_eq!(bare.id, 3);
        assert_eq!(parse(&[0, 40], true), None);
    }

    #[test]
    fn what_is_no_question_is_none() {
        let mut update = question(1, "example.");
        update.metadata.op_code = OpCode::Update;
        assert_eq!(parse(&update.to_vec().unwrap(), false), None);
        assert_eq!(parse(b"not dns at all, but long enough to be", false), None);
        // A name that points to itself.
        let mut looping = question(1, "a.").to_vec().unwrap();
        looping[12..14].copy_from_slice(&[0xc0, 12]);
        assert_eq!(parse(&looping, false), None);
    }

    #[test]
    fn odd_characters_are_escaped_and_odd_types_numbered() {
        let mut bytes = question(1, "a.").to_vec().unwrap();
        bytes.splice(12..15, [2, 7, b'"', 0]);
        let read = parse(&bytes, false).unwrap();
        assert!(read.name.chars().all(|c| c.is_ascii_graphic()), "{}", read.name);
        assert_eq!(DnsType(65400).to_string(), "TYPE65400");
        assert_eq!(DnsType::AAAA.to_string(), "AAAA");
    }
}
