//! Captures of scenarios: a second agent records what the first one judges.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::agent;
use crate::lab::Lab;
use crate::plan::NODE_NAME;
use crate::process::Process;

/// How long the recorder may take to watch everything.
const WATCHES_WITHIN: Duration = Duration::from_secs(20);

/// A running `egress-agent record`.
#[derive(Debug)]
pub(super) struct Recording {
    process: Process,
    file: PathBuf,
}

impl Recording {
    /// Starts it and waits until its capture says that the cluster is known and devices are watched.
    pub(super) fn start(lab: &Lab, folder: &Path, name: &str) -> Result<Self> {
        let file = folder.join(format!("{name}.capture"));
        let mut command = agent::command()?;
        command.arg("record").arg(&file);
        command.arg("--cluster-state").arg(lab.cluster.folder());
        command.arg("--netns").arg(lab.node.path()).args(["--node-name", NODE_NAME]);
        let mut recording = Self { process: Process::start(command, "egress-agent record")?, file };
        recording.await_watching()?;
        Ok(recording)
    }

    fn await_watching(&mut self) -> Result<()> {
        let deadline = Instant::now() + WATCHES_WITHIN;
        loop {
            let text = std::fs::read_to_string(&self.file).unwrap_or_default();
            if text.contains("\"synced\"") && text.contains("\"watched_out\":true") {
                return Ok(());
            }
            if Instant::now() > deadline || !self.process.running() {
                bail!("the recorder does not watch: {}", self.process.errors());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it; the capture is complete then.
    pub(super) fn finish(mut self) -> Result<()> {
        self.process.signal(libc::SIGTERM)?;
        let (_, status) = self.process.finish(Duration::from_secs(5))?;
        if !status.success() {
            bail!("the recorder ended with {status}: {}", self.process.errors());
        }
        Ok(())
    }
}
