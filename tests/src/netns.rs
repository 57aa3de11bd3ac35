//! Network namespaces: made, entered and removed under names of our own.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::tools;

/// A named network namespace below `/run/netns`, removed when dropped.
#[derive(Debug)]
pub struct Netns {
    name: String,
    path: PathBuf,
    file: File,
}

impl Netns {
    /// Makes a namespace with its loopback up. The name must be new on this machine.
    pub fn create(name: &str) -> Result<Self> {
        tools::run(&mut Command::new("ip"), &["netns", "add", name])?;
        let path = Path::new("/run/netns").join(name);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) => {
                remove(name);
                return Err(error).with_context(|| format!("opening {}", path.display()));
            }
        };
        let netns = Self { name: name.to_owned(), path, file };
        netns.ip(&["link set lo up"])?;
        Ok(netns)
    }

    /// The name below `/run/netns`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The path that `setns` takes.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Applies `ip` commands in one batch, in order; the first that fails fails all.
    pub fn ip<S: AsRef<str>>(&self, commands: &[S]) -> Result<()> {
        let mut batch = String::new();
        for command in commands {
            batch.push_str(command.as_ref());
            batch.push('\n');
        }
        let mut ip = Command::new("ip");
        ip.args(["-n", &self.name]);
        tools::feed(&mut ip, &["-batch", "-"], &batch)
    }

    /// Loads an nftables script, all or nothing.
    pub fn nft(&self, script: &str) -> Result<()> {
        tools::feed(&mut self.command("nft"), &["-f", "-"], script)
    }

    /// Sets sysctls given as (path below `/proc/sys`, value).
    pub fn sysctl<K: AsRef<str> + Sync>(&self, settings: &[(K, &str)]) -> Result<()> {
        self.enter(|| {
            for (key, value) in settings {
                // `/proc/sys/net` shows the namespace of the thread that opens it.
                let path = Path::new("/proc/sys").join(key.as_ref());
                std::fs::write(&path, value)
                    .with_context(|| format!("writing {value} to {}", path.display()))?;
            }
            Ok(())
        })
    }

    /// Runs `body` on a thread of its own inside the namespace. It must not start processes that outlive it.
    pub fn enter<T: Send>(&self, body: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let fd = self.file.as_raw_fd();
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                setns(fd).context("entering a network namespace")?;
                body()
            });
            match thread.join() {
                Ok(result) => result,
                Err(_) => bail!("a thread inside namespace {} panicked", self.name),
            }
        })
    }

    /// A command that will run inside the namespace and die with the calling thread.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.stdin(Stdio::null());
        let fd = self.file.as_raw_fd();
        // SAFETY: only async-signal-safe system calls run between fork and exec, and `fd` stays open as long as
        // `self` lives; a command kept longer fails with EBADF at spawn.
        unsafe {
            command.pre_exec(move || {
                setns(fd)?;
                tools::prepare_child()
            })
        };
        command
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// Removes a named namespace; one that is gone already is fine.
pub fn remove(name: &str) {
    // Failure leaves a name behind that the next sweep finds; there is nothing better to do while dropping.
    let _ = Command::new("ip").args(["netns", "del", name]).stderr(Stdio::null()).status();
}

/// Moves the calling thread into the namespace.
fn setns(fd: RawFd) -> io::Result<()> {
    // SAFETY: a plain system call on a descriptor; on failure the thread stays where it was.
    if unsafe { libc::setns(fd, libc::CLONE_NEWNET) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
