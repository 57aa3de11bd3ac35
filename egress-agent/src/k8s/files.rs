//! Cluster state from manifests in files and folders, what `kubectl get … -o yaml` prints.
//!
//! An object that is in files of two paths given is that of the later path: an export of a cluster, and behind it what is
//! about to be applied. Twice under one path it is an error.
//!
//! At the start any error refuses the whole state: a policy that is silently missing makes wrong verdicts. Later, a
//! file that became invalid keeps the objects it had, and says so.

mod content;
mod documents;
mod manifest;
mod scan;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use egress_core::cluster::{ClusterChange, Namespace, Object, ObjectRef};
use egress_core::time::Timestamp;

use super::convert::NAMESPACE_NAME_LABEL;
use super::{Problem, SourceEvent};
use content::Content;
use scan::Scan;
pub use watch::{FileWatch, WatchError};

/// Cluster state from files.
#[derive(Debug)]
pub struct FileSource {
    /// As they were given.
    paths: Vec<PathBuf>,
    files: BTreeMap<PathBuf, File>,
    /// By kind, namespace and name.
    known: Vec<Object>,
    /// With the place of the path given that led to each, as of the last merge.
    places: BTreeMap<PathBuf, usize>,
    /// Of objects that are in two files.
    duplicates: Vec<Problem>,
    /// What is wrong now.
    problems: Vec<Problem>,
    /// When the files were last read without an error.
    as_of: Timestamp,
}

/// A file as it was last read.
#[derive(Debug)]
struct File {
    /// Of the bytes; 0 if they could not be read.
    hash: u64,
    /// What it last held without an error.
    good: Content,
    /// What is wrong with it now.
    problems: Vec<Problem>,
}

impl FileSource {
    /// Reads files, and folders with all their `*.yaml`, `*.yml` and `*.json`.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn load(paths: &[PathBuf]) -> Result<Self, Vec<Problem>> {
        let mut source = Self {
            paths: paths.to_vec(),
            files: BTreeMap::new(),
            known: Vec::new(),
            places: BTreeMap::new(),
            duplicates: Vec::new(),
            problems: Vec::new(),
            as_of: Timestamp::default(),
        };
        let scan = Scan::of(paths);
        source.read(&scan);
        if source.problems.is_empty() { Ok(source) } else { Err(source.problems) }
    }

    /// The objects of files alone, and nothing that follows from them: to be put over a cluster.
    ///
    /// # Errors
    /// Everything that is wrong with the files.
    pub fn objects(paths: &[PathBuf]) -> Result<Vec<Object>, Vec<Problem>> {
        let source = Self::load(paths)?;
        let objects = source.merge(&source.places).0;
        Ok(objects.into_values().collect())
    }

    /// Everything that is known, ending with [`ClusterChange::Synced`].
    #[must_use]
    pub fn changes(&self) -> Vec<ClusterChange> {
        let objects = self.known.iter().map(|object| ClusterChange::Apply { object: object.clone() });
        objects.chain([ClusterChange::Synced { at: self.as_of }]).collect()
    }

    /// What is wrong, and which policies are of kinds that are not evaluated.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let unevaluated = self.files.values().flat_map(|file| &file.good.unevaluated);
        self.problems.iter().chain(unevaluated).cloned().collect()
    }

    /// How many objects of kinds that have no bearing were passed over, by `apiVersion Kind`.
    #[must_use]
    pub fn skipped(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for (kind, count) in self.files.values().flat_map(|file| &file.good.skipped) {
            *all.entry(kind.clone()).or_default() += count;
        }
        all
    }

    /// Reads again what was found and tells what that changed.
    fn reload(&mut self, scan: &Scan) -> Vec<SourceEvent> {
        let problems_before = self.problems();
        let broken_before = !self.problems.is_empty();
        let mut changes = self.read(scan);
        // With a broken file the state is not what the files say, so it is not "as of now".
        if self.problems.is_empty() && (broken_before || !changes.is_empty()) {
            changes.push(ClusterChange::Synced { at: self.as_of });
        }
        let mut events = Vec::new();
        if !changes.is_empty() {
            events.push(SourceEvent::Changes(changes));
        }
        let problems = self.problems();
        if problems != problems_before {
            events.push(SourceEvent::Problems(problems));
        }
        events
    }

    /// Reads every file whose bytes changed, and returns what changed in the cluster.
    fn read(&mut self, scan: &Scan) -> Vec<ClusterChange> {
        let out_of_sight = |path: &Path| scan.problems.iter().any(|problem| path.starts_with(&problem.file));
        let held = self.files.len();
        self.files.retain(|path, _| scan.files.contains_key(path) || out_of_sight(path));
        let mut changed = self.files.len() < held;
        for path in scan.files.keys() {
            let before = self.files.remove(path);
            let hash = before.as_ref().map(|file| file.hash);
            let file = File::read(path, before);
            changed |= Some(file.hash) != hash;
            self.files.insert(path.clone(), file);
        }
        let mut changes = Vec::new();
        if changed || self.places != scan.files {
            self.places.clone_from(&scan.files);
            let (mut objects, duplicates) = self.merge(&scan.files);
            imply_namespaces(&mut objects);
            changes = difference(&self.known, &objects);
            self.known = objects.into_values().collect();
            self.duplicates = duplicates;
        }
        let in_files = self.files.values().flat_map(|file| &file.problems);
        let in_scan = scan.problems.iter().chain(&scan.unwatched);
        self.problems = in_scan.chain(in_files).chain(&self.duplicates).cloned().collect();
        if self.problems.is_empty() {
            self.as_of = Timestamp(jiff::Timestamp::now().as_microsecond());
        }
        changes
    }

    /// The objects of all files. Files of a later place given replace objects of earlier ones; of an object that is
    /// twice at one place, the first wins and the second is a problem.
    fn merge(&self, places: &BTreeMap<PathBuf, usize>) -> (BTreeMap<ObjectRef, Object>, Vec<Problem>) {
        let mut owners: BTreeMap<ObjectRef, (usize, &Path)> = BTreeMap::new();
        let mut objects = BTreeMap::new();
        let mut problems = Vec::new();
        // A file that is out of sight stays where it was: before all others.
        let place = |path: &Path| places.get(path).copied().unwrap_or_default();
        let mut files: Vec<_> = self.files.iter().collect();
        files.sort_by_key(|(path, _)| place(path));
        for (path, file) in files {
            let place = place(path);
            for placed in &file.good.objects {
                let reference = placed.object.reference();
                match owners.get(&reference) {
                    Some((first_place, first)) if *first_place == place => {
                        problems.push(placed.duplicate(path, first));
                    }
                    _ => {
                        owners.insert(reference.clone(), (place, path));
                        objects.insert(reference, placed.object.clone());
                    }
                }
            }
        }
        (objects, problems)
    }
}

impl File {
    /// Reads a file; `before` is what it was.
    fn read(path: &Path, before: Option<Self>) -> Self {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                let good = before.map(|before| before.good).unwrap_or_default();
                return Self { hash: 0, good, problems: vec![content::unreadable(path, &error)] };
            }
        };
        let hash = content::hash(&bytes);
        match before {
            Some(before) if before.hash == hash => before,
            before => match Content::parse(path, bytes) {
                Ok(good) => Self { hash, good, problems: Vec::new() },
                Err(problems) => {
                    Self { hash, good: before.map(|before| before.good).unwrap_or_default(), problems }
                }
            },
        }
    }
}

/// A pod's namespace exists, whether or not a manifest describes it.
fn imply_namespaces(objects: &mut BTreeMap<ObjectRef, Object>) {
    let implied: Vec<_> = objects
        .values()
        .filter_map(|object| if let Object::Pod(pod) = object { Some(pod.namespace.clone()) } else { None })
        .collect();
    for name in implied {
        let labels = [(NAMESPACE_NAME_LABEL, name.as_str())].into();
        let namespace = Object::from(Namespace { name, labels });
        objects.entry(namespace.reference()).or_insert(namespace);
    }
}

/// What changed, first what is gone; both are in the order of names.
fn difference(before: &[Object], now: &BTreeMap<ObjectRef, Object>) -> Vec<ClusterChange> {
    let mut before = before.iter().map(|object| (object.reference(), object)).peekable();
    let (mut gone, mut changed) = (Vec::new(), Vec::new());
    for (reference, object) in now {
        while let Some((reference, _)) = before.next_if(|(held, _)| held < reference) {
            gone.push(ClusterChange::Delete { object: reference });
        }
        let known = before.next_if(|(held, _)| held == reference);
        if known.is_none_or(|(_, known)| known != object) {
            changed.push(ClusterChange::Apply { object: object.clone() });
        }
    }
    gone.extend(before.map(|(reference, _)| ClusterChange::Delete { object: reference }));
    gone.append(&mut changed);
    gone
}

/// The objects of one file, whose name says whether it is JSON.
pub(crate) fn parse(path: &Path, bytes: Vec<u8>) -> Result<Vec<Object>, Vec<Problem>> {
    let content = Content::parse(path, bytes)?;
    Ok(content.objects.into_iter().map(|placed| placed.object).collect())
}
