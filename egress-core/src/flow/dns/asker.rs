//! Who asks: its search path, its running lookups, and how its servers treated it lately.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::time::Mono;
use crate::verdict::SocketAddress;

/// Search domains kept of one asker.
const DOMAINS: usize = 16;
/// Servers kept of one asker.
const SERVERS: usize = 8;
/// An answer that took longer is slow.
const SLOW: Duration = Duration::from_secs(1);
/// What a server did is remembered so long.
const LATELY: Duration = Duration::from_secs(300);

/// A pod that asks, or the node.
#[derive(Debug, Default)]
pub(super) struct Asker {
    /// Known from its pod object: it outlives its lookups.
    pub(super) known: bool,
    /// `.NAMESPACE.svc.` of the pod, empty if not known.
    pub(super) own: String,
    /// The other addresses of the same pod.
    pub(super) also: Vec<IpAddr>,
    /// It was asked itself.
    pub(super) serves: bool,
    /// Its search list, as far as it is known or showed.
    pub(super) search: Vec<String>,
    /// Its lookups by name.
    pub(super) lookups: HashMap<Arc<str>, u64>,
    /// Lookups that were told a name does not exist, the newest last: the next question may expand the same name.
    pub(super) failing: Vec<u64>,
    servers: Vec<Server>,
}

/// How a server treated an asker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Server {
    address: SocketAddress,
    used: Mono,
    /// When a question to it was last lost in this node.
    pub(super) losing: Option<Mono>,
    /// When it last answered.
    pub(super) answered: Option<Mono>,
    /// Slow answers, when the last was, and the longest.
    slow: (u64, Mono, Duration),
    /// Lookups of which one of a pair of questions was lost, and when that was last.
    pairs: (u64, Mono),
}

impl Asker {
    /// What is known of a server; the one that was used least lately makes room.
    pub(super) fn server(&mut self, address: SocketAddress, now: Mono) -> &mut Server {
        let found = self.servers.iter().position(|server| server.address == address);
        let index = found.unwrap_or_else(|| {
            let none = Mono(0);
            let fresh = Server {
                address,
                used: now,
                losing: None,
                answered: None,
                slow: (0, none, Duration::ZERO),
                pairs: (0, none),
            };
            if self.servers.len() < SERVERS {
                self.servers.push(fresh);
                return self.servers.len() - 1;
            }
            let oldest = (0..SERVERS).min_by_key(|at| self.servers[*at].used).unwrap_or(0);
            self.servers[oldest] = fresh;
            oldest
        });
        let server = &mut self.servers[index];
        server.used = now;
        server
    }

    /// What is known of a server, if anything.
    pub(super) fn server_seen(&self, address: SocketAddress) -> Option<&Server> {
        self.servers.iter().find(|server| server.address == address)
    }

    /// The asker turned out to search this domain.
    pub(super) fn learn(&mut self, domain: &str) {
        if self.search.len() < DOMAINS && !self.search.iter().any(|known| known == domain) {
            self.search.push(domain.to_owned());
        }
    }

    /// A first question showed the cluster's domain: the three search domains that follow from it.
    pub(super) fn learn_cluster(&mut self, domain: &str) {
        let mut rest = Some(domain);
        // `NAMESPACE.svc.DOMAIN`, `svc.DOMAIN`, `DOMAIN`.
        for _ in 0..3 {
            let Some(domain) = rest else { return };
            self.learn(domain);
            rest = domain.split_once('.').map(|(_, behind)| behind);
        }
    }

    /// The name below one of the search domains, with that domain.
    pub(super) fn expansion<'a>(&self, name: &'a str) -> Option<(&'a str, &'a str)> {
        self.search.iter().find_map(|domain| {
            let inner = name.strip_suffix(domain.as_str())?.strip_suffix('.')?;
            (!inner.is_empty()).then(|| (inner, &name[inner.len() + 1..]))
        })
    }

    /// The name that a first question asks for. A resolver begins with the first domain of its list, which in a
    /// cluster is that of the pod's own namespace.
    pub(super) fn unexpanded<'a>(&self, name: &'a str) -> &'a str {
        if self.serves {
            return name;
        }
        if self.own.is_empty() {
            return without_search_path(name);
        }
        match name.rfind(&self.own) {
            Some(at) if at > 0 && at + self.own.len() < name.len() => &name[..at],
            _ => name,
        }
    }
}

impl Server {
    /// An answer came.
    pub(super) fn note_answer(&mut self, now: Mono, latency: Duration) {
        self.answered = Some(now);
        if latency > SLOW {
            let (count, last, longest) = self.slow;
            let fresh = now.since(last) > LATELY;
            self.slow = if fresh { (1, now, latency) } else { (count + 1, now, longest.max(latency)) };
        }
    }

    /// One of a pair of questions was lost. Gives how often that happened lately.
    pub(super) fn note_pair_loss(&mut self, now: Mono) -> u64 {
        let (count, last) = self.pairs;
        self.pairs = (if now.since(last) > LATELY { 1 } else { count + 1 }, now);
        self.pairs.0
    }

    /// Slow answers lately.
    pub(super) fn slow_lately(&self, now: Mono) -> Option<(u64, Duration)> {
        let (count, last, longest) = self.slow;
        (count > 0 && now.since(last) <= LATELY).then_some((count, longest))
    }
}

/// `api.stripe.com.default.svc.cluster.local` is `api.stripe.com` expanded, whatever the pod's namespace.
pub(super) fn without_search_path(name: &str) -> &str {
    let Some(inner) = name.strip_suffix(".cluster.local") else { return name };
    let base = match inner.strip_suffix(".svc") {
        // `NAME.NAMESPACE.svc`: without the namespace, if something is left.
        Some(service) => service.rfind('.').map_or(service, |dot| &service[..dot]),
        None => inner,
    };
    if base.is_empty() { name } else { base }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_path_is_not_part_of_the_name() {
        for (wire, asked) in [
            ("api.stripe.com", "api.stripe.com"),
            ("api.stripe.com.default.svc.cluster.local", "api.stripe.com"),
            ("api.stripe.com.svc.cluster.local", "api.stripe"),
            ("api.stripe.com.cluster.local", "api.stripe.com"),
            ("db.default.svc.cluster.local", "db"),
            ("cluster.local", "cluster.local"),
        ] {
            assert_eq!(without_search_path(wire), asked);
        }
    }

    #[test]
    fn a_first_question_is_expanded_by_the_pods_own_namespace_in_whatever_cluster_domain() {
        let asker = Asker { own: ".shop.svc.".to_owned(), ..Asker::default() };
        for (wire, asked) in [
            ("db.shop.svc.cluster.local", "db"),
            ("db.other.shop.svc.k8s.corp.example", "db.other"),
            ("db.other.svc.cluster.local", "db.other.svc.cluster.local"),
            ("db.shop.svc", "db.shop.svc"),
            ("api.stripe.com", "api.stripe.com"),
        ] {
            assert_eq!(asker.unexpanded(wire), asked);
        }
        let server = Asker { serves: true, ..asker };
        assert_eq!(server.unexpanded("db.shop.svc.cluster.local"), "db.shop.svc.cluster.local");
    }
}
