//! `tcp:tcp_retransmit_skb`: a segment was sent again.
//!
//! ```c
//! TP_PROTO(const struct sock *sk, const struct sk_buff *skb)            // to 6.14
//! TP_PROTO(const struct sock *sk, const struct sk_buff *skb, int err)   // later
//! ```

use egress_common::{NETNS_POD, RecordKind, RetransmitRecord, Stat};

use crate::{
    emit::{Slot, Wake, header},
    hooks::sock_state::TCP_SYN_SENT,
    kernel::{Skb, Sock},
    maps::NETNS,
    packet::bytes,
};

/// The hook. Sockets of the node itself matter while they connect: they are compared with the pods'.
#[inline(always)]
pub fn retransmitted(sk: Sock, skb: Skb) -> i32 {
    if sk.is_none() || skb.is_none() {
        return 0;
    }
    let netns = sk.netns();
    // SAFETY: the value is copied at once.
    let Some(entry) = (unsafe { NETNS.get(netns) }) else {
        return 0;
    };
    let pod_slot = if entry.kind == NETNS_POD { entry.pod_slot } else { u32::MAX };
    let state = sk.state();
    if entry.kind != NETNS_POD && state != TCP_SYN_SENT {
        return 0;
    }
    let Some(mut slot) =
        Slot::<RetransmitRecord>::reserve(Wake::WhenFilling, Stat::RetransmitReported, Stat::RetransmitLost)
    else {
        return 0;
    };
    let record = slot.record();
    let (local, remote) = sk.addresses();
    let (seq, tcp_flags) = skb.tcp_control();
    // SAFETY: the place is as large as the record, and every field is written.
    unsafe {
        (*record).header = header(RecordKind::Retransmit, 0, netns, 0, pod_slot);
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
