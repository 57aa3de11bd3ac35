//! The conntrack table of a namespace, and the rules that translate sources there.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::protocol::Protocol;
use crate::verdict::SocketAddress;

/// A destination as translated flows reach it: each of them needs a port of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Towards {
    /// Protocol.
    pub protocol: Protocol,
    /// The source after translation.
    pub source: IpAddr,
    /// The destination after translation.
    pub destination: SocketAddress,
}

/// State of a conntrack table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Entries of this namespace (`nf_conntrack_count`).
    pub entries: u32,
    /// Most entries that a namespace can have (`nf_conntrack_max`).
    pub limit: u32,
    /// The counters below are of so much time before the answer, milliseconds.
    pub window_ms: u32,
    /// Packets that conntrack dropped (`drop`), failed insertions included.
    pub dropped: u64,
    /// Entries that could not be inserted because another one has the same tuple (`insert_failed`).
    pub insert_failed: u64,
    /// Entries that were thrown out early to make room (`early_drop`).
    pub early_drops: u64,
    /// Who opened the entries: address and how many, the most first. Empty where nobody counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holders: Vec<Holder>,
    /// Ports that translation uses towards the destination that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<PortsInUse>,
}

/// An address and the entries it opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Source of the original tuple.
    pub ip: IpAddr,
    /// How many entries.
    pub entries: u32,
}

/// Ports in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortsInUse {
    /// How many different ones, of any number.
    pub count: u32,
    /// How many within the ranges that rules give.
    pub ranges: Vec<RangeInUse>,
    /// Who uses them, the most first.
    pub holders: Vec<Holder>,
}

/// How much of a range of ports is in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeInUse {
    /// The lowest port of the range.
    pub lowest: u16,
    /// The highest.
    pub highest: u16,
    /// How many are in use.
    pub count: u32,
    /// Who uses them, the most first.
    pub holders: Vec<Holder>,
}

/// Rules that translate the source of what leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Translations {
    /// The rules, as far as they could be read.
    pub rules: Vec<TranslationRule>,
    /// What could not be read, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<String>,
}

/// A rule that translates the source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TranslationRule {
    /// `ip`, `ip6`, `inet`.
    pub family: String,
    /// `family table chain`, and its handle.
    pub place: String,
    /// `masquerade`, `snat to 192.0.2.10`.
    pub action: String,
    /// The ports it may use; `None`: any.
    pub ports: Option<(u16, u16)>,
    /// Its comment, if any.
    pub comment: Option<String>,
}

impl TranslationRule {
    /// It can translate packets of this family.
    #[must_use]
    pub fn fits(&self, v6: bool) -> bool {
        match self.family.as_str() {
            "ip" => !v6,
            "ip6" => v6,
            _ => true,
        }
    }
}

impl std::fmt::Display for TranslationRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.place, self.action)?;
        if let Some((low, high)) = self.ports {
            write!(f, " to :{low}-{high}")?;
        }
        match &self.comment {
            Some(comment) => write!(f, " ({comment})"),
            None => Ok(()),
        }
    }
}
