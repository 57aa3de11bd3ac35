//! Devices, addresses and routes of the node's namespace, and their changes.

mod addresses;
mod links;
mod roles;
mod routes;
mod rules;
#[cfg(test)]
mod tests;
mod watch;

pub use watch::{NetworkWatch, read, watch};

use super::socket::NetlinkSocket;

/// Name and MTU of the first device that is not the loopback, of the calling thread's namespace.
pub(super) fn first_device() -> Option<(String, u32)> {
    let mut socket = NetlinkSocket::open(libc::NETLINK_ROUTE).ok()?;
    let links = links::read(&mut socket).ok()?;
    links
        .into_iter()
        .filter(|link| !link.loopback)
        .min_by_key(|link| link.index)
        .map(|link| (link.name, link.mtu))
}
