//! The cgroup tree as it was read last.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};

use egress_core::node::Owner;

use super::path;
use super::root::Roots;

/// Directories read at most.
const DIRECTORIES: usize = 32_768;
/// Levels read at most.
const DEPTH: usize = 16;

/// Directories by inode number, and those of pods by UID.
#[derive(Debug)]
pub(super) struct Tree {
    roots: Roots,
    root_inode: u64,
    by_inode: HashMap<u64, Option<Owner>>,
    by_uid: HashMap<String, Vec<PathBuf>>,
}

impl Tree {
    pub(super) fn new(roots: Roots) -> Self {
        Self { roots, root_inode: 0, by_inode: HashMap::new(), by_uid: HashMap::new() }
    }

    /// Reads it anew. What cannot be read is left out: cgroups come and go meanwhile.
    pub(super) fn read(&mut self) {
        self.by_inode.clear();
        self.by_uid.clear();
        let roots = self.roots.clone();
        if let Some(root) = &roots.unified {
            self.root_inode = fs::metadata(root).map_or(0, |metadata| metadata.ino());
            self.by_inode.insert(self.root_inode, None);
            self.walk(root, true);
        }
        // Pods whose processes are to be found, and that v2 does not show.
        if let Some(root) = roots.legacy.as_ref().filter(|_| self.by_uid.is_empty()) {
            self.walk(root, false);
        }
    }

    fn walk(&mut self, root: &Path, with_inodes: bool) {
        let mut left = DIRECTORIES;
        let mut open = vec![(root.to_owned(), 0)];
        while let Some((directory, depth)) = open.pop() {
            for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
                if left == 0 || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    continue;
                }
                left -= 1;
                let found = entry.path();
                let below = found.strip_prefix(root).unwrap_or(&found);
                let owner = path::owner(&below.to_string_lossy());
                if let Some(owner) = &owner {
                    self.by_uid.entry(owner.pod_uid.clone()).or_default().push(found.clone());
                }
                if with_inodes {
                    self.by_inode.insert(entry.ino(), owner);
                }
                if depth + 1 < DEPTH {
                    open.push((found, depth + 1));
                }
            }
        }
    }

    /// Whether a cgroup of this id was there.
    pub(super) fn knows(&self, id: u64) -> bool {
        self.by_inode.contains_key(&id)
    }

    /// Whose the cgroup of this id is.
    pub(super) fn owner(&self, id: u64) -> Option<&Owner> {
        self.by_inode.get(&id)?.as_ref()
    }

    /// The cgroup of this id is one that somebody made.
    pub(super) fn is_below_root(&self, id: u64) -> bool {
        id != self.root_inode && self.knows(id)
    }

    /// Whether a pod of this UID has cgroups.
    pub(super) fn has_pod(&self, uid: &str) -> bool {
        self.by_uid.contains_key(uid)
    }

    /// The processes in a pod's cgroups.
    pub(super) fn processes_of(&self, uid: &str) -> Vec<u32> {
        let directories = self.by_uid.get(uid).into_iter().flatten();
        let listed = directories.filter_map(|path| fs::read_to_string(path.join("cgroup.procs")).ok());
        // A process of another process namespace is listed as 0.
        listed
            .flat_map(|text| text.lines().filter_map(|line| line.parse().ok()).collect::<Vec<u32>>())
            .filter(|pid| *pid != 0)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "1b2c3d4e-0001-4002-8003-a0b0c0d0e0f0";

    #[test]
    fn a_directory_is_known_by_its_inode_and_a_pod_by_its_uid() {
        let folder = tempfile::tempdir().unwrap();
        let id = "cd".repeat(32);
        let container = folder.path().join(format!("kubepods/burstable/pod{UID}/{id}"));
        fs::create_dir_all(&container).unwrap();
        fs::write(container.join("cgroup.procs"), "0\n41\n7\n").unwrap();
        let other = folder.path().join("system.slice");
        fs::create_dir(&other).unwrap();
        let roots = Roots { unified: Some(folder.path().to_owned()), legacy: None };
        let mut tree = Tree::new(roots);
        let inode = |path: &Path| fs::metadata(path).unwrap().ino();
        assert!(!tree.knows(inode(&container)));
        tree.read();
        let owner = tree.owner(inode(&container)).unwrap();
        assert_eq!((owner.pod_uid.as_str(), owner.container.as_deref()), (UID, Some(id.as_str())));
        assert!(tree.is_below_root(inode(&other)) && tree.owner(inode(&other)).is_none());
        assert!(tree.knows(inode(folder.path())) && !tree.is_below_root(inode(folder.path())));
        assert_eq!(tree.processes_of(UID), [41, 7]);
        fs::remove_dir_all(folder.path().join("kubepods")).unwrap();
        tree.read();
        assert!(!tree.has_pod(UID));
    }
}
