//! Several faults at once stay apart.

use super::Scenario;

pub(super) const fn all() -> Vec<Scenario> {
    Vec::new()
}
