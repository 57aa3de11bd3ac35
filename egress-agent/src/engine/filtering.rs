//! Answers who filters at a place where a packet was dropped, from a thread of its own: nobody on the packet path
//! waits for the kernel.

use std::sync::mpsc::Receiver;

use egress_core::node::{FilterAnswer, FilterQuery, NodeChange};

use super::{Message, Outbox};
use crate::netlink::filters;
use crate::netlink::netns::Netns;
use crate::netlink::worker::Worker;
use crate::probe::programs;

/// Questions that may wait.
const QUEUE: usize = 64;

/// A question, and how to find its namespace.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) query: FilterQuery,
    /// The pod's namespace; `None`: the node's.
    pub(super) pod: Option<Netns>,
    /// Ids of the agent's own programs.
    pub(super) ours: Vec<u32>,
}

/// Looks filters up until it is dropped.
#[derive(Debug)]
pub(super) struct Filtering(Worker<Question>);

impl Filtering {
    /// Starts answering, with [`NodeChange::Filtering`].
    pub(super) fn start(node: Netns, outbox: Outbox) -> std::io::Result<Self> {
        Worker::start("filtering", QUEUE, move |questions: Receiver<Question>| {
            for question in questions {
                match answer(&node, &question) {
                    Ok(answer) => drop(outbox.send(Message::Node(NodeChange::Filtering(answer)))),
                    // No answer: "nobody filters there" would be a claim.
                    Err(error) => tracing::debug!(%error, "a place's filters cannot be read"),
                }
            }
        })
        .map(Self)
    }

    /// Asks, without waiting; what finds no room is asked again by the next drop.
    pub(super) fn ask(&self, question: Question) {
        self.0.ask(question);
    }
}

fn answer(node: &Netns, question: &Question) -> Result<FilterAnswer, crate::netlink::NetlinkError> {
    let Question { query, pod, ours } = question;
    // The node's are followed, but iptables-legacy tells no changes.
    let filters = match pod {
        Some(pod) => Some(filters::read(pod)?),
        None if query.device == 0 => Some(filters::read(node)?),
        None => None,
    };
    let programs = match query.device {
        0 => Vec::new(),
        device => pod.as_ref().unwrap_or(node).run(|| programs::at_device(device, ours))?,
    };
    Ok(FilterAnswer { query: *query, filters, programs })
}
