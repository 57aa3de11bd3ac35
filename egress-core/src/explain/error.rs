//! Questions that cannot be answered.

use thiserror::Error;

/// Why `explain` has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ExplainError {
    /// The source names no pod.
    #[error("no such pod: {name}{hint}")]
    NoSuchPod {
        /// As asked.
        name: String,
        /// What it is instead, if known; begins with a separator, or empty.
        hint: String,
    },
    /// The destination names neither a pod nor a Service.
    #[error("no such pod or Service: {name}{hint}")]
    NoSuchDestination {
        /// As asked.
        name: String,
        /// What would help; begins with a separator, or empty.
        hint: String,
    },
    /// A name that several objects have.
    #[error("{name} could be {}; write which", candidates.join(" or "))]
    Ambiguous {
        /// As asked.
        name: String,
        /// In the form that is not ambiguous.
        candidates: Vec<String>,
    },
    /// Not a name at all.
    #[error("{text:?} is neither an address nor [NAMESPACE/]NAME")]
    Malformed {
        /// As asked.
        text: String,
    },
    /// Both ends are ranges of addresses.
    #[error("{from} and {to} are both ranges of addresses: name one pod or address of one of them")]
    TwoRanges {
        /// The source.
        from: String,
        /// The destination.
        to: String,
    },
    /// Policies and objects cut a range into very many parts.
    #[error("policies and pods cut {range} into {parts} parts: ask for a smaller range")]
    TooManyParts {
        /// The range.
        range: String,
        /// How many there are.
        parts: usize,
    },
    /// One end has IPv4 addresses only and the other IPv6 only.
    #[error("{from} and {to} have no address of the same family")]
    NoCommonFamily {
        /// The source.
        from: String,
        /// The destination.
        to: String,
    },
}

impl ExplainError {
    /// The object asked about does not exist (exit status 3).
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NoSuchPod { .. } | Self::NoSuchDestination { .. })
    }
}
