//! A client that runs in a lab and the result it prints.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::process::Process;

/// How a client's attempt ended: one line of JSON on its standard output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// `connected`, `refused`, `timeout`, `unreachable`, `reset`, `answered`, `sent`, a DNS outcome, or `error`.
    pub outcome: String,
    /// What was dialled or asked.
    pub peer: String,
    /// `errno` of the failure, 0 without one.
    pub errno: i32,
    /// How long it took.
    pub seconds: f64,
    /// How many were sent (`flood`) or succeeded (`connect --count`).
    pub count: u64,
    /// Addresses that a name resolved to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<std::net::IpAddr>,
}

/// A client that runs.
#[derive(Debug)]
pub struct Client {
    process: Process,
}

impl Client {
    pub(crate) fn new(process: Process) -> Self {
        Self { process }
    }

    /// Waits for its end and returns what it printed.
    pub fn outcome(mut self, within: Duration) -> Result<Outcome> {
        let (lines, status) = self.process.finish(within)?;
        let Some(line) = lines.last() else {
            bail!("a client printed nothing ({status}): {}", self.process.errors());
        };
        serde_json::from_str(line).with_context(|| format!("a client printed \"{line}\""))
    }
}
