//! `service-no-endpoints`: Services with nobody behind them.

use super::Scenario;

pub(super) const fn all() -> Vec<Scenario> {
    Vec::new()
}
