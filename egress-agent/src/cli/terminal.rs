//! Where the output goes: width, colour, and what this program is called.

use std::ffi::OsStr;
use std::io::{IsTerminal as _, Write};
use std::path::Path;
use std::time::SystemTime;

use egress_core::time::Timestamp;

/// Width where there is no terminal and no `COLUMNS`.
const DEFAULT_WIDTH: usize = 80;
/// Prose in wider lines cannot be read.
const MAX_WIDTH: usize = 140;
const MIN_WIDTH: usize = 40;

/// Both outputs and how to write to them.
pub(super) struct Ui<'a> {
    /// Answers.
    pub(super) out: &'a mut dyn Write,
    /// What was watched, and errors.
    pub(super) err: &'a mut dyn Write,
    /// Columns.
    pub(super) width: usize,
    /// Colours on the standard output.
    pub(super) color: bool,
    /// How this program is called: `egress-agent` or `kubectl egress`.
    pub(super) program: &'static str,
}

impl<'a> Ui<'a> {
    /// The terminal of this process.
    pub(super) fn of_process(program: &'static str, out: &'a mut dyn Write, err: &'a mut dyn Write) -> Self {
        let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        let seen = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
        let width = columns.or_else(seen).unwrap_or(DEFAULT_WIDTH).clamp(MIN_WIDTH, MAX_WIDTH);
        // https://no-color.org: set and not empty, whatever it says.
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { out, err, width, color: std::io::stdout().is_terminal() && !refused, program }
    }
}

/// What this program is called by the one who types it.
pub(super) fn program(argument: Option<&OsStr>) -> &'static str {
    let name = argument.and_then(|path| Path::new(path).file_name());
    if name.is_some_and(|name| name == "kubectl-egress") { "kubectl egress" } else { "egress-agent" }
}

/// Now.
pub(super) fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
}
