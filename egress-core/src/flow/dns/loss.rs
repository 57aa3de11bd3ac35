//! Questions and answers that did not arrive: dropped on this node, refused by ICMP, not awaited, or over TCP.

use std::net::IpAddr;
use std::time::Duration;

use super::tell::event;
use super::{Closed, Dns, DnsOutcome, Question, Response, Stray, TcpFate};
use crate::decode::{Application, DnsMessage, DropSeen, DropSite, IcmpError, Observation, Tuple};
use crate::flow::event::{FlowEvent, Outcome};
use crate::flow::lookup::{Answered, Lookup};
use crate::time::Mono;

/// Questions so close together are lost together: the kernel reports one drop of several in a row.
pub(super) const TOGETHER: Duration = Duration::from_millis(300);
/// Names kept of one loss.
const NAMES: usize = 48;

impl Dns {
    /// A question (or its answer) was lost in this node. The others that the pod has open at this server were lost
    /// with it.
    pub(in crate::flow) fn dropped(&mut self, client: &Tuple, dropped: &DropSeen, reply: bool, now: Mono) {
        let (pod, server) = (client.source.ip, client.destination);
        self.asker(pod).server(server, now).losing = Some(now);
        let message = match &dropped.application {
            Some(Application::Dns(message)) => Some(message),
            _ => None,
        };
        let visit = |question: &mut Question| {
            let lost = question.client.destination == server
                && (now.since(question.asked) < TOGETHER
                    || (reply && message.is_some_and(|message| question.is(message))));
            // An ICMP error that goes with the drop is no answer of the server.
            let refused = question
                .answered
                .is_some_and(|answer| answer.closed.is_some() && now.since(answer.at) < TOGETHER);
            if lost && (question.got().is_none() || refused) {
                question.dropped = true;
                question.answered = None;
                question.error = None;
            }
        };
        self.watched_of(pod, |lookup| lookup.questions.iter_mut().for_each(visit));
    }

    /// The lookups of a pod that may fall due.
    fn watched_of(&mut self, pod: IpAddr, mut visit: impl FnMut(&mut Lookup)) {
        let Some(asker) = self.askers.get(&pod) else { return };
        for number in asker.lookups.values() {
            if let Some(lookup) = self.lookups.get_mut(number).filter(|lookup| lookup.watched) {
                visit(lookup);
            }
        }
    }

    /// Completes the event of a lost question by the names that wait, and by the questions whose drops the kernel
    /// only counted. The names that come with it are those of packets.
    pub(in crate::flow) fn complete(&mut self, event: &mut FlowEvent) {
        let Outcome::Dropped { names, .. } = &mut event.outcome else { return };
        let (pod, server) = (event.client.source.ip, event.client.destination);
        for name in &mut *names {
            *name = self.asked_name(pod, name);
        }
        names.sort_unstable();
        names.dedup();
        let mut lost = 0;
        for lookup in self.lookups.values_mut().filter(|lookup| lookup.pod == pod) {
            let waiting = lookup.questions.iter_mut().filter(|q| q.dropped && q.answered.is_none());
            for question in waiting.filter(|q| q.client.destination == server) {
                lost += u64::from(!std::mem::replace(&mut question.told, true));
                event.last = event.last.max(question.asked);
                if names.len() < NAMES && !names.iter().any(|name| **name == *lookup.base) {
                    names.push(lookup.base.to_string());
                }
            }
        }
        names.sort_unstable();
        event.failed = event.failed.max(lost);
    }

    /// An ICMP error about a question reached the client. Of the server itself it says that the port is closed.
    pub(in crate::flow) fn unreachable(&mut self, seen: &Observation, error: &IcmpError, router: IpAddr) {
        let about = error.about;
        let port = matches!((error.v6, error.kind, error.code), (false, 3, 3) | (true, 1, 4));
        let mut refusals = 0;
        self.watched_of(about.source.ip, |lookup| {
            for question in lookup.questions.iter_mut().filter(|q| q.client == about && q.is_open()) {
                lookup.last = seen.at;
                if port && router == about.destination.ip {
                    question.answered = Some(refused(seen.at, Closed::Icmp(router)));
                    refusals += 1;
                } else {
                    question.error = Some((error.clone(), router));
                }
            }
        });
        for _ in 0..refusals {
            let outcome = DnsOutcome::Refused;
            self.responses.push(Response { pod: about.source.ip, outcome, latency: None });
        }
    }

    /// The event of a question that a router answered with an ICMP error.
    pub(super) fn unreachable_event(&mut self, number: u64, index: usize, now: Mono) -> Option<FlowEvent> {
        let lookup = self.lookups.get_mut(&number)?;
        let mut failed = 0;
        for question in lookup.questions.iter_mut().filter(|q| q.error.is_some() && !q.told) {
            question.told = true;
            failed += 1;
        }
        let question = lookup.questions.get(index)?;
        let (error, router) = question.error.clone()?;
        let (client, journey) = (question.client, question.journey());
        Some(event(lookup, now, client, journey, Outcome::Unreachable { error, router }, failed))
    }

    /// An answer came to a pod that fits no question.
    pub(super) fn stray(&mut self, client: Tuple, message: &DnsMessage) {
        let waits = |q: &&mut Question| q.got().is_none() && q.client.source == client.source;
        self.watched_of(client.source.ip, |lookup| {
            for question in lookup.questions.iter_mut().filter(waits) {
                let server = question.client.destination == client.destination;
                if !server && question.is(message) && !message.name.is_empty() {
                    question.stray = Some(Stray::Address(client.destination.ip));
                } else if server && question.id != message.id && *question.name == *message.name {
                    question.stray = Some(Stray::Identifier);
                }
            }
        });
    }

    /// The kernel found no socket for a DNS message: an answer that nobody waits for, or a question where nothing
    /// listens.
    pub(in crate::flow) fn no_socket(&mut self, seen: &Observation, dropped: &DropSeen) {
        if dropped.site != DropSite::NoSocket {
            return;
        }
        let Some(Application::Dns(message)) = &dropped.application else { return };
        let tuple = dropped.packet.tuple;
        if message.answer.is_some() {
            self.nobody_waits(tuple.reversed(), seen.at);
            return;
        }
        let closed = Closed::NoSocket { at: tuple.destination, netns: dropped.netns };
        if tuple.destination.ip.is_loopback() {
            self.unserved_loopback(seen, dropped.netns, tuple, message, closed);
            return;
        }
        let pod = match self.elsewhere(message, &tuple, Some(tuple.destination.ip)) {
            Some(question) => match question.answered.and_then(|answer| answer.closed) {
                // The ICMP error that goes with it was faster.
                Some(Closed::Icmp(_)) => {
                    question.answered = Some(refused(seen.at, closed));
                    return;
                }
                None if question.answered.is_none() => {
                    question.answered = Some(refused(seen.at, closed));
                    question.client.source.ip
                }
                _ => return,
            },
            None => return,
        };
        self.responses.push(Response { pod, outcome: DnsOutcome::Refused, latency: None });
    }

    /// An answer found the client's socket closed: the one that came just now, those that came with it, and those
    /// that are still to come. The kernel reports one of several.
    fn nobody_waits(&mut self, client: Tuple, now: Mono) {
        self.watched_of(client.source.ip, |lookup| {
            for question in lookup.questions.iter_mut().filter(|q| q.client == client) {
                question.abandoned = true;
                if let Some(answer) = question.answered.as_mut().filter(|a| now.since(a.at) < super::TAKEN) {
                    answer.late = true;
                    lookup.recovering = None;
                }
            }
        });
    }

    /// A pod asked its own loopback, as resolvers do that are told no server, and nothing listens there. TC never
    /// sees that.
    fn unserved_loopback(
        &mut self,
        seen: &Observation,
        netns: u32,
        mut client: Tuple,
        message: &DnsMessage,
        closed: Closed,
    ) {
        let Some(pod) = self.by_netns.get(&netns).copied() else { return };
        client.source.ip = pod;
        let Some(number) = self.asked(client, message, seen.at, None) else { return };
        let Some(lookup) = self.lookups.get_mut(&number) else { return };
        if let Some(question) = lookup.questions.last_mut().filter(|q| q.answered.is_none()) {
            question.answered = Some(refused(seen.at, closed));
            self.responses.push(Response { pod, outcome: DnsOutcome::Refused, latency: None });
        }
    }

    /// A pod opens a connection to port 53: after a cut answer it asks there again.
    pub(in crate::flow) fn connects(&mut self, client: &Tuple, now: Mono) {
        self.cut_of(client, |lookup| lookup.tcp = lookup.tcp.or(Some(now)));
    }

    /// A connection to port 53 failed.
    pub(in crate::flow) fn connection_failed(&mut self, event: &FlowEvent) {
        let fate = match &event.outcome {
            Outcome::Dropped { drop, .. } => TcpFate::Dropped(drop.reason.to_string()),
            Outcome::Unanswered => TcpFate::Unanswered,
            Outcome::Refused { .. } => TcpFate::Refused,
            Outcome::Unreachable { .. } => TcpFate::Unreachable,
            _ => return,
        };
        self.cut_of(&event.client, |lookup| {
            lookup.tcp = lookup.tcp.or(Some(event.first));
            lookup.tcp_fate = Some(fate.clone());
        });
    }

    /// Lookups of this client that got a cut answer of this server and no better one.
    fn cut_of(&mut self, client: &Tuple, mut visit: impl FnMut(&mut Lookup)) {
        let server = client.destination.ip;
        let cut = |q: &Question| {
            q.client.destination.ip == server
                && q.got().is_some_and(|answer| answer.outcome == DnsOutcome::Truncated)
        };
        self.watched_of(client.source.ip, |lookup| {
            if lookup.questions.iter().any(cut) {
                visit(lookup);
            }
        });
    }

    /// A pod's network namespace.
    pub(in crate::flow) fn know_netns(&mut self, ip: IpAddr, netns: u32) {
        self.by_netns.insert(netns, ip);
    }

    /// The node's own addresses.
    pub(in crate::flow) fn know_own(&mut self, addresses: &[IpAddr]) {
        self.own = addresses.iter().copied().filter(|ip| !ip.is_loopback()).collect();
    }
}

/// Nothing listens there.
const fn refused(at: Mono, closed: Closed) -> Answered {
    Answered { outcome: DnsOutcome::Refused, code: 0, at, usable: false, late: false, closed: Some(closed) }
}
