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
    maps::{NETNS, pod_of},
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

/// Whose socket it is.
struct Owner {
    pod_slot: u32,
    flags: u16,
    is_node: bool,
}

/// The owner, if it matters. A namespace that user space has not named yet may be a pod's: if the local address is one,
/// user space learns the namespace from what the record says beside it.
#[inline(always)]
fn owner(netns: u32, local: [u64; 2]) -> Option<Owner> {
    // SAFETY: the value is copied at once.
    match unsafe { NETNS.get(netns) } {
        Some(entry) if entry.kind == NETNS_POD => {
            Some(Owner { pod_slot: entry.pod_slot, flags: 0, is_node: false })
        }
        Some(_) => Some(Owner { pod_slot: u32::MAX, flags: 0, is_node: true }),
        None => {
            let pod_slot = pod_of(local)?;
            Some(Owner { pod_slot, flags: flags::BY_ADDRESS, is_node: false })
        }
    }
}

/// The hook. Of the node's own sockets only connecting and its outcome matter: pods on the host's network are among
/// them, and the others are compared with the pods.
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
    let (local, remote) = sk.addresses();
    let Some(owner) = owner(netns, local) else {
        return 0;
    };
    let (old, new) = (old as u8, new as u8);
    let dials = old == TCP_CLOSE && new == TCP_SYN_SENT;
    // Of a namespace that is still to be learned, connecting tells enough.
    if (owner.is_node || owner.flags != 0) && old != TCP_SYN_SENT && !dials {
        return 0;
    }
    if old == TCP_ESTABLISHED && (new == TCP_FIN_WAIT1 || new == TCP_CLOSE) {
        report_hole(sk, netns, owner.pod_slot);
    }
    let Some(mut slot) =
        Slot::<SockStateRecord>::reserve(Wake::WhenFilling, Stat::SockStateReported, Stat::SockStateLost)
    else {
        return 0;
    };
    let record = slot.record();
    // SAFETY: the place is as large as the record, and every field is written.
    unsafe {
        (*record).header = header(RecordKind::SockState, owner.flags, netns, 0, owner.pod_slot);
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
            (*record).header.flags = owner.flags | flags::HAS_BYTES;
            (*record).header.len = received;
            (*record).header.mark = sent;
        }
        // TC saw the same number: that joins a socket with its packets.
        if old == TCP_SYN_SENT
            && let Some(unacknowledged) = sk.known_unacknowledged()
        {
            (*record).header.flags = owner.flags | flags::HAS_SEQ;
            (*record).header.len = unacknowledged;
        }
        // Only here the process at hand is surely the socket's.
        if dials {
            (*record).header.flags = owner.flags | flags::HAS_DIALLER;
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
