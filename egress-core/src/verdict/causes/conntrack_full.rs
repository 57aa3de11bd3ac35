//! `conntrack-full`: netfilter dropped it while the connection table was at its maximum.

use crate::verdict::case::Case;
use crate::verdict::judge::Judgement;

pub(in crate::verdict) const fn judge(_: &Case<'_>) -> Option<Judgement> {
    None
}
