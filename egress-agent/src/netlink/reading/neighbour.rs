//! Neighbours (`RTM_GETNEIGH`, `include/uapi/linux/neighbour.h`).

use std::net::IpAddr;

use egress_core::node::Answer;

use crate::netlink::NetlinkError;
use crate::netlink::socket::NetlinkSocket;
use crate::netlink::wire::{Attributes, DUMP, Message, REQUEST, Request, address, u16_at, u32_at};

/// Size of `struct ndmsg`.
const HEADER: usize = 12;
const NDA_DST: u16 = 1;

/// Reads the state of a neighbour.
pub(super) fn read(index: u32, ip: IpAddr) -> Result<Option<Answer>, NetlinkError> {
    let mut socket = NetlinkSocket::open(libc::NETLINK_ROUTE)?;
    let mut header = [0u8; HEADER];
    header[0] = u8::try_from(if ip.is_ipv6() { libc::AF_INET6 } else { libc::AF_INET }).unwrap_or_default();
    let request = Request::new(libc::RTM_GETNEIGH, REQUEST | DUMP, &header);
    let states = socket.dump("list neighbours", &request, |message| decode(message, index, ip))?;
    Ok(states.into_iter().next().map(|state| Answer::Neighbour { state: state.to_owned() }))
}

fn decode(message: Message<'_>, index: u32, ip: IpAddr) -> Option<&'static str> {
    let attributes = Attributes::after(message.payload, HEADER);
    if message.kind != libc::RTM_NEWNEIGH
        || u32_at(message.payload, 4)? != index
        || address(attributes.get(NDA_DST)?)? != ip
    {
        return None;
    }
    // `NUD_*`
    Some(match u16_at(message.payload, 8)? {
        0x01 => "incomplete",
        0x02 => "reachable",
        0x04 => "stale",
        0x08 => "delay",
        0x10 => "probe",
        0x20 => "failed",
        0x40 => "noarp",
        0x80 => "permanent",
        _ => "none",
    })
}
