//! A pod on this node got the question and did not answer, and its socket's queue is full: some kernels drop there
//! without a word.

use super::{buffer, buffer_summary, listener, listener_summary};
use crate::decode::Tap;
use crate::node::{Answer, Question, Queue};
use crate::protocol::Protocol;
use crate::verdict::case::Case;
use crate::verdict::judge::Judgement;
use crate::verdict::{Cause, Confidence, Direction, Stage};

/// The least memory that a packet takes in a receive buffer, bytes.
const PACKET: u32 = 768;

pub(super) fn judge(case: &Case<'_>) -> Option<Judgement> {
    let journey = &case.event.journey;
    let delivered = journey.request(Tap::PodIn)?;
    if journey.request(Tap::UplinkOut).is_some() || journey.answer(Tap::PodOut).is_some() {
        return None;
    }
    let (netns, stage) = match case.direction {
        Direction::Egress => (case.peer_netns?, Stage::Upstream),
        Direction::Ingress => (case.pod_netns?, Stage::Pod),
    };
    let protocol = case.protocol();
    let asked = Question::Socket { netns, protocol, address: delivered.tuple.destination };
    let Some(Answer::Socket(queue)) = case.readings.get(&asked) else { return None };
    let queue = *queue;
    let what = format!("the {} to {}", case.packet_word(), case.target());
    let new = |confidence, summary| Judgement::new(Cause::LocalResource, confidence, stage, summary);
    match protocol {
        Protocol::Tcp if overflows(queue) => {
            let summary = listener_summary(case, stage, &what, Some(queue));
            Some(listener(new(Confidence::Certain, summary), Some(queue)).at("listen queue"))
        }
        Protocol::Udp if queue.drops > 0 && queue.queued.saturating_add(PACKET) > queue.limit => {
            let summary = buffer_summary(case, stage, &what, Some(queue));
            Some(buffer(new(Confidence::Likely, summary), Some(queue)).at("receive buffer"))
        }
        _ => None,
    }
}

/// A listener takes one connection more than its backlog says.
const fn overflows(queue: Queue) -> bool {
    queue.queued > queue.limit
}
