//! Where the output goes: width, colour, and what this program is called.

use std::ffi::OsStr;
use std::io::{IsTerminal as _, Write};
use std::path::Path;
use std::time::SystemTime;

use egress_core::time::Timestamp;

use super::args::Color;

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
    /// The standard output is a terminal that can move its cursor.
    pub(super) live: bool,
    /// The standard error is such a terminal: progress can be told and taken away again.
    pub(super) err_live: bool,
    /// How this program is called: `egress-agent` or `kubectl egress`.
    pub(super) program: &'static str,
}

impl<'a> Ui<'a> {
    /// The terminal of this process.
    pub(super) fn of_process(
        program: &'static str,
        color: Color,
        out: &'a mut dyn Write,
        err: &'a mut dyn Write,
    ) -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let live = std::io::stdout().is_terminal() && !dumb;
        let err_live = std::io::stderr().is_terminal() && !dumb;
        // https://no-color.org: set and not empty, whatever it says.
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let color = match color {
            Color::Auto => live && !refused,
            Color::Always => true,
            Color::Never => false,
        };
        Self { out, err, width: width(), color, live, err_live, program }
    }

    /// Outputs that a test reads.
    #[cfg(test)]
    pub(super) fn for_tests(out: &'a mut dyn Write, err: &'a mut dyn Write, width: usize) -> Self {
        Self { out, err, width, color: false, live: false, err_live: false, program: "kubectl egress" }
    }
}

/// Columns: of `COLUMNS`, of the terminal as it is now, or the usual.
pub(super) fn width() -> usize {
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let seen = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    columns.or_else(seen).unwrap_or(DEFAULT_WIDTH).clamp(MIN_WIDTH, MAX_WIDTH)
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
