//! Observations become failures (and successes) of flows: what belongs together, what was answered, and when
//! silence is a failure. The harm rule lives here: a drop alone is evidence, not a failure.

mod attempt;
mod attempts;
mod datagram;
mod dns;
mod event;
mod lookup;
mod stall;
mod tcp;
mod unroutable;

use crate::decode::{Application, Observation, PacketSeen, Seen, Transport};
use crate::time::Mono;

pub use dns::Response;
pub(crate) use dns::without_search_path;
pub use event::{DnsFailure, DnsOutcome, DropRole, FlowEvent, Journey, Outcome, Sighting};
pub use unroutable::{Unroutable, Unroutables};

/// Correlates observations. Bounded; what it had to forget is counted.
#[derive(Debug, Default)]
pub struct Tracker {
    attempts: attempts::Attempts,
    stalls: stall::Stalls,
    datagrams: datagram::Datagrams,
    dns: dns::Dns,
    /// ICMP errors made on this node, until the drops that they are about are seen.
    told: Vec<tcp::Told>,
}

impl Tracker {
    /// Takes one observation; failures it completes go to `out`.
    pub fn observe(&mut self, seen: &Observation, out: &mut Vec<FlowEvent>) {
        match &seen.seen {
            Seen::Packet(packet) => self.packet(seen, packet, out),
            Seen::Drop(dropped) => match &dropped.packet.transport {
                Transport::Tcp { .. } => self.tcp_drop(seen, dropped, out),
                _ => self.datagram_drop(seen, dropped, out),
            },
            Seen::Retransmit(again) => self.retransmit(seen, again, out),
            Seen::SockState(state) => self.sock_state(seen, state, out),
            Seen::NoRoute(_) | Seen::Reset(_) | Seen::Aggregated(_) | Seen::Lost(_) => {}
        }
    }

    /// Time went on: what is due becomes a failure.
    pub fn tick(&mut self, now: Mono, out: &mut Vec<FlowEvent>) {
        self.tell_errors(now, out);
        let first = out.len();
        self.datagrams.tick(now, out);
        for event in out.iter_mut().skip(first) {
            self.dns.complete(event);
        }
        self.dns.tick(now, out);
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
        self.attempts.forgotten() + self.datagrams.forgotten() + self.dns.forgotten()
    }

    fn packet(&mut self, seen: &Observation, packet: &PacketSeen, out: &mut Vec<FlowEvent>) {
        if let Some(Application::Dns(message)) = &packet.application {
            self.dns.message(seen, packet, message, out);
            return;
        }
        match &packet.packet.transport {
            Transport::Tcp { .. } => self.tcp_packet(seen, packet, out),
            Transport::Icmp(error) => self.icmp_error(seen, packet, error, out),
            Transport::Udp | Transport::EchoRequest { .. } | Transport::EchoReply { .. } => {
                self.datagrams.packet(seen, packet, out);
            }
            Transport::Sctp { .. } | Transport::Other => {}
        }
    }
}
