//! The command line.
//!
//! Exit status: 0 answered, 1 failed, 2 usage, 3 no such pod, 4 agent unreachable, 5 partial answer.

mod answer;
pub mod args;
mod commands;
pub mod config;
mod connect;
mod duration;
mod exit;
mod explain;
mod live;
mod query;
mod reach;
mod render;
mod size;
mod target;
mod terminal;

pub use exit::Failure;

use std::process::ExitCode;

use clap::FromArgMatches as _;
use egress_core::verdict::Verdict;

use args::{Cli, Command};
use terminal::Ui;

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    crate::host::keep_one_heap();
    let arguments: Vec<_> = std::env::args_os().collect();
    let program = terminal::program(arguments.first().map(AsRef::as_ref));
    let parsed = args::command(program).try_get_matches_from(&arguments);
    let (cli, matches) = match parsed.and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches))) {
        Ok(parsed) => parsed,
        Err(error) => {
            // Help and version go to standard output and are no error; the rest is usage.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr());
    let mut ui = Ui::of_process(program, cli.color, &mut out, &mut err);
    let command = match (cli.command, matches.subcommand()) {
        (Command::Run(_), Some((_, given))) => config::complete(&arguments, given).map(Command::Run),
        (command, _) => Ok(command),
    };
    let result = command.and_then(|command| commands::dispatch(command, &mut ui));
    let result = result.and_then(|()| Ok(ui.out.flush()?));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads our output has seen enough.
        Err(Failure::ReaderGone) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(ui.err, "error: {failure}");
            ExitCode::from(failure.code())
        }
    }
}

/// A verdict as a person reads it, in a terminal of this width.
pub(crate) fn rendered(verdict: &Verdict, width: usize) -> String {
    let view = render::View { width, color: false, wide: true, now: verdict.last_seen, fix_command: None };
    render::verdict(verdict, &view)
}
