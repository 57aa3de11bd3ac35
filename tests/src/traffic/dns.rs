//! A DNS server that can lie, fail or stay silent, chosen by the first label of the name it is asked for:
//! `nx` NXDOMAIN, `servfail` SERVFAIL, `refused` REFUSED, `formerr` FORMERR, `empty` no records, `alias` an alias that
//! leads nowhere, `silent` no answer, `half` none for IPv6, `slowN` after N tenths of a second, `cut` the TC bit over
//! UDP, `big` more than a packet, `otherid` with another identifier, `stray` from another address.

mod behaviour;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};

use behaviour::Reply;

/// How long the answer of the server behind is awaited.
const FORWARD_TIMEOUT: Duration = Duration::from_secs(10);

/// Answers DNS questions over UDP and TCP.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Addresses with ports.
    #[arg(required = true)]
    pub listen: Vec<SocketAddr>,
    /// A name and an address of it; may be given more than once for a name.
    #[arg(long, value_name = "NAME=IP")]
    pub zone: Vec<Entry>,
    /// Names below this one that are not in a zone do not exist.
    #[arg(long)]
    pub own: Option<String>,
    /// Ask this server for names that are neither in a zone nor below `--own`.
    #[arg(long)]
    pub forward: Option<SocketAddr>,
    /// Answer SERVFAIL when that one has been silent for so many seconds, as servers do.
    #[arg(long, default_value_t = 0.0)]
    pub give_up: f64,
    /// Ask on with an identifier of its own.
    #[arg(long)]
    pub own_identifier: bool,
    /// Where the answers to `stray` names come from.
    #[arg(long)]
    pub stray: Option<SocketAddr>,
    /// Do not answer over TCP, nor listen there.
    #[arg(long)]
    pub udp_only: bool,
}

/// `NAME=IP`.
#[derive(Clone, Debug)]
pub struct Entry {
    name: String,
    ip: IpAddr,
}

impl FromStr for Entry {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, ip) = text.split_once('=').ok_or_else(|| format!("\"{text}\" is not NAME=IP"))?;
        let ip = ip.parse().map_err(|e| format!("\"{ip}\": {e}"))?;
        Ok(Self { name: name.to_lowercase(), ip })
    }
}

/// What the server knows.
#[derive(Debug)]
struct Zones {
    addresses: HashMap<String, Vec<IpAddr>>,
    own: Option<String>,
    forward: Option<SocketAddr>,
    give_up: Option<Duration>,
    own_identifier: bool,
    stray: Option<SocketAddr>,
}

/// Answers until killed.
pub fn run(args: &Args) -> Result<()> {
    let mut addresses: HashMap<String, Vec<IpAddr>> = HashMap::new();
    for entry in &args.zone {
        addresses.entry(entry.name.clone()).or_default().push(entry.ip);
    }
    let zones = Arc::new(Zones {
        addresses,
        own: args.own.as_ref().map(|own| format!(".{}", own.to_lowercase())),
        forward: args.forward,
        give_up: (args.give_up > 0.0).then(|| Duration::from_secs_f64(args.give_up)),
        own_identifier: args.own_identifier,
        stray: args.stray,
    });
    let mut sockets = Vec::new();
    for &address in &args.listen {
        let udp = UdpSocket::bind(address).with_context(|| format!("binding {address}"))?;
        let tcp = if args.udp_only {
            None
        } else {
            Some(TcpListener::bind(address).with_context(|| format!("listening on {address}"))?)
        };
        sockets.push((Arc::new(udp), tcp));
    }
    super::announce_ready()?;
    std::thread::scope(|scope| {
        for (udp, tcp) in sockets {
            let (for_udp, for_tcp) = (Arc::clone(&zones), Arc::clone(&zones));
            scope.spawn(move || serve_udp(&udp, &for_udp));
            if let Some(tcp) = tcp {
                scope.spawn(move || serve_tcp(&tcp, &for_tcp));
            }
        }
    });
    Ok(())
}

fn serve_udp(socket: &Arc<UdpSocket>, zones: &Arc<Zones>) {
    let mut buffer = [0; 4096];
    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
        let question = buffer[..length].to_vec();
        let (socket, zones) = (Arc::clone(socket), Arc::clone(zones));
        // A thread a question: one that is forwarded must not hold up the next.
        std::thread::spawn(move || {
            if let Some(reply) = zones.answer(&question, false) {
                std::thread::sleep(reply.delay);
                // A client that is gone is no failure of the server.
                let _ = if reply.stray {
                    send_stray(zones.stray, &reply.bytes, from)
                } else {
                    socket.send_to(&reply.bytes, from)
                };
            }
        });
    }
}

fn serve_tcp(listener: &TcpListener, zones: &Arc<Zones>) {
    for mut stream in listener.incoming().map_while(Result::ok) {
        let zones = Arc::clone(zones);
        std::thread::spawn(move || -> std::io::Result<()> {
            loop {
                let mut length = [0; 2];
                stream.read_exact(&mut length)?;
                let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut question)?;
                if let Some(reply) = zones.answer(&question, true) {
                    std::thread::sleep(reply.delay);
                    let length = u16::try_from(reply.bytes.len()).unwrap_or(0);
                    // One write, as servers do that mind small segments.
                    stream.write_all(&[length.to_be_bytes().as_slice(), &reply.bytes].concat())?;
                }
            }
        });
    }
}

impl Zones {
    /// The answer to a message, if one is given.
    fn answer(&self, bytes: &[u8], tcp: bool) -> Option<Reply> {
        let question = Message::from_vec(bytes).ok()?;
        let asked = question.queries.first()?.clone();
        let name = asked.name.to_ascii().trim_end_matches('.').to_lowercase();
        let known = self.addresses.get(&name);
        let below = self.own.as_ref().is_some_and(|own| format!(".{name}").ends_with(own.as_str()));
        match (known, below, self.forward) {
            (None, false, Some(forward)) => self.ask(forward, &question, bytes).map(Reply::prompt),
            _ => behaviour::reply(&question, &asked, known.map(Vec::as_slice), tcp),
        }
    }

    /// Passes a question on and its answer back, unread.
    fn ask(&self, server: SocketAddr, question: &Message, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = bytes.to_vec();
        if self.own_identifier {
            bytes.splice(..2, question.metadata.id.wrapping_add(0x1234).to_be_bytes());
        }
        let mut answer = exchange(server, &bytes, self.give_up.unwrap_or(FORWARD_TIMEOUT));
        if let Some(answer) = answer.as_mut().filter(|answer| answer.len() >= 2) {
            answer.splice(..2, question.metadata.id.to_be_bytes());
        }
        if answer.is_some() || self.give_up.is_none() {
            return answer;
        }
        let mut failure = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
        failure.metadata.response_code = ResponseCode::ServFail;
        failure.add_queries(question.queries.iter().cloned());
        failure.to_vec().ok()
    }
}

/// Asks a server once.
fn exchange(server: SocketAddr, question: &[u8], patience: Duration) -> Option<Vec<u8>> {
    let socket = UdpSocket::bind(if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).ok()?;
    socket.connect(server).ok()?;
    socket.set_read_timeout(Some(patience)).ok()?;
    socket.send(question).ok()?;
    let mut buffer = vec![0; 4096];
    let length = socket.recv(&mut buffer).ok()?;
    buffer.truncate(length);
    Some(buffer)
}

/// Sends with another address.
fn send_stray(from: Option<SocketAddr>, answer: &[u8], to: SocketAddr) -> std::io::Result<usize> {
    let from = from.ok_or(std::io::ErrorKind::InvalidInput)?;
    UdpSocket::bind(from)?.send_to(answer, to)
}
