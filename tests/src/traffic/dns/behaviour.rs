//! What a lying server does with a question, by the first label of its name.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::{Name, RData, Record, RecordType};

/// Where names that are answered specially lead.
const SOMEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 4));
/// Addresses in a big answer: more than fit into 1500 bytes.
const MANY: u8 = 120;

/// An answer and what is odd about it.
#[derive(Debug)]
pub(super) struct Reply {
    /// The message.
    pub(super) bytes: Vec<u8>,
    /// How long it is kept.
    pub(super) delay: Duration,
    /// It leaves with another address than the one that was asked.
    pub(super) stray: bool,
}

impl Reply {
    /// An answer at once.
    pub(super) fn prompt(bytes: Vec<u8>) -> Self {
        Self { bytes, delay: Duration::ZERO, stray: false }
    }
}

/// The answer to a question for a name that no zone has; `known` where one has it. `None`: silence.
pub(super) fn reply(question: &Message, asked: &Query, known: Option<&[IpAddr]>, tcp: bool) -> Option<Reply> {
    let mut answer = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
    answer.metadata.recursion_desired = question.metadata.recursion_desired;
    answer.metadata.recursion_available = true;
    answer.add_query(asked.clone());
    let mut reply = Reply::prompt(Vec::new());
    let name = &asked.name;
    let label =
        name.iter().next().map(|label| String::from_utf8_lossy(label).to_lowercase()).unwrap_or_default();
    let somewhere = || records(name, asked.query_type, &[SOMEWHERE]).collect::<Vec<_>>();
    match (known, label.as_str()) {
        (Some(ips), _) => answer.answers.extend(records(name, asked.query_type, ips)),
        (None, "silent") => return None,
        // One of the pair is never answered.
        (None, "half") if asked.query_type == RecordType::AAAA => return None,
        (None, "half") => answer.answers = somewhere(),
        (None, "servfail") => answer.metadata.response_code = ResponseCode::ServFail,
        (None, "refused") => answer.metadata.response_code = ResponseCode::Refused,
        (None, "formerr") => answer.metadata.response_code = ResponseCode::FormErr,
        (None, "empty") => {}
        (None, "alias") => {
            let target = Name::from_ascii("nowhere.example.").ok()?;
            answer.add_answer(Record::from_rdata(name.clone(), 30, RData::CNAME(CNAME(target))));
        }
        // Too long for UDP, says the server.
        (None, "cut") if !tcp => answer.metadata.truncation = true,
        (None, "cut") => answer.answers = somewhere(),
        (None, "big") => big(&mut answer, question, asked, tcp),
        (None, "otherid") => {
            answer.metadata.id = answer.metadata.id.wrapping_add(1);
            answer.answers = somewhere();
        }
        (None, "stray") => {
            reply.stray = true;
            answer.answers = somewhere();
        }
        (None, label) => match label.strip_prefix("slow").and_then(|text| text.parse::<u64>().ok()) {
            Some(tenths) => {
                reply.delay = Duration::from_millis(100 * tenths);
                answer.answers = somewhere();
            }
            None => answer.metadata.response_code = ResponseCode::NXDomain,
        },
    }
    reply.bytes = answer.to_vec().ok()?;
    Some(reply)
}

/// As many addresses as the client takes, or none and the TC bit.
fn big(answer: &mut Message, question: &Message, asked: &Query, tcp: bool) {
    if asked.query_type != RecordType::A {
        return;
    }
    let many: Vec<IpAddr> = (0..MANY).map(|last| IpAddr::V4(Ipv4Addr::new(203, 0, 113, last))).collect();
    let size = question.edns.as_ref().map_or(512, hickory_proto::op::Edns::max_payload);
    if tcp || usize::from(size) > usize::from(MANY) * 16 + 64 {
        answer.answers.extend(records(&asked.name, asked.query_type, &many));
    } else {
        answer.metadata.truncation = true;
    }
}

/// The addresses of the family that was asked for.
fn records<'a>(name: &'a Name, kind: RecordType, ips: &'a [IpAddr]) -> impl Iterator<Item = Record> + 'a {
    ips.iter().filter_map(move |ip| {
        let data = match (ip, kind) {
            (IpAddr::V4(ip), RecordType::A) => RData::A((*ip).into()),
            (IpAddr::V6(ip), RecordType::AAAA) => RData::AAAA((*ip).into()),
            _ => return None,
        };
        Some(Record::from_rdata(name.clone(), 30, data))
    })
}
