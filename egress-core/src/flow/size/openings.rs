//! Connections as they were opened: who is the client, what the addresses became, and what has come back since.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use crate::decode::{Tap, Tuple};
use crate::flow::event::{FlowEvent, Journey};
use crate::time::Mono;

/// Connections kept at most; the oldest goes first. A longer-lived one is judged without this knowledge.
const CAPACITY: usize = 2048;
/// Destinations that answered, kept at most.
const DESTINATIONS: usize = 1024;
/// How long it is remembered that a destination answered.
const ANSWERED: Duration = Duration::from_secs(150);
/// A FIN that the socket has not taken after this time has a hole before it: retransmission fills one sooner.
const UNTAKEN: Duration = Duration::from_secs(3);

/// Recent connections.
#[derive(Debug, Default)]
pub(super) struct Openings {
    by_client: HashMap<Tuple, Opening>,
    /// As they left the uplink.
    by_wire: HashMap<Tuple, Tuple>,
    /// In the order in which they came, with their number: addresses may be used again.
    order: VecDeque<(Tuple, u64)>,
    next: u64,
    answered: HashMap<IpAddr, Mono>,
    /// Connections whose remote has closed and whose socket has not moved since.
    fins: HashMap<Tuple, Mono>,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Opening {
    number: u64,
    /// When it was established.
    pub(super) at: Mono,
    /// The way of its SYN.
    pub(super) journey: Box<Journey>,
    /// The kernel told of its socket, which is established, so that a change of its state would be told too.
    witnessed: bool,
}

impl Openings {
    /// A connection was established.
    pub(super) fn opened(&mut self, event: &FlowEvent) {
        self.answered(event.client.destination.ip, event.at);
        if self.order.len() >= CAPACITY
            && let Some((oldest, number)) = self.order.pop_front()
            && self.by_client.get(&oldest).is_some_and(|opening| opening.number == number)
        {
            self.forget(&oldest);
        }
        self.forget(&event.client);
        self.next += 1;
        if let Some(left) = event.journey.request(Tap::UplinkOut) {
            self.by_wire.insert(left.tuple, event.client);
        }
        let opening = Opening {
            number: self.next,
            at: event.at,
            journey: Box::new(event.journey.clone()),
            witnessed: false,
        };
        self.by_client.insert(event.client, opening);
        self.order.push_back((event.client, self.next));
    }

    /// The kernel told that the socket is established.
    pub(super) fn witnessed(&mut self, socket: &Tuple) {
        if let Some(opening) = self.by_client.get_mut(socket) {
            opening.witnessed = true;
        }
    }

    /// The socket took the FIN, or was closed itself: a FIN that comes later is not its own any more.
    pub(super) fn moved(&mut self, socket: &Tuple) {
        if let Some(opening) = self.by_client.get_mut(socket) {
            opening.witnessed = false;
        }
        self.fins.remove(socket);
    }

    /// The remote's FIN reached the client's namespace.
    pub(super) fn remote_fin(&mut self, client: &Tuple, at: Mono) {
        if self.by_client.get(client).is_some_and(|opening| opening.witnessed) {
            self.fins.entry(*client).or_insert(at);
        }
    }

    /// Connections whose FIN is due; each is told once.
    pub(super) fn ignored_fins(&mut self, now: Mono) -> Vec<(Tuple, Mono)> {
        if self.fins.is_empty() {
            return Vec::new();
        }
        let due: Vec<(Tuple, Mono)> = self
            .fins
            .iter()
            .filter(|(_, at)| now.since(**at) >= UNTAKEN)
            .map(|(client, at)| (*client, *at))
            .collect();
        for (client, _) in &due {
            self.fins.remove(client);
        }
        due
    }

    /// Something came back from there.
    pub(super) fn answered(&mut self, from: IpAddr, at: Mono) {
        if self.answered.len() < DESTINATIONS || self.answered.contains_key(&from) {
            self.answered.insert(from, at);
        }
    }

    /// When something last came back from there.
    pub(super) fn last_answer(&self, from: IpAddr) -> Option<Mono> {
        self.answered.get(&from).copied()
    }

    pub(super) fn get(&self, client: &Tuple) -> Option<&Opening> {
        self.by_client.get(client)
    }

    /// Who sends packets that leave the uplink with these addresses.
    pub(super) fn by_wire(&self, wire: &Tuple) -> Option<Tuple> {
        if self.by_client.contains_key(wire) {
            return Some(*wire);
        }
        self.by_wire.get(wire).copied()
    }

    /// The flow as its client addresses it, of a packet with this sender.
    pub(super) fn client_of(&self, sender: &Tuple) -> Tuple {
        let reversed = sender.reversed();
        if self.by_client.contains_key(sender) {
            *sender
        } else if self.by_client.contains_key(&reversed) || serves(sender) {
            reversed
        } else {
            *sender
        }
    }

    pub(super) fn expire(&mut self, now: Mono) {
        self.answered.retain(|_, at| now.since(*at) < ANSWERED);
    }

    fn forget(&mut self, client: &Tuple) {
        let Some(gone) = self.by_client.remove(client) else { return };
        if let Some(left) = gone.journey.request(Tap::UplinkOut) {
            self.by_wire.remove(&left.tuple);
        }
        self.fins.remove(client);
    }
}

/// Ports of servers are small, ports of clients are not (`ip_local_port_range` begins at 32768).
const fn serves(sender: &Tuple) -> bool {
    matches!(sender.protocol, 6 | 17) && sender.source.port < 32768 && sender.destination.port >= 32768
}
