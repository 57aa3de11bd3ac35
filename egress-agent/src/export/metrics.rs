//! The metrics: what pods suffered, and how the agent fares. OpenMetrics text.
//!
//! Addresses, ports and names of peers never become labels. The series of a pod end a minute after the pod, so that
//! the last scrape sees them and churn does not pile them up.

mod agent;
mod conntrack;
pub(crate) mod plain;
mod pods;
mod process;
mod series;
mod write;

pub use conntrack::Conntrack;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use egress_core::tally::Tally;
use egress_core::time::Timestamp;
use egress_core::verdict::{Cause, Verdict};
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

use crate::status::AgentStatus;
use pods::Pods;

/// How long the series of a pod outlive it.
const AFTERLIFE: Duration = Duration::from_secs(60);

/// Every metric of pods. Fed by the engine, read by scrapes.
#[derive(Debug)]
pub struct Metrics {
    pods: Mutex<Pods>,
}

/// What a scrape reads beside the pods' metrics.
#[derive(Debug)]
pub struct Readings {
    /// The agent.
    pub status: AgentStatus,
    /// The conntrack table of the node, if it can be read.
    pub conntrack: Option<Conntrack>,
    /// Now, for ages.
    pub wall: Timestamp,
}

impl Metrics {
    /// No series yet. Without the label `pod`, pods of one workload are counted together.
    #[must_use]
    pub fn new(pod_label: bool) -> Self {
        Self { pods: Mutex::new(Pods::new(pod_label)) }
    }

    /// Counts a verdict when it is made and when its cause changes. `previous` is the cause it had before.
    pub fn verdict(&self, verdict: &Verdict, previous: Option<Cause>) {
        if previous != Some(verdict.cause) {
            self.lock().verdict(verdict);
        }
    }

    /// Counts what makes no verdict.
    pub fn tally(&self, tallies: &[Tally]) {
        if tallies.is_empty() {
            return;
        }
        let mut pods = self.lock();
        for tally in tallies {
            pods.tally(tally);
        }
    }

    /// The pod exists. To be told when it appears; events of a pod that does not exist count for a minute at most.
    pub fn pod_known(&self, namespace: &str, name: &str) {
        self.lock().known(namespace, name);
    }

    /// The pod is gone: its series end a minute after `now`.
    pub fn forget(&self, namespace: &str, name: &str, now: Instant) {
        self.lock().forget(namespace, name, now);
    }

    /// All metrics as OpenMetrics text.
    ///
    /// # Errors
    ///
    /// The text cannot be written, which for text in memory does not happen.
    pub fn encode(&self, readings: Readings, now: Instant) -> Result<String, std::fmt::Error> {
        let pods = {
            let mut pods = self.lock();
            pods.expire(now);
            pods.snapshot()
        };
        let mut registry = Registry::default();
        registry.register_collector(Box::new(pods));
        registry.register_collector(Box::new(agent::Agent(readings)));
        registry.register_collector(Box::new(process::Process));
        let mut out = String::new();
        text::encode(&mut out, &registry)?;
        Ok(out)
    }

    fn lock(&self) -> MutexGuard<'_, Pods> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
