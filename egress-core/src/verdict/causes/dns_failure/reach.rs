//! How far an unanswered question was seen to get.

use crate::decode::Tap;
use crate::flow::DnsFailure;
use crate::verdict::Stage;
use crate::verdict::case::Case;

/// The last place where the question was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// It left the pod, or was seen nowhere.
    Pod,
    /// It is the node itself that is asked.
    Node,
    /// It left the node.
    LeftNode,
    /// It was delivered to a server's pod here.
    Server,
    /// An answer was seen on its way, and did not reach the pod.
    AnswerLost,
}

impl Reach {
    pub(super) fn of(case: &Case<'_>, failure: &DnsFailure) -> Self {
        let journey = &case.event.journey;
        let came = journey.answer(Tap::UplinkIn).is_some() || journey.answer(Tap::PodOut).is_some();
        // Of an answer in fragments only the first is seen by TC.
        let partly = failure.facts.size.is_some_and(|size| size.fragment_seen);
        if came && !partly && journey.answer(Tap::PodIn).is_none() && failure.facts.slow.is_none() {
            Self::AnswerLost
        } else if journey.request(Tap::PodIn).is_some() {
            Self::Server
        } else if journey.request(Tap::UplinkOut).is_some() {
            Self::LeftNode
        } else if !failure.facts.chain.is_empty() || case.node.is_own(case.event.client.destination.ip) {
            Self::Node
        } else {
            Self::Pod
        }
    }

    /// The word of the contract.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Pod => "left-pod",
            Self::Node => "node",
            Self::LeftNode => "left-node",
            Self::Server => "server-pod",
            Self::AnswerLost => "answer-lost",
        }
    }

    /// Where it broke when the node itself was asked: beyond it where it asked in vain.
    pub(super) fn node_stage(self, failure: &DnsFailure) -> Stage {
        if failure.facts.chain.is_empty() { Stage::Node } else { Stage::Upstream }
    }
}

/// Why an answer could have been missed, if it could: "nothing came back" may be said where it would have been seen.
pub(super) fn unwatched(case: &Case<'_>) -> Option<String> {
    let journey = &case.event.journey;
    let blind = |tap| {
        let device = case.node.device(journey.request(tap)?.ifindex)?;
        if let Some(bypass) = &device.bypass {
            return Some(format!("answers that come by {} may be missed: {bypass}", device.name));
        }
        (!device.watched_in).then(|| format!("what comes in by {} is not watched", device.name))
    };
    blind(Tap::PodOut).or_else(|| blind(Tap::UplinkOut))
}
