//! Destinations that a pod's own routing refuses: which of them are failures.

use std::net::IpAddr;

use super::Pipeline;
use crate::decode::Tuple;
use crate::flow::{FlowEvent, Journey, Outcome, Unroutable};
use crate::time::Mono;
use crate::verdict::SocketAddress;

impl Pipeline {
    /// Judges what has waited for another way long enough.
    pub(super) fn judge_unroutable(&mut self, now: Mono) {
        for failed in self.unroutable.due(now) {
            let Some(pod) = self.index.pod_by_netns(failed.netns, failed.last) else { continue };
            if !self.index.is_local(&pod) || self.went_elsewhere(&failed, &pod.ips) {
                continue;
            }
            let to = failed.destination.ip;
            let own = pod.ips.iter().find(|ip| ip.is_ipv4() == to.is_ipv4());
            // A pod without an address of this family cannot mean it, unless it insists.
            if own.is_none() && !failed.repeated {
                continue;
            }
            let Some(source) = own.or(pod.ips.first()).copied() else { continue };
            let event = FlowEvent {
                at: now,
                attempt: failed.id,
                netns: failed.netns,
                client: Tuple {
                    protocol: failed.protocol,
                    source: SocketAddress { ip: source, port: 0 },
                    destination: failed.destination,
                },
                outcome: Outcome::Unroutable { refusal: failed.refusal },
                failed: failed.attempts,
                first_report: true,
                first: failed.first,
                last: failed.last,
                journey: Journey::default(),
            };
            self.count_failure(&event);
            self.judge_informed(event);
        }
    }

    /// The pod tried another address for the same thing: of the same name, of the other family with the same port, or
    /// another DNS server. That one's fate decides.
    fn went_elsewhere(&self, failed: &Unroutable, ips: &[IpAddr]) -> bool {
        let wanted = failed.destination;
        let name_of = |ip| ips.first().and_then(|pod| self.dns_names.of(*pod, ip));
        let name = name_of(wanted.ip);
        self.unroutable.elsewhere(failed, ips).any(|other| {
            failed.protocol == 17
                || (name.is_some() && name == name_of(other.ip))
                || (other.ip.is_ipv4() != wanted.ip.is_ipv4()
                    && (other.port == wanted.port || wanted.port == 0))
        })
    }
}
