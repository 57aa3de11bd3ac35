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
    /// Records a pod may cause per CPU and window of `budget_window_jiffies`; beyond it drops are only counted.
    pub pod_budget: u32,
    /// See `pod_budget`.
    pub budget_window_jiffies: u32,
    /// 1: drops have no reason argument on this kernel.
    pub no_reason: u32,
    /// [`crate::ABI_VERSION`] of the user side.
    pub abi: u32,
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

/// Per-CPU state of one pod slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub struct PodSlotState {
    /// Drops that found the aggregation map full. Only grows.
    pub overflow: u64,
    /// Start of the budget window, jiffies.
    pub window: u64,
    /// Records caused in this window.
    pub used: u64,
    /// TC records withheld by the budget. Only grows.
    pub withheld: u64,
}

const _: () = assert!(size_of::<Config>() == 32);
const _: () = assert!(size_of::<NetnsEntry>() == 8);
const _: () = assert!(size_of::<PodSlotState>() == 32);
