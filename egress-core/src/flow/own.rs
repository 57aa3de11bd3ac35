//! Connections that the node's own sockets open: pods on the host's network are among them. Sockets decide, packets
//! at the uplinks and at other pods' devices show how far it went. Drops inside the node's own namespace are not seen.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use super::event::{FlowEvent, Journey, Outcome, Sighting};
use super::{ids, tcp};
use crate::decode::{
    IcmpError, Observation, PacketSeen, RetransmitSeen, SockStateSeen, Tap, TcpState, Transport, Tuple,
};
use crate::time::Mono;

/// Attempts kept at most; the oldest go first.
const CAPACITY: usize = 2048;
/// An attempt is over after this time (`tcp_syn_retries` of 6 ends after 127 s).
const MEMORY: Duration = Duration::from_secs(150);
/// An unanswered SYN is a failure at this retransmit.
const RETRANSMITS: u64 = 2;
/// TTL that this machine sends with.
const LOCAL_TTL: u8 = 64;
/// `errno` of the ends that are failures of the network.
const ENETUNREACH: u32 = 101;
const ETIMEDOUT: u32 = 110;
const ECONNREFUSED: u32 = 111;
const EHOSTUNREACH: u32 = 113;

/// Attempts of the node's sockets, by initial sequence number.
#[derive(Debug, Default)]
pub struct Own {
    by_isn: HashMap<u32, Attempt>,
    order: VecDeque<(Mono, u32)>,
    next: u64,
}

#[derive(Debug)]
struct Attempt {
    id: u64,
    opened: Mono,
    last: Mono,
    retransmits: u64,
    told: u64,
    journey: Journey,
    unreachable: Option<(Box<IcmpError>, IpAddr)>,
}

impl Own {
    /// Whether an attempt of an event is one of these.
    #[must_use]
    pub const fn is_own(event: &FlowEvent) -> bool {
        event.attempt >= ids::OWN && event.attempt < ids::UNROUTABLE
    }

    /// A packet. `own` says which addresses are the node's.
    pub fn packet(&mut self, seen: &Observation, packet: &PacketSeen, own: impl Fn(IpAddr) -> bool) {
        let Tuple { source, destination, .. } = packet.packet.tuple;
        let leaves = matches!(packet.tap, Tap::UplinkOut | Tap::PodIn);
        let sighting = tcp::sighting(seen, &packet.packet);
        match &packet.packet.transport {
            Transport::Tcp { seq, .. } if packet.packet.is_syn() && leaves && own(source.ip) => {
                self.open(*seq, seen.at).journey.note_request(packet.tap, sighting);
            }
            Transport::Tcp { ack, .. }
                if !leaves
                    && own(destination.ip)
                    && (packet.packet.is_syn_ack() || packet.packet.is_reset()) =>
            {
                self.note_answer(ack.wrapping_sub(1), packet.tap, sighting);
            }
            Transport::Icmp(error) if !leaves && own(error.about.source.ip) && !error.is_about_size() => {
                if let Some(attempt) = error.seq.and_then(|isn| self.by_isn.get_mut(&isn)) {
                    attempt.unreachable.get_or_insert((error.clone(), source.ip));
                    attempt.journey.note_answer(packet.tap, sighting);
                }
            }
            _ => {}
        }
    }

    fn note_answer(&mut self, isn: u32, tap: Tap, sighting: Sighting) {
        if let Some(attempt) = self.by_isn.get_mut(&isn) {
            attempt.journey.note_answer(tap, sighting);
        }
    }

    /// A socket of the node sent its SYN again.
    pub fn retransmit(&mut self, seen: &Observation, again: &RetransmitSeen) -> Option<FlowEvent> {
        if !again.syn || again.tuple.destination.ip.is_loopback() {
            return None;
        }
        let attempt = self.open(again.seq, seen.at);
        attempt.retransmits += 1;
        attempt.last = seen.at;
        if attempt.retransmits < RETRANSMITS {
            return None;
        }
        attempt.event(seen, again.tuple, Outcome::Unanswered)
    }

    /// An attempt of a socket of the node ended.
    pub fn ended(&mut self, seen: &Observation, state: &SockStateSeen) -> Option<FlowEvent> {
        let una = state.una?;
        if state.old != TcpState::SynSent || state.tuple.destination.ip.is_loopback() {
            return None;
        }
        // Its SYN was acknowledged, or not.
        let isn =
            [una, una.wrapping_sub(1)].into_iter().find(|isn| self.by_isn.contains_key(isn)).unwrap_or(una);
        if state.new == TcpState::Established {
            self.by_isn.remove(&isn);
            let mut attempt = Attempt::new(0, seen.at);
            return attempt.event(seen, state.tuple, Outcome::Succeeded);
        }
        let attempt = self.open(isn, seen.at);
        let outcome = match (state.error, attempt.unreachable.take()) {
            (ECONNREFUSED | EHOSTUNREACH | ENETUNREACH, Some((error, router))) => {
                Outcome::Unreachable { error: *error, router }
            }
            (ECONNREFUSED, None) => {
                let answers = [Tap::UplinkIn, Tap::PodOut].map(|tap| attempt.journey.answer(tap));
                let ttl = answers.into_iter().flatten().next().map_or(LOCAL_TTL, |answer| answer.ttl);
                Outcome::Refused { ttl }
            }
            (ETIMEDOUT | EHOSTUNREACH | ENETUNREACH, _) => Outcome::Unanswered,
            // Given up by its program: a failure if it had already been sent again in vain.
            (0, _) if attempt.retransmits > 0 => Outcome::Unanswered,
            _ => return None,
        };
        let event = attempt.event(seen, state.tuple, outcome);
        self.by_isn.remove(&isn);
        event
    }

    fn open(&mut self, isn: u32, at: Mono) -> &mut Attempt {
        while let Some((opened, oldest)) = self.order.front().copied()
            && (self.order.len() >= CAPACITY || at.since(opened) > MEMORY)
        {
            self.order.pop_front();
            if self.by_isn.get(&oldest).is_some_and(|attempt| attempt.opened == opened) {
                self.by_isn.remove(&oldest);
            }
        }
        let (next, order) = (&mut self.next, &mut self.order);
        self.by_isn.entry(isn).or_insert_with(|| {
            *next += 1;
            order.push_back((at, isn));
            Attempt::new(ids::OWN + *next, at)
        })
    }
}

impl Attempt {
    fn new(id: u64, at: Mono) -> Self {
        Self {
            id,
            opened: at,
            last: at,
            retransmits: 0,
            told: 0,
            journey: Journey::default(),
            unreachable: None,
        }
    }

    /// An event that adds the SYNs that no event has told of; `None` for a failure without any.
    fn event(&mut self, seen: &Observation, client: Tuple, outcome: Outcome) -> Option<FlowEvent> {
        let succeeded = matches!(outcome, Outcome::Succeeded);
        let failed = if succeeded { 0 } else { (self.retransmits + 1).saturating_sub(self.told) };
        if failed == 0 && !succeeded && matches!(outcome, Outcome::Unanswered) {
            return None;
        }
        let first_report = self.told == 0;
        self.told += failed;
        Some(FlowEvent {
            at: seen.at,
            attempt: self.id,
            netns: seen.netns,
            client,
            outcome,
            failed,
            first_report,
            first: self.opened,
            last: self.last,
            journey: self.journey.clone(),
        })
    }
}
