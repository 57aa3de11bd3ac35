//! A DNS server that can lie, fail or stay silent, chosen by the first label of the name it is asked for:
//! `nx` NXDOMAIN, `servfail` SERVFAIL, `refused` REFUSED, `empty` no records, `silent` no answer.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};

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
    });
    let mut sockets = Vec::new();
    for &address in &args.listen {
        let udp = UdpSocket::bind(address).with_context(|| format!("binding {address}"))?;
        let tcp = TcpListener::bind(address).with_context(|| format!("listening on {address}"))?;
        sockets.push((Arc::new(udp), tcp));
    }
    super::announce_ready()?;
    std::thread::scope(|scope| {
        for (udp, tcp) in sockets {
            let (for_udp, for_tcp) = (Arc::clone(&zones), Arc::clone(&zones));
            scope.spawn(move || serve_udp(&udp, &for_udp));
            scope.spawn(move || serve_tcp(&tcp, &for_tcp));
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
            if let Some(answer) = zones.answer(&question) {
                // A client that is gone is no failure of the server.
                let _ = socket.send_to(&answer, from);
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
                if let Some(answer) = zones.answer(&question) {
                    let length = u16::try_from(answer.len()).unwrap_or(0);
                    stream.write_all(&length.to_be_bytes())?;
                    stream.write_all(&answer)?;
                }
            }
        });
    }
}

impl Zones {
    /// The answer to a message, if one is given.
    fn answer(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let question = Message::from_vec(bytes).ok()?;
        let asked = question.queries.first()?.clone();
        let name = asked.name.to_ascii().trim_end_matches('.').to_lowercase();
        let known = self.addresses.get(&name);
        let below = self.own.as_ref().is_some_and(|own| format!(".{name}").ends_with(own.as_str()));
        if let (None, false, Some(forward)) = (known, below, self.forward) {
            return ask(forward, bytes);
        }

        let mut answer = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
        answer.metadata.recursion_desired = question.metadata.recursion_desired;
        answer.metadata.recursion_available = true;
        answer.add_query(asked.clone());
        answer.metadata.response_code = match (known, name.split('.').next()) {
            (Some(ips), _) => {
                answer.answers.extend(records(&asked.name, asked.query_type, ips));
                ResponseCode::NoError
            }
            (None, Some("silent")) => return None,
            (None, Some("servfail")) => ResponseCode::ServFail,
            (None, Some("refused")) => ResponseCode::Refused,
            (None, Some("empty")) => ResponseCode::NoError,
            (None, _) => ResponseCode::NXDomain,
        };
        answer.to_vec().ok()
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

/// Passes a question on and its answer back, unread.
fn ask(server: SocketAddr, question: &[u8]) -> Option<Vec<u8>> {
    let socket = UdpSocket::bind(if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).ok()?;
    socket.connect(server).ok()?;
    socket.set_read_timeout(Some(FORWARD_TIMEOUT)).ok()?;
    socket.send(question).ok()?;
    let mut buffer = vec![0; 4096];
    let length = socket.recv(&mut buffer).ok()?;
    buffer.truncate(length);
    Some(buffer)
}
