//! What is told of a lookup when it is due, and when that is over.

use std::time::Duration;

use super::{
    AnswerSize, Closed, DONE, Dns, DnsFailure, DnsOutcome, Facts, Response, SILENCE, TAKEN, TOLD, TcpFate,
};
use crate::decode::Tuple;
use crate::flow::event::{FlowEvent, Journey, Outcome};
use crate::flow::lookup::{Due, Lookup, Question, Told, push_new, strands};
use crate::time::Mono;

/// How often that is looked after.
const EXPIRE: Duration = Duration::from_millis(500);
/// Small answers show for so long that a server is reachable.
const ALIVE: Duration = Duration::from_secs(60);
/// The size of UDP answers that passes everywhere; larger offers may bring fragments.
const SAFE_SIZE: u16 = 1232;

impl Dns {
    /// What is due by now becomes a failure.
    pub(in crate::flow) fn tick(&mut self, now: Mono, out: &mut Vec<FlowEvent>) {
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
        Some(event(lookup, now, client, journey, Outcome::Dns(Box::new(failure)), failed))
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
            out.push(event(lookup, now, client, journey, Outcome::Dns(Box::new(failure)), 0));
        }
        let cleared = Outcome::Dns(Box::new(DnsFailure::resolved(&lookup.base)));
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
                // The kernel's own word, where it was reported of one of several, tells more than an ICMP error.
                let closed = |q: &Question| q.got().and_then(|answer| answer.closed);
                let same = lookup.questions.iter().filter(|q| q.client.destination == server);
                let no_socket =
                    same.filter_map(closed).find(|closed| matches!(closed, Closed::NoSocket { .. }));
                facts.closed = closed(question).map(|closed| no_socket.unwrap_or(closed));
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

pub(super) fn event(
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
