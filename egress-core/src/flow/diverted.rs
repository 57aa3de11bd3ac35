//! Connections that never leave their pod: a rule inside the pod's namespace diverts them to a listener on its
//! loopback, the sidecar of a service mesh. TC sees nothing of them; sockets tell. The sidecar's half of the
//! connection has the application's own address and port as its remote end, which joins the two.

mod inbound;
mod window;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use super::event::{DivertedEnd, DivertedFailure, FlowEvent, Journey, Outcome};
use super::ids;
use crate::decode::{Observation, ResetSeen, SockStateSeen, TcpState, Tuple};
use crate::time::Mono;
use crate::verdict::SocketAddress;

use inbound::Inbound;
use window::Window;

/// A sidecar that lets a connection live for longer has not refused it.
const AT_ONCE: Duration = Duration::from_secs(2);
/// Nothing is heard of a connection attempt for so long: it is over.
const SILENCE: Duration = Duration::from_secs(150);
/// Sockets watched at most; those that come then are counted as forgotten.
const CAPACITY: usize = 8192;
/// `errno` of a refusal and of a reset.
const ECONNREFUSED: u32 = 111;
const ECONNRESET: u32 = 104;
/// `TCP_CLOSE_WAIT`: the other end closed.
const CLOSE_WAIT: TcpState = TcpState::Other(8);

/// Sockets of pods from their attempt to connect until it is clear that nobody near refused them.
#[derive(Debug, Default)]
pub(super) struct Diverted {
    sockets: HashMap<u64, Dial>,
    window: Window,
    inbound: Inbound,
    /// Failed ones that were told, to tell of their success.
    told: HashSet<(u32, SocketAddress)>,
    /// Pods whose SYNs are seen when they leave.
    watched: HashSet<IpAddr>,
    next: u64,
    forgotten: u64,
    checked: Mono,
}

/// A socket that dials.
#[derive(Debug)]
struct Dial {
    netns: u32,
    pid: u32,
    command: [u8; 16],
    opened: Mono,
    /// Its addresses and when it was accepted.
    established: Option<(Tuple, Mono)>,
}

impl Diverted {
    pub(super) const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// A socket changed its state. `known`: its packets were seen elsewhere.
    pub(super) fn sock_state(
        &mut self,
        seen: &Observation,
        state: &SockStateSeen,
        known: bool,
        out: &mut Vec<FlowEvent>,
    ) {
        let tuple = &state.tuple;
        match (state.old, state.new) {
            (TcpState::Close, TcpState::SynSent) => self.dials(seen, state),
            (TcpState::SynReceived, TcpState::Established) => {
                self.inbound.accepted(seen, state);
                if tuple.source.ip.is_loopback() && !tuple.destination.ip.is_loopback() {
                    self.window.note_listener(seen.netns, tuple.destination, tuple.source, seen.at);
                }
            }
            (TcpState::SynSent, TcpState::Established) => {
                if known {
                    self.sockets.remove(&state.socket);
                } else if let Some(dial) = self.sockets.get_mut(&state.socket) {
                    dial.established = Some((*tuple, seen.at));
                }
            }
            (TcpState::SynSent, TcpState::Close) => {
                let Some(dial) = self.sockets.remove(&state.socket) else { return };
                if state.error == ECONNREFUSED && !known {
                    self.refused(seen, tuple, &dial, out);
                }
            }
            (TcpState::Established, new) => {
                self.inbound.ended(seen, state, &self.window);
                let Some(dial) = self.sockets.remove(&state.socket) else { return };
                let end = match new {
                    TcpState::Close if state.error == ECONNRESET => DivertedEnd::Reset,
                    CLOSE_WAIT => DivertedEnd::Closed,
                    _ => DivertedEnd::Served,
                };
                self.ended(seen, state, &dial, end, out);
            }
            _ => {}
        }
    }

    /// A SYN left this pod.
    pub(super) fn note_leaving(&mut self, pod: IpAddr) {
        if self.watched.len() < CAPACITY {
            self.watched.insert(pod);
        }
    }

    /// This machine answered a packet for which it has no socket.
    pub(super) fn reset(&mut self, seen: &Observation, reset: &ResetSeen) {
        let Tuple { source: listener, destination: client, .. } = reset.tuple;
        if reset.sent && reset.state.is_none() && !client.ip.is_loopback() {
            self.window.note_listener(seen.netns, client, listener, seen.at);
        }
    }

    /// Forgets what is over; a diverted connection that lives on was not refused.
    pub(super) fn tick(&mut self, now: Mono, out: &mut Vec<FlowEvent>) {
        if now.since(self.checked) < Duration::from_millis(500) {
            return;
        }
        self.checked = now;
        let Self { sockets, told, next, .. } = self;
        sockets.retain(|_, dial| match &dial.established {
            Some((tuple, at)) if now.since(*at) >= AT_ONCE => {
                if told.remove(&(dial.netns, tuple.destination)) {
                    out.push(event(next, tuple, dial, now, Outcome::Succeeded));
                }
                false
            }
            Some(_) => true,
            None => now.since(dial.opened) < SILENCE,
        });
        self.window.expire(now);
        self.inbound.expire(now);
    }

    /// A connection that was reset: if the sidecar of its destination did it, that is what is told.
    pub(super) fn complete(&self, event: &mut FlowEvent) {
        if matches!(event.outcome, Outcome::Reset(_))
            && let Some(failure) = self.inbound.refused(&event.client)
        {
            event.outcome = Outcome::Diverted(failure);
        }
    }

    fn dials(&mut self, seen: &Observation, state: &SockStateSeen) {
        let near = state.tuple.destination.ip.is_loopback();
        self.window.note_open(seen.netns, state.pid, state.socket, near, seen.at);
        // Towards the loopback nothing needs to be diverted.
        if near {
            return;
        }
        if self.sockets.len() >= CAPACITY {
            self.forgotten += 1;
            return;
        }
        let dial = Dial {
            netns: seen.netns,
            pid: state.pid,
            command: state.command,
            opened: seen.at,
            established: None,
        };
        self.sockets.insert(state.socket, dial);
    }

    fn refused(&mut self, seen: &Observation, tuple: &Tuple, dial: &Dial, out: &mut Vec<FlowEvent>) {
        let listener = self.window.listener(dial.netns, tuple.source);
        // Dialled itself, and refused itself.
        if listener == Some(tuple.destination) || tuple.source.ip == tuple.destination.ip {
            return;
        }
        // Not every kernel tells who refused. That the SYN did not leave says something only where it would be seen.
        if listener.is_none() && !self.watched.contains(&tuple.source.ip) {
            return;
        }
        let failure = DivertedFailure {
            end: DivertedEnd::Refused,
            listener,
            command: command(&dial.command),
            sent: None,
            after: seen.at.since(dial.opened),
        };
        self.tell(seen.at, tuple, dial, failure, out);
    }

    fn ended(
        &mut self,
        seen: &Observation,
        state: &SockStateSeen,
        dial: &Dial,
        end: DivertedEnd,
        out: &mut Vec<FlowEvent>,
    ) {
        let Some((tuple, established)) = &dial.established else { return };
        let Some(listener) = self.window.listener(dial.netns, tuple.source) else { return };
        self.window.forget_open(state.socket);
        let after = seen.at.since(*established);
        // The end of the stream counts as a byte.
        let ending = u32::from(end == DivertedEnd::Closed);
        let nothing_came = state.received.is_some_and(|bytes| bytes <= ending);
        if end == DivertedEnd::Served || !nothing_came || after >= AT_ONCE {
            if !nothing_came && self.told.remove(&(dial.netns, tuple.destination)) {
                out.push(event(&mut self.next, tuple, dial, seen.at, Outcome::Succeeded));
            }
            return;
        }
        // The sidecar went on to somewhere: what came back from there is the cause, and is seen there.
        let diverted = |socket: u64| {
            let ends = self.sockets.get(&socket).and_then(|other| other.established.as_ref());
            ends.is_some_and(|(tuple, _)| self.window.listener(dial.netns, tuple.source).is_some())
        };
        if self.window.others_opened(dial.netns, dial.pid, dial.opened, diverted) {
            return;
        }
        let failure = DivertedFailure {
            end,
            listener: Some(listener),
            command: command(&dial.command),
            sent: state.sent,
            after,
        };
        self.tell(seen.at, tuple, dial, failure, out);
    }

    fn tell(
        &mut self,
        at: Mono,
        tuple: &Tuple,
        dial: &Dial,
        failure: DivertedFailure,
        out: &mut Vec<FlowEvent>,
    ) {
        if self.told.len() < CAPACITY {
            self.told.insert((dial.netns, tuple.destination));
        }
        out.push(event(&mut self.next, tuple, dial, at, Outcome::Diverted(failure)));
    }
}

fn event(next: &mut u64, client: &Tuple, dial: &Dial, at: Mono, outcome: Outcome) -> FlowEvent {
    *next += 1;
    let failed = u64::from(!matches!(outcome, Outcome::Succeeded));
    FlowEvent {
        at,
        attempt: ids::DIVERTED + *next,
        netns: dial.netns,
        client: *client,
        outcome,
        failed,
        first_report: failed > 0,
        first: dial.opened,
        last: dial.opened,
        journey: Journey::default(),
    }
}

/// `comm` as text.
fn command(raw: &[u8; 16]) -> String {
    let end = raw.iter().position(|byte| *byte == 0).unwrap_or(raw.len());
    String::from_utf8_lossy(&raw[..end]).into_owned()
}
