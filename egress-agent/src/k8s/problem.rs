//! What is wrong with cluster state or its source: one line that names the thing.

use std::fmt;
use std::path::PathBuf;

/// Something wrong with a source, or with an object in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file or folder; the URL of an API server.
    pub file: PathBuf,
    /// Line of the error, or the first line of the object's document; 0 if it concerns the whole file.
    pub line: usize,
    /// `Kind namespace/name`, empty if it is not known.
    pub object: String,
    /// The field, such as `spec.egress[0].to[1].ipBlock.cidr`, empty if it concerns the whole object.
    pub field: String,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if self.line > 0 {
            write!(f, "{}:", self.line)?;
        }
        for part in [&self.object, &self.field] {
            if !part.is_empty() {
                write!(f, " {part}:")?;
            }
        }
        // One problem is one line, whatever the message holds.
        write!(f, " {}", self.message.split_whitespace().collect::<Vec<_>>().join(" "))
    }
}

impl std::error::Error for Problem {}
