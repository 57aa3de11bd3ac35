//! How full the conntrack table is.

use std::fs;

/// Entries and limit of the conntrack table of one network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conntrack {
    /// Entries now.
    pub entries: u64,
    /// Most that are taken.
    pub limit: u64,
}

impl Conntrack {
    /// The table of the calling thread's network namespace (`/proc/sys/net/netfilter/nf_conntrack_count` and `_max`);
    /// `None` where conntrack is not loaded.
    #[must_use]
    pub fn read() -> Option<Self> {
        let number = |name: &str| {
            let text = fs::read_to_string(format!("/proc/sys/net/netfilter/nf_conntrack_{name}")).ok()?;
            text.trim().parse().ok()
        };
        Some(Self { entries: number("count")?, limit: number("max")? })
    }
}
