//! Nothing stays behind: not after an error or a panic (drop), Ctrl-C (signal thread) or SIGKILL (next sweep).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Result, bail};

use crate::{cgroup, netns};

/// What every name of ours begins with.
const PREFIX: &str = "eg-";

/// Labs of this process that stand, by tag.
static STANDING: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// A name for the next lab of this process: `eg-<pid>-<n>`.
pub(crate) fn next_tag() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let tag = format!("{PREFIX}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    if let Ok(mut standing) = STANDING.lock() {
        standing.insert(tag.clone());
    }
    tag
}

/// A lab took itself down.
pub(crate) fn forget(tag: &str) {
    if let Ok(mut standing) = STANDING.lock() {
        standing.remove(tag);
    }
}

/// The folder of a lab.
pub(crate) fn folder(tag: &str) -> PathBuf {
    Path::new("/run/egress-lab").join(tag)
}

/// From now on SIGINT and SIGTERM take down every lab of this process before it ends with 128 + signal. Call it
/// first in `main`, while there is one thread: those started later inherit that the signals are blocked.
pub fn handle_signals() -> Result<()> {
    // SAFETY: `set` is initialised by sigemptyset before use.
    let set = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGINT);
        libc::sigaddset(&raw mut set, libc::SIGTERM);
        if libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) != 0 {
            bail!("the signal mask could not be set");
        }
        set
    };
    std::thread::spawn(move || {
        let mut signal = 0;
        // SAFETY: both pointers are to live locals.
        if unsafe { libc::sigwait(&raw const set, &raw mut signal) } == 0 {
            let standing = STANDING.lock().map(|s| s.clone()).unwrap_or_default();
            for tag in standing {
                remove(&tag);
            }
            // Children die with the threads that started them (PR_SET_PDEATHSIG).
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}

/// Removes what labs of processes that are gone have left. Returns their tags.
pub fn sweep() -> Vec<String> {
    let mut left = BTreeSet::new();
    for root in ["/run/netns", "/run/egress-lab"] {
        let Ok(entries) = fs::read_dir(root) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let mut parts = name.strip_prefix(PREFIX).unwrap_or_default().split('-');
            let (Some(pid), Some(number)) = (parts.next(), parts.next()) else { continue };
            let (Ok(pid), Ok(number)) = (pid.parse::<u32>(), number.parse::<u32>()) else { continue };
            if !is_lab(pid) {
                left.insert(format!("{PREFIX}{pid}-{number}"));
            }
        }
    }
    for tag in &left {
        remove(tag);
    }
    left.into_iter().collect()
}

/// What is there of a lab: its namespaces and its folder.
pub fn left_of(tag: &str) -> Vec<String> {
    let mut left = Vec::new();
    for root in ["/run/netns", "/run/egress-lab"] {
        let Ok(entries) = fs::read_dir(root) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name == tag || name.starts_with(&format!("{tag}-")) {
                left.push(format!("{root}/{name}"));
            }
        }
    }
    left
}

/// Whether this process id is a lab that runs.
fn is_lab(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.starts_with("egress"))
}

/// Removes the namespaces and the folder of one lab.
fn remove(tag: &str) {
    let prefix = format!("{tag}-");
    if let Ok(entries) = fs::read_dir("/run/netns") {
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(&prefix) {
                netns::remove(&name);
            }
        }
    }
    if let Some(root) = cgroup::root() {
        cgroup::remove(&root.join(tag));
    }
    // Gone already is fine.
    let _ = fs::remove_dir_all(folder(tag));
}
