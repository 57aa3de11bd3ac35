//! The process that dialled, as a verdict tells it.

use super::judge::Judgement;
use crate::time::Mono;

/// The process behind a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialler {
    /// When it dialled.
    pub at: Mono,
    /// Its command name.
    pub command: String,
    /// Its number on the host, 0 where several of the same name dialled at once.
    pub pid: u32,
    /// Its container, if that is known.
    pub container: Option<String>,
}

/// Keys of a verdict's detail that tell it.
pub(super) const KEYS: [&str; 3] = ["process", "pid", "container"];

impl Dialler {
    /// Adds it to the facts of a judgement.
    pub(crate) fn name(&self, mut judgement: Judgement) -> Judgement {
        if !self.command.is_empty() {
            judgement = judgement.with("process", self.command.clone());
        }
        if self.pid != 0 {
            judgement = judgement.with("pid", self.pid);
        }
        match &self.container {
            Some(container) => judgement.with("container", container.clone()),
            None => judgement,
        }
    }

    /// `curl (pid 4242, container web)`.
    pub(super) fn words(&self) -> String {
        let command = if self.command.is_empty() { "a process" } else { &self.command };
        let pid = (self.pid != 0).then(|| format!("pid {}", self.pid));
        let container = self.container.as_ref().map(|name| format!("container {name}"));
        let more: Vec<String> = pid.into_iter().chain(container).collect();
        if more.is_empty() { command.to_owned() } else { format!("{command} ({})", more.join(", ")) }
    }
}
