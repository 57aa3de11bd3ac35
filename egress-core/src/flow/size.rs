//! Packets that were too big for a link of their way: who said so, whether the sender heard it, and whether it
//! harmed. Path-MTU discovery that works is neither: a drop or an ICMP message, a smaller segment, and on it goes.
//!
//! Harm is a sender that exceeds what it was told 200 ms later, or large segments that die again and again while
//! small ones live.

mod announced;
mod finding;
mod flow;
mod hole;
mod remotes;

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use super::connection::{Connections, End};
use super::event::{FlowEvent, Journey, Outcome};
use super::ids;
use crate::decode::{
    Conntrack, DropSeen, IcmpError, Observation, PacketSeen, ReceiveHoleSeen, RetransmitSeen, SockStateSeen,
    Tap, TcpState, Transport, Tuple,
};
use crate::time::Mono;

use announced::{Announcement, By};
pub use finding::{Alive, Gap, IcmpFate, SizeKind, TooBig};
use flow::{Flow, Step};
use remotes::Remotes;

/// Flows with a sign of a size problem, kept at most.
const CAPACITY: usize = 4096;
/// A sign is forgotten after this time without another (the longest pause between retransmits is 120 s).
const SILENCE: Duration = Duration::from_secs(150);
/// ICMP messages that came in by an uplink and whose flow is not known yet, kept at most.
const PENDING: usize = 128;
/// A hole in what was received that is so old, although nothing came since, is not filled any more.
const HOLE_STAYS: Duration = Duration::from_secs(1);

/// Flows whose packets were too big, by the addresses of the one who sends them.
#[derive(Debug, Default)]
pub(super) struct Sizes {
    flows: HashMap<Tuple, Flow>,
    remotes: Remotes,
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

/// Whose packets they are.
struct Owner {
    /// As the sender addresses them.
    sender: Tuple,
    /// As the client addresses the flow.
    client: Tuple,
    /// Of a connection that is known.
    connection: Option<Known>,
}

/// What is known of the connection.
#[derive(Clone, Copy)]
struct Known {
    /// Its number: events of it revise each other.
    id: u64,
    established: Mono,
    /// Initial sequence number of the sender.
    isn: Option<u32>,
}

impl Sizes {
    pub(super) const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// This machine dropped a packet because of its size.
    pub(super) fn dropped(
        &mut self,
        seen: &Observation,
        dropped: &DropSeen,
        connections: &mut Connections,
        out: &mut Vec<FlowEvent>,
    ) {
        let owner = owner_of_drop(dropped, connections);
        let seq = match dropped.packet.transport {
            Transport::Tcp { seq, .. } => Some(seq),
            _ => None,
        };
        let said = Announcement {
            about: owner.sender,
            by: By::Here(Box::new(dropped.clone())),
            mtu: 0,
            size: dropped.packet.length,
            seq,
        };
        self.announce(seen.at, &owner, said, connections, out);
    }

    /// An ICMP message that says "too big" was seen on its way to the sender.
    pub(super) fn icmp(
        &mut self,
        seen: &Observation,
        at: &PacketSeen,
        error: &IcmpError,
        connections: &mut Connections,
        out: &mut Vec<FlowEvent>,
    ) {
        let router = at.packet.tuple.source.ip;
        let said = announcement(error, By::Icmp { router, delivered: at.tap == Tap::PodIn });
        match at.tap {
            Tap::PodIn => {
                let owner = owner(&error.about, connections);
                self.announce(seen.at, &owner, said, connections, out);
            }
            Tap::UplinkIn => {
                let owner = owner(&error.about, connections);
                if owner.connection.is_some() {
                    self.announce(seen.at, &owner, said, connections, out);
                } else {
                    if self.pending.len() >= PENDING {
                        self.pending.pop_front();
                    }
                    self.pending.push_back((seen.at, said));
                }
            }
            Tap::PodOut | Tap::UplinkOut => {}
        }
    }

    /// This machine dropped an ICMP message that says "too big": the sender will not hear it.
    pub(super) fn icmp_dropped(
        &mut self,
        seen: &Observation,
        dropped: &DropSeen,
        error: &IcmpError,
        connections: &mut Connections,
        out: &mut Vec<FlowEvent>,
    ) {
        // The message belongs to the connection of the packet that it is about.
        let sender = match &dropped.conntrack {
            Some(ct) if error.about.destination == ct.original.source => ct.reply,
            Some(ct) => ct.original,
            None => error.about,
        };
        let router = dropped.packet.tuple.source.ip;
        let said = announcement(error, By::Muted { router, drop: Box::new(dropped.clone()) });
        let owner = owner(&sender, connections);
        self.announce(seen.at, &owner, said, connections, out);
    }

    /// A segment with data was sent again.
    pub(super) fn retransmit(
        &mut self,
        seen: &Observation,
        again: &RetransmitSeen,
        connections: &mut Connections,
        out: &mut Vec<FlowEvent>,
    ) {
        let owner = owner(&again.tuple, connections);
        self.claim_pending(seen.at, again, &owner, connections, out);
        let answered = self.remotes.last_answer(again.tuple.destination.ip);
        let Some(flow) = self.flow(&owner, seen.at) else { return };
        flow.netns = seen.netns;
        let step = flow.sent_again(seen.at, again, answered, owner.connection);
        self.act(seen.at, owner.sender, step, connections, out);
    }

    /// A socket was closed with a hole in what it had received.
    pub(super) fn received(
        &mut self,
        seen: &Observation,
        hole: &ReceiveHoleSeen,
        connections: &mut Connections,
        out: &mut Vec<FlowEvent>,
    ) {
        // A line that loses packets fills its holes sooner.
        if hole.quiet < HOLE_STAYS {
            return;
        }
        let local = owner(&hole.tuple, connections);
        let owner = Owner { sender: hole.tuple.reversed(), ..local };
        let Some(flow) = self.flow(&owner, seen.at) else { return };
        let gap = Gap::BeforeSegments { ranges: hole.ranges };
        let step = flow.received(gap, hole.quiet, hole.advertised_mss);
        self.act(seen.at, owner.sender, step, connections, out);
    }

    /// Something else than its size stopped a packet of this flow: its large segments die of that.
    pub(super) fn stopped_otherwise(
        &mut self,
        seen: &Observation,
        dropped: &DropSeen,
        connections: &mut Connections,
    ) {
        let owner = owner_of_drop(dropped, connections);
        if let Some(flow) = self.flow(&owner, seen.at) {
            flow.stopped_otherwise = Some(seen.at);
        }
    }

    /// An answer came from there.
    pub(super) fn answered(&mut self, from: IpAddr, at: Mono) {
        self.remotes.answered(from, at);
    }

    /// A TCP packet that opens, accepts or closes: what comes to a pod is a small packet that came through.
    pub(super) fn packet(&mut self, at: Mono, packet: &PacketSeen, connections: &mut Connections) {
        if packet.tap != Tap::PodIn {
            return;
        }
        let socket = packet.packet.tuple.reversed();
        if packet.packet.is_syn_ack() {
            self.remotes.answered(socket.destination.ip, at);
        } else if crate::decode::is_closing(packet.packet.tcp_flags()) {
            if let Some(flow) = self.flows.get_mut(&socket) {
                flow.remote_closed = Some(at);
            }
            // A socket that still wants data, and of which the kernel would tell that it took the FIN.
            if let Some((connection, End::Client)) = connections.find(&socket)
                && !packet.packet.is_reset()
                && connection.socket_reports
                && !connection.socket_moved
            {
                self.remotes.fin(connection.client, at);
            }
        }
    }

    /// A socket changed its state.
    pub(super) fn sock_state(&mut self, state: &SockStateSeen, connections: &mut Connections) {
        if matches!(state.new, TcpState::Established | TcpState::SynSent | TcpState::SynReceived) {
            return;
        }
        self.remotes.moved(&state.tuple);
        if let Some((connection, End::Client)) = connections.find(&state.tuple) {
            connection.socket_moved = true;
        }
    }

    /// Whether what this sender suffers from is the size of its packets.
    pub(super) fn explains(&self, sender: &Tuple) -> bool {
        self.flows.get(sender).is_some_and(|flow| flow.told > 0)
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
    pub(super) fn tick(&mut self, now: Mono, connections: &mut Connections, out: &mut Vec<FlowEvent>) {
        for (client, fin) in self.remotes.ignored_fins(now) {
            let owner = Owner { sender: client.reversed(), ..owner(&client, connections) };
            let Some(flow) = self.flow(&owner, now) else { continue };
            let step = flow.received(Gap::BeforeFin, now.since(fin), 0);
            self.act(now, owner.sender, step, connections, out);
        }
        if now.since(self.checked) < Duration::from_secs(1) {
            return;
        }
        self.checked = now;
        self.flows.retain(|_, flow| now.since(flow.last) < SILENCE);
        self.pending.retain(|(at, _)| now.since(*at) < SILENCE);
        self.remotes.expire(now);
    }

    fn announce(
        &mut self,
        at: Mono,
        owner: &Owner,
        said: Announcement,
        connections: &mut Connections,
        out: &mut Vec<FlowEvent>,
    ) {
        let answered = self.remotes.last_answer(owner.sender.destination.ip);
        let Some(flow) = self.flow(owner, at) else { return };
        let step = flow.told_too_big(at, said, answered);
        self.act(at, owner.sender, step, connections, out);
    }

    /// An ICMP message whose flow was not known is about the segment that is now sent again.
    fn claim_pending(
        &mut self,
        at: Mono,
        again: &RetransmitSeen,
        owner: &Owner,
        connections: &mut Connections,
        out: &mut Vec<FlowEvent>,
    ) {
        let fits = |said: &Announcement| {
            let (about, sender) = (&said.about, &again.tuple);
            let ends = about.destination == sender.destination || about.source == sender.source;
            about.protocol == sender.protocol && ends && said.seq == Some(again.seq)
        };
        let Some(index) = self.pending.iter().position(|(_, said)| fits(said)) else { return };
        if let Some((then, said)) = self.pending.remove(index) {
            self.announce(then.min(at), owner, said, connections, out);
        }
    }

    fn act(
        &mut self,
        at: Mono,
        sender: Tuple,
        step: Step,
        connections: &mut Connections,
        out: &mut Vec<FlowEvent>,
    ) {
        let Some(flow) = self.flows.get_mut(&sender) else { return };
        let journey = |client: &Tuple, connections: &mut Connections| match connections.find(client) {
            Some((connection, _)) => connection.journey.clone(),
            None => Journey::default(),
        };
        match step {
            Step::None => {}
            Step::Harmed(finding) => {
                let journey = journey(&flow.client, connections);
                let event = flow.event(at, Outcome::TooBig(finding), 1, journey);
                flow.told += 1;
                out.push(event);
            }
            Step::Passed => {
                if flow.told > 0 {
                    out.push(flow.event(at, Outcome::Fits, 0, journey(&flow.client, connections)));
                }
                self.flows.remove(&sender);
            }
        }
    }

    /// The flow of this owner, a new one if there is none and room for it.
    fn flow(&mut self, owner: &Owner, at: Mono) -> Option<&mut Flow> {
        if !self.flows.contains_key(&owner.sender) {
            if self.flows.len() >= CAPACITY {
                self.forgotten += 1;
                return None;
            }
            self.next += 1;
            let id = owner.connection.map_or(ids::SIZES + self.next, |known| known.id);
            self.flows.insert(owner.sender, Flow::new(id, owner.client, at));
        }
        let flow = self.flows.get_mut(&owner.sender)?;
        flow.last = flow.last.max(at);
        Some(flow)
    }
}

fn announcement(error: &IcmpError, by: By) -> Announcement {
    Announcement { about: error.about, by, mtu: error.mtu, size: error.length, seq: error.seq }
}

/// Whose packets have these addresses, before or after translation.
fn owner(packet: &Tuple, connections: &mut Connections) -> Owner {
    match connections.find(packet) {
        Some((connection, end)) => {
            let isn = if end == End::Client { connection.client_isn } else { connection.server_isn };
            let sender = if end == End::Client { connection.client } else { *packet };
            let known = Known { id: connection.id, established: connection.established, isn };
            Owner { sender, client: connection.client, connection: Some(known) }
        }
        None if serves(packet) => Owner { sender: *packet, client: packet.reversed(), connection: None },
        None => Owner { sender: *packet, client: *packet, connection: None },
    }
}

fn owner_of_drop(dropped: &DropSeen, connections: &mut Connections) -> Owner {
    let tuple = dropped.packet.tuple;
    match &dropped.conntrack {
        Some(ct) => {
            let sender = if is_reply(&tuple, ct) { ct.reply } else { ct.original };
            Owner { sender, client: ct.original, ..owner(&sender, connections) }
        }
        None => owner(&tuple, connections),
    }
}

/// Anywhere on its way a packet to the client has one end of the reply, translated back or not.
fn is_reply(tuple: &Tuple, ct: &Conntrack) -> bool {
    tuple.destination == ct.original.source || tuple.source == ct.reply.source
}

/// Ports of servers are small, ports of clients are not (`ip_local_port_range` begins at 32768).
const fn serves(sender: &Tuple) -> bool {
    matches!(sender.protocol, 6 | 17) && sender.source.port < 32768 && sender.destination.port >= 32768
}

/// Address family's header length.
const fn network_header(ip: IpAddr) -> u32 {
    if ip.is_ipv4() { 20 } else { 40 }
}
