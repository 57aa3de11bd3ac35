//! A stub resolver that behaves as the C library's: search list, `ndots`, both families from one socket, retries.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::Result;
use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};

use crate::client::Outcome;
use crate::plan::DNS_SERVICE;

/// Resolves a name and prints the result.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The name; a dot at its end suppresses the search list.
    pub name: String,
    /// How.
    #[command(flatten)]
    pub resolver: Resolver,
}

/// What `/etc/resolv.conf` of a pod says.
#[derive(Clone, Debug, clap::Args)]
pub struct Resolver {
    /// DNS servers, asked one after the other.
    #[arg(long, value_delimiter = ',', default_values_t = [SocketAddr::new(IpAddr::V4(DNS_SERVICE.v4), 53)])]
    pub dns: Vec<SocketAddr>,
    /// Search list.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "default.svc.cluster.local,svc.cluster.local,cluster.local"
    )]
    pub search: Vec<String>,
    /// Names with fewer dots are tried with the search list first.
    #[arg(long, default_value_t = 5)]
    pub ndots: usize,
    /// Seconds to wait for an answer.
    #[arg(long, default_value_t = 5.0)]
    pub dns_timeout: f64,
    /// How often a question is asked.
    #[arg(long, default_value_t = 2)]
    pub attempts: u32,
    /// UDP answers of so many bytes are taken (EDNS0).
    #[arg(long)]
    pub edns: Option<u16>,
    /// Ask over TCP from the start.
    #[arg(long)]
    pub tcp: bool,
    /// Ask for both families at once, not one after the other.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pub both: bool,
}

/// What came of it.
#[derive(Debug)]
pub struct Resolution {
    /// `noerror`, `nodata`, `nxdomain`, `servfail`, `refused`, `truncated`, `timeout`, `error`.
    pub outcome: String,
    /// Addresses, IPv4 first.
    pub addresses: Vec<IpAddr>,
    /// Questions sent, repetitions included.
    pub questions: u64,
}

/// Resolves and prints.
pub fn run(args: &Args) -> Result<()> {
    let start = Instant::now();
    let answer = resolve(&args.name, &args.resolver);
    super::print(&Outcome {
        outcome: answer.outcome,
        peer: args.name.clone(),
        errno: 0,
        seconds: start.elapsed().as_secs_f64(),
        count: answer.questions,
        addresses: answer.addresses,
    })
}

/// Walks the search list until a name has an address. As in the C library, NXDOMAIN and no data go on to the next
/// name; other failures end the walk.
pub fn resolve(name: &str, resolver: &Resolver) -> Resolution {
    let mut result = Resolution { outcome: "error".to_owned(), addresses: Vec::new(), questions: 0 };
    for candidate in candidates(name, resolver) {
        match ask(&candidate, resolver, &mut result) {
            Ok(word) => {
                result.outcome = word.to_owned();
                if !matches!(word, "nxdomain" | "nodata") {
                    break;
                }
            }
            Err(error) => {
                result.outcome = match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "timeout",
                    io::ErrorKind::ConnectionRefused => "refused",
                    _ => "error",
                }
                .to_owned();
                break;
            }
        }
    }
    result
}

fn candidates(name: &str, resolver: &Resolver) -> Vec<String> {
    if name.ends_with('.') {
        return vec![name.to_owned()];
    }
    let mut names: Vec<_> = resolver.search.iter().map(|suffix| format!("{name}.{suffix}.")).collect();
    let at = if name.matches('.').count() < resolver.ndots { names.len() } else { 0 };
    names.insert(at, format!("{name}."));
    names
}

/// Asks for A and AAAA of one name from one socket and waits for both.
fn ask(name: &str, resolver: &Resolver, result: &mut Resolution) -> io::Result<&'static str> {
    let name = Name::from_str(name).map_err(other)?;
    let questions = [RecordType::A, RecordType::AAAA].map(|kind| {
        let mut question = Message::query();
        question.metadata.recursion_desired = true;
        question.add_query(Query::query(name.clone(), kind));
        question.edns = resolver.edns.map(|size| {
            let mut edns = Edns::new();
            edns.set_max_payload(size);
            edns
        });
        question
    });
    let questions = if resolver.both { &questions[..] } else { &questions[..1] };
    let mut answers = vec![None; questions.len()];
    let mut last = Err(io::ErrorKind::TimedOut.into());
    // One socket a server for all attempts, as the C library has.
    let mut sockets: Vec<Option<UdpSocket>> = resolver.dns.iter().map(|_| None).collect();
    for _ in 0..resolver.attempts {
        for (server, socket) in resolver.dns.iter().zip(&mut sockets) {
            last = if resolver.tcp {
                over_tcp(*server, resolver, questions, &mut answers, result)
            } else {
                over_udp(*server, socket, resolver, questions, &mut answers, result)
            };
            if last.is_ok() && answers.iter().all(Option::is_some) {
                return Ok(judge(&answers, result));
            }
        }
    }
    last?;
    Ok(judge(&answers, result))
}

fn other(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(error.to_string())
}

/// Asks over UDP, and over TCP what is answered with the TC bit.
fn over_udp(
    server: SocketAddr,
    socket: &mut Option<UdpSocket>,
    resolver: &Resolver,
    questions: &[Message],
    answers: &mut [Option<Message>],
    result: &mut Resolution,
) -> io::Result<()> {
    let socket = match socket {
        Some(socket) => socket,
        None => {
            let fresh = UdpSocket::bind(if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
            fresh.connect(server)?;
            socket.insert(fresh)
        }
    };
    for (question, answer) in questions.iter().zip(&*answers) {
        if answer.is_none() {
            socket.send(&question.to_vec().map_err(other)?)?;
            result.questions += 1;
        }
    }
    receive(socket, resolver, questions, answers)?;
    if answers.iter().flatten().any(|answer| answer.metadata.truncation) {
        over_tcp(server, resolver, questions, answers, result)?;
    }
    Ok(())
}

/// Asks over TCP what is not answered whole: all questions in one segment.
fn over_tcp(
    server: SocketAddr,
    resolver: &Resolver,
    questions: &[Message],
    answers: &mut [Option<Message>],
    result: &mut Resolution,
) -> io::Result<()> {
    let patience = Duration::from_secs_f64(resolver.dns_timeout);
    let mut stream = TcpStream::connect_timeout(&server, patience)?;
    stream.set_read_timeout(Some(patience))?;
    let mut bytes = Vec::new();
    for (question, answer) in questions.iter().zip(answers.iter_mut()) {
        if answer.as_ref().is_none_or(|answer| answer.metadata.truncation) {
            *answer = None;
            let question = question.to_vec().map_err(other)?;
            bytes.extend(u16::try_from(question.len()).map_err(other)?.to_be_bytes());
            bytes.extend(question);
            result.questions += 1;
        }
    }
    stream.write_all(&bytes)?;
    while answers.iter().any(Option::is_none) {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut message)?;
        let message = Message::from_vec(&message).map_err(other)?;
        take(&message, questions, answers);
    }
    Ok(())
}

/// Fills in the answer of the question it belongs to.
fn take(message: &Message, questions: &[Message], answers: &mut [Option<Message>]) {
    for (question, answer) in questions.iter().zip(answers) {
        if question.metadata.id == message.metadata.id {
            *answer = Some(message.clone());
        }
    }
}

/// Fills in answers until all are there or the time is up.
fn receive(
    socket: &UdpSocket,
    resolver: &Resolver,
    questions: &[Message],
    answers: &mut [Option<Message>],
) -> io::Result<()> {
    let deadline = Instant::now() + Duration::from_secs_f64(resolver.dns_timeout);
    let mut buffer = [0; 4096];
    while answers.iter().any(Option::is_none) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        socket.set_read_timeout(Some(left))?;
        let length = socket.recv(&mut buffer)?;
        let Ok(message) = Message::from_vec(&buffer[..length]) else { continue };
        take(&message, questions, answers);
    }
    Ok(())
}

fn judge(answers: &[Option<Message>], result: &mut Resolution) -> &'static str {
    let mut word = "nodata";
    for answer in answers.iter().flatten() {
        match answer.metadata.response_code {
            ResponseCode::NoError => {}
            ResponseCode::NXDomain => word = "nxdomain",
            ResponseCode::Refused => word = "refused",
            _ => word = "servfail",
        }
        for record in &answer.answers {
            match &record.data {
                RData::A(ip) => result.addresses.push(IpAddr::V4(ip.0)),
                RData::AAAA(ip) => result.addresses.push(IpAddr::V6(ip.0)),
                _ => {}
            }
        }
    }
    if result.addresses.is_empty() { word } else { "noerror" }
}
