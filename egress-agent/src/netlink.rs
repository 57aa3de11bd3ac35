//! What the node's kernel says over netlink: devices, addresses, routes, translations and packet filters.
//!
//! Each part runs on a thread of its own inside the node's network namespace, because a netlink socket belongs
//! to the namespace of the thread that opened it. All parts share one small codec ([`wire`]) and one socket
//! ([`socket`]); they decode only the attributes they need, so an attribute of a newer kernel breaks nothing.

pub mod conntrack;
pub mod filters;
pub(crate) mod fuzzing;
mod netfilter;
pub mod netns;
pub mod network;
pub mod reading;
mod socket;
mod stop;
#[cfg(test)]
mod testing;
mod translations;
mod wire;
pub(crate) mod worker;

use std::io;

/// What can go wrong with a netlink conversation.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// A system call failed.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The error.
        source: io::Error,
    },
    /// The kernel answered a request with an error.
    #[error("{doing}: the kernel answered {source}")]
    Refused {
        /// What was being done.
        doing: &'static str,
        /// The error of the answer.
        source: io::Error,
    },
    /// The kernel's answer is not what its protocol says.
    #[error("{doing}: the kernel's answer cannot be read ({what})")]
    Malformed {
        /// What was being done.
        doing: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The namespace could not be entered.
    #[error(transparent)]
    Netns(#[from] netns::NetnsError),
}

impl NetlinkError {
    /// `errno` of the failure, if it has one.
    fn errno(&self) -> Option<i32> {
        match self {
            Self::Io { source, .. } | Self::Refused { source, .. } => source.raw_os_error(),
            Self::Malformed { .. } | Self::Netns(_) => None,
        }
    }
}
