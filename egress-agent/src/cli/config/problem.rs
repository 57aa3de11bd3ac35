//! What is wrong with a settings file.

use std::error::Error as _;
use std::fmt;
use std::path::{Path, PathBuf};

use super::yaml::{Entry, Place};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// Where.
    pub(super) place: Place,
    /// Of which setting.
    pub(super) key: Option<String>,
    /// What, in words.
    pub(super) text: String,
}

impl Problem {
    /// A problem of a setting, at its key.
    pub(super) fn of(entry: &Entry, text: impl Into<String>) -> Self {
        Self { place: entry.place, key: Some(entry.key.clone()), text: text.into() }
    }
}

/// All that is wrong with a settings file, in the order of the file: `FILE:LINE:COLUMN: KEY: …`, a line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    file: PathBuf,
    problems: Vec<Problem>,
}

impl Problems {
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| (problem.place.line, problem.place.column));
        Self { file: PathBuf::new(), problems }
    }

    pub(super) fn of_file(self, file: &Path) -> Self {
        Self { file: file.to_owned(), ..self }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.len() {
            1 => write!(f, "the settings cannot be used")?,
            many => write!(f, "the settings cannot be used, {many} things are wrong")?,
        }
        for Problem { place, key, text } in &self.problems {
            write!(f, "\n{}:{}:{}: ", self.file.display(), place.line, place.column)?;
            if let Some(key) = key {
                write!(f, "{}: ", printable(key))?;
            }
            f.write_str(&printable(text))?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Text of the file on one line, without what could steer a terminal.
fn printable(text: &str) -> String {
    crate::words::clean(text).replace('\n', " ")
}

/// What the parser of the command line says is wrong, as one sentence without its decoration.
pub(super) fn sentence(error: &clap::Error) -> String {
    if let Some(cause) = error.source() {
        return cause.to_string();
    }
    let text = error.render().to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = first.split_whitespace().collect();
    words.join(" ").trim_start_matches("error: ").to_owned()
}
