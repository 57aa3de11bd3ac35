//! Which verdicts were made before, when memory does not hold them any more.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use egress_core::verdict::Cause;

/// Verdicts remembered: more than can be open at a time.
const CAPACITY: usize = 32_768;

/// The last cause of each of the verdicts made most recently: metrics count a verdict once, and again when its cause
/// changes.
#[derive(Debug, Default)]
pub(super) struct Causes {
    known: HashMap<u64, Cause>,
    order: VecDeque<u64>,
}

impl Causes {
    /// Notes the cause of a verdict. Returns the one it had before.
    pub(super) fn learn(&mut self, id: &str, cause: Cause) -> Option<Cause> {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        let id = hasher.finish();
        let before = self.known.insert(id, cause);
        if before.is_none() {
            self.order.push_back(id);
            if self.order.len() > CAPACITY
                && let Some(oldest) = self.order.pop_front()
            {
                self.known.remove(&oldest);
            }
        }
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_before_is_known_until_too_many_others_came() {
        let mut causes = Causes::default();
        assert_eq!(causes.learn("a", Cause::Unknown), None);
        assert_eq!(causes.learn("a", Cause::PolicyDrop), Some(Cause::Unknown));
        for n in 0..CAPACITY {
            causes.learn(&n.to_string(), Cause::Mtu);
        }
        assert_eq!(causes.learn("a", Cause::PolicyDrop), None);
        assert_eq!(causes.known.len(), CAPACITY);
    }
}
