//! Metrics.

use crate::engine::Observer;

/// Counts nothing.
#[derive(Debug)]
pub struct Uncounted;

impl Observer for Uncounted {
    fn verdict(&self, _: &egress_core::verdict::Verdict, _: Option<&egress_core::verdict::Verdict>) {}
    fn tally(&self, _: &egress_core::tally::Tally) {}
    fn pod_gone(&self, _: &egress_core::cluster::PodRef, _: egress_core::time::Mono) {}
    fn status(&self, _: &crate::status::AgentStatus, _: egress_core::time::Mono) {}
}
