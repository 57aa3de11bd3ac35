//! What is told of a failed name resolution.

use std::net::IpAddr;
use std::time::Duration;

use crate::verdict::SocketAddress;

/// A failed name resolution.
#[derive(Clone, Debug, PartialEq)]
pub struct DnsFailure {
    /// Name as the application asked it.
    pub name: String,
    /// How it failed.
    pub outcome: DnsOutcome,
    /// Names as they were asked on the wire, in order.
    pub asked: Vec<String>,
    /// Types asked.
    pub kinds: Vec<String>,
    /// Servers that were asked and did not help.
    pub servers: Vec<SocketAddress>,
    /// What else is known of it.
    pub facts: Facts,
}

impl DnsFailure {
    /// The name resolved: nothing is wrong (any more).
    pub(in crate::flow) fn resolved(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            outcome: DnsOutcome::NoError,
            asked: Vec::new(),
            kinds: Vec::new(),
            servers: Vec::new(),
            facts: Facts::default(),
        }
    }
}

/// What else is known of a failed name resolution.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Response code of the answer that tells most.
    pub code: Option<u16>,
    /// Types of the same name that were answered while others were not.
    pub answered: Vec<String>,
    /// Types that were not answered.
    pub unanswered: Vec<String>,
    /// How often one of a pair of questions of this pod to this server was lost of late, this time included.
    pub pair_losses: u64,
    /// It was answered after all, this long after it was first asked.
    pub slow: Option<Duration>,
    /// An answer came this long after its question and found nobody waiting.
    pub late: Option<Duration>,
    /// An answer came that the client cannot take for one.
    pub stray: Option<Stray>,
    /// Nobody listens: who said so.
    pub closed: Option<Closed>,
    /// The UDP size that was offered, where large answers die and small ones live.
    pub size: Option<AnswerSize>,
    /// What became of the question over TCP after a cut answer.
    pub tcp: Option<TcpFate>,
    /// Whom the server asked for the same name, in order of the way.
    pub chain: Vec<Link>,
    /// Answers of this server to this pod took more than a second lately: how many, and the longest.
    pub slow_answers: Option<(u64, Duration)>,
}

/// How name resolution ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DnsOutcome {
    /// Answered.
    NoError,
    /// The name does not exist.
    NxDomain,
    /// The name exists without a record of these types.
    NoData,
    /// The answer did not fit and was not asked again over TCP.
    Truncated,
    /// The server would not answer.
    Refused,
    /// The server could not answer.
    ServFail,
    /// No answer.
    Timeout,
}

impl DnsOutcome {
    /// The word of the contract.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoError => "noerror",
            Self::NoData => "nodata",
            Self::NxDomain => "nxdomain",
            Self::Truncated => "truncated",
            Self::Refused => "refused",
            Self::ServFail => "servfail",
            Self::Timeout => "timeout",
        }
    }

    /// It settles what was asked: a resolver goes to no other server after it.
    #[must_use]
    pub const fn is_definitive(self) -> bool {
        matches!(self, Self::NoError | Self::NxDomain | Self::NoData)
    }
}

/// An answer that no client takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stray {
    /// From another address than the one that was asked.
    Address(IpAddr),
    /// With another identifier than the question's.
    Identifier,
}

/// Nothing listens where the question went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// An ICMP port-unreachable of this address said so.
    Icmp(IpAddr),
    /// The kernel found no socket at this address, in the namespace of a pod or of the node.
    NoSocket {
        /// Where the question arrived.
        at: SocketAddress,
        /// Network namespace.
        netns: u32,
    },
}

/// Large answers die.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerSize {
    /// Bytes that the question offered to take (EDNS0).
    pub offered: u16,
    /// The first fragment of an answer was seen to come to this node, and the answer did not reach the pod.
    pub fragment_seen: bool,
}

/// What became of a question over TCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TcpFate {
    /// The SYN (or its answer) was dropped on this node: the kernel's reason.
    Dropped(String),
    /// No answer to the SYN.
    Unanswered,
    /// Reset.
    Refused,
    /// ICMP error.
    Unreachable,
    /// Connected, and the question stayed without an answer.
    Silent,
}

/// A server's own question for the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Who asked.
    pub asker: IpAddr,
    /// Whom, one after the other.
    pub servers: Vec<SocketAddress>,
    /// What came of it.
    pub outcome: LinkOutcome,
}

/// What came of a server's own question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkOutcome {
    /// It was answered so.
    Answered(DnsOutcome),
    /// No answer.
    Silent,
    /// It (or its answer) was dropped on this node.
    Dropped,
}

impl LinkOutcome {
    /// The word of the contract.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered(outcome) => outcome.as_str(),
            Self::Silent => "timeout",
            Self::Dropped => "dropped",
        }
    }

    /// It is why the server could not answer.
    #[must_use]
    pub const fn failed(self) -> bool {
        !matches!(self, Self::Answered(outcome) if outcome.is_definitive())
    }
}
