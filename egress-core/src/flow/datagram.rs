//! UDP, echo, SCTP associations and the rest: silence is a failed question only where an answer is due.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::event::{DropRole, FlowEvent, Journey, Outcome};
use super::tcp::{LEAST_TTL, client_of, is_probe, sighting};
use super::{Tracker, ids};
use crate::decode::{
    Application, DropSeen, DropSite, IcmpError, Observation, PacketSeen, Tap, Transport, Tuple,
};
use crate::time::Mono;
use crate::verdict::SocketAddress;

/// A dropped question is a failure after this time without an answer: a local drop is told within a second.
const DROPPED_DUE: Duration = Duration::from_millis(850);
/// A question without any sign is a failure after this time.
const SILENT_DUE: Duration = Duration::from_secs(5);
/// The same question within this time is a burst, not a repetition.
const BURST: Duration = Duration::from_millis(300);
/// A flow that is not heard of for so long is over.
const SILENCE: Duration = Duration::from_secs(60);
/// Flows and answering destinations kept at most.
const CAPACITY: usize = 8192;
/// Ports of protocols that answer: DNS, Kerberos (and its passwords), NTP, SNMP, QUIC, IKE, DNS over QUIC, RADIUS, STUN.
const ANSWERING: [u16; 12] = [53, 88, 123, 161, 443, 464, 500, 853, 1812, 1813, 3478, 5349];
/// SCTP chunks: opens an association, accepts it, refuses it.
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const ABORT: u8 = 6;

/// Flows of protocols without connections.
#[derive(Debug, Default)]
pub(super) struct Datagrams {
    flows: HashMap<Tuple, Flow>,
    /// Answers to translated questions, before they are translated back → the question as the client asked it.
    translated: HashMap<Tuple, Tuple>,
    /// What translation leaves of a question (its destination and source port; its source) → the last such one.
    halves: HashMap<Tuple, Tuple>,
    /// Destinations that answered once: from them an answer is due.
    answered: HashSet<(u8, SocketAddress)>,
    next: u64,
    forgotten: u64,
}

#[derive(Debug)]
struct Flow {
    id: u64,
    asked: Mono,
    last: Mono,
    /// Questions not answered and not told.
    open: u64,
    repeated: bool,
    /// It was told that its packets are too big: it may do better with the next, so only silence counts.
    too_big: bool,
    dropped: Option<(Box<DropSeen>, DropRole)>,
    names: Vec<String>,
    told: bool,
    journey: Journey,
}

impl Datagrams {
    pub(super) const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// TC saw a packet that is not DNS.
    pub(super) fn packet(&mut self, seen: &Observation, at: &PacketSeen, out: &mut Vec<FlowEvent>) {
        let tuple = at.packet.tuple;
        let sighting = sighting(seen, &at.packet);
        let mut client = tuple.reversed();
        if matches!(at.tap, Tap::UplinkIn | Tap::PodOut)
            && let Some(asked) = self.translated.get(&tuple)
        {
            client = *asked;
        }
        let is_reply = match at.packet.transport {
            Transport::EchoReply { .. } | Transport::Sctp { chunk: INIT_ACK } => true,
            Transport::Udp | Transport::Sctp { chunk: ABORT } => self.flows.contains_key(&client),
            _ => false,
        };
        if is_reply {
            if let Some(flow) = self.flows.get_mut(&client) {
                flow.journey.note_answer(at.tap, sighting);
            }
            match at.packet.transport {
                _ if at.tap != Tap::PodIn => {}
                Transport::Sctp { chunk: ABORT } => self.refused(client, seen.at, sighting.ttl, out),
                _ => self.answer(client, seen.at, out),
            }
            return;
        }
        match at.tap {
            // A life that short is traceroute's: it waits for routers, not for an answer.
            Tap::PodOut if at.packet.ttl < LEAST_TTL => {}
            Tap::PodOut if self.is_due(&at.packet.transport, &tuple) => {
                let flow = self.ask(tuple, seen.at);
                flow.journey.note_request(Tap::PodOut, sighting);
            }
            tap => {
                if let Some(flow) = self.flows.get_mut(&tuple) {
                    flow.journey.note_request(tap, sighting);
                } else if matches!(tap, Tap::UplinkOut | Tap::PodIn) {
                    self.translated(seen, at, sighting);
                }
            }
        }
    }

    /// The association was refused: by whom, the sightings of the answer tell.
    fn refused(&mut self, client: Tuple, at: Mono, ttl: u8, out: &mut Vec<FlowEvent>) {
        let Some(flow) = self.flows.get_mut(&client) else { return };
        // Nothing was asked since it was told: the end of an association that was.
        if flow.open == 0 {
            return;
        }
        let first = flow.journey.answer(Tap::UplinkIn).or_else(|| flow.journey.answer(Tap::PodOut));
        let ttl = first.map_or(ttl, |answer| answer.ttl);
        out.push(flow.event(client, at, Outcome::Refused { ttl }));
    }

    /// The same question with another source (on an uplink) or destination (at another pod): translated on its way,
    /// if one was asked just now.
    fn translated(&mut self, seen: &Observation, at: &PacketSeen, sighting: super::Sighting) {
        let tuple = at.packet.tuple;
        let half = if at.tap == Tap::UplinkOut { without_source(tuple) } else { without_destination(tuple) };
        let Some(client) = self.halves.get(&half).copied() else { return };
        let Some(flow) = self.flows.get_mut(&client) else { return };
        if seen.at.since(flow.last) < BURST {
            flow.journey.note_request(at.tap, sighting);
            self.translated.insert(tuple.reversed(), client);
        }
    }

    fn is_due(&self, transport: &Transport, tuple: &Tuple) -> bool {
        match transport {
            Transport::EchoRequest { .. } | Transport::Sctp { chunk: INIT } => true,
            Transport::Udp => {
                ANSWERING.contains(&tuple.destination.port)
                    || self.answered.contains(&(tuple.protocol, tuple.destination))
            }
            _ => false,
        }
    }

    fn ask(&mut self, client: Tuple, at: Mono) -> &mut Flow {
        if self.flows.len() >= CAPACITY && !self.flows.contains_key(&client) {
            let mut ages: Vec<Mono> = self.flows.values().map(|flow| flow.last).collect();
            ages.sort_unstable();
            let limit = ages.get(CAPACITY / 4).copied().unwrap_or_default();
            self.flows.retain(|_, flow| flow.last > limit);
            self.forgotten += u64::try_from(CAPACITY - self.flows.len()).unwrap_or(0);
        }
        let next = &mut self.next;
        let halves = &mut self.halves;
        let flow = self.flows.entry(client).or_insert_with(|| {
            *next += 1;
            halves.insert(without_source(client), client);
            halves.insert(without_destination(client), client);
            Flow {
                id: ids::DATAGRAMS + *next,
                asked: at,
                last: at,
                open: 0,
                repeated: false,
                too_big: false,
                dropped: None,
                names: Vec::new(),
                told: false,
                journey: Journey::default(),
            }
        });
        if flow.open == 0 && !flow.told {
            flow.asked = at;
        }
        flow.repeated |= flow.open > 0 && at.since(flow.asked) >= BURST;
        flow.open += 1;
        flow.last = at;
        flow
    }

    /// An answer reached the client.
    pub(super) fn answer(&mut self, client: Tuple, at: Mono, out: &mut Vec<FlowEvent>) {
        if self.answered.len() < CAPACITY {
            self.answered.insert((client.protocol, client.destination));
        }
        if let Some(mut flow) = self.flows.remove(&client)
            && flow.told
        {
            flow.last = at;
            out.push(flow.event(client, at, Outcome::Succeeded));
        }
    }

    /// An ICMP error about a question reached the client.
    pub(super) fn unreachable(
        &mut self,
        seen: &Observation,
        error: &IcmpError,
        router: IpAddr,
        out: &mut Vec<FlowEvent>,
    ) {
        let Some(flow) = self.flows.get_mut(&error.about) else { return };
        if flow.dropped.is_none() && !is_probe(error, &flow.journey) {
            let outcome = Outcome::Unreachable { error: error.clone(), router };
            out.push(flow.event(error.about, seen.at, outcome));
        }
    }

    /// This flow was told that its packets are too big.
    pub(super) fn too_big(&mut self, client: &Tuple) {
        if let Some(flow) = self.flows.get_mut(client) {
            flow.too_big = true;
        }
    }

    fn dropped(&mut self, seen: &Observation, dropped: &DropSeen, client: Tuple, reply: bool) {
        let name = match &dropped.application {
            Some(Application::Dns(message)) => Some(message.name.clone()),
            _ => None,
        };
        let counted = self.flows.get(&client).is_some_and(|flow| seen.at.since(flow.last) < BURST);
        let flow = if counted {
            // TC counted this question when it left the pod.
            self.flows.get_mut(&client)
        } else {
            Some(self.ask(client, seen.at))
        };
        let Some(flow) = flow else { return };
        if let Some(name) = name
            && !flow.names.contains(&name)
            && flow.names.len() < 16
        {
            flow.names.push(name);
        }
        let role = if reply { DropRole::Reply } else { DropRole::Opening };
        if flow.dropped.is_none() {
            flow.dropped = Some((Box::new(dropped.clone()), role));
        }
    }

    /// What is due by now becomes a failure.
    pub(super) fn tick(&mut self, now: Mono, out: &mut Vec<FlowEvent>) {
        for (client, flow) in &mut self.flows {
            let wait = if flow.dropped.is_some() && !flow.too_big { DROPPED_DUE } else { SILENT_DUE };
            let early = flow.told || (flow.repeated && !flow.too_big);
            let due = flow.open > 0 && (early || now.since(flow.asked) >= wait);
            if !due {
                continue;
            }
            // DNS without a drop is judged by its lookup, not by its packets.
            let outcome = match &flow.dropped {
                Some((drop, role)) => {
                    Outcome::Dropped { drop: drop.clone(), role: *role, names: flow.names.clone() }
                }
                None => Outcome::Unanswered,
            };
            let event = flow.event(*client, now, outcome);
            out.push(event);
        }
        self.flows.retain(|_, flow| now.since(flow.last) < SILENCE);
        let flows = &self.flows;
        for (map, most) in [(&mut self.translated, flows.len()), (&mut self.halves, flows.len() * 2)] {
            if map.len() > most {
                map.retain(|_, client| flows.contains_key(client));
            }
        }
    }
}

impl Flow {
    fn event(&mut self, client: Tuple, at: Mono, outcome: Outcome) -> FlowEvent {
        self.told |= !matches!(outcome, Outcome::Succeeded);
        self.repeated = false;
        FlowEvent {
            at,
            attempt: self.id,
            netns: 0,
            client,
            outcome,
            failed: std::mem::take(&mut self.open),
            first_report: false,
            first: self.asked,
            last: self.last,
            journey: self.journey.clone(),
        }
    }
}

impl Tracker {
    /// A packet of a protocol without connections was dropped.
    pub(super) fn datagram_drop(&mut self, seen: &Observation, dropped: &DropSeen, out: &mut Vec<FlowEvent>) {
        if matches!(dropped.site, DropSite::Benign | DropSite::NoSocket) || dropped.packet.fragment {
            return;
        }
        let (client, mut reply) = client_of(dropped);
        let mut client = client;
        // Without conntrack, the answer of a server that was asked tells its direction by its ports.
        if dropped.conntrack.is_none() && client.source.port == 53 && client.destination.port != 53 {
            client = client.reversed();
            reply = true;
        }
        if chatter(client.destination.ip) {
            return;
        }
        let due = match dropped.packet.transport {
            Transport::Sctp { chunk } => {
                // INIT opens an association; it is answered or it failed, like a SYN.
                if chunk == INIT {
                    self.datagrams.dropped(seen, dropped, client, reply);
                }
                return;
            }
            Transport::EchoReply { .. } => {
                reply = true;
                true
            }
            _ => {
                self.datagrams.is_due(&dropped.packet.transport, &client)
                    || self.datagrams.flows.contains_key(&client)
            }
        };
        if dropped.site == DropSite::TooBig {
            self.sizes.dropped(seen, dropped, &mut self.connections, out);
        }
        // Sent with a short life, to see which router ends it: such questions are not counted where they leave the pod.
        let probe = dropped.site == DropSite::Ttl && !self.datagrams.flows.contains_key(&client);
        if !due || probe {
            return;
        }
        self.dns.dropped(&client, dropped, reply, seen.at);
        self.datagrams.dropped(seen, dropped, client, reply);
        if dropped.site == DropSite::TooBig {
            self.datagrams.too_big(&client);
        }
    }
}

/// A question by what source translation leaves of it.
const fn without_source(question: Tuple) -> Tuple {
    let source = SocketAddress { ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED), port: question.source.port };
    Tuple { source, ..question }
}

/// A question by what destination translation leaves of it.
const fn without_destination(question: Tuple) -> Tuple {
    Tuple { destination: SocketAddress { ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED), port: 0 }, ..question }
}

/// Multicast, broadcast and link-local chatter is no pod's question.
fn chatter(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_multicast() || ip.is_broadcast() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_multicast() || ip.is_unicast_link_local(),
    }
}
