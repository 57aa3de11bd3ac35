//! Where the cgroup trees are mounted.

use std::path::{Path, PathBuf};

/// Mounted trees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roots {
    /// The tree of cgroups v2, whose directories' inode numbers sockets carry.
    pub unified: Option<PathBuf>,
    /// A tree of v1 that lists processes, where kubelet keeps pods in v1.
    pub legacy: Option<PathBuf>,
}

impl Roots {
    /// The given tree, else what is mounted.
    #[must_use]
    pub fn find(given: Option<&Path>) -> Self {
        if let Some(given) = given {
            return Self::at(given);
        }
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        Self::from_mounts(&mounts)
    }

    /// What is at a folder: a tree of v2, or, as systemd mounts them, trees of v1 with one of v2 beside them. They must not
    /// be taken for one another: each counts its cgroups from 1, and sockets carry the numbers of v2.
    fn at(folder: &Path) -> Self {
        // Every folder of a tree of v2 has this file, and none of v1 does.
        let unified = [folder.to_owned(), folder.join("unified")]
            .into_iter()
            .find(|path| path.join("cgroup.controllers").is_file());
        let legacy = ["pids", "memory"].map(|name| folder.join(name));
        let legacy = legacy.into_iter().find(|path| path.join("cgroup.procs").is_file());
        Self { unified, legacy }
    }

    /// From the text of `/proc/self/mountinfo`: `36 35 98:0 ROOT POINT OPTIONS … - TYPE SOURCE SUPER`.
    fn from_mounts(text: &str) -> Self {
        let mut roots = Self::default();
        for line in text.lines() {
            let Some((before, after)) = line.split_once(" - ") else { continue };
            let Some(point) = before.split(' ').nth(4) else { continue };
            let mut after = after.split(' ');
            let (kind, options) = (after.next().unwrap_or_default(), after.nth(1).unwrap_or_default());
            match kind {
                "cgroup2" if roots.unified.is_none() => roots.unified = Some(point.into()),
                "cgroup"
                    if roots.legacy.is_none()
                        && options.split(',').any(|o| ["pids", "memory"].contains(&o)) =>
                {
                    roots.legacy = Some(point.into());
                }
                _ => {}
            }
        }
        roots
    }

    /// Where it looks, or that it has nowhere to look, in words.
    #[must_use]
    pub fn words(&self) -> String {
        match (&self.unified, &self.legacy) {
            (Some(unified), None) => format!("cgroups v2 at {}", unified.display()),
            (Some(unified), Some(legacy)) => {
                format!("cgroups v2 at {}, v1 at {}", unified.display(), legacy.display())
            }
            (None, Some(legacy)) => format!("cgroups v1 at {}", legacy.display()),
            (None, None) => "no cgroup tree is there".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_of_pure_and_mixed_hosts_are_found() {
        let pure = "26 25 0:22 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        let roots = Roots::from_mounts(pure);
        assert_eq!(roots.unified.as_deref(), Some(Path::new("/sys/fs/cgroup")));
        assert_eq!(roots.legacy, None);
        let mixed = "30 25 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                     31 25 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                     32 25 0:28 / /sys/fs/cgroup/unified rw - cgroup2 none rw\n";
        let roots = Roots::from_mounts(mixed);
        assert_eq!(roots.words(), "cgroups v2 at /sys/fs/cgroup/unified, v1 at /sys/fs/cgroup/memory");
        assert_eq!(Roots::from_mounts("nonsense\n1 2 3 - cgroup2").words(), "no cgroup tree is there");
    }

    #[test]
    fn a_given_folder_is_told_by_what_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let found = || Roots::find(Some(folder.path()));
        assert_eq!(found(), Roots::default(), "nothing there");
        std::fs::create_dir_all(folder.path().join("unified")).unwrap();
        std::fs::create_dir_all(folder.path().join("memory")).unwrap();
        std::fs::write(folder.path().join("memory/cgroup.procs"), "").unwrap();
        std::fs::write(folder.path().join("unified/cgroup.controllers"), "").unwrap();
        assert_eq!(found().unified, Some(folder.path().join("unified")), "not the folder of the v1 trees");
        assert_eq!(found().legacy, Some(folder.path().join("memory")));
        std::fs::write(folder.path().join("cgroup.controllers"), "").unwrap();
        assert_eq!(found().unified.as_deref(), Some(folder.path()));
    }
}
