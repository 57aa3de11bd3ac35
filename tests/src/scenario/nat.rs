//! `nat-missing` and `nat-exhausted`: the node's source translation.

use super::Scenario;

pub(super) const fn all() -> Vec<Scenario> {
    Vec::new()
}
