//! What can go wrong between us and the kernel: each one line that names the thing.

use std::io;
use std::path::PathBuf;

/// Why the kernel side does not work.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The agent was built without the object.
    #[error("built without the eBPF programs: run `cargo xtask build-ebpf` and build again")]
    NotBuilt,
    /// The kernel does not describe its types.
    #[error("no BTF at {path}: {source} (the kernel needs CONFIG_DEBUG_INFO_BTF)")]
    NoBtf {
        /// Where it was looked for.
        path: PathBuf,
        /// Why it could not be read.
        source: io::Error,
    },
    /// The kernel describes its types in a way we do not understand.
    #[error("BTF at {path} is malformed: {what}")]
    BadBtf {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// The kernel refused for want of privileges.
    #[error("not permitted: {what} (missing: {missing})")]
    Privileges {
        /// What was tried.
        what: String,
        /// The capabilities that this process lacks.
        missing: String,
    },
    /// The object could not be loaded.
    #[error("cannot load the eBPF object: {0}")]
    Object(String),
    /// The programs were built with other record layouts.
    #[error("the eBPF programs speak version {found} of the records, the agent {expected}: build both anew")]
    Abi {
        /// What the programs say.
        found: u32,
        /// What the agent understands.
        expected: u32,
    },
    /// A map could not be made, read or written.
    #[error("map {map}: {source}")]
    Map {
        /// Name of the map.
        map: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A map is full.
    #[error("map {map} is full ({limit} entries)")]
    Full {
        /// Name of the map.
        map: &'static str,
        /// Its size.
        limit: u32,
    },
    /// A device could not be tapped.
    #[error("device {device}: {what}")]
    Device {
        /// Its name.
        device: String,
        /// Why.
        what: String,
    },
    /// A system call failed.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl ProbeError {
    /// A failed system call, from `errno`.
    pub(super) fn last_os(what: &'static str) -> Self {
        Self::System { what, source: io::Error::last_os_error() }
    }
}

/// The deepest cause of an error: loaders wrap the kernel's answer several times.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let inner = source.to_string();
        if !text.contains(&inner) {
            text.push_str(": ");
            text.push_str(&inner);
        }
        next = source.source();
    }
    one_line(&text)
}

/// A verifier's log is long: of it, only the verdict, which stands before the statistics.
fn one_line(text: &str) -> String {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let Some(first) = lines.next() else {
        return String::new();
    };
    let statistics = ["verification time", "stack depth", "processed ", "\""];
    let rest: Vec<&str> =
        lines.filter(|line| !statistics.iter().any(|word| line.starts_with(word))).collect();
    if rest.is_empty() {
        return first.to_owned();
    }
    let head = first.split("Verifier output").next().unwrap_or(first).trim_end_matches([' ', '.', ':']);
    let tail = &rest[rest.len().saturating_sub(2)..];
    format!("{head}: {}", tail.join(": "))
}

/// Whether the kernel said "not permitted" somewhere down the chain. (`EACCES` is what the verifier says.)
pub(super) fn is_not_permitted(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = next {
        if let Some(io) = current.downcast_ref::<io::Error>()
            && io.raw_os_error() == Some(libc::EPERM)
        {
            return true;
        }
        next = current.source();
    }
    false
}
