//! `tls-failure`: handshakes that end in an alert.

use super::Scenario;

pub(super) const fn all() -> Vec<Scenario> {
    Vec::new()
}
