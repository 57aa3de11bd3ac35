//! The table of connection attempts, found by addresses or by initial sequence number.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::attempt::Attempt;
use crate::decode::{Tap, Tuple};
use crate::time::Mono;

/// Attempts kept at most; the oldest goes first.
const CAPACITY: usize = 8192;
/// An attempt that is not heard of for so long is over (`tcp_syn_retries` of 6 ends after 127 s).
const SILENCE: Duration = Duration::from_secs(150);
/// An answered attempt stays so long, for packets that were underway.
const LINGER: Duration = Duration::from_secs(2);
/// A sequence number says "the same packet" only within this time: it can repeat, and pods can forge it.
const SAME_PACKET: Duration = Duration::from_secs(130);

/// The attempts.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    by_id: HashMap<u64, Attempt>,
    by_client: HashMap<Tuple, u64>,
    by_isn: HashMap<u32, u64>,
    order: VecDeque<u64>,
    next: u64,
    forgotten: u64,
    checked: Mono,
}

impl Attempts {
    pub(super) const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// By the addresses that the client used.
    pub(super) fn by_client(&mut self, client: &Tuple) -> Option<&mut Attempt> {
        self.by_id.get_mut(self.by_client.get(client)?)
    }

    /// A SYN with this number and these addresses was seen at this tap.
    pub(super) fn came_by(&self, client: &Tuple, isn: u32, tap: Tap) -> bool {
        self.by_client.get(client).and_then(|id| self.by_id.get(id)).is_some_and(|attempt| {
            attempt.isn == Some(isn) && attempt.journey.request(tap).is_some_and(|seen| seen.tuple == *client)
        })
    }

    /// Something was told of the attempt with these addresses.
    pub(super) fn explains(&self, client: &Tuple) -> bool {
        self.by_client.get(client).and_then(|id| self.by_id.get(id)).is_some_and(|attempt| attempt.explained)
    }

    /// By initial sequence number, where one end of the addresses and the time agree.
    pub(super) fn by_isn(&mut self, isn: u32, seen: &Tuple, at: Mono) -> Option<&mut Attempt> {
        let attempt = self.by_id.get_mut(self.by_isn.get(&isn)?)?;
        let client = &attempt.client;
        let agrees = seen.destination.ip == client.destination.ip
            || seen.source.ip == client.source.ip
            || seen.destination.port == client.destination.port;
        (agrees && at.since(attempt.last) < SAME_PACKET).then_some(attempt)
    }

    /// The attempt with these addresses; a new one if there is none, or if that one had another sequence number
    /// (the port was used again).
    pub(super) fn open(&mut self, client: Tuple, isn: Option<u32>, netns: u32, at: Mono) -> &mut Attempt {
        let known = self.by_client.get(&client).copied().filter(|id| {
            self.by_id.get(id).is_some_and(|known| match (known.isn, isn) {
                (Some(old), Some(new)) => old == new,
                _ => !known.answered,
            })
        });
        let id = known.unwrap_or_else(|| self.insert(client, netns, at));
        if let Some(isn) = isn {
            self.by_isn.insert(isn, id);
        }
        let attempt = self.by_id.entry(id).or_insert_with(|| Attempt::new(id, client, netns, at));
        attempt.isn = attempt.isn.or(isn);
        if attempt.netns == 0 {
            attempt.netns = netns;
        }
        attempt
    }

    fn insert(&mut self, client: Tuple, netns: u32, at: Mono) -> u64 {
        if self.by_id.len() >= CAPACITY
            && let Some(oldest) = self.order.pop_front()
        {
            self.remove(oldest);
            self.forgotten += 1;
        }
        if let Some(old) = self.by_client.get(&client).copied() {
            self.remove(old);
        }
        self.next += 1;
        self.by_id.insert(self.next, Attempt::new(self.next, client, netns, at));
        self.by_client.insert(client, self.next);
        self.order.push_back(self.next);
        self.next
    }

    fn remove(&mut self, id: u64) {
        let Some(gone) = self.by_id.remove(&id) else { return };
        if self.by_client.get(&gone.client) == Some(&id) {
            self.by_client.remove(&gone.client);
        }
        if let Some(isn) = gone.isn
            && self.by_isn.get(&isn) == Some(&id)
        {
            self.by_isn.remove(&isn);
        }
    }

    /// Forgets what is over. Looks once a second.
    pub(super) fn expire(&mut self, now: Mono) {
        if now.since(self.checked) < Duration::from_secs(1) {
            return;
        }
        self.checked = now;
        let over: Vec<u64> = self
            .by_id
            .values()
            .filter(|a| now.since(a.last) > if a.answered { LINGER } else { SILENCE })
            .map(|a| a.id)
            .collect();
        for id in over {
            self.remove(id);
        }
        self.order.retain(|id| self.by_id.contains_key(id));
    }
}
