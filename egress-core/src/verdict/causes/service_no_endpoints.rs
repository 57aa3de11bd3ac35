//! `service-no-endpoints`: the Service that was dialled has nobody behind it.

use crate::verdict::case::Case;
use crate::verdict::judge::Judgement;

pub(in crate::verdict) const fn judge(_: &Case<'_>) -> Option<Judgement> {
    None
}
