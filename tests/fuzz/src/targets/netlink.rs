//! Netlink datagrams: links, addresses, routes, conntrack entries, nftables.

use egress_agent::fuzzing;

pub(crate) fn run(input: &[u8]) {
    let network = fuzzing::netlink_network(input);
    // A message takes 16 bytes at least, a next hop 8.
    let most = input.len() / 8;
    assert!(network.devices.len() <= most && network.addresses.len() <= most && network.routes.len() <= most);
    assert!(fuzzing::netlink_conntrack(input).len() <= most);
    for chain in fuzzing::netlink_nftables(input) {
        assert!(chain.dropping_rules.len() <= most.min(201));
    }
}
