//! `mesh-blocked`: sidecars that refuse what their pod sends.

use super::Scenario;

pub(super) const fn all() -> Vec<Scenario> {
    Vec::new()
}
