//! TCP: SYN, answer, refusal, retransmits, the socket's end, and drops.

use super::Tracker;
use super::attempt::Attempt;
use super::event::{DropRole, FlowEvent, Outcome, Sighting};
use crate::decode::{
    DropSeen, DropSite, IcmpError, Observation, Packet, PacketSeen, RetransmitSeen, SockStateSeen, Tap,
    TcpState, Transport, Tuple,
};

/// `errno` of a socket that got no answer.
const ETIMEDOUT: u32 = 110;
/// An unanswered SYN is a failure at this retransmit.
const RETRANSMITS: u64 = 2;

impl Tracker {
    pub(super) fn tcp_packet(&mut self, seen: &Observation, at: &PacketSeen, out: &mut Vec<FlowEvent>) {
        let packet = &at.packet;
        let Transport::Tcp { seq, ack, .. } = packet.transport else { return };
        let sighting = sighting(seen, packet);
        if packet.is_syn() {
            self.syn(seen, at, seq, sighting, out);
        } else if packet.is_syn_ack() {
            self.syn_ack(seen, at, ack.wrapping_sub(1), sighting, out);
        } else if packet.is_reset() {
            self.reset(seen, at, ack.wrapping_sub(1), sighting, out);
        }
    }

    fn syn(
        &mut self,
        seen: &Observation,
        at: &PacketSeen,
        isn: u32,
        sighting: Sighting,
        out: &mut Vec<FlowEvent>,
    ) {
        let tuple = at.packet.tuple;
        let attempt = match at.tap {
            Tap::PodOut => {
                let attempt = self.attempts.open(tuple, Some(isn), 0, seen.at);
                attempt.syns += 1;
                attempt.last = seen.at;
                attempt
            }
            Tap::PodIn => {
                if self.attempts.by_isn(isn, &tuple, seen.at).is_none() {
                    // The client is not a local pod: this is the destination's view.
                    let attempt = self.attempts.open(tuple, Some(isn), 0, seen.at);
                    attempt.syns += 1;
                    attempt.last = seen.at;
                }
                let Some(attempt) = self.attempts.by_isn(isn, &tuple, seen.at) else { return };
                attempt
            }
            Tap::UplinkOut | Tap::UplinkIn => {
                let Some(attempt) = self.attempts.by_isn(isn, &tuple, seen.at) else { return };
                attempt
            }
        };
        attempt.journey.note_request(at.tap, sighting);
        // TC counts SYNs as well: the only witness where the pod's namespace is not known.
        if at.tap == Tap::PodOut && attempt.syns > RETRANSMITS {
            unanswered(attempt, seen, out);
        }
    }

    fn syn_ack(
        &mut self,
        seen: &Observation,
        at: &PacketSeen,
        isn: u32,
        sighting: Sighting,
        out: &mut Vec<FlowEvent>,
    ) {
        let client = at.packet.tuple.reversed();
        let Some(attempt) = self.attempts.by_isn(isn, &client, seen.at) else { return };
        attempt.journey.note_answer(at.tap, sighting);
        // A server on this node accepted a client from elsewhere, or the answer reached the client.
        let local_client = attempt.journey.request(Tap::PodOut).is_some();
        if at.tap == Tap::PodIn || (at.tap == Tap::PodOut && !local_client) {
            succeeded(attempt, seen, out);
        }
    }

    fn reset(
        &mut self,
        seen: &Observation,
        at: &PacketSeen,
        isn: u32,
        sighting: Sighting,
        out: &mut Vec<FlowEvent>,
    ) {
        let client = at.packet.tuple.reversed();
        let Some(attempt) = self.attempts.by_isn(isn, &client, seen.at) else { return };
        if attempt.answered {
            return;
        }
        attempt.journey.note_answer(at.tap, sighting);
        // Only the client's own device tells that it was refused; the others tell by whom.
        if at.tap == Tap::PodIn && !attempt.explained {
            attempt.explained = true;
            let first = attempt
                .journey
                .answer(Tap::UplinkIn)
                .or_else(|| attempt.journey.answer(Tap::PodOut))
                .map_or(sighting.ttl, |answer| answer.ttl);
            let failed = attempt.sent() - attempt.told.min(attempt.sent());
            out.push(attempt.event(seen.at, Outcome::Refused { ttl: first }, failed.max(1)));
        }
    }

    pub(super) fn icmp_error(
        &mut self,
        seen: &Observation,
        at: &PacketSeen,
        error: &IcmpError,
        out: &mut Vec<FlowEvent>,
    ) {
        if at.tap != Tap::PodIn {
            return;
        }
        let router = at.packet.tuple.source.ip;
        if error.about.protocol == 6 {
            let Some(attempt) = self.attempts.by_client(&error.about) else { return };
            if attempt.answered || attempt.explained {
                return;
            }
            attempt.explained = true;
            let outcome = Outcome::Unreachable { error: error.clone(), router };
            out.push(attempt.event(seen.at, outcome, 1));
        } else {
            self.dns.unreachable(seen, error, out);
            self.datagrams.unreachable(seen, error, router, out);
        }
    }

    pub(super) fn retransmit(
        &mut self,
        seen: &Observation,
        again: &RetransmitSeen,
        out: &mut Vec<FlowEvent>,
    ) {
        if !again.syn {
            self.stalls.retransmit(seen, again, out);
            self.sizes.retransmit(seen, again, out);
            return;
        }
        let attempt = self.attempts.open(again.tuple, None, seen.netns, seen.at);
        attempt.retransmits += 1;
        attempt.last = seen.at;
        if attempt.retransmits >= RETRANSMITS {
            unanswered(attempt, seen, out);
        }
    }

    pub(super) fn sock_state(&mut self, seen: &Observation, state: &SockStateSeen, out: &mut Vec<FlowEvent>) {
        if state.old != TcpState::SynSent {
            return;
        }
        let Some(attempt) = self.attempts.by_client(&state.tuple) else { return };
        match state.new {
            TcpState::Established => succeeded(attempt, seen, out),
            // An attempt abandoned without error or retransmit is no failure.
            TcpState::Close if state.error == ETIMEDOUT || attempt.retransmits > 0 => {
                unanswered(attempt, seen, out);
            }
            _ => {}
        }
    }

    pub(super) fn tcp_drop(&mut self, seen: &Observation, dropped: &DropSeen, out: &mut Vec<FlowEvent>) {
        // Closed ports and healthy noise make counters.
        if matches!(dropped.site, DropSite::Benign | DropSite::NoSocket) {
            return;
        }
        if dropped.site == DropSite::TooBig {
            self.sizes.dropped(seen, dropped, out);
            return;
        }
        let packet = &dropped.packet;
        let Transport::Tcp { flags, seq, ack } = packet.transport else { return };
        let (client, reply) = client_of(dropped);
        let role = if packet.is_syn() {
            DropRole::Opening
        } else if packet.is_syn_ack() {
            DropRole::Reply
        } else {
            let closing = crate::decode::is_closing(flags);
            self.sizes.stopped_otherwise(seen, dropped);
            if !closing {
                self.stalls.dropped(seen, dropped, client, seq, out);
            }
            return;
        };
        let isn = if role == DropRole::Opening { seq } else { ack.wrapping_sub(1) };
        let client = if role == DropRole::Reply && !reply { client.reversed() } else { client };
        let found = self.attempts.by_isn(isn, &client, seen.at).is_some();
        let attempt = if found { self.attempts.by_isn(isn, &client, seen.at) } else { None };
        let attempt = match attempt {
            Some(attempt) => attempt,
            None => self.attempts.open(client, Some(isn), 0, seen.at),
        };
        if attempt.answered {
            return;
        }
        attempt.explained = true;
        attempt.last = seen.at;
        let outcome = Outcome::Dropped { drop: Box::new(dropped.clone()), role, names: Vec::new() };
        out.push(attempt.event(seen.at, outcome, 1));
    }
}

/// The flow of a dropped packet as its client sent it, and whether the packet went the other way.
pub(super) fn client_of(dropped: &DropSeen) -> (Tuple, bool) {
    let tuple = dropped.packet.tuple;
    match &dropped.conntrack {
        Some(ct) if tuple == ct.reply || tuple.source == ct.reply.source => (ct.original, true),
        Some(ct) => (ct.original, false),
        None => (tuple, false),
    }
}

pub(super) fn sighting(seen: &Observation, packet: &Packet) -> Sighting {
    Sighting { at: seen.at, ifindex: seen.ifindex, tuple: packet.tuple, ttl: packet.ttl }
}

fn succeeded(attempt: &mut Attempt, seen: &Observation, out: &mut Vec<FlowEvent>) {
    if attempt.answered {
        return;
    }
    attempt.answered = true;
    attempt.last = seen.at;
    out.push(attempt.event(seen.at, Outcome::Succeeded, 0));
}

fn unanswered(attempt: &mut Attempt, seen: &Observation, out: &mut Vec<FlowEvent>) {
    if attempt.answered || attempt.explained {
        return;
    }
    let failed = attempt.sent().saturating_sub(attempt.told);
    if failed > 0 {
        out.push(attempt.event(seen.at, Outcome::Unanswered, failed));
    }
}
