//! The agent: the edges around `egress-core`.

pub mod status;
