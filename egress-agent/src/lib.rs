//! The agent: the edges around `egress-core`.

pub mod probe;
pub mod status;
