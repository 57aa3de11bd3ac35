//! What happened inside a pod's namespace just now: who dialled, and which listener took whose connection.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::time::Mono;
use crate::verdict::SocketAddress;

/// How long it is remembered: longer than a diverted connection is watched.
const MEMORY: Duration = Duration::from_secs(5);
/// Kept at most; the oldest goes first.
const OPENS: usize = 2048;
/// Kept at most; what comes then is not remembered.
const LISTENERS: usize = 8192;

/// The last seconds.
#[derive(Debug, Default)]
pub(super) struct Window {
    opens: VecDeque<Open>,
    /// Which listener on the loopback took (or refused) the connection of this end.
    listeners: HashMap<(u32, SocketAddress), (SocketAddress, Mono)>,
}

/// Somebody began to dial.
#[derive(Debug)]
struct Open {
    at: Mono,
    netns: u32,
    pid: u32,
    socket: u64,
    /// Towards the loopback.
    near: bool,
}

impl Window {
    pub(super) fn note_open(&mut self, netns: u32, pid: u32, socket: u64, near: bool, at: Mono) {
        if self.opens.len() >= OPENS {
            self.opens.pop_front();
        }
        self.opens.push_back(Open { at, netns, pid, socket, near });
    }

    /// A connection of `client` met a listener on the loopback.
    pub(super) fn note_listener(
        &mut self,
        netns: u32,
        client: SocketAddress,
        listener: SocketAddress,
        at: Mono,
    ) {
        if self.listeners.len() < LISTENERS {
            self.listeners.insert((netns, client), (listener, at));
        }
    }

    pub(super) fn listener(&self, netns: u32, client: SocketAddress) -> Option<SocketAddress> {
        self.listeners.get(&(netns, client)).map(|(listener, _)| *listener)
    }

    /// This socket was diverted itself, so it is no sidecar's.
    pub(super) fn forget_open(&mut self, socket: u64) {
        if let Some(at) = self.opens.iter().rposition(|open| open.socket == socket) {
            self.opens.remove(at);
        }
    }

    /// Another process of the namespace dialled something beyond it since then, and was not diverted.
    pub(super) fn others_opened(
        &self,
        netns: u32,
        pid: u32,
        since: Mono,
        diverted: impl Fn(u64) -> bool,
    ) -> bool {
        let mut late = self.opens.iter().rev().take_while(|open| open.at >= since);
        late.any(|open| {
            open.netns == netns && !open.near && (open.pid != pid || pid == 0) && !diverted(open.socket)
        })
    }

    /// Anybody in the namespace dialled anything since then.
    pub(super) fn any_opened(&self, netns: u32, since: Mono) -> bool {
        self.opens.iter().rev().take_while(|open| open.at >= since).any(|open| open.netns == netns)
    }

    pub(super) fn expire(&mut self, now: Mono) {
        while self.opens.front().is_some_and(|open| now.since(open.at) >= MEMORY) {
            self.opens.pop_front();
        }
        self.listeners.retain(|_, (_, at)| now.since(*at) < MEMORY);
    }
}
