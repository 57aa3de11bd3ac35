//! What is decoded of netlink's answers, without a kernel that gives them: for the fuzz targets.

use egress_core::node::{ConntrackAnswer, FilterChain, NodeNetwork};

use super::wire::Messages;
use super::{conntrack, filters, network};

/// Devices, addresses and routes of the messages of a datagram.
pub(crate) fn decode_network(datagram: &[u8]) -> NodeNetwork {
    network::decode(Messages(datagram))
}

/// Conntrack entries of the messages of a datagram.
pub(crate) fn decode_conntrack(datagram: &[u8]) -> Vec<ConntrackAnswer> {
    Messages(datagram).filter_map(|message| conntrack::decode(&message)).collect()
}

/// Chains of nftables that can drop, from the messages of a datagram.
pub(crate) fn decode_nftables(datagram: &[u8]) -> Vec<FilterChain> {
    filters::decode_nftables(Messages(datagram))
}

/// Chains of a table of iptables-legacy that can drop: `struct ipt_getinfo`, then the image of the table.
pub(crate) fn decode_legacy(v6: bool, info: &[u8], image: &[u8]) -> Vec<FilterChain> {
    filters::decode_legacy(v6, info, image)
}
