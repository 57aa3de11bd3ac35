//! Segments and sockets of established connections, as the kernel would report them.

use egress_common::{
    RESET_PROGRESS, RecordKind, ResetRecord, RetransmitRecord, SockStateRecord, TapPoint, record_bytes,
};
use etherparse::PacketBuilder;

use super::World;
use super::wire::{End, header, ip, mapped, seen};

/// The client's initial sequence number in these tests.
pub(super) const CLIENT_ISN: u32 = u32::MAX - 10;
/// The server's.
pub(super) const SERVER_ISN: u32 = 5000;

/// Flags of a segment.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Data,
    Fin,
    /// A reset that acknowledges.
    RstAck,
    /// One that does not.
    Rst,
}

/// A segment; `seq` and `ack` count from behind the handshake.
pub(super) struct Segment<'a> {
    pub(super) from: End,
    pub(super) to: End,
    pub(super) by_client: bool,
    pub(super) kind: Kind,
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) ttl: u8,
    pub(super) payload: &'a [u8],
}

impl Segment<'_> {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let isns = if self.by_client { (CLIENT_ISN, SERVER_ISN) } else { (SERVER_ISN, CLIENT_ISN) };
        let seq = isns.0.wrapping_add(1).wrapping_add(self.seq);
        let ack = isns.1.wrapping_add(1).wrapping_add(self.ack);
        let builder = PacketBuilder::ipv4(ip(self.from.0).octets(), ip(self.to.0).octets(), self.ttl).tcp(
            self.from.1,
            self.to.1,
            seq,
            64240,
        );
        let builder = match self.kind {
            Kind::Data => builder.ack(ack).psh(),
            Kind::Fin => builder.ack(ack).fin(),
            Kind::RstAck => builder.ack(ack).rst(),
            Kind::Rst => builder.rst(),
        };
        let mut bytes = Vec::new();
        builder.write(&mut bytes, self.payload).unwrap();
        bytes
    }
}

/// SYN or SYN-ACK of the connection.
pub(super) fn opening(from: End, to: End, answer: bool, ttl: u8) -> Vec<u8> {
    let seq = if answer { SERVER_ISN } else { CLIENT_ISN };
    let builder =
        PacketBuilder::ipv4(ip(from.0).octets(), ip(to.0).octets(), ttl).tcp(from.1, to.1, seq, 64240).syn();
    let builder = if answer { builder.ack(CLIENT_ISN.wrapping_add(1)) } else { builder };
    let mut bytes = Vec::new();
    builder.write(&mut bytes, &[]).unwrap();
    bytes
}

/// How far the client's socket had come when it was reset: bytes from behind the handshake, and milliseconds.
#[derive(Clone, Copy, Default)]
pub(super) struct Progress {
    pub(super) una: u32,
    pub(super) next: u32,
    pub(super) received: u32,
    pub(super) sent_ago: u32,
    pub(super) received_ago: u32,
}

/// The client's socket took a reset in this state.
pub(super) fn reset_taken(millis: u64, from: End, to: End, state: u8, progress: Option<Progress>) -> Vec<u8> {
    let mut data = [0; 64];
    if let Some(p) = progress {
        let sent = |n: u32| CLIENT_ISN.wrapping_add(1).wrapping_add(n);
        let received = SERVER_ISN.wrapping_add(1).wrapping_add(p.received);
        let words = [sent(p.una), sent(p.next), sent(p.next), received, p.sent_ago, p.received_ago];
        for (at, word) in data.chunks_mut(4).zip(words) {
            at.copy_from_slice(&word.to_ne_bytes());
        }
    }
    let record = ResetRecord {
        header: header(RecordKind::Reset, millis, 0),
        local: mapped(from.0),
        remote: mapped(to.0),
        socket: 1,
        local_port: from.1,
        remote_port: to.1,
        state,
        pad: 0,
        data_len: if progress.is_some() { u16::try_from(RESET_PROGRESS).unwrap() } else { 0 },
        data,
    };
    record_bytes(&record).to_vec()
}

/// The client's socket sent `length` bytes again that begin `una` behind the handshake.
pub(super) fn again(millis: u64, from: End, to: End, una: u32, length: u32, silence_ms: u32) -> Vec<u8> {
    let mut header = header(RecordKind::Retransmit, millis, 0);
    header.len = length;
    let record = RetransmitRecord {
        header,
        local: mapped(from.0),
        remote: mapped(to.0),
        socket: 1,
        cgroup: 0,
        local_port: from.1,
        remote_port: to.1,
        state: 1,
        tcp_flags: 24,
        retransmits: 1,
        sacked: 0,
        seq: CLIENT_ISN.wrapping_add(1).wrapping_add(una),
        snd_una: CLIENT_ISN.wrapping_add(1).wrapping_add(una),
        mss: 1448,
        silence_ms,
    };
    record_bytes(&record).to_vec()
}

/// The client's socket went from one state to another.
pub(super) fn moved(millis: u64, from: End, to: End, states: (u8, u8), error: u32) -> Vec<u8> {
    let record = SockStateRecord {
        header: header(RecordKind::SockState, millis, 0),
        local: mapped(from.0),
        remote: mapped(to.0),
        socket: 1,
        cgroup: 0,
        local_port: from.1,
        remote_port: to.1,
        protocol: 6,
        old_state: states.0,
        new_state: states.1,
        sk_err: error,
        pid: 0,
        comm: [0; 16],
    };
    record_bytes(&record).to_vec()
}

impl World {
    /// A connection is established at 10 ms, seen on its whole way; the server's TTL on arrival is 61.
    pub(super) fn establish(&mut self, client: End, node: End, server: End) {
        self.record(seen(1, TapPoint::PodOut, &opening(client, server, false, 64)));
        self.record(seen(1, TapPoint::UplinkOut, &opening(node, server, false, 63)));
        self.record(seen(10, TapPoint::UplinkIn, &opening(server, node, true, 61)));
        self.record(seen(10, TapPoint::PodIn, &opening(server, client, true, 60)));
        self.record(moved(10, client, server, (2, 1), 0));
    }
}
