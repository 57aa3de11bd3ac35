//! DNS questions and answers of pods, gathered into lookups.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use super::event::{DnsOutcome, FlowEvent, Journey};
use super::lookup::{Lookup, QUESTIONS, Question};
use super::tcp::sighting;
use crate::decode::{DnsAnswer, DnsMessage, IcmpError, Observation, PacketSeen, Tap, Tuple};
use crate::time::Mono;
use crate::verdict::SocketAddress;

/// A question within this time of another one of the same base name belongs to the same lookup.
const SAME_LOOKUP: Duration = Duration::from_secs(6);
/// The same question to the same server after this time is a repetition.
const REPEAT: Duration = Duration::from_millis(300);
/// The same question to another server after this time is one too; before, a resolver asking in parallel.
const NEXT_SERVER: Duration = Duration::from_secs(1);
/// A lookup is forgotten this long after its last packet.
const SILENCE: Duration = Duration::from_secs(30);
/// Lookups kept at most.
const CAPACITY: usize = 8192;
/// Ids of lookups lie above those of attempts.
const FIRST_ID: u64 = 1 << 60;

/// Name resolution of the pods.
#[derive(Debug, Default)]
pub(super) struct Dns {
    /// By pod address and base name.
    lookups: HashMap<(IpAddr, String), Lookup>,
    /// Which lookups a question on the wire may belong to, by identifier and name (addresses may be translated,
    /// and a forwarder asks on with the identifier it was asked with).
    wire: HashMap<(u16, String), Vec<(IpAddr, String)>>,
    /// When a question of a pod to a server was last lost in this node.
    losing: HashMap<(IpAddr, SocketAddress), Mono>,
    /// Pods that were asked: DNS servers of their own.
    servers: HashSet<IpAddr>,
    responses: Vec<Response>,
    next: u64,
    forgotten: u64,
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
    pub(super) fn message(
        &mut self,
        seen: &Observation,
        at: &PacketSeen,
        message: &DnsMessage,
        out: &mut Vec<FlowEvent>,
    ) {
        let tuple = at.packet.tuple;
        match (&message.answer, at.tap) {
            (None, Tap::PodOut) => self.question(seen, at, message),
            (Some(answer), Tap::PodIn) => self.answer(seen, tuple.reversed(), message, answer, out),
            // The same question elsewhere on its way, perhaps translated.
            (None, Tap::PodIn) => {
                if self.servers.len() < CAPACITY {
                    self.servers.insert(tuple.destination.ip);
                }
                self.elsewhere(message, &tuple, |q| {
                    q.journey.note_request(Tap::PodIn, sighting(seen, &at.packet))
                });
            }
            (None, tap) => {
                self.elsewhere(message, &tuple, |q| q.journey.note_request(tap, sighting(seen, &at.packet)))
            }
            (Some(_), tap) => {
                self.elsewhere(message, &tuple.reversed(), |q| {
                    q.journey.note_answer(tap, sighting(seen, &at.packet));
                });
            }
        }
    }

    fn question(&mut self, seen: &Observation, at: &PacketSeen, message: &DnsMessage) {
        let client = at.packet.tuple;
        let pod = client.source.ip;
        let base = self.base_of(pod, &message.name, seen.at);
        if self.lookups.len() >= CAPACITY {
            self.forget_oldest();
        }
        let next = &mut self.next;
        let lookup = self.lookups.entry((pod, base.clone())).or_insert_with(|| {
            *next += 1;
            Lookup {
                number: FIRST_ID + *next,
                pod,
                base: base.clone(),
                questions: Vec::new(),
                first: seen.at,
                last: seen.at,
                untold: 0,
                success: false,
                told: false,
                repeated: false,
            }
        });
        // A new lookup of the same name: the answered questions of the last one are history.
        let open = lookup.questions.iter().any(|q| q.answered.is_none());
        if !open && (lookup.success || seen.at.since(lookup.last) > SAME_LOOKUP) {
            lookup.questions.clear();
            lookup.success = false;
            lookup.first = seen.at;
            lookup.untold = 0;
        }
        lookup.repeated |= lookup.questions.iter().any(|q| {
            let wait = if q.client.destination == client.destination { REPEAT } else { NEXT_SERVER };
            q.answered.is_none()
                && !q.dropped
                && q.name == message.name
                && q.kind == message.kind
                && seen.at.since(q.asked) >= wait
        });
        lookup.last = seen.at;
        lookup.untold += 1;
        if lookup.questions.len() >= QUESTIONS {
            lookup.questions.remove(0);
        }
        let mut journey = Journey::default();
        journey.note_request(Tap::PodOut, sighting(seen, &at.packet));
        lookup.questions.push(Question {
            client,
            id: message.id,
            name: message.name.clone(),
            kind: message.kind.clone(),
            asked: seen.at,
            answered: None,
            dropped: self
                .losing
                .get(&(pod, client.destination))
                .is_some_and(|at| seen.at.since(*at) < REPEAT),
            told: false,
            journey,
        });
        let askers = self.wire.entry((message.id, message.name.clone())).or_default();
        if !askers.contains(&(pod, base.clone())) {
            askers.push((pod, base));
        }
    }

    fn answer(
        &mut self,
        seen: &Observation,
        client: Tuple,
        message: &DnsMessage,
        answer: &DnsAnswer,
        out: &mut Vec<FlowEvent>,
    ) {
        let Some(askers) = self.wire.get(&(message.id, message.name.clone())) else { return };
        let Some(key) = askers.iter().find(|(pod, _)| *pod == client.source.ip) else { return };
        let Some(lookup) = self.lookups.get_mut(key) else { return };
        let outcome = outcome(answer);
        lookup.last = seen.at;
        for question in &mut lookup.questions {
            if question.client == client && question.is(message) && question.answered.is_none() {
                question.answered = Some(outcome);
                let latency = Some(seen.at.since(question.asked));
                self.responses.push(Response { pod: client.source.ip, outcome, latency });
            }
        }
        if outcome == DnsOutcome::NoError {
            lookup.success = true;
            if lookup.told {
                lookup.told = false;
                out.push(lookup.recovered(seen.at, client));
            }
        }
    }

    fn elsewhere(&mut self, message: &DnsMessage, seen: &Tuple, note: impl FnOnce(&mut Question)) {
        let Some(askers) = self.wire.get(&(message.id, message.name.clone())) else { return };
        // Of several askers, the one whose addresses agree best; of its questions, the newest.
        let agrees = |q: &Question| {
            u8::from(q.client.source.port == seen.source.port)
                + u8::from(q.client.source.ip == seen.source.ip)
                + u8::from(q.client.destination.ip == seen.destination.ip)
        };
        let score = |key: &&(IpAddr, String)| {
            let questions =
                self.lookups.get(*key).map(|lookup| lookup.questions.as_slice()).unwrap_or_default();
            questions.iter().filter(|q| q.is(message)).map(agrees).max().unwrap_or(0)
        };
        let Some(best) = askers.iter().max_by_key(score).filter(|key| score(key) > 0).cloned() else {
            return;
        };
        let found = self.lookups.get_mut(&best).and_then(|lookup| {
            lookup.questions.iter_mut().filter(|q| q.is(message)).max_by_key(|q| (agrees(q), q.asked))
        });
        if let Some(question) = found {
            note(question);
        }
    }

    /// A question was lost in this node. The kernel reports one drop of several in a row, so the others that the
    /// pod has open at this server were lost with it.
    pub(super) fn dropped(&mut self, client: &Tuple, at: Mono) {
        let (pod, server) = (client.source.ip, client.destination);
        if self.losing.len() >= CAPACITY {
            self.losing.clear();
        }
        self.losing.insert((pod, server), at);
        for lookup in self.lookups.values_mut().filter(|lookup| lookup.pod == pod) {
            let waiting = lookup.questions.iter_mut().filter(|q| q.answered.is_none());
            for question in waiting.filter(|q| q.client.destination == server && at.since(q.asked) < REPEAT) {
                question.dropped = true;
            }
        }
    }

    /// Completes the event of a lost question by the names that wait, and by the questions whose drops the kernel
    /// only counted.
    pub(super) fn complete(&mut self, event: &mut FlowEvent) {
        let super::Outcome::Dropped { names, .. } = &mut event.outcome else { return };
        let (pod, server) = (event.client.source.ip, event.client.destination);
        let mut lost = 0;
        for lookup in self.lookups.values_mut().filter(|lookup| lookup.pod == pod) {
            let waiting = lookup.questions.iter_mut().filter(|q| q.dropped && q.answered.is_none());
            for question in waiting.filter(|q| q.client.destination == server) {
                lost += u64::from(!std::mem::replace(&mut question.told, true));
                event.last = event.last.max(question.asked);
                if !names.contains(&lookup.base) && names.len() < QUESTIONS {
                    names.push(lookup.base.clone());
                }
            }
        }
        names.sort_unstable();
        event.failed = event.failed.max(lost);
    }

    /// An ICMP error about a question: the server's port is closed.
    pub(super) fn unreachable(&mut self, seen: &Observation, error: &IcmpError, _: &mut Vec<FlowEvent>) {
        for lookup in self.lookups.values_mut().filter(|lookup| lookup.pod == error.about.source.ip) {
            for question in &mut lookup.questions {
                if question.client == error.about && question.answered.is_none() {
                    question.answered = Some(DnsOutcome::Refused);
                    lookup.last = seen.at;
                }
            }
        }
    }

    /// What is due by now becomes a failure.
    pub(super) fn tick(&mut self, now: Mono, out: &mut Vec<FlowEvent>) {
        for lookup in self.lookups.values_mut() {
            let server = self.servers.contains(&lookup.pod);
            if let Some(event) = lookup.due(now, server) {
                if let super::Outcome::Dns(failure) = &event.outcome
                    && failure.outcome == DnsOutcome::Timeout
                {
                    let response = Response { pod: lookup.pod, outcome: DnsOutcome::Timeout, latency: None };
                    self.responses.push(response);
                }
                out.push(event);
            }
        }
        self.drop_lookups(|lookup| now.since(lookup.last) >= SILENCE);
    }

    fn drop_lookups(&mut self, gone: impl Fn(&Lookup) -> bool) {
        let wire = &mut self.wire;
        self.lookups.retain(|_, lookup| {
            let gone = gone(lookup);
            if gone {
                for question in &lookup.questions {
                    let key = (question.id, question.name.clone());
                    if let Some(askers) = wire.get_mut(&key) {
                        askers.retain(|(pod, base)| *pod != lookup.pod || *base != lookup.base);
                        if askers.is_empty() {
                            wire.remove(&key);
                        }
                    }
                }
            }
            !gone
        });
    }

    /// The name that the application asked: the one of a running lookup that this name expands, or the name
    /// without the cluster's search path.
    fn base_of(&self, pod: IpAddr, name: &str, at: Mono) -> String {
        let mut candidate = Some(name);
        while let Some(base) = candidate {
            let known = self.lookups.get(&(pod, base.to_owned()));
            let expands = base.len() == name.len() || name.ends_with(".cluster.local");
            let running =
                |lookup: &Lookup| at.since(lookup.last) < SAME_LOOKUP && (expands || lookup.failing());
            if known.is_some_and(running) {
                return base.to_owned();
            }
            candidate = base.rfind('.').map(|dot| &base[..dot]);
        }
        without_search_path(name).to_owned()
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

/// `api.stripe.com.default.svc.cluster.local` is `api.stripe.com` expanded.
pub(crate) fn without_search_path(name: &str) -> &str {
    let Some(inner) = name.strip_suffix(".cluster.local") else { return name };
    let base = match inner.strip_suffix(".svc") {
        // `NAME.NAMESPACE.svc`: without the namespace, if something is left.
        Some(service) => service.rfind('.').map_or(service, |dot| &service[..dot]),
        None => inner,
    };
    if base.is_empty() { name } else { base }
}

fn outcome(answer: &DnsAnswer) -> DnsOutcome {
    match answer.code {
        _ if answer.truncated => DnsOutcome::Truncated,
        0 if answer.records == 0 => DnsOutcome::NoData,
        0 => DnsOutcome::NoError,
        3 => DnsOutcome::NxDomain,
        5 => DnsOutcome::Refused,
        _ => DnsOutcome::ServFail,
    }
}

#[cfg(test)]
mod tests {
    use super::without_search_path;

    #[test]
    fn the_search_path_is_not_part_of_the_name() {
        for (wire, asked) in [
            ("api.stripe.com", "api.stripe.com"),
            ("api.stripe.com.default.svc.cluster.local", "api.stripe.com"),
            ("api.stripe.com.svc.cluster.local", "api.stripe"),
            ("api.stripe.com.cluster.local", "api.stripe.com"),
            ("db.default.svc.cluster.local", "db"),
            ("cluster.local", "cluster.local"),
        ] {
            assert_eq!(without_search_path(wire), asked);
        }
    }
}
