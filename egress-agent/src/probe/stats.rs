//! The programs' counters, and what was delivered of what they sent.

use std::os::fd::{AsFd, OwnedFd};

use aya::Ebpf;
use aya::maps::{Map, MapData, PerCpuArray};
use egress_common::{RecordKind, Stat};

use super::error::ProbeError;
use super::{load, sys};
use crate::status::EventCount;

/// Counters of all CPUs together, indexed by [`Stat`].
pub(super) type Counters = [u64; Stat::COUNT as usize];

/// Reads the counters.
pub(super) struct Stats {
    map: PerCpuArray<MapData, Counters>,
    delivered: Delivered,
}

/// Records handed to user space, by kind.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Delivered {
    drops: u64,
    packets: u64,
    retransmits: u64,
    sock_states: u64,
    resets: u64,
    routes: u64,
}

impl Delivered {
    /// Counts a record.
    pub(super) fn note(&mut self, record: &[u8]) {
        let Some(kind) = record.get(8..10).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes)
        else {
            return;
        };
        match RecordKind::from_raw(kind) {
            Some(RecordKind::Drop) => self.drops += 1,
            Some(RecordKind::Packet | RecordKind::PacketLong | RecordKind::PacketHello) => self.packets += 1,
            Some(RecordKind::Retransmit) => self.retransmits += 1,
            Some(RecordKind::SockState | RecordKind::ReceiveHole) => self.sock_states += 1,
            Some(RecordKind::Reset) => self.resets += 1,
            Some(RecordKind::Route) => self.routes += 1,
            // Part of a drop.
            Some(RecordKind::Chain) => {}
            Some(RecordKind::Aggregate | RecordKind::Loss) | None => {}
        }
    }
}

impl Stats {
    /// Takes the map.
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, ProbeError> {
        let map = take(ebpf, "STATS")?;
        let map = PerCpuArray::try_from(map).map_err(|error| load::map_error("STATS", &error))?;
        Ok(Self { map, delivered: Delivered::default() })
    }

    /// The counters now; zeros if they cannot be read.
    pub(super) fn read(&self) -> Counters {
        let mut sum = [0_u64; Stat::COUNT as usize];
        if let Ok(values) = self.map.get(&0, 0) {
            for counters in values.iter() {
                for (total, value) in sum.iter_mut().zip(counters) {
                    *total = total.wrapping_add(*value);
                }
            }
        }
        sum
    }

    /// Where deliveries are counted.
    pub(super) fn delivered(&mut self) -> &mut Delivered {
        &mut self.delivered
    }

    /// The counts that people see.
    pub(super) fn counts(&self, misses: u64) -> Vec<EventCount> {
        let counters = self.read();
        let of = |stat: Stat| counters[stat as usize];
        let entry = |kind: &str, delivered, aggregated, lost: &[(&str, u64)]| EventCount {
            kind: kind.to_owned(),
            delivered,
            aggregated,
            lost: lost
                .iter()
                .filter(|(_, count)| *count > 0)
                .map(|(stage, count)| ((*stage).to_owned(), *count))
                .collect(),
        };
        let delivered = self.delivered;
        vec![
            entry(
                "drop",
                delivered.drops,
                of(Stat::DropAggregated),
                &[
                    ("ring", of(Stat::DropLost)),
                    ("aggregation-map", of(Stat::DropOverflow)),
                    ("recursion", misses),
                ],
            ),
            entry("packet", delivered.packets, of(Stat::PacketWithheld), &[("ring", of(Stat::PacketLost))]),
            entry("retransmit", delivered.retransmits, 0, &[("ring", of(Stat::RetransmitLost))]),
            entry("sock-state", delivered.sock_states, 0, &[("ring", of(Stat::SockStateLost))]),
            entry("reset", delivered.resets, 0, &[("ring", of(Stat::ResetLost))]),
            entry("route", delivered.routes, of(Stat::RouteWithheld), &[("ring", of(Stat::RouteLost))]),
        ]
    }
}

/// Takes a map out of the object.
pub(super) fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<Map, ProbeError> {
    ebpf.take_map(name).ok_or_else(|| ProbeError::Object(format!("it has no map {name}")))
}

/// How often programs could not run because they interrupted themselves on a CPU.
pub(super) fn recursion_misses(programs: &[OwnedFd]) -> u64 {
    programs
        .iter()
        .filter_map(|program| sys::program_info(program.as_fd()).ok())
        .map(|info| info.recursion_misses)
        .sum()
}
