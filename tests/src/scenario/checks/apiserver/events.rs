//! Failures as Kubernetes Events on their pod: what `kubectl describe pod` shows.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{await_status, blocked, until};
use crate::agent::Agent;
use crate::api::ApiCluster;
use crate::lab::{Lab, Place};
use crate::scenario::checks::{Check, denied_lab};

/// Ports that are dialled: more failures than the ten Events of a pod that are written at once.
const PORTS: std::ops::Range<u16> = 7001..7013;

pub(super) fn check() -> Check {
    Check {
        name: "api-events",
        sentence: "a policy drop is an Event on the pod, one for each destination, counted up by the next agent too; \
                   without the right to write them status says so; a healthy pod has none",
        needs: || None,
        agent: true,
        alone: false,
        run,
    }
}

fn run() -> Result<String> {
    let (lab, _) = denied_lab()?;
    let cluster = ApiCluster::start(&lab)?;
    let folder = lab.folder().join("history").display().to_string();
    let wanted = ["--events", "true", "--history", folder.as_str()];
    cluster.allow(ApiCluster::rules()?.without("events"));
    let agent = Agent::start_on_api(&lab, cluster.kubeconfig(), &wanted)?;
    let follower = agent.follow("default/api-client")?;

    // Without the right: said, and everything else goes on.
    blocked(&lab, &follower, "203.0.113.4")?;
    repeat(&lab, &agent, "203.0.113.4")?;
    let missing = |hook: &Value| {
        hook["state"] == "degraded" && note(hook).contains("the right to create events is missing")
    };
    await_hook(&agent, "the missing right", missing)?;
    ensure!(agent.errors().contains("the right to create events is missing"), "the log: {}", agent.errors());
    blocked(&lab, &follower, "203.0.113.5")?;
    repeat(&lab, &agent, "203.0.113.5")?;
    ensure!(events(&cluster).is_empty(), "written without the right");

    // With it: one for each destination, with all that was counted meanwhile.
    cluster.allow(ApiCluster::rules()?);
    let written = until("two Events", || {
        let events = events(&cluster);
        Ok((events.len() >= 2).then_some(events))
    })?;
    await_hook(&agent, "that Events are written", |hook| hook["state"] == "attached")?;
    ensure!(written.len() == 2, "more than one for each destination: {written:?}");
    for peer in ["203.0.113.4", "203.0.113.5"] {
        let verdict = verdict_on(&agent, peer)?;
        let event = written.iter().find(|event| text(&event["message"]).contains(peer));
        describes(event.with_context(|| format!("no Event on {peer}: {written:?}"))?, &verdict)?;
    }

    // A pod that knocks at every port does not fill the cluster with Events, and its neighbour is left alone.
    lab.run(Place::Server, &["connect", "203.0.113.4:443"])?.outcome(super::TOLD_WITHIN)?;
    for port in PORTS {
        let peer = format!("203.0.113.4:{port}");
        lab.run(Place::Client, &["connect", &peer, "--timeout", "0.2"])?.outcome(super::TOLD_WITHIN)?;
    }
    let held = |hook: &Value| note(hook).contains("held back by the limits of pod and node");
    await_hook(&agent, "that Events are held back", held)?;
    let written = events(&cluster);
    let failures = agent.query(&["default/api-client"])?.len();
    ensure!(written.len() > 2 && written.len() < failures, "{} of {failures}", written.len());
    let pods: BTreeSet<&str> = written.iter().map(|event| text(&event["involvedObject"]["name"])).collect();
    ensure!(pods == ["api-client"].into(), "Events on {pods:?}");
    agent.terminate()?;

    // The next agent goes on with the same Event.
    let counted = |cluster: &ApiCluster| {
        let event = events(cluster).into_iter().find(|event| text(&event["message"]).contains("203.0.113.5"));
        event.and_then(|event| event["count"].as_u64()).unwrap_or(0)
    };
    let (before, count) = (events(&cluster).len(), counted(&cluster));
    let agent = Agent::start_on_api(&lab, cluster.kubeconfig(), &wanted)?;
    let follower = agent.follow("default/api-client")?;
    blocked(&lab, &follower, "203.0.113.5")?;
    until("that the Event is counted up", || Ok((counted(&cluster) > count).then_some(())))?;
    ensure!(events(&cluster).len() == before, "a second Event of the same failure: {:?}", events(&cluster));
    agent.terminate()?;
    let refusals = cluster.server().refusals();
    ensure!(
        refusals.iter().all(|refusal| refusal.contains("cannot create resource \"events\"")),
        "{refusals:?}"
    );
    Ok(format!("{before} Events of {failures} failures"))
}

/// The client goes on trying, and the agent counts that.
fn repeat(lab: &Lab, agent: &Agent, peer: &str) -> Result<()> {
    let address = format!("{peer}:443");
    let dial = ["connect", &address, "--timeout", "0.25", "--count", "4"];
    lab.run(Place::Client, &dial)?.outcome(super::TOLD_WITHIN)?;
    until("that it fails again and again", || {
        let counted = verdict_on(agent, peer)?["count"].as_u64();
        Ok((counted >= Some(4)).then_some(()))
    })
}

/// What `kubectl describe pod` makes of it, `Warning EgressPolicyDrop 2s (x9 over 4s) egress-agent, worker-1 …`, is all
/// there, and it is about this verdict.
fn describes(event: &Value, verdict: &Value) -> Result<()> {
    let field = |path: &str| event.pointer(path).map(text).unwrap_or_default().to_owned();
    for (path, wanted) in [
        ("/type", "Warning"),
        ("/reason", "EgressPolicyDrop"),
        ("/involvedObject/kind", "Pod"),
        ("/involvedObject/namespace", "default"),
        ("/involvedObject/name", "api-client"),
        ("/involvedObject/uid", text(&verdict["pod"]["uid"])),
        ("/source/component", "egress-agent"),
        ("/source/host", "worker-1"),
        ("/reportingComponent", "egress-agent"),
        ("/reportingInstance", "worker-1"),
    ] {
        ensure!(field(path) == wanted && !wanted.is_empty(), "{path} is {}, not {wanted}", field(path));
    }
    let message = field("/message");
    for part in [
        text(&verdict["summary"]),
        "NetworkPolicy default/deny-all-egress",
        "Fix: ",
        "kubectl egress query -n default api-client",
    ] {
        ensure!(message.contains(part), "the message lacks \"{part}\": {message}");
    }
    let (first, last) = (field("/firstTimestamp"), field("/lastTimestamp"));
    ensure!(!first.is_empty() && first <= last, "from {first} to {last}");
    // Each has failed again and again before the Event could be written.
    let (count, known) = (event["count"].as_u64(), verdict["count"].as_u64());
    ensure!(count >= Some(2) && count <= known, "count {count:?} of {known:?}");
    Ok(())
}

/// The verdict on this destination, as it is now.
fn verdict_on(agent: &Agent, peer: &str) -> Result<Value> {
    let all = agent.query(&["default/api-client"])?;
    let found = all.into_iter().find(|verdict| verdict["peer"]["ip"] == peer);
    found.with_context(|| format!("no verdict on {peer}"))
}

fn events(cluster: &ApiCluster) -> Vec<Value> {
    cluster.server().list("v1", "events")
}

fn await_hook(agent: &Agent, what: &str, holds: impl Fn(&Value) -> bool) -> Result<()> {
    await_status(agent, what, |status| {
        let hooks = status["hooks"].as_array().into_iter().flatten();
        hooks.filter(|hook| hook["hook"] == "k8s:events").any(&holds)
    })
}

fn note(hook: &Value) -> &str {
    text(&hook["note"])
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
