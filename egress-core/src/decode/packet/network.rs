//! The network header and what may stand between it and the transport header, of a packet that may be cut anywhere
//! and whose lengths may lie.

use std::net::IpAddr;

use etherparse::{IpNumber, Ipv4HeaderSlice, Ipv6HeaderSlice};

use super::PacketError;

/// Extension headers that are gone over at most: more are no honest packet.
const EXTENSIONS: usize = 16;

/// What is known of a packet before its transport header.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Network<'a> {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    /// Time to live or hop limit.
    pub(super) ttl: u8,
    /// Length of the packet as its header says.
    pub(super) length: u32,
    /// The protocol; where extension headers are cut or too many, the number of the one that cannot be read.
    pub(super) protocol: u8,
    /// It is a fragment but the first: what follows belongs to the middle of a transport payload.
    pub(super) later_fragment: bool,
    /// `protocol` is that of an extension header: what the packet carries is not known.
    pub(super) cut: bool,
    /// From the transport header on, without what the link layer filled up; empty where there is nothing to be read.
    pub(super) payload: &'a [u8],
}

/// Where the extension headers led.
struct Behind<'a> {
    protocol: u8,
    later_fragment: bool,
    cut: bool,
    payload: &'a [u8],
}

impl<'a> Network<'a> {
    /// Reads from the network header on.
    pub(super) fn read(data: &'a [u8]) -> Result<Self, PacketError> {
        match data.first().map(|first| first >> 4) {
            Some(4) => Self::v4(data).ok_or("a broken IPv4 header"),
            Some(6) => Self::v6(data).ok_or("a broken IPv6 header"),
            _ => Err("neither an IPv4 nor an IPv6 header"),
        }
    }

    fn v4(data: &'a [u8]) -> Option<Self> {
        let header = Ipv4HeaderSlice::from_slice(data).ok()?;
        let begin = header.slice().len();
        let length = u32::from(header.total_len());
        let rest = within(data, begin, usize::from(header.total_len()))?;
        let later_fragment = header.fragments_offset().value() != 0;
        let Behind { protocol, later_fragment, cut, payload } =
            behind(header.protocol(), rest, later_fragment, false);
        Some(Self {
            source: IpAddr::V4(header.source_addr()),
            destination: IpAddr::V4(header.destination_addr()),
            ttl: header.ttl(),
            length,
            protocol,
            later_fragment,
            cut,
            payload,
        })
    }

    fn v6(data: &'a [u8]) -> Option<Self> {
        let header = Ipv6HeaderSlice::from_slice(data).ok()?;
        let begin = header.slice().len();
        let length = begin + usize::from(header.payload_length());
        // A length of 0 is that of a jumbogram (RFC 2675): the true one stands in an option.
        let end = if header.payload_length() == 0 { data.len() } else { length };
        let rest = within(data, begin, end)?;
        let Behind { protocol, later_fragment, cut, payload } =
            behind(header.next_header(), rest, false, true);
        Some(Self {
            source: IpAddr::V6(header.source_addr()),
            destination: IpAddr::V6(header.destination_addr()),
            ttl: header.hop_limit(),
            length: u32::try_from(length).unwrap_or(u32::MAX),
            protocol,
            later_fragment,
            cut,
            payload,
        })
    }
}

/// From `begin` to `end`, or to where the data end. An end before the begin says nothing: a segment that is to be cut
/// by the device (GSO) may say 0.
fn within(data: &[u8], begin: usize, end: usize) -> Option<&[u8]> {
    let end = if end < begin { data.len() } else { end.min(data.len()) };
    data.get(begin..end)
}

/// Goes over the extension headers: hop-by-hop, routing, fragment, destination options, authentication. IPv4 has the
/// last alone.
fn behind(first: IpNumber, rest: &[u8], later_fragment: bool, v6: bool) -> Behind<'_> {
    let (mut next, mut rest, mut later_fragment) = (first, rest, later_fragment);
    for _ in 0..EXTENSIONS {
        let done = Behind { protocol: next.0, later_fragment, cut: false, payload: rest };
        let length = match next {
            _ if later_fragment => return done,
            IpNumber::AUTHENTICATION_HEADER => rest.get(1).map(|length| (usize::from(*length) + 2) * 4),
            _ if !v6 => return done,
            IpNumber::IPV6_HEADER_HOP_BY_HOP
            | IpNumber::IPV6_ROUTE_HEADER
            | IpNumber::IPV6_DESTINATION_OPTIONS => rest.get(1).map(|length| (usize::from(*length) + 1) * 8),
            IpNumber::IPV6_FRAGMENTATION_HEADER => rest.get(2..4).map(|field| {
                later_fragment = u16::from_be_bytes([field[0], field[1]]) >> 3 != 0;
                8
            }),
            _ => return done,
        };
        let Some((header, behind)) = length.and_then(|length| rest.split_at_checked(length)) else {
            return Behind { protocol: next.0, later_fragment, cut: true, payload: &[] };
        };
        (next, rest) = (IpNumber(header[0]), behind);
    }
    Behind { protocol: next.0, later_fragment, cut: !later_fragment, payload: rest }
}
