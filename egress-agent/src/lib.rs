//! The agent: the edges around `egress-core`.

pub mod answers;
pub mod export;
pub mod k8s;
pub mod netlink;
pub mod probe;
pub mod status;

#[cfg(test)]
mod testing;
