//! What came back from the other ends: answers, and FINs that nobody has taken yet.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::decode::Tuple;
use crate::time::Mono;

/// Destinations that answered, and FINs, kept at most.
const CAPACITY: usize = 1024;
/// How long it is remembered that a destination answered.
const ANSWERED: Duration = Duration::from_secs(150);
/// A FIN that the socket has not taken after this time has a hole before it: retransmission fills one sooner.
const UNTAKEN: Duration = Duration::from_secs(3);

/// What came back.
#[derive(Debug, Default)]
pub(super) struct Remotes {
    answered: HashMap<IpAddr, Mono>,
    /// Connections by their client, whose remote has closed and whose socket has not moved since.
    fins: HashMap<Tuple, Mono>,
}

impl Remotes {
    /// Something came back from there.
    pub(super) fn answered(&mut self, from: IpAddr, at: Mono) {
        if self.answered.len() < CAPACITY || self.answered.contains_key(&from) {
            self.answered.insert(from, at);
        }
    }

    /// When something last came back from there.
    pub(super) fn last_answer(&self, from: IpAddr) -> Option<Mono> {
        self.answered.get(&from).copied()
    }

    /// The remote's FIN reached the namespace of a client whose socket is established.
    pub(super) fn fin(&mut self, client: Tuple, at: Mono) {
        if self.fins.len() < CAPACITY {
            self.fins.entry(client).or_insert(at);
        }
    }

    /// The socket took the FIN, or was closed itself.
    pub(super) fn moved(&mut self, socket: &Tuple) {
        self.fins.remove(socket);
    }

    /// Connections whose FIN is due to have been taken; each is told once.
    pub(super) fn ignored_fins(&mut self, now: Mono) -> Vec<(Tuple, Mono)> {
        if self.fins.is_empty() {
            return Vec::new();
        }
        self.fins.extract_if(|_, at| now.since(*at) >= UNTAKEN).collect()
    }

    pub(super) fn expire(&mut self, now: Mono) {
        self.answered.retain(|_, at| now.since(*at) < ANSWERED);
    }
}
