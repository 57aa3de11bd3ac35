//! A DNS server that cannot answer has often asked in vain itself.

use std::net::IpAddr;
use std::time::Duration;

use super::{Dns, Link, LinkOutcome, Lookup, Question};
use crate::decode::Tap;
use crate::flow::lookup::push_new;
use crate::time::Mono;

/// Servers that are followed one behind the other.
const DEPTH: usize = 4;
/// A server's question may be older than its client's: it asks once for several, and remembers failures.
const BEFORE: Duration = Duration::from_secs(30);
/// A server's question that is younger is not silent yet.
const SILENT: Duration = Duration::from_millis(800);

impl Dns {
    /// Whom the server of this question asked for the same name, and whom that one, as far as this node sees it.
    pub(super) fn chain(&self, question: &Question, now: Mono) -> Vec<Link> {
        let mut links = Vec::new();
        let mut current = question;
        while links.len() < DEPTH {
            let Some((link, next)) = self.link(current, now) else { break };
            let known = links.iter().any(|known: &Link| known.asker == link.asker);
            if known {
                break;
            }
            let failed = link.outcome.failed();
            links.push(link);
            if !failed {
                break;
            }
            current = next;
        }
        links
    }

    fn link(&self, question: &Question, now: Mono) -> Option<(Link, &Question)> {
        let askers: Vec<IpAddr> = match question.request(Tap::PodIn) {
            Some(delivered) => {
                let server = delivered.tuple.destination.ip;
                let also = self.askers.get(&server).map_or(&[][..], |asker| &asker.also);
                std::iter::once(server).chain(also.iter().copied()).collect()
            }
            None if question.request(Tap::UplinkOut).is_some() => return None,
            // Answered on the node itself: a cache there, or a server on its network.
            None => self.own.iter().copied().filter(|ip| *ip != question.client.source.ip).collect(),
        };
        let mut asked: Vec<&Question> = askers
            .iter()
            .filter_map(|ip| self.askers.get(ip))
            .filter_map(|asker| self.lookups.get(asker.lookups.get(&question.name)?))
            .flat_map(|lookup: &Lookup| &lookup.questions)
            .filter(|own| concerns(own, question))
            .collect();
        asked.sort_by_key(|own| own.asked);
        let telling =
            *asked.iter().max_by_key(|own| own.got().map(|answer| answer.outcome.is_definitive()))?;
        let answered = telling.got().map(|answer| answer.outcome);
        let outcome = match answered {
            Some(outcome) => LinkOutcome::Answered(outcome),
            None if asked.iter().all(|own| own.dropped) => LinkOutcome::Dropped,
            // The server gave up on it, or it is silent for long enough.
            None if question.got().is_some() || now.since(asked.first()?.asked) >= SILENT => {
                LinkOutcome::Silent
            }
            None => return None,
        };
        let mut servers = Vec::new();
        for own in &asked {
            push_new(&mut servers, own.client.destination);
        }
        Some((Link { asker: telling.client.source.ip, servers, outcome }, telling))
    }
}

/// A question of the server belongs to that of its client: the same type, asked since, or shortly before and not
/// answered well by then.
fn concerns(own: &Question, question: &Question) -> bool {
    let waits = own.got().is_none_or(|answer| answer.at >= question.asked || !answer.outcome.is_definitive());
    own.kind == question.kind && waits && question.asked.since(own.asked) < BEFORE
}
