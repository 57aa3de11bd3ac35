//! DNS questions and answers of pods, gathered into lookups.

mod asker;
mod chain;
mod failure;
mod loss;
mod naming;
mod tell;
mod wire;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::lookup::{Answered, Lookup, Question};
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
/// An answer counts when nothing says by then that it came too late.
const TAKEN: Duration = Duration::from_millis(20);
/// Lookups, and askers, kept at most.
const CAPACITY: usize = 8192;

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
