//! The settings file of `run`. Its keys are the long names of the flags, and the flags are all it knows: their values
//! are read by the same parsers, and a flag that is added to the command line is a setting by that alone.
//!
//! The file is judged as a whole: everything that is wrong with it is told at once, each with its place.

mod problem;
pub mod reference;
mod value;
mod yaml;

pub(crate) use problem::Problems;

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory as _, FromArgMatches as _};

use super::args::{Cli, RunArgs};
use super::exit::Failure;
use problem::Problem;
use yaml::Entry;

/// Flags that are about the file itself.
const NOT_SETTINGS: &[&str] = &["config", "check", "color", "help", "version"];

/// The command whose flags are the settings.
fn run_command() -> Command {
    let mut cli = Cli::command();
    cli.build();
    cli.find_subcommand("run").cloned().unwrap_or_default()
}

/// Whether a flag may be given in the file.
fn is_setting(flag: &Arg) -> bool {
    flag.get_long().is_some_and(|name| !NOT_SETTINGS.contains(&name)) && !flag.is_hide_set()
}

/// What a settings file says, as the flags that would say the same.
#[derive(Debug)]
struct Settings {
    entries: Vec<Entry>,
    /// By entry: the name of its flag, and the arguments.
    flags: Vec<(String, Vec<String>)>,
}

/// The arguments of `run` with what the settings file that they name adds to them. Flags win.
///
/// `arguments` is the whole command line, `given` what was understood of it after `run`.
pub(super) fn complete(arguments: &[OsString], given: &ArgMatches) -> Result<RunArgs, Failure> {
    let args = RunArgs::from_arg_matches(given).map_err(|error| Failure::Usage(error.to_string()))?;
    let Some(path) = args.config else { return Ok(args) };
    let text = fs::read_to_string(&path)
        .map_err(|error| Failure::Failed(format!("cannot read --config {}: {error}", path.display())))?;
    let command = run_command();
    let typed = |flag: &&Arg| given.value_source(flag.get_id().as_str()) == Some(ValueSource::CommandLine);
    let flags = command.get_arguments().filter(|flag| is_setting(flag)).filter(typed);
    let winners: Vec<&str> = flags.filter_map(Arg::get_long).collect();
    let settings = read(&text).and_then(|settings| settings.merged(arguments, &winners));
    settings.map_err(|problems| Failure::Settings(problems.of_file(&path)))
}

/// The arguments that a settings file comes to by itself.
pub(crate) fn parse(text: &str) -> Result<RunArgs, Problems> {
    let command_line = ["egress-agent".into(), "run".into()];
    let settings = read(text).and_then(|settings| settings.merged(&command_line, &[]));
    settings.map_err(|problems| problems.of_file(Path::new("settings")))
}

/// Reads a file and judges every setting by itself.
fn read(text: &str) -> Result<Settings, Problems> {
    let command = run_command();
    let (entries, mut problems) = yaml::read(text);
    let mut flags = Vec::new();
    for (number, entry) in entries.iter().enumerate() {
        if let Some(first) = entries[..number].iter().find(|first| first.key == entry.key) {
            let text = format!("is given a second time, first in line {}", first.place.line);
            problems.push(Problem::of(entry, text));
            continue;
        }
        match value::arguments(entry, &command) {
            Ok(arguments) => flags.push((entry.key.clone(), arguments)),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() { Ok(Settings { entries, flags }) } else { Err(Problems::new(problems)) }
}

impl Settings {
    /// Settings and command line together: what only both can tell is told here, at the setting it is about. `winners`
    /// are the settings that the command line gives itself.
    fn merged(self, arguments: &[OsString], winners: &[&str]) -> Result<RunArgs, Problems> {
        let added = self.flags.into_iter().filter(|(name, _)| !winners.contains(&name.as_str()));
        let added = added.flat_map(|(_, arguments)| arguments).map(OsString::from);
        let parsed = Cli::command().try_get_matches_from(arguments.iter().cloned().chain(added));
        let args = parsed.and_then(|mut matches| match matches.remove_subcommand() {
            Some((_, run)) => RunArgs::from_arg_matches(&run),
            None => Ok(RunArgs::default()),
        });
        args.map_err(|error| {
            let text = problem::sentence(&error);
            let named = self.entries.iter().find(|entry| text.contains(&format!("--{}", entry.key)));
            let place = named.map_or(yaml::Place::START, |entry| entry.place);
            Problems::new(vec![Problem { place, key: None, text }])
        })
    }
}

#[cfg(test)]
mod tests;
