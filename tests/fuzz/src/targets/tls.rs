//! TLS records in TCP segments: a byte for the tap, one for the class, one for the number of bytes that come in a first
//! segment; the rest is the stream, cut there.

use egress_core::decode::{KernelNames, decode};
use etherparse::PacketBuilder;

use super::records::{CLASSES, TAPS, seen};
use crate::Bytes;

pub(crate) fn run(input: &[u8]) {
    let mut bytes = Bytes(input);
    let (tap, class) = (bytes.pick(TAPS), bytes.pick(CLASSES));
    let cut = usize::from(bytes.u8()).min(bytes.0.len());
    let names = KernelNames::default();
    for part in [&bytes.0[..cut], &bytes.0[cut..], bytes.0] {
        let mut packet = Vec::new();
        let segment =
            PacketBuilder::ipv4([10, 244, 1, 5], [203, 0, 113, 4], 64).tcp(40000, 443, 1, 1000).ack(9);
        if segment.write(&mut packet, part).is_ok() {
            let record = seen(tap, class, &packet);
            assert_eq!(
                decode(&record, &names),
                decode(&record, &names),
                "the same record, another observation"
            );
        }
    }
}
