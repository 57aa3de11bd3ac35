//! Names of addresses, from the pods' own DNS answers.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::time::Mono;

/// Addresses kept at most, over all pods.
const CAPACITY: usize = 16_384;
/// Names kept of one address of one pod: many sites share an address.
const NAMES: usize = 8;

/// Which names a pod resolved to which address. A pod only ever names its own peers.
#[derive(Debug, Default)]
pub struct DnsNames {
    addresses: HashMap<(IpAddr, IpAddr), Known>,
}

/// What a pod resolved to an address.
#[derive(Debug)]
struct Known {
    /// The latest last.
    names: Vec<String>,
    at: Mono,
}

impl DnsNames {
    /// A pod got these addresses for a name.
    pub fn learn(&mut self, pod: IpAddr, name: &str, addresses: &[IpAddr], at: Mono) {
        if self.addresses.len() + addresses.len() > CAPACITY {
            let mut ages: Vec<Mono> = self.addresses.values().map(|known| known.at).collect();
            ages.sort_unstable();
            let limit = ages.get(CAPACITY / 4).copied().unwrap_or_default();
            self.addresses.retain(|_, known| known.at > limit);
        }
        for address in addresses {
            let known = self.addresses.entry((pod, *address)).or_insert(Known { names: Vec::new(), at });
            known.names.retain(|held| held != name);
            if known.names.len() == NAMES {
                known.names.remove(0);
            }
            known.names.push(name.to_owned());
            known.at = at;
        }
    }

    /// The name that the pod last resolved to this address.
    #[must_use]
    pub fn of(&self, pod: IpAddr, address: IpAddr) -> Option<&str> {
        self.all(pod, address).last().map(String::as_str)
    }

    /// All names that the pod resolved to this address, as far as they are kept; the latest last.
    #[must_use]
    pub fn all(&self, pod: IpAddr, address: IpAddr) -> &[String] {
        self.addresses.get(&(pod, address)).map_or(&[], |known| &known.names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_keeps_the_names_it_was_resolved_from() {
        let (pod, address) = (IpAddr::from([10, 244, 1, 5]), IpAddr::from([203, 0, 113, 4]));
        let mut names = DnsNames::default();
        for name in ["a.example", "b.example", "a.example"] {
            names.learn(pod, name, &[address], Mono(1));
        }
        assert_eq!((names.of(pod, address), names.all(pod, address).len()), (Some("a.example"), 2));
        for number in 0..20 {
            names.learn(pod, &format!("{number}.example"), &[address], Mono(2));
        }
        assert_eq!((names.of(pod, address), names.all(pod, address).len()), (Some("19.example"), NAMES));
        assert_eq!(names.all(address, pod), [] as [String; 0]);
    }
}
