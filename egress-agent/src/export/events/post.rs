//! Writes one Event.

use std::time::Duration;

use k8s_openapi::api::core::v1::Event;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Error};

use super::ledger::{Answer, Due};
use super::message;

/// How long the API server may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Creates it, or counts it up.
pub(super) async fn post(client: &Client, node: &str, due: &Due) -> Answer {
    let api: Api<Event> = Api::namespaced(client.clone(), &due.verdict.pod.namespace);
    let write = async {
        if due.update {
            return match patch(&api, due).await {
                Err(Error::Api(status)) if status.code == 404 => Answer::Expired,
                other => answer(other.map(drop), "patch"),
            };
        }
        let event = match serde_json::from_value(message::event(due, node)) {
            Ok(event) => event,
            Err(error) => return Answer::Failed(format!("an Event cannot be made: {error}")),
        };
        match api.create(&PostParams::default(), &event).await {
            // From before a restart.
            Err(Error::Api(status)) if status.code == 409 => {
                answer(patch(&api, due).await.map(drop), "patch")
            }
            // The namespace is gone.
            Err(Error::Api(status)) if status.code == 404 => Answer::Gone,
            other => answer(other.map(drop), "create"),
        }
    };
    match tokio::time::timeout(PATIENCE, write).await {
        Ok(answer) => answer,
        Err(_) => Answer::Failed(format!("the API server took no Event within {} s", PATIENCE.as_secs())),
    }
}

async fn patch(api: &Api<Event>, due: &Due) -> kube::Result<Event> {
    api.patch(&due.name, &PatchParams::default(), &Patch::Merge(message::update(due))).await
}

fn answer(result: kube::Result<()>, verb: &str) -> Answer {
    match result {
        Ok(()) => Answer::Written,
        Err(Error::Api(status)) if status.code == 403 && status.message.contains("being terminated") => {
            Answer::Gone
        }
        Err(Error::Api(status)) if status.code == 403 => Answer::Failed(format!(
            "Events cannot be written: the right to {verb} events is missing ({})",
            status.message
        )),
        // Not to be mended by trying again.
        Err(Error::Api(status)) if matches!(status.code, 400 | 422) => Answer::Gone,
        Err(error) => Answer::Failed(format!("Events cannot be written: {error}")),
    }
}
