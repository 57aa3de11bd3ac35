//! One question as it went over the wire.

use std::sync::Arc;
use std::time::Duration;

use crate::decode::{DnsMessage, DnsType, IcmpError, Tap, Tuple};
use crate::flow::dns::{Closed, DnsOutcome, Stray};
use crate::flow::event::{Journey, Sighting};
use crate::time::Mono;

/// Sightings kept of one question beside its first.
const SIGHTINGS: usize = 8;

/// A question as it went over the wire.
#[derive(Clone, Debug)]
pub(in crate::flow) struct Question {
    pub(in crate::flow) client: Tuple,
    pub(in crate::flow) id: u16,
    pub(in crate::flow) name: Arc<str>,
    pub(in crate::flow) kind: DnsType,
    pub(in crate::flow) edns: Option<u16>,
    pub(in crate::flow) asked: Mono,
    /// Where it left the pod, if it was seen there.
    pub(in crate::flow) left: Option<Sighting>,
    pub(in crate::flow) answered: Option<Answered>,
    /// Lost in this node: another verdict tells of it.
    pub(in crate::flow) dropped: bool,
    /// A verdict counts it.
    pub(in crate::flow) told: bool,
    /// Its socket is closed: an answer is too late.
    pub(in crate::flow) abandoned: bool,
    /// The metrics count it as unanswered.
    pub(in crate::flow) counted: bool,
    pub(in crate::flow) stray: Option<Stray>,
    /// The first fragment of its answer was seen.
    pub(in crate::flow) fragment: bool,
    /// An ICMP error of another than the server, and whose.
    pub(in crate::flow) error: Option<(IcmpError, std::net::IpAddr)>,
    /// Where else it (false) or its answer (true) was seen.
    elsewhere: Vec<(Tap, bool, Sighting)>,
}

/// An answer.
#[derive(Clone, Copy, Debug)]
pub(in crate::flow) struct Answered {
    pub(in crate::flow) outcome: DnsOutcome,
    /// Response code; 0 for an ICMP error.
    pub(in crate::flow) code: u16,
    pub(in crate::flow) at: Mono,
    /// Cut, but with addresses: some clients take it as it is.
    pub(in crate::flow) usable: bool,
    /// Nobody waited for it any more.
    pub(in crate::flow) late: bool,
    /// It says that nothing listens there.
    pub(in crate::flow) closed: Option<Closed>,
}

impl Question {
    pub(in crate::flow) const fn new(
        client: Tuple,
        message: &DnsMessage,
        name: Arc<str>,
        asked: Mono,
        left: Option<Sighting>,
    ) -> Self {
        Self {
            client,
            id: message.id,
            name,
            kind: message.kind,
            edns: message.edns,
            asked,
            left,
            answered: None,
            dropped: false,
            told: false,
            abandoned: false,
            counted: false,
            stray: None,
            fragment: false,
            error: None,
            elsewhere: Vec::new(),
        }
    }

    /// The message asks or answers this question. An error may come without the question.
    pub(in crate::flow) fn is(&self, message: &DnsMessage) -> bool {
        self.id == message.id
            && (message.name.is_empty() || (*self.name == *message.name && self.kind == message.kind))
    }

    /// The answer, if the client got it.
    pub(in crate::flow) fn got(&self) -> Option<&Answered> {
        self.answered.as_ref().filter(|answer| !answer.late)
    }

    /// It waits for an answer, and nothing tells that it was lost on this node.
    pub(in crate::flow) fn is_open(&self) -> bool {
        self.got().is_none() && self.error.is_none() && !self.dropped
    }

    /// From question to answer.
    pub(in crate::flow) fn latency(&self) -> Option<Duration> {
        self.answered.map(|answer| answer.at.since(self.asked))
    }

    /// It (or its answer) was seen somewhere.
    pub(in crate::flow) fn note(&mut self, tap: Tap, answer: bool, sighting: Sighting) {
        if self.elsewhere.len() < SIGHTINGS && !self.elsewhere.iter().any(|s| (s.0, s.1) == (tap, answer)) {
            self.elsewhere.push((tap, answer, sighting));
        }
    }

    /// Where it was seen.
    pub(in crate::flow) fn request(&self, tap: Tap) -> Option<&Sighting> {
        if tap == Tap::PodOut && self.left.is_some() {
            return self.left.as_ref();
        }
        self.elsewhere.iter().find(|s| (s.0, s.1) == (tap, false)).map(|s| &s.2)
    }

    /// All sightings.
    pub(in crate::flow) fn journey(&self) -> Journey {
        let mut journey = Journey::default();
        if let Some(left) = self.left {
            journey.note_request(Tap::PodOut, left);
        }
        for (tap, answer, sighting) in &self.elsewhere {
            if *answer {
                journey.note_answer(*tap, *sighting);
            } else {
                journey.note_request(*tap, *sighting);
            }
        }
        journey
    }

    /// How well addresses seen elsewhere agree with the client's: its port, its address, the server's.
    pub(in crate::flow) fn agreement(&self, seen: &Tuple) -> u8 {
        let client = &self.client;
        if client.protocol != seen.protocol {
            return 0;
        }
        u8::from(client.source.port == seen.source.port)
            + u8::from(client.source.ip == seen.source.ip)
            + u8::from(client.destination.ip == seen.destination.ip)
    }
}
