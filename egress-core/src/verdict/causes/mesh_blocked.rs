//! `mesh-blocked`: a sidecar on the pod's loopback took the connection and refused it.

use crate::verdict::case::Case;
use crate::verdict::judge::Judgement;

pub(in crate::verdict) const fn judge(_: &Case<'_>) -> Option<Judgement> {
    None
}
