//! Network sets by what they hold, so that those of an address are found without looking at the rest: one look for each
//! length of prefix that occurs.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::cluster::calico::NetworkSet;

/// Network sets by their nets and domains.
#[derive(Clone, Debug, Default)]
pub(super) struct Held {
    by_net: HashMap<IpNet, Vec<Arc<NetworkSet>>>,
    /// How many keys of `by_net` have this length of prefix: of IPv4, of IPv6.
    lengths: [BTreeMap<u8, usize>; 2],
    of_domains: Vec<Arc<NetworkSet>>,
}

fn family(v4: bool) -> usize {
    usize::from(!v4)
}

impl Held {
    pub(super) fn insert(&mut self, set: &Arc<NetworkSet>) {
        for net in &set.nets {
            let net = net.trunc();
            let sets = self.by_net.entry(net).or_default();
            if sets.is_empty() {
                *self.lengths[family(net.addr().is_ipv4())].entry(net.prefix_len()).or_default() += 1;
            }
            if !sets.iter().any(|held| Arc::ptr_eq(held, set)) {
                sets.push(Arc::clone(set));
            }
        }
        if !set.domains.is_empty() {
            self.of_domains.push(Arc::clone(set));
        }
    }

    pub(super) fn remove(&mut self, set: &Arc<NetworkSet>) {
        for net in &set.nets {
            let net = net.trunc();
            let Some(sets) = self.by_net.get_mut(&net) else { continue };
            sets.retain(|held| !Arc::ptr_eq(held, set));
            if !sets.is_empty() {
                continue;
            }
            self.by_net.remove(&net);
            let lengths = &mut self.lengths[family(net.addr().is_ipv4())];
            if let Some(count) = lengths.get_mut(&net.prefix_len()) {
                *count -= 1;
                if *count == 0 {
                    lengths.remove(&net.prefix_len());
                }
            }
        }
        self.of_domains.retain(|held| !Arc::ptr_eq(held, set));
    }

    /// Those with a net that holds this address, by namespace and name.
    pub(super) fn holding(&self, ip: IpAddr) -> Vec<&Arc<NetworkSet>> {
        let lengths = self.lengths[family(ip.is_ipv4())].keys();
        let nets = lengths.filter_map(|length| Some(IpNet::new(ip, *length).ok()?.trunc()));
        let mut found: Vec<&Arc<NetworkSet>> =
            nets.filter_map(|net| self.by_net.get(&net)).flatten().collect();
        found.sort_by_key(|set| (&set.namespace, &set.name));
        found.dedup_by(|a, b| Arc::ptr_eq(a, b));
        found
    }

    pub(super) fn of_domains(&self) -> &[Arc<NetworkSet>] {
        &self.of_domains
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::testing::ip;

    fn set(name: &str, nets: &[&str]) -> Arc<NetworkSet> {
        let nets = nets.iter().map(|net| net.parse().unwrap()).collect();
        Arc::new(NetworkSet { name: name.into(), nets, ..NetworkSet::default() })
    }

    fn names(held: &Held, address: &str) -> Vec<String> {
        held.holding(ip(address)).iter().map(|set| set.name.clone()).collect()
    }

    #[test]
    fn sets_are_found_by_any_of_their_nets_and_gone_once_removed() {
        let mut held = Held::default();
        let wide = set("wide", &["0.0.0.0/0", "10.0.0.0/8", "::/0"]);
        let narrow = set("narrow", &["10.1.2.3/32", "10.1.0.0/16", "10.1.2.3/16"]);
        held.insert(&wide);
        held.insert(&narrow);
        assert_eq!(names(&held, "10.1.2.3"), ["narrow", "wide"]);
        assert_eq!(names(&held, "10.2.0.1"), ["wide"]);
        assert_eq!(names(&held, "2001:db8::1"), ["wide"]);
        held.remove(&narrow);
        assert_eq!(names(&held, "10.1.2.3"), ["wide"]);
        held.remove(&wide);
        assert_eq!(names(&held, "10.1.2.3"), [""; 0]);
        assert!(held.by_net.is_empty() && held.lengths.iter().all(BTreeMap::is_empty));
    }
}
