//! Who held an address (or a network namespace) when: addresses are reused, sometimes within a second.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::Pod;
use crate::time::Mono;

/// How long an ended claim is remembered.
const TOMBSTONE: Duration = Duration::from_secs(5 * 60);
/// How many ended claims are remembered at most; the oldest go first.
const MAX_TOMBSTONES: usize = 8192;
/// How late the API may tell us of a claim: a pod sends before its status names its address.
const NEWS_DELAY: Duration = Duration::from_secs(60);

/// One pod's hold on a key.
#[derive(Clone, Debug)]
struct Claim {
    pod: Arc<Pod>,
    from: Mono,
    until: Option<Mono>,
}

/// Claims by key, each list from the oldest to the newest.
#[derive(Clone, Debug)]
pub(super) struct Claims<K> {
    by_key: HashMap<K, Vec<Claim>>,
    /// Ended claims in the order they ended.
    ended: VecDeque<(Mono, K)>,
}

impl<K> Default for Claims<K> {
    fn default() -> Self {
        Self { by_key: HashMap::new(), ended: VecDeque::new() }
    }
}

impl<K: Copy + Eq + Hash> Claims<K> {
    /// `pod` holds `key` as of `at`, or since ever if nobody held it before and `listed` (the pod was there when
    /// we first looked). Whoever held it has lost it.
    pub(super) fn open(&mut self, key: K, pod: &Arc<Pod>, at: Mono, listed: bool) {
        let claims = self.by_key.entry(key).or_default();
        let mut from = if listed { Mono(0) } else { at };
        if let Some(last) = claims.last_mut() {
            from = at.max(last.until.unwrap_or(last.from));
            if last.until.is_none() {
                last.until = Some(from);
                self.ended.push_back((from, key));
            }
        }
        claims.push(Claim { pod: Arc::clone(pod), from, until: None });
        self.drop_surplus();
    }

    /// A new version of a pod: if it still holds the key, the claim shows the new version.
    pub(super) fn refresh(&mut self, key: K, pod: &Arc<Pod>) {
        if let Some(claim) = self.held_by(key, pod) {
            claim.pod = Arc::clone(pod);
        }
    }

    /// `pod` has given up `key`. Nothing happens if another has taken it over already.
    pub(super) fn close(&mut self, key: K, pod: &Pod, at: Mono) {
        if let Some(claim) = self.held_by(key, pod) {
            let until = at.max(claim.from);
            claim.until = Some(until);
            self.ended.push_back((until, key));
        }
        self.drop_surplus();
    }

    /// Who held `key` at that time. `None` also where it cannot be known: between one holder's end and the next
    /// one's first news.
    pub(super) fn at(&self, key: K, at: Mono) -> Option<&Arc<Pod>> {
        let claims = self.by_key.get(&key)?;
        match claims.iter().rfind(|claim| claim.from <= at) {
            Some(claim) => claim.until.is_none_or(|until| at <= until).then_some(&claim.pod),
            None => claims.first().filter(|first| first.from.since(at) <= NEWS_DELAY).map(|first| &first.pod),
        }
    }

    /// Forgets claims that ended more than [`TOMBSTONE`] before `now`.
    pub(super) fn expire(&mut self, now: Mono) {
        while self.ended.front().is_some_and(|(until, _)| now.since(*until) > TOMBSTONE) {
            self.drop_oldest();
        }
    }

    fn drop_surplus(&mut self) {
        while self.ended.len() > MAX_TOMBSTONES {
            self.drop_oldest();
        }
    }

    /// Forgets the claim that ended first.
    fn drop_oldest(&mut self) {
        let Some((_, key)) = self.ended.pop_front() else { return };
        let Some(claims) = self.by_key.get_mut(&key) else { return };
        if claims.first().is_some_and(|first| first.until.is_some()) {
            claims.remove(0);
        }
        if claims.is_empty() {
            self.by_key.remove(&key);
        }
    }

    fn held_by(&mut self, key: K, pod: &Pod) -> Option<&mut Claim> {
        let last = self.by_key.get_mut(&key)?.last_mut()?;
        (last.until.is_none() && last.pod.is_same(pod)).then_some(last)
    }

    /// Ended claims still remembered.
    #[cfg(test)]
    pub(super) fn tombstones(&self) -> usize {
        self.ended.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str) -> Arc<Pod> {
        Arc::new(Pod { name: name.into(), uid: format!("uid-{name}"), ..Pod::default() })
    }

    fn ms(ms: u64) -> Mono {
        Mono(3_600_000_000_000 + ms * 1_000_000)
    }

    fn name(claims: &Claims<u32>, at: Mono) -> Option<&str> {
        claims.at(1, at).map(|pod| pod.name.as_str())
    }

    #[test]
    fn an_address_reused_within_a_second_is_never_misattributed() {
        let (a, b) = (pod("a"), pod("b"));
        let mut claims = Claims::default();
        claims.open(1, &a, ms(0), false);
        claims.close(1, &a, ms(1000));
        claims.open(1, &b, ms(1500), false);
        assert_eq!(name(&claims, ms(999)), Some("a"));
        assert_eq!(name(&claims, ms(1000)), Some("a"));
        assert_eq!(name(&claims, ms(1200)), None, "neither is known to have it");
        assert_eq!(name(&claims, ms(1500)), Some("b"));
    }

    #[test]
    fn a_successor_seen_before_the_deletion_takes_over_and_keeps_the_address() {
        let (a, b) = (pod("a"), pod("b"));
        let mut claims = Claims::default();
        claims.open(1, &a, ms(0), false);
        claims.open(1, &b, ms(500), false);
        claims.refresh(1, &a);
        claims.close(1, &a, ms(900));
        assert_eq!(name(&claims, ms(499)), Some("a"));
        assert_eq!(name(&claims, ms(1000)), Some("b"));
    }

    #[test]
    fn a_pod_that_sent_before_we_heard_of_it_is_recognised() {
        let mut claims = Claims::default();
        claims.open(1, &pod("a"), ms(120_000), false);
        assert_eq!(name(&claims, ms(119_000)), Some("a"));
        assert_eq!(name(&claims, ms(0)), None, "two minutes earlier it may have been another's");
        let mut listed = Claims::default();
        listed.open(1, &pod("a"), ms(120_000), true);
        assert_eq!(name(&listed, ms(0)), Some("a"));
    }

    #[test]
    fn tombstones_expire_and_are_bounded() {
        let a = pod("a");
        let mut claims = Claims::default();
        claims.open(1, &a, ms(0), false);
        claims.close(1, &a, ms(10));
        claims.expire(ms(10).after(TOMBSTONE));
        assert_eq!(name(&claims, ms(5)), Some("a"));
        claims.expire(ms(11).after(TOMBSTONE));
        assert_eq!(name(&claims, ms(5)), None);

        let mut many = Claims::default();
        for key in 0..20_000 {
            many.open(key, &a, ms(0), false);
            many.close(key, &a, ms(1));
        }
        assert_eq!(many.tombstones(), MAX_TOMBSTONES);
        assert_eq!(many.by_key.len(), MAX_TOMBSTONES);
    }
}
