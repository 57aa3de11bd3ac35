//! Nodes by name and address, and the ranges their pods' addresses come from.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::cluster::Node;

/// All nodes known.
#[derive(Clone, Debug, Default)]
pub(super) struct NodeIndex {
    by_name: BTreeMap<String, Arc<Node>>,
    by_ip: HashMap<IpAddr, Arc<Node>>,
    /// Whose `podCIDR` a network is.
    by_cidr: HashMap<IpNet, Arc<Node>>,
    /// How many networks of a length there are: what a look-up has to try. IPv6 is `true`.
    lengths: BTreeMap<(bool, u8), usize>,
}

impl NodeIndex {
    pub(super) fn get(&self, name: &str) -> Option<&Arc<Node>> {
        self.by_name.get(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.by_name.values()
    }

    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(super) fn by_ip(&self, ip: IpAddr) -> Option<&Arc<Node>> {
        self.by_ip.get(&ip)
    }

    /// The node whose `podCIDR` holds this address.
    pub(super) fn by_pod_ip(&self, ip: IpAddr) -> Option<&Arc<Node>> {
        let family = (ip.is_ipv6(), 0)..=(ip.is_ipv6(), 128);
        self.lengths.range(family).rev().find_map(|(&(_, length), _)| {
            let network = IpNet::new(ip, length).ok()?.trunc();
            self.by_cidr.get(&network)
        })
    }

    pub(super) fn apply(&mut self, node: Arc<Node>) {
        self.delete(&node.name);
        for ip in &node.ips {
            self.by_ip.insert(*ip, Arc::clone(&node));
        }
        for cidr in &node.pod_cidrs {
            if self.by_cidr.insert(cidr.trunc(), Arc::clone(&node)).is_none() {
                *self.lengths.entry(length_key(cidr)).or_default() += 1;
            }
        }
        self.by_name.insert(node.name.clone(), node);
    }

    pub(super) fn delete(&mut self, name: &str) {
        let Some(node) = self.by_name.remove(name) else { return };
        for ip in &node.ips {
            if self.by_ip.get(ip).is_some_and(|held| held.name == node.name) {
                self.by_ip.remove(ip);
            }
        }
        for cidr in &node.pod_cidrs {
            if self.by_cidr.get(&cidr.trunc()).is_some_and(|held| held.name == node.name) {
                self.by_cidr.remove(&cidr.trunc());
                let key = length_key(cidr);
                if let Some(count) = self.lengths.get_mut(&key) {
                    *count -= 1;
                    if *count == 0 {
                        self.lengths.remove(&key);
                    }
                }
            }
        }
    }
}

fn length_key(cidr: &IpNet) -> (bool, u8) {
    (matches!(cidr, IpNet::V6(_)), cidr.prefix_len())
}
