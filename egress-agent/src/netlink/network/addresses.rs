//! The node's own addresses (`RTM_GETADDR`, `include/uapi/linux/if_addr.h`).

use std::net::IpAddr;

use crate::netlink::NetlinkError;
use crate::netlink::socket::NetlinkSocket;
use crate::netlink::wire::{Attributes, DUMP, Message, REQUEST, Request, address};

/// Size of `struct ifaddrmsg`.
const HEADER: usize = 8;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;

/// Reads all addresses of the socket's namespace, sorted, each once.
pub(super) fn read(socket: &mut NetlinkSocket) -> Result<Vec<IpAddr>, NetlinkError> {
    let request = Request::new(libc::RTM_GETADDR, REQUEST | DUMP, &[0; HEADER]);
    let mut addresses = socket.dump("list addresses", &request, decode)?;
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}

pub(super) fn decode(message: Message<'_>) -> Option<IpAddr> {
    if message.kind != libc::RTM_NEWADDR {
        return None;
    }
    let attributes = Attributes::after(message.payload, HEADER);
    // On a point-to-point device IFA_ADDRESS is the other end; IFA_LOCAL, where there is one, is ours.
    address(attributes.get(IFA_LOCAL).or_else(|| attributes.get(IFA_ADDRESS))?)
}
