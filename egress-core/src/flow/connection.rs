//! Live TCP connections: what is known of each since it was established. Others may query the table.

mod observe;
mod reset;
mod silence;
mod table;
mod tls;

use std::net::IpAddr;
use std::time::Duration;

use super::event::{FlowEvent, Journey, Outcome};
use crate::decode::{ClientHello, DropSeen, IcmpError, Tap, Tuple};
use crate::time::Mono;

pub use reset::{After, ResetBy, ResetFailure};
pub use silence::SilenceFailure;
pub(super) use table::Connections;
pub use tls::TlsFailure;

/// A failure this soon after the SYN belongs to the attempt that began then.
const ONE_ATTEMPT: Duration = Duration::from_secs(60);

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Who opened it.
    Client,
    /// Who accepted it.
    Server,
}

impl End {
    /// The word of details.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// Two packets from the same side came different ways or from different machines: their distances differ, as far as
/// the usual initial TTLs (64, 128, 255) tell. One machine may begin with different ones, but is equally far.
#[must_use]
pub fn differently_far(one: u8, other: u8) -> bool {
    let hops = |ttl: u8| [64, 128, 255].into_iter().find(|initial| ttl <= *initial).unwrap_or(255) - ttl;
    hops(one) != hops(other)
}

/// An established connection.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Number of the attempt that opened it. Every event of this connection carries it, so that a better cause
    /// revises the verdict of a lesser one.
    pub(crate) id: u64,
    /// Namespace of the client, 0 if not known.
    pub(crate) netns: u32,
    /// Addresses as the client used them.
    pub(crate) client: Tuple,
    /// First SYN.
    pub(crate) opened: Mono,
    /// SYN-ACK at the client (or leaving the server, where the client is not local).
    pub(crate) established: Mono,
    /// Initial sequence number of the client.
    pub(crate) client_isn: Option<u32>,
    /// Initial sequence number of the server.
    pub(crate) server_isn: Option<u32>,
    /// Where SYN and SYN-ACK were seen.
    pub(crate) journey: Journey,
    /// The TLS handshake, once a ClientHello was seen.
    handshake: tls::Handshake,
    /// Its client's socket reports to us: what TC saw of a reset is not yet what the socket made of it.
    pub(super) socket_reports: bool,
    /// That socket has left ESTABLISHED: it took the server's FIN, or was closed.
    pub(super) socket_moved: bool,
    /// When each end was first seen to close (FIN or reset), client then server.
    pub(super) closed: [Option<Mono>; 2],
    /// A reset from the server's side that waits to be judged.
    reset: Option<Box<reset::Pending>>,
    /// The node itself was seen to reset the server.
    pub(super) node_reset: Option<Mono>,
    /// Data without acknowledgement.
    stuck: Option<silence::Stuck>,
    /// The last packet of it that was dropped on this machine, and which end had sent it.
    pub(super) dropped: Option<(Mono, Box<DropSeen>, End)>,
    /// The last ICMP error about it, and who sent that.
    pub(super) icmp: Option<(Mono, Box<IcmpError>, IpAddr)>,
    /// A failure was told.
    pub(super) told: bool,
    /// It is over; kept a little for packets that are underway.
    pub(super) over: bool,
}

impl Connection {
    /// What the client said in its ClientHello.
    #[must_use]
    pub(crate) fn hello(&self) -> Option<&ClientHello> {
        self.handshake.hello()
    }

    /// The client is a pod whose device is watched.
    pub(super) fn client_is_local(&self) -> bool {
        self.journey.request(Tap::PodOut).is_some() || self.netns != 0
    }

    /// TTL of the SYN-ACK at this tap.
    pub(super) fn answer_ttl(&self, tap: Tap) -> Option<u8> {
        self.journey.answer(tap).map(|seen| seen.ttl)
    }

    pub(super) const fn closed_by(&self, end: End) -> bool {
        self.closed[end as usize].is_some()
    }

    pub(super) fn close(&mut self, end: End, at: Mono) {
        self.closed[end as usize].get_or_insert(at);
        self.over |= self.closed.iter().all(Option::is_some);
    }

    /// An event of this connection that adds `failed` failures.
    pub(super) fn event(&mut self, at: Mono, outcome: Outcome, failed: u64) -> FlowEvent {
        let first_report = !self.told;
        self.told |= !matches!(outcome, Outcome::Served);
        FlowEvent {
            at,
            attempt: self.id,
            netns: self.netns,
            client: self.client,
            outcome,
            failed,
            first_report,
            first: if at.since(self.opened) < ONE_ATTEMPT { self.opened } else { at },
            last: at,
            journey: self.journey.clone(),
        }
    }
}
