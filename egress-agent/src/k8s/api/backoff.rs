//! How long to wait before the next try. Pure: what is random is a generator with a seed.

use std::time::Duration;

/// The first wait is about this long.
const FIRST: Duration = Duration::from_millis(500);
/// No wait is longer than one and a half of this.
const LONGEST: Duration = Duration::from_secs(30);

/// Waits that grow: each try that fails doubles the next, within half to one and a half of it, so that the nodes of a
/// cluster whose API server comes back do not come back all at once.
#[derive(Debug)]
pub(super) struct Backoff {
    failures: u32,
    random: u64,
}

impl Backoff {
    /// `seed` tells the nodes and the resources apart.
    pub(super) fn new(seed: u64) -> Self {
        Self { failures: 0, random: seed | 1 }
    }

    /// It works again.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// How long to wait after another failure. `at_least`: what the server asked for.
    pub(super) fn next(&mut self, at_least: Duration) -> Duration {
        let doubled = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let jittered = self.jittered(doubled);
        jittered.max(at_least)
    }

    /// Half to one and a half of a time.
    pub(super) fn jittered(&mut self, time: Duration) -> Duration {
        // xorshift64: spread is all that matters.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let thousandths = u32::try_from(self.random % 1000).unwrap_or(0) + 500;
        time.saturating_mul(thousandths) / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_and_begin_anew_after_a_success() {
        let mut backoff = Backoff::new(7);
        let waits: Vec<_> = (0..20).map(|_| backoff.next(Duration::ZERO)).collect();
        for (failures, wait) in waits.iter().enumerate() {
            let middle = FIRST.saturating_mul(1 << failures.min(10)).min(LONGEST);
            assert!((middle / 2..=middle * 3 / 2).contains(wait), "{failures}: {wait:?}");
        }
        assert!(waits[19] > LONGEST / 2 - Duration::from_millis(1));
        backoff.reset();
        assert!(backoff.next(Duration::ZERO) <= FIRST * 3 / 2);
        assert_eq!(backoff.next(Duration::from_secs(90)), Duration::from_secs(90));
    }

    #[test]
    fn nodes_are_spread() {
        let first = |seed| Backoff::new(seed).next(Duration::ZERO);
        let waits: std::collections::BTreeSet<_> =
            (0..100).map(|node: u64| first(node.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
        assert!(waits.len() > 80, "{}", waits.len());
    }
}
