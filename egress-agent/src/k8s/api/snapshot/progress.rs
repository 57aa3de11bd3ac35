//! How far the reading is.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// Objects read so far, by resource.
#[derive(Debug, Default)]
pub struct Progress(Mutex<BTreeMap<&'static str, u64>>);

impl Progress {
    /// One more object.
    pub(super) fn count(&self, resource: &'static str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(resource).or_default() += 1;
    }
}

/// `1500 pods, 20 services`
impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.is_empty() {
            return f.write_str("no answer yet");
        }
        for (number, (resource, count)) in counts.iter().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            write!(f, "{comma}{count} {resource}")?;
        }
        Ok(())
    }
}
