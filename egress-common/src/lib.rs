//! The records that cross from the kernel programs to user space.
//!
//! Everything here is `repr(C)`, made of integers and byte arrays with explicit padding, and is read on the
//! other side by exact length with [`read_record`]. A change of any layout is a change of [`ABI_VERSION`].
#![no_std]

mod aggregate;
mod config;
mod offsets;
mod record;
mod sieve;
mod stats;

pub use aggregate::{AggregateKey, AggregateValue};
pub use config::{
    Config, NETNS_NODE, NETNS_POD, NetnsEntry, PodSlotState, REASON_CLASSES, REASON_DROP, REASON_HOUSEKEEPING,
};
pub use offsets::{ABSENT, Offsets};
pub use record::{
    AggregateRecord, CHAIN_NAME, ChainRecord, DropRecord, HELLO_SNAP, LONG_SNAP, LossRecord, PacketClass,
    PacketHelloRecord, PacketLongRecord, PacketRecord, RESET_PROGRESS, ReceiveHoleRecord, Record,
    RecordHeader, RecordKind, ResetRecord, RetransmitRecord, RouteRecord, SHORT_SNAP, SockStateRecord,
    TapPoint, flags, read_record, record_bytes,
};
pub use sieve::{SIEVE_WORDS, sieve_bit};
pub use stats::Stat;

/// Version of every layout in this crate. Captures carry it; the agent refuses an object built with another.
pub const ABI_VERSION: u16 = 1;
