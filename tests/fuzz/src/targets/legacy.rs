//! Tables of iptables-legacy: a byte for the family, 84 of `struct ipt_getinfo`, then the image.

use egress_agent::fuzzing;

use crate::Bytes;

/// Size of `struct ipt_getinfo`.
const INFO: usize = 84;

pub(crate) fn run(input: &[u8]) {
    let mut bytes = Bytes(input);
    let v6 = bytes.u8() & 1 == 1;
    let info = bytes.take(INFO);
    assert!(fuzzing::iptables_legacy(v6, info, bytes.0).len() <= 5, "more base chains than hooks");
}
