//! The agent: the edges around `egress-core`.

pub mod answers;
pub mod app;
pub mod cli;
pub mod engine;
pub mod export;
#[doc(hidden)]
pub mod fuzzing;
pub mod host;
pub mod k8s;
pub mod netlink;
pub mod probe;
pub mod status;

#[cfg(test)]
mod testing;
