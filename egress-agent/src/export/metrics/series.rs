//! The counters of one pod, or of the pods of one workload.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use egress_core::tally::Counted;
use egress_core::verdict::{Cause, Direction};

/// Upper bounds of the buckets of DNS latency, seconds. Cached answers take less than a millisecond; resolvers
/// give up after five seconds.
pub(super) const LATENCY_BOUNDS: [f64; 12] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// Counters that only grow.
#[derive(Clone, Debug, Default)]
pub(super) struct Series {
    pub(super) verdicts: BTreeMap<(Cause, Direction), u64>,
    pub(super) dropped: BTreeMap<(Arc<str>, Direction), u64>,
    /// Of data, of SYNs.
    pub(super) retransmits: [u64; 2],
    pub(super) connect_failures: BTreeMap<&'static str, u64>,
    pub(super) dns_responses: BTreeMap<&'static str, u64>,
    pub(super) dns_latency: BTreeMap<&'static str, Latency>,
    pub(super) drift: BTreeMap<&'static str, u64>,
}

/// A histogram.
#[derive(Clone, Debug, Default)]
pub(super) struct Latency {
    /// Each bucket by itself; the last is beyond every bound.
    pub(super) buckets: [u64; LATENCY_BOUNDS.len() + 1],
    /// Seconds.
    pub(super) sum: f64,
    pub(super) count: u64,
}

impl Series {
    /// Counts one thing.
    pub(super) fn count(&mut self, what: &Counted) {
        match what {
            Counted::Dropped { reason, direction, count } => {
                *self.dropped.entry((Arc::clone(reason), *direction)).or_default() += count;
            }
            Counted::Retransmit { syn } => self.retransmits[usize::from(*syn)] += 1,
            Counted::ConnectFailure { outcome } => *self.connect_failures.entry(outcome).or_default() += 1,
            Counted::DnsResponse { outcome, latency } => {
                *self.dns_responses.entry(outcome).or_default() += 1;
                if let Some(latency) = latency {
                    self.dns_latency.entry(outcome).or_default().observe(*latency);
                }
            }
            Counted::Drift { kind } => *self.drift.entry(kind).or_default() += 1,
        }
    }

    /// Adds another's counts.
    pub(super) fn add(&mut self, other: &Self) {
        sum(&mut self.verdicts, &other.verdicts);
        sum(&mut self.dropped, &other.dropped);
        for (own, more) in self.retransmits.iter_mut().zip(other.retransmits) {
            *own += more;
        }
        sum(&mut self.connect_failures, &other.connect_failures);
        sum(&mut self.dns_responses, &other.dns_responses);
        sum(&mut self.drift, &other.drift);
        for (outcome, more) in &other.dns_latency {
            self.dns_latency.entry(outcome).or_default().add(more);
        }
    }
}

impl Latency {
    fn observe(&mut self, latency: Duration) {
        let seconds = latency.as_secs_f64();
        let bucket = LATENCY_BOUNDS.partition_point(|bound| *bound < seconds);
        self.buckets[bucket] += 1;
        self.sum += seconds;
        self.count += 1;
    }

    fn add(&mut self, other: &Self) {
        for (own, more) in self.buckets.iter_mut().zip(other.buckets) {
            *own += more;
        }
        self.sum += other.sum;
        self.count += other.count;
    }
}

fn sum<K: Ord + Clone>(own: &mut BTreeMap<K, u64>, more: &BTreeMap<K, u64>) {
    for (key, count) in more {
        *own.entry(key.clone()).or_default() += count;
    }
}
