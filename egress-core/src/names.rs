//! Names of addresses, from the pods' own DNS answers.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::time::Mono;

/// Names kept at most, over all pods.
const CAPACITY: usize = 16_384;

/// Which name a pod resolved to which address. A pod only ever names its own peers.
#[derive(Debug, Default)]
pub struct DnsNames {
    names: HashMap<(IpAddr, IpAddr), (String, Mono)>,
}

impl DnsNames {
    /// A pod got these addresses for a name.
    pub fn learn(&mut self, pod: IpAddr, name: &str, addresses: &[IpAddr], at: Mono) {
        if self.names.len() + addresses.len() > CAPACITY {
            let mut ages: Vec<Mono> = self.names.values().map(|(_, at)| *at).collect();
            ages.sort_unstable();
            let limit = ages.get(CAPACITY / 4).copied().unwrap_or_default();
            self.names.retain(|_, (_, at)| *at > limit);
        }
        for address in addresses {
            self.names.insert((pod, *address), (name.to_owned(), at));
        }
    }

    /// The name that the pod last resolved to this address.
    #[must_use]
    pub fn of(&self, pod: IpAddr, address: IpAddr) -> Option<&str> {
        self.names.get(&(pod, address)).map(|(name, _)| name.as_str())
    }
}
