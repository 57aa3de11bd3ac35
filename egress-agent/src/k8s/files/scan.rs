//! Which files there are, and which folders have to be watched for that to stay true.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use super::content::unreadable;
use crate::k8s::Problem;

/// What files of a folder are read.
const EXTENSIONS: &[&str] = &["yaml", "yml", "json"];

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Files to read, each once, by the path that led to it, with the place of the path given that did.
    pub(super) files: BTreeMap<PathBuf, usize>,
    /// Folders whose changes can change the result or the files.
    pub(super) folders: BTreeSet<PathBuf>,
    /// Paths that cannot be read.
    pub(super) problems: Vec<Problem>,
    /// Folders whose changes will go unnoticed.
    pub(super) unwatched: Vec<Problem>,
    /// Real paths of files and folders that were visited.
    visited: HashSet<PathBuf>,
}

impl Scan {
    /// Looks for the files of these paths, folders recursively.
    pub(super) fn of(paths: &[PathBuf]) -> Self {
        let mut scan = Self::default();
        for (place, path) in paths.iter().enumerate() {
            // The folder around it tells when it is replaced: by a rename, or by the swap of a symbolic link.
            scan.folders.insert(parent(path));
            if let Err(error) = scan.visit(path, place, true) {
                scan.problems.push(unreadable(path, &error));
            }
        }
        scan
    }

    fn visit(&mut self, path: &Path, place: usize, named: bool) -> io::Result<()> {
        let real = path.canonicalize()?;
        // Also ends the walk where a symbolic link leads back.
        if !self.visited.insert(real.clone()) {
            return Ok(());
        }
        // Where it really is: the target of a symbolic link changes there.
        self.folders.insert(parent(&real));
        if !real.is_dir() {
            if named || path.extension().is_some_and(|e| EXTENSIONS.iter().any(|known| e == *known)) {
                self.files.insert(path.to_owned(), place);
            }
            return Ok(());
        }
        self.folders.insert(path.to_owned());
        let mut entries =
            path.read_dir()?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
        entries.sort_unstable();
        for entry in entries {
            // Hidden ones are editors' and, in a mounted ConfigMap, the folders that the visible links lead to.
            let hidden = entry.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if hidden {
                continue;
            }
            match self.visit(&entry, place, false) {
                // Gone since the folder was listed, or a dangling link, such as an editor's lock file.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => self.problems.push(unreadable(&entry, &error)),
                Ok(()) => {}
            }
        }
        Ok(())
    }
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_owned(),
        None => path.to_owned(),
    }
}
