//! The table of live connections, found by the addresses of any packet of theirs, before or after translation.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::{Connection, End};
use crate::decode::{Tap, Tuple};
use crate::flow::attempt::Attempt;
use crate::time::Mono;

/// Connections kept at most; the one that was opened first goes first.
const CAPACITY: usize = 8192;
/// A connection that is over stays so long, for packets that were underway.
const LINGER: Duration = Duration::from_secs(3);
/// After one end closed, the other may go on for so long.
const HALF_CLOSED: Duration = Duration::from_secs(60);

/// The connections.
#[derive(Debug, Default)]
pub(in crate::flow) struct Connections {
    by_id: HashMap<u64, Connection>,
    /// By addresses as they are on each device, from client to server.
    by_tuple: HashMap<Tuple, u64>,
    order: VecDeque<u64>,
    /// Connections to look at, and when.
    pub(super) due: Vec<(Mono, u64)>,
    forgotten: u64,
    checked: Mono,
}

impl Connections {
    pub(in crate::flow) const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// The connection of a packet with these addresses, and which end sent it.
    pub(in crate::flow) fn find(&mut self, packet: &Tuple) -> Option<(&mut Connection, End)> {
        let (id, end) = match self.by_tuple.get(packet) {
            Some(id) => (*id, End::Client),
            None => (*self.by_tuple.get(&packet.reversed())?, End::Server),
        };
        self.by_id.get_mut(&id).map(|connection| (connection, end))
    }

    pub(super) fn by_id(&mut self, id: u64) -> Option<&mut Connection> {
        self.by_id.get_mut(&id)
    }

    /// An attempt was answered.
    pub(in crate::flow) fn open(&mut self, attempt: &Attempt, at: Mono) {
        if self.by_id.contains_key(&attempt.id) {
            return;
        }
        if self.by_id.len() >= CAPACITY
            && let Some(oldest) = self.order.pop_front()
        {
            self.forgotten += u64::from(self.by_id.get(&oldest).is_some_and(|known| !known.over));
            self.remove(oldest);
        }
        let connection = Connection {
            id: attempt.id,
            netns: attempt.netns,
            client: attempt.client,
            opened: attempt.opened,
            established: at,
            client_isn: attempt.isn,
            server_isn: attempt.server_isn,
            journey: attempt.journey.clone(),
            handshake: super::tls::Handshake::default(),
            socket_reports: false,
            socket_moved: false,
            closed: [None; 2],
            reset: None,
            node_reset: None,
            stuck: None,
            dropped: None,
            icmp: None,
            told: false,
            over: false,
        };
        for tuple in tuples(&connection) {
            self.by_tuple.insert(tuple, attempt.id);
        }
        self.by_id.insert(attempt.id, connection);
        self.order.push_back(attempt.id);
    }

    /// A SYN with these addresses: what used them before is over.
    pub(in crate::flow) fn reopened(&mut self, tuple: &Tuple, isn: u32) {
        let Some(id) = self.by_tuple.get(tuple).copied() else { return };
        let Some(known) = self.by_id.get(&id) else { return };
        if known.client_isn == Some(isn) {
            return;
        }
        if known.client == *tuple {
            self.remove(id);
        } else {
            self.by_tuple.remove(tuple);
        }
    }

    fn remove(&mut self, id: u64) {
        let Some(gone) = self.by_id.remove(&id) else { return };
        for tuple in tuples(&gone) {
            if self.by_tuple.get(&tuple) == Some(&id) {
                self.by_tuple.remove(&tuple);
            }
        }
    }

    /// Looks at a connection again after a while.
    pub(super) fn look_at(&mut self, now: Mono, wait: Duration, id: u64) {
        if self.due.len() < CAPACITY {
            self.due.push((now.after(wait), id));
        }
    }

    /// Forgets what is over. Looks once a second.
    pub(in crate::flow) fn expire(&mut self, now: Mono) {
        if now.since(self.checked) < Duration::from_secs(1) {
            return;
        }
        self.checked = now;
        let closed = |connection: &Connection| connection.closed.iter().flatten().max().copied();
        let over: Vec<u64> = self
            .by_id
            .values()
            .filter(|c| closed(c).is_some_and(|at| now.since(at) > if c.over { LINGER } else { HALF_CLOSED }))
            .map(|c| c.id)
            .collect();
        if over.is_empty() {
            return;
        }
        for id in over {
            self.remove(id);
        }
        self.order.retain(|id| self.by_id.contains_key(id));
    }
}

/// The addresses of its packets from client to server, on every device where it was seen.
fn tuples(connection: &Connection) -> impl Iterator<Item = Tuple> {
    const TAPS: [Tap; 4] = [Tap::PodOut, Tap::PodIn, Tap::UplinkOut, Tap::UplinkIn];
    let journey = &connection.journey;
    let requests = TAPS.iter().filter_map(|tap| journey.request(*tap)).map(|seen| seen.tuple);
    let answers = TAPS.iter().filter_map(|tap| journey.answer(*tap)).map(|seen| seen.tuple.reversed());
    std::iter::once(connection.client).chain(requests).chain(answers)
}
