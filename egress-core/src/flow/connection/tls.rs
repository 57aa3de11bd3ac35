//! TLS handshakes that end in an alert. What is encrypted is judged by where it stands: the first encrypted record
//! of an end that has room for two bytes only is an alert, because a Finished message is longer.

use std::time::Duration;

use super::{Connection, End};
use crate::decode::{ClientHello, Tap, TlsMessage};
use crate::flow::event::{FlowEvent, Outcome};
use crate::time::Mono;

/// `AlertLevel` of RFC 5246.
const FATAL: u8 = 2;
/// Alerts that end nothing or end in order: `close_notify`, `user_canceled`, `no_renegotiation`.
const HARMLESS: [u8; 3] = [0, 90, 100];
/// Bytes of a ChangeCipherSpec record, which may stand before the first encrypted one.
const CHANGE_CIPHER_SPEC: u32 = 6;

/// A handshake that an alert ended.
#[derive(Clone, Debug, PartialEq)]
pub struct TlsFailure {
    /// Which, as IANA numbers them; `None` where it is encrypted.
    pub alert: Option<u8>,
    /// Who sent it.
    pub by: End,
    /// What the client offered, if that was seen.
    pub hello: Option<Box<ClientHello>>,
    /// Since the connection was established.
    pub after: Duration,
    /// TTL of the alert, and of the SYN-ACK at the same place.
    pub ttl: Option<(u8, u8)>,
}

/// How far a handshake has come.
#[derive(Debug, Default)]
pub(super) struct Handshake {
    hello: Option<Box<ClientHello>>,
    /// Sequence number behind the ClientHello.
    hello_end: Option<u32>,
    /// Sequence number behind the server's flight, as the client's second flight acknowledges it.
    server_next: Option<u32>,
    /// An end's first encrypted record can only be an alert.
    sealed: Option<Sealed>,
    /// The end announced its close.
    done: [bool; 2],
}

/// An alert that cannot be read.
#[derive(Clone, Copy, Debug)]
struct Sealed {
    by: End,
    at: Mono,
    ttl: Option<(u8, u8)>,
}

impl Handshake {
    pub(super) fn hello(&self) -> Option<&ClientHello> {
        self.hello.as_deref()
    }

    /// Sequence number behind the ClientHello.
    pub(super) const fn hello_end(&self) -> Option<u32> {
        self.hello_end
    }

    /// An end announced its close (`close_notify`).
    pub(super) fn is_done(&self) -> bool {
        self.done.iter().any(|done| *done)
    }
}

/// A TLS message as a segment carried it.
pub(in crate::flow) struct Carried<'a> {
    pub(in crate::flow) at: Mono,
    pub(in crate::flow) tap: Tap,
    pub(in crate::flow) ttl: u8,
    pub(in crate::flow) from: End,
    pub(in crate::flow) seq: u32,
    pub(in crate::flow) ack: u32,
    pub(in crate::flow) message: &'a TlsMessage,
}

impl Connection {
    /// A segment carried TLS.
    pub(in crate::flow) fn tls(&mut self, carried: &Carried<'_>, out: &mut Vec<FlowEvent>) {
        let handshake = &mut self.handshake;
        match (carried.message, carried.from) {
            (TlsMessage::ClientHello(hello), End::Client) => handshake.hello_seen(hello, carried.seq),
            (TlsMessage::Flight, End::Client) if handshake.hello_end == Some(carried.seq) => {
                handshake.server_next = Some(carried.ack);
            }
            (TlsMessage::TwoBytes { offset }, from) => {
                if handshake.is_first(from, carried.seq, *offset) {
                    let ttl = self.ttls(carried);
                    self.handshake.sealed.get_or_insert(Sealed { by: from, at: carried.at, ttl });
                } else {
                    handshake.done[from as usize] = true;
                }
            }
            (TlsMessage::SealedAlert, from) => handshake.done[from as usize] = true,
            (TlsMessage::Alert { level, description }, from) => {
                if *level == FATAL && !HARMLESS.contains(description) {
                    let ttl = self.ttls(carried);
                    out.extend(self.tls_failure(carried.at, Some(*description), from, ttl));
                } else {
                    handshake.done[from as usize] |= *description == 0;
                }
            }
            _ => {}
        }
    }

    /// An end closed after an alert that could not be read.
    pub(super) fn sealed_failure(&mut self, closing: End, out: &mut Vec<FlowEvent>) -> bool {
        let Some(Sealed { by, at, ttl }) = self.handshake.sealed else { return false };
        // The server's alert is followed by its own close; a client's by that of either.
        if by == End::Server && closing == End::Client {
            return false;
        }
        out.extend(self.tls_failure(at, None, by, ttl));
        true
    }

    fn tls_failure(
        &mut self,
        at: Mono,
        alert: Option<u8>,
        by: End,
        ttl: Option<(u8, u8)>,
    ) -> Option<FlowEvent> {
        if self.told {
            return None;
        }
        let failure = TlsFailure {
            alert,
            by,
            hello: self.handshake.hello.clone(),
            after: at.since(self.established),
            ttl,
        };
        Some(self.event(at, Outcome::Tls(failure), 1))
    }

    /// TTL of what the server sent, and of its SYN-ACK at the same place.
    fn ttls(&self, carried: &Carried<'_>) -> Option<(u8, u8)> {
        let answer = self.answer_ttl(carried.tap)?;
        (carried.from == End::Server).then_some((carried.ttl, answer))
    }
}

impl Handshake {
    fn hello_seen(&mut self, hello: &ClientHello, seq: u32) {
        self.hello_end = hello.length.map(|length| seq.wrapping_add(length));
        self.server_next = None;
        let known = self.hello.take();
        let mut hello = Box::new(hello.clone());
        // After a HelloRetryRequest it comes again, perhaps with less of it captured.
        if let Some(known) = known.filter(|known| hello.sni.is_none() && known.sni.is_some()) {
            hello = known;
        }
        self.hello = Some(hello);
    }

    /// A record of two bytes is the first encrypted one of its end.
    fn is_first(&self, from: End, seq: u32, offset: u32) -> bool {
        match from {
            End::Client => {
                let early = self.hello.as_ref().is_none_or(|hello| hello.early_data);
                let behind = self.hello_end.map(|end| seq.wrapping_add(offset).wrapping_sub(end));
                !early && matches!(behind, Some(0 | CHANGE_CIPHER_SPEC))
            }
            End::Server => self.server_next == Some(seq) && !self.done[End::Client as usize],
        }
    }
}
