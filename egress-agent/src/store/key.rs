//! Where a verdict stands.

use egress_core::time::Timestamp;

/// Place of a verdict: when it was last seen (microseconds since the epoch), then the number it got when it first came.
pub(super) type Place = (i64, u64);

/// An entry of the index: a term's hash, then a place.
pub(super) type Entry = (u64, i64, u64);

/// The last place that is not newer than this.
pub(super) const NEWEST: Place = (i64::MAX, u64::MAX);

/// The first place of a time.
pub(super) const fn from(at: Timestamp) -> Place {
    (at.0, 0)
}

/// FNV-1a of texts, with ends between them. Two terms of one hash share a list; who reads it compares the verdicts.
pub(super) fn hash(parts: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        for byte in part.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    hash
}
