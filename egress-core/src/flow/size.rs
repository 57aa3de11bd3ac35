//! Packets that were too big for a link of their way: who said so, whether the sender heard it, and whether it
//! harmed. Path-MTU discovery that works is neither: a drop or an ICMP message, a smaller segment, and on it goes.
//!
//! Harm is a sender that exceeds what it was told 200 ms later, or large segments that die again and again while
//! small ones live.

mod announced;
mod finding;
mod flow;
mod hole;
mod openings;

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use super::event::{FlowEvent, Journey, Outcome};
use crate::decode::{
    Conntrack, DropSeen, IcmpError, Observation, PacketSeen, ReceiveHoleSeen, RetransmitSeen, SockStateSeen,
    Tap, TcpState, Transport, Tuple,
};
use crate::time::Mono;

use announced::{Announcement, By};
pub use finding::{Alive, Gap, IcmpFate, SizeKind, TooBig};
use flow::{Flow, Step};
use openings::Openings;

/// Flows with a sign of a size problem, kept at most.
const CAPACITY: usize = 4096;
/// A sign is forgotten after this time without another (the longest pause between retransmits is 120 s).
const SILENCE: Duration = Duration::from_secs(150);
/// ICMP messages that came in by an uplink and whose flow is not known yet, kept at most.
const PENDING: usize = 128;
/// A hole in what was received that is so old, although nothing came since, is not filled any more.
const HOLE_STAYS: Duration = Duration::from_secs(1);
/// Ids of these flows lie apart from all others.
const FIRST_ID: u64 = 1 << 60;

/// Flows whose packets were too big, by the addresses of the one who sends them.
#[derive(Debug, Default)]
pub(super) struct Sizes {
    flows: HashMap<Tuple, Flow>,
    openings: Openings,
    /// Came in by an uplink; the translated address does not say whose it is.
    pending: VecDeque<(Mono, Announcement)>,
    next: u64,
    forgotten: u64,
    checked: Mono,
}

/// "Fragmentation needed" or "packet too big".
pub(super) const fn says_too_big(error: &IcmpError) -> bool {
    if error.v6 { error.kind == 2 } else { error.kind == 3 && error.code == 4 }
}

impl Sizes {
    pub(super) const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// This machine dropped a packet because of its size.
    pub(super) fn dropped(&mut self, seen: &Observation, dropped: &DropSeen, out: &mut Vec<FlowEvent>) {
        let (sender, client) = ends(dropped, &self.openings);
        let seq = match dropped.packet.transport {
            Transport::Tcp { seq, .. } => Some(seq),
            _ => None,
        };
        let said = Announcement {
            about: sender,
            by: By::Here(Box::new(dropped.clone())),
            mtu: 0,
            size: dropped.packet.length,
            seq,
        };
        self.announce(seen.at, sender, client, said, out);
    }

    /// An ICMP message that says "too big" was seen on its way to the sender.
    pub(super) fn icmp(
        &mut self,
        seen: &Observation,
        at: &PacketSeen,
        error: &IcmpError,
        out: &mut Vec<FlowEvent>,
    ) {
        let said = Announcement {
            about: error.about,
            by: By::Icmp { router: at.packet.tuple.source.ip, delivered: at.tap == Tap::PodIn },
            mtu: error.mtu,
            size: error.length,
            seq: error.seq,
        };
        match at.tap {
            Tap::PodIn => {
                let client = self.openings.client_of(&error.about);
                self.announce(seen.at, error.about, client, said, out);
            }
            Tap::UplinkIn => match self.openings.by_wire(&error.about) {
                Some(sender) => {
                    let client = self.openings.client_of(&sender);
                    self.announce(seen.at, sender, client, said, out);
                }
                None => {
                    if self.pending.len() >= PENDING {
                        self.pending.pop_front();
                    }
                    self.pending.push_back((seen.at, said));
                }
            },
            Tap::PodOut | Tap::UplinkOut => {}
        }
    }

    /// This machine dropped an ICMP message that says "too big": the sender will not hear it.
    pub(super) fn icmp_dropped(
        &mut self,
        seen: &Observation,
        dropped: &DropSeen,
        error: &IcmpError,
        out: &mut Vec<FlowEvent>,
    ) {
        // The message belongs to the connection of the packet that it is about.
        let sender = match &dropped.conntrack {
            Some(ct) if error.about.destination == ct.original.source => ct.reply,
            Some(ct) => ct.original,
            None => self.openings.by_wire(&error.about).unwrap_or(error.about),
        };
        let client = self.openings.client_of(&sender);
        let said = Announcement {
            about: error.about,
            by: By::Muted { router: dropped.packet.tuple.source.ip, drop: Box::new(dropped.clone()) },
            mtu: error.mtu,
            size: error.length,
            seq: error.seq,
        };
        self.announce(seen.at, sender, client, said, out);
    }

    /// A segment with data was sent again.
    pub(super) fn retransmit(
        &mut self,
        seen: &Observation,
        again: &RetransmitSeen,
        out: &mut Vec<FlowEvent>,
    ) {
        let sender = again.tuple;
        let client = self.openings.client_of(&sender);
        self.claim_pending(seen.at, again, client, out);
        let answered = self.openings.last_answer(sender.destination.ip);
        let opened = self.openings.get(&client).map(|opening| opening.at);
        let Some(flow) = self.flow(sender, client, seen.at) else { return };
        flow.netns = seen.netns;
        let step = flow.sent_again(seen.at, again, answered, opened);
        self.act(seen.at, sender, step, out);
    }

    /// A socket was closed with a hole in what it had received.
    pub(super) fn received(&mut self, seen: &Observation, hole: &ReceiveHoleSeen, out: &mut Vec<FlowEvent>) {
        // A line that loses packets fills its holes sooner.
        if hole.quiet < HOLE_STAYS {
            return;
        }
        let sender = hole.tuple.reversed();
        let client = self.openings.client_of(&hole.tuple);
        let Some(flow) = self.flow(sender, client, seen.at) else { return };
        let step =
            flow.received(Gap::BeforeSegments { ranges: hole.ranges }, hole.quiet, hole.advertised_mss);
        self.act(seen.at, sender, step, out);
    }

    /// Something else than its size stopped a packet of this flow: its large segments die of that.
    pub(super) fn stopped_otherwise(&mut self, seen: &Observation, dropped: &DropSeen) {
        let (sender, client) = ends(dropped, &self.openings);
        if let Some(flow) = self.flow(sender, client, seen.at) {
            flow.stopped_otherwise = Some(seen.at);
        }
    }

    /// A connection was established: what passed then was small, and its addresses are worth knowing.
    pub(super) fn opened(&mut self, event: &FlowEvent) {
        self.openings.opened(event);
    }

    /// An answer came from there.
    pub(super) fn answered(&mut self, client: &Tuple, at: Mono) {
        self.openings.answered(client.destination.ip, at);
    }

    /// The remote closes: a small packet that came through, whatever happened to the large ones.
    pub(super) fn closing(&mut self, at: Mono, packet: &PacketSeen) {
        if packet.tap == Tap::PodIn {
            if let Some(flow) = self.flows.get_mut(&packet.packet.tuple.reversed()) {
                flow.remote_closed = Some(at);
            }
            if packet.packet.tcp_flags() & 5 == 1 {
                self.openings.remote_fin(&packet.packet.tuple.reversed(), at);
            }
        }
    }

    /// A socket changed its state.
    pub(super) fn sock_state(&mut self, state: &SockStateSeen) {
        match state.new {
            TcpState::Established => self.openings.witnessed(&state.tuple),
            TcpState::SynSent | TcpState::SynReceived => {}
            _ => self.openings.moved(&state.tuple),
        }
    }

    /// A failed question of which it is known that it was too big gets that as its outcome.
    pub(super) fn explain(&mut self, event: &mut FlowEvent) {
        if !matches!(event.outcome, Outcome::Unanswered | Outcome::Dropped { .. }) {
            return;
        }
        let Some(flow) = self.flows.get_mut(&event.client) else { return };
        let Some(finding) = flow.unanswered(event.first, event.at) else { return };
        if flow.told > 0 {
            event.failed = 0;
        }
        event.outcome = Outcome::TooBig(Box::new(finding));
    }

    /// What is due by now.
    pub(super) fn tick(&mut self, now: Mono, out: &mut Vec<FlowEvent>) {
        for (client, fin) in self.openings.ignored_fins(now) {
            let sender = client.reversed();
            let Some(flow) = self.flow(sender, client, now) else { continue };
            let step = flow.hole_before_fin(fin, now);
            self.act(now, sender, step, out);
        }
        if now.since(self.checked) < Duration::from_secs(1) {
            return;
        }
        self.checked = now;
        self.flows.retain(|_, flow| now.since(flow.last) < SILENCE);
        self.pending.retain(|(at, _)| now.since(*at) < SILENCE);
        self.openings.expire(now);
    }

    fn announce(
        &mut self,
        at: Mono,
        sender: Tuple,
        client: Tuple,
        said: Announcement,
        out: &mut Vec<FlowEvent>,
    ) {
        let answered = self.openings.last_answer(sender.destination.ip);
        let Some(flow) = self.flow(sender, client, at) else { return };
        let step = flow.told_too_big(at, said, answered);
        self.act(at, sender, step, out);
    }

    /// An ICMP message whose flow was not known is about the segment that is now sent again.
    fn claim_pending(&mut self, at: Mono, again: &RetransmitSeen, client: Tuple, out: &mut Vec<FlowEvent>) {
        let fits = |said: &Announcement| {
            let (about, sender) = (&said.about, &again.tuple);
            let ends = about.destination == sender.destination || about.source == sender.source;
            about.protocol == sender.protocol && ends && said.seq == Some(again.seq)
        };
        let Some(index) = self.pending.iter().position(|(_, said)| fits(said)) else { return };
        if let Some((then, said)) = self.pending.remove(index) {
            self.announce(then.min(at), again.tuple, client, said, out);
        }
    }

    fn act(&mut self, at: Mono, sender: Tuple, step: Step, out: &mut Vec<FlowEvent>) {
        let Some(flow) = self.flows.get_mut(&sender) else { return };
        let journey = match self.openings.get(&flow.client) {
            Some(opening) => (*opening.journey).clone(),
            None => Journey::default(),
        };
        match step {
            Step::None => {}
            Step::Harmed(finding) => {
                let event = flow.event(at, Outcome::TooBig(finding), 1, journey);
                flow.told += 1;
                out.push(event);
            }
            Step::Passed => {
                if flow.told > 0 {
                    out.push(flow.event(at, Outcome::Fits, 0, journey));
                }
                self.flows.remove(&sender);
            }
        }
    }

    /// The flow with this sender, a new one if there is none and room for it.
    fn flow(&mut self, sender: Tuple, client: Tuple, at: Mono) -> Option<&mut Flow> {
        if !self.flows.contains_key(&sender) {
            if self.flows.len() >= CAPACITY {
                self.forgotten += 1;
                return None;
            }
            self.next += 1;
            self.flows.insert(sender, Flow::new(FIRST_ID + self.next, client, at));
        }
        let flow = self.flows.get_mut(&sender)?;
        flow.last = flow.last.max(at);
        Some(flow)
    }
}

/// The flow of a dropped packet: as its sender addresses it, and as its client does.
fn ends(dropped: &DropSeen, openings: &Openings) -> (Tuple, Tuple) {
    let tuple = dropped.packet.tuple;
    match &dropped.conntrack {
        Some(ct) if is_reply(&tuple, ct) => (ct.reply, ct.original),
        Some(ct) => (ct.original, ct.original),
        None => (tuple, openings.client_of(&tuple)),
    }
}

/// Anywhere on its way a packet to the client has one end of the reply, translated back or not.
fn is_reply(tuple: &Tuple, ct: &Conntrack) -> bool {
    tuple.destination == ct.original.source || tuple.source == ct.reply.source
}

/// Address family's header length.
const fn network_header(ip: IpAddr) -> u32 {
    if ip.is_ipv4() { 20 } else { 40 }
}
