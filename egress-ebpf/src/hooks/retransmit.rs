//! `tcp:tcp_retransmit_skb`: a segment was sent again.
//!
//! ```c
//! TP_PROTO(const struct sock *sk, const struct sk_buff *skb)            // to 6.14
//! TP_PROTO(const struct sock *sk, const struct sk_buff *skb, int err)   // later
//! ```

use egress_common::{NETNS_POD, RecordKind, RetransmitRecord, Stat, flags};

use crate::{
    emit::{Slot, Wake, header},
    hooks::sock_state::TCP_SYN_SENT,
    kernel::{Skb, Sock},
    maps::{NETNS, pod_of},
    packet::bytes,
};

/// The hook. Sockets of the node itself matter while they connect: they are compared with the pods'.
#[inline(always)]
pub fn retransmitted(sk: Sock, skb: Skb) -> i32 {
    if sk.is_none() || skb.is_none() {
        return 0;
    }
    let netns = sk.netns();
    let (local, remote) = sk.addresses();
    let state = sk.state();
    let connecting = state == TCP_SYN_SENT;
    // SAFETY: the value is copied at once.
    let (pod_slot, bits) = match unsafe { NETNS.get(netns) } {
        Some(entry) if entry.kind == NETNS_POD => (entry.pod_slot, 0),
        Some(_) if connecting => (u32::MAX, 0),
        // A namespace that may turn out to be a pod's.
        None if connecting => match pod_of(local) {
            Some(slot) => (slot, flags::BY_ADDRESS),
            None => return 0,
        },
        _ => return 0,
    };
    let Some(mut slot) =
        Slot::<RetransmitRecord>::reserve(Wake::WhenFilling, Stat::RetransmitReported, Stat::RetransmitLost)
    else {
        return 0;
    };
    let record = slot.record();
    let (seq, tcp_flags) = skb.tcp_control();
    // SAFETY: the place is as large as the record, and every field is written.
    unsafe {
        (*record).header = header(RecordKind::Retransmit, bits, netns, 0, pod_slot);
        (*record).header.len = skb.len();
        (*record).header.mark = skb.mark();
        (*record).local = bytes(local);
        (*record).remote = bytes(remote);
        (*record).socket = sk.address();
        (*record).cgroup = sk.cgroup();
        (*record).local_port = sk.local_port();
        (*record).remote_port = sk.remote_port();
        (*record).state = state;
        (*record).tcp_flags = tcp_flags;
        (*record).retransmits = sk.retransmits();
        (*record).sacked = sk.sacked();
        (*record).seq = seq;
        (*record).snd_una = sk.unacknowledged();
        (*record).mss = sk.mss();
        (*record).silence_ms = sk.since_segment();
    }
    slot.submit();
    0
}
