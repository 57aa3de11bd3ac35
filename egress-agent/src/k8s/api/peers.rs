//! Pods of other nodes, looked up one by one: by the name that an EndpointSlice gives, else by address.

use std::time::Duration;

use egress_core::cluster::{ClusterChange, Object, PeerAnswer, PeerQuestion, Pod, PodRef};
use kube::Client;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::body::{Body, encoded};
use super::fault::Fault;
use super::hub::Hub;
use super::kinds::{Resource, Use, WATCHED};
use super::object::ReadObject;

/// Questions that may wait.
const WAITING: usize = 64;
/// An answer that takes longer is no use to the failure that asked.
const PATIENCE: Duration = Duration::from_secs(2);
/// A list by address costs the API server a look at every pod: so many at once, and one more each second.
const LISTS: u32 = 5;
/// How soon there may be another.
const LIST_EVERY: Duration = Duration::from_secs(1);

/// Takes questions, and never waits.
#[derive(Clone, Debug)]
pub struct PeerAsker(mpsc::Sender<PeerQuestion>);

/// The other end.
pub(super) type Questions = mpsc::Receiver<PeerQuestion>;

/// Both ends.
pub(super) fn channel() -> (PeerAsker, Questions) {
    let (sender, questions) = mpsc::channel(WAITING);
    (PeerAsker(sender), questions)
}

impl PeerAsker {
    /// Asks; false if too much is asked already.
    pub fn ask(&self, question: PeerQuestion) -> bool {
        self.0.try_send(question).is_ok()
    }
}

/// Answers questions, for ever.
pub(super) async fn answer(client: Client, hub: &Hub, mut questions: Questions) {
    let mut budget = Budget { left: LISTS, filled: Instant::now() };
    while let Some(question) = questions.recv().await {
        let found = tokio::time::timeout(PATIENCE, find(&client, &question, &mut budget)).await;
        let answer = match found {
            Ok(Ok(answer)) => answer,
            // The watches tell what is wrong with the server; a right that is missing they cannot.
            Ok(Err(Fault::Forbidden(message))) => {
                tracing::warn!("pods of other nodes cannot be looked up: {message}");
                PeerAnswer::Unknown
            }
            Ok(Err(_)) | Err(_) => PeerAnswer::Unknown,
        };
        hub.tell(vec![ClusterChange::Peer { ip: question.ip, answer }]);
    }
}

/// How many lists by address there may be.
struct Budget {
    left: u32,
    filled: Instant,
}

impl Budget {
    fn take(&mut self, now: Instant) -> bool {
        let periods = now.duration_since(self.filled).as_secs() / LIST_EVERY.as_secs();
        if let more @ 1.. = u32::try_from(periods).unwrap_or(LISTS) {
            self.left = self.left.saturating_add(more).min(LISTS);
            self.filled = now;
        }
        let had = self.left > 0;
        self.left = self.left.saturating_sub(1);
        had
    }
}

async fn find(client: &Client, question: &PeerQuestion, budget: &mut Budget) -> Result<PeerAnswer, Fault> {
    if let Some(PodRef { namespace, name }) = &question.pod {
        let path = format!("/api/v1/namespaces/{}/pods/{}", encoded(namespace), encoded(name));
        match get(client, &path).await {
            Ok(object) => {
                if let Some(pod) = holder(question, object) {
                    return Ok(PeerAnswer::Pod { pod });
                }
            }
            // The slice is older than the pod's end.
            Err(Fault::Absent) => {}
            Err(fault) => return Err(fault),
        }
    }
    if !budget.take(Instant::now()) {
        return Ok(PeerAnswer::Unknown);
    }
    let selector = encoded(&format!("status.podIP={}", question.ip));
    let list =
        get(client, &format!("/api/v1/pods?resourceVersion=0&limit=10&fieldSelector={selector}")).await?;
    let items = list["items"].as_array().cloned().unwrap_or_default();
    let mut holders: Vec<_> = items.into_iter().filter_map(|item| holder(question, item)).collect();
    Ok(match (holders.pop(), holders.is_empty()) {
        (Some(pod), true) => PeerAnswer::Pod { pod },
        (None, _) => PeerAnswer::Nobody,
        // A pod that ends and its successor, or two networks with the same addresses: not a guess.
        (Some(_), false) => PeerAnswer::Unknown,
    })
}

/// The pod, if it has the address for itself and has not finished.
fn holder(question: &PeerQuestion, object: Value) -> Option<std::sync::Arc<Pod>> {
    let row = WATCHED.iter().find(|row| row.use_ == Use::Pods)?;
    let resource = Resource { row, api_version: row.versions.first()? };
    match ReadObject::of_value(&resource, object).object? {
        Object::Pod(pod) if pod.own_ips().contains(&question.ip) && !pod.finished => Some(pod),
        _ => None,
    }
}

async fn get(client: &Client, uri: &str) -> Result<Value, Fault> {
    let text = Body::get(client, uri).await?.whole(PATIENCE).await?;
    serde_json::from_slice(&text).map_err(|error| Fault::Garbled(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_by_address_are_few() {
        let began = Instant::now();
        let mut budget = Budget { left: LISTS, filled: began };
        let taken = |budget: &mut Budget, at| (0..20).filter(|_| budget.take(began + at)).count();
        assert_eq!(taken(&mut budget, Duration::ZERO), 5);
        assert_eq!(taken(&mut budget, Duration::from_secs(1)), 1);
        assert_eq!(taken(&mut budget, Duration::from_secs(3)), 2);
        assert_eq!(taken(&mut budget, Duration::from_secs(600)), 5);
    }
}
