//! The whole pipeline: the input is a list of steps, each a byte that says what, and what that takes. Time goes on
//! between them.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use egress_common::{AggregateRecord, DropRecord, ResetRecord, RetransmitRecord, SockStateRecord};
use egress_core::cluster::{ClusterChange, ObjectKind, ObjectRef};
use egress_core::input::Input;
use egress_core::node::{ConntrackAnswer, ConntrackQuery, Filters, NodeChange};
use egress_core::pipeline::Pipeline;
use egress_core::time::{ClockOffset, Mono};
use egress_core::verdict::{SocketAddress, Verdict};
use etherparse::PacketBuilder;

use super::records::{CLASSES, KINDS, TAPS, seen, shaped};
use super::world::{ADDRESSES, PORTS, WORLD, octets};
use crate::Bytes;

/// Steps of an input at most.
const STEPS: usize = 400;
/// Questions that a pipeline keeps at most.
const QUESTIONS: usize = 1024;
/// Milliseconds that a step may take.
const PAUSES: &[u64] = &[0, 1, 50, 200, 1000, 5000, 60_000, 1_000_000];

pub(crate) fn run(input: &[u8]) {
    let mut bytes = Bytes(input);
    let mut play = Play {
        pipeline: WORLD.pipeline(),
        now: WORLD.began,
        questions: Vec::new(),
        seen: HashSet::new(),
        steps: 0,
    };
    while !bytes.is_empty() && play.steps < STEPS {
        play.step(&mut bytes);
    }
    // Whatever is due falls due.
    for pause in [1000, 5000, 60_000] {
        play.tick(pause);
    }
}

struct Play {
    pipeline: Pipeline,
    now: u64,
    questions: Vec<ConntrackQuery>,
    /// Identifiers of verdicts.
    seen: HashSet<String>,
    steps: usize,
}

impl Play {
    fn step(&mut self, bytes: &mut Bytes<'_>) {
        match bytes.u8() % 12 {
            // A record as it comes.
            0 | 1 => {
                let kind = bytes.pick(KINDS);
                let body = bytes.take(kind.1);
                self.record(shaped(kind, body), None);
            }
            2 | 3 => {
                let (tap, class) = (bytes.pick(TAPS), bytes.pick(CLASSES));
                let packet = packet(bytes);
                self.record(seen(tap, class, &packet), None);
            }
            4 => {
                let record = dropped(bytes);
                self.record(record, None);
            }
            5 => {
                let netns = bytes.u8();
                let record = ends(bytes);
                self.record(record, Some(netns));
            }
            6 | 7 => {
                let pause = bytes.pick(PAUSES);
                self.tick(pause);
            }
            8 => self.answer(bytes),
            9 => self.forget(bytes),
            10 => self.change(NodeChange::Filters(Filters::default())),
            _ => self.now += u64::from(bytes.u8()) * 1_000_000,
        }
    }

    /// Takes a record at this time, in one of the world's namespaces.
    fn record(&mut self, mut record: Vec<u8>, netns: Option<u8>) {
        record[..8].copy_from_slice(&self.now.to_ne_bytes());
        if let Some(choice) = netns
            && let Some(netns) = WORLD.netns.get(usize::from(choice) % WORLD.netns.len().max(1))
        {
            record[16..20].copy_from_slice(&netns.to_ne_bytes());
        }
        self.feed(Input::Record { bytes: record });
    }

    fn tick(&mut self, millis: u64) {
        self.now += millis * 1_000_000;
        self.feed(Input::Tick { now: Mono(self.now), offset: ClockOffset(1_795_188_964_076_361_252) });
    }

    /// Conntrack answers a question.
    fn answer(&mut self, bytes: &mut Bytes<'_>) {
        let Some(query) = self.questions.pop() else { return };
        let reply = (bytes.u8() & 1 == 1).then(|| (end(bytes), end(bytes)));
        self.change(NodeChange::Conntrack(ConntrackAnswer { query, reply }));
    }

    /// A pod goes.
    fn forget(&mut self, bytes: &mut Bytes<'_>) {
        let name = bytes.pick(&["api-client", "api-server"]);
        let reference = ObjectRef { kind: ObjectKind::Pod, namespace: "default".into(), name: name.into() };
        self.feed(Input::Cluster { at: Mono(self.now), change: ClusterChange::Delete { object: reference } });
    }

    fn change(&mut self, change: NodeChange) {
        self.feed(Input::Node { at: Mono(self.now), change });
    }

    fn feed(&mut self, input: Input) {
        self.steps += 1;
        for verdict in self.pipeline.step(input) {
            self.judge(&verdict);
        }
        let questions = self.pipeline.take_questions();
        assert!(questions.len() <= QUESTIONS);
        self.questions = questions;
        drop(self.pipeline.take_tallies());
    }

    /// What must hold of every verdict.
    fn judge(&mut self, verdict: &Arc<Verdict>) {
        assert!(!verdict.id.is_empty() && !verdict.summary.is_empty(), "{verdict:?}");
        assert!(!verdict.evidence.is_empty(), "a verdict without evidence: {verdict:?}");
        assert!(verdict.pod.node == "worker-1", "a verdict on another node's pod: {verdict:?}");
        let text = serde_json::to_string(&**verdict);
        assert!(text.is_ok_and(|text| !text.contains("\\u001b")), "{verdict:?}");
        self.seen.insert(verdict.id.clone());
        assert!(self.seen.len() <= 8 * self.steps, "more verdicts than there was to see");
    }
}

fn end(bytes: &mut Bytes<'_>) -> SocketAddress {
    let ip = bytes.pick(ADDRESSES).parse().unwrap_or(IpAddr::from([0, 0, 0, 0]));
    SocketAddress { ip, port: bytes.pick(PORTS) }
}

/// A packet between two ends of one family, or what else was chosen.
fn packet(bytes: &mut Bytes<'_>) -> Vec<u8> {
    let (from, to) = (end(bytes), end(bytes));
    let builder = match (from.ip, to.ip) {
        (IpAddr::V4(from), IpAddr::V4(to)) => PacketBuilder::ipv4(from.octets(), to.octets(), bytes.u8()),
        (IpAddr::V6(from), IpAddr::V6(to)) => PacketBuilder::ipv6(from.octets(), to.octets(), bytes.u8()),
        // No packet at all: a packet of another family.
        _ => return bytes.take(64).to_vec(),
    };
    let choice = bytes.u8();
    let (seq, ack) = (u32::from(bytes.u8()), u32::from(bytes.u8()));
    let length = usize::from(bytes.u8());
    let payload = bytes.take(length);
    let mut packet = Vec::new();
    let written = match choice % 4 {
        0 | 1 => {
            let mut tcp = builder.tcp(from.port, to.port, seq, 1000);
            let flags = choice >> 2;
            if flags & 1 != 0 {
                tcp = tcp.syn();
            }
            if flags & 2 != 0 {
                tcp = tcp.ack(ack);
            }
            if flags & 4 != 0 {
                tcp = tcp.rst();
            }
            if flags & 8 != 0 {
                tcp = tcp.fin();
            }
            tcp.write(&mut packet, payload)
        }
        2 => builder.udp(from.port, to.port).write(&mut packet, payload),
        _ if from.ip.is_ipv4() => match choice >> 2 {
            0 => builder.icmpv4_echo_request(from.port, 1).write(&mut packet, payload),
            1 => builder.icmpv4_echo_reply(from.port, 1).write(&mut packet, payload),
            kind => builder.icmpv4_raw(kind & 15, kind >> 4, [0, 0, 5, 0]).write(&mut packet, payload),
        },
        _ => builder.icmpv6_raw(choice >> 2, 0, [0, 0, 5, 0]).write(&mut packet, payload),
    };
    drop(written);
    packet
}

/// A drop of a packet, with reasons and places of the world's kernel.
fn dropped(bytes: &mut Bytes<'_>) -> Vec<u8> {
    let mut record = shaped((egress_common::RecordKind::Drop, size_of::<DropRecord>()), &[]);
    record[10..12].copy_from_slice(&u16::from(bytes.u8()).to_ne_bytes());
    let (ifindex, reason, iif) =
        (u32::from(bytes.u8() & 7), u32::from(bytes.u8()), u32::from(bytes.u8() & 7));
    record[20..24].copy_from_slice(&ifindex.to_ne_bytes());
    if let Some(netns) = WORLD.netns.get(usize::from(bytes.u8() & 3)) {
        record[16..20].copy_from_slice(&netns.to_ne_bytes());
    }
    record[64..68].copy_from_slice(&reason.to_ne_bytes());
    record[68..72].copy_from_slice(&iif.to_ne_bytes());
    let packet = packet(bytes);
    let length = packet.len().min(egress_common::SHORT_SNAP);
    record[78..80].copy_from_slice(&u16::try_from(length).unwrap_or(0).to_ne_bytes());
    record[160..160 + length].copy_from_slice(&packet[..length]);
    record
}

/// A record of two ends: a retransmit, a socket's state, a reset, or counted drops.
fn ends(bytes: &mut Bytes<'_>) -> Vec<u8> {
    use egress_common::RecordKind::{Aggregate, Reset, Retransmit, SockState};
    let (kind, ports) = bytes.pick(&[
        ((Retransmit, size_of::<RetransmitRecord>()), 88),
        ((SockState, size_of::<SockStateRecord>()), 88),
        ((Reset, size_of::<ResetRecord>()), 80),
        ((Aggregate, size_of::<AggregateRecord>()), 0),
    ]);
    let (local, remote) = (bytes.pick(ADDRESSES), bytes.pick(ADDRESSES));
    let mut record = shaped(kind, &[]);
    let at = if ports == 0 { 48 } else { 40 };
    record[at..at + 16].copy_from_slice(&octets(local));
    record[at + 16..at + 32].copy_from_slice(&octets(remote));
    let (first, second) = (bytes.pick(PORTS), bytes.pick(PORTS));
    if ports == 0 {
        record[92..94].copy_from_slice(&first.to_ne_bytes());
        record[94] = bytes.pick(&[6, 17, 1, 132]);
        record[95] = bytes.u8() & 1;
        record[96] = bytes.u8();
        return record;
    }
    record[ports..ports + 2].copy_from_slice(&first.to_ne_bytes());
    record[ports + 2..ports + 4].copy_from_slice(&second.to_ne_bytes());
    // State, flags and numbers behind the ports.
    let rest = bytes.take(12);
    let end = (ports + 4 + rest.len()).min(record.len());
    record[ports + 4..end].copy_from_slice(&rest[..end - ports - 4]);
    record
}
