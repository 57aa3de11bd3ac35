//! Routes of all tables (`RTM_GETROUTE`, `include/uapi/linux/rtnetlink.h`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use egress_core::node::Route;
use ipnet::IpNet;

use crate::netlink::NetlinkError;
use crate::netlink::socket::NetlinkSocket;
use crate::netlink::wire::{Attributes, DUMP, Message, REQUEST, Request, address, u16_at, u32_at};

/// Size of `struct rtmsg`.
const HEADER: usize = 12;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const RTA_VIA: u16 = 18;
/// Size of `struct rtnexthop`.
const NEXT_HOP: usize = 8;
/// `RTM_F_CLONED`: a cached route, no entry of a table.
const CLONED: u32 = 0x200;

/// Reads the routes of all tables of the socket's namespace, one entry for each next hop. Broadcast, anycast and
/// multicast entries are left out.
pub(super) fn read(socket: &mut NetlinkSocket) -> Result<Vec<Route>, NetlinkError> {
    let mut routes = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        let mut header = [0u8; HEADER];
        header[0] = u8::try_from(family).unwrap_or_default();
        let request = Request::new(libc::RTM_GETROUTE, REQUEST | DUMP, &header);
        let entries = socket.dump("list routes", &request, |message| Some(decode(message)))?;
        routes.extend(entries.into_iter().flatten());
    }
    Ok(routes)
}

pub(super) fn decode(message: Message<'_>) -> Vec<Route> {
    if message.kind != libc::RTM_NEWROUTE {
        return Vec::new();
    }
    decode_entry(message.payload).unwrap_or_default()
}

fn decode_entry(payload: &[u8]) -> Option<Vec<Route>> {
    let (family, prefix) = (i32::from(*payload.first()?), *payload.get(1)?);
    let kind = match *payload.get(7)? {
        libc::RTN_UNICAST => "unicast",
        libc::RTN_LOCAL => "local",
        libc::RTN_BLACKHOLE => "blackhole",
        libc::RTN_UNREACHABLE => "unreachable",
        libc::RTN_PROHIBIT => "prohibit",
        libc::RTN_THROW => "throw",
        _ => return None,
    };
    if u32_at(payload, 8)? & CLONED != 0 {
        return None;
    }
    let any: IpAddr = match family {
        libc::AF_INET => Ipv4Addr::UNSPECIFIED.into(),
        libc::AF_INET6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    let attributes = Attributes::after(payload, HEADER);
    let destination = match attributes.get(RTA_DST) {
        Some(bytes) => address(bytes)?,
        None => any,
    };
    let route = Route {
        // Tables above 255 do not fit the header's byte.
        table: attributes.u32(RTA_TABLE).unwrap_or_else(|| u32::from(payload[4])),
        destination: IpNet::new(destination, prefix).ok()?,
        kind: kind.to_owned(),
        device: attributes.u32(RTA_OIF).unwrap_or(0),
        gateway: gateway(attributes),
        priority: attributes.u32(RTA_PRIORITY).unwrap_or(0),
    };
    Some(match attributes.get(RTA_MULTIPATH) {
        None => vec![route],
        Some(hops) => {
            next_hops(hops).map(|(device, gateway)| Route { device, gateway, ..route.clone() }).collect()
        }
    })
}

fn gateway(attributes: Attributes<'_>) -> Option<IpAddr> {
    // An IPv4 route may go through an IPv6 next hop: RTA_VIA holds its family (two bytes) and address.
    address(attributes.get(RTA_GATEWAY).or_else(|| attributes.get(RTA_VIA)?.get(2..))?)
}

fn next_hops(mut hops: &[u8]) -> impl Iterator<Item = (u32, Option<IpAddr>)> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(hops, 0)?);
        let device = u32_at(hops, 4)?;
        let attributes = Attributes(hops.get(NEXT_HOP..length)?);
        hops = hops.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((device, gateway(attributes)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::wire::Messages;

    fn header(family: i32, prefix: u8, table: u8, kind: u8) -> [u8; HEADER] {
        let family = u8::try_from(family).unwrap();
        [family, prefix, 0, 0, table, 0, 0, kind, 0, 0, 0, 0]
    }

    fn decoded(request: Request) -> Vec<Route> {
        decode(Messages(&request.finish(1)).next().unwrap())
    }

    #[test]
    fn a_default_route_of_a_high_table() {
        let request = Request::new(libc::RTM_NEWROUTE, 0, &header(libc::AF_INET, 0, 252, libc::RTN_UNICAST))
            .with(RTA_TABLE, &1000u32.to_ne_bytes())
            .with(RTA_OIF, &2u32.to_ne_bytes())
            .with(RTA_GATEWAY, &[192, 0, 2, 1])
            .with(RTA_PRIORITY, &100u32.to_ne_bytes());
        let expected = Route {
            table: 1000,
            destination: "0.0.0.0/0".parse().unwrap(),
            kind: "unicast".to_owned(),
            device: 2,
            gateway: Some("192.0.2.1".parse().unwrap()),
            priority: 100,
        };
        assert_eq!(decoded(request), [expected]);
    }

    #[test]
    fn each_next_hop_of_a_multipath_route_is_a_route() {
        let mut hops = Vec::new();
        for (device, via) in [(3u32, [10, 0, 0, 1]), (4, [10, 0, 1, 1])] {
            hops.extend_from_slice(&16u16.to_ne_bytes());
            hops.extend_from_slice(&[0, 0]);
            hops.extend_from_slice(&device.to_ne_bytes());
            hops.extend_from_slice(&8u16.to_ne_bytes());
            hops.extend_from_slice(&RTA_GATEWAY.to_ne_bytes());
            hops.extend_from_slice(&via);
        }
        let request = Request::new(libc::RTM_NEWROUTE, 0, &header(libc::AF_INET, 0, 254, libc::RTN_UNICAST))
            .with(RTA_MULTIPATH, &hops);
        let routes: Vec<_> = decoded(request).into_iter().map(|r| (r.device, r.gateway.unwrap())).collect();
        assert_eq!(routes, [(3, "10.0.0.1".parse().unwrap()), (4, "10.0.1.1".parse().unwrap())]);
    }

    #[test]
    fn refusing_routes_are_kept_and_broadcast_is_not() {
        let destination = std::net::Ipv6Addr::LOCALHOST.octets();
        let refusing =
            Request::new(libc::RTM_NEWROUTE, 0, &header(libc::AF_INET6, 128, 254, libc::RTN_PROHIBIT))
                .with(RTA_DST, &destination);
        let route = &decoded(refusing)[0];
        assert_eq!((route.kind.as_str(), route.destination.to_string()), ("prohibit", "::1/128".to_owned()));
        let broadcast =
            Request::new(libc::RTM_NEWROUTE, 0, &header(libc::AF_INET, 32, 255, libc::RTN_BROADCAST));
        assert_eq!(decoded(broadcast), []);
    }
}
