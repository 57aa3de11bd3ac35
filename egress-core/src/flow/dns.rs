//! DNS questions and answers of pods, gathered into lookups.

mod asker;
mod chain;
mod failure;
mod loss;
mod naming;
mod wire;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::event::{FlowEvent, Journey, Outcome};
use super::lookup::{Answered, Due, Lookup, Question, Told, push_new, strands};
use super::tcp::sighting;
use crate::decode::{DnsAnswer, DnsMessage, Observation, PacketSeen, Tap, Tuple};
use crate::time::Mono;

use asker::Asker;
pub use failure::{AnswerSize, Closed, DnsFailure, DnsOutcome, Facts, Link, LinkOutcome, Stray, TcpFate};
use wire::Wire;

/// A question within this time of another one of the same base name belongs to the same lookup.
const SAME_LOOKUP: Duration = Duration::from_secs(6);
/// A lookup is forgotten this long after its last packet, …
const SILENCE: Duration = Duration::from_secs(30);
/// … one that succeeded much sooner, …
const DONE: Duration = Duration::from_secs(2);
/// … and one whose failure was told when its verdict is an old episode.
const TOLD: Duration = Duration::from_secs(15 * 60);
/// How often that is looked after.
const EXPIRE: Duration = Duration::from_millis(500);
/// An answer counts when nothing says by then that it came too late.
const TAKEN: Duration = Duration::from_millis(20);
/// Small answers show for so long that a server is reachable.
const ALIVE: Duration = Duration::from_secs(60);
/// The size of UDP answers that passes everywhere; larger offers may bring fragments.
const SAFE_SIZE: u16 = 1232;
/// Lookups, and askers, kept at most.
const CAPACITY: usize = 8192;
/// Ids of lookups lie above those of attempts.
const FIRST_ID: u64 = 1 << 60;

/// Name resolution of the pods.
#[derive(Debug, Default)]
pub(super) struct Dns {
    lookups: HashMap<u64, Lookup>,
    askers: HashMap<IpAddr, Asker>,
    wire: Wire,
    /// Lookups that may fall due.
    waiting: Vec<u64>,
    /// The node's own addresses.
    own: HashSet<IpAddr>,
    /// Addresses of the pods by the inode number of their network namespace.
    by_netns: HashMap<u32, IpAddr>,
    responses: Vec<Response>,
    next: u64,
    forgotten: u64,
    expired: Mono,
}

/// An answer (or its absence), for the metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// Address of the pod that asked.
    pub pod: IpAddr,
    /// How it ended.
    pub outcome: DnsOutcome,
    /// From question to answer.
    pub latency: Option<Duration>,
}

impl Dns {
    pub(super) const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Answers since the last call.
    pub(super) fn take_responses(&mut self) -> Vec<Response> {
        std::mem::take(&mut self.responses)
    }

    /// TC saw a DNS message.
    pub(super) fn message(&mut self, seen: &Observation, at: &PacketSeen, message: &DnsMessage) {
        let tuple = at.packet.tuple;
        match (&message.answer, at.tap) {
            (None, Tap::PodOut) => self.question(seen, at, message),
            (Some(answer), Tap::PodIn) => self.answer(seen, at, message, answer),
            // The same question elsewhere on its way, perhaps translated.
            (None, tap) => {
                if tap == Tap::PodIn {
                    self.serves(tuple.destination.ip);
                }
                let place = sighting(seen, &at.packet);
                match self.elsewhere(message, &tuple, Some(tuple.destination.ip)) {
                    Some(question) => question.note(tap, false, place),
                    None => self.foreign(seen, at, message),
                }
            }
            (Some(answer), tap) => {
                let place = sighting(seen, &at.packet);
                let foreign = self.own.contains(&tuple.destination.ip);
                let Some(question) = self.elsewhere(message, &tuple.reversed(), None) else { return };
                question.note(tap, true, place);
                question.fragment |= answer.fragmented;
                if foreign && question.client == tuple.reversed() {
                    question.answered = question.answered.or(Some(answered(question, answer, seen.at)));
                }
            }
        }
    }

    /// What is known of an asker.
    fn asker(&mut self, ip: IpAddr) -> &mut Asker {
        if self.askers.len() >= CAPACITY && !self.askers.contains_key(&ip) {
            self.askers.retain(|_, asker| asker.known || !asker.lookups.is_empty());
        }
        self.askers.entry(ip).or_default()
    }

    fn question(&mut self, seen: &Observation, at: &PacketSeen, message: &DnsMessage) {
        let left = sighting(seen, &at.packet);
        self.asked(at.packet.tuple, message, seen.at, Some(left));
    }

    /// A question of a pod. Gives its lookup.
    fn asked(
        &mut self,
        client: Tuple,
        message: &DnsMessage,
        now: Mono,
        left: Option<super::Sighting>,
    ) -> Option<u64> {
        let number = self.lookup_of(client.source.ip, &message.name, now);
        let losing = self
            .asker(client.source.ip)
            .server_seen(client.destination)
            .and_then(|server| server.losing)
            .is_some_and(|at| now.since(at) < loss::TOGETHER);
        let lookup = self.lookups.get_mut(&number)?;
        // A segment that is sent again is no question that is asked again.
        if client.protocol == 6 && lookup.has(&client, message.id, &message.name, message.kind) {
            return Some(number);
        }
        let name = if *lookup.base == *message.name {
            Arc::clone(&lookup.base)
        } else {
            lookup
                .questions
                .iter()
                .rfind(|q| *q.name == *message.name)
                .map_or_else(|| message.name.as_str().into(), |q| Arc::clone(&q.name))
        };
        let mut question = Question::new(client, message, name, now, left);
        question.dropped = losing;
        let wire = &mut self.wire;
        lookup.ask(question, SAME_LOOKUP, |id| wire.remove(id, number));
        self.wire.add(message.id, number);
        self.watch(number);
        Some(number)
    }

    /// A question of the node itself, such as of a DNS cache on it: nobody's failure, but perhaps the reason of one.
    fn foreign(&mut self, seen: &Observation, at: &PacketSeen, message: &DnsMessage) {
        let client = at.packet.tuple;
        if at.tap == Tap::UplinkIn || !self.own.contains(&client.source.ip) {
            return;
        }
        self.serves(client.source.ip);
        let Some(number) = self.asked(client, message, seen.at, None) else { return };
        let place = sighting(seen, &at.packet);
        if let Some(lookup) = self.lookups.get_mut(&number) {
            lookup.foreign = true;
            if let Some(question) = lookup.questions.last_mut() {
                question.note(at.tap, false, place);
            }
        }
    }

    fn watch(&mut self, number: u64) {
        if let Some(lookup) = self.lookups.get_mut(&number)
            && !lookup.watched
        {
            lookup.watched = true;
            self.waiting.push(number);
        }
    }

    fn answer(&mut self, seen: &Observation, at: &PacketSeen, message: &DnsMessage, answer: &DnsAnswer) {
        let client = at.packet.tuple.reversed();
        let mut found = None;
        for number in self.wire.of(message.id) {
            let Some(lookup) = self.lookups.get_mut(number).filter(|l| l.pod == client.source.ip) else {
                continue;
            };
            for question in lookup.questions.iter_mut().filter(|q| q.client == client && q.is(message)) {
                found = Some(*number);
                question.note(Tap::PodIn, true, sighting(seen, &at.packet));
                if question.answered.is_none() {
                    let answered = answered(question, answer, seen.at);
                    question.answered = Some(answered);
                    let latency = Some(seen.at.since(question.asked));
                    self.responses.push(Response {
                        pod: client.source.ip,
                        outcome: answered.outcome,
                        latency,
                    });
                }
            }
        }
        let Some(number) = found else { return self.stray(client, message) };
        self.answered(number, client, seen.at);
    }

    /// A question of a lookup was answered.
    fn answered(&mut self, number: u64, client: Tuple, now: Mono) {
        let Some(lookup) = self.lookups.get_mut(&number) else { return };
        lookup.last = now;
        let asked = lookup.questions.iter().rfind(|q| q.client == client).map_or(now, |q| q.asked);
        let failing = lookup.failing(now);
        if lookup.told.is_some_and(|told| told.client.destination == client.destination)
            && lookup.recovering.is_none()
            && lookup.succeeded()
            && !lookup.waits()
        {
            lookup.recovering = Some(now);
        }
        let asker = self.asker(client.source.ip);
        asker.server(client.destination, now).note_answer(now, now.since(asked));
        if failing && !asker.serves {
            asker.note_failing(number);
        }
        self.watch(number);
    }

    /// The question that a message seen elsewhere is or answers. Of several, the one whose addresses agree best;
    /// of those, the newest. `server`: who is asked, and so did not ask.
    fn elsewhere(
        &mut self,
        message: &DnsMessage,
        seen: &Tuple,
        server: Option<IpAddr>,
    ) -> Option<&mut Question> {
        let mut best: Option<(u8, Mono, u64, usize)> = None;
        for number in self.wire.of(message.id) {
            let Some(lookup) = self.lookups.get(number).filter(|l| Some(l.pod) != server) else { continue };
            for (index, question) in lookup.questions.iter().enumerate().filter(|(_, q)| q.is(message)) {
                let agreement = question.agreement(seen);
                let better =
                    best.is_none_or(|(agreed, asked, ..)| (agreement, question.asked) >= (agreed, asked));
                if agreement > 0 && better {
                    best = Some((agreement, question.asked, *number, index));
                }
            }
        }
        let (.., number, index) = best?;
        self.lookups.get_mut(&number)?.questions.get_mut(index)
    }

    /// What is due by now becomes a failure.
    pub(super) fn tick(&mut self, now: Mono, out: &mut Vec<FlowEvent>) {
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.retain(|number| {
            let keep = self.fall_due(*number, now, out);
            if !keep && let Some(lookup) = self.lookups.get_mut(number) {
                lookup.watched = false;
            }
            keep
        });
        waiting.append(&mut self.waiting);
        self.waiting = waiting;
        if now.since(self.expired) >= EXPIRE {
            self.expired = now;
            self.drop_lookups(|lookup| {
                let idle = now.since(lookup.last);
                match (lookup.told.is_some(), lookup.succeeded() && !lookup.waits()) {
                    (true, _) => idle >= TOLD,
                    (false, true) => idle >= DONE,
                    (false, false) => idle >= SILENCE,
                }
            });
        }
    }

    /// Tells what there is to tell of a lookup; false when it is settled.
    fn fall_due(&mut self, number: u64, now: Mono, out: &mut Vec<FlowEvent>) -> bool {
        let Some(lookup) = self.lookups.get(&number) else { return false };
        let serves = self.askers.get(&lookup.pod).is_some_and(|asker| asker.serves);
        match lookup.due(now, serves) {
            Due::Wait => true,
            Due::Failed(outcome, index) => {
                out.extend(self.failed(number, outcome, index, now));
                true
            }
            Due::Unreachable(index) => {
                out.extend(self.unreachable_event(number, index, now));
                true
            }
            Due::Settled => self.recover(number, now, out),
        }
    }

    fn failed(&mut self, number: u64, outcome: DnsOutcome, index: usize, now: Mono) -> Option<FlowEvent> {
        let facts = self.facts(number, outcome, index, now)?;
        let lookup = self.lookups.get_mut(&number)?;
        let failed = lookup.tell(outcome, index);
        lookup.repeated = false;
        lookup.recovering = None;
        let failure = DnsFailure { facts, ..describe(lookup, outcome) };
        let telling = lookup.questions.get(index)?;
        let (client, journey) = (telling.client, telling.journey());
        lookup.told = Some(Told { client, outcome, since: lookup.first });
        if outcome == DnsOutcome::Timeout {
            for question in lookup.questions.iter_mut().filter(|q| q.is_open() && !q.counted) {
                question.counted = true;
                self.responses.push(Response { pod: lookup.pod, outcome, latency: None });
            }
            // Answered within the same moment: it is told, and cleared.
            if lookup.succeeded() && !lookup.waits() {
                lookup.recovering = Some(now);
            }
        }
        Some(event(lookup, now, client, journey, Outcome::Dns(failure), failed))
    }

    /// A failure that was told and is answered after all is cleared. False when nothing is left to wait for.
    fn recover(&mut self, number: u64, now: Mono, out: &mut Vec<FlowEvent>) -> bool {
        let Some(lookup) = self.lookups.get_mut(&number) else { return false };
        let Some(told) = lookup.told else { return false };
        if lookup.recovering.is_none() && told.outcome == DnsOutcome::Timeout && lookup.healed(told.client) {
            lookup.recovering = Some(now);
        }
        match lookup.recovering {
            None => return false,
            Some(at) if now.since(at) < TAKEN => return true,
            Some(_) => {}
        }
        lookup.recovering = None;
        lookup.told = None;
        let client = told.client;
        if told.outcome == DnsOutcome::Timeout && told.since == lookup.first {
            let mut failure = describe(lookup, DnsOutcome::Timeout);
            failure.facts.slow = Some(lookup.last.since(told.since));
            let first = lookup.questions.iter().find(|q| q.client == client);
            let journey = first.map(Question::journey).unwrap_or_default();
            out.push(event(lookup, now, client, journey, Outcome::Dns(failure), 0));
        }
        let cleared = Outcome::Dns(DnsFailure::resolved(&lookup.base));
        out.push(event(lookup, now, client, Journey::default(), cleared, 0));
        false
    }

    /// What is known of a failure beside its outcome.
    fn facts(&mut self, number: u64, outcome: DnsOutcome, index: usize, now: Mono) -> Option<Facts> {
        let lookup = self.lookups.get(&number)?;
        let question = lookup.questions.get(index)?;
        let mut facts = Facts::default();
        let (pod, server) = (lookup.pod, question.client.destination);
        match outcome {
            DnsOutcome::Timeout => {
                for strand in strands(&lookup.questions).filter(|strand| *strand.name == question.name) {
                    let list = if strand.is_open() { &mut facts.unanswered } else { &mut facts.answered };
                    push_new(list, strand.kind.to_string());
                }
                if facts.unanswered.is_empty() {
                    // All were answered in the meantime.
                    facts.answered.clear();
                }
                facts.late = question.answered.filter(|a| a.late).and(question.latency());
                facts.stray = lookup.questions.iter().find_map(|q| q.stray);
                facts.size = self.size(lookup, question, now);
            }
            _ => {
                facts.code = question.got().map(|answer| answer.code);
                facts.closed = question.got().and_then(|answer| answer.closed);
            }
        }
        if outcome == DnsOutcome::Truncated && lookup.tcp.is_some() {
            facts.tcp = Some(lookup.tcp_fate.clone().unwrap_or(TcpFate::Silent));
        }
        if outcome >= DnsOutcome::Truncated && facts.closed.is_none() {
            facts.chain = self.chain(question, now);
        }
        let pair = outcome == DnsOutcome::Timeout && !facts.answered.is_empty();
        let state = self.asker(pod).server(server, now);
        facts.slow_answers = state.slow_lately(now);
        if pair {
            facts.pair_losses = state.note_pair_loss(now);
        }
        Some(facts)
    }

    /// Whether it may be the size of its answer that a question fails by.
    fn size(&self, lookup: &Lookup, question: &Question, now: Mono) -> Option<AnswerSize> {
        let fragment_seen = lookup.questions.iter().any(|q| q.fragment && q.got().is_none());
        let offered = question.edns.unwrap_or(0);
        let state = self.askers.get(&lookup.pod)?.server_seen(question.client.destination);
        let alive = state.and_then(|server| server.answered).is_some_and(|at| now.since(at) < ALIVE);
        (fragment_seen || (offered > SAFE_SIZE && alive && question.client.protocol == 17))
            .then_some(AnswerSize { offered, fragment_seen })
    }

    fn drop_lookups(&mut self, gone: impl Fn(&Lookup) -> bool) {
        let (wire, askers) = (&mut self.wire, &mut self.askers);
        self.lookups.retain(|number, lookup| {
            let gone = gone(lookup);
            if gone {
                for question in &lookup.questions {
                    wire.remove(question.id, *number);
                }
                if let Some(asker) = askers.get_mut(&lookup.pod) {
                    asker.lookups.remove(&lookup.base);
                }
            }
            !gone
        });
    }

    /// Makes room: the quarter that was silent longest goes.
    fn forget_oldest(&mut self) {
        let mut ages: Vec<Mono> = self.lookups.values().map(|lookup| lookup.last).collect();
        ages.sort_unstable();
        let Some(limit) = ages.get(CAPACITY / 4).copied() else { return };
        let before = self.lookups.len();
        self.drop_lookups(|lookup| lookup.last <= limit);
        self.forgotten += u64::try_from(before - self.lookups.len()).unwrap_or(0);
    }
}

/// An answer to a question.
fn answered(question: &Question, answer: &DnsAnswer, at: Mono) -> Answered {
    let outcome = match answer.code {
        _ if answer.truncated => DnsOutcome::Truncated,
        0 if answer.records == 0 => DnsOutcome::NoData,
        // Aliases alone lead to no address.
        0 if question.kind.wants_address() && answer.addresses.is_empty() && answer.complete => {
            DnsOutcome::NoData
        }
        0 => DnsOutcome::NoError,
        3 => DnsOutcome::NxDomain,
        5 => DnsOutcome::Refused,
        _ => DnsOutcome::ServFail,
    };
    let usable = answer.truncated && !answer.addresses.is_empty();
    Answered { outcome, code: answer.code, at, usable, late: question.abandoned, closed: None }
}

fn describe(lookup: &Lookup, outcome: DnsOutcome) -> DnsFailure {
    let mut failure = DnsFailure {
        name: lookup.base.to_string(),
        outcome,
        asked: Vec::new(),
        kinds: Vec::new(),
        servers: lookup.servers(outcome),
        facts: Facts::default(),
    };
    for question in &lookup.questions {
        push_new(&mut failure.asked, question.name.to_string());
        push_new(&mut failure.kinds, question.kind.to_string());
    }
    failure
}

fn event(
    lookup: &Lookup,
    at: Mono,
    client: Tuple,
    journey: Journey,
    outcome: Outcome,
    failed: u64,
) -> FlowEvent {
    FlowEvent {
        at,
        attempt: lookup.number,
        netns: 0,
        client,
        outcome,
        failed,
        first_report: false,
        first: lookup.first,
        last: lookup.last,
        journey,
    }
}
