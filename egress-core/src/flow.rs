//! Observations become failures (and successes) of flows: what belongs together, what was answered, and when
//! silence is a failure. The harm rule lives here: a drop alone is evidence, not a failure.

mod attempt;
mod attempts;
mod datagram;
mod dns;
mod event;
mod lookup;
mod size;
mod stall;
mod tcp;

use crate::decode::{Application, IcmpError, Observation, PacketSeen, Seen, Tap, Transport};
use crate::time::Mono;

pub use dns::Response;
pub(crate) use dns::without_search_path;
pub use event::{DnsFailure, DnsOutcome, DropRole, FlowEvent, Journey, Outcome, Sighting};
pub use size::{Alive, Gap, IcmpFate, SizeKind, TooBig};

/// Correlates observations. Bounded; what it had to forget is counted.
#[derive(Debug, Default)]
pub struct Tracker {
    attempts: attempts::Attempts,
    stalls: stall::Stalls,
    sizes: size::Sizes,
    datagrams: datagram::Datagrams,
    dns: dns::Dns,
}

impl Tracker {
    /// Takes one observation; failures it completes go to `out`.
    pub fn observe(&mut self, seen: &Observation, out: &mut Vec<FlowEvent>) {
        match &seen.seen {
            Seen::Packet(packet) => self.packet(seen, packet, out),
            Seen::Drop(dropped) => match &dropped.packet.transport {
                Transport::Icmp(error) if size::says_too_big(error) => {
                    self.sizes.icmp_dropped(seen, dropped, error, out);
                }
                Transport::Tcp { .. } => self.tcp_drop(seen, dropped, out),
                _ => self.datagram_drop(seen, dropped, out),
            },
            Seen::Retransmit(again) => self.retransmit(seen, again, out),
            Seen::SockState(state) => {
                let first = out.len();
                self.sock_state(seen, state, out);
                self.note_openings(&out[first..]);
                self.sizes.sock_state(state);
            }
            Seen::ReceiveHole(hole) => self.sizes.received(seen, hole, out),
            Seen::Reset(_) | Seen::Aggregated(_) | Seen::Lost(_) => {}
        }
    }

    /// Time went on: what is due becomes a failure.
    pub fn tick(&mut self, now: Mono, out: &mut Vec<FlowEvent>) {
        let first = out.len();
        self.datagrams.tick(now, out);
        for event in out.iter_mut().skip(first) {
            self.dns.complete(event);
            self.sizes.explain(event);
        }
        self.sizes.tick(now, out);
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
        self.attempts.forgotten() + self.datagrams.forgotten() + self.dns.forgotten() + self.sizes.forgotten()
    }

    fn packet(&mut self, seen: &Observation, packet: &PacketSeen, out: &mut Vec<FlowEvent>) {
        if let Some(Application::Dns(message)) = &packet.application {
            self.dns.message(seen, packet, message, out);
            return;
        }
        match &packet.packet.transport {
            Transport::Tcp { flags, .. } => {
                let first = out.len();
                self.tcp_packet(seen, packet, out);
                self.note_openings(&out[first..]);
                if crate::decode::is_closing(*flags) {
                    self.sizes.closing(seen.at, packet);
                }
            }
            Transport::Icmp(error) if size::says_too_big(error) => self.too_big(seen, packet, error, out),
            Transport::Icmp(error) => self.icmp_error(seen, packet, error, out),
            Transport::Udp | Transport::EchoRequest { .. } | Transport::EchoReply { .. } => {
                self.datagrams.packet(seen, packet, out);
                if packet.tap == Tap::PodIn {
                    self.sizes.answered(&packet.packet.tuple.reversed(), seen.at);
                }
            }
            Transport::Sctp { .. } | Transport::Other => {}
        }
    }

    /// An ICMP message that tells a sender of the size to keep to.
    fn too_big(
        &mut self,
        seen: &Observation,
        packet: &PacketSeen,
        error: &IcmpError,
        out: &mut Vec<FlowEvent>,
    ) {
        self.sizes.icmp(seen, packet, error, out);
        self.datagrams.too_big(&error.about);
    }

    /// Connections that were established just now.
    fn note_openings(&mut self, events: &[FlowEvent]) {
        for event in events.iter().filter(|event| event.outcome == Outcome::Succeeded) {
            self.sizes.opened(event);
        }
    }
}
