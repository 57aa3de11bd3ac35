//! Reads a state of the kernel when a failure needs it: a sysctl, a socket's queue, a device's queueing discipline, a
//! route, a neighbour, in the node's namespace or inside a pod's.
//!
//! A thread answers, so that nobody on the way of an event waits for the kernel. Questions come through a bounded
//! queue; one that finds no room is not asked, and the failure is judged without it.

mod device;
mod neighbour;
mod route;
mod setting;
mod socket;

use std::io;
use std::sync::mpsc::Receiver;

use egress_core::node::{Answer, NodeChange, Question, Reading};

use super::netns::Netns;
use super::worker::Worker;

/// Questions that may wait.
const QUEUE: usize = 256;

/// Answers questions until it is dropped.
#[derive(Debug)]
pub struct Reader(Worker<(Question, Netns)>);

impl Reader {
    /// Starts answering with [`NodeChange::Reading`].
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(sink: impl Fn(NodeChange) + Send + 'static) -> io::Result<Self> {
        Worker::start("readings", QUEUE, move |questions: Receiver<(Question, Netns)>| {
            for (question, netns) in questions {
                let answer = netns.run(|| answer(&question)).unwrap_or_else(|error| {
                    tracing::debug!(%error, "not read");
                    None
                });
                sink(NodeChange::Reading(Reading { question, answer }));
            }
        })
        .map(Self)
    }

    /// Asks, without waiting. `false` if too many questions are waiting.
    pub fn ask(&self, question: Question, netns: Netns) -> bool {
        self.0.ask((question, netns))
    }
}

/// Answers from the calling thread's namespace. `None`: there is no such thing, or the kernel does not tell.
fn answer(question: &Question) -> Option<Answer> {
    let answer = match question {
        Question::Setting { name, .. } => Ok(setting::read(name)),
        Question::Socket { protocol, address, .. } => socket::read(*protocol, *address),
        Question::Device { index, .. } => device::read(*index),
        Question::Route { to, .. } => route::read(*to).map(Some),
        Question::Neighbour { index, ip, .. } => neighbour::read(*index, *ip),
        // Conntrack's own worker is asked for these.
        Question::Table { .. } | Question::Translations { .. } => Ok(None),
    };
    answer.unwrap_or_else(|error| {
        tracing::debug!(%error, "not read");
        None
    })
}

#[cfg(test)]
mod tests;
