//! Packets as TC reports them: a byte for the tap, one for the class, one says where the packet is cut, the rest is
//! the packet. A packet may be refused or be known in part; it must never seem to belong to another flow.

use egress_common::{PacketClass, TapPoint};
use egress_core::decode::{KernelNames, Packet, Seen, Transport, Tuple, decode};

use super::records::{CLASSES, TAPS, seen};
use crate::Bytes;
use crate::reference::{self, Reference};

/// ICMP, and that of IPv6.
const ICMP: [u8; 2] = [1, 58];

pub(crate) fn run(input: &[u8]) {
    let mut bytes = Bytes(input);
    let (tap, class) = (bytes.pick(TAPS), bytes.pick(CLASSES));
    let cut = usize::from(bytes.u8());
    let data = bytes.0;
    let Some(whole) = decoded(tap, class, data) else { return };
    let Some(reference) = reference::read(data) else {
        unreachable!("decoded without a network header: {whole:?}")
    };
    agrees(&whole.tuple, &reference, data);
    if let Transport::Icmp(error) = &whole.transport {
        assert_eq!(error.about.source.ip.is_ipv6(), error.v6, "the quoted packet is of the other family");
        assert_eq!(whole.tuple.source.ip.is_ipv6(), error.v6, "an ICMP error of the other family");
    }
    // The same packet, less of it: less is known, nothing else.
    if let Some(part) = decoded(tap, class, &data[..cut.min(data.len())]) {
        is_part_of(&part, &whole);
    }
}

fn decoded(tap: TapPoint, class: PacketClass, data: &[u8]) -> Option<Packet> {
    let observation = decode(&seen(tap, class, data), &KernelNames::default()).ok()?;
    let Seen::Packet(packet) = observation.seen else { unreachable!("a packet became another thing") };
    Some(packet.packet)
}

/// The flow is that of the headers.
fn agrees(tuple: &Tuple, reference: &Reference, data: &[u8]) {
    assert_eq!((tuple.source.ip, tuple.destination.ip), (reference.source, reference.destination));
    let ports = (tuple.source.port, tuple.destination.port);
    if ports == (0, 0) || ICMP.contains(&tuple.protocol) {
        return;
    }
    assert_eq!(Some(tuple.protocol), reference.protocol, "{data:02x?}");
    assert_eq!(Some(ports), reference.ports, "{data:02x?}");
}

fn is_part_of(part: &Packet, whole: &Packet) {
    let (less, all) = (&part.tuple, &whole.tuple);
    assert_eq!((less.source.ip, less.destination.ip), (all.source.ip, all.destination.ip));
    assert_eq!((part.ttl, part.length), (whole.ttl, whole.length));
    if (less.source.port, less.destination.port) != (0, 0) {
        assert_eq!(less, all, "a cut packet has other ports");
    }
    if let (Transport::Tcp { .. }, whole) | (Transport::Icmp(_), whole) = (&part.transport, &whole.transport)
    {
        match (&part.transport, whole) {
            (Transport::Icmp(part), Transport::Icmp(whole)) => {
                assert_eq!((part.kind, part.code, part.mtu), (whole.kind, whole.code, whole.mtu));
                assert_eq!(part.about.source.ip, whole.about.source.ip);
                assert_eq!(part.about.destination.ip, whole.about.destination.ip);
            }
            (part, whole) => assert_eq!(part, whole, "a cut packet says more than the whole one"),
        }
    }
}
