//! The addresses of local pods, and the sieve in front of them.

use std::collections::HashSet;
use std::net::IpAddr;

use aya::Ebpf;
use aya::maps::{Array, HashMap, MapData, MapError};
use egress_common::{SIEVE_WORDS, sieve_bit};

use super::error::ProbeError;
use super::load::map_error;
use super::{removed, stats, written};

/// Entries of `POD_IPS`.
const LIMIT: u32 = 4096;

/// The two maps, written in the order in which nothing is missed: an address is in the table before its bit is set,
/// and its bit goes before it leaves the table.
pub(super) struct PodIps {
    slots: HashMap<MapData, [u8; 16], u32>,
    sieve: Array<MapData, [u64; SIEVE_WORDS]>,
    /// What the sieve holds.
    words: Box<[u64; SIEVE_WORDS]>,
    known: HashSet<[u8; 16]>,
}

impl PodIps {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, ProbeError> {
        let slots =
            HashMap::try_from(stats::take(ebpf, "POD_IPS")?).map_err(|error| map_error("POD_IPS", &error))?;
        let sieve = Array::try_from(stats::take(ebpf, "POD_SIEVE")?)
            .map_err(|error| map_error("POD_SIEVE", &error))?;
        Ok(Self { slots, sieve, words: Box::new([0; SIEVE_WORDS]), known: HashSet::new() })
    }

    pub(super) fn insert(&mut self, ip: IpAddr, slot: u32) -> Result<(), ProbeError> {
        let key = key(ip);
        written("POD_IPS", LIMIT, self.slots.insert(key, slot, 0))?;
        self.known.insert(key);
        let (word, bit) = bit_of(&key);
        if self.words[word] & bit != 0 {
            return Ok(());
        }
        self.words[word] |= bit;
        self.write_sieve()
    }

    pub(super) fn remove(&mut self, ip: IpAddr) -> Result<(), ProbeError> {
        let key = key(ip);
        if self.known.remove(&key) {
            // Another address may have the same bit.
            let (word, bit) = bit_of(&key);
            if !self.known.iter().any(|other| bit_of(other) == (word, bit)) {
                self.words[word] &= !bit;
                self.write_sieve()?;
            }
        }
        removed("POD_IPS", self.slots.remove(&key))
    }

    fn write_sieve(&mut self) -> Result<(), ProbeError> {
        self.sieve.set(0, *self.words, 0).map_err(|error: MapError| map_error("POD_SIEVE", &error))
    }
}

fn bit_of(key: &[u8; 16]) -> (usize, u64) {
    let (halves, _) = key.as_chunks::<8>();
    sieve_bit([u64::from_ne_bytes(halves[0]), u64::from_ne_bytes(halves[1])])
}

/// An address as the maps have it.
fn key(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::{IpAddr, Ipv4Addr};

    use super::{bit_of, key};

    #[test]
    fn neighbouring_addresses_fall_on_different_bits() {
        let bits: HashSet<_> =
            (0..1000_u32).map(|n| bit_of(&key(IpAddr::V4(Ipv4Addr::from(0x0af4_0100 + n))))).collect();
        // A perfect hash would leave about 992 of 65,536 bits.
        assert!(bits.len() > 950, "1000 addresses share {} bits", bits.len());
    }
}
