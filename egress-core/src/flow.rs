//! Observations become failures (and successes) of flows: what belongs together, what was answered, and when
//! silence is a failure. The harm rule lives here: a drop alone is evidence, not a failure.

mod attempt;
mod attempts;
mod connection;
mod datagram;
mod diverted;
mod dns;
mod event;
mod ids;
mod lookup;
mod own;
mod size;
mod stall;
mod tcp;
mod unroutable;

use std::collections::VecDeque;
use std::net::IpAddr;

use crate::decode::{Application, Observation, PacketSeen, Seen, Tap, Transport, Tuple};
use crate::time::Mono;

pub use connection::{After, End, ResetBy, ResetFailure, SilenceFailure, TlsFailure, differently_far};
pub use dns::{
    AnswerSize, Closed, DnsFailure, DnsOutcome, Facts, Link, LinkOutcome, Response, Stray, TcpFate,
};
pub use event::{DivertedEnd, DivertedFailure, DropRole, FlowEvent, Journey, Outcome, Sighting};
pub use own::Own;
pub use size::{Alive, Gap, IcmpFate, SizeKind, TooBig};
pub use unroutable::{Unroutable, Unroutables};

/// Correlates observations. Bounded; what it had to forget is counted.
#[derive(Debug, Default)]
pub struct Tracker {
    attempts: attempts::Attempts,
    /// Live connections; other parts may look them up by the addresses of any of their packets.
    connections: connection::Connections,
    stalls: stall::Stalls,
    sizes: size::Sizes,
    datagrams: datagram::Datagrams,
    diverted: diverted::Diverted,
    dns: dns::Dns,
    /// ICMP errors made on this node, until the drops that they are about are seen.
    told: Vec<tcp::Told>,
    /// SYN-ACKs on their last steps to a client, by the time they went to its device.
    arriving: VecDeque<(Mono, Tuple)>,
}

impl Tracker {
    /// Takes one observation; failures it completes go to `out`.
    pub fn observe(&mut self, seen: &Observation, out: &mut Vec<FlowEvent>) {
        let first = out.len();
        self.arrive(seen.at, out);
        match &seen.seen {
            Seen::Packet(packet) => self.packet(seen, packet, out),
            Seen::Drop(dropped) => match &dropped.packet.transport {
                Transport::Icmp(error) if size::says_too_big(error) => {
                    self.sizes.icmp_dropped(seen, dropped, error, &mut self.connections, out);
                }
                Transport::Tcp { .. } => self.tcp_drop(seen, dropped, out),
                _ => {
                    self.dns.no_socket(seen, dropped);
                    self.datagram_drop(seen, dropped, out);
                }
            },
            Seen::Retransmit(again) => self.retransmit(seen, again, out),
            Seen::SockState(state) => {
                let known = self.attempts.by_client(&state.tuple).is_some();
                self.diverted.sock_state(seen, state, known, out);
                self.sock_state(seen, state, out);
                self.sizes.sock_state(state, &mut self.connections);
            }
            Seen::ReceiveHole(hole) => self.sizes.received(seen, hole, &mut self.connections, out),
            Seen::Reset(reset) => {
                self.diverted.reset(seen, reset);
                self.socket_reset(seen, reset);
            }
            Seen::Chain(_) | Seen::NoRoute(_) | Seen::Aggregated(_) | Seen::Lost(_) => {}
        }
        for event in out.iter_mut().skip(first) {
            self.diverted.complete(event);
        }
        for event in out.iter().skip(first).filter(|event| is_dns_over_tcp(&event.client)) {
            self.dns.connection_failed(event);
        }
    }

    /// A pod's addresses and namespace, and the search domains of its object.
    pub fn know_pod(&mut self, ips: &[IpAddr], namespace: &str, domains: &[String]) {
        self.dns.know(ips, namespace, domains);
    }

    /// A pod's network namespace.
    pub fn know_netns(&mut self, ip: IpAddr, netns: u32) {
        self.dns.know_netns(ip, netns);
    }

    /// A SYN with this number, of a connection with these addresses, came by this tap.
    #[must_use]
    pub fn left_pod(&self, client: &Tuple, isn: u32, tap: Tap) -> bool {
        self.attempts.came_by(client, isn, tap)
    }

    /// A drop or an error was told of the attempt with these addresses.
    #[must_use]
    pub fn explains(&self, client: &Tuple) -> bool {
        self.attempts.explains(client)
    }

    /// A pod is gone.
    pub fn forget_pod(&mut self, ip: IpAddr) {
        self.dns.forget(ip);
    }

    /// The node's own addresses.
    pub fn know_own(&mut self, addresses: &[IpAddr]) {
        self.dns.know_own(addresses);
    }

    /// Time went on: what is due becomes a failure.
    pub fn tick(&mut self, now: Mono, out: &mut Vec<FlowEvent>) {
        self.arrive(now, out);
        self.tell_errors(now, out);
        let first = out.len();
        self.datagrams.tick(now, out);
        for event in out.iter_mut().skip(first) {
            self.dns.complete(event);
            self.sizes.explain(event);
        }
        self.sizes.tick(now, &mut self.connections, out);
        self.dns.tick(now, out);
        let first = out.len();
        self.connections.tick(now, out);
        for event in out.iter_mut().skip(first) {
            self.diverted.complete(event);
        }
        self.diverted.tick(now, out);
        self.stalls.expire(now);
        self.attempts.expire(now);
    }

    /// DNS answers (and the lack of them) since the last call, for the metrics.
    pub fn take_responses(&mut self) -> Vec<Response> {
        self.dns.take_responses()
    }

    /// Flows forgotten because a table was full.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.attempts.forgotten()
            + self.connections.forgotten()
            + self.datagrams.forgotten()
            + self.diverted.forgotten()
            + self.dns.forgotten()
            + self.sizes.forgotten()
    }

    fn packet(&mut self, seen: &Observation, packet: &PacketSeen, out: &mut Vec<FlowEvent>) {
        if let Some(Application::Dns(message)) = &packet.application {
            for message in message.chain() {
                self.dns.message(seen, packet, message);
            }
            return;
        }
        if packet.tap == Tap::PodOut && packet.packet.is_syn() && is_dns_over_tcp(&packet.packet.tuple) {
            self.dns.connects(&packet.packet.tuple, seen.at);
        }
        match &packet.packet.transport {
            Transport::Tcp { .. } => {
                self.tcp_packet(seen, packet, out);
                self.sizes.packet(seen.at, packet, &mut self.connections);
            }
            Transport::Icmp(error) => {
                self.icmp_error(seen, packet, error, out);
                if size::says_too_big(error) {
                    self.sizes.icmp(seen, packet, error, &mut self.connections, out);
                    self.datagrams.too_big(&error.about);
                }
            }
            Transport::Udp
            | Transport::Sctp { .. }
            | Transport::EchoRequest { .. }
            | Transport::EchoReply { .. } => {
                self.datagrams.packet(seen, packet, out);
                if packet.tap == Tap::PodIn {
                    self.sizes.answered(packet.packet.tuple.source.ip, seen.at);
                }
            }
            Transport::Other => {}
        }
    }
}

/// A connection to a DNS server.
const fn is_dns_over_tcp(client: &Tuple) -> bool {
    client.protocol == 6 && client.destination.port == 53
}
