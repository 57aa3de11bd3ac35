//! Against a real HTTP server that stores Events.

use std::sync::Arc;
use std::time::Duration;

use egress_apiserver::{ApiServer, Fault};
use egress_core::verdict::{Cause, State, Verdict};
use serde_json::Value;

use super::Events;
use super::ledger::Pace;
use crate::testing::{dns_failure, policy_drop};

/// Everything at once.
fn hasty() -> Pace {
    let none = Duration::ZERO;
    Pace {
        settle: none,
        update: none,
        pod: (1000, Duration::from_secs(1)),
        node: (1000, Duration::from_secs(1)),
    }
}

async fn writer(server: &ApiServer) -> Events {
    let config = kube::config::Kubeconfig::from_yaml(&server.kubeconfig("")).unwrap();
    let options = kube::config::KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(config, &options).await.unwrap();
    Events::with_pace(config, "worker-1", hasty()).unwrap()
}

fn revised(change: impl FnOnce(&mut Verdict)) -> Arc<Verdict> {
    let mut verdict = policy_drop();
    verdict.pod.uid = "uid-1".to_owned();
    change(&mut verdict);
    Arc::new(verdict)
}

/// The Event of a verdict, once it is as wanted.
async fn event(server: &ApiServer, verdict: &Verdict, wanted: impl Fn(&Value) -> bool) -> Value {
    let (namespace, name) = (&verdict.pod.namespace, super::message::name(verdict));
    until(|| server.get("v1", "events", namespace, &name).filter(&wanted)).await
}

/// What there is at last.
async fn until<T>(mut there: impl FnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(found) = there() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("it never came")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_one_event_that_is_counted_up_and_outlives_a_restart() {
    let server = ApiServer::start().await.unwrap();
    let events = writer(&server).await;
    let first = revised(|v| v.count = 2);
    events.tell(&first);
    server.requested("create", "events", 1).await;
    events.tell(&revised(|v| v.count = 7));
    server.requested("patch", "events", 1).await;
    let written = event(&server, &first, |event| event["count"] == 7).await;
    assert_eq!(written["reason"], "EgressPolicyDrop");
    assert_eq!((&written["type"], &written["involvedObject"]["uid"]), (&"Warning".into(), &"uid-1".into()));
    assert_eq!(written["reportingInstance"], "worker-1");
    assert!(written["message"].as_str().unwrap().starts_with(&first.summary[..30]), "{written}");
    drop(events);
    let again = writer(&server).await;
    again.tell(&revised(|v| v.count = 9));
    event(&server, &first, |event| event["count"] == 9).await;
    assert_eq!(server.list("v1", "events").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_right_is_told_by_name_and_tried_again() {
    let server = ApiServer::start().await.unwrap();
    server.fault(Fault::forbidden("create", "events"));
    let events = writer(&server).await;
    let verdict = revised(|_| {});
    events.tell(&verdict);
    server.requested("create", "events", 1).await;
    let told = || events.status().note.contains("the right to create events is missing");
    until(|| told().then_some(())).await;
    server.heal();
    event(&server, &verdict, |event| event["reason"] == "EgressPolicyDrop").await;
    until(|| (!told()).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cleared_and_a_plain_nxdomain_make_none() {
    let server = ApiServer::start().await.unwrap();
    let events = writer(&server).await;
    let mut nxdomain = dns_failure();
    nxdomain.pod.uid = "uid-1".to_owned();
    nxdomain.detail.insert("outcome".to_owned(), "nxdomain".into());
    events.tell(&Arc::new(nxdomain));
    events.tell(&revised(|v| v.state = State::Cleared));
    // What comes behind them is written, so they were looked at.
    let last = revised(|v| v.cause = Cause::UpstreamTimeout);
    events.tell(&last);
    event(&server, &last, |event| event["reason"] == "EgressUpstreamTimeout").await;
    assert_eq!(server.list("v1", "events").len(), 1);
}
