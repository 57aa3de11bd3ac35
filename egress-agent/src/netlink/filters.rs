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

use egress_core::node::FilterChain;

use super::wire::Messages;

/// The chains that can drop, of answers to all questions about nftables at once.
pub(super) fn decode_nftables(messages: Messages<'_>) -> Vec<FilterChain> {
    nft::decode(messages).iter().flat_map(ruleset::Table::dropping_chains).collect()
}

/// The chains that can drop, of a table of iptables-legacy.
pub(super) fn decode_legacy(v6: bool, info: &[u8], image: &[u8]) -> Vec<FilterChain> {
    legacy::decode(v6, info, image).iter().flat_map(ruleset::Table::dropping_chains).collect()
}
