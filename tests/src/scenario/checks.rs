//! Checks that are no single verdict: exact counts under a flood, a killed agent, bad input.

use anyhow::Result;

/// A check.
pub struct Check {
    /// Name, the filter's subject.
    pub name: &'static str,
    /// What must hold, in a sentence.
    pub sentence: &'static str,
    /// What must be there; a reason why it is not skips the check.
    pub needs: fn() -> Option<String>,
    /// Runs beside nothing else.
    pub alone: bool,
    /// Returns what was measured, in words.
    pub run: fn() -> Result<String>,
}

/// Every check.
pub fn all() -> Vec<Check> {
    Vec::new()
}
