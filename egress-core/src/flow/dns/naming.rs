//! Names as applications ask them: a resolver turns one into several by its search list.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Asker, CAPACITY, Dns, Lookup, SAME_LOOKUP};
use crate::flow::ids;
use crate::time::Mono;

/// Lookups that may be expanded further, kept of one asker.
const FAILING: usize = 16;

impl Asker {
    /// A lookup was told that its name does not exist.
    pub(super) fn note_failing(&mut self, number: u64) {
        if !self.failing.contains(&number) {
            if self.failing.len() >= FAILING {
                self.failing.remove(0);
            }
            self.failing.push(number);
        }
    }
}

impl Dns {
    /// A pod's namespace and what its object says of its search list: names are told by it as they were asked.
    pub(in crate::flow) fn know(&mut self, ips: &[IpAddr], namespace: &str, domains: &[String]) {
        for ip in ips {
            let asker = self.asker(*ip);
            let own = format!(".{namespace}.svc.");
            if !asker.known || asker.own != own {
                asker.search.clear();
            }
            asker.known = true;
            asker.own = own;
            asker.also = ips.iter().copied().filter(|other| other != ip).collect();
            for domain in domains {
                asker.learn(&domain.to_ascii_lowercase());
            }
        }
    }

    /// This address is asked: it answers DNS, at all addresses of its pod.
    pub(super) fn serves(&mut self, ip: IpAddr) {
        let asker = self.asker(ip);
        if asker.serves {
            return;
        }
        asker.serves = true;
        for other in asker.also.clone() {
            self.asker(other).serves = true;
        }
    }

    /// The pod is gone.
    pub(in crate::flow) fn forget(&mut self, ip: IpAddr) {
        if let Some(asker) = self.askers.get_mut(&ip) {
            asker.known = false;
        }
        self.by_netns.retain(|_, known| *known != ip);
    }

    /// The lookup that a question belongs to; a new one if there is none.
    pub(super) fn lookup_of(&mut self, pod: IpAddr, name: &str, now: Mono) -> u64 {
        if self.lookups.len() >= CAPACITY {
            self.forget_oldest();
        }
        if let Some(number) = self.running(pod, name, now).or_else(|| self.joined(pod, name, now)) {
            return number;
        }
        let asker = self.asker(pod);
        let base = asker.unexpanded(name);
        if base.len() < name.len() && !asker.own.is_empty() {
            let domain = name[base.len() + 1..].to_owned();
            asker.learn_cluster(&domain);
        }
        if let Some(number) = asker.lookups.get(base) {
            return *number;
        }
        let base: Arc<str> = base.into();
        self.next += 1;
        let number = ids::LOOKUPS + self.next;
        self.asker(pod).lookups.insert(Arc::clone(&base), number);
        self.lookups.insert(number, Lookup::new(number, pod, base, now));
        number
    }

    /// The running lookup of this name, or of one that it expands.
    fn running(&mut self, pod: IpAddr, name: &str, now: Mono) -> Option<u64> {
        let asker = self.askers.get_mut(&pod)?;
        let mut candidate = Some(name);
        while let Some(base) = candidate {
            if let Some(number) = asker.lookups.get(base).copied()
                && let Some(lookup) = self.lookups.get(&number)
                && now.since(lookup.last) < SAME_LOOKUP
            {
                let domain = name.get(base.len() + 1..);
                let known = domain.is_none_or(|domain| {
                    domain.ends_with("cluster.local") || asker.search.iter().any(|d| d == domain)
                });
                if known {
                    return Some(number);
                }
                if lookup.failing(now) {
                    asker.learn(domain.unwrap_or_default());
                    return Some(number);
                }
            }
            if asker.serves {
                return None;
            }
            candidate = base.rfind('.').map(|dot| &base[..dot]);
        }
        None
    }

    /// Lookups that turn out to have been expansions of this name, or of the same one as this: a resolver that tries
    /// its search list first asks for the name itself last.
    fn joined(&mut self, pod: IpAddr, name: &str, now: Mono) -> Option<u64> {
        let asker = self.askers.get_mut(&pod)?;
        asker.failing.retain(|number| self.lookups.get(number).is_some_and(|lookup| lookup.failing(now)));
        let mut found = Vec::new();
        let mut base = name;
        for number in asker.failing.clone() {
            let Some(lookup) = self.lookups.get(&number).filter(|l| l.told.is_none()) else { continue };
            // Only what was asked as it stands may have been an expansion.
            if lookup.questions.iter().any(|q| q.name != lookup.base) {
                continue;
            }
            if let Some(domain) = lookup.base.strip_prefix(name).and_then(|rest| rest.strip_prefix('.')) {
                asker.learn(domain);
                found.push(number);
            } else if let (Some((mine, _)), Some((its, _))) =
                (asker.expansion(name), asker.expansion(&lookup.base))
                && mine == its
            {
                base = mine;
                found.push(number);
            }
        }
        let mut found = found.into_iter();
        let first = found.next()?;
        for other in found {
            self.merge(first, other);
        }
        self.rename(first, base);
        Some(first)
    }

    fn merge(&mut self, into: u64, from: u64) {
        let Some(gone) = self.lookups.remove(&from) else { return };
        if let Some(asker) = self.askers.get_mut(&gone.pod) {
            asker.lookups.remove(&gone.base);
        }
        for question in &gone.questions {
            self.wire.remove(question.id, from);
            self.wire.add(question.id, into);
        }
        if let Some(lookup) = self.lookups.get_mut(&into) {
            lookup.first = lookup.first.min(gone.first);
            lookup.last = lookup.last.max(gone.last);
            lookup.questions.extend(gone.questions);
        }
    }

    fn rename(&mut self, number: u64, base: &str) {
        let Some(pod) = self.lookups.get(&number).map(|lookup| lookup.pod) else { return };
        let base: Arc<str> = base.into();
        let taken = self.askers.get(&pod).and_then(|asker| asker.lookups.get(&base).copied());
        if let Some(other) = taken.filter(|other| *other != number) {
            self.drop_lookups(|lookup| lookup.number == other);
        }
        let Some(lookup) = self.lookups.get_mut(&number) else { return };
        let old = std::mem::replace(&mut lookup.base, Arc::clone(&base));
        if let Some(asker) = self.askers.get_mut(&pod) {
            asker.lookups.remove(&old);
            asker.lookups.insert(base, number);
        }
    }

    /// The name behind one on the wire, for a question that was never seen to be asked.
    pub(super) fn asked_name(&self, pod: IpAddr, name: &str) -> String {
        let Some(asker) = self.askers.get(&pod) else {
            return super::asker::without_search_path(name).to_owned();
        };
        let mut candidate = Some(name);
        while let Some(base) = candidate {
            let running = asker.lookups.get(base).and_then(|number| self.lookups.get(number));
            if running.is_some_and(|lookup| lookup.questions.iter().any(|q| *q.name == *name)) {
                return base.to_owned();
            }
            candidate = base.rfind('.').map(|dot| &base[..dot]);
        }
        asker.unexpanded(name).to_owned()
    }
}
