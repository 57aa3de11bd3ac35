//! What a namespace's routing says to an address: the kernel's own look-up, and the route that decides.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use egress_core::node::{Answer, NodeNetwork, Refusal, RouteAnswer, Routed};

use crate::netlink::NetlinkError;
use crate::netlink::network;
use crate::netlink::socket::NetlinkSocket;
use crate::netlink::wire::{REQUEST, Request};

/// Size of `struct rtmsg`.
const HEADER: usize = 12;
const RTA_DST: u16 = 1;

/// Asks the kernel for the route, and reads the tables for its name.
pub(super) fn read(to: IpAddr) -> Result<Answer, NetlinkError> {
    let mut socket = NetlinkSocket::open(libc::NETLINK_ROUTE)?;
    let refused = refusal(&mut socket, to)?;
    let tables = NodeNetwork {
        routes: network::routes(&mut socket)?,
        rules: network::rules(&mut socket)?,
        ..NodeNetwork::default()
    };
    let any: IpAddr = if to.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let packet = Routed { source: any, destination: to, input: Some("lo"), mark: Some(0) };
    let route = tables.route(&packet).route.cloned();
    let links = network::links(&mut socket)?;
    let device = route
        .as_ref()
        .and_then(|route| links.iter().find(|link| link.index == route.device))
        .map(|link| link.name.clone());
    let unusable = links
        .iter()
        .filter(|link| !link.loopback && link.crosses_netns && !(link.up && link.carrier))
        .map(|link| link.name.clone())
        .collect();
    Ok(Answer::Route(RouteAnswer { refused, route, device, unusable }))
}

/// Why the kernel has no route, if it has none.
fn refusal(socket: &mut NetlinkSocket, to: IpAddr) -> Result<Option<Refusal>, NetlinkError> {
    let mut header = [0u8; HEADER];
    let bytes = match to {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    header[0] = u8::try_from(if to.is_ipv6() { libc::AF_INET6 } else { libc::AF_INET }).unwrap_or_default();
    header[1] = u8::try_from(bytes.len() * 8).unwrap_or_default();
    let request = Request::new(libc::RTM_GETROUTE, REQUEST, &header).with(RTA_DST, &bytes);
    // IPv6 answers with the route that refuses, IPv4 with its error.
    let kind = socket.get("look up a route", &request, |message| message.payload.get(7).copied());
    match kind {
        Ok(kind) => Ok(match kind {
            Some(libc::RTN_BLACKHOLE) => Some(Refusal::Blackhole),
            Some(libc::RTN_UNREACHABLE) => Some(Refusal::Unreachable),
            Some(libc::RTN_PROHIBIT) => Some(Refusal::Prohibit),
            _ => None,
        }),
        Err(error) => match error.errno().and_then(Refusal::from_errno) {
            Some(refusal) => Ok(Some(refusal)),
            None => Err(error),
        },
    }
}
