//! The packet filters of the node's namespace: which base chains can drop or reject a packet, and by which rules.
//!
//! nftables (and with it iptables-nft) is read over nfnetlink and followed through its notifications.
//! iptables-legacy has no notifications: it is read again now and then, and when asked ([`FilterWatch::refresh`]).
//! Filters of ARP and ebtables-legacy are not read.

mod devices;
mod legacy;
mod nft;
mod ruleset;
#[cfg(test)]
mod tests;
mod watch;

pub use devices::{Classifier, classifiers};
pub use watch::{FilterWatch, read, watch};
