//! Fuzz targets: every parser that takes bytes from outside, one small file a target.
//!
//! A target is a function that must not panic, hang or grow without bound, whatever its input; what else must hold it
//! asserts. `cargo xtask test fuzz` runs them under libFuzzer, `cargo test` runs the kept corpora.

mod bytes;
mod reference;
mod targets;

pub use bytes::Bytes;
pub use targets::{records, world};

/// A target.
#[derive(Debug)]
pub struct Target {
    /// Its name, and that of its corpus.
    pub name: &'static str,
    /// Inputs are at most this long, bytes.
    pub longest: usize,
    /// Takes an input; a panic is a finding.
    pub run: fn(&[u8]),
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "record", longest: 2200, run: targets::record::run },
    Target { name: "packet", longest: 400, run: targets::packet::run },
    Target { name: "dns", longest: 600, run: targets::dns::run },
    Target { name: "tls", longest: 1200, run: targets::tls::run },
    Target { name: "pipeline", longest: 4096, run: targets::pipeline::run },
    Target { name: "capture", longest: 8192, run: targets::capture::run },
    Target { name: "netlink", longest: 2048, run: targets::netlink::run },
    Target { name: "legacy", longest: 2048, run: targets::legacy::run },
    Target { name: "manifest", longest: 4096, run: targets::manifest::run },
    Target { name: "selector", longest: 512, run: targets::selector::run },
    Target { name: "text", longest: 256, run: targets::text::run },
    Target { name: "grpc", longest: 2048, run: targets::grpc::run },
];

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
