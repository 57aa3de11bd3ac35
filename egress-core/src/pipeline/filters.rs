//! Who dropped it, just now: rules, programs and the first packet that meets them may come within milliseconds.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::Pipeline;
use crate::decode::{DropSeen, DropSite, FilterKind};
use crate::flow::{FlowEvent, Outcome};
use crate::node::{Attribution, FilterQuery, NodeState};
use crate::time::Mono;

/// Filters that are read so soon after a drop were there when it happened.
const JUST_NOW: Duration = Duration::from_secs(2);
/// A place is asked about again after this time.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// The node's rules are read out of turn no more often than this.
const READ_AGAIN: Duration = Duration::from_secs(5);
/// Drops kept to be judged again, and places remembered.
const KEPT: usize = 64;

/// Drops of filters whose names are still to come, and the questions for them.
#[derive(Debug, Default)]
pub(super) struct Unattributed {
    drops: VecDeque<(FlowEvent, Attribution)>,
    asked: HashMap<FilterQuery, Mono>,
    questions: Vec<FilterQuery>,
}

impl Unattributed {
    /// A drop was judged by what is known of the filters there. Asks, where they are not followed.
    pub(super) fn note(&mut self, event: &FlowEvent, drop: &DropSeen, node: &NodeState) {
        let (attribution, _) = node.attribute(drop);
        let asked = match question(drop, node, &attribution) {
            Some((query, again)) => self.ask(query, again, event.at),
            None => false,
        };
        if !asked && attribution != Attribution::Unknown {
            return;
        }
        if self.drops.len() >= KEPT {
            self.drops.pop_front();
        }
        self.drops.push_back((event.clone(), attribution));
    }

    fn ask(&mut self, query: FilterQuery, again: Duration, now: Mono) -> bool {
        if self.asked.get(&query).is_some_and(|at| now.since(*at) < again) {
            return false;
        }
        if self.asked.len() >= KEPT {
            self.asked.retain(|_, at| now.since(*at) < READ_AGAIN);
        }
        if self.asked.len() >= KEPT || self.questions.len() >= KEPT {
            return false;
        }
        self.asked.insert(query, now);
        self.questions.push(query);
        true
    }

    pub(super) fn take_questions(&mut self) -> Vec<FilterQuery> {
        std::mem::take(&mut self.questions)
    }
}

/// What to ask about a drop, and after how long again. Programs tell nobody when they come, the filters inside a pod
/// are read when they are needed, and iptables-legacy tells no changes.
fn question(drop: &DropSeen, node: &NodeState, known: &Attribution) -> Option<(FilterQuery, Duration)> {
    let (FilterKind::TcIngress | FilterKind::TcEgress | FilterKind::Xdp) = kind(drop)? else {
        return if !node.is_node(drop.netns) {
            Some((FilterQuery { netns: drop.netns, device: 0 }, ASK_AGAIN))
        } else if kind(drop) == Some(FilterKind::Netfilter) && *known == Attribution::Unknown {
            Some((FilterQuery { netns: drop.netns, device: 0 }, READ_AGAIN))
        } else {
            None
        };
    };
    Some((FilterQuery { netns: drop.netns, device: drop.ifindex }, ASK_AGAIN))
}

fn kind(drop: &DropSeen) -> Option<FilterKind> {
    if let DropSite::Filter(kind) = drop.site { Some(kind) } else { None }
}

impl Pipeline {
    /// More is known of who filters: drops of just now that this concerns are judged again.
    pub(super) fn judge_again(&mut self, now: Mono) {
        for (mut event, before) in std::mem::take(&mut self.filters.drops) {
            let Outcome::Dropped { drop, .. } = &event.outcome else { continue };
            // What was cleared since stays so: names of a filter are no new failure.
            if now.since(event.at) >= JUST_NOW || !self.book.is_open(event.attempt) {
                continue;
            }
            if self.node.attribute(drop).0 == before {
                self.filters.drops.push_back((event, before));
                continue;
            }
            event.failed = 0;
            self.judge(&event);
        }
    }
}
