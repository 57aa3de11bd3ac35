//! Network namespaces: opening, naming by inode, entering.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use egress_core::node::NodeChange;

use super::network;

/// The namespace of process 1: the host's, where the agent shares the host's process namespace.
const OF_INIT: &str = "/proc/1/ns/net";
/// The namespace of the calling thread.
const OF_THREAD: &str = "/proc/thread-self/ns/net";
/// `NS_GET_NSTYPE` of `include/uapi/linux/nsfs.h`.
const NS_GET_NSTYPE: libc::Ioctl = 0xb703;

/// What can go wrong with a network namespace.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// The path cannot be opened.
    #[error("cannot open network namespace {}: {source}{}", path.display(), hint(source, "CAP_SYS_PTRACE"))]
    Open {
        /// Path.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
    /// The path names something else.
    #[error("{} is not a network namespace", path.display())]
    NotNetns {
        /// Path.
        path: PathBuf,
    },
    /// The thread cannot enter it.
    #[error("cannot enter network namespace {}: {source}{}", path.display(), hint(source, "CAP_SYS_ADMIN"))]
    Enter {
        /// Path.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
    /// No thread could be started to enter it.
    #[error("cannot start a thread for network namespace {}: {source}", path.display())]
    Thread {
        /// Path.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
}

/// Names the capability that would have helped.
fn hint(error: &io::Error, capability: &str) -> String {
    if error.kind() == io::ErrorKind::PermissionDenied {
        format!(" (needs {capability})")
    } else {
        String::new()
    }
}

/// A network namespace, held open: its inode number cannot be reused meanwhile.
#[derive(Debug)]
pub struct Netns {
    path: PathBuf,
    file: File,
    inode: u32,
}

impl Netns {
    /// Opens the namespace at a path such as `/run/netns/x` or `/proc/PID/ns/net`.
    ///
    /// # Errors
    /// The path cannot be opened, or is no network namespace.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, NetnsError> {
        let path = path.as_ref().to_owned();
        // Non-blocking, so that a path that names a FIFO cannot hang the agent.
        let file = match OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path) {
            Ok(file) => file,
            Err(source) => return Err(NetnsError::Open { path, source }),
        };
        // SAFETY: the request takes no argument and only reads the type of the namespace behind the descriptor.
        let kind = unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE) };
        if kind != libc::CLONE_NEWNET {
            return Err(NetnsError::NotNetns { path });
        }
        let inode = match file.metadata() {
            Ok(metadata) => metadata.ino(),
            Err(source) => return Err(NetnsError::Open { path, source }),
        };
        // Namespace inode numbers are `unsigned int` in the kernel (`struct ns_common`).
        let Ok(inode) = u32::try_from(inode) else {
            return Err(NetnsError::NotNetns { path });
        };
        Ok(Self { path, file, inode })
    }

    /// Another handle of the same namespace.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn duplicate(&self) -> Result<Self, NetnsError> {
        match self.file.try_clone() {
            Ok(file) => Ok(Self { path: self.path.clone(), file, inode: self.inode }),
            Err(source) => Err(NetnsError::Open { path: self.path.clone(), source }),
        }
    }

    /// The namespace of the calling thread.
    ///
    /// # Errors
    /// `/proc` is not mounted.
    pub fn of_thread() -> Result<Self, NetnsError> {
        Self::open(OF_THREAD)
    }

    /// The node's namespace: the given one, else that of process 1, else (with a note that says so) our own.
    ///
    /// # Errors
    /// The given path cannot be opened, or nothing can.
    pub fn of_node(path: Option<&Path>) -> Result<(Self, Option<String>), NetnsError> {
        if let Some(path) = path {
            return Ok((Self::open(path)?, None));
        }
        match Self::open(OF_INIT) {
            Ok(netns) => Ok((netns, None)),
            Err(error) => {
                let own = Self::of_thread()?;
                let note = format!("{error}; taking the agent's own network namespace as the node's");
                Ok((own, Some(note)))
            }
        }
    }

    /// Inode number, as the kernel's records carry it (`net.ns.inum`).
    #[must_use]
    pub fn inode(&self) -> u32 {
        self.inode
    }

    /// Path it was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Moves the calling thread into this namespace; does nothing (and needs no privilege) if it is there already.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn enter(&self) -> Result<(), NetnsError> {
        if Self::of_thread().is_ok_and(|current| current.inode == self.inode) {
            return Ok(());
        }
        // SAFETY: the descriptor is open and names a network namespace; only this thread is moved.
        if unsafe { libc::setns(self.file.as_raw_fd(), libc::CLONE_NEWNET) } == 0 {
            Ok(())
        } else {
            Err(NetnsError::Enter { path: self.path.clone(), source: io::Error::last_os_error() })
        }
    }

    /// Runs something inside this namespace, on a short-lived thread, and waits for it.
    ///
    /// # Errors
    /// The namespace cannot be entered.
    pub fn run<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new()
                .name("netns".to_owned())
                .spawn_scoped(scope, || self.enter().map(|()| inside()))
                .map_err(|source| NetnsError::Thread { path: self.path.clone(), source })?;
            match thread.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Name and MTU of the first device inside that is not the loopback (such as `eth0`), if it can be read.
    #[must_use]
    pub fn first_device(&self) -> Option<(String, u32)> {
        self.run(network::first_device).ok().flatten()
    }
}

/// What a pod's `netns_path` turns out to be.
///
/// # Errors
/// The path cannot be opened, or is no network namespace.
pub fn of_pod(namespace: &str, name: &str, path: impl AsRef<Path>) -> Result<NodeChange, NetnsError> {
    let netns = Netns::open(path)?;
    let (device, mtu) = netns.first_device().unzip();
    Ok(NodeChange::PodNetns {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        netns: netns.inode(),
        device,
        mtu: mtu.unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threads_own_namespace_opens_and_entering_it_changes_nothing() {
        let own = Netns::of_thread().unwrap();
        own.enter().unwrap();
        assert_eq!(own.run(|| Netns::of_thread().unwrap().inode()).unwrap(), own.inode());
    }

    #[test]
    fn a_path_that_is_none_is_named_in_the_error() {
        let missing = Netns::open("/nowhere/netns").unwrap_err();
        assert_eq!(
            missing.to_string(),
            "cannot open network namespace /nowhere/netns: No such file or directory (os error 2)"
        );
        let other = Netns::open("/proc/self/status").unwrap_err();
        assert_eq!(other.to_string(), "/proc/self/status is not a network namespace");
        let other_kind = Netns::open("/proc/self/ns/uts").unwrap_err();
        assert_eq!(other_kind.to_string(), "/proc/self/ns/uts is not a network namespace");
    }

    #[test]
    fn the_nodes_namespace_is_the_given_one_or_one_that_can_be_read() {
        let own = Netns::of_thread().unwrap();
        let (given, note) = Netns::of_node(Some(Path::new(OF_THREAD))).unwrap();
        assert_eq!((given.inode(), note), (own.inode(), None));
        let (found, note) = Netns::of_node(None).unwrap();
        assert_eq!(note.is_some(), found.path() == Path::new(OF_THREAD));
    }
}
