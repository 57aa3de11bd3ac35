//! A conntrack tuple on the wire (`include/uapi/linux/netfilter/nfnetlink_conntrack.h`).

use std::net::IpAddr;

use egress_core::node::{ConntrackQuery, Towards};
use egress_core::protocol::Protocol;
use egress_core::verdict::SocketAddress;

use crate::netlink::wire::{Attributes, Request, address, be16};

const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
const CTA_PROTO_ICMP_ID: u16 = 4;
const CTA_PROTO_ICMP_TYPE: u16 = 5;
const CTA_PROTO_ICMP_CODE: u16 = 6;
const CTA_PROTO_ICMPV6_ID: u16 = 7;
const CTA_PROTO_ICMPV6_TYPE: u16 = 8;
const CTA_PROTO_ICMPV6_CODE: u16 = 9;

/// A tuple ready to be written.
pub(super) struct Encoded {
    /// Address family.
    pub(super) family: u8,
    query: ConntrackQuery,
    protocol: u8,
}

/// Prepares the tuple of a question; `None` for one that conntrack cannot be asked.
///
/// ICMP means an echo request; its identifier is the source port, the destination port means nothing.
pub(super) fn encode(query: &ConntrackQuery) -> Option<Encoded> {
    let v4 = match (query.source.ip, query.destination.ip) {
        (IpAddr::V4(_), IpAddr::V4(_)) => true,
        (IpAddr::V6(_), IpAddr::V6(_)) => false,
        _ => return None,
    };
    let protocol = match (query.protocol, v4) {
        (Protocol::Tcp, _) => libc::IPPROTO_TCP,
        (Protocol::Udp, _) => libc::IPPROTO_UDP,
        (Protocol::Sctp, _) => libc::IPPROTO_SCTP,
        (Protocol::Icmp, true) => libc::IPPROTO_ICMP,
        (Protocol::Icmp, false) => libc::IPPROTO_ICMPV6,
        (Protocol::Other, _) => return None,
    };
    let family = if v4 { libc::AF_INET } else { libc::AF_INET6 };
    Some(Encoded {
        family: u8::try_from(family).ok()?,
        query: *query,
        protocol: u8::try_from(protocol).ok()?,
    })
}

/// Prepares the reply tuple of flows towards a destination; their port is left open.
pub(super) fn encode_reply(towards: &Towards) -> Option<Encoded> {
    let Towards { protocol, source, destination } = *towards;
    encode(&ConntrackQuery {
        protocol,
        source: destination,
        destination: SocketAddress { ip: source, port: 0 },
    })
}

impl Encoded {
    /// Writes the tuple as this attribute.
    pub(super) fn write_in(&self, request: Request, attribute: u16) -> Request {
        request.nest(attribute, |attributes| self.write(attributes))
    }

    /// Writes the attributes of the tuple.
    pub(super) fn write(&self, request: Request) -> Request {
        let (source, destination) = (self.query.source, self.query.destination);
        let request = request.nest(CTA_TUPLE_IP, |ip| match (source.ip, destination.ip) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                ip.with(CTA_IP_V4_SRC, &source.octets()).with(CTA_IP_V4_DST, &destination.octets())
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                ip.with(CTA_IP_V6_SRC, &source.octets()).with(CTA_IP_V6_DST, &destination.octets())
            }
            _ => ip,
        });
        let (first, second) = (source.port.to_be_bytes(), destination.port.to_be_bytes());
        request.nest(CTA_TUPLE_PROTO, |proto| {
            let proto = proto.with(CTA_PROTO_NUM, &[self.protocol]);
            match i32::from(self.protocol) {
                // Echo request: type 8.
                libc::IPPROTO_ICMP => proto
                    .with(CTA_PROTO_ICMP_ID, &first)
                    .with(CTA_PROTO_ICMP_TYPE, &[8])
                    .with(CTA_PROTO_ICMP_CODE, &[0]),
                // Echo request: type 128.
                libc::IPPROTO_ICMPV6 => proto
                    .with(CTA_PROTO_ICMPV6_ID, &first)
                    .with(CTA_PROTO_ICMPV6_TYPE, &[128])
                    .with(CTA_PROTO_ICMPV6_CODE, &[0]),
                _ => proto.with(CTA_PROTO_SRC_PORT, &first).with(CTA_PROTO_DST_PORT, &second),
            }
        })
    }
}

/// Reads source and destination of a tuple. Of an echo request the identifier is the source's port, of its reply
/// the destination's.
pub(super) fn decode(tuple: Attributes<'_>) -> Option<(SocketAddress, SocketAddress)> {
    let (ip, proto) = (tuple.nested(CTA_TUPLE_IP)?, tuple.nested(CTA_TUPLE_PROTO)?);
    let source = address(ip.get(CTA_IP_V4_SRC).or_else(|| ip.get(CTA_IP_V6_SRC))?)?;
    let destination = address(ip.get(CTA_IP_V4_DST).or_else(|| ip.get(CTA_IP_V6_DST))?)?;
    let port = |number| proto.get(number).and_then(be16);
    let echo = |id, kind, request: u8| {
        let id = port(id)?;
        Some(if proto.get(kind)?.first() == Some(&request) { (id, 0) } else { (0, id) })
    };
    let (first, second) = match i32::from(*proto.get(CTA_PROTO_NUM)?.first()?) {
        libc::IPPROTO_ICMP => echo(CTA_PROTO_ICMP_ID, CTA_PROTO_ICMP_TYPE, 8)?,
        libc::IPPROTO_ICMPV6 => echo(CTA_PROTO_ICMPV6_ID, CTA_PROTO_ICMPV6_TYPE, 128)?,
        _ => (port(CTA_PROTO_SRC_PORT).unwrap_or(0), port(CTA_PROTO_DST_PORT).unwrap_or(0)),
    };
    Some((SocketAddress { ip: source, port: first }, SocketAddress { ip: destination, port: second }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::wire::Messages;

    #[test]
    fn a_tuple_is_read_back_as_it_was_written() {
        let end = |ip: &str, port| SocketAddress { ip: ip.parse().unwrap(), port };
        let table = [
            (Protocol::Tcp, end("10.0.0.1", 40000), end("192.0.2.1", 443)),
            (Protocol::Udp, end("fd00::1", 40000), end("2001:db8::1", 53)),
            (Protocol::Sctp, end("10.0.0.1", 1), end("192.0.2.1", 2)),
            (Protocol::Icmp, end("10.0.0.1", 77), end("192.0.2.1", 0)),
            (Protocol::Icmp, end("fd00::1", 77), end("2001:db8::1", 0)),
        ];
        for (protocol, source, destination) in table {
            let query = ConntrackQuery { protocol, source, destination };
            let encoded = encode(&query).unwrap();
            let bytes = encoded.write(Request::new(0, 0, &[])).finish(1);
            let read = decode(Attributes(Messages(&bytes).next().unwrap().payload));
            assert_eq!(read, Some((source, destination)));
        }
        let mixed = ConntrackQuery {
            protocol: Protocol::Tcp,
            source: end("10.0.0.1", 1),
            destination: end("2001:db8::1", 53),
        };
        assert!(encode(&mixed).is_none());
    }
}
