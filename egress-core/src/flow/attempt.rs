//! One attempt to open a TCP connection.

use std::net::IpAddr;

use super::event::{DropRole, FlowEvent, Journey, Outcome, Sighting};
use crate::decode::{DropSeen, IcmpError, Tuple};
use crate::time::Mono;

/// What is known of one attempt.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) id: u64,
    pub(super) netns: u32,
    /// As the client sent it.
    pub(super) client: Tuple,
    /// Initial sequence number, once a SYN was seen.
    pub(super) isn: Option<u32>,
    /// Initial sequence number of the server, once a SYN-ACK was seen.
    pub(super) server_isn: Option<u32>,
    pub(super) opened: Mono,
    pub(super) last: Mono,
    /// SYNs seen leaving the client.
    pub(super) syns: u64,
    pub(super) retransmits: u64,
    /// Failed SYNs that events have told of.
    pub(super) told: u64,
    /// Was dropped, refused or told unreachable; silence then explains nothing more.
    pub(super) explained: bool,
    /// The client's socket is established, the SYN-ACK reached the client's device and nothing dropped it behind that,
    /// or the server accepted.
    pub(super) answered: bool,
    /// The client's own socket said so.
    pub(super) confirmed: bool,
    /// When the SYN-ACK went to the client's device.
    pub(super) delivered: Option<Mono>,
    /// Somebody was told that it failed.
    pub(super) failed: bool,
    /// A drop that the next SYN may survive: told only if the attempt does not go on.
    pub(super) held: Option<(Box<DropSeen>, DropRole)>,
    pub(super) journey: Journey,
    /// An ICMP error about it that came in by an uplink, and from whom.
    pub(super) refused_by: Option<(IcmpError, IpAddr, Sighting)>,
}

impl Attempt {
    pub(super) fn new(id: u64, client: Tuple, netns: u32, at: Mono) -> Self {
        Self {
            id,
            netns,
            client,
            isn: None,
            server_isn: None,
            opened: at,
            last: at,
            syns: 0,
            retransmits: 0,
            told: 0,
            explained: false,
            answered: false,
            confirmed: false,
            delivered: None,
            failed: false,
            held: None,
            journey: Journey::default(),
            refused_by: None,
        }
    }

    /// SYNs sent, by whichever witness saw more of them.
    pub(super) fn sent(&self) -> u64 {
        self.syns.max(self.retransmits + 1)
    }

    /// The answer came, as far as is known so far.
    pub(super) fn is_up(&self) -> bool {
        self.answered || self.delivered.is_some()
    }

    /// The client sends its SYN again: whatever went to its device, its socket did not take it.
    pub(super) fn not_taken(&mut self) {
        if !self.confirmed {
            self.answered = false;
            self.delivered = None;
        }
    }

    /// An event of this attempt that adds `failed` failed SYNs.
    pub(super) fn event(&mut self, at: Mono, outcome: Outcome, failed: u64) -> FlowEvent {
        let first_report = !self.failed;
        self.failed |= !matches!(outcome, Outcome::Succeeded);
        self.told += failed;
        FlowEvent {
            at,
            attempt: self.id,
            netns: self.netns,
            client: self.client,
            outcome,
            failed,
            first_report,
            first: self.opened,
            last: self.last,
            journey: self.journey.clone(),
        }
    }
}
