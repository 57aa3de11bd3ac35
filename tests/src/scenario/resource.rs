//! `local-resource`: queues and buffers of this machine that are full.

use super::Scenario;

pub(super) const fn all() -> Vec<Scenario> {
    Vec::new()
}
