//! One flow with a size problem, or the signs of one.

use std::time::Duration;

use super::announced::{Announced, Announcement, is_after};
use super::finding::{Alive, Gap, IcmpFate, SizeKind, TooBig};
use super::hole::Hole;
use super::{Known, network_header};
use crate::decode::{RetransmitSeen, Tuple};
use crate::flow::event::{FlowEvent, Journey, Outcome};
use crate::time::Mono;

/// A flow that was answered so shortly before is looking for the largest size that passes (as QUIC does).
const PROBING: Duration = Duration::from_secs(2);
/// Header of a TCP segment without options.
const TCP_HEADER: u32 = 20;

/// What a flow was told, lost and got through.
#[derive(Debug)]
pub(super) struct Flow {
    id: u64,
    pub(super) client: Tuple,
    pub(super) netns: u32,
    first: Mono,
    pub(super) last: Mono,
    /// Events told.
    pub(super) told: u64,
    announced: Option<Announced>,
    hole: Option<Hole>,
    mss: u32,
    /// A packet of it was dropped here for another reason.
    pub(super) stopped_otherwise: Option<Mono>,
    /// The remote closed it.
    pub(super) remote_closed: Option<Mono>,
}

/// What follows from an observation.
#[derive(Debug)]
pub(super) enum Step {
    /// Nothing.
    None,
    /// It did harm.
    Harmed(Box<TooBig>),
    /// What was too big has arrived after all.
    Passed,
}

impl Flow {
    pub(super) const fn new(id: u64, client: Tuple, at: Mono) -> Self {
        Self {
            id,
            client,
            netns: 0,
            first: at,
            last: at,
            told: 0,
            announced: None,
            hole: None,
            mss: 0,
            stopped_otherwise: None,
            remote_closed: None,
        }
    }

    /// Somebody said that a packet of it is too big. `answered`: when its remote end last answered anybody.
    pub(super) fn told_too_big(&mut self, at: Mono, said: Announcement, answered: Option<Mono>) -> Step {
        let datagram = said.seq.is_none();
        let Some(known) = &mut self.announced else {
            self.announced = Some(Announced::new(at, said));
            return Step::None;
        };
        let lives = datagram && answered.is_some_and(|last| last.after(PROBING) > known.first);
        if lives || known.is_over(at, &said) {
            *known = Announced::new(at, said);
            return Step::None;
        }
        if known.hear(at, said) { self.harmed(at) } else { Step::None }
    }

    fn harmed(&self, at: Mono) -> Step {
        self.announced
            .as_ref()
            .and_then(|announced| announced.finding(at, self.mss))
            .map_or(Step::None, |finding| Step::Harmed(Box::new(finding)))
    }

    /// The socket sent a segment again. `answered`: when its remote end last answered another flow.
    pub(super) fn sent_again(
        &mut self,
        at: Mono,
        again: &RetransmitSeen,
        answered: Option<Mono>,
        known: Option<Known>,
    ) -> Step {
        if again.mss != 0 {
            self.mss = again.mss;
        }
        let passed = self.announced.as_ref().is_some_and(|announced| announced.is_passed(again.una));
        let moved = self.hole.as_ref().is_some_and(|hole| is_after(again.una, hole.una));
        if moved && self.told > 0 {
            return Step::Passed;
        }
        if passed {
            self.announced = None;
        }
        let size = segment(again);
        match &mut self.hole {
            Some(hole) if hole.una == again.una => hole.sent_again(again),
            hole => *hole = Some(Hole::new(at, again, size)),
        }
        if let Some(announced) = &mut self.announced {
            return if announced.sent(at, again.una, size) { self.harmed(at) } else { Step::None };
        }
        let Some(hole) = &self.hole else { return Step::None };
        if self.stopped_otherwise.is_some() {
            return Step::None;
        }
        let alive = Alive {
            sacked: again.sacked,
            acknowledged: known
                .and_then(|known| Some(again.una.wrapping_sub(known.isn?).wrapping_sub(1)))
                .unwrap_or(0),
            answered: answered.is_some_and(|last| last > hole.first),
            closed: self.remote_closed.is_some_and(|last| last > hole.first),
        };
        match hole.judge(at, again, alive, known.map(|known| known.established)) {
            Some(finding) => Step::Harmed(Box::new(finding)),
            None => Step::None,
        }
    }

    /// What the remote sent has a hole that stays.
    pub(super) fn received(&self, gap: Gap, after: Duration, mss: u32) -> Step {
        if self.stopped_otherwise.is_some() || self.told > 0 {
            return Step::None;
        }
        Step::Harmed(Box::new(TooBig {
            kind: SizeKind::Received(gap),
            size: 0,
            mtu: 0,
            mss,
            icmp: IcmpFate::default(),
            after,
            again: 0,
        }))
    }

    /// Why a question of it stayed without an answer, if it was told since it was asked.
    pub(super) fn unanswered(&self, asked: Mono, at: Mono) -> Option<TooBig> {
        self.announced.as_ref().filter(|told| told.first >= asked)?.finding(at, self.mss)
    }

    pub(super) fn event(&self, at: Mono, outcome: Outcome, failed: u64, journey: Journey) -> FlowEvent {
        let first = self
            .announced
            .as_ref()
            .map(|told| told.first)
            .or_else(|| self.hole.as_ref().map(|hole| hole.first))
            .unwrap_or(self.first);
        FlowEvent {
            at,
            attempt: self.id,
            netns: self.netns,
            client: self.client,
            outcome,
            failed,
            first_report: false,
            first,
            last: at,
            journey,
        }
    }
}

/// The packet that a retransmitted segment makes, without TCP options: at least so many bytes.
fn segment(again: &RetransmitSeen) -> u32 {
    let payload = if again.mss == 0 { again.length } else { again.length.min(again.mss) };
    // The length is whatever the record says.
    payload.saturating_add(TCP_HEADER + network_header(again.tuple.source.ip))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::TcpState;
    use crate::verdict::SocketAddress;

    #[test]
    fn a_length_that_cannot_be_makes_no_overflow() {
        let end = |text: &str, port| SocketAddress { ip: text.parse().unwrap(), port };
        let again = |length, mss| RetransmitSeen {
            tuple: Tuple {
                protocol: 6,
                source: end("10.244.1.5", 40000),
                destination: end("203.0.113.4", 443),
            },
            socket: 1,
            state: TcpState::Established,
            syn: false,
            seq: 1,
            una: 1,
            length,
            mss,
            timeouts: 1,
            silence: None,
            sacked: 0,
            cgroup: 0,
            by_address: false,
        };
        assert_eq!(segment(&again(u32::MAX, 0)), u32::MAX);
        assert_eq!(segment(&again(u32::MAX, u32::MAX)), u32::MAX);
        assert_eq!(segment(&again(9000, 1448)), 1488);
    }
}
