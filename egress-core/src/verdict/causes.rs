//! One file a cause: the evidence it needs, and what it says then.

pub(super) mod dns_failure;
pub(super) mod firewall_drop;
pub(super) mod nat_missing;
pub(super) mod place;
pub(super) mod policy_drop;
pub(super) mod unknown;
pub(super) mod upstream_refused;
pub(super) mod upstream_timeout;
pub(super) mod upstream_unreachable;
