//! A black hole: large segments die without a word, small ones live.

use std::time::Duration;

use super::finding::{Alive, IcmpFate, SizeKind, TooBig};
use crate::decode::RetransmitSeen;
use crate::time::Mono;

/// No progress for so long is harm.
const HARM: Duration = Duration::from_secs(1);
/// Where small segments lived shortly before, but nothing shows that they still do: four timeouts, of which the
/// first begins the count.
const SILENT_HARM: Duration = Duration::from_millis(2500);
/// Shortly before: the connection is not older than this.
const SHORTLY: Duration = Duration::from_secs(10);
/// Timeouts in a row that random loss does not make.
const TIMEOUTS: u8 = 2;
/// Payload of a segment that every network is expected to carry (1280 bytes, as IPv6 asks, less headers). A segment
/// that is as full as its socket makes them counts as large too.
const SMALL: u32 = 1200;

/// Bytes that were sent again and again and are not acknowledged.
#[derive(Debug)]
pub(super) struct Hole {
    /// First byte not acknowledged.
    pub(super) una: u32,
    /// First time these bytes were sent again.
    pub(super) first: Mono,
    /// The packet that carries them.
    size: u32,
    /// Times sent again, this hole.
    times: u64,
}

impl Hole {
    pub(super) const fn new(at: Mono, again: &RetransmitSeen, size: u32) -> Self {
        Self { una: again.una, first: at, size, times: 1 }
    }

    pub(super) const fn sent_again(&mut self, _: &RetransmitSeen) {
        self.times += 1;
    }

    /// A black hole, if large segments die and small ones live.
    pub(super) fn judge(
        &self,
        at: Mono,
        again: &RetransmitSeen,
        mut alive: Alive,
        opened: Option<Mono>,
    ) -> Option<TooBig> {
        let large = again.length >= SMALL || (again.mss != 0 && again.length >= again.mss);
        // Only the segment at the hole itself tells of the hole.
        if !large || again.seq != again.una || again.timeouts < TIMEOUTS {
            return None;
        }
        // With more than a large segment acknowledged nothing says that only small ones lived.
        if alive.acknowledged >= again.mss.clamp(1, SMALL) {
            alive.acknowledged = 0;
        }
        let since = at.since(self.first);
        let small_before =
            alive.acknowledged > 0 && opened.is_some_and(|opened| self.first.since(opened) < SHORTLY);
        let harmed = (alive.meanwhile() && since >= HARM) || (small_before && since >= SILENT_HARM);
        harmed.then(|| TooBig {
            kind: SizeKind::Sent(alive),
            size: self.size,
            mtu: 0,
            mss: again.mss,
            icmp: IcmpFate::default(),
            after: since,
            again: self.times,
        })
    }
}
