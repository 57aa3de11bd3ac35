//! One file a hook; the kernel's prototype stands above it.

pub mod budget;
pub mod chain;
pub mod fib;
pub mod kfree_skb;
pub mod reset;
pub mod retransmit;
pub mod sock_state;
pub mod tc;
