//! What one file holds.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::io;
use std::path::Path;

use egress_core::cluster::Object;

use super::documents;
use super::manifest::Manifest;
use crate::k8s::Problem;
use crate::k8s::convert::Item;

/// The contents of a file that has no errors.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) objects: Vec<Placed>,
    /// Policies of kinds that are not evaluated.
    pub(super) unevaluated: Vec<Problem>,
    /// Objects that have no bearing, by `apiVersion Kind`.
    pub(super) skipped: BTreeMap<String, u64>,
}

/// An object and where it is.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) object: Object,
    line: usize,
}

impl Content {
    /// Parses a file; or everything that is wrong with it.
    pub(super) fn parse(path: &Path, bytes: Vec<u8>) -> Result<Self, Vec<Problem>> {
        let problem = |line, object: &str, field: &str, message: &str| Problem {
            file: path.to_owned(),
            line,
            object: object.to_owned(),
            field: field.to_owned(),
            message: message.to_owned(),
        };
        let Ok(text) = String::from_utf8(bytes) else {
            return Err(vec![problem(0, "", "", "is not UTF-8 text")]);
        };
        let is_json = path.extension().is_some_and(|extension| extension == "json");
        let mut content = Self::default();
        let mut problems = Vec::new();
        let take = |line, manifest: Manifest| {
            for item in manifest.into_items() {
                match item {
                    Ok(Item::Object(object)) => {
                        if let Object::OtherPolicy(policy) = &object {
                            let message = "is of a kind that is not evaluated: what policies say of pods that \
                                           it may select is undecidable";
                            content.unevaluated.push(problem(line, &policy.to_string(), "", message));
                        }
                        content.objects.push(Placed { object, line });
                    }
                    Ok(Item::Skipped(kind)) => *content.skipped.entry(kind).or_default() += 1,
                    Err(invalid) => problems.extend(
                        invalid.errors.iter().map(|e| problem(line, &invalid.object, &e.field, &e.message)),
                    ),
                }
            }
        };
        let parsed = if is_json { documents::json(&text, take) } else { documents::yaml(&text, take) };
        if let Err(error) = parsed {
            problems.push(problem(error.line, "", "", &error.message));
        }
        content.objects.shrink_to_fit();
        if problems.is_empty() { Ok(content) } else { Err(problems) }
    }
}

impl Placed {
    /// The problem that this object, of the file `path`, is also in the file `first`.
    pub(super) fn duplicate(&self, path: &Path, first: &Path) -> Problem {
        let message = if path == first {
            "appears twice in this file".to_owned()
        } else {
            format!("is also in {}", first.display())
        };
        Problem {
            file: path.to_owned(),
            line: self.line,
            object: self.object.reference().to_string(),
            field: String::new(),
            message,
        }
    }
}

/// The problem of a file or folder that cannot be read.
pub(super) fn unreadable(path: &Path, error: &io::Error) -> Problem {
    let message = format!("cannot be read: {error}");
    Problem { file: path.to_owned(), line: 0, object: String::new(), field: String::new(), message }
}

/// Tells whether a file's bytes changed; never 0.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish().max(1)
}
