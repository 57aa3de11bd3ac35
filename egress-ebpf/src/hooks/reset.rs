//! `tcp:tcp_send_reset`, `tcp:tcp_receive_reset`: who refused.
//!
//! ```c
//! tcp_send_reset:    TP_PROTO(const struct sock *sk, const struct sk_buff *skb)   // to 6.9; sk is never NULL
//!                    TP_PROTO(const struct sock *sk, const struct sk_buff *skb, const enum sk_rst_reason reason)
//! tcp_receive_reset: TP_PROTO(struct sock *sk)
//! ```

use egress_common::{NETNS_POD, RESET_PROGRESS, RecordKind, ResetRecord, Stat, flags};

use crate::{
    emit::{Slot, Wake, header, zero},
    hooks::sock_state::TCP_SYN_SENT,
    kernel::{Skb, Sock, read, read_bytes},
    maps::{NETNS, POD_IPS},
    packet::{Flow, bytes},
};

/// Bytes of the answered packet that a record carries.
const HEAD: u32 = 64;

/// The hook of resets received: `sk` is the socket that was reset.
#[inline(always)]
pub fn received(sk: Sock) -> i32 {
    if sk.family() == 0 {
        return 0;
    }
    of_socket(sk, 0)
}

/// The hook of resets sent: `skb` is the packet that was answered, `sk` may be NULL.
#[inline(always)]
pub fn sent(sk: Sock, skb: Skb) -> i32 {
    if sk.family() != 0 {
        return of_socket(sk, flags::RESET_SENT);
    }
    if skb.is_none() {
        return 0;
    }
    of_packet(skb)
}

#[inline(always)]
fn of_socket(sk: Sock, bits: u16) -> i32 {
    let netns = sk.netns();
    // SAFETY: the value is copied at once.
    let Some(entry) = (unsafe { NETNS.get(netns) }) else {
        return 0;
    };
    let (local, remote) = sk.addresses();
    let state = sk.state();
    let pod_slot = if entry.kind == NETNS_POD {
        entry.pod_slot
    // SAFETY: the value is copied at once.
    } else if let Some(slot) = unsafe { POD_IPS.get(bytes(remote)) } {
        *slot
    } else if state == TCP_SYN_SENT {
        u32::MAX
    } else {
        return 0;
    };
    let Some(mut slot) =
        Slot::<ResetRecord>::reserve(Wake::WhenFilling, Stat::ResetReported, Stat::ResetLost)
    else {
        return 0;
    };
    let record = slot.record();
    // SAFETY: the place is as large as the record, and every field is written.
    unsafe {
        (*record).header = header(RecordKind::Reset, bits, netns, 0, pod_slot);
        (*record).local = bytes(local);
        (*record).remote = bytes(remote);
        (*record).socket = sk.address();
        (*record).local_port = sk.local_port();
        (*record).remote_port = sk.remote_port();
        (*record).state = state;
        (*record).pad = 0;
        (*record).data_len = 0;
        zero::<{ HEAD as usize / 8 }>((&raw mut (*record).data).cast());
        if let Some(progress) = sk.progress() {
            (*record).data_len = RESET_PROGRESS as u16;
            (&raw mut (*record).data).cast::<[u32; RESET_PROGRESS / 4]>().write_unaligned(progress);
        }
    }
    slot.submit();
    0
}

#[inline(always)]
fn of_packet(skb: Skb) -> i32 {
    let Some(device) = skb.device() else {
        return 0;
    };
    let netns = device.netns();
    // SAFETY: the value is copied at once.
    let Some(entry) = (unsafe { NETNS.get(netns) }) else {
        return 0;
    };
    let (at, linear) = skb.network();
    let mut pod_slot = entry.pod_slot;
    if entry.kind != NETNS_POD {
        if linear == 0 {
            return 0;
        }
        let Some(flow) = read(at).and_then(|peek| Flow::parse(&peek, linear, skb.protocol())) else {
            return 0;
        };
        // SAFETY: the value is copied at once.
        let Some(slot) = (unsafe { POD_IPS.get(bytes(flow.source)) }) else {
            return 0;
        };
        pod_slot = *slot;
    }
    let Some(mut slot) =
        Slot::<ResetRecord>::reserve(Wake::WhenFilling, Stat::ResetReported, Stat::ResetLost)
    else {
        return 0;
    };
    let record = slot.record();
    // SAFETY: the place is as large as the record, and every field is written.
    unsafe {
        let bits = flags::RESET_SENT | flags::RESET_NO_SOCKET;
        (*record).header = header(RecordKind::Reset, bits, netns, device.index(), pod_slot);
        (*record).header.len = skb.len();
        (*record).header.mark = skb.mark();
        zero::<2>((&raw mut (*record).local).cast());
        zero::<2>((&raw mut (*record).remote).cast());
        zero::<1>((&raw mut (*record).socket).cast());
        (*record).local_port = 0;
        (*record).remote_port = 0;
        (*record).state = 0;
        (*record).pad = 0;
        zero::<{ HEAD as usize / 8 }>((&raw mut (*record).data).cast());
        let wanted = if linear > HEAD { HEAD } else { linear };
        if read_bytes((&raw mut (*record).data).cast(), wanted, at) {
            (*record).data_len = wanted as u16;
        } else {
            (*record).data_len = 0;
            (*record).header.flags = bits | flags::NO_DATA;
        }
    }
    slot.submit();
    0
}
