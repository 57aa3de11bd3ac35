//! `route-drop`: this machine has no way to route it.

use crate::verdict::case::Case;
use crate::verdict::judge::Judgement;

pub(in crate::verdict) const fn judge(_: &Case<'_>) -> Option<Judgement> {
    None
}
