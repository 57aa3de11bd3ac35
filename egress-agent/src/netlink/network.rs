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

use egress_core::node::NodeNetwork;

use super::socket::NetlinkSocket;
use super::wire::Messages;

/// Name of the first device that is not the loopback, of the calling thread's namespace.
pub(super) fn first_device() -> Option<String> {
    let mut socket = NetlinkSocket::open(libc::NETLINK_ROUTE).ok()?;
    let links = links::read(&mut socket).ok()?;
    links.into_iter().filter(|link| !link.loopback).min_by_key(|link| link.index).map(|link| link.name)
}

/// What answers tell, all kinds at once.
pub(super) fn decode(messages: Messages<'_>) -> NodeNetwork {
    let mut network = NodeNetwork::default();
    let mut links = Vec::new();
    for message in messages {
        links.extend(links::decode(message));
        network.addresses.extend(addresses::decode(message));
        network.routes.extend(routes::decode(message));
    }
    network.devices = roles::devices(&links, &network.routes, &[]);
    network
}
