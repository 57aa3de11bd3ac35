//! Who on this node reached which destination, from traffic that was there anyway. Nobody is asked, nothing is sent.

mod table;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use crate::decode::{SockStateSeen, Tap, TcpState, Tuple};
use crate::flow::{FlowEvent, Outcome};
use crate::time::Mono;

pub use table::{Reach, Try, Who};

impl Reach {
    /// A connection (or question) of a local pod succeeded or failed.
    pub fn note_event(&mut self, event: &FlowEvent) {
        let client = &event.client;
        let left = event.journey.request(Tap::UplinkOut);
        let who = Who::Pod(client.source.ip);
        match &event.outcome {
            Outcome::Succeeded => {
                let attempt = self.attempt(who, client, event.at);
                attempt.success = Some(event.at);
                attempt.source = left.map(|left| left.tuple.source.ip).or(attempt.source);
                if let Some(answer) = event.journey.answer(Tap::UplinkIn) {
                    self.note_ttl(client.destination.ip, answer.ttl);
                }
            }
            // What this node itself dropped says nothing of the destination.
            Outcome::Unanswered | Outcome::Refused { .. } | Outcome::Unreachable { .. }
                if left.is_some() || event.journey.request(Tap::PodIn).is_some() =>
            {
                let attempt = self.attempt(who, client, event.at);
                attempt.failure = Some(event.at);
                attempt.source = left.map(|left| left.tuple.source.ip).or(attempt.source);
            }
            _ => {}
        }
    }

    /// A socket of the node itself (or of a pod on its network) ended its attempt to connect.
    pub fn note_node_socket(&mut self, state: &SockStateSeen, at: Mono) {
        if state.old != TcpState::SynSent || state.tuple.destination.ip.is_loopback() {
            return;
        }
        let attempt = self.attempt(Who::Node, &state.tuple, at);
        attempt.source = Some(state.tuple.source.ip);
        match state.new {
            TcpState::Established => attempt.success = Some(at),
            // Given up without an error: nothing was learned.
            TcpState::Close if state.error != 0 => attempt.failure = Some(at),
            _ => {}
        }
    }

    /// A SYN of the node itself was sent again and again without an answer; its socket may be given up without error.
    pub fn note_node_event(&mut self, event: &FlowEvent) {
        if event.outcome == Outcome::Unanswered {
            let attempt = self.attempt(Who::Node, &event.client, event.at);
            attempt.source = Some(event.client.source.ip);
            attempt.failure = Some(event.at);
        }
    }

    /// TTL with which this host last accepted a connection, where it came in.
    #[must_use]
    pub fn ttl_of(&self, host: IpAddr) -> Option<u8> {
        self.host(host)?.ttl
    }

    /// What was tried with a destination's port, the latest first.
    #[must_use]
    pub fn tries(&self, to: &Tuple, now: Mono) -> Vec<Try> {
        let mut tries = self.recent(to.destination.ip, now);
        tries.retain(|one| one.protocol == to.protocol && one.port == to.destination.port);
        tries
    }

    /// Other TCP ports of the host that answered somebody here lately and are not known to have stopped.
    #[must_use]
    pub fn answering_ports(&self, to: &Tuple, now: Mono) -> Vec<Try> {
        let mut tries = self.recent(to.destination.ip, now);
        tries.retain(|one| one.protocol == 6 && one.reached() && one.port != to.destination.port);
        tries.sort_by_key(|one| (one.port, std::cmp::Reverse(one.last())));
        tries.dedup_by_key(|one| one.port);
        tries
    }
}
