//! Identity: which pod, Service or node an address is, as of an event's time.
//!
//! [`ClusterIndex`] is a synchronous state machine: cluster changes go in, look-ups are answered from memory.
//! Addresses are reused, so pods are looked up as of a time, and pods that are gone stay answerable for a while.

mod backends;
mod behind;
mod calico;
mod cilium;
mod claims;
mod endpoint;
mod index;
mod landmarks;
mod nodes;
mod owners;
mod peers;
mod pods;
mod policies;
mod services;
#[cfg(test)]
mod tests;

pub use backends::ServiceBackend;
pub use behind::{Behind, Door, Lack, Nearly};
pub use endpoint::Endpoint;
pub use index::ClusterIndex;
pub use owners::{Owners, Ownership};
pub(crate) use policies::Shelved;
