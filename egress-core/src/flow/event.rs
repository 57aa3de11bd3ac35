//! What correlation finds.

use std::net::IpAddr;
use std::time::Duration;

use super::connection::{ResetFailure, SilenceFailure, TlsFailure};
use super::dns::DnsFailure;
use super::size::TooBig;
use crate::decode::{DropSeen, IcmpError, Tap, Tuple};
use crate::node::Refusal;
use crate::time::Mono;
use crate::verdict::SocketAddress;

/// A failure of a flow, or its success.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowEvent {
    /// When it was decided.
    pub at: Mono,
    /// The attempt it belongs to: later events of the same attempt revise the same verdict.
    pub attempt: u64,
    /// Namespace in which the client was seen, 0 if not.
    pub netns: u32,
    /// Addresses as the client used them.
    pub client: Tuple,
    /// What happened.
    pub outcome: Outcome,
    /// Failed attempts that this event adds.
    pub failed: u64,
    /// It is the first failure that is told of this attempt.
    pub first_report: bool,
    /// First failed attempt.
    pub first: Mono,
    /// Last failed attempt.
    pub last: Mono,
    /// Where it was seen.
    pub journey: Journey,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// A packet of it was dropped in this machine, and that did harm.
    Dropped {
        /// The drop.
        drop: Box<DropSeen>,
        /// Which packet it was.
        role: DropRole,
        /// DNS names that waited for it.
        names: Vec<String>,
    },
    /// No answer, and no drop seen.
    Unanswered,
    /// Reset instead of an answer.
    Refused {
        /// TTL of the reset where it was first seen.
        ttl: u8,
    },
    /// ICMP error instead of an answer.
    Unreachable {
        /// The error.
        error: IcmpError,
        /// Who sent it.
        router: IpAddr,
    },
    /// Its packets are too big for their way, and it did not mind.
    TooBig(Box<TooBig>),
    /// What was too big has arrived after all.
    Fits,
    /// The pod's own routing refused the destination: no packet was ever sent.
    Unroutable {
        /// How, as far as one table tells.
        refusal: Refusal,
    },
    /// Name resolution failed.
    Dns(Box<DnsFailure>),
    /// A listener on the pod's own loopback took its place and ended it.
    Diverted(DivertedFailure),
    /// Established; then a TLS alert ended the handshake.
    Tls(TlsFailure),
    /// Established, then reset.
    Reset(ResetFailure),
    /// Established, then nothing came back any more.
    Silence(SilenceFailure),
    /// It was answered.
    Succeeded,
    /// An established connection did its work: it was closed in order, or goes on after it had stood still.
    Served,
}

impl Outcome {
    /// It harms what was established already: that it can be established again does not heal it.
    #[must_use]
    pub const fn is_after_opening(&self) -> bool {
        matches!(
            self,
            Self::Tls(_)
                | Self::Reset(_)
                | Self::Silence(_)
                | Self::TooBig(_)
                | Self::Dropped { role: DropRole::Data, .. }
        )
    }

    /// The drop in this machine that did the harm, if there was one.
    #[must_use]
    pub fn dropped(&self) -> Option<&DropSeen> {
        match self {
            Self::Dropped { drop, .. } => Some(drop),
            Self::TooBig(found) => match &found.kind {
                super::size::SizeKind::Here(drop) => Some(drop),
                _ => None,
            },
            _ => None,
        }
    }
}

/// A connection that a listener on the pod's own loopback ended: the sidecar of a service mesh.
#[derive(Clone, Debug, PartialEq)]
pub struct DivertedFailure {
    /// How.
    pub end: DivertedEnd,
    /// The listener, where it was seen to take or refuse it.
    pub listener: Option<SocketAddress>,
    /// Command name of the process that dialled, empty if not known.
    pub command: String,
    /// Bytes that the process had sent, where the kernel tells.
    pub sent: Option<u32>,
    /// From the acceptance (for a refusal: the attempt) to the end.
    pub after: Duration,
}

/// How a diverted connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DivertedEnd {
    /// Nothing listened.
    Refused,
    /// Reset by the listener.
    Reset,
    /// Closed by the listener.
    Closed,
    /// In any other way: it served.
    Served,
}

impl DivertedEnd {
    /// The word of `detail.kind`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Closed => "closed",
            Self::Served => "served",
        }
    }
}

/// Which packet of a flow was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropRole {
    /// The one that opens it (SYN, question, echo request).
    Opening,
    /// The answer to that.
    Reply,
    /// One of an established flow that made no progress afterwards.
    Data,
}

/// Where the packets of an attempt were seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Journey {
    request: [Option<Sighting>; 4],
    answer: [Option<Sighting>; 4],
}

/// Where and as what a packet was seen first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sighting {
    /// When.
    pub at: Mono,
    /// Device.
    pub ifindex: u32,
    /// Addresses there.
    pub tuple: Tuple,
    /// TTL there.
    pub ttl: u8,
}

impl Journey {
    /// The request, where TC saw it.
    #[must_use]
    pub const fn request(&self, tap: Tap) -> Option<&Sighting> {
        self.request[tap as usize].as_ref()
    }

    /// The answer, where TC saw it.
    #[must_use]
    pub const fn answer(&self, tap: Tap) -> Option<&Sighting> {
        self.answer[tap as usize].as_ref()
    }

    /// Notes the request; the first sighting at a tap stays.
    pub const fn note_request(&mut self, tap: Tap, sighting: Sighting) {
        if self.request[tap as usize].is_none() {
            self.request[tap as usize] = Some(sighting);
        }
    }

    /// Notes the answer.
    pub const fn note_answer(&mut self, tap: Tap, sighting: Sighting) {
        if self.answer[tap as usize].is_none() {
            self.answer[tap as usize] = Some(sighting);
        }
    }
}
