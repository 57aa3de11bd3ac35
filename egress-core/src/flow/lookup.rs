//! One name resolution of an application: the name it asked for and every question that a resolver made of it
//! (search-path expansion, both address families, repetitions, several servers).

use std::net::IpAddr;
use std::time::Duration;

use super::event::{DnsFailure, DnsOutcome, FlowEvent, Journey, Outcome};
use crate::decode::{DnsMessage, Tuple};
use crate::time::Mono;

/// Questions kept of one lookup.
pub(super) const QUESTIONS: usize = 48;
/// Nothing more is asked or answered for this time: the resolver has given up.
const QUIET: Duration = Duration::from_secs(1);
/// A question without an answer fails after this time.
const SILENT_DUE: Duration = Duration::from_secs(5);

/// A question as it went over the wire.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) client: Tuple,
    pub(super) id: u16,
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) asked: Mono,
    pub(super) answered: Option<DnsOutcome>,
    /// Lost in this node: another verdict tells of it.
    pub(super) dropped: bool,
    /// That verdict counts it.
    pub(super) told: bool,
    pub(super) journey: Journey,
}

impl Question {
    /// The message asks or answers this question.
    pub(super) fn is(&self, message: &DnsMessage) -> bool {
        self.id == message.id && self.name == message.name && self.kind == message.kind
    }
}

/// A lookup.
#[derive(Debug)]
pub(super) struct Lookup {
    pub(super) number: u64,
    pub(super) pod: IpAddr,
    /// The name as the application asked it.
    pub(super) base: String,
    pub(super) questions: Vec<Question>,
    pub(super) first: Mono,
    pub(super) last: Mono,
    /// Questions that were asked since the last event.
    pub(super) untold: u64,
    pub(super) success: bool,
    pub(super) told: bool,
    /// A question was asked again while the first one was open.
    pub(super) repeated: bool,
}

impl Lookup {
    /// The event that is due at this time, if any.
    /// `server`: the pod answers DNS itself, so a name that does not exist is its client's failure, not its own.
    pub(super) fn due(&mut self, now: Mono, server: bool) -> Option<FlowEvent> {
        if self.success || self.questions.is_empty() || self.untold == 0 {
            return None;
        }
        let open = self.questions.iter().filter(|q| q.answered.is_none());
        let waiting = open.clone().count() > 0;
        let silent = self.repeated || open.clone().any(|q| now.since(q.asked) >= SILENT_DUE);
        let outcome = if waiting {
            if !silent {
                return None;
            }
            if open.clone().all(|q| q.dropped) {
                return None;
            }
            DnsOutcome::Timeout
        } else {
            if now.since(self.last) < QUIET || !self.matters() {
                return None;
            }
            let worst = self.worst()?;
            if server && worst <= DnsOutcome::NxDomain {
                return None;
            }
            worst
        };
        Some(self.event(now, outcome))
    }

    /// Some answer said that a name does not exist: a resolver goes on with the next search domain.
    pub(super) fn failing(&self) -> bool {
        !self.success && self.questions.iter().any(|q| q.answered == Some(DnsOutcome::NxDomain))
    }

    /// Reverse look-ups and the like fail all day without harm, and so does asking for IPv6 addresses alone of a
    /// name that has none.
    fn matters(&self) -> bool {
        self.questions.iter().any(|q| match (q.kind.as_str(), q.answered) {
            ("AAAA", Some(DnsOutcome::NoData)) => false,
            ("A" | "AAAA" | "SRV" | "CNAME", _) => true,
            (_, answered) => answered > Some(DnsOutcome::NxDomain),
        })
    }

    /// The most telling outcome: a server that cannot answer outweighs a name that does not exist.
    fn worst(&self) -> Option<DnsOutcome> {
        self.questions.iter().filter_map(|q| q.answered).max()
    }

    fn event(&mut self, at: Mono, outcome: DnsOutcome) -> FlowEvent {
        self.told = true;
        self.repeated = false;
        let concerned = |q: &&Question| match outcome {
            DnsOutcome::Timeout => q.answered.is_none() && !q.dropped,
            other => q.answered == Some(other),
        };
        let telling = self.questions.iter().find(concerned).or(self.questions.first());
        let (client, journey) = telling.map_or_else(
            || (unspecified(self.pod), Journey::default()),
            |question| (question.client, question.journey.clone()),
        );
        let mut failure = DnsFailure {
            name: self.base.clone(),
            outcome,
            asked: Vec::new(),
            kinds: Vec::new(),
            servers: Vec::new(),
        };
        for question in &self.questions {
            push_new(&mut failure.asked, question.name.clone());
            push_new(&mut failure.kinds, question.kind.clone());
            push_new(&mut failure.servers, question.client.destination);
        }
        FlowEvent {
            at,
            attempt: self.number,
            netns: 0,
            client,
            outcome: Outcome::Dns(failure),
            failed: std::mem::take(&mut self.untold),
            first_report: false,
            first: self.first,
            last: self.last,
            journey,
        }
    }

    /// It was told as failed and is answered after all.
    pub(super) fn recovered(&mut self, at: Mono, client: Tuple) -> FlowEvent {
        let failure = DnsFailure {
            name: self.base.clone(),
            outcome: DnsOutcome::NoError,
            asked: Vec::new(),
            kinds: Vec::new(),
            servers: Vec::new(),
        };
        FlowEvent {
            at,
            attempt: self.number,
            netns: 0,
            client,
            outcome: Outcome::Dns(failure),
            failed: 0,
            first_report: false,
            first: self.first,
            last: at,
            journey: Journey::default(),
        }
    }
}

fn push_new<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}

fn unspecified(pod: IpAddr) -> Tuple {
    let end = |ip| crate::verdict::SocketAddress { ip, port: 0 };
    Tuple { protocol: 17, source: end(pod), destination: end(pod) }
}
