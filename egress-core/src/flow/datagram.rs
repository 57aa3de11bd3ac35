//! UDP, echo and the rest: silence is a failed question only where an answer is due.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use super::event::{DropRole, FlowEvent, Journey, Outcome};
use super::tcp::{client_of, sighting};
use super::{Tracker, without_search_path};
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
/// Ids of these flows lie above those of attempts.
const FIRST_ID: u64 = 1 << 61;
/// Ports of protocols that answer: DNS, Kerberos, NTP, SNMP, QUIC, RADIUS, STUN.
const ANSWERING: [u16; 9] = [53, 88, 123, 161, 443, 1812, 1813, 3478, 5349];

/// Flows of protocols without connections.
#[derive(Debug, Default)]
pub(super) struct Datagrams {
    flows: HashMap<Tuple, Flow>,
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
        let reply = tuple.reversed();
        let is_reply = matches!(at.packet.transport, Transport::EchoReply { .. })
            || (at.packet.transport == Transport::Udp && self.flows.contains_key(&reply));
        if is_reply {
            if at.tap == Tap::PodIn {
                self.answer(reply, seen.at, out);
            } else if let Some(flow) = self.flows.get_mut(&reply) {
                flow.journey.note_answer(at.tap, sighting);
            }
            return;
        }
        match at.tap {
            Tap::PodOut if self.is_due(&at.packet.transport, &tuple) => {
                let flow = self.ask(tuple, seen.at);
                flow.journey.note_request(Tap::PodOut, sighting);
            }
            tap => {
                if let Some(flow) = self.flows.get_mut(&tuple) {
                    flow.journey.note_request(tap, sighting);
                } else if tap == Tap::UplinkOut {
                    self.translated(seen, &tuple, sighting);
                }
            }
        }
    }

    /// The same question with another source: translated on its way, if one was asked just now.
    fn translated(&mut self, seen: &Observation, tuple: &Tuple, sighting: super::Sighting) {
        let asked = self.flows.iter_mut().find(|(client, flow)| {
            client.protocol == tuple.protocol
                && client.destination == tuple.destination
                && client.source.port == tuple.source.port
                && seen.at.since(flow.last) < BURST
        });
        if let Some((_, flow)) = asked {
            flow.journey.note_request(Tap::UplinkOut, sighting);
        }
    }

    fn is_due(&self, transport: &Transport, tuple: &Tuple) -> bool {
        match transport {
            Transport::EchoRequest { .. } => true,
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
        let flow = self.flows.entry(client).or_insert_with(|| {
            *next += 1;
            Flow {
                id: FIRST_ID + *next,
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
        if flow.dropped.is_none() {
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
            Some(Application::Dns(message)) => Some(without_search_path(&message.name).to_owned()),
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
                if chunk == 1 {
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
            self.sizes.dropped(seen, dropped, out);
        }
        if !due {
            return;
        }
        self.dns.dropped(&client, seen.at);
        self.datagrams.dropped(seen, dropped, client, reply);
        if dropped.site == DropSite::TooBig {
            self.datagrams.too_big(&client);
        }
    }
}

/// Multicast, broadcast and link-local chatter is no pod's question.
fn chatter(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_multicast() || ip.is_broadcast() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_multicast() || ip.is_unicast_link_local(),
    }
}
