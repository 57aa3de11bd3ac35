//! What comes to a pod is diverted as well: a sidecar that takes it, reads, and ends it without a word and without
//! asking the application, has refused its client. So does one that demands mutual TLS of plaintext.

use std::collections::HashMap;
use std::time::Duration;

use super::AT_ONCE;
use super::window::Window;
use crate::decode::{Observation, SockStateSeen, TcpState, Tuple};
use crate::flow::event::{DivertedEnd, DivertedFailure};
use crate::time::Mono;
use crate::verdict::SocketAddress;

/// Where sidecars take what comes in: Istio and Kuma, Linkerd.
const LISTENERS: [u16; 2] = [15006, 4143];
/// How long a refusal waits for its reset to be judged.
const MEMORY: Duration = Duration::from_secs(5);
/// Connections watched, and refusals kept, at most.
const CAPACITY: usize = 4096;
/// `TCP_FIN_WAIT1`: this end closed.
const FIN_WAIT: TcpState = TcpState::Other(4);

/// Connections that sidecars accepted just now, and those that they refused.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    sockets: HashMap<u64, (SocketAddress, Mono)>,
    /// By the client's end.
    refused: HashMap<SocketAddress, (DivertedFailure, Mono)>,
}

impl Inbound {
    pub(super) fn accepted(&mut self, seen: &Observation, state: &SockStateSeen) {
        let Tuple { source: listener, destination: client, .. } = state.tuple;
        if LISTENERS.contains(&listener.port) && !listener.ip.is_loopback() && self.sockets.len() < CAPACITY {
            self.sockets.insert(state.socket, (client, seen.at));
        }
    }

    pub(super) fn ended(&mut self, seen: &Observation, state: &SockStateSeen, window: &Window) {
        let Some((client, accepted)) = self.sockets.remove(&state.socket) else { return };
        let after = seen.at.since(accepted);
        let end = match state.new {
            TcpState::Close if state.error == 0 => DivertedEnd::Reset,
            FIN_WAIT => DivertedEnd::Closed,
            _ => return,
        };
        let mute = state.sent == Some(0) && state.received.is_some_and(|bytes| bytes > 0);
        if mute
            && after < AT_ONCE
            && !window.any_opened(seen.netns, accepted)
            && self.refused.len() < CAPACITY
        {
            let failure = DivertedFailure {
                end,
                listener: Some(state.tuple.source),
                command: String::new(),
                sent: state.received,
                after,
            };
            self.refused.insert(client, (failure, seen.at));
        }
    }

    /// How the sidecar of its destination refused this client, if it did just now.
    pub(super) fn refused(&self, client: &Tuple) -> Option<DivertedFailure> {
        self.refused.get(&client.source).map(|(failure, _)| failure.clone())
    }

    pub(super) fn expire(&mut self, now: Mono) {
        self.sockets.retain(|_, (_, at)| now.since(*at) < AT_ONCE);
        self.refused.retain(|_, (_, at)| now.since(*at) < MEMORY);
    }
}
