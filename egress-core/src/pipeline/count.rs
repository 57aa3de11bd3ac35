//! What the metrics count, from every observation: no verdict needed.

use std::net::IpAddr;
use std::sync::Arc;

use super::Pipeline;
use crate::cluster::Pod;
use crate::decode::{DropSite, Observation, Seen};
use crate::flow::{DivertedEnd, FlowEvent, Outcome};
use crate::tally::{Counted, Tally};
use crate::time::Mono;
use crate::verdict::Direction;

impl Pipeline {
    fn local(&self, ip: IpAddr, at: Mono) -> Option<Arc<Pod>> {
        self.index.pod_by_ip(ip, at).filter(|pod| self.index.is_local(pod))
    }

    fn tally(&mut self, pod: Arc<Pod>, what: Counted) {
        self.tallies.push(Tally { pod, what });
    }

    /// Counts one observation.
    pub(super) fn count(&mut self, seen: &Observation) {
        match &seen.seen {
            Seen::Drop(drop) if drop.site != DropSite::Benign => {
                let tuple = drop.packet.tuple;
                let ends = match &drop.conntrack {
                    // Translated, or not yet back: the packet carries the node's address.
                    Some(ct)
                        if self.local(tuple.source.ip, seen.at).is_none()
                            && tuple.destination == ct.reply.destination =>
                    {
                        (ct.original.destination.ip, ct.original.source.ip)
                    }
                    Some(ct) if self.local(tuple.destination.ip, seen.at).is_none() => {
                        (ct.original.source.ip, ct.original.destination.ip)
                    }
                    _ => (tuple.source.ip, tuple.destination.ip),
                };
                self.count_drop(ends.0, ends.1, seen.at, &drop.reason, 1);
            }
            Seen::Aggregated(counted) => {
                self.count_drop(
                    counted.source,
                    counted.destination.ip,
                    seen.at,
                    &counted.reason,
                    counted.count,
                );
            }
            Seen::Retransmit(again) => {
                if let Some(pod) = self.local(again.tuple.source.ip, seen.at) {
                    self.tally(pod, Counted::Retransmit { syn: again.syn });
                }
            }
            _ => {}
        }
    }

    fn count_drop(&mut self, source: IpAddr, destination: IpAddr, at: Mono, reason: &Arc<str>, count: u64) {
        let reason = || Arc::clone(reason);
        if let Some(pod) = self.local(source, at) {
            let direction = Direction::Egress;
            self.tally(pod, Counted::Dropped { reason: reason(), direction, count });
        } else if let Some(pod) = self.local(destination, at) {
            let direction = Direction::Ingress;
            self.tally(pod, Counted::Dropped { reason: reason(), direction, count });
        }
    }

    /// Counts a failed connection, once an attempt.
    pub(super) fn count_failure(&mut self, event: &FlowEvent) {
        if event.client.protocol != 6 || event.failed == 0 {
            return;
        }
        let outcome = match &event.outcome {
            Outcome::Unanswered | Outcome::Dropped { .. } => "timeout",
            Outcome::Refused { .. } => "refused",
            Outcome::Unreachable { .. } | Outcome::Unroutable { .. } => "unreachable",
            Outcome::Diverted(failure) if failure.end == DivertedEnd::Refused => "refused",
            Outcome::Diverted(_) | Outcome::Reset(_) => "reset",
            Outcome::Dns(_)
            | Outcome::Tls(_)
            | Outcome::Silence(_)
            | Outcome::TooBig(_)
            | Outcome::Fits
            | Outcome::Succeeded
            | Outcome::Served => {
                return;
            }
        };
        // Later events of an attempt add SYNs to it; the attempt failed once.
        if event.first_report
            && let Some(pod) = self.local(event.client.source.ip, event.first)
        {
            self.tally(pod, Counted::ConnectFailure { outcome });
        }
    }

    /// Counts DNS answers and their absence.
    pub(super) fn count_dns(&mut self, now: Mono) {
        for response in self.tracker.take_responses() {
            if let Some(pod) = self.local(response.pod, now) {
                let outcome = response.outcome.as_str();
                self.tally(pod, Counted::DnsResponse { outcome, latency: response.latency });
            }
        }
    }
}
