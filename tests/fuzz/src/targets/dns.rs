//! DNS messages over UDP and TCP: the first byte chooses, the rest is the message.

use egress_common::{PacketClass, TapPoint};
use egress_core::decode::{Application, KernelNames, Seen, decode};
use etherparse::PacketBuilder;

use super::records::seen;
use crate::Bytes;

/// The longest text of a name: 255 bytes on the wire, each written as `\DDD` at worst.
const LONGEST_NAME: usize = 4 * 255;

pub(crate) fn run(input: &[u8]) {
    let mut bytes = Bytes(input);
    let tcp = bytes.u8() & 1 == 1;
    let builder = PacketBuilder::ipv4([10, 0, 0, 1], [10, 96, 0, 10], 64);
    let mut packet = Vec::new();
    let written = if tcp {
        builder.tcp(40000, 53, 1, 1000).write(&mut packet, bytes.0)
    } else {
        builder.udp(40000, 53).write(&mut packet, bytes.0)
    };
    if written.is_err() {
        return;
    }
    // Filled up, so that it is a long record.
    packet.resize(packet.len().max(200), 0);
    let record = seen(TapPoint::PodOut, PacketClass::Dns, &packet);
    let Ok(observation) = decode(&record, &KernelNames::default()) else { return };
    let Seen::Packet(packet) = observation.seen else { return };
    if let Some(Application::Dns(message)) = packet.application {
        assert!(message.name.len() <= LONGEST_NAME, "a name of {} bytes", message.name.len());
        assert!(message.name.is_ascii(), "a name that is not ASCII: {}", message.name);
        let addresses = message.answer.map_or(0, |answer| answer.addresses.len());
        assert!(addresses <= input.len() / 4, "{addresses} addresses in {} bytes", input.len());
    }
}
