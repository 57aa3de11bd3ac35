//! Wiring: what each command that needs the engine does.

use std::path::PathBuf;

use anyhow::{Result, bail};
use egress_core::verdict::Verdict;

use crate::answers::{ExplainError, ExplainRequest, Explanation};
use crate::cli::args::{CleanupArgs, DoctorArgs, RecordArgs, ReplayArgs, RunArgs};
use crate::status::AgentStatus;

/// `run`: watches until it is told to stop.
///
/// # Errors
///
/// What kept it from starting, or ended it.
pub fn run(_args: &RunArgs) -> Result<()> {
    bail!("this build has no engine")
}

/// `record`: like `run`, with every input of the pipeline written to a file.
///
/// # Errors
///
/// What kept it from starting, or ended it.
pub fn record(_args: &RecordArgs) -> Result<()> {
    bail!("this build has no engine")
}

/// `replay`: the verdicts of a capture as they stand at its end, most recently seen first.
///
/// # Errors
///
/// The capture cannot be read.
pub fn replay(_args: &ReplayArgs) -> Result<Vec<Verdict>> {
    bail!("this build has no engine")
}

/// `doctor`: what a running agent would see here. Attaches and detaches every hook.
///
/// # Errors
///
/// Nothing can be said about this machine.
pub fn doctor(_args: &DoctorArgs) -> Result<AgentStatus> {
    bail!("this build has no engine")
}

/// `cleanup`: removes what a killed agent left in the kernel; a line for each thing removed.
///
/// # Errors
///
/// Something of ours could not be removed.
pub fn cleanup(_args: &CleanupArgs) -> Result<Vec<String>> {
    bail!("this build has no engine")
}

/// `explain` from files: what their policies say.
///
/// # Errors
///
/// The files cannot be read, or the question cannot be answered from them.
pub fn explain(_cluster_state: &[PathBuf], _request: &ExplainRequest) -> Result<Explanation, ExplainError> {
    Err(ExplainError::Failed("this build has no engine".to_owned()))
}
