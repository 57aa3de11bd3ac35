//! Queues of sockets (`SOCK_DIAG_BY_FAMILY`, `include/uapi/linux/inet_diag.h`).

use std::net::IpAddr;

use egress_core::node::{Answer, Queue};
use egress_core::protocol::Protocol;
use egress_core::verdict::SocketAddress;

use crate::netlink::NetlinkError;
use crate::netlink::socket::NetlinkSocket;
use crate::netlink::wire::{Attributes, DUMP, Message, REQUEST, Request, be16, u32_at};

/// `SOCK_DIAG_BY_FAMILY`
const BY_FAMILY: u16 = 20;
/// Size of `struct inet_diag_req_v2`.
const REQUEST_SIZE: usize = 56;
/// Size of `struct inet_diag_msg`.
const HEADER: usize = 72;
/// `INET_DIAG_SKMEMINFO`
const MEMORY: u16 = 7;
/// `SK_MEMINFO_*`: offsets of what is used, the limit, and drops.
const USED: usize = 0;
const LIMIT: usize = 4;
const DROPS: usize = 32;
/// `TCP_LISTEN`
const LISTEN: u32 = 10;

/// A socket that receives what is sent to a port.
struct Receiver {
    ip: IpAddr,
    port: u16,
    queue: Queue,
}

/// Reads the queue of the socket that receives what is sent to this address; of several, the fullest.
pub(super) fn read(protocol: Protocol, to: SocketAddress) -> Result<Option<Answer>, NetlinkError> {
    let (number, states) = match protocol {
        Protocol::Tcp => (libc::IPPROTO_TCP, 1 << LISTEN),
        Protocol::Udp => (libc::IPPROTO_UDP, u32::MAX),
        Protocol::Sctp | Protocol::Icmp | Protocol::Other => return Ok(None),
    };
    let mut socket = NetlinkSocket::open(libc::NETLINK_SOCK_DIAG)?;
    let mut found = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        let mut request = [0u8; REQUEST_SIZE];
        request[0] = u8::try_from(family).unwrap_or_default();
        request[1] = u8::try_from(number).unwrap_or_default();
        request[2] = 1 << (MEMORY - 1);
        request[4..8].copy_from_slice(&states.to_ne_bytes());
        let request = Request::new(BY_FAMILY, REQUEST | DUMP, &request);
        let receivers = socket.dump("list sockets", &request, |message| decode(message, protocol))?;
        found.extend(receivers.into_iter().filter(|receiver| receiver.port == to.port));
    }
    // A socket of this very address goes before one of any address.
    let exact = found.iter().any(|receiver| receiver.ip == to.ip);
    let fits = |receiver: &&Receiver| if exact { receiver.ip == to.ip } else { receiver.ip.is_unspecified() };
    let fullest = found.iter().filter(fits).map(|receiver| receiver.queue).max_by_key(fill);
    Ok(fullest.map(Answer::Socket))
}

/// How full a queue is, in thousandths.
fn fill(queue: &Queue) -> u64 {
    u64::from(queue.queued) * 1000 / u64::from(queue.limit.max(1))
}

fn decode(message: Message<'_>, protocol: Protocol) -> Option<Receiver> {
    let header = message.payload.get(..HEADER)?;
    let port = be16(header.get(4..)?)?;
    let ip: IpAddr = if i32::from(header[0]) == libc::AF_INET {
        <[u8; 4]>::try_from(header.get(8..12)?).ok()?.into()
    } else {
        IpAddr::from(<[u8; 16]>::try_from(header.get(8..24)?).ok()?).to_canonical()
    };
    let memory = Attributes::after(message.payload, HEADER).get(MEMORY).unwrap_or_default();
    let drops = u32_at(memory, DROPS).unwrap_or(0);
    let queue = if protocol == Protocol::Tcp {
        // Of a listener: connections that wait to be accepted, and how many may.
        Queue { queued: u32_at(header, 56)?, limit: u32_at(header, 60)?, drops }
    } else {
        Queue { queued: u32_at(memory, USED)?, limit: u32_at(memory, LIMIT)?, drops }
    };
    Some(Receiver { ip, port, queue })
}
