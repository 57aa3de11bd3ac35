//! Entry and exit of `nft_do_chain`, attached only if asked for: which chain a packet is in.
//!
//! ```c
//! unsigned int nft_do_chain(struct nft_pktinfo *pkt, void *priv)   // priv: the base chain
//! ```
//!
//! What a chain drops is freed in it (from 6.7), or by its caller right after it (before). So the entry notes packet
//! and chain, the exit forgets them unless the verdict is a drop, and `kfree_skb` reads the note in between, on the
//! same CPU. Where the packet moved to another CPU meanwhile, or an interrupt wrote its own note, there is none.

use aya_ebpf::helpers::bpf_jiffies64;
use egress_common::{ABSENT, CHAIN_NAME, ChainRecord, RecordKind, Stat};

use crate::{
    emit::{Slot, Wake, header},
    kernel::{Pkt, Skb, offset, read, read_text},
    maps::{CHAINS, Note, config},
};

/// `NF_VERDICT_MASK` of `netfilter.h`; 0 is `NF_DROP`.
const VERDICT: u32 = 0xff;
/// A note older than this part of a second is nobody's.
const FRESH: u64 = 10;

/// The packet enters a chain.
#[inline(always)]
pub fn entered(pkt: Pkt, chain: u64) -> i32 {
    let Some(note) = CHAINS.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: a value of a per-CPU map; an interrupt in between makes the check fail.
    unsafe {
        (&raw mut (*note).skb).write_volatile(pkt.skb());
        (&raw mut (*note).state).write_volatile(pkt.state());
        (&raw mut (*note).chain).write_volatile(chain);
        let (skb, state) =
            ((&raw const (*note).skb).read_volatile(), (&raw const (*note).state).read_volatile());
        (&raw mut (*note).check).write_volatile(skb ^ state ^ chain);
        (&raw mut (*note).at).write_volatile(bpf_jiffies64());
    }
    0
}

/// The packet leaves it.
#[inline(always)]
pub fn left(verdict: u32) -> i32 {
    if verdict & VERDICT != 0
        && let Some(note) = CHAINS.get_ptr_mut(0)
    {
        // SAFETY: as above.
        unsafe { (&raw mut (*note).skb).write_volatile(0) };
    }
    0
}

/// Reports the chain that the packet is in, or was dropped by, if that is known. The time of the record.
#[inline(always)]
pub fn report(skb: Skb, netns: u32, ifindex: u32, pod_slot: u32) -> Option<u64> {
    let (table_at, name_at) = (offset!(chain_table), offset!(chain_name));
    let (table_name_at, family_at) = (offset!(table_name), offset!(table_family));
    let (hook_at, protocol_at) = (offset!(state_hook), offset!(state_pf));
    // User space takes a name away if nobody asked: the verifier drops what follows.
    if table_at == ABSENT
        || name_at == ABSENT
        || table_name_at == ABSENT
        || family_at == ABSENT
        || hook_at == ABSENT
        || protocol_at == ABSENT
    {
        return None;
    }
    let note = take(skb)?;
    let name: u64 = read(note.chain + u64::from(name_at))?;
    let table: u64 = read(note.chain + u64::from(table_at))?;
    let table_name: u64 = read(table + u64::from(table_name_at))?;
    let family: u8 = read(table + u64::from(family_at))?;
    let hook: u8 = read(note.state + u64::from(hook_at))?;
    let protocol: u8 = read(note.state + u64::from(protocol_at))?;
    let mut slot = Slot::<ChainRecord>::reserve(Wake::WhenFilling, Stat::ChainReported, Stat::ChainLost)?;
    let record = slot.record();
    // SAFETY: the place is as large as the record, and every field is written.
    let time = unsafe {
        (*record).header = header(RecordKind::Chain, 0, netns, ifindex, pod_slot);
        (*record).hook = hook;
        (*record).protocol = protocol;
        (*record).family = family & 0x3f;
        (*record).pad = [0; 5];
        read_text::<CHAIN_NAME>((&raw mut (*record).table).cast(), table_name);
        read_text::<CHAIN_NAME>((&raw mut (*record).chain).cast(), name);
        (*record).header.time_ns
    };
    slot.submit();
    Some(time)
}

/// The note, if it is this packet's; it is used once.
#[inline(always)]
fn take(skb: Skb) -> Option<Note> {
    let place = CHAINS.get_ptr_mut(0)?;
    // SAFETY: a value of a per-CPU map.
    let note = unsafe { place.read_volatile() };
    // SAFETY: as above. Read again, or the compiler calculates with the pointer that it equals, which is forbidden.
    let again = unsafe { (&raw const (*place).skb).read_volatile() };
    let whole = again ^ note.state ^ note.chain == note.check;
    // SAFETY: no arguments.
    let age = unsafe { bpf_jiffies64() }.wrapping_sub(note.at);
    if !whole || note.skb != skb.address() || age > u64::from(config!(jiffies_per_second)) / FRESH {
        return None;
    }
    // SAFETY: as above.
    unsafe { (&raw mut (*place).skb).write_volatile(0) };
    Some(note)
}
