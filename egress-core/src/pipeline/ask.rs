//! Before some failures are judged, the kernel is asked for a state that decides: how full a queue is, what a sysctl
//! says, whether there is a route. The failure waits for the answers, but not long.

use std::time::Duration;

use super::{Pipeline, peers};
use crate::decode::{DropSeen, DropSite, FilterKind, Tap, Tuple};
use crate::flow::{DnsOutcome, DropRole, FlowEvent, Outcome};
use crate::node::{Question, Reading};
use crate::time::Mono;
use crate::verdict::{PeerKind, questions};

/// How long a failure waits for answers.
const PATIENCE: Duration = Duration::from_millis(250);
/// An answer of the time just before a failure serves as well.
const FRESH: Duration = Duration::from_millis(500);
/// Failures that may wait; beyond that they are judged as they are.
const WAITING: usize = 256;

/// A failure that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    since: Mono,
    event: FlowEvent,
}

impl Pipeline {
    /// Judges a failure, at once or when the answers that it needs are there.
    pub(super) fn judge_informed(&mut self, event: FlowEvent) {
        let missing = self.missing(&event);
        self.ask_peers(&event);
        let settled = missing.is_empty() && !self.awaits_others(&event);
        if settled || self.waiting.len() >= WAITING {
            self.judge(&event);
            return;
        }
        for question in missing {
            if !self.readings_wanted.contains(&question) {
                self.readings_wanted.push(question);
            }
        }
        self.waiting.push(Waiting { since: event.at, event });
    }

    /// An answer: what waited for it last is judged.
    pub(super) fn answered(&mut self, reading: Reading, at: Mono) {
        self.readings.note(reading, at);
        self.judge_waiting();
    }

    /// Judges what waited for the latest news.
    pub(super) fn judge_waiting(&mut self) {
        for waiting in std::mem::take(&mut self.waiting) {
            let event = &waiting.event;
            if self.missing(event).is_empty() && !self.awaits_others(event) {
                self.judge(&waiting.event);
            } else {
                self.waiting.push(waiting);
            }
        }
    }

    /// Judges what waits of a client: it is about to be cleared.
    pub(super) fn judge_waiting_of(&mut self, client: &Tuple) {
        for waiting in std::mem::take(&mut self.waiting) {
            if waiting.event.client == *client {
                self.judge(&waiting.event);
            } else {
                self.waiting.push(waiting);
            }
        }
    }

    /// What has waited long enough is judged without the answers.
    pub(super) fn stop_waiting(&mut self, now: Mono) {
        for waiting in std::mem::take(&mut self.waiting) {
            let patience = if self.awaits_peers(&waiting.event) { peers::PATIENCE } else { PATIENCE };
            if now.since(waiting.since) >= patience {
                self.judge(&waiting.event);
            } else {
                self.waiting.push(waiting);
            }
        }
    }

    /// News are on their way that no question of [`Self::missing`] stands for.
    fn awaits_others(&self, event: &FlowEvent) -> bool {
        self.awaits_routes(event) || self.awaits_owner(event) || self.awaits_peers(event)
    }

    /// Routing refused it by a route that is so new that it was not read yet.
    fn awaits_routes(&self, event: &FlowEvent) -> bool {
        matches!(&event.outcome, Outcome::Dropped { drop, .. }
            if drop.site == DropSite::Route
                && drop.netns == self.node.netns()
                && questions::outdated(event, drop, &self.node))
    }

    /// Questions of this failure without a fresh answer.
    fn missing(&self, event: &FlowEvent) -> Vec<Question> {
        let nanos = u64::try_from(FRESH.as_nanos()).unwrap_or(u64::MAX);
        let since = Mono(event.at.0.saturating_sub(nanos));
        let mut questions = self.questions_of(event);
        questions.retain(|question| question.netns() != 0 && !self.readings.is_answered(question, since));
        questions
    }

    /// What decides this failure.
    fn questions_of(&self, event: &FlowEvent) -> Vec<Question> {
        match &event.outcome {
            Outcome::Dropped { drop, role, .. } => self.questions_of_drop(drop, *role),
            Outcome::Unanswered => self.questions_of_silence(event),
            Outcome::Unroutable { .. } => {
                vec![Question::Route { netns: event.netns, to: event.client.destination.ip }]
            }
            Outcome::Dns(failure) if failure.outcome == DnsOutcome::Timeout => {
                self.questions_of_silence(event)
            }
            _ => Vec::new(),
        }
    }

    fn questions_of_drop(&self, drop: &DropSeen, role: DropRole) -> Vec<Question> {
        match drop.site {
            DropSite::Resource => questions::queue(drop),
            // Rules of iptables-legacy and conntrack itself drop in the same function.
            DropSite::Filter(FilterKind::Netfilter)
                if role == DropRole::Opening && self.node.is_node(drop.netns) =>
            {
                questions::conntrack(drop, self.node.netns())
            }
            DropSite::ReversePath => questions::reverse_path(drop, &self.node),
            // The node's routes are known; those of a pod are not.
            DropSite::Neighbour if drop.netns != self.node.netns() => {
                vec![Question::Route { netns: drop.netns, to: drop.packet.tuple.destination.ip }]
            }
            // A device that is down drops in its transmit function. A segment's stall is no sign of that.
            DropSite::Other if drop.function.contains("xmit") && role != DropRole::Data => {
                vec![questions::device(drop)]
            }
            _ => Vec::new(),
        }
    }

    fn questions_of_silence(&self, event: &FlowEvent) -> Vec<Question> {
        let journey = &event.journey;
        if let Some(left) = journey.request(Tap::UplinkOut) {
            let (to, at) = (left.tuple.destination, event.first);
            let due = left.tuple.source.ip == event.client.source.ip
                && !self.node.is_own(left.tuple.source.ip)
                && self.index.resolve(to.ip, to.port, event.client.transport(), at).kind
                    == PeerKind::External;
            let netns = self.node.netns();
            return if due { vec![Question::Translations { netns }] } else { Vec::new() };
        }
        let Some(delivered) = journey.request(Tap::PodIn) else {
            return questions::next_hop(event, &self.node).into_iter().collect();
        };
        let protocol = event.client.transport();
        let address = delivered.tuple.destination;
        let server = self.index.resolve(address.ip, address.port, protocol, event.first).pod;
        let Some(netns) = server.and_then(|pod| self.index.netns_of(&pod.reference())) else {
            return Vec::new();
        };
        vec![
            Question::Socket { netns, protocol, address },
            Question::Route { netns, to: delivered.tuple.source.ip },
        ]
    }
}
