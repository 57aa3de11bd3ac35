//! Headers of a packet that begins at its network header and may be cut anywhere.

mod network;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use etherparse::{Icmpv4Slice, Icmpv6Slice, IpNumber, TcpSlice, UdpSlice};

use crate::protocol::Protocol;
use crate::verdict::SocketAddress;
use network::Network;

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
    /// Length of that packet, from its network header on.
    pub length: u32,
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
    let network = Network::read(data)?;
    let Network { source, destination, protocol, .. } = network;
    let mut packet = Packet {
        tuple: tuple(protocol, source, 0, destination, 0),
        ttl: network.ttl,
        length: network.length,
        fragment: network.later_fragment,
        transport: Transport::Other,
    };
    if network.later_fragment {
        return Ok((packet, &[]));
    }
    let v6 = source.is_ipv6();
    let payload = match IpNumber(protocol) {
        IpNumber::TCP => tcp(&mut packet, network.payload),
        IpNumber::UDP => udp(&mut packet, network.payload),
        IpNumber::SCTP => sctp(&mut packet, network.payload),
        IpNumber::ICMP if !v6 => {
            if let Ok(icmp) = Icmpv4Slice::from_slice(network.payload) {
                icmp_v4(&mut packet, icmp.type_u8(), icmp.code_u8(), icmp.bytes5to8(), icmp.payload());
            }
            &[]
        }
        IpNumber::IPV6_ICMP if v6 => {
            if let Ok(icmp) = Icmpv6Slice::from_slice(network.payload) {
                icmp_v6(&mut packet, icmp.type_u8(), icmp.code_u8(), icmp.bytes5to8(), icmp.payload());
            }
            &[]
        }
        _ => &[],
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

fn tuple(protocol: u8, source: IpAddr, sport: u16, destination: IpAddr, dport: u16) -> Tuple {
    Tuple {
        protocol,
        source: SocketAddress { ip: source, port: sport },
        destination: SocketAddress { ip: destination, port: dport },
    }
}

/// The ports alone; they are the first four bytes of TCP, UDP and SCTP.
fn ports(packet: &mut Packet, payload: &[u8]) -> bool {
    let Some([source, from, destination, to]) = payload.first_chunk::<4>().copied() else { return false };
    packet.tuple.source.port = u16::from_be_bytes([source, from]);
    packet.tuple.destination.port = u16::from_be_bytes([destination, to]);
    true
}

/// A header that is cut, or whose length cannot be, leaves the ports.
fn tcp<'a>(packet: &mut Packet, payload: &'a [u8]) -> &'a [u8] {
    ports(packet, payload);
    let Ok(tcp) = TcpSlice::from_slice(payload) else { return &[] };
    let flags = tcp.slice().get(13).copied().unwrap_or(0);
    packet.transport = Transport::Tcp { flags, seq: tcp.sequence_number(), ack: tcp.acknowledgment_number() };
    tcp.payload()
}

/// A length below that of the header carries nothing; one beyond the end carries what there is.
fn udp<'a>(packet: &mut Packet, payload: &'a [u8]) -> &'a [u8] {
    if !ports(packet, payload) {
        return &[];
    }
    packet.transport = Transport::Udp;
    UdpSlice::from_slice_lax(payload)
        .ok()
        .filter(|udp| usize::from(udp.length()) >= udp.header_slice().len())
        .map_or(&[], |udp| udp.payload())
}

/// The type of the first chunk stands behind the common header of 12 bytes.
fn sctp<'a>(packet: &mut Packet, payload: &'a [u8]) -> &'a [u8] {
    if ports(packet, payload)
        && let Some(chunk) = payload.get(12)
    {
        packet.transport = Transport::Sctp { chunk: *chunk };
    }
    &[]
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
    let Ok((inner, seq, length)) = quoted(payload, v6) else { return };
    packet.transport =
        Transport::Icmp(Box::new(IcmpError { kind, code, v6, mtu, about: inner, seq, length }));
}

/// The packet quoted in an ICMP error: its ports, the TCP sequence number, and its whole length. Refused where it cannot be told which
/// flow is meant, and where no error may be sent (RFC 1122, 3.2.2): about a later fragment, about another error.
fn quoted(data: &[u8], v6: bool) -> Result<(Tuple, Option<u32>, u32), PacketError> {
    let network = Network::read(data)?;
    if network.source.is_ipv6() != v6 {
        return Err("the quoted packet is of another family");
    }
    if network.later_fragment {
        return Err("the quoted packet is a later fragment");
    }
    let payload = network.payload;
    let at = |at: usize| payload.get(at..at + 2).map(|b| u16::from_be_bytes([b[0], b[1]]));
    let number = network.protocol;
    let ends = match IpNumber(number) {
        IpNumber::TCP | IpNumber::UDP | IpNumber::SCTP => at(0).zip(at(2)),
        IpNumber::ICMP if !v6 => {
            payload.first().filter(|kind| [0, 8].contains(*kind)).and_then(|_| at(4).zip(at(4)))
        }
        IpNumber::IPV6_ICMP if v6 => {
            payload.first().filter(|kind| [128, 129].contains(*kind)).and_then(|_| at(4).zip(at(4)))
        }
        _ if network.cut => None,
        _ => Some((0, 0)),
    };
    let (sport, dport) = ends.ok_or("the quoted packet is cut before its ports, or no question")?;
    let seq = (number == IpNumber::TCP.0)
        .then(|| payload.get(4..8).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]])))
        .flatten();
    Ok((tuple(number, network.source, sport, network.destination, dport), seq, network.length))
}
