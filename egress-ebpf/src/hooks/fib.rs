//! `fib:fib_table_lookup` and `fib6:fib6_table_lookup`: a pod has no route for what it wants to send. Nothing else in the
//! kernel tells: there is no packet yet that could be dropped.
//!
//! ```c
//! TP_PROTO(u32 tb_id, const struct flowi4 *flp, const struct fib_nh_common *nhc, int err)
//! TP_PROTO(const struct net *net, const struct fib6_result *res, struct fib6_table *table, const struct flowi6 *flp)
//! ```
//!
//! Every look-up of the machine comes by here, so the first test is the one that ends almost all of them.

use aya_ebpf::helpers::bpf_jiffies64;
use egress_common::{NETNS_POD, RecordKind, RouteRecord, Stat};

use crate::{
    emit::{Slot, Wake, header},
    hooks::budget::{self, PacketBudget},
    kernel::{Net, Wanted, current_netns, fib6_table, fib6_type},
    maps::{NETNS, SLOTS, count},
    packet::{TCP, UDP, bytes},
};

/// `LOOPBACK_IFINDEX`: the input device of what this machine sends.
const LOOPBACK: u32 = 1;
/// `RT_TABLE_LOCAL`, which never has a route to elsewhere.
const LOCAL: u32 = 255;
/// `RTN_BLACKHOLE`, the first of the types that refuse, and the last, `RTN_PROHIBIT`.
const BLACKHOLE: u8 = 6;
const PROHIBIT: u8 = 8;
/// `EINVAL`, `EHOSTUNREACH`, `EACCES`.
const ERRORS: [u32; 3] = [22, 113, 13];
/// DNS.
const DOMAIN: u16 = 53;

/// An IPv4 look-up.
#[inline(always)]
pub fn looked_up(table: u32, wanted: Wanted, error: i32) -> i32 {
    if error >= 0 || table == LOCAL || wanted.iif() != LOOPBACK {
        return 0;
    }
    let (destination, port) = wanted.to_v4();
    report(current_netns(), table, wanted.protocol(), destination, port, error.wrapping_neg() as u32);
    0
}

/// An IPv6 look-up.
#[inline(always)]
pub fn looked_up_v6(
    net: Net,
    result: *const core::ffi::c_void,
    table: *const core::ffi::c_void,
    wanted: Wanted,
) -> i32 {
    let kind = fib6_type(result);
    if !(BLACKHOLE..=PROHIBIT).contains(&kind) || wanted.iif() != LOOPBACK {
        return 0;
    }
    let table = fib6_table(table);
    if table == LOCAL {
        return 0;
    }
    let error = if kind == BLACKHOLE {
        ERRORS[0]
    } else if kind == PROHIBIT {
        ERRORS[2]
    } else {
        ERRORS[1]
    };
    let (destination, port) = wanted.to_v6();
    report(net.inode(), table, wanted.protocol(), destination, port, error);
    0
}

/// Writes the record, if the namespace is a pod's and the protocol says that something is really to be sent:
/// programs ask for routes of UDP sockets only to sort addresses.
#[inline(always)]
fn report(netns: u32, table: u32, protocol: u8, destination: [u64; 2], port: u16, error: u32) {
    if protocol != TCP && !(protocol == UDP && port == DOMAIN) {
        return;
    }
    // SAFETY: the value is copied at once.
    let Some(entry) = (unsafe { NETNS.get(netns) }) else {
        return;
    };
    if entry.kind != NETNS_POD {
        return;
    }
    let pod_slot = entry.pod_slot;
    // SAFETY: no arguments.
    let now = unsafe { bpf_jiffies64() };
    let granted =
        SLOTS.get_ptr_mut(pod_slot).is_some_and(|state| budget::take_packet(state, PacketBudget::Other, now));
    if !granted {
        count(Stat::RouteWithheld);
        return;
    }
    let Some(mut slot) =
        Slot::<RouteRecord>::reserve(Wake::WhenFilling, Stat::RouteReported, Stat::RouteLost)
    else {
        return;
    };
    let record = slot.record();
    // SAFETY: the place is as large as the record, and every field is written.
    unsafe {
        (*record).header = header(RecordKind::Route, 0, netns, 0, pod_slot);
        (*record).destination = bytes(destination);
        (*record).error = error;
        (*record).table = table;
        (*record).destination_port = port;
        (*record).protocol = protocol;
        (*record).pad = [0; 5];
    }
    slot.submit();
}
