//! `upstream-reset`, and silence after a connection was established.

use super::Scenario;

pub(super) const fn all() -> Vec<Scenario> {
    Vec::new()
}
