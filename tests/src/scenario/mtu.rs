//! `mtu`: links on the way that take less than the packets need.

use super::Scenario;

pub(super) const fn all() -> Vec<Scenario> {
    Vec::new()
}
