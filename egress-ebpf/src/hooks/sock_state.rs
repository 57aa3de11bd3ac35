//! `sock:inet_sock_set_state`: connection attempts and how they ended.
//!
//! ```c
//! TP_PROTO(const struct sock *sk, const int oldstate, const int newstate)
//! ```

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, generated::bpf_get_current_comm};
use egress_common::{NETNS_POD, ReceiveHoleRecord, RecordKind, SockStateRecord, Stat, flags};

use crate::{
    emit::{Slot, Wake, header, zero},
    kernel::{AF_INET, AF_INET6, Sock},
    maps::NETNS,
    packet::{TCP, bytes},
};

/// `TCP_SYN_SENT` of `net/tcp_states.h`.
pub const TCP_SYN_SENT: u8 = 2;
/// `TCP_ESTABLISHED`
const TCP_ESTABLISHED: u8 = 1;
/// `TCP_FIN_WAIT1`: the process closed it first.
const TCP_FIN_WAIT1: u8 = 4;
/// `TCP_CLOSE`
const TCP_CLOSE: u8 = 7;

/// The hook. Of the node's own sockets only the outcome of connecting matters: it is compared with the pods'.
#[inline(always)]
pub fn changed(sk: Sock, old: i32, new: i32) -> i32 {
    if sk.is_none() || sk.protocol() != u16::from(TCP) {
        return 0;
    }
    let family = sk.family();
    if family != AF_INET && family != AF_INET6 {
        return 0;
    }
    let netns = sk.netns();
    // SAFETY: the value is copied at once.
    let Some(entry) = (unsafe { NETNS.get(netns) }) else {
        return 0;
    };
    let (old, new) = (old as u8, new as u8);
    let pod_slot = if entry.kind == NETNS_POD { entry.pod_slot } else { u32::MAX };
    if entry.kind != NETNS_POD && old != TCP_SYN_SENT {
        return 0;
    }
    if old == TCP_ESTABLISHED && (new == TCP_FIN_WAIT1 || new == TCP_CLOSE) {
        report_hole(sk, netns, pod_slot);
    }
    let Some(mut slot) =
        Slot::<SockStateRecord>::reserve(Wake::WhenFilling, Stat::SockStateReported, Stat::SockStateLost)
    else {
        return 0;
    };
    let record = slot.record();
    let (local, remote) = sk.addresses();
    // SAFETY: the place is as large as the record, and every field is written.
    unsafe {
        (*record).header = header(RecordKind::SockState, 0, netns, 0, pod_slot);
        (*record).local = bytes(local);
        (*record).remote = bytes(remote);
        (*record).socket = sk.address();
        (*record).cgroup = sk.cgroup();
        (*record).local_port = if new == TCP_CLOSE { closed_port(sk) } else { sk.local_port() };
        (*record).remote_port = sk.remote_port();
        (*record).protocol = u16::from(TCP);
        (*record).old_state = old;
        (*record).new_state = new;
        (*record).sk_err = sk.error();
        (*record).pid = 0;
        zero::<2>((&raw mut (*record).comm).cast());
        // What a connection carried matters when it ends.
        if old == TCP_ESTABLISHED
            && let Some((received, sent)) = sk.bytes()
        {
            (*record).header.flags = flags::HAS_BYTES;
            (*record).header.len = received;
            (*record).header.mark = sent;
        }
        // Only here the process at hand is surely the socket's.
        if old == TCP_CLOSE && new == TCP_SYN_SENT {
            (*record).pid = (bpf_get_current_pid_tgid() >> 32) as u32;
            bpf_get_current_comm((&raw mut (*record).comm).cast(), 16);
        }
    }
    slot.submit();
    0
}

/// The local port of a socket that closes.
#[inline(always)]
fn closed_port(sk: Sock) -> u16 {
    let port = sk.local_port();
    if port == 0 { sk.source_port() } else { port }
}

/// The socket is closed with segments in its queue that wait for earlier ones.
#[inline(always)]
fn report_hole(sk: Sock, netns: u32, pod_slot: u32) {
    let ranges = sk.received_ranges();
    if ranges == 0 {
        return;
    }
    let Some(mut slot) =
        Slot::<ReceiveHoleRecord>::reserve(Wake::WhenFilling, Stat::SockStateReported, Stat::SockStateLost)
    else {
        return;
    };
    let record = slot.record();
    let (local, remote) = sk.addresses();
    // SAFETY: the place is as large as the record, and every field is written.
    unsafe {
        (*record).header = header(RecordKind::ReceiveHole, 0, netns, 0, pod_slot);
        (*record).local = bytes(local);
        (*record).remote = bytes(remote);
        (*record).socket = sk.address();
        (*record).local_port = closed_port(sk);
        (*record).remote_port = sk.remote_port();
        (*record).advertised_mss = sk.advertised_mss();
        (*record).ranges = ranges;
        (*record).pad = 0;
        (*record).quiet_ms = sk.since_segment();
        (*record).pad2 = 0;
    }
    slot.submit();
}
