//! States of the kernel that are read when a failure needs them: how full a queue is, what a sysctl says, whether a
//! namespace has a route. The pipeline asks, the agent answers with [`super::NodeChange::Reading`].

use std::collections::HashMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Route;
use crate::protocol::Protocol;
use crate::time::Mono;
use crate::verdict::SocketAddress;

/// Answers kept at most; older ones are of no use to anybody.
const CAPACITY: usize = 1024;

/// What is asked. `netns` is the inode number of the namespace in which it is to be read.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "ask")]
pub enum Question {
    /// The value of a sysctl, by its dotted name.
    Setting {
        /// Namespace.
        netns: u32,
        /// Name; a dot within a device's name is written as `/`, as `sysctl` has it.
        name: String,
    },
    /// The queue of the socket that receives what is sent to this address: a TCP listener's backlog, a UDP
    /// socket's receive buffer.
    Socket {
        /// Namespace.
        netns: u32,
        /// TCP or UDP.
        protocol: Protocol,
        /// Where it is bound to (or to any address with this port).
        address: SocketAddress,
    },
    /// The queueing discipline of a device, and the device's own state.
    Device {
        /// Namespace.
        netns: u32,
        /// `ifindex`
        index: u32,
    },
    /// The route to an address.
    Route {
        /// Namespace.
        netns: u32,
        /// Destination.
        to: IpAddr,
    },
    /// The link-layer address of a next hop.
    Neighbour {
        /// Namespace.
        netns: u32,
        /// Device.
        index: u32,
        /// Next hop.
        ip: IpAddr,
    },
}

impl Question {
    /// The namespace in which it is asked.
    #[must_use]
    pub const fn netns(&self) -> u32 {
        match self {
            Self::Setting { netns, .. }
            | Self::Socket { netns, .. }
            | Self::Device { netns, .. }
            | Self::Route { netns, .. }
            | Self::Neighbour { netns, .. } => *netns,
        }
    }
}

/// A question with its answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// What was asked.
    pub question: Question,
    /// `None`: it could not be read, or there is no such thing.
    pub answer: Option<Answer>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Answer {
    /// A sysctl's value.
    Setting {
        /// As it reads, trimmed.
        value: String,
    },
    /// A socket's queue.
    Socket(Queue),
    /// A device and its root queueing discipline.
    Device {
        /// Name.
        name: String,
        /// Up, and something is at its other end.
        usable: bool,
        /// `IFLA_TXQLEN`, packets.
        txqueuelen: u32,
        /// Kind of the root queueing discipline (`tbf`, `fq_codel`, `noqueue`); empty if not known.
        qdisc: String,
        /// Bytes waiting in it.
        backlog: u32,
        /// Packets it has dropped so far.
        drops: u32,
        /// Its limit as `tc` writes it (`limit 100b`), where its kind has one that is read.
        limit: Option<String>,
    },
    /// What routing says.
    Route(RouteAnswer),
    /// A neighbour's state.
    Neighbour {
        /// `reachable`, `stale`, `incomplete`, `failed`, …
        state: String,
    },
}

/// How full a socket's queue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// What waits: connections of a listener, bytes of memory of a UDP socket.
    pub queued: u32,
    /// The most that may wait: the backlog, or `SO_RCVBUF` as the kernel counts it.
    pub limit: u32,
    /// Packets the socket has dropped so far; 0 where not counted.
    pub drops: u32,
}

/// What a namespace's routing says to an address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteAnswer {
    /// Why it has none.
    pub refused: Option<Refusal>,
    /// The route that decides: that leads there, or that refuses.
    pub route: Option<Route>,
    /// Name of its device.
    pub device: Option<String>,
    /// Devices of the namespace, without the loopback, that are down or without a carrier.
    pub unusable: Vec<String>,
}

/// How routing refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// No route.
    NoRoute,
    /// A route (or rule) of type `blackhole`.
    Blackhole,
    /// `unreachable`
    Unreachable,
    /// `prohibit`
    Prohibit,
}

impl Refusal {
    /// The word of the contract.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoRoute => "no-route",
            Self::Blackhole => "blackhole",
            Self::Unreachable => "unreachable",
            Self::Prohibit => "prohibit",
        }
    }

    /// From the kernel's errno: of a route look-up, or in a record.
    #[must_use]
    pub const fn from_errno(errno: i32) -> Option<Self> {
        Some(match errno.unsigned_abs() {
            // ESRCH and EAGAIN: this table has none; ENETUNREACH: no table has.
            3 | 11 | 101 => Self::NoRoute,
            22 => Self::Blackhole,
            113 => Self::Unreachable,
            13 => Self::Prohibit,
            _ => return None,
        })
    }
}

/// The answers of late.
#[derive(Debug, Default)]
pub struct Readings {
    answers: HashMap<Question, (Mono, Option<Answer>)>,
}

impl Readings {
    /// Takes in an answer.
    pub fn note(&mut self, reading: Reading, at: Mono) {
        if self.answers.len() >= CAPACITY && !self.answers.contains_key(&reading.question) {
            self.answers.clear();
        }
        self.answers.insert(reading.question, (at, reading.answer));
    }

    /// Whether it was answered at this time or later.
    #[must_use]
    pub fn is_answered(&self, question: &Question, since: Mono) -> bool {
        self.answers.get(question).is_some_and(|(at, _)| *at >= since)
    }

    /// The last answer.
    #[must_use]
    pub fn get(&self, question: &Question) -> Option<&Answer> {
        self.answers.get(question)?.1.as_ref()
    }
}
