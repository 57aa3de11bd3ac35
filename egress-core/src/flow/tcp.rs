//! TCP: SYN, answer, refusal, retransmits, the socket's end, and drops.

use std::net::IpAddr;
use std::time::Duration;

use super::Tracker;
use super::attempt::Attempt;
use super::connection::Connections;
use super::event::{DropRole, FlowEvent, Journey, Outcome, Sighting};
use crate::decode::{
    DropSeen, DropSite, IcmpError, Observation, Packet, PacketSeen, RetransmitSeen, SockStateSeen, Tap,
    TcpState, Transport, Tuple,
};
use crate::time::Mono;

/// `errno` of a socket that got no answer.
const ETIMEDOUT: u32 = 110;
/// An unanswered SYN is a failure at this retransmit.
const RETRANSMITS: u64 = 2;
/// Stacks begin with a TTL of 64 or more; less is chosen to find routers.
pub(super) const LEAST_TTL: u8 = 32;

/// A SYN-ACK that went to the client's device and was not dropped behind it within this time has arrived.
const ARRIVES: Duration = Duration::from_millis(10);
/// SYN-ACKs that are awaited to arrive, at most.
const ARRIVING: usize = 4096;
/// The drop of a packet follows the ICMP error about it within this time.
const DROP_FOLLOWS: Duration = Duration::from_millis(10);

/// An ICMP error of this machine about a SYN.
#[derive(Debug)]
pub(super) struct Told {
    at: Mono,
    about: Tuple,
    error: IcmpError,
    router: IpAddr,
}

impl Tracker {
    pub(super) fn tcp_packet(&mut self, seen: &Observation, at: &PacketSeen, out: &mut Vec<FlowEvent>) {
        let packet = &at.packet;
        let Transport::Tcp { seq, ack, .. } = packet.transport else { return };
        let sighting = sighting(seen, packet);
        if packet.is_syn() {
            self.syn(seen, at, seq, sighting, out);
        } else if packet.is_syn_ack() {
            self.syn_ack(seen, at, ack.wrapping_sub(1), sighting, out);
        } else if !self.established_packet(seen, at, sighting, out) && packet.is_reset() {
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
        self.connections.reopened(&tuple, isn);
        let attempt = match at.tap {
            Tap::PodOut => {
                self.diverted.note_leaving(tuple.source.ip);
                let attempt = self.attempts.open(tuple, Some(isn), 0, seen.at);
                attempt.syns += 1;
                attempt.last = seen.at;
                attempt.not_taken();
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
        if let Transport::Tcp { seq, .. } = at.packet.transport {
            attempt.server_isn.get_or_insert(seq);
        }
        // A server on this node accepted a client from elsewhere, or the answer reached the client.
        let local_client = attempt.journey.request(Tap::PodOut).is_some();
        if at.tap == Tap::PodIn && !attempt.is_up() {
            attempt.delivered = Some(seen.at);
            attempt.last = seen.at;
            self.connections.open(attempt, seen.at);
            self.arriving.push_back((seen.at, attempt.client));
            if self.arriving.len() > ARRIVING {
                self.arrive(seen.at, out);
            }
        } else if at.tap == Tap::PodOut && !local_client {
            succeeded(attempt, seen.at, &mut self.connections, out);
        }
    }

    /// SYN-ACKs that nothing dropped have arrived.
    pub(super) fn arrive(&mut self, now: Mono, out: &mut Vec<FlowEvent>) {
        while let Some((at, client)) = self.arriving.front().copied() {
            if now.since(at) < ARRIVES && self.arriving.len() <= ARRIVING {
                return;
            }
            self.arriving.pop_front();
            let attempt = self.attempts.by_client(&client).filter(|attempt| attempt.delivered == Some(at));
            if let Some(attempt) = attempt {
                succeeded(attempt, at, &mut self.connections, out);
            }
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
        if attempt.is_up() {
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
        if at.tap == Tap::PodIn
            && let Some((connection, _)) = self.connections.find(&error.about)
        {
            connection.icmp = Some((seen.at, Box::new(error.clone()), at.packet.tuple.source.ip));
        }
        // Path MTU discovery is no refusal.
        if error.is_about_size() {
            return;
        }
        let router = at.packet.tuple.source.ip;
        if at.tap == Tap::UplinkIn
            && let Some(attempt) = error.seq.and_then(|isn| self.attempts.by_isn(isn, &error.about, seen.at))
        {
            // Before translation back: the client is told later, if nothing keeps it from it.
            attempt.refused_by.get_or_insert((error.clone(), router, sighting(seen, &at.packet)));
        }
        if at.tap != Tap::PodIn {
            return;
        }
        if error.about.protocol == 6 {
            let Some(attempt) = self.attempts.by_client(&error.about) else { return };
            // The error of a drop that is held back (time exceeded) says no more than the drop.
            if attempt.is_up()
                || attempt.explained
                || attempt.held.is_some()
                || is_probe(error, &attempt.journey)
            {
                return;
            }
            if attempt.journey.request(Tap::UplinkOut).is_none() && attempt.refused_by.is_none() {
                // Made on this node: the kernel answers first and drops the packet then, which says more.
                self.told.push(Told { at: seen.at, about: error.about, error: error.clone(), router });
                return;
            }
            attempt.explained = true;
            attempt.journey.note_answer(at.tap, sighting(seen, &at.packet));
            out.push(unreachable(attempt, seen.at, error.clone(), router, 1));
        } else {
            self.dns.unreachable(seen, error, router);
            self.datagrams.unreachable(seen, error, router, out);
        }
    }

    /// ICMP errors that no drop has followed are all that is known.
    pub(super) fn tell_errors(&mut self, now: Mono, out: &mut Vec<FlowEvent>) {
        self.told.retain(|told| {
            if now.since(told.at) < DROP_FOLLOWS {
                return true;
            }
            if let Some(attempt) = self.attempts.by_client(&told.about)
                && !(attempt.is_up() || attempt.explained || attempt.held.is_some())
            {
                attempt.explained = true;
                let outcome = Outcome::Unreachable { error: told.error.clone(), router: told.router };
                out.push(attempt.event(told.at, outcome, 1));
            }
            false
        });
    }

    pub(super) fn retransmit(
        &mut self,
        seen: &Observation,
        again: &RetransmitSeen,
        out: &mut Vec<FlowEvent>,
    ) {
        if !again.syn {
            self.stalls.retransmit(seen, again, out);
            self.sizes.retransmit(seen, again, &mut self.connections, out);
            // Large segments die: that is no silence of the connection.
            if !self.sizes.explains(&again.tuple)
                && let Some((connection, from)) = self.connections.find(&again.tuple)
            {
                connection.sent_again(seen.at, from, again, out);
            }
            return;
        }
        if let Some(known) = self.attempts.by_client(&again.tuple) {
            known.not_taken();
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
            self.socket_closed(seen, state, out);
            return;
        }
        let Some(attempt) = self.attempts.by_client(&state.tuple) else { return };
        match state.new {
            TcpState::Established => {
                if attempt.netns == 0 {
                    attempt.netns = seen.netns;
                }
                attempt.confirmed = true;
                succeeded(attempt, seen.at, &mut self.connections, out);
                // Of a namespace that the kernel does not know yet only connecting is told, not how it ends.
                if !state.by_address {
                    self.connections.socket_reports(&state.tuple);
                }
            }
            // An attempt abandoned without error or retransmit is no failure.
            // Nor is it one that ends for another reason than the drop that is held back.
            TcpState::Close
                if state.error == ETIMEDOUT
                    || attempt.retransmits > 0
                    || (state.error != 0 && attempt.held.is_some()) =>
            {
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
            self.sizes.dropped(seen, dropped, &mut self.connections, out);
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
            self.sizes.stopped_otherwise(seen, dropped, &mut self.connections);
            if !closing {
                let connection = self.connections.dropped(seen.at, dropped, &client, reply);
                self.stalls.dropped(seen, dropped, client, seq, connection, out);
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
        if attempt.answered || (role == DropRole::Opening && attempt.is_up()) {
            return;
        }
        attempt.delivered = None;
        attempt.last = seen.at;
        let drop = Box::new(dropped.clone());
        if dropped.site.is_passing() && attempt.held.is_none() && !attempt.explained {
            attempt.held = Some((drop, role));
            return;
        }
        attempt.explained = true;
        let failed = if attempt.held.take().is_some() { 2 } else { 1 };
        let outcome = Outcome::Dropped { drop, role, names: Vec::new() };
        out.push(attempt.event(seen.at, outcome, failed));
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

fn succeeded(attempt: &mut Attempt, at: Mono, connections: &mut Connections, out: &mut Vec<FlowEvent>) {
    if attempt.answered {
        return;
    }
    attempt.answered = true;
    attempt.last = attempt.last.max(at);
    connections.open(attempt, at);
    out.push(attempt.event(at, Outcome::Succeeded, 0));
}

/// A packet that its sender gave a short life, to see which router ends it: that is traceroute, and no failure.
pub(super) fn is_probe(error: &IcmpError, journey: &Journey) -> bool {
    error.is_ttl_exceeded() && journey.request(Tap::PodOut).is_some_and(|sent| sent.ttl < LEAST_TTL)
}

/// An ICMP error was the answer. That it came in by an uplink is told as well.
fn unreachable(attempt: &mut Attempt, at: Mono, error: IcmpError, router: IpAddr, failed: u64) -> FlowEvent {
    if let Some((.., came)) = &attempt.refused_by {
        attempt.journey.note_answer(Tap::UplinkIn, *came);
    }
    attempt.event(at, Outcome::Unreachable { error, router }, failed)
}

fn unanswered(attempt: &mut Attempt, seen: &Observation, out: &mut Vec<FlowEvent>) {
    if attempt.is_up() || attempt.explained {
        return;
    }
    let failed = attempt.sent().saturating_sub(attempt.told);
    if failed == 0 {
        return;
    }
    if let Some((drop, role)) = attempt.held.take() {
        attempt.explained = true;
        out.push(attempt.event(seen.at, Outcome::Dropped { drop, role, names: Vec::new() }, failed));
    } else if let Some((error, router, _)) = attempt.refused_by.clone()
        && !is_probe(&error, &attempt.journey)
    {
        // The client was never told, but the node was.
        out.push(unreachable(attempt, seen.at, error, router, failed));
    } else {
        out.push(attempt.event(seen.at, Outcome::Unanswered, failed));
    }
}
