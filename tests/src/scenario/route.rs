//! `route-drop`: routes, neighbours and addresses that lead nowhere.

use super::Scenario;

pub(super) const fn all() -> Vec<Scenario> {
    Vec::new()
}
