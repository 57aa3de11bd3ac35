//! One file a cause: the evidence it needs, and what it says then.

pub(super) mod conntrack_full;
pub(super) mod dns_failure;
pub(super) mod firewall_drop;
mod hairpin;
pub(super) mod local_resource;
pub(super) mod lost_answer;
pub(super) mod mesh_blocked;
pub(super) mod mtu;
pub(super) mod nat_exhausted;
pub(super) mod nat_missing;
pub(super) mod place;
pub(super) mod policy_drop;
pub(super) mod route_drop;
pub(super) mod service_no_endpoints;
pub(super) mod tls_failure;
pub(super) mod unknown;
pub(super) mod upstream_refused;
pub(super) mod upstream_reset;
pub(super) mod upstream_silence;
pub(super) mod upstream_timeout;
pub(super) mod upstream_unreachable;
