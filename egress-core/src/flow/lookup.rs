//! One name resolution of an application: the name it asked for and every question that a resolver made of it
//! (search-path expansion, both address families, repetitions, several servers).

mod question;
mod strand;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::dns::{DnsOutcome, TcpFate};
use crate::decode::{DnsType, Tuple};
use crate::time::Mono;
use crate::verdict::SocketAddress;

pub(super) use question::{Answered, Question};
pub(super) use strand::{Strand, strands};

/// A resolver asks for both families from one socket at once.
const PAIR: Duration = Duration::from_millis(100);
/// Questions kept of one lookup.
pub(super) const QUESTIONS: usize = 48;
/// Nothing more is asked or answered for this time: the resolver has given up.
pub(super) const QUIET: Duration = Duration::from_secs(1);
/// A question without an answer fails after this time.
const SILENT_DUE: Duration = Duration::from_secs(5);
/// The same question after this time is a repetition; before, a resolver asking in parallel. The shortest patience
/// that the C library can be told is a second.
const REPEAT: Duration = Duration::from_millis(900);
/// A question over TCP that follows a cut answer is awaited so long.
const TCP_DUE: Duration = Duration::from_secs(7);
/// A client that waited less gave up for reasons of its own.
const PATIENCE: Duration = Duration::from_secs(1);

/// A lookup.
#[derive(Debug)]
pub(super) struct Lookup {
    pub(super) number: u64,
    pub(super) pod: IpAddr,
    /// The name as the application asked it.
    pub(super) base: Arc<str>,
    pub(super) questions: Vec<Question>,
    pub(super) first: Mono,
    pub(super) last: Mono,
    /// Server and transport of the failure that was told, until it is answered.
    pub(super) told: Option<Told>,
    /// A question was asked again while it was open.
    pub(super) repeated: bool,
    /// It is on the list of those that may fall due.
    pub(super) watched: bool,
    /// Nobody's failure: a question of the node, or of a pod elsewhere.
    pub(super) foreign: bool,
    /// A SYN to port 53 followed a cut answer.
    pub(super) tcp: Option<Mono>,
    /// How that ended.
    pub(super) tcp_fate: Option<TcpFate>,
    /// It was answered after a failure was told; the failure is cleared unless the answer comes too late.
    pub(super) recovering: Option<Mono>,
}

/// A failure that was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// As the client asked.
    pub(super) client: Tuple,
    /// How.
    pub(super) outcome: DnsOutcome,
    /// When the lookup that failed began.
    pub(super) since: Mono,
}

/// What is to be told of a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// It may still fail or succeed.
    Wait,
    /// Nothing, until it is asked again.
    Settled,
    /// It failed so; the question of this index tells most.
    Failed(DnsOutcome, usize),
    /// A router answered this question with an ICMP error.
    Unreachable(usize),
}

impl Lookup {
    pub(super) const fn new(number: u64, pod: IpAddr, base: Arc<str>, at: Mono) -> Self {
        Self {
            number,
            pod,
            base,
            questions: Vec::new(),
            first: at,
            last: at,
            told: None,
            repeated: false,
            watched: false,
            foreign: false,
            tcp: None,
            tcp_fate: None,
            recovering: None,
        }
    }

    /// Takes in a question. Of a lookup that is over the questions are history.
    pub(super) fn ask(&mut self, question: Question, same_lookup: Duration, mut gone: impl FnMut(u16)) {
        // The second question of a pair may leave when the first is answered already.
        let pair = self.questions.last().is_some_and(|q| {
            q.name == question.name
                && q.kind != question.kind
                && q.client == question.client
                && question.asked.since(q.asked) < PAIR
        });
        let waits = self.waits() || pair;
        let (done, old) = (self.succeeded(), question.asked.since(self.last) > same_lookup);
        if (done && !waits) || (old && (done || !waits)) {
            self.questions.drain(..).for_each(|q| gone(q.id));
            self.first = question.asked;
            self.repeated = false;
            (self.tcp, self.tcp_fate) = (None, None);
        }
        self.repeated |= self.repeats(&question);
        self.last = question.asked;
        if self.questions.len() >= QUESTIONS {
            gone(self.questions.remove(0).id);
        }
        self.questions.push(question);
    }

    /// The same question again, by the same asker: its identifier or its socket says so. Another process of the pod
    /// may want the same name.
    fn repeats(&self, again: &Question) -> bool {
        let same = |q: &&Question| q.name == again.name && q.kind == again.kind;
        let mut earlier = self.questions.iter().filter(same);
        let definitive = earlier.clone().any(|q| q.got().is_some_and(|a| a.outcome.is_definitive()));
        !definitive
            && earlier.any(|q| {
                q.is_open()
                    && (q.id == again.id || q.client.source == again.client.source)
                    && again.asked.since(q.asked) >= REPEAT
            })
    }

    /// After a timeout was told, the same server settled all that was asked.
    pub(super) fn healed(&self, told: Tuple) -> bool {
        let server = |q: &Question| q.client.destination == told.destination;
        let settled = |q: &Question| q.got().is_some_and(|answer| answer.outcome.is_definitive());
        !self.waits() && self.questions.iter().rfind(|q| server(q)).is_some_and(settled)
    }

    /// Something of it is not answered.
    pub(super) fn waits(&self) -> bool {
        strands(&self.questions).any(|strand| strand.is_open())
    }

    /// Whether a TCP segment with this question was sent before.
    pub(super) fn has(&self, client: &Tuple, id: u16, name: &str, kind: DnsType) -> bool {
        self.questions.iter().any(|q| q.client == *client && q.id == id && *q.name == *name && q.kind == kind)
    }

    /// A name was answered in some family.
    pub(super) fn succeeded(&self) -> bool {
        self.questions.iter().any(|q| {
            q.got().is_some_and(|a| a.outcome == DnsOutcome::NoError || (a.usable && self.tcp.is_none()))
        })
    }

    /// Some answer said that a name does not exist, and none that one does: a resolver goes on with the next search
    /// domain at once.
    pub(super) fn failing(&self, now: Mono) -> bool {
        now.since(self.last) < QUIET
            && !self.succeeded()
            && self.questions.iter().any(|q| {
                q.got().is_some_and(|a| matches!(a.outcome, DnsOutcome::NxDomain | DnsOutcome::NoData))
            })
    }

    /// What is to be told by now. `server`: the pod answers DNS itself, so a name that does not exist is its
    /// client's failure, not its own.
    pub(super) fn due(&self, now: Mono, server: bool) -> Due {
        if self.foreign || self.questions.iter().all(|q| q.told) {
            return Due::Settled;
        }
        let strands: Vec<Strand> = strands(&self.questions).collect();
        if self.repeated
            && let Some(index) = self.waited_for()
        {
            return Due::Failed(DnsOutcome::Timeout, index);
        }
        if let Some(index) = self.gave_up() {
            return Due::Failed(DnsOutcome::Timeout, index);
        }
        let success = self.succeeded();
        let open = || strands.iter().filter(|strand| strand.is_open());
        if open().next().is_some() {
            // Of a name that was answered in one family the other is missed only by who asks for it again.
            let due = open().filter(|strand| !success && now.since(strand.first_open) >= SILENT_DUE);
            return match due.filter_map(|strand| strand.untold).next() {
                Some(index) => Due::Failed(DnsOutcome::Timeout, index),
                None if open().any(|strand| strand.untold.is_some()) => Due::Wait,
                None => Due::Settled,
            };
        }
        if success {
            return Due::Settled;
        }
        let connecting = self.tcp_fate.is_none() && self.tcp.is_some_and(|tried| now.since(tried) < TCP_DUE);
        if now.since(self.last) < QUIET || connecting {
            return Due::Wait;
        }
        if let Some(index) = self.questions.iter().position(|q| q.error.is_some() && !q.told) {
            return Due::Unreachable(index);
        }
        // An error outweighs what servers say of names, and of those the name as it is outweighs its expansions.
        let weight = |(outcome, index): &(DnsOutcome, usize)| {
            let bare = self.questions.get(*index).is_some_and(|q| q.name == self.base);
            (!outcome.is_definitive(), bare, *outcome)
        };
        match strands.iter().filter_map(Strand::failure).max_by_key(weight) {
            Some((DnsOutcome::NxDomain | DnsOutcome::NoData, _)) if server || !self.matters() => Due::Settled,
            Some((outcome, index)) => Due::Failed(outcome, index),
            None => Due::Settled,
        }
    }

    /// The question that was asked again, answered by now or not.
    fn waited_for(&self) -> Option<usize> {
        let patient = |q: &Question| q.latency().is_some_and(|latency| latency >= REPEAT);
        self.questions.iter().position(|q| !q.told && !q.dropped && (q.is_open() || patient(q)))
    }

    /// An answer came to nobody, and there was none before it.
    fn gave_up(&self) -> Option<usize> {
        let patient = |q: &Question| q.latency().is_some_and(|latency| latency >= PATIENCE);
        let late = |q: &Question| q.answered.is_some_and(|answer| answer.late) && !q.told && patient(q);
        let index = self.questions.iter().position(late)?;
        (!self.questions.iter().any(|q| q.got().is_some_and(|a| a.outcome.is_definitive()))).then_some(index)
    }

    /// Reverse look-ups and services that are probed for fail all day without harm, and so does asking for IPv6
    /// addresses alone of a name that has none.
    fn matters(&self) -> bool {
        self.questions.iter().any(|q| match (q.kind, q.got().map(|a| a.outcome)) {
            (DnsType::A, _) => true,
            (DnsType::AAAA, outcome) => outcome != Some(DnsOutcome::NoData),
            _ => false,
        })
    }

    /// Questions of this failure that were not told yet; they are now.
    pub(super) fn tell(&mut self, outcome: DnsOutcome, telling: usize) -> u64 {
        let mut count = 0;
        for (index, question) in self.questions.iter_mut().enumerate().filter(|(_, q)| !q.told && !q.dropped)
        {
            // Of a name that timed out, the questions that were answered are no failures.
            if outcome != DnsOutcome::Timeout || question.got().is_none() || index == telling {
                question.told = true;
                count += 1;
            }
        }
        count
    }

    /// Servers of the questions that failed so, or of all.
    pub(super) fn servers(&self, outcome: DnsOutcome) -> Vec<SocketAddress> {
        let failed = |q: &&Question| match outcome {
            DnsOutcome::Timeout => q.got().is_none(),
            _ => q.got().is_some_and(|answer| answer.outcome == outcome),
        };
        let mut servers = Vec::new();
        for question in self.questions.iter().filter(failed) {
            push_new(&mut servers, question.client.destination);
        }
        servers
    }
}

/// Appends what is not there yet.
pub(super) fn push_new<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}
