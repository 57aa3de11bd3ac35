//! One record in, one observation out.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use egress_common::{
    AggregateRecord, ChainRecord, DropRecord, LossRecord, PacketClass, PacketHelloRecord, PacketLongRecord,
    PacketRecord, RESET_PROGRESS, ReceiveHoleRecord, RecordHeader, RecordKind, ResetRecord, RetransmitRecord,
    RouteRecord, SockStateRecord, TapPoint, flags, read_record,
};
use thiserror::Error;

use super::{
    Aggregated, Application, ChainSeen, Conntrack, DropSeen, KernelNames, Loss, NoRouteSeen, Observation,
    Packet, PacketSeen, ReceiveHoleSeen, ResetSeen, RetransmitSeen, Seen, SockStateSeen, SocketProgress, Tap,
    TcpState, Transport, Tuple, dns, drops, packet, tls,
};
use crate::node::Refusal;
use crate::time::Mono;
use crate::verdict::SocketAddress;

/// Why a record could not be decoded. Counted, never fatal.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    /// No kind has this number, or it is too short to have one.
    #[error("record of unknown kind {0}")]
    Kind(u16),
    /// The length is not that of its kind.
    #[error("record of kind {kind:?} is {length} bytes long")]
    Length {
        /// Its kind.
        kind: RecordKind,
        /// Its length.
        length: usize,
    },
    /// The packet in it could not be parsed.
    #[error("packet: {0}")]
    Packet(&'static str),
    /// A field holds a value that it cannot have.
    #[error("field {0} out of range")]
    Field(&'static str),
}

/// Decodes one record.
pub fn decode(bytes: &[u8], names: &KernelNames) -> Result<Observation, DecodeError> {
    let raw = bytes.get(8..10).map_or(0, |b| u16::from_ne_bytes([b[0], b[1]]));
    let kind = RecordKind::from_raw(raw).ok_or(DecodeError::Kind(raw))?;
    let length = DecodeError::Length { kind, length: bytes.len() };
    match kind {
        RecordKind::Drop => dropped(&read_record(bytes).ok_or(length)?, names),
        RecordKind::Packet => {
            let r: PacketRecord = read_record(bytes).ok_or(length)?;
            seen_packet(&r.header, r.tap, r.class, sized(&r.data, r.data_len)?)
        }
        RecordKind::PacketLong => {
            let r: PacketLongRecord = read_record(bytes).ok_or(length)?;
            seen_packet(&r.header, r.tap, r.class, sized(&r.data, r.data_len)?)
        }
        RecordKind::PacketHello => {
            let r: PacketHelloRecord = read_record(bytes).ok_or(length)?;
            seen_packet(&r.header, r.tap, r.class, sized(&r.data, r.data_len)?)
        }
        RecordKind::Retransmit => Ok(retransmit(&read_record(bytes).ok_or(length)?)),
        RecordKind::SockState => sock_state(&read_record(bytes).ok_or(length)?),
        RecordKind::Reset => reset(&read_record(bytes).ok_or(length)?),
        RecordKind::Route => no_route(&read_record(bytes).ok_or(length)?),
        RecordKind::Chain => chain(&read_record(bytes).ok_or(length)?),
        RecordKind::Aggregate => Ok(aggregate(&read_record(bytes).ok_or(length)?, names)),
        RecordKind::ReceiveHole => {
            let r: ReceiveHoleRecord = read_record(bytes).ok_or(length)?;
            Ok(receive_hole(&r))
        }
        RecordKind::Loss => {
            let r: LossRecord = read_record(bytes).ok_or(length)?;
            Ok(observation(&r.header, Seen::Lost(Loss { count: r.count })))
        }
    }
}

fn observation(header: &RecordHeader, seen: Seen) -> Observation {
    Observation { at: Mono(header.time_ns), netns: header.netns, ifindex: header.ifindex, seen }
}

fn sized(data: &[u8], length: u16) -> Result<&[u8], DecodeError> {
    data.get(..usize::from(length)).ok_or(DecodeError::Field("data_len"))
}

fn dropped(r: &DropRecord, names: &KernelNames) -> Result<Observation, DecodeError> {
    let data = sized(&r.data, r.data_len)?;
    let (packet, payload) = packet::parse(data).map_err(DecodeError::Packet)?;
    let application = question(&packet, payload);
    let (reason, function) = place(names, r.reason, r.location);
    let site = drops::refine(drops::site(&reason, &function), &reason, &function, packet.ttl, packet.length);
    let input = names.function(r.dst_input);
    let has_route = r.header.flags & flags::HAS_DST != 0;
    let device = if r.header.flags & flags::NO_DEVICE != 0 { 0 } else { r.header.ifindex };
    let hook = drops::hook(input.map(|name| &**name), has_route, device, r.iif, r.dst_ifindex);
    let conntrack = (r.header.flags & flags::HAS_CONNTRACK != 0)
        .then(|| {
            Some(Conntrack {
                original: conntrack_tuple(&r.ct_original)?,
                reply: conntrack_tuple(&r.ct_reply)?,
            })
        })
        .flatten();
    let seen = DropSeen {
        netns: r.header.netns,
        ifindex: device,
        reason,
        function,
        site,
        hook,
        packet,
        iif: r.iif,
        dst_ifindex: r.dst_ifindex,
        mark: r.header.mark,
        conntrack,
        application,
        chain: None,
    };
    Ok(observation(&r.header, Seen::Drop(Box::new(seen))))
}

/// The DNS message of a dropped packet, if it is one.
fn question(packet: &Packet, payload: &[u8]) -> Option<Application> {
    let dns = packet.tuple.source.port == 53 || packet.tuple.destination.port == 53;
    if !dns || payload.is_empty() {
        return None;
    }
    let tcp = matches!(packet.transport, Transport::Tcp { .. });
    dns::parse(payload, tcp).map(Application::Dns)
}

fn place(names: &KernelNames, reason: u32, location: u64) -> (Arc<str>, Arc<str>) {
    let reason = if reason == u32::MAX {
        "NOT_SPECIFIED".into()
    } else {
        names.reason(reason).cloned().unwrap_or_else(|| format!("REASON_{reason}").into())
    };
    (reason, names.function(location).cloned().unwrap_or_else(|| "?".into()))
}

/// `struct nf_conntrack_tuple`: source address (16), source port (2, big endian), l3num (2), destination
/// address (16), destination port (2), protocol (1), direction (1). For ICMP the source "port" is the id.
fn conntrack_tuple(raw: &[u8; 40]) -> Option<Tuple> {
    let family = u16::from_ne_bytes([raw[18], raw[19]]);
    let address = |at: usize| -> Option<IpAddr> {
        match family {
            2 => <[u8; 4]>::try_from(&raw[at..at + 4]).ok().map(IpAddr::from),
            10 => <[u8; 16]>::try_from(&raw[at..at + 16]).ok().map(IpAddr::from),
            _ => None,
        }
    };
    let port = |at: usize| u16::from_be_bytes([raw[at], raw[at + 1]]);
    let protocol = raw[38];
    let destination_port = if matches!(protocol, 1 | 58) { port(16) } else { port(36) };
    Some(Tuple {
        protocol,
        source: SocketAddress { ip: address(0)?, port: port(16) },
        destination: SocketAddress { ip: address(20)?, port: destination_port },
    })
}

fn seen_packet(header: &RecordHeader, tap: u8, class: u8, data: &[u8]) -> Result<Observation, DecodeError> {
    let tap = match TapPoint::from_raw(tap).ok_or(DecodeError::Field("tap"))? {
        TapPoint::PodOut => Tap::PodOut,
        TapPoint::PodIn => Tap::PodIn,
        TapPoint::UplinkOut => Tap::UplinkOut,
        TapPoint::UplinkIn => Tap::UplinkIn,
    };
    let (packet, payload) = packet::parse(data).map_err(DecodeError::Packet)?;
    let tcp = matches!(packet.transport, Transport::Tcp { .. });
    let mut application = if class == PacketClass::Dns as u8 {
        dns::parse(payload, tcp).map(Application::Dns)
    } else if tcp && !payload.is_empty() {
        tls::parse(payload).map(Application::Tls)
    } else {
        None
    };
    if let Some(Application::Dns(message)) = &mut application
        && let Some(answer) = &mut message.answer
    {
        answer.fragmented = packet::has_more_fragments(data);
    }
    Ok(observation(header, Seen::Packet(Box::new(PacketSeen { tap, packet, application }))))
}

/// An address as records carry it: IPv4 mapped into IPv6.
fn address(raw: [u8; 16]) -> IpAddr {
    IpAddr::from(raw).to_canonical()
}

fn ends(protocol: u8, local: ([u8; 16], u16), remote: ([u8; 16], u16)) -> Tuple {
    Tuple {
        protocol,
        source: SocketAddress { ip: address(local.0), port: local.1 },
        destination: SocketAddress { ip: address(remote.0), port: remote.1 },
    }
}

fn retransmit(r: &RetransmitRecord) -> Observation {
    let state = TcpState::from_raw(r.state);
    let seen = RetransmitSeen {
        tuple: ends(6, (r.local, r.local_port), (r.remote, r.remote_port)),
        socket: r.socket,
        state,
        syn: state == TcpState::SynSent,
        seq: r.seq,
        una: r.snd_una,
        length: r.header.len,
        mss: r.mss,
        timeouts: r.retransmits,
        silence: (r.silence_ms != 0).then(|| millis(r.silence_ms)),
        sacked: r.sacked,
        cgroup: r.cgroup,
        by_address: r.header.flags & flags::BY_ADDRESS != 0,
    };
    observation(&r.header, Seen::Retransmit(seen))
}

fn sock_state(r: &SockStateRecord) -> Result<Observation, DecodeError> {
    let protocol = u8::try_from(r.protocol).map_err(|_| DecodeError::Field("protocol"))?;
    let has = |flag: u16| r.header.flags & flag != 0;
    let has_bytes = has(flags::HAS_BYTES);
    let seen = SockStateSeen {
        tuple: ends(protocol, (r.local, r.local_port), (r.remote, r.remote_port)),
        socket: r.socket,
        old: TcpState::from_raw(r.old_state),
        new: TcpState::from_raw(r.new_state),
        error: r.sk_err,
        pid: r.pid,
        command: r.comm,
        dialler: has(flags::HAS_DIALLER),
        cgroup: r.cgroup,
        by_address: has(flags::BY_ADDRESS),
        una: has(flags::HAS_SEQ).then_some(r.header.len),
        received: has_bytes.then_some(r.header.len),
        sent: has_bytes.then_some(r.header.mark),
    };
    Ok(observation(&r.header, Seen::SockState(seen)))
}

fn receive_hole(r: &ReceiveHoleRecord) -> Observation {
    let seen = ReceiveHoleSeen {
        tuple: ends(6, (r.local, r.local_port), (r.remote, r.remote_port)),
        ranges: r.ranges,
        quiet: Duration::from_millis(u64::from(r.quiet_ms)),
        advertised_mss: u32::from(r.advertised_mss),
    };
    observation(&r.header, Seen::ReceiveHole(seen))
}

fn reset(r: &ResetRecord) -> Result<Observation, DecodeError> {
    let sent = r.header.flags & flags::RESET_SENT != 0;
    let no_socket = r.header.flags & flags::RESET_NO_SOCKET != 0;
    let tuple = if no_socket {
        // The packet that is being answered came from the remote end.
        packet::parse(sized(&r.data, r.data_len)?).map_err(DecodeError::Packet)?.0.tuple.reversed()
    } else {
        ends(6, (r.local, r.local_port), (r.remote, r.remote_port))
    };
    let state = (!no_socket).then(|| TcpState::from_raw(r.state));
    let progress = if no_socket { None } else { progress(sized(&r.data, r.data_len)?) };
    Ok(observation(&r.header, Seen::Reset(ResetSeen { tuple, sent, state, progress })))
}

/// The progress of a socket that was reset: words in host byte order, see `ResetRecord::data`.
fn progress(data: &[u8]) -> Option<SocketProgress> {
    let words = data.first_chunk::<{ RESET_PROGRESS }>()?;
    let word =
        |n: usize| u32::from_ne_bytes([words[n * 4], words[n * 4 + 1], words[n * 4 + 2], words[n * 4 + 3]]);
    Some(SocketProgress {
        una: word(0),
        next: word(1),
        written: word(2),
        received: word(3),
        sent_ago: millis(word(4)),
        received_ago: millis(word(5)),
    })
}

fn millis(value: u32) -> Duration {
    Duration::from_millis(u64::from(value))
}

fn no_route(r: &RouteRecord) -> Result<Observation, DecodeError> {
    let error = i32::try_from(r.error).map_err(|_| DecodeError::Field("error"))?;
    let seen = NoRouteSeen {
        destination: SocketAddress { ip: address(r.destination), port: r.destination_port },
        protocol: r.protocol,
        refusal: Refusal::from_errno(error).ok_or(DecodeError::Field("error"))?,
        table: r.table,
    };
    Ok(observation(&r.header, Seen::NoRoute(seen)))
}

fn chain(r: &ChainRecord) -> Result<Observation, DecodeError> {
    let family = drops::family(r.family).ok_or(DecodeError::Field("family"))?;
    let seen = ChainSeen {
        family,
        table: chain_name(&r.table).ok_or(DecodeError::Field("table"))?,
        chain: chain_name(&r.chain).ok_or(DecodeError::Field("chain"))?,
        hook: drops::numbered_hook(r.protocol, r.hook).ok_or(DecodeError::Field("hook"))?,
    };
    Ok(observation(&r.header, Seen::Chain(Box::new(seen))))
}

/// A name of nftables; `None` if it was cut (the kernel ends it where the room ends) or could not be read.
fn chain_name(bytes: &[u8]) -> Option<Box<str>> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    if end == 0 || end + 1 >= bytes.len() {
        return None;
    }
    std::str::from_utf8(bytes.get(..end)?).ok().map(Into::into)
}

fn aggregate(r: &AggregateRecord, names: &KernelNames) -> Observation {
    let (reason, function) = place(names, r.key.reason, r.key.location);
    let seen = Aggregated {
        source: address(r.key.source),
        destination: SocketAddress { ip: address(r.key.destination), port: r.key.destination_port },
        protocol: r.key.protocol,
        syn: r.key.protocol == 6 && r.key.detail == 1,
        reason,
        function,
        count: r.count,
    };
    Observation {
        at: Mono(r.header.time_ns),
        netns: r.key.netns,
        ifindex: r.header.ifindex,
        seen: Seen::Aggregated(seen),
    }
}
