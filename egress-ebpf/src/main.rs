//! The kernel side of egress-agent.
//!
//! Entry points only: each takes its context apart and hands over to its hook. Context arguments must be read
//! at a constant index, so there is one thin entry a layout, and user space loads the one that fits.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod emit;
mod hooks;
mod kernel;
mod maps;
mod packet;

use aya_ebpf::{
    macros::{btf_tracepoint, classifier, fentry, fexit},
    programs::{BtfTracePointContext, FEntryContext, FExitContext, TcContext},
};
use egress_common::TapPoint;

use crate::{
    kernel::{Net, Pkt, Skb, Sock, Wanted},
    packet::{ETHERNET, NO_LINK_HEADER},
};

/// `kfree_skb(skb, location)`: before 5.17.
#[btf_tracepoint(function = "kfree_skb")]
pub fn kfree_skb_plain(ctx: BtfTracePointContext) -> i32 {
    hooks::kfree_skb::dropped(Skb::new(ctx.arg(0)), ctx.arg(1), u32::MAX, Sock::NONE)
}

/// `kfree_skb(skb, location, reason)`: 5.17 to 6.10.
#[btf_tracepoint(function = "kfree_skb")]
pub fn kfree_skb_reason(ctx: BtfTracePointContext) -> i32 {
    hooks::kfree_skb::dropped(Skb::new(ctx.arg(0)), ctx.arg(1), ctx.arg(2), Sock::NONE)
}

/// `kfree_skb(skb, location, reason, rx_sk)`: from 6.11.
#[btf_tracepoint(function = "kfree_skb")]
pub fn kfree_skb_rx_sk(ctx: BtfTracePointContext) -> i32 {
    hooks::kfree_skb::dropped(Skb::new(ctx.arg(0)), ctx.arg(1), ctx.arg(2), Sock::new(ctx.arg(3)))
}

/// `tcp_retransmit_skb(sk, skb[, err])`
#[btf_tracepoint(function = "tcp_retransmit_skb")]
pub fn tcp_retransmit_skb(ctx: BtfTracePointContext) -> i32 {
    hooks::retransmit::retransmitted(Sock::new(ctx.arg(0)), Skb::new(ctx.arg(1)))
}

/// `inet_sock_set_state(sk, oldstate, newstate)`
#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn inet_sock_set_state(ctx: BtfTracePointContext) -> i32 {
    hooks::sock_state::changed(Sock::new(ctx.arg(0)), ctx.arg(1), ctx.arg(2))
}

/// `tcp_send_reset(sk, skb[, reason])`
#[btf_tracepoint(function = "tcp_send_reset")]
pub fn tcp_send_reset(ctx: BtfTracePointContext) -> i32 {
    hooks::reset::sent(Sock::new(ctx.arg(0)), Skb::new(ctx.arg(1)))
}

/// `tcp_receive_reset(sk)`
#[btf_tracepoint(function = "tcp_receive_reset")]
pub fn tcp_receive_reset(ctx: BtfTracePointContext) -> i32 {
    hooks::reset::received(Sock::new(ctx.arg(0)))
}

/// `fib_table_lookup(tb_id, flp, nhc, err)`
#[btf_tracepoint(function = "fib_table_lookup")]
pub fn fib_table_lookup(ctx: BtfTracePointContext) -> i32 {
    hooks::fib::looked_up(ctx.arg(0), Wanted::new(ctx.arg(1)), ctx.arg(3))
}

/// `fib6_table_lookup(net, res, table, flp)`
#[btf_tracepoint(function = "fib6_table_lookup")]
pub fn fib6_table_lookup(ctx: BtfTracePointContext) -> i32 {
    hooks::fib::looked_up_v6(Net::new(ctx.arg(0)), ctx.arg(1), ctx.arg(2), Wanted::new(ctx.arg(3)))
}

/// `nft_do_chain(pkt, priv)` begins.
#[fentry(function = "nft_do_chain")]
pub fn nft_chain_entered(ctx: FEntryContext) -> i32 {
    hooks::chain::entered(Pkt::new(ctx.arg(0)), ctx.arg(1))
}

/// `nft_do_chain(pkt, priv)` ends; the result follows the arguments.
#[fexit(function = "nft_do_chain")]
pub fn nft_chain_left(ctx: FExitContext) -> i32 {
    hooks::chain::left(ctx.arg(2))
}

/// Ingress hook of the host side of a pod's device.
#[classifier]
pub fn egress_pod_out(ctx: TcContext) -> i32 {
    hooks::tc::tap(&ctx, TapPoint::PodOut, ETHERNET)
}

/// Egress hook of the host side of a pod's device.
#[classifier]
pub fn egress_pod_in(ctx: TcContext) -> i32 {
    hooks::tc::tap(&ctx, TapPoint::PodIn, ETHERNET)
}

/// Egress hook of an uplink.
#[classifier]
pub fn egress_uplink_out(ctx: TcContext) -> i32 {
    hooks::tc::tap(&ctx, TapPoint::UplinkOut, ETHERNET)
}

/// Ingress hook of an uplink.
#[classifier]
pub fn egress_uplink_in(ctx: TcContext) -> i32 {
    hooks::tc::tap(&ctx, TapPoint::UplinkIn, ETHERNET)
}

/// Ingress hook of a pod's device without a link header.
#[classifier]
pub fn egress_pod_out_l3(ctx: TcContext) -> i32 {
    hooks::tc::tap(&ctx, TapPoint::PodOut, NO_LINK_HEADER)
}

/// Egress hook of a pod's device without a link header.
#[classifier]
pub fn egress_pod_in_l3(ctx: TcContext) -> i32 {
    hooks::tc::tap(&ctx, TapPoint::PodIn, NO_LINK_HEADER)
}

/// Egress hook of an uplink without a link header (a tunnel).
#[classifier]
pub fn egress_uplink_out_l3(ctx: TcContext) -> i32 {
    hooks::tc::tap(&ctx, TapPoint::UplinkOut, NO_LINK_HEADER)
}

/// Ingress hook of an uplink without a link header (a tunnel).
#[classifier]
pub fn egress_uplink_in_l3(ctx: TcContext) -> i32 {
    hooks::tc::tap(&ctx, TapPoint::UplinkIn, NO_LINK_HEADER)
}

/// Not attached: user space runs it to say that it is alive, on the programs' own clock.
#[classifier]
pub fn heartbeat(_ctx: TcContext) -> i32 {
    hooks::tc::beat()
}

/// The helpers we use that read kernel memory are for GPL-compatible programs.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    // Nothing here panics: the verifier would refuse a program that can get to this loop.
    loop {}
}
