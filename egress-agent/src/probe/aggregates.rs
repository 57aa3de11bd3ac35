//! Drops that were counted in the kernel instead of reported, and events that were lost: as records of our own.
//!
//! Counters only grow; what is handed on is the difference to the last reading. When a generation of counters is
//! more than half full a fresh one takes its place. The kernel waits for running programs when a map of maps is
//! written, so afterwards nobody counts in the old one and its last reading is complete.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};

use aya::Ebpf;
use aya::maps::{ArrayOfMaps, MapData, PerCpuArray};
use aya_obj::generated::bpf_map_type;
use egress_common::{
    AggregateKey, AggregateRecord, AggregateValue, LossRecord, PodSlotState, RecordHeader, RecordKind, Stat,
    record_bytes,
};

use super::error::ProbeError;
use super::load::{self, Plain};
use super::stats::{Counters, take};
use super::sys;

/// Entries of a generation.
pub(super) const ENTRIES: u32 = 8192;
/// Entries read at once.
const BATCH: usize = 512;
/// Records of new keys after which the size of the generation is looked at although nothing was aggregated.
const UNSEEN_KEYS: u64 = 1024;

/// Stages of [`LossRecord::stage`].
mod stage {
    pub(super) const RING: u16 = 1;
    pub(super) const AGGREGATION_MAP: u16 = 3;
    pub(super) const BUDGET: u16 = 4;
    pub(super) const NOT_RUN: u16 = 5;
}

/// Reads the counters of drops and losses.
pub(super) struct Aggregates {
    outer: ArrayOfMaps<MapData>,
    /// The generation in use: a hash map from [`AggregateKey`] to [`AggregateValue`].
    current: MapData,
    slots: PerCpuArray<MapData, Plain<PodSlotState>>,
    /// What was handed on of each key of this generation.
    seen: HashMap<AggregateKey, u64>,
    /// The same of each slot.
    seen_slots: Vec<PodSlotState>,
    /// The counters at the last reading.
    last: Counters,
    /// Lost drops as of the last reading of the generation.
    last_lost: u64,
    last_misses: u64,
    /// Times that the TC programs stood aside for want of a heartbeat, not yet handed on.
    pauses: u64,
    /// Of the tracepoint programs.
    programs: Vec<OwnedFd>,
    slot_count: u32,
}

impl Aggregates {
    /// Puts the first generation in.
    pub(super) fn new(ebpf: &mut Ebpf, slot_count: u32, programs: Vec<OwnedFd>) -> Result<Self, ProbeError> {
        let failed = |error: &aya::maps::MapError| load::map_error("AGGREGATES", error);
        let mut outer: ArrayOfMaps<MapData> =
            ArrayOfMaps::try_from(take(ebpf, "AGGREGATES")?).map_err(|error| failed(&error))?;
        let slots =
            PerCpuArray::try_from(take(ebpf, "SLOTS")?).map_err(|error| load::map_error("SLOTS", &error))?;
        let current = generation()?;
        set(&mut outer, &current)?;
        Ok(Self {
            outer,
            current,
            slots,
            seen: HashMap::new(),
            seen_slots: vec![PodSlotState::default(); slot_count as usize],
            last: [0; Stat::COUNT as usize],
            last_lost: 0,
            last_misses: 0,
            pauses: 0,
            programs,
            slot_count,
        })
    }

    /// Hands on what was counted since the last time. Costs next to nothing when nothing was.
    pub(super) fn poll(&mut self, now_ns: u64, counters: &Counters, each: &mut dyn FnMut(&[u8])) {
        let grown = |stat: Stat| counters[stat as usize].wrapping_sub(self.last[stat as usize]);
        let aggregated = grown(Stat::DropAggregated) > 0;
        let full = grown(Stat::DropOverflow) > 0;
        let lost_keys = counters[Stat::DropLost as usize].wrapping_sub(self.last_lost);
        let crowded = grown(Stat::DropReported) + lost_keys >= UNSEEN_KEYS;
        let withheld = grown(Stat::PacketWithheld) > 0;
        let lost: Vec<(RecordKind, u64)> = [
            (RecordKind::Drop, Stat::DropLost),
            (RecordKind::Packet, Stat::PacketLost),
            (RecordKind::Retransmit, Stat::RetransmitLost),
            (RecordKind::SockState, Stat::SockStateLost),
            (RecordKind::Reset, Stat::ResetLost),
        ]
        .into_iter()
        .map(|(kind, stat)| (kind, grown(stat)))
        .filter(|(_, count)| *count > 0)
        .collect();

        for (kind, count) in lost {
            each(record_bytes(&loss(now_ns, kind, stage::RING, u32::MAX, count)));
        }
        if full || withheld {
            self.read_slots(now_ns, each);
        }
        if aggregated || full || crowded {
            self.read_generation(now_ns, each);
        }
        let (reported, lost) = (self.last[Stat::DropReported as usize], self.last_lost);
        self.last = *counters;
        if aggregated || full || crowded {
            self.last_lost = counters[Stat::DropLost as usize];
        } else {
            // The generation was not looked at: what may have filled it goes on adding up.
            self.last[Stat::DropReported as usize] = reported;
            self.last_lost = lost;
        }
        let pauses = std::mem::take(&mut self.pauses);
        if pauses > 0 {
            each(record_bytes(&loss(now_ns, RecordKind::Packet, stage::NOT_RUN, u32::MAX, pauses)));
        }
        let misses = super::stats::recursion_misses(&self.programs);
        if misses > self.last_misses {
            let count = misses - self.last_misses;
            each(record_bytes(&loss(now_ns, RecordKind::Drop, stage::NOT_RUN, u32::MAX, count)));
            self.last_misses = misses;
        }
    }

    /// Notes that the TC programs stood aside for a while: what they would have said is unknown.
    pub(super) fn note_pause(&mut self) {
        self.pauses += 1;
    }

    /// How often the tracepoint programs could not run, as of the last poll.
    pub(super) fn misses(&self) -> u64 {
        self.last_misses
    }

    fn read_generation(&mut self, now_ns: u64, each: &mut dyn FnMut(&[u8])) {
        let entries = self.drain(now_ns, each);
        if entries > ENTRIES as usize / 2 {
            self.rotate(now_ns, each);
        }
    }

    /// Hands on the differences; how many entries there are.
    fn drain(&mut self, now_ns: u64, each: &mut dyn FnMut(&[u8])) -> usize {
        let mut entries = 0;
        let seen = &mut self.seen;
        let result = sys::for_each_entry::<AggregateKey, AggregateValue>(
            self.current.fd().as_fd(),
            BATCH,
            |key, value| {
                entries += 1;
                if value.aggregated == 0 {
                    return;
                }
                let before = seen.entry(*key).or_default();
                let count = value.aggregated.wrapping_sub(*before);
                if count > 0 {
                    *before = value.aggregated;
                    each(record_bytes(&aggregate(now_ns, key, count)));
                }
            },
        );
        if let Err(error) = result {
            tracing::warn!(%error, "cannot read the drop counters; they are read again next time");
        }
        entries
    }

    /// Puts a fresh generation in and reads the old one to the end.
    fn rotate(&mut self, now_ns: u64, each: &mut dyn FnMut(&[u8])) {
        let fresh = match generation() {
            Ok(fresh) => fresh,
            Err(error) => {
                tracing::warn!(%error, "no memory for fresh drop counters; the old ones stay");
                return;
            }
        };
        if let Err(error) = set(&mut self.outer, &fresh) {
            tracing::warn!(%error, "cannot put fresh drop counters in; the old ones stay");
            return;
        }
        self.drain(now_ns, each);
        self.current = fresh;
        self.seen = HashMap::new();
    }

    fn read_slots(&mut self, now_ns: u64, each: &mut dyn FnMut(&[u8])) {
        for (slot, seen) in (0..self.slot_count).zip(&mut self.seen_slots) {
            let Ok(values) = self.slots.get(&slot, 0) else {
                continue;
            };
            let (mut overflow, mut withheld) = (0_u64, 0_u64);
            for Plain(state) in values.iter() {
                overflow += state.overflow;
                withheld += state.withheld;
            }
            // The last slot is the uplinks'.
            let pod_slot = if slot + 1 == self.slot_count { u32::MAX } else { slot };
            if overflow > seen.overflow {
                let count = overflow - seen.overflow;
                each(record_bytes(&loss(now_ns, RecordKind::Drop, stage::AGGREGATION_MAP, pod_slot, count)));
            }
            if withheld > seen.withheld {
                let count = withheld - seen.withheld;
                each(record_bytes(&loss(now_ns, RecordKind::Packet, stage::BUDGET, pod_slot, count)));
            }
            (seen.overflow, seen.withheld) = (overflow, withheld);
        }
    }
}

/// Makes an empty generation.
fn generation() -> Result<MapData, ProbeError> {
    let definition = aya_obj::Map::new_from_params(
        bpf_map_type::BPF_MAP_TYPE_HASH as u32,
        sys::length::<AggregateKey>(),
        sys::length::<AggregateValue>(),
        ENTRIES,
        0,
    );
    MapData::create(definition, "egress_drops", None).map_err(|error| load::map_error("AGGREGATES", &error))
}

fn set(outer: &mut ArrayOfMaps<MapData>, generation: &MapData) -> Result<(), ProbeError> {
    outer.set(0, generation, 0).map_err(|error| load::map_error("AGGREGATES", &error))
}

fn header(now_ns: u64, kind: RecordKind, pod_slot: u32) -> RecordHeader {
    RecordHeader {
        time_ns: now_ns,
        kind: kind as u16,
        flags: 0,
        cpu: 0,
        netns: 0,
        ifindex: 0,
        pod_slot,
        len: 0,
        mark: 0,
        pad: 0,
    }
}

fn aggregate(now_ns: u64, key: &AggregateKey, count: u64) -> AggregateRecord {
    let mut header = header(now_ns, RecordKind::Aggregate, key.pod_slot);
    header.netns = key.netns;
    AggregateRecord { header, key: *key, count }
}

fn loss(now_ns: u64, of_kind: RecordKind, stage: u16, pod_slot: u32, count: u64) -> LossRecord {
    LossRecord {
        header: header(now_ns, RecordKind::Loss, pod_slot),
        count,
        of_kind: of_kind as u16,
        stage,
        pad: 0,
    }
}
