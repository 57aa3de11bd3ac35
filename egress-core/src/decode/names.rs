//! Names of the running kernel: drop reasons and functions.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Names that records refer to by number. Filled by the agent from BTF and kallsyms, as needed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KernelNames {
    reasons: BTreeMap<u32, Arc<str>>,
    /// First address → (end, name).
    functions: BTreeMap<u64, (u64, Arc<str>)>,
}

impl KernelNames {
    /// Adds or replaces the name of a drop reason (subsystem in the high 16 bits).
    pub fn insert_reason(&mut self, number: u32, name: &str) {
        self.reasons.insert(number, name.into());
    }

    /// Adds or replaces a function: its first address and the one behind its end.
    pub fn insert_function(&mut self, start: u64, end: u64, name: &str) {
        self.functions.insert(start, (end, name.into()));
    }

    /// Name of a drop reason, without the `SKB_DROP_REASON_` prefix.
    #[must_use]
    pub fn reason(&self, number: u32) -> Option<&Arc<str>> {
        self.reasons.get(&number)
    }

    /// Function that holds this address. Addresses may be return addresses.
    #[must_use]
    pub fn function(&self, address: u64) -> Option<&Arc<str>> {
        let (_, (end, name)) = self.functions.range(..=address).next_back()?;
        (address < *end).then_some(name)
    }

    /// All reasons.
    pub fn reasons(&self) -> impl Iterator<Item = (u32, &str)> {
        self.reasons.iter().map(|(number, name)| (*number, &**name))
    }

    /// All functions known so far: first address, end, name.
    pub fn functions(&self) -> impl Iterator<Item = (u64, u64, &str)> {
        self.functions.iter().map(|(start, (end, name))| (*start, *end, &**name))
    }
}
