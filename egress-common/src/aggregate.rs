//! The key and value under which repeating drops are counted in the kernel.

use core::mem::size_of;

/// What repeating drops have in common. The source port is left out on purpose: random ports must not explode
/// the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct AggregateKey {
    /// `location` of the drop.
    pub location: u64,
    /// Source address as on the dropped packet, IPv4 as `::ffff:a.b.c.d`.
    pub source: [u8; 16],
    /// Destination address, likewise.
    pub destination: [u8; 16],
    /// Network namespace.
    pub netns: u32,
    /// Drop reason, the running kernel's number.
    pub reason: u32,
    /// Slot of the pod.
    pub pod_slot: u32,
    /// Destination port, host byte order, 0 where there is none.
    pub destination_port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// For TCP: 1 if the packet opened a connection (SYN without ACK). For TC records held back: the tap point.
    pub detail: u8,
}

/// Counters of one key. They only grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub struct AggregateValue {
    /// Drops counted here and not reported as records.
    pub aggregated: u64,
    /// `jiffies` of the last drop that was reported as a record.
    pub reported_at: u64,
}

const _: () = assert!(size_of::<AggregateKey>() == 56);
const _: () = assert!(size_of::<AggregateValue>() == 16);
