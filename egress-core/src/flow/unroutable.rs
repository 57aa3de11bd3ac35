//! Destinations that a pod's own routing refuses. Healthy programs ask for such routes as well: they try both families
//! of a name, or the next address of a list. So it is a failure only if the pod did not go on to another address
//! within a second, before or after.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use crate::decode::NoRouteSeen;
use crate::node::Refusal;
use crate::time::Mono;
use crate::verdict::SocketAddress;

/// How long another way is waited for: a verdict within a second.
const WAIT: Duration = Duration::from_millis(850);
/// Look-ups so near to each other are one attempt: `connect` makes several.
const SAME_ATTEMPT: Duration = Duration::from_millis(100);
/// Attempts of this age are forgotten.
const MEMORY: Duration = Duration::from_secs(60);
/// Pending destinations, and attempts elsewhere, kept at most.
const CAPACITY: usize = 1024;

/// A refused destination, of the namespace of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Wanted {
    netns: u32,
    destination: SocketAddress,
    protocol: u8,
}

/// A refused destination for which no other was tried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unroutable {
    /// Number of this failure; repetitions have the same.
    pub id: u64,
    /// Namespace of the pod.
    pub netns: u32,
    /// Where it wanted to go.
    pub destination: SocketAddress,
    /// IP protocol number.
    pub protocol: u8,
    /// How routing refused.
    pub refusal: Refusal,
    /// Attempts since the last report.
    pub attempts: u64,
    /// It was tried again after some time: nobody is satisfied with something else.
    pub repeated: bool,
    /// First attempt.
    pub first: Mono,
    /// Last attempt.
    pub last: Mono,
}

/// Refused destinations that wait.
#[derive(Debug, Default)]
pub struct Unroutables {
    wanted: HashMap<Wanted, State>,
    /// Connections and DNS questions that left pods of late.
    tried: VecDeque<(Mono, IpAddr, SocketAddress, u8)>,
    next: u64,
    forgotten: u64,
}

#[derive(Debug)]
struct State {
    id: u64,
    refusal: Refusal,
    first: Mono,
    last: Mono,
    untold: u64,
    repeated: bool,
}

impl Unroutables {
    /// Destinations for which there was no room.
    #[must_use]
    pub const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Routing refused a destination.
    pub fn refused(&mut self, netns: u32, seen: &NoRouteSeen, at: Mono) {
        let wanted = Wanted { netns, destination: seen.destination, protocol: seen.protocol };
        if self.wanted.len() >= CAPACITY && !self.wanted.contains_key(&wanted) {
            self.forgotten += 1;
            return;
        }
        let next = &mut self.next;
        let state = self.wanted.entry(wanted).or_insert_with(|| {
            *next += 1;
            let id = super::ids::UNROUTABLE + *next;
            State { id, refusal: seen.refusal, first: at, last: at, untold: 1, repeated: false }
        });
        if at.since(state.last) >= SAME_ATTEMPT {
            state.untold += 1;
            state.repeated = true;
        }
        state.last = at;
        // A route that refuses tells more than a table that has none.
        if state.refusal == Refusal::NoRoute {
            state.refusal = seen.refusal;
        }
    }

    /// A pod sent something that opens a connection, or asks.
    pub fn tried(&mut self, source: IpAddr, destination: SocketAddress, protocol: u8, at: Mono) {
        if self.tried.len() >= CAPACITY {
            self.tried.pop_front();
        }
        self.tried.push_back((at, source, destination, protocol));
    }

    /// What has waited long enough.
    pub fn due(&mut self, now: Mono) -> Vec<Unroutable> {
        while self.tried.front().is_some_and(|(at, ..)| now.since(*at) > MEMORY) {
            self.tried.pop_front();
        }
        if self.wanted.is_empty() {
            return Vec::new();
        }
        let mut due = Vec::new();
        for (wanted, state) in &mut self.wanted {
            if state.untold == 0 || now.since(state.last) < WAIT {
                continue;
            }
            due.push(Unroutable {
                id: state.id,
                netns: wanted.netns,
                destination: wanted.destination,
                protocol: wanted.protocol,
                refusal: state.refusal,
                attempts: std::mem::take(&mut state.untold),
                repeated: state.repeated,
                first: state.first,
                last: state.last,
            });
        }
        self.wanted.retain(|_, state| now.since(state.last) < MEMORY);
        due.sort_unstable_by_key(|failed| failed.id);
        due
    }

    /// Where else the pod with these addresses went, from a moment before the last attempt on.
    pub fn elsewhere<'a>(
        &'a self,
        failed: &'a Unroutable,
        ips: &'a [IpAddr],
    ) -> impl Iterator<Item = SocketAddress> + 'a {
        self.tried
            .iter()
            .rev()
            .take_while(|(at, ..)| at.after(WAIT) >= failed.last)
            .filter(|(_, source, to, protocol)| {
                ips.contains(source) && *protocol == failed.protocol && to.ip != failed.destination.ip
            })
            .map(|(_, _, to, _)| *to)
    }
}
