//! The agent: the edges around `egress-core`.

pub mod k8s;
pub mod netlink;
pub mod status;
