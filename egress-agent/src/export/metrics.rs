//! The metrics: what pods suffered, and how the agent fares. OpenMetrics text.
//!
//! Addresses, ports and names of peers never become labels. The series of a pod end a minute after the pod, so that
//! the last scrape sees them and churn does not pile them up.

mod agent;
mod conntrack;
mod pods;
mod process;
mod series;
mod write;

pub use conntrack::Conntrack;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use egress_core::cluster::PodRef;
use egress_core::tally::Tally;
use egress_core::time::{Mono, Timestamp};
use egress_core::verdict::Verdict;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

use crate::engine::Observer;
use crate::status::AgentStatus;
use pods::Pods;

/// How long the series of a pod outlive it.
const AFTERLIFE: Duration = Duration::from_secs(60);
/// How long late events of a pod that is gone are kept from beginning its series anew: a little longer than identity
/// attributes them to it.
const REMEMBERED: Duration = Duration::from_secs(6 * 60);

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

    /// All metrics as OpenMetrics text.
    ///
    /// # Errors
    ///
    /// The text cannot be written, which for text in memory does not happen.
    pub fn encode(&self, readings: Readings) -> Result<String, std::fmt::Error> {
        let pods = self.lock().snapshot();
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

impl Observer for Metrics {
    /// Counts a verdict when it is made and when its cause changes.
    fn verdict(&self, verdict: &Verdict, previous: Option<&Verdict>) {
        if previous.is_none_or(|previous| previous.cause != verdict.cause) {
            self.lock().verdict(verdict);
        }
    }

    fn tally(&self, tally: &Tally) {
        self.lock().tally(tally);
    }

    /// Its series end a minute after `now`.
    fn pod_gone(&self, pod: &PodRef, now: Mono) {
        self.lock().gone(pod, now);
    }

    /// Ends the series whose time has come. A scrape asks for the status itself.
    fn status(&self, _status: &AgentStatus, now: Mono) {
        self.lock().expire(now);
    }
}

#[cfg(test)]
mod tests;
