//! Drops of packets of established flows: harm only if the flow made no progress for a second afterwards.

use std::collections::HashMap;
use std::time::Duration;

use super::event::{DropRole, FlowEvent, Journey, Outcome};
use super::ids;
use crate::decode::{DropSeen, Observation, RetransmitSeen, Tuple};
use crate::time::Mono;

/// No progress for so long after the drop is harm.
const HARM: Duration = Duration::from_secs(1);
/// A drop is forgotten after this time without another sign.
const SILENCE: Duration = Duration::from_secs(120);
/// Stalls kept at most.
const CAPACITY: usize = 4096;

/// Dropped segments that wait for a sign of progress or of harm.
#[derive(Debug, Default)]
pub(super) struct Stalls {
    /// By the packet's own addresses.
    by_tuple: HashMap<Tuple, Stall>,
    next: u64,
}

#[derive(Debug)]
struct Stall {
    id: u64,
    client: Tuple,
    seq: u32,
    first: Mono,
    last: Mono,
    untold: u64,
    dropped: DropSeen,
    netns: u32,
}

impl Stalls {
    /// A segment that neither opens nor closes was dropped, of the connection with this number if it is known.
    pub(super) fn dropped(
        &mut self,
        seen: &Observation,
        dropped: &DropSeen,
        client: Tuple,
        seq: u32,
        connection: Option<u64>,
        out: &mut Vec<FlowEvent>,
    ) {
        let tuple = dropped.packet.tuple;
        if let Some(stall) = self.by_tuple.get_mut(&tuple) {
            if stall.seq != seq {
                // Before the hole that we watch, or long after it was last seen: this is the hole to watch now.
                let before = seq.wrapping_sub(stall.seq) > u32::MAX / 2;
                if before || seen.at.since(stall.last) >= HARM {
                    stall.seq = seq;
                    stall.first = seen.at;
                    stall.last = seen.at;
                    stall.untold = 1;
                    stall.dropped = dropped.clone();
                }
                return;
            }
            stall.last = seen.at;
            stall.untold += 1;
            if seen.at.since(stall.first) >= HARM {
                out.push(stall.event(seen.at));
            }
            return;
        }
        if self.by_tuple.len() >= CAPACITY {
            return;
        }
        self.next += 1;
        let stall = Stall {
            id: connection.unwrap_or(ids::STALLS + self.next),
            client,
            seq,
            first: seen.at,
            last: seen.at,
            untold: 1,
            dropped: dropped.clone(),
            netns: 0,
        };
        self.by_tuple.insert(tuple, stall);
    }

    /// A segment was sent again: the dropped one, a second later, means harm; a later one means progress.
    pub(super) fn retransmit(
        &mut self,
        seen: &Observation,
        again: &RetransmitSeen,
        out: &mut Vec<FlowEvent>,
    ) {
        let Some(stall) = self.by_tuple.get_mut(&again.tuple) else { return };
        if again.seq == stall.seq {
            stall.last = seen.at;
            stall.netns = seen.netns;
            if seen.at.since(stall.first) >= HARM {
                out.push(stall.event(seen.at));
            }
        } else if again.una.wrapping_sub(stall.seq) < u32::MAX / 2 && again.una != stall.seq {
            self.by_tuple.remove(&again.tuple);
        }
    }

    pub(super) fn expire(&mut self, now: Mono) {
        self.by_tuple.retain(|_, stall| now.since(stall.last) < SILENCE);
    }
}

impl Stall {
    fn event(&mut self, at: Mono) -> FlowEvent {
        let failed = std::mem::take(&mut self.untold);
        let outcome = Outcome::Dropped {
            drop: Box::new(self.dropped.clone()),
            role: DropRole::Data,
            names: Vec::new(),
        };
        FlowEvent {
            at,
            attempt: self.id,
            netns: self.netns,
            client: self.client,
            outcome,
            failed,
            first_report: false,
            first: self.first,
            last: self.last,
            journey: Journey::default(),
        }
    }
}
