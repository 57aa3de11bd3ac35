//! What packets, sockets and drops show of live connections.

use std::time::Duration;

use super::tls::Carried;
use super::{Connections, End};
use crate::decode::{
    Application, DropSeen, Observation, PacketSeen, ResetSeen, SockStateSeen, Tap, TcpState, Transport, Tuple,
};
use crate::flow::Tracker;
use crate::flow::event::{FlowEvent, Outcome, Sighting};
use crate::time::Mono;

/// What belongs to a reset is read within this time of its being taken.
const SETTLED: Duration = Duration::from_millis(50);
/// A socket that took a reset says so within this time of its being seen by TC.
const TAKEN: Duration = Duration::from_millis(200);
/// `errno` of a socket that was reset: `ECONNRESET`, `EPIPE`.
const RESET: [u32; 2] = [104, 32];
/// `errno` of a socket that gave up: `ETIMEDOUT`, `EHOSTUNREACH`, `ENETUNREACH`.
const GAVE_UP: [u32; 3] = [110, 113, 101];
const FIN: u8 = 1;
const RST: u8 = 4;
const ACK: u8 = 16;

impl Tracker {
    /// A TCP packet that neither opens nor accepts. False if its connection is not known.
    pub(in crate::flow) fn established_packet(
        &mut self,
        seen: &Observation,
        at: &PacketSeen,
        sighting: Sighting,
        out: &mut Vec<FlowEvent>,
    ) -> bool {
        let Transport::Tcp { flags, seq, ack } = at.packet.transport else { return false };
        let Some((connection, from)) = self.connections.find(&at.packet.tuple) else { return false };
        if let Some(Application::Tls(message)) = &at.application {
            let (tap, ttl) = (at.tap, sighting.ttl);
            connection.tls(&Carried { at: seen.at, tap, ttl, from, seq, ack, message }, out);
        }
        if flags & RST != 0 {
            let acknowledges = (flags & ACK != 0).then_some(ack);
            match from {
                End::Server if connection.client_is_local() => {
                    connection.reset_seen(at.tap, seq, acknowledges, sighting);
                    if at.tap == Tap::PodIn {
                        let id = connection.id;
                        self.connections.look_at(seen.at, TAKEN, id);
                    }
                }
                End::Client if at.tap == Tap::UplinkOut && !connection.closed_by(End::Client) => {
                    connection.node_reset.get_or_insert(seen.at);
                }
                _ => {
                    connection.sealed_failure(from, out);
                    connection.close(from, seen.at);
                    connection.over = true;
                }
            }
        } else if flags & FIN != 0 {
            if connection.closed_by(from) {
                return true;
            }
            connection.sealed_failure(from, out);
            connection.close(from, seen.at);
            let counted = |isn: Option<u32>, next: u32| isn.is_some_and(|isn| next.wrapping_sub(isn) > 1);
            let (sent, received) = match from {
                End::Client => (counted(connection.client_isn, seq), counted(connection.server_isn, ack)),
                End::Server => (counted(connection.client_isn, ack), counted(connection.server_isn, seq)),
            };
            if !connection.told && connection.reset.is_none() && sent && received {
                out.push(connection.event(seen.at, Outcome::Served, 0));
            }
        }
        true
    }

    /// The stack of this machine sent or received a reset.
    pub(in crate::flow) fn socket_reset(&mut self, seen: &Observation, reset: &ResetSeen) {
        let Some((connection, end)) = self.connections.find(&reset.tuple) else { return };
        match (reset.sent, end) {
            (true, End::Client) => return connection.close(End::Client, seen.at),
            (true, End::Server) if reset.state.is_some() => return connection.reset_sent(),
            // The socket's own state says whether it still wanted something.
            (false, End::Client) if reset.state == Some(TcpState::Established) => {}
            _ => return,
        }
        connection.reset_taken(seen.at, reset.progress);
        let id = connection.id;
        self.connections.look_at(seen.at, SETTLED, id);
    }

    /// A socket left another state than SYN_SENT.
    pub(in crate::flow) fn socket_closed(
        &mut self,
        seen: &Observation,
        state: &SockStateSeen,
        out: &mut Vec<FlowEvent>,
    ) {
        if state.new != TcpState::Close || state.error == 0 {
            return;
        }
        let Some((connection, end)) = self.connections.find(&state.tuple) else { return };
        if GAVE_UP.contains(&state.error) {
            connection.gave_up(seen.at, end, out);
        } else if end == End::Client
            && state.old == TcpState::Established
            && RESET.contains(&state.error)
            && !connection.over
        {
            connection.reset_taken(seen.at, None);
            let id = connection.id;
            self.connections.look_at(seen.at, SETTLED, id);
        }
    }
}

impl Connections {
    /// The client's socket reports to us.
    pub(in crate::flow) fn socket_reports(&mut self, client: &Tuple) {
        if let Some((connection, End::Client)) = self.find(client) {
            connection.socket_reports = true;
        }
    }

    /// A packet of an established connection was dropped here. Gives the connection's number.
    pub(in crate::flow) fn dropped(
        &mut self,
        at: Mono,
        dropped: &DropSeen,
        client: &Tuple,
        reply: bool,
    ) -> Option<u64> {
        let (connection, end) = self.find(client)?;
        let end = if reply { End::Server } else { end };
        connection.dropped = Some((at, Box::new(dropped.clone()), end));
        Some(connection.id)
    }

    /// Judges what is due and forgets what is over.
    pub(in crate::flow) fn tick(&mut self, now: Mono, out: &mut Vec<FlowEvent>) {
        if !self.due.is_empty() {
            let (ripe, waiting): (Vec<_>, Vec<_>) =
                std::mem::take(&mut self.due).into_iter().partition(|(due, _)| *due <= now);
            self.due = waiting;
            for (_, id) in ripe {
                if let Some(connection) = self.by_id(id) {
                    connection.judge_reset(out);
                }
            }
        }
        self.expire(now);
    }
}
