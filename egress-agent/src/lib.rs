//! The agent: the edges around `egress-core`.

pub mod answers;
pub mod app;
pub mod cli;
pub mod export;
pub mod status;

#[cfg(test)]
mod testing;
