//! What all netfilter subsystems share on the wire (`include/uapi/linux/netfilter/nfnetlink.h`).

use super::wire::{Attributes, Message, Request};

/// Size of `struct nfgenmsg`.
const HEADER: usize = 4;

/// A request to a subsystem for an address family (`AF_UNSPEC`: all of them).
pub(super) fn request(subsystem: libc::c_int, message: u8, flags: u16, family: u8) -> Request {
    let subsystem = u8::try_from(subsystem).unwrap_or_default();
    Request::new(u16::from_be_bytes([subsystem, message]), flags, &[family, 0, 0, 0])
}

/// Number of a message within its subsystem.
pub(super) fn number(message: &Message<'_>) -> u8 {
    message.kind.to_be_bytes()[1]
}

/// Address family of a message (`nfgen_family`).
pub(super) fn family(message: &Message<'_>) -> u8 {
    message.payload.first().copied().unwrap_or_default()
}

/// Attributes of a message.
pub(super) fn attributes<'a>(message: &Message<'a>) -> Attributes<'a> {
    Attributes::after(message.payload, HEADER)
}
