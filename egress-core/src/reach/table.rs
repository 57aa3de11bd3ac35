//! The table: bounded in hosts and in tries of each, and forgetting what is old.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::decode::Tuple;
use crate::time::Mono;

/// Hosts kept at most; the least recently tried quarter goes when they are more.
const HOSTS: usize = 4096;
/// Tries kept of one host, the latest of each who and port; the oldest goes first.
const TRIES: usize = 32;
/// What is older says nothing of now.
const MEMORY: Duration = Duration::from_secs(15 * 60);

/// Destinations, and who of this node tried them.
#[derive(Debug, Default)]
pub struct Reach {
    hosts: HashMap<IpAddr, Host>,
}

/// A destination.
#[derive(Debug, Default)]
pub(super) struct Host {
    last: Mono,
    pub(super) ttl: Option<u8>,
    tries: Vec<Try>,
}

/// Who tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The node itself, or a pod on its network.
    Node,
    /// The pod with this address.
    Pod(IpAddr),
}

/// The latest success and failure of one of this node with one port of a destination.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Try {
    /// Who.
    pub who: Who,
    /// IP protocol number.
    pub protocol: u8,
    /// Port; 0 for protocols without.
    pub port: u16,
    /// When it last succeeded.
    pub success: Option<Mono>,
    /// When it last failed beyond the node.
    pub failure: Option<Mono>,
    /// Source address with which it last left the node, where that was seen.
    pub source: Option<IpAddr>,
}

impl Try {
    /// The last that is known is a success.
    #[must_use]
    pub fn reached(&self) -> bool {
        self.success.is_some() && self.success >= self.failure
    }

    /// The last that is known is a failure.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.failure.is_some() && !self.reached()
    }

    /// When anything was last known.
    #[must_use]
    pub fn last(&self) -> Mono {
        self.success.max(self.failure).unwrap_or_default()
    }
}

impl Reach {
    pub(super) fn host(&self, ip: IpAddr) -> Option<&Host> {
        self.hosts.get(&ip)
    }

    pub(super) fn note_ttl(&mut self, ip: IpAddr, ttl: u8) {
        if let Some(host) = self.hosts.get_mut(&ip) {
            host.ttl = Some(ttl);
        }
    }

    /// Tries of a host that are not too old, the latest first.
    pub(super) fn recent(&self, ip: IpAddr, now: Mono) -> Vec<Try> {
        let Some(host) = self.hosts.get(&ip) else { return Vec::new() };
        let mut tries: Vec<Try> =
            host.tries.iter().filter(|one| now.since(one.last()) < MEMORY).copied().collect();
        tries.sort_by_key(|one| std::cmp::Reverse(one.last()));
        tries
    }

    /// The entry of one who and port, made if there is none.
    pub(super) fn attempt(&mut self, who: Who, to: &Tuple, at: Mono) -> &mut Try {
        let ip = to.destination.ip;
        if self.hosts.len() >= HOSTS && !self.hosts.contains_key(&ip) {
            self.make_room();
        }
        let host = self.hosts.entry(ip).or_default();
        host.last = at;
        let (protocol, port) =
            (to.protocol, if matches!(to.protocol, 1 | 58) { 0 } else { to.destination.port });
        let known =
            host.tries.iter().position(|one| (one.who, one.protocol, one.port) == (who, protocol, port));
        let index = known.unwrap_or_else(|| {
            let fresh = Try { who, protocol, port, success: None, failure: None, source: None };
            if host.tries.len() < TRIES {
                host.tries.push(fresh);
                return host.tries.len() - 1;
            }
            let oldest = (0..TRIES).min_by_key(|index| host.tries[*index].last()).unwrap_or(0);
            host.tries[oldest] = fresh;
            oldest
        });
        &mut host.tries[index]
    }

    fn make_room(&mut self) {
        let mut ages: Vec<Mono> = self.hosts.values().map(|host| host.last).collect();
        ages.sort_unstable();
        let limit = ages.get(HOSTS / 4).copied().unwrap_or_default();
        self.hosts.retain(|_, host| host.last > limit);
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        (self.hosts.len(), self.hosts.values().map(|host| host.tries.len()).max().unwrap_or(0))
    }
}
