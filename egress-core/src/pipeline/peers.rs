//! Pods of other nodes are asked for when a failure is about them; the failure waits for the answer, but not long.

use std::time::Duration;

use super::{Pipeline, frame};
use crate::cluster::PeerQuestion;
use crate::flow::FlowEvent;
use crate::time::Mono;

/// How long a failure waits to hear who a peer is: a request to an API server that has to do.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);
/// A question is not asked again before this time, answered or not.
const ASKED: Duration = Duration::from_secs(5);
/// Questions on their way at most; beyond that failures are judged by what is known.
const ON_THEIR_WAY: usize = 256;

/// Questions that were asked.
#[derive(Debug, Default)]
pub(super) struct Asked {
    wanted: Vec<PeerQuestion>,
    on_their_way: Vec<(Mono, PeerQuestion)>,
}

impl Pipeline {
    /// Addresses whose pods failures need to know; answers come back as [`crate::cluster::ClusterChange::Peer`].
    pub fn take_peer_questions(&mut self) -> Vec<PeerQuestion> {
        std::mem::take(&mut self.peers.wanted)
    }

    /// Asks for the ends of a failure that are not known.
    pub(super) fn ask_peers(&mut self, event: &FlowEvent) {
        let questions = self.peer_questions(event);
        let asked = &mut self.peers;
        asked.on_their_way.retain(|(at, _)| event.at.since(*at) < ASKED);
        for question in questions {
            let known = asked.on_their_way.iter().any(|(_, other)| *other == question);
            if !known && asked.on_their_way.len() < ON_THEIR_WAY {
                asked.on_their_way.push((event.at, question.clone()));
                asked.wanted.push(question);
            }
        }
    }

    /// An answer is on its way.
    pub(super) fn awaits_peers(&self, event: &FlowEvent) -> bool {
        let on_their_way = &self.peers.on_their_way;
        !on_their_way.is_empty()
            && self.peer_questions(event).iter().any(|question| {
                on_their_way.iter().any(|(at, asked)| asked == question && event.at.since(*at) < PATIENCE)
            })
    }

    fn peer_questions(&self, event: &FlowEvent) -> Vec<PeerQuestion> {
        let (client, at) = (&event.client, event.first);
        let forwarded = frame::translation(event, event.outcome.dropped()).destination;
        if self.frame(client, forwarded, at).is_none() {
            return Vec::new();
        }
        let protocol = client.transport();
        let to = forwarded.unwrap_or(client.destination);
        let mut questions = self.index.peer_questions(to.ip, to.port, protocol, event.at);
        questions.extend(self.index.peer_questions(client.source.ip, 0, protocol, event.at));
        questions
    }
}
