//! Records made of arbitrary bytes: the kind and the length fit, all else is as it comes.

use egress_common::{
    AggregateRecord, ChainRecord, DropRecord, LONG_SNAP, LossRecord, PacketClass, PacketHelloRecord,
    PacketLongRecord, PacketRecord, ReceiveHoleRecord, RecordHeader, RecordKind, ResetRecord,
    RetransmitRecord, RouteRecord, SHORT_SNAP, SockStateRecord, TapPoint, record_bytes,
};

/// Every kind with the length of its records.
pub const KINDS: &[(RecordKind, usize)] = &[
    (RecordKind::Drop, size_of::<DropRecord>()),
    (RecordKind::Packet, size_of::<PacketRecord>()),
    (RecordKind::PacketLong, size_of::<PacketLongRecord>()),
    (RecordKind::Retransmit, size_of::<RetransmitRecord>()),
    (RecordKind::SockState, size_of::<SockStateRecord>()),
    (RecordKind::Reset, size_of::<ResetRecord>()),
    (RecordKind::Aggregate, size_of::<AggregateRecord>()),
    (RecordKind::Loss, size_of::<LossRecord>()),
    (RecordKind::PacketHello, size_of::<PacketHelloRecord>()),
    (RecordKind::Route, size_of::<RouteRecord>()),
    (RecordKind::ReceiveHole, size_of::<ReceiveHoleRecord>()),
    (RecordKind::Chain, size_of::<ChainRecord>()),
];

/// Where a record holds its kind.
const KIND: std::ops::Range<usize> = 8..10;

/// A record of this kind that begins with these bytes, cut or filled with zeros.
#[must_use]
pub fn shaped((kind, length): (RecordKind, usize), body: &[u8]) -> Vec<u8> {
    let mut bytes = body[..body.len().min(length)].to_vec();
    bytes.resize(length, 0);
    bytes[KIND].copy_from_slice(&(kind as u16).to_ne_bytes());
    bytes
}

/// A header of this kind.
#[must_use]
pub fn header(kind: RecordKind) -> RecordHeader {
    RecordHeader {
        time_ns: 1,
        kind: kind as u16,
        flags: 0,
        cpu: 0,
        netns: 1,
        ifindex: 2,
        pod_slot: 0,
        len: 0,
        mark: 0,
        pad: 0,
    }
}

/// Every class.
pub const CLASSES: &[PacketClass] = &[
    PacketClass::TcpControl,
    PacketClass::IcmpError,
    PacketClass::Echo,
    PacketClass::Dns,
    PacketClass::TlsClientHello,
    PacketClass::TlsAlert,
    PacketClass::UdpFirst,
    PacketClass::SctpControl,
    PacketClass::TlsFlight,
    PacketClass::TlsTwoBytes,
];

/// Every tap.
pub const TAPS: &[TapPoint] = &[TapPoint::PodOut, TapPoint::PodIn, TapPoint::UplinkOut, TapPoint::UplinkIn];

/// TC saw this packet, cut to what a record holds: the shortest that takes it, as far as one does.
#[must_use]
pub fn seen(tap: TapPoint, class: PacketClass, packet: &[u8]) -> Vec<u8> {
    macro_rules! seen {
        ($record:ident, $kind:ident) => {{
            let mut record = $record {
                header: header(RecordKind::$kind),
                tap: tap as u8,
                class: class as u8,
                protocol: 8,
                data_len: 0,
                pad: 0,
                data: [0; _],
            };
            let length = packet.len().min(record.data.len());
            record.data[..length].copy_from_slice(&packet[..length]);
            record.data_len = u16::try_from(length).unwrap_or(0);
            record_bytes(&record).to_vec()
        }};
    }
    if packet.len() > LONG_SNAP {
        seen!(PacketHelloRecord, PacketHello)
    } else if packet.len() > SHORT_SNAP {
        seen!(PacketLongRecord, PacketLong)
    } else {
        seen!(PacketRecord, Packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_fuzzed() {
        for kind in (0..=u16::MAX).filter_map(RecordKind::from_raw) {
            assert!(KINDS.iter().any(|(known, _)| *known == kind), "{kind:?} is missing in KINDS");
        }
    }
}
