//! Who dialled: sockets from their first sign until a while after their attempt. A socket says its process when it
//! begins to connect, and its port only later; packets say the port.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use crate::decode::{Observation, RetransmitSeen, SockStateSeen, Tuple};
use crate::time::Mono;
use crate::verdict::SocketAddress;

/// Sockets kept at most; the oldest go first.
const CAPACITY: usize = 4096;
/// A socket is remembered so long (`tcp_syn_retries` of 6 ends after 127 s).
const MEMORY: Duration = Duration::from_secs(150);
/// The SYN follows the dialling within this time.
const FOLLOWS: Duration = Duration::from_millis(50);

/// A socket that was told to connect.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dialled {
    /// When.
    pub at: Mono,
    /// Its network namespace.
    pub netns: u32,
    /// The process.
    pub pid: u32,
    /// Its command name, NUL padded.
    pub command: [u8; 16],
    /// cgroup v2 id, 0 where unknown.
    pub cgroup: u64,
    local: IpAddr,
    remote: SocketAddress,
    /// Its addresses with the port, once they are known.
    tuple: Option<Tuple>,
}

impl Dialled {
    /// The command name as text.
    #[must_use]
    pub fn command_name(&self) -> String {
        let end = self.command.iter().position(|byte| *byte == 0).unwrap_or(self.command.len());
        String::from_utf8_lossy(&self.command[..end]).into_owned()
    }
}

/// Sockets that dialled lately.
#[derive(Debug, Default)]
pub struct Sockets {
    by_socket: HashMap<u64, Dialled>,
    by_tuple: HashMap<Tuple, u64>,
    order: VecDeque<(Mono, u64)>,
}

impl Sockets {
    /// A process dials.
    pub fn dials(&mut self, seen: &Observation, state: &SockStateSeen) {
        self.expire(seen.at);
        let dialled = Dialled {
            at: seen.at,
            netns: seen.netns,
            pid: state.pid,
            command: state.command,
            cgroup: state.cgroup,
            local: state.tuple.source.ip,
            remote: state.tuple.destination,
            tuple: (state.tuple.source.port != 0).then_some(state.tuple),
        };
        self.forget(state.socket);
        if let Some(tuple) = dialled.tuple {
            self.by_tuple.insert(tuple, state.socket);
        }
        self.by_socket.insert(state.socket, dialled);
        self.order.push_back((seen.at, state.socket));
    }

    /// Its attempt ended, or was accepted.
    pub fn ended(&mut self, state: &SockStateSeen) {
        self.named(state.socket, state.tuple);
    }

    /// It sent its SYN again.
    pub fn again(&mut self, again: &RetransmitSeen) {
        self.named(again.socket, again.tuple);
    }

    /// A socket's port is known.
    fn named(&mut self, socket: u64, tuple: Tuple) {
        let Some(dialled) = self.by_socket.get_mut(&socket) else { return };
        if tuple.source.ip != dialled.local || tuple.destination != dialled.remote {
            return;
        }
        if dialled.tuple != Some(tuple) {
            if let Some(old) = dialled.tuple.replace(tuple) {
                self.by_tuple.remove(&old);
            }
            self.by_tuple.insert(tuple, socket);
        }
    }

    /// Who dialled the flow that was first seen at `first`, in a namespace that is as wanted. While no socket has named
    /// its port, the one that has just dialled the same destination, if it is the only one: sockets of the same command
    /// and cgroup count as one, without their process.
    #[must_use]
    pub fn of(&self, client: &Tuple, first: Mono, wanted: impl Fn(u32) -> bool) -> Option<Dialled> {
        if let Some(dialled) = self.by_tuple.get(client).and_then(|socket| self.by_socket.get(socket)) {
            return wanted(dialled.netns).then_some(*dialled);
        }
        let mut found: Option<Dialled> = None;
        for (at, socket) in self.order.iter().rev() {
            if first.since(*at) > FOLLOWS {
                break;
            }
            let Some(dialled) = self.by_socket.get(socket).filter(|dialled| dialled.at == *at) else {
                continue;
            };
            let fits = *at <= first
                && dialled.tuple.is_none()
                && dialled.local == client.source.ip
                && dialled.remote == client.destination
                && wanted(dialled.netns);
            if !fits {
                continue;
            }
            match &mut found {
                None => found = Some(*dialled),
                Some(other) if (other.command, other.cgroup) != (dialled.command, dialled.cgroup) => {
                    return None;
                }
                Some(other) if other.pid != dialled.pid => other.pid = 0,
                Some(_) => {}
            }
        }
        found
    }

    fn forget(&mut self, socket: u64) {
        if let Some(tuple) = self.by_socket.remove(&socket).and_then(|old| old.tuple)
            && self.by_tuple.get(&tuple) == Some(&socket)
        {
            self.by_tuple.remove(&tuple);
        }
    }

    fn expire(&mut self, now: Mono) {
        while let Some((at, socket)) = self.order.front().copied()
            && (self.order.len() >= CAPACITY || now.since(at) > MEMORY)
        {
            self.order.pop_front();
            // Its address may be another socket's by now.
            if self.by_socket.get(&socket).is_some_and(|dialled| dialled.at == at) {
                self.forget(socket);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{Seen, TcpState};

    const POD: u32 = 7;

    fn end(text: &str) -> SocketAddress {
        let address: std::net::SocketAddr = text.parse().unwrap();
        SocketAddress { ip: address.ip(), port: address.port() }
    }

    fn state(socket: u64, from: &str, to: &str, pid: u32, command: &[u8]) -> SockStateSeen {
        let mut name = [0; 16];
        name[..command.len()].copy_from_slice(command);
        SockStateSeen {
            tuple: Tuple { protocol: 6, source: end(from), destination: end(to) },
            socket,
            old: TcpState::Close,
            new: TcpState::SynSent,
            error: 0,
            pid,
            command: name,
            dialler: true,
            cgroup: 3,
            by_address: false,
            una: None,
            received: None,
            sent: None,
        }
    }

    fn dial(sockets: &mut Sockets, ms: u64, state: &SockStateSeen) {
        let seen = Observation { at: at(ms), netns: POD, ifindex: 0, seen: Seen::SockState(*state) };
        sockets.dials(&seen, state);
    }

    fn at(ms: u64) -> Mono {
        Mono(3_600_000_000_000 + ms * 1_000_000)
    }

    fn who(sockets: &Sockets, from: &str, to: &str, ms: u64) -> Option<(String, u32)> {
        let tuple = Tuple { protocol: 6, source: end(from), destination: end(to) };
        sockets.of(&tuple, at(ms), |netns| netns == POD).map(|dialled| (dialled.command_name(), dialled.pid))
    }

    const TO: &str = "203.0.113.4:443";

    #[test]
    fn the_only_one_that_has_just_dialled_is_it_until_the_ports_are_known() {
        let mut sockets = Sockets::default();
        dial(&mut sockets, 0, &state(1, "10.0.0.5:0", TO, 10, b"curl"));
        assert_eq!(who(&sockets, "10.0.0.5:4000", TO, 1), Some(("curl".into(), 10)));
        assert_eq!(who(&sockets, "10.0.0.5:4000", TO, 60), None, "too long ago to be its SYN");
        assert_eq!(who(&sockets, "10.0.0.6:4000", TO, 1), None);
        dial(&mut sockets, 1, &state(2, "10.0.0.5:0", TO, 11, b"wget"));
        assert_eq!(who(&sockets, "10.0.0.5:4000", TO, 2), None, "either may be it");
        sockets.ended(&state(1, "10.0.0.5:4000", TO, 0, b""));
        assert_eq!(who(&sockets, "10.0.0.5:4000", TO, 100_000), Some(("curl".into(), 10)));
        assert_eq!(who(&sockets, "10.0.0.5:4001", TO, 2), Some(("wget".into(), 11)));
        assert!(
            sockets
                .of(&Tuple { protocol: 6, source: end("10.0.0.5:4000"), destination: end(TO) }, at(2), |_| {
                    false
                })
                .is_none()
        );
    }

    #[test]
    fn two_of_one_program_are_named_without_their_numbers() {
        let mut sockets = Sockets::default();
        dial(&mut sockets, 0, &state(1, "10.0.0.5:0", TO, 10, b"curl"));
        dial(&mut sockets, 0, &state(2, "10.0.0.5:0", TO, 11, b"curl"));
        assert_eq!(who(&sockets, "10.0.0.5:4000", TO, 1), Some(("curl".into(), 0)));
    }

    #[test]
    fn a_socket_address_used_again_is_the_new_sockets() {
        let mut sockets = Sockets::default();
        dial(&mut sockets, 0, &state(1, "10.0.0.5:0", TO, 10, b"curl"));
        sockets.ended(&state(1, "10.0.0.5:4000", TO, 0, b""));
        dial(&mut sockets, 10, &state(1, "10.0.0.5:0", "203.0.113.5:80", 12, b"wget"));
        assert_eq!(who(&sockets, "10.0.0.5:4000", TO, 5), None);
        sockets.ended(&state(1, "10.0.0.5:4000", TO, 0, b""));
        assert_eq!(who(&sockets, "10.0.0.5:4000", TO, 5), None, "that one dials something else");
        for socket in 0..10_000 {
            dial(&mut sockets, 20, &state(socket, "10.0.0.5:0", TO, 10, b"curl"));
        }
        assert!(sockets.by_socket.len() <= CAPACITY && sockets.by_tuple.len() <= CAPACITY);
    }
}
