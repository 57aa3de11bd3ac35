//! The agent: the edges around `egress-core`.

pub mod answers;
pub mod app;
pub mod cgroups;
pub mod cli;
pub mod engine;
pub mod export;
#[doc(hidden)]
pub mod fuzzing;
pub mod host;
pub mod k8s;
pub mod netlink;
mod picture;
pub mod probe;
pub mod status;
pub mod store;
mod words;

#[cfg(test)]
mod testing;
