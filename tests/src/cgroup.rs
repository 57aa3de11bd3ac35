//! Cgroups of pods, as a container runtime makes them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A container's cgroup below that of its pod, removed when dropped.
#[derive(Debug)]
pub struct PodCgroup {
    top: PathBuf,
    container: PathBuf,
}

impl PodCgroup {
    /// Makes the cgroup of a container, named as the systemd driver and containerd do, below one of the lab's own.
    pub(crate) fn create(tag: &str, pod_uid: &str, container_id: &str) -> Result<Self> {
        let top = root().context("no cgroup2 hierarchy is mounted")?.join(tag);
        let pod = format!("kubepods-besteffort-pod{}.slice", pod_uid.replace('-', "_"));
        let container = top
            .join("kubepods.slice/kubepods-besteffort.slice")
            .join(pod)
            .join(format!("cri-containerd-{container_id}.scope"));
        fs::create_dir_all(&container).with_context(|| format!("making {}", container.display()))?;
        Ok(Self { top, container })
    }

    /// The folder that a process of the container moves to.
    pub fn folder(&self) -> &Path {
        &self.container
    }
}

impl Drop for PodCgroup {
    fn drop(&mut self) {
        remove(&self.top);
    }
}

/// Where cgroup2 is mounted.
pub fn root() -> Option<PathBuf> {
    let candidates = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(PathBuf::from);
    candidates.into_iter().find(|path| path.join("cgroup.controllers").exists())
}

/// Why there can be no cgroups of pods here, if so.
pub fn missing() -> Option<String> {
    root().is_none().then(|| "no cgroup2 hierarchy is mounted".to_owned())
}

/// Removes a cgroup with all below it; gone already is fine, and one with a process stays for the next sweep.
pub(crate) fn remove(top: &Path) {
    for entry in fs::read_dir(top).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    let _ = fs::remove_dir(top);
}
