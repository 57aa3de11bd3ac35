//! Records: the first byte chooses a kind, the rest is the record.

use egress_core::decode::{KernelNames, decode};

use super::records::{KINDS, shaped};
use crate::Bytes;

pub(crate) fn run(input: &[u8]) {
    let names = KernelNames::default();
    // As it is: the kind may be unknown, the length wrong.
    let _ = decode(input, &names);
    let mut bytes = Bytes(input);
    let kind = bytes.pick(KINDS);
    let record = shaped(kind, bytes.0);
    let first = decode(&record, &names);
    assert_eq!(first, decode(&record, &names), "the same record, another observation");
}
