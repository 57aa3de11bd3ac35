//! The cluster comes from an API server, with the rights of the manifest; it goes away and comes back.

mod churn;
mod events;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use egress_apiserver::Disturbance;
use serde_json::{Value, json};

use super::{Check, denied_lab};
use crate::agent::Agent;
use crate::api::ApiCluster;
use crate::lab::{Lab, Place};
use crate::plan;
use crate::process::Process;

/// For a verdict, a problem or a change to be told.
const TOLD_WITHIN: Duration = Duration::from_secs(20);

pub(super) fn all() -> Vec<Check> {
    vec![check(), events::check(), churn::check()]
}

fn check() -> Check {
    Check {
        name: "api-server",
        sentence: "policies of an API server are named in verdicts; while it is gone verdicts say as of when, and a \
                   policy changed meanwhile is the one named afterwards",
        needs: || None,
        agent: true,
        alone: false,
        run,
    }
}

fn run() -> Result<String> {
    let (lab, _) = denied_lab()?;
    let cluster = ApiCluster::start(&lab)?;
    let server = cluster.server();
    let agent = Agent::start_on_api(&lab, cluster.kubeconfig(), &[])?;
    let follower = agent.follow("default/api-client")?;
    let first = blocked(&lab, &follower, "203.0.113.4")?;
    ensure!(policies(&first) == ["deny-all-egress"], "{first}");

    server.begin_outage();
    let gone = |status: &Value| status["problems"].to_string().contains("the API server cannot be reached");
    await_status(&agent, "the outage", gone)?;
    let second = blocked(&lab, &follower, "203.0.113.5")?;
    ensure!(policies(&second) == ["deny-all-egress"], "{second}");
    ensure!(agent.get("/readyz")?.0 == 200, "an outage makes it unready");
    // Meanwhile another policy takes its place.
    let policy = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "deny-more", "namespace": plan::NAMESPACE},
        "spec": {"podSelector": {}, "policyTypes": ["Egress"]}});
    server.apply(policy)?;
    ensure!(server.delete("networking.k8s.io/v1", "networkpolicies", plan::NAMESPACE, "deny-all-egress"));

    server.end_outage();
    await_status(&agent, "the end of the outage", |status| !gone(status))?;
    // A quiet kind is in step when the server says so, which it does once a minute, or now.
    server.disturb("*", Disturbance::Bookmark);
    let before = second["policies_as_of"].clone();
    let later = |status: &Value| status["policies_as_of"].as_str() > before.as_str();
    await_status(&agent, "that all is in step", later)?;
    let third = blocked(&lab, &follower, "203.0.113.66")?;
    ensure!(policies(&third) == ["deny-more"], "{third}");
    let of = |verdict: &Value| verdict["policies_as_of"].as_str().unwrap_or_default().to_owned();
    ensure!(
        of(&first) <= of(&second) && of(&second) < of(&third),
        "{} {} {}",
        of(&first),
        of(&second),
        of(&third)
    );
    let lists = server.count("list", "networkpolicies");
    ensure!(lists == 1, "policies were listed {lists} times");
    ensure!(server.refusals().is_empty(), "{:?}", server.refusals());
    agent.terminate()?;
    Ok(format!("{} requests", server.count("*", "*")))
}

/// The client dials this address in vain; the verdict.
fn blocked(lab: &Lab, follower: &Process, peer: &str) -> Result<Value> {
    let address = format!("{peer}:443");
    let _dialling = lab.run(Place::Client, &["connect", &address, "--timeout", "0.25", "--count", "8"])?;
    let deadline = Instant::now() + TOLD_WITHIN;
    loop {
        let line = follower
            .line(deadline)
            .with_context(|| format!("no verdict on {peer}: {}", follower.errors()))?;
        let verdict: Value = serde_json::from_str(&line.text)?;
        if verdict["peer"]["ip"] == peer {
            ensure!(verdict["cause"] == "policy-drop", "{verdict}");
            return Ok(verdict);
        }
    }
}

fn policies(verdict: &Value) -> Vec<&str> {
    let policies = verdict["policies"].as_array().into_iter().flatten();
    policies.filter_map(|policy| policy["name"].as_str()).collect()
}

fn await_status(agent: &Agent, what: &str, holds: impl Fn(&Value) -> bool) -> Result<()> {
    let mut last = Value::Null;
    let told = until(what, || {
        last = agent.status()?;
        Ok(holds(&last).then_some(()))
    });
    told.with_context(|| format!("the status is {last}"))
}

/// What there is at last.
fn until<T>(what: &str, mut there: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + TOLD_WITHIN;
    loop {
        if let Some(found) = there()? {
            return Ok(found);
        }
        ensure!(Instant::now() < deadline, "{what} is not told");
        std::thread::sleep(Duration::from_millis(50));
    }
}
