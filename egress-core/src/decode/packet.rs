//! Headers of a packet that begins at its network header and may be cut anywhere.

use std::net::IpAddr;

use etherparse::{LaxNetSlice, LaxSlicedPacket, TransportSlice};

use crate::protocol::Protocol;
use crate::verdict::SocketAddress;

/// Addresses and ports of a packet. Ports are 0 for protocols without; for ICMP echo both are the identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tuple {
    /// IP protocol number.
    pub protocol: u8,
    /// Source.
    pub source: SocketAddress,
    /// Destination.
    pub destination: SocketAddress,
}

impl Tuple {
    /// The same seen from the other end.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self { protocol: self.protocol, source: self.destination, destination: self.source }
    }

    /// The protocol as policies know it.
    #[must_use]
    pub const fn transport(&self) -> Protocol {
        Protocol::from_number(self.protocol)
    }
}

/// A parsed packet.
#[derive(Clone, Debug, PartialEq)]
pub struct Packet {
    /// Addresses and ports.
    pub tuple: Tuple,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// Length of the packet from the network header on, bytes, as its header says.
    pub length: u32,
    /// It is a fragment but the first, so there are no ports.
    pub fragment: bool,
    /// What follows the network header.
    pub transport: Transport,
}

/// Transport header.
#[derive(Clone, Debug, PartialEq)]
pub enum Transport {
    /// TCP.
    Tcp {
        /// Flags: FIN 1, SYN 2, RST 4, PSH 8, ACK 16.
        flags: u8,
        /// Sequence number.
        seq: u32,
        /// Acknowledgement number.
        ack: u32,
    },
    /// UDP.
    Udp,
    /// ICMP echo request.
    EchoRequest {
        /// Sequence number.
        sequence: u16,
    },
    /// ICMP echo reply.
    EchoReply {
        /// Sequence number.
        sequence: u16,
    },
    /// ICMP error.
    Icmp(Box<IcmpError>),
    /// SCTP, with the type of its first chunk.
    Sctp {
        /// Chunk type.
        chunk: u8,
    },
    /// Another protocol, or cut before its header ended.
    Other,
}

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// The segment ends its connection.
pub(crate) const fn is_closing(flags: u8) -> bool {
    flags & (FIN | RST) != 0
}

impl Packet {
    /// TCP flags, 0 for other protocols.
    #[must_use]
    pub fn tcp_flags(&self) -> u8 {
        if let Transport::Tcp { flags, .. } = self.transport { flags } else { 0 }
    }

    /// A SYN without ACK: opens a connection.
    #[must_use]
    pub fn is_syn(&self) -> bool {
        self.tcp_flags() & (SYN | ACK | RST) == SYN
    }

    /// A SYN with ACK: accepts one.
    #[must_use]
    pub fn is_syn_ack(&self) -> bool {
        self.tcp_flags() & (SYN | ACK | RST) == SYN | ACK
    }

    /// A reset.
    #[must_use]
    pub fn is_reset(&self) -> bool {
        self.tcp_flags() & RST != 0
    }
}

/// An ICMP error about a packet of ours.
#[derive(Clone, Debug, PartialEq)]
pub struct IcmpError {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// ICMPv6.
    pub v6: bool,
    /// Next-hop MTU of frag-needed and packet-too-big, 0 otherwise.
    pub mtu: u32,
    /// The packet it is about.
    pub about: Tuple,
    /// TCP sequence number of that packet, if it is TCP.
    pub seq: Option<u32>,
}

impl IcmpError {
    /// Fragmentation needed, packet too big, or fragments that did not arrive in time.
    #[must_use]
    pub const fn is_about_size(&self) -> bool {
        self.mtu != 0
            || matches!(
                (self.v6, self.kind, self.code),
                (false, 3, 4) | (false, 11, 1) | (true, 2, _) | (true, 3, 1)
            )
    }

    /// TTL or hop limit used up on the way.
    #[must_use]
    pub const fn is_ttl_exceeded(&self) -> bool {
        matches!((self.v6, self.kind, self.code), (false, 11, 0) | (true, 3, 0))
    }
}

/// Why a packet could not be parsed.
pub(super) type PacketError = &'static str;

/// Parses from the network header on. Also gives the transport payload.
pub(super) fn parse(data: &[u8]) -> Result<(Packet, &[u8]), PacketError> {
    let sliced = LaxSlicedPacket::from_ip(data).map_err(|_| "neither an IPv4 nor an IPv6 header")?;
    let net = sliced.net.as_ref().ok_or("no network header")?;
    let (source, destination, ttl, length) = match net {
        LaxNetSlice::Ipv4(ip) => {
            let header = ip.header();
            (
                IpAddr::V4(header.source_addr()),
                IpAddr::V4(header.destination_addr()),
                header.ttl(),
                u32::from(header.total_len()),
            )
        }
        LaxNetSlice::Ipv6(ip) => {
            let header = ip.header();
            (
                IpAddr::V6(header.source_addr()),
                IpAddr::V6(header.destination_addr()),
                header.hop_limit(),
                40 + u32::from(header.payload_length()),
            )
        }
        LaxNetSlice::Arp(_) => return Err("an ARP packet"),
    };
    let ip = net.ip_payload_ref().ok_or("no IP payload")?;
    let protocol = ip.ip_number.0;
    let fragment = ip.fragmented && sliced.transport.is_none() && !first_fragment(net, data);
    let mut packet = Packet {
        tuple: tuple(protocol, source, 0, destination, 0),
        ttl,
        length,
        fragment,
        transport: Transport::Other,
    };
    if fragment {
        return Ok((packet, &[]));
    }
    let payload = match sliced.transport {
        Some(TransportSlice::Tcp(tcp)) => {
            packet.tuple = tuple(protocol, source, tcp.source_port(), destination, tcp.destination_port());
            let flags = tcp.slice().get(13).copied().unwrap_or(0);
            packet.transport =
                Transport::Tcp { flags, seq: tcp.sequence_number(), ack: tcp.acknowledgment_number() };
            tcp.payload()
        }
        Some(TransportSlice::Udp(udp)) => {
            packet.tuple = tuple(protocol, source, udp.source_port(), destination, udp.destination_port());
            packet.transport = Transport::Udp;
            udp.payload()
        }
        Some(TransportSlice::Icmpv4(icmp)) => {
            icmp_v4(&mut packet, icmp.type_u8(), icmp.code_u8(), icmp.bytes5to8(), icmp.payload());
            &[]
        }
        Some(TransportSlice::Icmpv6(icmp)) => {
            icmp_v6(&mut packet, icmp.type_u8(), icmp.code_u8(), icmp.bytes5to8(), icmp.payload());
            &[]
        }
        Some(TransportSlice::Igmp(_)) => &[],
        None => {
            cut_transport(&mut packet, ip.payload);
            match packet.transport {
                // The first fragment of a datagram.
                Transport::Udp => ip.payload.get(8..).unwrap_or_default(),
                _ => &[],
            }
        }
    };
    Ok((packet, payload))
}

/// The packet goes on in further fragments.
pub(super) fn has_more_fragments(data: &[u8]) -> bool {
    match data.first().map(|byte| byte >> 4) {
        Some(4) => data.get(6).is_some_and(|flags| flags & 0x20 != 0),
        // A fragment header is the first behind IPv6's unless there are options, which DNS has not.
        Some(6) => data.get(6) == Some(&44) && data.get(43).is_some_and(|flags| flags & 1 != 0),
        _ => false,
    }
}

fn first_fragment(net: &LaxNetSlice<'_>, data: &[u8]) -> bool {
    match net {
        LaxNetSlice::Ipv4(ip) => ip.header().fragments_offset().value() == 0,
        // Behind other extension headers a first fragment is taken for a later one: its ports are left out.
        _ => data.get(6) == Some(&44) && matches!(data.get(42..44), Some([0, low]) if low & 0xf8 == 0),
    }
}

fn tuple(protocol: u8, source: IpAddr, sport: u16, destination: IpAddr, dport: u16) -> Tuple {
    Tuple {
        protocol,
        source: SocketAddress { ip: source, port: sport },
        destination: SocketAddress { ip: destination, port: dport },
    }
}

/// Ports (and more) of a transport header that etherparse does not know or that is cut.
fn cut_transport(packet: &mut Packet, payload: &[u8]) {
    let port = |at: usize| payload.get(at..at + 2).map(|b| u16::from_be_bytes([b[0], b[1]]));
    if !matches!(packet.tuple.protocol, 6 | 17 | 132) {
        return;
    }
    let (Some(source), Some(destination)) = (port(0), port(2)) else { return };
    packet.tuple.source.port = source;
    packet.tuple.destination.port = destination;
    match packet.tuple.protocol {
        17 => packet.transport = Transport::Udp,
        132 => {
            if let Some(chunk) = payload.get(12) {
                packet.transport = Transport::Sctp { chunk: *chunk };
            }
        }
        _ => {}
    }
}

fn icmp_v4(packet: &mut Packet, kind: u8, code: u8, rest: [u8; 4], payload: &[u8]) {
    match kind {
        0 | 8 => echo(packet, kind == 8, rest),
        3 | 11 | 12 => {
            let mtu =
                if (kind, code) == (3, 4) { u32::from(u16::from_be_bytes([rest[2], rest[3]])) } else { 0 };
            icmp_error(packet, (kind, code, false, mtu), payload);
        }
        _ => {}
    }
}

fn icmp_v6(packet: &mut Packet, kind: u8, code: u8, rest: [u8; 4], payload: &[u8]) {
    match kind {
        128 | 129 => echo(packet, kind == 128, rest),
        1..=4 => {
            let mtu = if kind == 2 { u32::from_be_bytes(rest) } else { 0 };
            icmp_error(packet, (kind, code, true, mtu), payload);
        }
        _ => {}
    }
}

fn echo(packet: &mut Packet, request: bool, rest: [u8; 4]) {
    let id = u16::from_be_bytes([rest[0], rest[1]]);
    let sequence = u16::from_be_bytes([rest[2], rest[3]]);
    packet.tuple.source.port = id;
    packet.tuple.destination.port = id;
    packet.transport =
        if request { Transport::EchoRequest { sequence } } else { Transport::EchoReply { sequence } };
}

fn icmp_error(packet: &mut Packet, (kind, code, v6, mtu): (u8, u8, bool, u32), payload: &[u8]) {
    let Ok((inner, seq)) = quoted(payload) else { return };
    packet.transport = Transport::Icmp(Box::new(IcmpError { kind, code, v6, mtu, about: inner, seq }));
}

/// The packet quoted in an ICMP error: at least its ports, and the TCP sequence number.
fn quoted(data: &[u8]) -> Result<(Tuple, Option<u32>), PacketError> {
    let sliced = LaxSlicedPacket::from_ip(data).map_err(|_| "no quoted packet")?;
    let net = sliced.net.as_ref().ok_or("no quoted packet")?;
    let (source, destination) = match net {
        LaxNetSlice::Ipv4(ip) => {
            (IpAddr::V4(ip.header().source_addr()), IpAddr::V4(ip.header().destination_addr()))
        }
        LaxNetSlice::Ipv6(ip) => {
            (IpAddr::V6(ip.header().source_addr()), IpAddr::V6(ip.header().destination_addr()))
        }
        LaxNetSlice::Arp(_) => return Err("an ARP packet"),
    };
    let ip = net.ip_payload_ref().ok_or("no quoted payload")?;
    let at = |at: usize| ip.payload.get(at..at + 2).map_or(0, |b| u16::from_be_bytes([b[0], b[1]]));
    let number = ip.ip_number.0;
    let (sport, dport) = match number {
        6 | 17 | 132 => (at(0), at(2)),
        1 | 58 => (at(4), at(4)),
        _ => (0, 0),
    };
    let seq = (number == 6)
        .then(|| ip.payload.get(4..8).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]])))
        .flatten();
    Ok((tuple(number, source, sport, destination, dport), seq))
}
