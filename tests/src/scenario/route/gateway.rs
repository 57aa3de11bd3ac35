//! Policy routing sends a pod by an egress gateway, which drops.

use super::super::Scenario;

pub(super) fn all() -> Vec<Scenario> {
    Vec::new()
}
