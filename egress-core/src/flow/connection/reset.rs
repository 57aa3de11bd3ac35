//! Established, then reset. A reset is a failure only if something was lost by it: what the client had sent was not
//! acknowledged, or not answered. The reset of a finished exchange, and what follows a FIN, is none.

use std::cmp::Ordering;
use std::time::Duration;

use super::{Connection, End, differently_far};
use crate::decode::{ClientHello, SocketProgress, Tap};
use crate::flow::event::{DropRole, FlowEvent, Outcome, Sighting};
use crate::time::Mono;

/// A reset this soon after the handshake, before anything was sent, is a refusal in disguise.
const AT_ONCE: Duration = Duration::from_secs(1);
/// Data after a silence of so long met a connection that the other side had forgotten.
const IDLE: Duration = Duration::from_secs(3);
/// An answer that did not come for so long was not being waited for.
const NOT_WAITING: Duration = Duration::from_secs(300);
/// A drop this long before a reset made by this node was its reason.
const SAME_REJECT: Duration = Duration::from_secs(2);
/// Longest tick of the kernel's clock (`CONFIG_HZ` 100).
const TICK: Duration = Duration::from_millis(10);
/// Data that came in so recently was still flowing.
const FLOWING: Duration = Duration::from_secs(1);

/// What the connection had done before it was reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Nothing but being established.
    Connect,
    /// The client had sent its ClientHello, and the server not a byte.
    ClientHello,
    /// The server had answered the ClientHello, and the client sent nothing since.
    Handshake,
    /// The client had sent data that was not answered.
    Data,
    /// It had been idle; then the client sent data.
    Idle,
    /// The server was sending.
    Download,
}

impl After {
    /// The word of `detail.after`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::ClientHello => "client-hello",
            Self::Handshake => "tls-handshake",
            Self::Data => "data",
            Self::Idle => "established-idle",
            Self::Download => "download",
        }
    }
}

/// Where the reset came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetBy {
    /// In by an uplink.
    Upstream,
    /// Out of the other pod.
    Pod,
    /// It reached the client and was seen to come from nowhere, although the SYN-ACK was.
    Node,
    /// Only the client's end was watched.
    Unseen,
}

/// An established connection that was reset.
#[derive(Clone, Debug, PartialEq)]
pub struct ResetFailure {
    /// What it had done.
    pub after: After,
    /// Who reset it.
    pub by: ResetBy,
    /// What the client offered, where it spoke TLS.
    pub hello: Option<Box<ClientHello>>,
    /// Bytes that the client had sent, modulo 4 GiB.
    pub sent: Option<u32>,
    /// Bytes that the client had written and that were not acknowledged.
    pub unacknowledged: Option<u32>,
    /// Bytes that the client had received, modulo 4 GiB.
    pub received: Option<u32>,
    /// Silence before the last data.
    pub idle: Option<Duration>,
    /// Since the client sent its last data.
    pub waited: Option<Duration>,
    /// Since it was established.
    pub lived: Duration,
    /// TTL of the reset, where first seen.
    pub ttl: Option<u8>,
    /// TTL of the SYN-ACK at the same place.
    pub answer_ttl: Option<u8>,
    /// The node had reset the server's side before.
    pub node_reset: bool,
}

impl ResetFailure {
    /// Another machine made the reset than the one that accepted the connection.
    #[must_use]
    pub fn foreign(&self) -> bool {
        let ttls = self.ttl.zip(self.answer_ttl);
        self.by == ResetBy::Upstream && ttls.is_some_and(|(ttl, answer)| differently_far(ttl, answer))
    }
}

/// A reset from the server's side that waits to be judged.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// At the client.
    at: Mono,
    seq: Option<u32>,
    ack: Option<u32>,
    uplink: Option<Sighting>,
    pod: Option<Sighting>,
    client: Option<Sighting>,
    progress: Option<SocketProgress>,
    /// The client's socket took it.
    taken: bool,
    /// A socket of a local pod sent it.
    sent_here: bool,
}

impl Connection {
    /// TC saw a reset from the server's side.
    pub(super) fn reset_seen(&mut self, tap: Tap, seq: u32, ack: Option<u32>, sighting: Sighting) {
        let pending = self.reset.get_or_insert_default();
        pending.seq.get_or_insert(seq);
        pending.ack = pending.ack.or(ack);
        let place = match tap {
            Tap::UplinkIn => &mut pending.uplink,
            Tap::PodOut => &mut pending.pod,
            Tap::PodIn => {
                pending.at = sighting.at;
                &mut pending.client
            }
            Tap::UplinkOut => return,
        };
        place.get_or_insert(sighting);
    }

    /// A socket of a local pod, the server, sent a reset.
    pub(super) fn reset_sent(&mut self) {
        self.reset.get_or_insert_default().sent_here = true;
    }

    /// The client's socket was reset.
    pub(super) fn reset_taken(&mut self, at: Mono, progress: Option<SocketProgress>) {
        let pending = self.reset.get_or_insert_default();
        if pending.taken {
            return;
        }
        pending.at = at;
        pending.taken = true;
        pending.progress = progress;
    }

    /// Judges a reset, once all that belongs to it had time to be read.
    pub(super) fn judge_reset(&mut self, out: &mut Vec<FlowEvent>) {
        let Some(pending) = self.reset.take() else { return };
        let before = |closed: Option<Mono>| closed.is_some_and(|at| at <= pending.at);
        let healthy = self.told || self.closed.into_iter().any(before) || self.handshake.is_done();
        // A socket that reports and says nothing did not take it: it was closed, or the reset was not valid.
        let ignored = self.socket_reports && !pending.taken;
        self.close(End::Server, pending.at);
        self.over = true;
        if healthy || ignored || self.sealed_failure(End::Server, out) {
            return;
        }
        let Some(failure) = self.failure(&pending) else { return };
        let outcome = match self.dropped.take() {
            // A rule of this machine that rejects drops the packet and makes the reset.
            Some((at, drop, _))
                if matches!(failure.by, ResetBy::Node | ResetBy::Unseen)
                    && pending.at.since(at).max(at.since(pending.at)) < SAME_REJECT =>
            {
                Outcome::Dropped { drop, role: DropRole::Data, names: Vec::new() }
            }
            _ => Outcome::Reset(failure),
        };
        out.push(self.event(pending.at, outcome, 1));
    }

    fn failure(&self, pending: &Pending) -> Option<ResetFailure> {
        let by = match pending {
            Pending { uplink: Some(_), .. } => ResetBy::Upstream,
            Pending { pod: Some(_), .. } | Pending { sent_here: true, .. } => ResetBy::Pod,
            Pending { client: Some(_), .. } if self.answer_came_from_afar() => ResetBy::Node,
            _ => ResetBy::Unseen,
        };
        let (first, tap) = match by {
            ResetBy::Upstream => (pending.uplink, Tap::UplinkIn),
            ResetBy::Pod => (pending.pod, Tap::PodOut),
            ResetBy::Node | ResetBy::Unseen => (pending.client, Tap::PodIn),
        };
        let mut failure = ResetFailure {
            after: After::Data,
            by,
            hello: self.hello().cloned().map(Box::new),
            sent: None,
            unacknowledged: None,
            received: None,
            idle: None,
            waited: None,
            lived: pending.at.since(self.established),
            ttl: first.map(|seen| seen.ttl),
            answer_ttl: self.answer_ttl(tap),
            node_reset: self.node_reset.is_some_and(|at| at <= pending.at),
        };
        self.count(pending, &mut failure);
        failure.after = self.after(pending, &failure)?;
        Some(failure)
    }

    /// Bytes both ways, by sequence numbers from the initial ones.
    fn count(&self, pending: &Pending, failure: &mut ResetFailure) {
        let sent_to = |seq: u32| self.client_isn.map(|isn| seq.wrapping_sub(isn).wrapping_sub(1));
        let received_to = |seq: u32| self.server_isn.map(|isn| seq.wrapping_sub(isn).wrapping_sub(1));
        let Some(progress) = pending.progress else {
            failure.sent = pending.ack.and_then(sent_to);
            failure.received = pending.seq.and_then(received_to);
            return;
        };
        failure.sent = sent_to(progress.next);
        failure.received = received_to(progress.received);
        let open = progress.written.wrapping_sub(progress.una);
        // The reset itself may acknowledge what no segment before it did.
        let by_reset = pending.ack.map(|ack| progress.written.wrapping_sub(ack));
        failure.unacknowledged = Some(by_reset.filter(|left| *left < open).unwrap_or(open));
        failure.waited = Some(progress.sent_ago);
        failure.idle = progress.received_ago.checked_sub(progress.sent_ago);
    }

    /// What the connection had done; `None` if nothing was lost by the reset.
    fn after(&self, pending: &Pending, failure: &ResetFailure) -> Option<After> {
        let received = failure.received?;
        if failure.hello.is_some() {
            let at_hello = pending.progress.map(|p| p.next).or(pending.ack);
            if received == 0 {
                return Some(After::ClientHello);
            } else if at_hello.is_some() && at_hello == self.handshake.hello_end() {
                return Some(After::Handshake);
            }
        }
        if received == 0 {
            return match failure.sent {
                Some(0) => (failure.lived < AT_ONCE).then_some(After::Connect),
                Some(_) => Some(After::Data),
                // A reset without acknowledgement does not say what it answers.
                None => (failure.lived < AT_ONCE).then_some(After::Connect),
            };
        }
        let progress = pending.progress?;
        if failure.unacknowledged > Some(0) {
            let forgotten = failure.idle.is_some_and(|idle| idle >= IDLE) && self.stuck.is_none();
            return Some(if forgotten { After::Idle } else { After::Data });
        }
        // Within one tick of the kernel's clock both orders look the same; but no answer is faster than the handshake.
        let sent_last = match progress.sent_ago.cmp(&progress.received_ago) {
            Ordering::Less => true,
            Ordering::Equal => self.established.since(self.opened) > TICK,
            Ordering::Greater => false,
        };
        if sent_last {
            return (progress.sent_ago < NOT_WAITING).then_some(After::Data);
        }
        (failure.foreign() && progress.received_ago < FLOWING).then_some(After::Download)
    }

    /// The SYN-ACK was seen where it came into the node or out of another pod.
    fn answer_came_from_afar(&self) -> bool {
        self.journey.answer(Tap::UplinkIn).is_some() || self.journey.answer(Tap::PodOut).is_some()
    }
}
