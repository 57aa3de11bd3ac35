//! Established, then silence: data is sent again and again and nothing comes back.

use std::time::Duration;

use super::{Connection, End};
use crate::decode::{ClientHello, IcmpError, RetransmitSeen, TcpState};
use crate::flow::event::{DropRole, FlowEvent, Outcome};
use crate::time::Mono;

/// Silence for so long is a failure, where data was sent again meanwhile …
const SILENCE: Duration = Duration::from_secs(5);
/// … so often.
const AGAIN: u32 = 3;
/// What is sent again was first sent within this time before.
const FIRST_SENT: Duration = Duration::from_secs(1);
/// Two readings of the kernel's clock of ticks are the same moment within this.
const TICK: Duration = Duration::from_millis(50);

/// An established connection on which nothing comes back any more.
#[derive(Clone, Debug, PartialEq)]
pub struct SilenceFailure {
    /// Whose data is not acknowledged.
    pub of: End,
    /// Bytes acknowledged before the silence, modulo 4 GiB.
    pub acknowledged: Option<u32>,
    /// Payload of the segment that is sent again and again, bytes; 0 where only probes were sent.
    pub length: u32,
    /// Largest payload that the socket sends in one segment, bytes; 0 if not known.
    pub mss: u32,
    /// How often.
    pub times: u32,
    /// Since the last segment came in, or since the data was first sent.
    pub silence: Duration,
    /// Nothing at all came in; otherwise only no acknowledgement.
    pub nothing_came: bool,
    /// The socket gave up.
    pub gave_up: bool,
    /// Since it was established until the silence began.
    pub lived: Duration,
    /// What the client offered, where it spoke TLS.
    pub hello: Option<Box<ClientHello>>,
}

/// Data without acknowledgement.
#[derive(Debug)]
pub(super) struct Stuck {
    of: End,
    una: u32,
    since: Mono,
    times: u32,
    length: u32,
    mss: u32,
    /// When anything came in last, if the kernel tells.
    heard: Option<Mono>,
    /// Something came in since.
    answered: bool,
    told: bool,
}

impl Connection {
    /// A segment was sent again by one of its ends.
    pub(in crate::flow) fn sent_again(
        &mut self,
        at: Mono,
        from: End,
        again: &RetransmitSeen,
        out: &mut Vec<FlowEvent>,
    ) {
        let moved = self.stuck.as_ref().is_none_or(|stuck| stuck.una != again.una || stuck.of != from);
        if moved {
            if self.stuck.take().is_some_and(|stuck| stuck.told) {
                self.told = false;
                out.push(self.event(at, Outcome::Served, 0));
            }
            // Data of an application that has closed already is nobody's harm.
            if again.state != TcpState::Established {
                return;
            }
            self.stuck = Some(Stuck {
                of: from,
                una: again.una,
                since: at,
                heard: again.silence.map(|silence| at.before(silence)),
                times: 0,
                length: again.length,
                mss: again.mss,
                answered: false,
                told: false,
            });
        }
        let Some(stuck) = &mut self.stuck else { return };
        stuck.times += 1;
        stuck.length = stuck.length.min(again.length).max(1);
        // Something came in since: acknowledgements of other data, or window updates. Then it is not silence.
        if let (Some(heard), Some(silence)) = (stuck.heard, again.silence) {
            stuck.answered |= at.before(silence).since(heard) > TICK;
        }
        if !stuck.told && !stuck.answered && stuck.times >= AGAIN && at.since(stuck.since) >= SILENCE {
            self.silent(at, from, false, out);
        }
    }

    /// The socket of an end gave up.
    pub(in crate::flow) fn gave_up(&mut self, at: Mono, from: End, out: &mut Vec<FlowEvent>) {
        let closed = self.closed_by(from);
        self.over = true;
        self.close(from, at);
        // After its own FIN only a leftover of the socket gives up.
        if !closed || self.stuck.is_some() {
            self.silent(at, from, true, out);
        }
    }

    fn silent(&mut self, at: Mono, of: End, gave_up: bool, out: &mut Vec<FlowEvent>) {
        let told = self.stuck.as_ref().is_some_and(|stuck| stuck.told);
        if self.told && !told {
            return;
        }
        let since = self.stuck.as_ref().map_or(at, |stuck| stuck.since);
        // The data that is sent again was first sent a little before.
        let since_then = |when: Mono| when >= since.before(FIRST_SENT);
        let outcome = match (&self.dropped, &self.icmp) {
            // The same segments, dropped here: told as that when they are sent again.
            (Some((when, _, end)), _) if *end == of && since_then(*when) => return,
            (Some((when, drop, _)), _) if since_then(*when) => {
                Outcome::Dropped { drop: drop.clone(), role: DropRole::Data, names: Vec::new() }
            }
            // Too big: the business of path MTU discovery.
            (_, Some((_, error, _))) if error.mtu != 0 || (error.v6 && error.kind == 2) => return,
            (_, Some((when, error, router))) if since_then(*when) => {
                Outcome::Unreachable { error: IcmpError::clone(error), router: *router }
            }
            _ => Outcome::Silence(self.silence_failure(at, of, gave_up)),
        };
        if let Some(stuck) = &mut self.stuck {
            stuck.told = true;
        }
        let event = self.event(at, outcome, u64::from(!told));
        out.push(FlowEvent { first: since, ..event });
    }

    fn silence_failure(&self, at: Mono, of: End, gave_up: bool) -> SilenceFailure {
        let isn = if of == End::Client { self.client_isn } else { self.server_isn };
        let stuck = self.stuck.as_ref();
        let since = stuck.map_or(at, |stuck| stuck.since);
        SilenceFailure {
            of,
            acknowledged: stuck.and_then(|stuck| Some(stuck.una.wrapping_sub(isn?).wrapping_sub(1))),
            length: stuck.map_or(0, |stuck| stuck.length),
            mss: stuck.map_or(0, |stuck| stuck.mss),
            times: stuck.map_or(0, |stuck| stuck.times),
            silence: at.since(stuck.and_then(|stuck| stuck.heard).unwrap_or(since)),
            nothing_came: stuck.is_none_or(|stuck| stuck.heard.is_some() && !stuck.answered),
            gave_up,
            lived: since.since(self.established),
            hello: self.hello().cloned().map(Box::new),
        }
    }
}
