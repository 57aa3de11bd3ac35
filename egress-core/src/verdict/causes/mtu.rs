//! `mtu`: a packet was too big for a link on its way.

use crate::verdict::case::Case;
use crate::verdict::judge::Judgement;

pub(in crate::verdict) const fn judge(_: &Case<'_>) -> Option<Judgement> {
    None
}
