//! Hints: what the node and other pods reach, and which ports are dead.

use super::Scenario;

pub(super) const fn all() -> Vec<Scenario> {
    Vec::new()
}
