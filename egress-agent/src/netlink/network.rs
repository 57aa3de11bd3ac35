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

use egress_core::node::{NodeNetwork, Route, Rule};

use super::NetlinkError;
use super::socket::NetlinkSocket;
use super::wire::Messages;
pub(super) use links::Link;

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

/// A device of the socket's namespace.
pub(super) fn link(socket: &mut NetlinkSocket, index: u32) -> Result<Option<Link>, NetlinkError> {
    Ok(links(socket)?.into_iter().find(|link| link.index == index))
}

/// The devices of the socket's namespace.
pub(super) fn links(socket: &mut NetlinkSocket) -> Result<Vec<Link>, NetlinkError> {
    links::read(socket)
}

/// The routes of all tables of the socket's namespace.
pub(super) fn routes(socket: &mut NetlinkSocket) -> Result<Vec<Route>, NetlinkError> {
    routes::read(socket)
}

/// The rules of policy routing of the socket's namespace.
pub(super) fn rules(socket: &mut NetlinkSocket) -> Result<Vec<Rule>, NetlinkError> {
    rules::read(socket)
}

/// What answers tell, all kinds at once.
pub(super) fn decode(messages: Messages<'_>) -> NodeNetwork {
    let mut network = NodeNetwork::default();
    let mut links = Vec::new();
    for message in messages {
        links.extend(links::decode(message));
        network.addresses.extend(addresses::decode(message));
        network.routes.extend(routes::decode(message));
        network.rules.extend(rules::decode(message));
    }
    network.devices = roles::devices(&links, &network.routes, &[]);
    network
}
