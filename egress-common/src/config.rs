//! What user space tells the programs: the frozen configuration and the values of the filter maps.

use core::mem::size_of;

/// Number of drop reasons that are classified; larger ones (subsystems) count as drops.
pub const REASON_CLASSES: usize = 256;
/// Class of a reason that means a lost packet.
pub const REASON_DROP: u8 = 0;
/// Class of a reason that is housekeeping: counted, not reported.
pub const REASON_HOUSEKEEPING: u8 = 1;

/// [`NetnsEntry::kind`]: the node's namespace; packets matter if an address is a local pod's.
pub const NETNS_NODE: u32 = 1;
/// [`NetnsEntry::kind`]: a pod's own namespace; every packet matters.
pub const NETNS_POD: u32 = 2;

/// The frozen configuration of the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Config {
    /// A drop of a known key is reported again after this many jiffies, else counted.
    pub report_gap_jiffies: u64,
    /// With clsact: programs stand aside when the heartbeat is older than this; 0 where links die with us.
    pub heartbeat_jiffies: u64,
    /// A UDP flow that was silent this many jiffies is reported again.
    pub udp_pause_jiffies: u64,
    /// Length of a budget window, jiffies.
    pub budget_window_jiffies: u64,
    /// Drop records a pod may cause per CPU and window; beyond it drops are only counted.
    pub drop_budget: u32,
    /// TC records of handshakes, resets and closes a slot may cause per CPU and window; beyond it they are withheld.
    pub control_budget: u32,
    /// TC records of DNS, likewise.
    pub dns_budget: u32,
    /// Other TC records (ICMP, TLS, first UDP packets), likewise.
    pub other_budget: u32,
    /// Bytes of each CPU's ring, a power of two.
    pub ring_bytes: u32,
    /// Inode number of the network namespace in which the TC programs stand.
    pub node_netns: u32,
    /// Slot that the uplinks share.
    pub uplink_slot: u32,
    /// Jiffies a second (`CONFIG_HZ`).
    pub jiffies_per_second: u32,
}

/// Value of the namespace filter map, keyed by the namespace's inode number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub struct NetnsEntry {
    /// [`NETNS_NODE`] or [`NETNS_POD`].
    pub kind: u32,
    /// Slot of the pod, for [`NETNS_POD`].
    pub pod_slot: u32,
}

/// Per-CPU state of one slot: a pod, or all uplinks together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub struct PodSlotState {
    /// Drops that found the aggregation map full. Only grows.
    pub overflow: u64,
    /// TC records withheld by the budget. Only grows.
    pub withheld: u64,
    /// Start of the budget window of the drops, jiffies.
    pub drop_window: u64,
    /// Start of the budget window of the TC records, jiffies.
    pub packet_window: u64,
    /// Drop records caused in this window.
    pub drops: u32,
    /// TC records caused in this window, by budget: control, DNS, other.
    pub packets: [u32; 3],
}

const _: () = assert!(size_of::<Config>() == 64);
const _: () = assert!(size_of::<NetnsEntry>() == 8);
const _: () = assert!(size_of::<PodSlotState>() == 48);
