//! What a sender was told of the size of its packets, and whether it minds.

use std::net::IpAddr;
use std::time::Duration;

use super::finding::{IcmpFate, SizeKind, TooBig};
use crate::decode::{DropSeen, Tuple};
use crate::time::Mono;

/// A sender that exceeds what it was told so much later did not hear it, or does not care.
const AGAIN: Duration = Duration::from_millis(200);
/// A datagram may have been underway for so long when a router far away found it too big.
const UNDERWAY: Duration = Duration::from_secs(1);
/// A drop, its ICMP message and the record of the retransmission are one and the same within this time.
const SAME: Duration = Duration::from_millis(50);
/// With later bytes after such a pause the earlier ones have arrived.
const PROGRESS: Duration = Duration::from_secs(1);
/// Of a protocol without sequence numbers: after such a pause it is another episode (the kernel itself tries a
/// larger size again after `mtu_expires`, 10 minutes).
const EPISODE: Duration = Duration::from_secs(60);

/// Somebody said that a packet is too big.
#[derive(Clone, Debug)]
pub(super) struct Announcement {
    /// The packet, as it was where that was said.
    pub(super) about: Tuple,
    /// Who.
    pub(super) by: By,
    /// What it may measure, 0 where that is not said.
    pub(super) mtu: u32,
    /// What it measured, 0 where unknown; may be a super-packet that was to be cut later.
    pub(super) size: u32,
    /// TCP sequence number.
    pub(super) seq: Option<u32>,
}

/// Who said it.
#[derive(Clone, Debug)]
pub(super) enum By {
    /// This machine, by dropping it.
    Here(Box<DropSeen>),
    /// An ICMP message.
    Icmp {
        /// Its source.
        router: IpAddr,
        /// It was on its way into the pod, else it came in by an uplink.
        delivered: bool,
    },
    /// An ICMP message that this machine dropped.
    Muted {
        /// Its source.
        router: IpAddr,
        /// The drop.
        drop: Box<DropSeen>,
    },
}

/// What a sender was told, since when, and how often it exceeded that afterwards.
#[derive(Debug)]
pub(super) struct Announced {
    pub(super) first: Mono,
    last: Mono,
    mtu: u32,
    size: u32,
    seq: Option<u32>,
    here: Option<Box<DropSeen>>,
    fate: IcmpFate,
    /// Last time it exceeded, and how often.
    exceeded: Option<Mono>,
    again: u64,
}

impl Announced {
    pub(super) fn new(at: Mono, said: Announcement) -> Self {
        let mut announced = Self {
            first: at,
            last: at,
            mtu: 0,
            size: 0,
            seq: said.seq,
            here: None,
            fate: IcmpFate::default(),
            exceeded: None,
            again: 0,
        };
        announced.note(at, said);
        announced
    }

    /// Takes in what was said; true if the sender has exceeded again.
    pub(super) fn hear(&mut self, at: Mono, said: Announcement) -> bool {
        let patience = match (said.seq, &said.by) {
            (None, By::Icmp { .. } | By::Muted { .. }) if self.here.is_none() => UNDERWAY,
            _ => AGAIN,
        };
        let repeats = match (said.seq, self.seq) {
            (Some(new), Some(known)) => new == known,
            _ => true,
        };
        if let (Some(new), Some(known)) = (said.seq, self.seq)
            && is_after(known, new)
        {
            // Before the bytes that we watch: these are the first that are missing.
            self.seq = said.seq;
            self.first = at;
        }
        self.note(at, said);
        repeats && at.since(self.first) >= patience && self.exceed(at)
    }

    /// The sender sends a segment of this size again, which begins at the first byte not acknowledged.
    pub(super) fn sent(&mut self, at: Mono, una: u32, size: u32) -> bool {
        let covered = self.seq.is_none_or(|seq| !is_after(una, seq));
        let exceeds = self.mtu != 0 && size > self.mtu;
        if !covered || !exceeds || at.since(self.first) < AGAIN {
            return false;
        }
        self.last = at;
        self.exceed(at)
    }

    /// One packet is told by up to three witnesses: true for the first.
    fn exceed(&mut self, at: Mono) -> bool {
        let fresh = self.exceeded.is_none_or(|last| at.since(last) >= SAME);
        if fresh {
            self.exceeded = Some(at);
            self.again += 1;
        }
        fresh
    }

    /// Whether what is said now has nothing to do with what was said before: another hop, later bytes, another time.
    pub(super) fn is_over(&self, at: Mono, said: &Announcement) -> bool {
        let smaller = said.mtu != 0 && self.mtu != 0 && said.mtu < self.mtu;
        let pause = at.since(self.last);
        let later = match (said.seq, self.seq) {
            (Some(new), Some(known)) => is_after(new, known) && pause >= PROGRESS,
            (None, None) => pause >= EPISODE,
            _ => false,
        };
        smaller || later
    }

    /// All bytes that were too big have arrived.
    pub(super) fn is_passed(&self, una: u32) -> bool {
        self.seq.is_some_and(|seq| is_after(una, seq))
    }

    fn note(&mut self, at: Mono, said: Announcement) {
        self.last = at;
        if said.mtu != 0 {
            self.mtu = if self.mtu == 0 { said.mtu } else { self.mtu.min(said.mtu) };
        }
        self.shrink(said.size);
        match said.by {
            By::Here(drop) => {
                self.here.get_or_insert(drop);
            }
            By::Icmp { router, delivered } => {
                self.fate.router.get_or_insert(router);
                self.fate.delivered |= delivered;
                self.fate.came_in |= !delivered;
            }
            By::Muted { router, drop } => {
                self.fate.router.get_or_insert(router);
                self.fate.dropped.get_or_insert(drop);
            }
        }
    }

    /// The smallest packet that was too big is the one to know: larger ones may be super-packets.
    fn shrink(&mut self, size: u32) {
        if size != 0 && (self.size == 0 || size < self.size) {
            self.size = size;
        }
    }

    /// As a finding; `None` where it is not known who said it.
    pub(super) fn finding(&self, at: Mono, mss: u32) -> Option<TooBig> {
        let kind = match (&self.here, self.fate.router) {
            (Some(drop), _) => SizeKind::Here(drop.clone()),
            (None, Some(router)) => SizeKind::Icmp(router),
            (None, None) => return None,
        };
        Some(TooBig {
            kind,
            size: self.size,
            mtu: self.mtu,
            mss,
            icmp: self.fate.clone(),
            after: at.since(self.first),
            again: self.again,
        })
    }
}

/// Whether a sequence number lies behind another.
pub(super) const fn is_after(a: u32, b: u32) -> bool {
    a != b && a.wrapping_sub(b) < u32::MAX / 2
}
