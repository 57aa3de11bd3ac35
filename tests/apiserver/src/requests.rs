//! What was asked, counted.

use std::collections::BTreeMap;

use tokio::sync::watch;

/// One kind of request: verb, resource (with subresource).
pub(crate) type Request = (String, String);

/// Requests since the start, and answers by status.
#[derive(Debug)]
pub(crate) struct Requests {
    counts: watch::Sender<Counts>,
}

#[derive(Clone, Debug, Default)]
struct Counts {
    asked: BTreeMap<Request, u64>,
    refused: Vec<String>,
}

impl Requests {
    pub(crate) fn new() -> Self {
        Self { counts: watch::Sender::new(Counts::default()) }
    }

    pub(crate) fn note(&self, verb: &str, resource: &str) {
        self.counts.send_modify(|counts| {
            *counts.asked.entry((verb.to_owned(), resource.to_owned())).or_default() += 1;
        });
    }

    pub(crate) fn note_refusal(&self, message: &str) {
        self.counts.send_modify(|counts| counts.refused.push(message.to_owned()));
    }

    pub(crate) fn count(&self, verb: &str, resource: &str) -> u64 {
        count(&self.counts.borrow(), verb, resource)
    }

    pub(crate) fn all(&self) -> BTreeMap<Request, u64> {
        self.counts.borrow().asked.clone()
    }

    pub(crate) fn refused(&self) -> Vec<String> {
        self.counts.borrow().refused.clone()
    }

    /// Waits until so many requests came.
    pub(crate) async fn reached(&self, verb: &str, resource: &str, at_least: u64) {
        let mut counts = self.counts.subscribe();
        // The sender is ours, so it does not go away meanwhile.
        let _ = counts.wait_for(|counts| count(counts, verb, resource) >= at_least).await;
    }
}

/// `*` stands for every verb or every resource.
fn count(counts: &Counts, verb: &str, resource: &str) -> u64 {
    let counted = counts.asked.iter().filter(|((asked_verb, asked_resource), _)| {
        (verb == "*" || verb == asked_verb) && (resource == "*" || resource == asked_resource)
    });
    counted.map(|(_, count)| count).sum()
}
