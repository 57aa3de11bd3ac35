//! Maps and frozen globals. User space sizes the maps whose size depends on the machine.

use core::ptr::{NonNull, from_ref, read_volatile};

use crate::packet::bytes;
use aya_ebpf::{
    bindings::bpf_map_type::BPF_MAP_TYPE_HASH,
    btf_maps::{Array, ArrayOfMaps, HashMap, PerCpuArray, RingBuf},
    helpers::generated::{bpf_map_lookup_elem, bpf_map_update_elem},
    macros::btf_map,
};
use egress_common::{
    AggregateKey, AggregateValue, Config, NetnsEntry, Offsets, PodSlotState, REASON_CLASSES, SIEVE_WORDS,
    Stat, sieve_bit,
};

/// One ring a CPU, put in by user space. The size here is only the template's.
#[btf_map]
pub static RINGS: ArrayOfMaps<RingBuf<u64, 4096>, 1> = ArrayOfMaps::new();

/// The generation of drop counters in use. User space puts in a fresh one and drains the old.
#[btf_map]
pub static AGGREGATES: ArrayOfMaps<Generation, 1> = ArrayOfMaps::new();

/// Network namespaces that matter, by inode number.
#[btf_map]
pub static NETNS: HashMap<u32, NetnsEntry, 2048> = HashMap::new();

/// Addresses of local pods (IPv4 as `::ffff:a.b.c.d`) → slot.
#[btf_map]
pub static POD_IPS: HashMap<[u8; 16], u32, 4096> = HashMap::new();

/// A bit for each address of [`POD_IPS`] (see [`sieve_bit`]).
#[btf_map]
pub static POD_SIEVE: Array<[u64; SIEVE_WORDS], 1> = Array::new();

/// Budgets and overflow counts, by slot.
#[btf_map]
pub static SLOTS: PerCpuArray<PodSlotState, 1> = PerCpuArray::new();

/// The packet that this CPU has in a chain of nftables.
#[btf_map]
pub static CHAINS: PerCpuArray<Note, 1> = PerCpuArray::new();

/// A packet in a chain: addresses in the kernel.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Note {
    /// `struct sk_buff *`, 0: none.
    pub skb: u64,
    /// `struct nf_hook_state *`
    pub state: u64,
    /// `struct nft_chain *`
    pub chain: u64,
    /// All three combined: half a note is none.
    pub check: u64,
    /// `jiffies`
    pub at: u64,
}

/// Counters, indexed by [`Stat`].
#[btf_map]
pub static STATS: PerCpuArray<[u64; Stat::COUNT as usize], 1> = PerCpuArray::new();

/// `jiffies` when this CPU last woke the reader for a drop.
#[btf_map]
pub static WOKEN: PerCpuArray<u64, 1> = PerCpuArray::new();

/// `jiffies` when user space was last alive.
#[btf_map]
pub static HEARTBEAT: Array<u64, 1> = Array::new();

/// UDP flows seen lately: a direct-mapped cache. High half a fingerprint of the flow, low half the jiffies.
#[btf_map]
pub static UDP_FLOWS: Array<u64, { UDP_FLOW_SLOTS as usize }> = Array::new();

/// Entries of [`UDP_FLOWS`], a power of two.
pub const UDP_FLOW_SLOTS: u32 = 16384;

/// Set by the loader, then frozen.
#[unsafe(no_mangle)]
pub static OFFSETS: Offsets = Offsets::NONE;

/// Set by the loader, then frozen.
#[unsafe(no_mangle)]
pub static CONFIG: Config = Config {
    report_gap_jiffies: 25,
    heartbeat_jiffies: 0,
    udp_pause_jiffies: 500,
    budget_window_jiffies: 10,
    drop_budget: 1,
    control_budget: 1,
    dns_budget: 1,
    other_budget: 1,
    ring_bytes: 4096,
    node_netns: 0,
    uplink_slot: 0,
    jiffies_per_second: 0,
};

/// Class of each drop reason. Set by the loader, then frozen.
#[unsafe(no_mangle)]
pub static REASONS: [u8; REASON_CLASSES] = [0; REASON_CLASSES];

/// A hash map of drop counters. Declared by sizes and not by types: up to 6.2 the kernel takes only a map that was
/// made with BTF types in the place of a template that was (it compares `timer_off`).
#[repr(C)]
pub struct Generation {
    r#type: *const [i32; BPF_MAP_TYPE_HASH as usize],
    key_size: *const [i32; size_of::<AggregateKey>()],
    value_size: *const [i32; size_of::<AggregateValue>()],
    max_entries: *const [i32; 8192],
    map_flags: *const [i32; 0],
}

impl Generation {
    /// The counters of a key.
    #[inline(always)]
    pub fn get(&self, key: &AggregateKey) -> Option<*mut AggregateValue> {
        // SAFETY: the reference is a map of this key.
        let value = unsafe { bpf_map_lookup_elem(from_ref(self).cast_mut().cast(), from_ref(key).cast()) };
        NonNull::new(value.cast()).map(NonNull::as_ptr)
    }

    /// Adds a key; an error of `errno(3)` if it is there, or if there is no room.
    #[inline(always)]
    pub fn insert(&self, key: &AggregateKey, value: &AggregateValue, flags: u64) -> i64 {
        let map = from_ref(self).cast_mut().cast();
        // SAFETY: the reference is a map of this key and value.
        unsafe { bpf_map_update_elem(map, from_ref(key).cast(), from_ref(value).cast(), flags) }
    }
}

/// The slot of the local pod that has this address.
#[inline(always)]
pub fn pod_of(address: [u64; 2]) -> Option<u32> {
    let (word, bit) = sieve_bit(address);
    let sieve = POD_SIEVE.get_ptr_mut(0)?.cast::<u64>();
    // SAFETY: within the map's only value, which user space replaces word by word.
    if unsafe { sieve.add(word % SIEVE_WORDS).read_volatile() } & bit == 0 {
        return None;
    }
    // SAFETY: the value is copied at once; slots are stable numbers.
    unsafe { POD_IPS.get(bytes(address)) }.copied()
}

/// Reads a field of the configuration: a constant to the verifier.
macro_rules! config {
    ($field:ident) => {
        // SAFETY: a static; volatile, or the compiler would use the value it has at build time.
        unsafe { core::ptr::read_volatile(&raw const $crate::maps::CONFIG.$field) }
    };
}
pub(crate) use config;

/// The class of a drop reason; subsystems' reasons are drops.
#[inline(always)]
pub fn reason_class(reason: u32) -> u8 {
    let index = reason as usize;
    if index < REASON_CLASSES {
        // SAFETY: within the array. Volatile, see `config!`.
        unsafe { read_volatile((&raw const REASONS).cast::<u8>().add(index)) }
    } else {
        egress_common::REASON_DROP
    }
}

/// Adds one to a counter of this CPU. Atomic: a program may interrupt another on the same CPU, and totals
/// must stay exact.
#[inline(always)]
pub fn count(stat: Stat) {
    if let Some(value) = counter(stat) {
        add(value, 1);
    }
}

/// The same where only one program counts, which the kernel does not let interrupt itself (from 6.1), or where a
/// total is nothing but a hint. Saves a locked instruction on the way of every packet.
#[inline(always)]
pub fn count_hot(stat: Stat) {
    if let Some(value) = counter(stat) {
        // SAFETY: a value of a per-CPU map.
        unsafe { *value += 1 };
    }
}

#[inline(always)]
fn counter(stat: Stat) -> Option<*mut u64> {
    // SAFETY: every `Stat` but the last is an index of the array, and that one is never counted.
    STATS.get_ptr_mut(0).map(|counters| unsafe { counters.cast::<u64>().add(stat as usize) })
}

/// Atomic addition to a map value. The target's `core` has no such operation, the instruction set has.
#[inline(always)]
pub fn add(value: *mut u64, n: u64) {
    // SAFETY: map values are 8-byte aligned and live as long as the program runs.
    unsafe {
        core::arch::asm!("lock *(u64 *)({value} + 0) += {n}", value = in(reg) value, n = in(reg) n, options(nostack));
    }
}
