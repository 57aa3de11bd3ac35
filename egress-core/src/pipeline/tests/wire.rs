//! Records as the kernel would write them.

use std::net::{IpAddr, Ipv4Addr};

use egress_common::{
    CHAIN_NAME, ChainRecord, DropRecord, LONG_SNAP, PacketClass, PacketLongRecord, PacketRecord,
    RecordHeader, RecordKind, RetransmitRecord, RouteRecord, SHORT_SNAP, SockStateRecord, TapPoint, flags,
    record_bytes,
};
use etherparse::PacketBuilder;

use super::NODE;

/// Address and port, `10.0.0.1:80`.
pub(super) type End = (&'static str, u16);

pub(super) fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

pub(super) fn mapped(text: &str) -> [u8; 16] {
    ip(text).to_ipv6_mapped().octets()
}

pub(super) fn header(kind: RecordKind, millis: u64, ifindex: u32) -> RecordHeader {
    RecordHeader {
        time_ns: millis * 1_000_000,
        kind: kind as u16,
        flags: 0,
        cpu: 0,
        netns: NODE,
        ifindex,
        pod_slot: 0,
        len: 60,
        mark: 0,
        pad: 0,
    }
}

/// TCP flags of a test packet.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Flag {
    Syn,
    SynAck,
    Rst,
    Fin,
    Data,
}

/// A TCP packet; `isn` is the client's sequence number, acknowledged by answers.
pub(super) fn tcp(from: End, to: End, flag: Flag, isn: u32) -> Vec<u8> {
    let builder = PacketBuilder::ipv4(ip(from.0).octets(), ip(to.0).octets(), 61);
    let seq = if matches!(flag, Flag::Syn | Flag::Data) { isn } else { 77 };
    let mut builder = builder.tcp(from.1, to.1, seq, 64240);
    builder = match flag {
        Flag::Syn => builder.syn(),
        Flag::SynAck => builder.syn().ack(isn.wrapping_add(1)),
        Flag::Rst => builder.rst().ack(isn.wrapping_add(1)),
        Flag::Fin => builder.fin().ack(isn.wrapping_add(1)),
        Flag::Data => builder.ack(9),
    };
    let mut bytes = Vec::new();
    builder.write(&mut bytes, &[]).unwrap();
    bytes
}

/// A TCP segment with one DNS message.
pub(super) fn tcp_data(from: End, to: End, message: &[u8]) -> Vec<u8> {
    let payload = [&u16::try_from(message.len()).unwrap().to_be_bytes(), message].concat();
    let mut bytes = Vec::new();
    PacketBuilder::ipv4(ip(from.0).octets(), ip(to.0).octets(), 61)
        .tcp(from.1, to.1, 78, 64240)
        .ack(9)
        .write(&mut bytes, &payload)
        .unwrap();
    bytes
}

/// A UDP packet.
pub(super) fn udp(from: End, to: End, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketBuilder::ipv4(ip(from.0).octets(), ip(to.0).octets(), 61)
        .udp(from.1, to.1)
        .write(&mut bytes, payload)
        .unwrap();
    bytes
}

/// An SCTP packet with one chunk of this type.
pub(super) fn sctp(from: End, to: End, chunk: u8) -> Vec<u8> {
    let mut payload = [from.1.to_be_bytes(), to.1.to_be_bytes()].concat();
    payload.extend([0; 8]);
    payload.extend([chunk, 0, 0, 20]);
    payload.extend([1; 16]);
    let mut bytes = Vec::new();
    PacketBuilder::ipv4(ip(from.0).octets(), ip(to.0).octets(), 61)
        .write(&mut bytes, etherparse::IpNumber::SCTP, &payload)
        .unwrap();
    bytes
}

/// TC saw a packet.
pub(super) fn seen(millis: u64, tap: TapPoint, packet: &[u8]) -> Vec<u8> {
    let ifindex = if matches!(tap, TapPoint::UplinkIn | TapPoint::UplinkOut) { 2 } else { 10 };
    if packet.len() > SHORT_SNAP {
        return seen_long(millis, tap, PacketClass::TlsClientHello, ifindex, packet);
    }
    let mut data = [0; SHORT_SNAP];
    data[..packet.len()].copy_from_slice(packet);
    let record = PacketRecord {
        header: header(RecordKind::Packet, millis, ifindex),
        tap: tap as u8,
        class: PacketClass::TcpControl as u8,
        protocol: 8,
        data_len: u16::try_from(packet.len()).unwrap(),
        pad: 0,
        data,
    };
    record_bytes(&record).to_vec()
}

/// TC saw a DNS message.
pub(super) fn seen_dns(millis: u64, tap: TapPoint, packet: &[u8]) -> Vec<u8> {
    seen_long(millis, tap, PacketClass::Dns, 10, packet)
}

fn seen_long(millis: u64, tap: TapPoint, class: PacketClass, ifindex: u32, packet: &[u8]) -> Vec<u8> {
    let mut data = [0; LONG_SNAP];
    data[..packet.len()].copy_from_slice(packet);
    let record = PacketLongRecord {
        header: header(RecordKind::PacketLong, millis, ifindex),
        tap: tap as u8,
        class: class as u8,
        protocol: 8,
        data_len: u16::try_from(packet.len()).unwrap(),
        pad: 0,
        data,
    };
    record_bytes(&record).to_vec()
}

/// nftables dropped a packet in the node's FORWARD hook.
pub(super) fn dropped(millis: u64, packet: &[u8]) -> Vec<u8> {
    dropped_but(millis, packet, |_| {})
}

/// The chain that drops what comes next, in the FORWARD hook.
pub(super) fn told_chain(millis: u64, family: u8, table: &str, chain: &str) -> Vec<u8> {
    let name = |text: &str| {
        let mut bytes = [0; CHAIN_NAME];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        bytes
    };
    let header = header(RecordKind::Chain, millis, 10);
    let (table, chain) = (name(table), name(chain));
    record_bytes(&ChainRecord { header, hook: 2, protocol: 2, family, pad: [0; 5], table, chain }).to_vec()
}

/// The kernel dropped a packet there for this reason.
pub(super) fn dropped_for(millis: u64, packet: &[u8], reason: u32) -> Vec<u8> {
    dropped_but(millis, packet, |record| record.reason = reason)
}

/// The same with something else about it.
pub(super) fn dropped_but(millis: u64, packet: &[u8], change: impl FnOnce(&mut DropRecord)) -> Vec<u8> {
    let mut data = [0; SHORT_SNAP];
    data[..packet.len()].copy_from_slice(packet);
    let mut header = header(RecordKind::Drop, millis, 10);
    header.flags = flags::HAS_DST;
    let mut record = DropRecord {
        header,
        location: 1100,
        dst_input: 5000,
        dst_output: 0,
        reason: 7,
        iif: 10,
        dst_ifindex: 2,
        protocol: 8,
        data_len: u16::try_from(packet.len()).unwrap(),
        ct_original: [0; 40],
        ct_reply: [0; 40],
        data,
    };
    change(&mut record);
    record_bytes(&record).to_vec()
}

/// The caller of the netfilter hooks dropped a packet of the client: before routing, or (`late`) after it, where
/// conntrack gives its client, its server and the source it was translated to.
pub(super) fn dropped_at(millis: u64, packet: &[u8], late: bool, ct: Option<(End, End, End)>) -> Vec<u8> {
    let mut record: DropRecord = egress_common::read_record(&dropped(millis, packet)).unwrap();
    record.location = 3100;
    if late {
        record.header.ifindex = record.dst_ifindex;
    } else {
        record.header.flags = 0;
        record.dst_ifindex = 0;
    }
    if let Some((client, server, translated)) = ct {
        record.header.flags |= flags::HAS_CONNTRACK;
        record.ct_original = ct_tuple(client, server);
        record.ct_reply = ct_tuple(server, translated);
    }
    record_bytes(&record).to_vec()
}

/// `struct nf_conntrack_tuple` of TCP over IPv4.
fn ct_tuple(from: End, to: End) -> [u8; 40] {
    let mut raw = [0; 40];
    raw[..4].copy_from_slice(&ip(from.0).octets());
    raw[16..18].copy_from_slice(&from.1.to_be_bytes());
    raw[18..20].copy_from_slice(&2_u16.to_ne_bytes());
    raw[20..24].copy_from_slice(&ip(to.0).octets());
    raw[36..38].copy_from_slice(&to.1.to_be_bytes());
    raw[38] = 6;
    raw
}

/// The node dropped a packet for this reason, in this function (numbers as the world names them).
pub(super) fn dropped_by(millis: u64, packet: &[u8], reason: u32, location: u64) -> Vec<u8> {
    let bytes = dropped(millis, packet);
    let mut record: DropRecord = egress_common::read_record(&bytes).unwrap();
    record.reason = reason;
    record.location = location;
    record_bytes(&record).to_vec()
}

/// A table of a pod's namespace has no route.
pub(super) fn no_route(millis: u64, netns: u32, to: IpAddr, port: u16) -> Vec<u8> {
    let destination = match to {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    };
    let mut header = header(RecordKind::Route, millis, 0);
    header.netns = netns;
    let record = RouteRecord {
        header,
        destination,
        error: 11,
        table: 254,
        destination_port: port,
        protocol: 6,
        pad: [0; 5],
    };
    record_bytes(&record).to_vec()
}

/// The client's stack sent its SYN again.
pub(super) fn syn_again(millis: u64, from: End, to: End) -> Vec<u8> {
    let record = RetransmitRecord {
        header: header(RecordKind::Retransmit, millis, 0),
        local: mapped(from.0),
        remote: mapped(to.0),
        socket: 1,
        cgroup: 0,
        local_port: from.1,
        remote_port: to.1,
        state: 2,
        tcp_flags: 2,
        retransmits: 1,
        sacked: 0,
        seq: 1,
        snd_una: 1,
        mss: 1460,
        silence_ms: 0,
    };
    record_bytes(&record).to_vec()
}

/// The client's socket left SYN_SENT: for ESTABLISHED (1) or CLOSE (7).
pub(super) fn state(millis: u64, from: End, to: End, new_state: u8, error: u32) -> Vec<u8> {
    let record = SockStateRecord {
        header: header(RecordKind::SockState, millis, 0),
        local: mapped(from.0),
        remote: mapped(to.0),
        socket: 1,
        cgroup: 0,
        local_port: from.1,
        remote_port: to.1,
        protocol: 6,
        old_state: 2,
        new_state,
        sk_err: error,
        pid: 0,
        comm: [0; 16],
    };
    record_bytes(&record).to_vec()
}
