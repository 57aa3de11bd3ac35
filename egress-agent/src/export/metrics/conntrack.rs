//! How full the conntrack table is.

/// Entries and limit of the conntrack table of one network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conntrack {
    /// Entries now.
    pub entries: u64,
    /// Most that are taken.
    pub limit: u64,
}
