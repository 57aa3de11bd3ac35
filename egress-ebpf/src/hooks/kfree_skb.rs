//! `skb:kfree_skb`: every drop of a pod's packet.
//!
//! ```c
//! TP_PROTO(struct sk_buff *skb, void *location)                                                    // < 5.17
//! TP_PROTO(struct sk_buff *skb, void *location, enum skb_drop_reason reason)                       // 5.17
//! TP_PROTO(struct sk_buff *skb, void *location, enum skb_drop_reason reason, struct sock *rx_sk)   // 6.11
//! ```
//!
//! The cheapest test comes first. A drop of a local pod ends in exactly one of: a record, a count under its
//! key, a count under its pod (map full), a counted loss (ring full).

use core::mem::offset_of;

use aya_ebpf::{bindings::BPF_NOEXIST, helpers::bpf_jiffies64};
use egress_common::{
    AggregateKey, AggregateValue, DropRecord, NETNS_NODE, NETNS_POD, REASON_HOUSEKEEPING, RecordKind,
    SHORT_SNAP, Stat, flags,
};

use crate::{
    emit::{Slot, Wake, header, zero},
    hooks::{budget, chain},
    kernel::{Skb, Sock, read, read_bytes},
    maps::{AGGREGATES, NETNS, SLOTS, add, config, count, count_hot, pod_of, reason_class},
    packet::{Flow, IPV4, IPV6, bytes},
};

/// `EEXIST` of `errno(3)`.
const EEXIST: i64 = -17;

/// Where a packet was when it was dropped.
struct Place {
    netns: u32,
    kind: u32,
    slot: u32,
    ifindex: u32,
    flags: u16,
}

/// The hook.
#[inline(always)]
pub fn dropped(skb: Skb, location: u64, reason: u32, receiver: Sock) -> i32 {
    if reason_class(reason) == REASON_HOUSEKEEPING {
        count_hot(Stat::DropHousekeeping);
        return 0;
    }
    let protocol = skb.protocol();
    if protocol != IPV4 && protocol != IPV6 {
        count_hot(Stat::DropForeign);
        return 0;
    }
    let Some(mut place) = locate(skb, receiver) else {
        count_hot(Stat::DropForeign);
        return 0;
    };

    let (at, linear) = skb.network();
    // Reading past the packet's end stays within its buffer (`skb_shared_info` lies behind).
    let peek = if linear == 0 { None } else { read(at) };
    let Some(flow) = peek.and_then(|peek| Flow::parse(&peek, linear, protocol)) else {
        count(Stat::DropUnreadable);
        return 0;
    };
    if place.kind != NETNS_POD {
        let slot = pod_of(flow.source).or_else(|| pod_of(flow.destination));
        let Some(slot) = slot.or_else(|| translated(skb, protocol)) else {
            count_hot(Stat::DropForeign);
            return 0;
        };
        place.slot = slot;
    }

    let key = AggregateKey {
        location,
        source: bytes(flow.source),
        destination: bytes(flow.destination),
        netns: place.netns,
        reason,
        pod_slot: place.slot,
        destination_port: flow.destination_port,
        protocol: flow.protocol,
        detail: u8::from(flow.opens),
    };
    if is_reported(&key) {
        report(skb, at, linear, &key, &place, protocol);
    }
    0
}

/// The pod of a packet that carries the node's address: translated already, or not yet back. Its conntrack entry
/// knows who opened the flow.
#[inline(always)]
fn translated(skb: Skb, protocol: u16) -> Option<u32> {
    let (source, destination) = skb.conntrack()?.original_addresses(protocol)?;
    pod_of(source).or_else(|| pod_of(destination))
}

/// Finds the packet's namespace among those that matter: by its device, else by a socket, else by its route.
#[inline(always)]
fn locate(skb: Skb, receiver: Sock) -> Option<Place> {
    let device = skb.device();
    if let Some(device) = device
        && let Some(mut place) = place(device.netns(), 0)
    {
        place.ifindex = device.index();
        return Some(place);
    }
    // No device (local output), or a queue's linkage in its place.
    if let Some(place) = place(skb.socket().netns(), flags::NO_DEVICE) {
        return Some(place);
    }
    if let Some(place) = place(receiver.netns(), flags::NO_DEVICE) {
        return Some(place);
    }
    if device.is_some() {
        return None;
    }
    let (ifindex, netns) = skb.route()?.device();
    let mut place = place(netns, flags::NO_DEVICE)?;
    place.ifindex = ifindex;
    Some(place)
}

/// The entry of a namespace, if it matters.
#[inline(always)]
fn place(netns: u32, flags: u16) -> Option<Place> {
    if netns == 0 {
        return None;
    }
    // Most drops are in the node's namespace, and that is known without a look-up.
    if netns == config!(node_netns) {
        return Some(Place { netns, kind: NETNS_NODE, slot: 0, ifindex: 0, flags });
    }
    // SAFETY: the value is copied at once.
    let entry = unsafe { NETNS.get(netns) }?;
    Some(Place { netns, kind: entry.kind, slot: entry.pod_slot, ifindex: 0, flags })
}

/// Counts the drop under its key, unless it is to be a record of its own.
#[inline(always)]
fn is_reported(key: &AggregateKey) -> bool {
    // SAFETY: no arguments.
    let now = unsafe { bpf_jiffies64() };
    let Some(generation) = AGGREGATES.get(0) else {
        // Not before user space is ready.
        overflow(key);
        return false;
    };
    if let Some(value) = generation.get(key) {
        return known(key, value, now);
    }
    let granted = take(key, now);
    let first = AggregateValue { aggregated: u64::from(!granted), reported_at: now };
    let inserted = generation.insert(key, &first, u64::from(BPF_NOEXIST));
    if granted {
        return true;
    }
    match inserted {
        0 => count_hot(Stat::DropAggregated),
        // Another CPU was faster.
        EEXIST => match generation.get(key) {
            Some(value) => aggregate(value),
            None => overflow(key),
        },
        _ => overflow(key),
    }
    false
}

/// A drop of a known key: a record after a while, else a count.
#[inline(always)]
fn known(key: &AggregateKey, value: *mut AggregateValue, now: u64) -> bool {
    // SAFETY: a map value; two CPUs may both find it old and both report, which is no miscount.
    let last = unsafe { (*value).reported_at };
    if now.wrapping_sub(last) >= config!(report_gap_jiffies) && take(key, now) {
        // SAFETY: as above.
        unsafe { (*value).reported_at = now };
        return true;
    }
    aggregate(value);
    false
}

/// Takes a record from the pod's budget.
#[inline(always)]
fn take(key: &AggregateKey, now: u64) -> bool {
    SLOTS.get_ptr_mut(key.pod_slot).is_some_and(|state| budget::take_drop(state, now))
}

#[inline(always)]
fn aggregate(value: *mut AggregateValue) {
    // SAFETY: a map value.
    add(unsafe { &raw mut (*value).aggregated }, 1);
    count_hot(Stat::DropAggregated);
}

/// No room under the key: counted under the pod.
#[inline(always)]
fn overflow(key: &AggregateKey) {
    if let Some(state) = SLOTS.get_ptr_mut(key.pod_slot) {
        // SAFETY: a value of a per-CPU map.
        add(unsafe { &raw mut (*state).overflow }, 1);
    }
    count(Stat::DropOverflow);
}

/// Writes the record.
#[inline(always)]
fn report(skb: Skb, at: u64, linear: u32, key: &AggregateKey, place: &Place, protocol: u16) {
    let named = chain::report(skb, place.netns, place.ifindex, key.pod_slot);
    let Some(mut slot) = Slot::<DropRecord>::reserve(Wake::Now, Stat::DropReported, Stat::DropLost) else {
        return;
    };
    let record = slot.record();
    let mut bits = place.flags;
    // SAFETY: the place is as large as the record, and every field is written.
    unsafe {
        (*record).header = header(RecordKind::Drop, 0, place.netns, place.ifindex, key.pod_slot);
        if let Some(time) = named {
            (*record).header.time_ns = time;
        }
        (*record).header.len = skb.len();
        (*record).header.mark = skb.mark();
        // `dst_output` lies behind `dst_input`.
        const { assert!(offset_of!(DropRecord, dst_output) == offset_of!(DropRecord, dst_input) + 8) };
        (*record).location = key.location;
        (*record).reason = key.reason;
        (*record).iif = skb.iif();
        (*record).protocol = protocol;
        zero::<2>((&raw mut (*record).dst_input).cast());
        (*record).dst_ifindex = 0;
        zero::<5>((&raw mut (*record).ct_original).cast());
        zero::<5>((&raw mut (*record).ct_reply).cast());
        zero::<{ SHORT_SNAP / 8 }>((&raw mut (*record).data).cast());

        if let Some(route) = skb.route() {
            let (input, output) = route.functions();
            (*record).dst_input = input;
            (*record).dst_output = output;
            (*record).dst_ifindex = route.device_index();
            if input != 0 || output != 0 {
                bits |= flags::HAS_DST;
            }
        }
        if let Some(entry) = skb.conntrack()
            && entry.tuples((&raw mut (*record).ct_original).cast(), (&raw mut (*record).ct_reply).cast())
        {
            bits |= flags::HAS_CONNTRACK;
            if entry.is_confirmed() {
                bits |= flags::CT_CONFIRMED;
            }
        }
        if !skb.socket().is_none() {
            bits |= flags::HAS_SOCKET;
        }
        let wanted = if linear > SHORT_SNAP as u32 { SHORT_SNAP as u32 } else { linear };
        if read_bytes((&raw mut (*record).data).cast(), wanted, at) {
            (*record).data_len = wanted as u16;
        } else {
            (*record).data_len = 0;
            bits |= flags::NO_DATA;
        }
        (*record).header.flags = bits;
    }
    slot.submit();
}
