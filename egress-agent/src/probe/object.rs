//! The BPF object, embedded at build time.

/// The object, if the agent was built after `cargo xtask build-ebpf`.
pub(super) static OBJECT: Option<&[u8]> = include!(concat!(env!("OUT_DIR"), "/object.rs"));
