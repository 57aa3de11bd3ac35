//! The stages joined: one input in, the verdicts that are new or revised out. Live and replay call the same
//! function; time is in the inputs.

mod ask;
mod askers;
mod count;
mod drift;
mod filters;
mod frame;
mod peers;
mod sockets;
#[cfg(test)]
mod tests;
mod unroutable;

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use askers::AskersChange;

use crate::cluster::{ClusterChange, ObjectKind};
use crate::decode::{
    Aggregated, Application, DropSite, FilterKind, KernelNames, Observation, PacketSeen, Seen, Tap, decode,
};
use crate::flow::{DnsOutcome, FlowEvent, Outcome, Own, Tracker, Unroutables};
use crate::identity::{ClusterIndex, Owners};
use crate::input::Input;
use crate::names::DnsNames;
use crate::node::{ConntrackAnswer, ConntrackQuery, FilterQuery, NodeChange, NodeState, Question, Readings};
use crate::reach::Reach;
use crate::sockets::Sockets;
use crate::tally::Tally;
use crate::time::{ClockOffset, Mono};
use crate::verdict::{Book, Cause, SocketAddress, Subject, Verdict};

pub use sockets::{Learned, Witness};

/// Conntrack questions kept at most until they are taken.
const QUESTIONS: usize = 1024;
/// Dropped tuples whose verdict is remembered, for drops that are only counted.
const DROPPED: usize = 16_384;
/// How often pods that are long gone are forgotten.
const EXPIRE: Duration = Duration::from_secs(10);
/// Losses are remembered this long.
const LOSS_MEMORY: Duration = Duration::from_secs(900);

/// Everything between the kernel's records and the verdicts.
#[derive(Debug)]
pub struct Pipeline {
    names: KernelNames,
    index: ClusterIndex,
    node: NodeState,
    tracker: Tracker,
    unroutable: Unroutables,
    own: Own,
    sockets: Sockets,
    owners: Owners,
    learned: Vec<Learned>,
    /// There are pods of this node on the host's network.
    has_host_pods: bool,
    dns_names: DnsNames,
    reach: Reach,
    book: Book,
    clock: ClockOffset,
    events: Vec<FlowEvent>,
    out: Vec<Arc<Verdict>>,
    tallies: Vec<Tally>,
    questions: Vec<ConntrackQuery>,
    asked: HashMap<ConntrackQuery, Subject>,
    dropped: HashMap<(IpAddr, SocketAddress, u8), Subject>,
    losses: VecDeque<(Mono, u64)>,
    /// The chain that drops the next packet, where the kernel was asked.
    chain: Option<Observation>,
    /// Drops of filters whose names are still to come.
    filters: filters::Unattributed,
    drift: drift::Drift,
    /// Answers of the kernel to what failures needed to know.
    readings: Readings,
    readings_wanted: Vec<Question>,
    /// Failures that wait for such answers.
    waiting: Vec<ask::Waiting>,
    /// Who pods of other nodes are.
    peers: peers::Asked,
    undecoded: u64,
    expired: Mono,
}

impl Pipeline {
    /// An empty pipeline of the node with this name (empty: not known).
    #[must_use]
    pub fn new(node_name: &str) -> Self {
        Self {
            names: KernelNames::default(),
            index: ClusterIndex::new(node_name),
            node: NodeState::default(),
            tracker: Tracker::default(),
            unroutable: Unroutables::default(),
            own: Own::default(),
            sockets: Sockets::default(),
            owners: Owners::default(),
            learned: Vec::new(),
            has_host_pods: false,
            dns_names: DnsNames::default(),
            reach: Reach::default(),
            book: Book::default(),
            clock: ClockOffset::default(),
            events: Vec::new(),
            out: Vec::new(),
            tallies: Vec::new(),
            questions: Vec::new(),
            asked: HashMap::new(),
            dropped: HashMap::new(),
            losses: VecDeque::new(),
            chain: None,
            filters: filters::Unattributed::default(),
            drift: drift::Drift::default(),
            readings: Readings::default(),
            readings_wanted: Vec::new(),
            waiting: Vec::new(),
            peers: peers::Asked::default(),
            undecoded: 0,
            expired: Mono(0),
        }
    }

    /// Takes one input. Gives the verdicts that it makes or revises.
    pub fn step(&mut self, input: Input) -> Vec<Arc<Verdict>> {
        match input {
            Input::Record { bytes } => self.record(&bytes),
            Input::Cluster { at, change } => self.cluster(change, at),
            Input::Node { at, change } => self.node_changed(change, at),
            Input::Names { reasons, functions } => {
                // Kernels that have this reason (6.12) have nftables free what its rules drop (6.7).
                if reasons.iter().any(|(_, name)| name == "LOCAL_MAC") {
                    self.node.note_rules_free_packets();
                }
                for (number, name) in reasons {
                    self.names.insert_reason(number, &name);
                }
                for (start, end, name) in functions {
                    self.names.insert_function(start, end, &name);
                }
            }
            Input::Tick { now, offset } => {
                self.clock = offset;
                if now.since(self.expired) >= EXPIRE {
                    self.expired = now;
                    self.index.expire(now);
                }
                self.tracker.tick(now, &mut self.events);
                self.judge_events();
                self.judge_unroutable(now);
                self.stop_waiting(now);
                self.count_dns(now);
            }
            Input::Resume { verdicts } => {
                for verdict in verdicts {
                    self.book.resume(Arc::new(verdict));
                }
            }
        }
        std::mem::take(&mut self.out)
    }

    /// Metrics since the last call.
    pub fn take_tallies(&mut self) -> Vec<Tally> {
        std::mem::take(&mut self.tallies)
    }

    /// Conntrack entries that verdicts would like to know; answers come back as [`NodeChange::Conntrack`].
    pub fn take_questions(&mut self) -> Vec<ConntrackQuery> {
        std::mem::take(&mut self.questions)
    }

    /// States of the kernel that failures need to know; answers come back as [`NodeChange::Reading`].
    pub fn take_readings(&mut self) -> Vec<Question> {
        std::mem::take(&mut self.readings_wanted)
    }

    /// Places whose filters verdicts would like to know; answers come back as [`NodeChange::Filtering`].
    pub fn take_filter_questions(&mut self) -> Vec<FilterQuery> {
        self.filters.take_questions()
    }

    /// The cluster as it is known.
    #[must_use]
    pub const fn cluster_index(&self) -> &ClusterIndex {
        &self.index
    }

    /// The kernel's names known so far.
    #[must_use]
    pub const fn kernel_names(&self) -> &KernelNames {
        &self.names
    }

    /// Records that could not be decoded.
    #[must_use]
    pub const fn undecoded(&self) -> u64 {
        self.undecoded
    }

    /// Flows forgotten because a table was full.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.tracker.forgotten() + self.unroutable.forgotten()
    }

    fn record(&mut self, bytes: &[u8]) {
        let Ok(mut seen) = decode(bytes, &self.names) else {
            self.undecoded += 1;
            return;
        };
        if matches!(seen.seen, Seen::Chain(_)) {
            self.chain = Some(seen);
            return;
        }
        self.name_chain(&mut seen);
        if !self.note_socket(&seen) {
            return;
        }
        self.count(&seen);
        match &seen.seen {
            Seen::Packet(packet) => self.note_packet(&seen, packet),
            Seen::NoRoute(refused) => self.unroutable.refused(seen.netns, refused, seen.at),
            Seen::Aggregated(counted) => self.add_counted(&seen, counted),
            Seen::Drop(drop) if drop.site == DropSite::Filter(FilterKind::Nftables) => {
                self.node.note_rules_free_packets();
            }
            Seen::Lost(loss) => {
                self.losses.push_back((seen.at, loss.count));
                while self.losses.front().is_some_and(|(at, _)| seen.at.since(*at) > LOSS_MEMORY) {
                    self.losses.pop_front();
                }
            }
            _ => {}
        }
        self.tracker.observe(&seen, &mut self.events);
        self.judge_events();
    }

    /// Joins a drop with the chain that was told directly before it, of the same time.
    fn name_chain(&mut self, seen: &mut Observation) {
        let Seen::Drop(drop) = &mut seen.seen else { return };
        let Some(told) = self.chain.take() else { return };
        if (told.at, told.netns, told.ifindex) == (seen.at, seen.netns, seen.ifindex)
            && let Seen::Chain(chain) = told.seen
        {
            drop.chain = Some(chain);
        }
    }

    fn cluster(&mut self, change: ClusterChange, at: Mono) {
        self.drift.note_change(&change, at);
        let askers = AskersChange::of(&change, &self.index);
        let of_pods = change.kind() == Some(ObjectKind::Pod);
        let peer = matches!(change, ClusterChange::Peer { .. });
        self.index.apply(change, at);
        if of_pods {
            self.has_host_pods = self.index.host_pods().next().is_some();
        }
        self.know_askers(askers);
        if peer {
            self.judge_waiting();
        }
    }

    fn node_changed(&mut self, change: NodeChange, at: Mono) {
        match change {
            NodeChange::Network(network) => {
                self.tracker.know_own(&network.addresses);
                self.node.set_network(network);
                self.judge_waiting();
            }
            NodeChange::Filters(filters) => {
                self.node.set_filters(filters);
                self.judge_again(at);
            }
            NodeChange::Filtering(answer) => {
                self.node.set_filtering(answer);
                self.judge_again(at);
            }
            NodeChange::PodNetns { namespace, name, netns, device, mtu } => {
                self.index.set_pod_netns(&namespace, &name, netns, at);
                if let Some(ip) = self.index.pod(&namespace, &name).and_then(|pod| pod.ips.first()) {
                    self.tracker.know_netns(*ip, netns);
                }
                if let Some(device) = device {
                    self.node.set_pod_device(netns, device, mtu);
                }
            }
            NodeChange::Conntrack(answer) => self.translated(&answer),
            NodeChange::Reading(reading) => self.answered(reading, at),
            NodeChange::Owner(answer) => self.owned(answer, at),
        }
    }

    /// What a packet shows beside its flow: names, and that a device carries traffic.
    fn note_packet(&mut self, seen: &Observation, packet: &PacketSeen) {
        self.node.note_traffic(seen.ifindex, packet.tap);
        if self.has_host_pods {
            self.own.packet(seen, packet, |ip| self.node.is_own(ip));
        }
        let tuple = packet.packet.tuple;
        let opens = packet.packet.is_syn() || (tuple.protocol == 17 && tuple.destination.port == 53);
        if packet.tap == Tap::PodOut && opens {
            self.unroutable.tried(tuple.source.ip, tuple.destination, tuple.protocol, seen.at);
        }
        if packet.tap != Tap::PodIn {
            return;
        }
        let client = packet.packet.tuple.reversed();
        if let Some(Application::Dns(message)) = &packet.application {
            for message in message.chain() {
                if let Some(answer) = message.answer.as_ref().filter(|answer| !answer.addresses.is_empty()) {
                    let pod = self.first_address(client.source.ip, seen.at);
                    self.dns_names.learn(pod, &message.name, &answer.addresses, seen.at);
                }
            }
        }
        // Any answer to a datagram shows that the way is free.
        if client.protocol != 6 && !self.book.is_empty() {
            self.clear(&client, None, seen.at, any_size);
        }
    }

    fn add_counted(&mut self, seen: &Observation, counted: &Aggregated) {
        // Segments count by their harm, DNS questions where they are asked.
        if (counted.protocol == 6 && !counted.syn)
            || (counted.protocol == 17 && counted.destination.port == 53)
        {
            return;
        }
        let key = (counted.source, counted.destination, counted.protocol);
        let Some(subject) = self.dropped.get(&key) else { return };
        let at = seen.at.wall(self.clock);
        self.out.extend(self.book.add(subject, counted.count, at));
    }

    fn judge_events(&mut self) {
        for event in std::mem::take(&mut self.events) {
            self.count_failure(&event);
            self.note_reach(&event);
            match &event.outcome {
                Outcome::Succeeded => self.succeeded(&event),
                Outcome::Fits => self.clear(&event.client, None, event.at, |cause| cause == Cause::Mtu),
                Outcome::Served if self.book.is_empty() => {}
                Outcome::Served => self.clear(&event.client, None, event.at, any_size),
                Outcome::Dns(failure) if failure.outcome == DnsOutcome::NoError => {
                    self.judge_waiting_of(&event.client);
                    self.clear(&event.client, Some(&failure.name), event.at, any_size);
                }
                _ if self.is_told_by_socket(&event) => {}
                _ => self.judge_informed(event),
            }
        }
    }

    /// For comparison: who of this node reached what.
    fn note_reach(&mut self, event: &FlowEvent) {
        let ip = event.client.source.ip;
        if self.index.pod_by_ip(ip, event.at).is_some_and(|pod| self.index.is_local(&pod)) {
            self.reach.note_event(event);
        } else if self.node.is_own(ip) {
            self.reach.note_node_event(event);
        }
    }

    fn succeeded(&mut self, event: &FlowEvent) {
        // An answer without translation is one that came from outside; one with it may be known by its client alone.
        if let Some(left) = event.journey.request(Tap::UplinkOut)
            && (left.tuple.source.ip != event.client.source.ip
                || event.journey.answer(Tap::UplinkIn).is_some())
        {
            let (source, destination) = (left.tuple.source.ip, left.tuple.destination.ip);
            self.node.note_answered(event.client.source.ip, source, destination);
        }
        if !self.book.is_empty()
            && let Some(frame) = self.frame(&event.client, None, event.at)
        {
            let cleared = self.book.clear_opening(&frame.subject(&event.client, None));
            self.out.extend(cleared);
        }
        self.compare(event);
    }

    fn clear(
        &mut self,
        client: &crate::decode::Tuple,
        name: Option<&str>,
        at: Mono,
        disproved: fn(Cause) -> bool,
    ) {
        let Some(frame) = self.frame(client, None, at) else { return };
        let subject = frame.subject(client, name.map(str::to_owned));
        let cleared = self.book.clear(&subject, disproved);
        self.out.extend(cleared);
    }

    /// The primary address of the pod that has this one: a name learned over IPv4 serves IPv6 too.
    fn first_address(&self, ip: IpAddr, at: Mono) -> IpAddr {
        self.index.pod_by_ip(ip, at).and_then(|pod| pod.ips.first().copied()).unwrap_or(ip)
    }

    /// A conntrack entry shows how a flow was translated.
    fn translated(&mut self, answer: &ConntrackAnswer) {
        let Some(subject) = self.asked.remove(&answer.query) else { return };
        let Some((forwarded, left)) = answer.reply else { return };
        let source = (left.ip != answer.query.source.ip).then_some(left);
        let destination = (forwarded != answer.query.destination).then_some(forwarded);
        let backend = destination
            .and_then(|to| self.index.resolve(to.ip, to.port, subject.protocol, Mono(u64::MAX)).pod_ref());
        self.out.extend(self.book.translate(&subject, source, destination, backend));
    }

    /// Events lost since the flow began.
    fn lost_since(&self, first: Mono) -> u64 {
        self.losses
            .iter()
            .rev()
            .take_while(|(at, _)| *at >= first)
            .fold(0, |sum: u64, (_, count)| sum.saturating_add(*count))
    }

    fn ask(&mut self, query: ConntrackQuery, subject: Subject) {
        if self.questions.len() < QUESTIONS {
            self.questions.push(query);
            if self.asked.len() >= QUESTIONS {
                self.asked.clear();
            }
            self.asked.insert(query, subject);
        }
    }

    fn remember_drop(&mut self, source: IpAddr, destination: SocketAddress, protocol: u8, subject: Subject) {
        if self.dropped.len() >= DROPPED {
            self.dropped.clear();
        }
        self.dropped.insert((source, destination, protocol), subject);
    }
}

/// What an answer disproves: everything but that large packets die, since answers to openings are small.
fn any_size(cause: Cause) -> bool {
    cause != Cause::Mtu
}
