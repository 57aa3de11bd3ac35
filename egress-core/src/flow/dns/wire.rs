//! Which lookups an identifier on the wire may belong to: addresses may be translated, names are long.

use std::collections::HashMap;

/// Lookups with the same identifier at the same time that are kept at most.
const CROWD: usize = 64;

/// Lookups by the identifiers of their questions.
#[derive(Debug, Default)]
pub(super) struct Wire {
    lookups: HashMap<u16, Vec<u64>>,
}

impl Wire {
    /// A lookup asked with this identifier.
    pub(super) fn add(&mut self, id: u16, number: u64) {
        let crowd = self.lookups.entry(id).or_default();
        if crowd.contains(&number) {
            return;
        }
        if crowd.len() >= CROWD {
            crowd.remove(0);
        }
        crowd.push(number);
    }

    /// It does so no more.
    pub(super) fn remove(&mut self, id: u16, number: u64) {
        if let Some(crowd) = self.lookups.get_mut(&id) {
            crowd.retain(|known| *known != number);
            if crowd.is_empty() {
                self.lookups.remove(&id);
            }
        }
    }

    /// The lookups that asked with this identifier.
    pub(super) fn of(&self, id: u16) -> &[u64] {
        self.lookups.get(&id).map_or(&[], Vec::as_slice)
    }
}
