//! Policies that change all the time.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use egress_apiserver::ApiServer;
use serde_json::{Value, json};

use super::TOLD_WITHIN;
use crate::agent::Agent;
use crate::api::ApiCluster;
use crate::enforce::{Backend, Match, Refusal};
use crate::lab::{Lab, Place};
use crate::plan::NAMESPACE;
use crate::process::Process;
use crate::scenario::checks::Check;
use crate::topology::Topology;

/// `apiVersion` and plural of what changes.
const POLICIES: (&str, &str) = ("networking.k8s.io/v1", "networkpolicies");
/// Policies that take one another's place.
const POLICIES_IN_ALL: u64 = 150;
/// Pause after each: two changes.
const PAUSE: Duration = Duration::from_millis(20);
/// Ports that are dialled meanwhile, each a failure of its own.
const PORTS: std::ops::Range<u16> = 7001..7016;

pub(super) fn check() -> Check {
    Check {
        name: "api-churn",
        sentence: "a hundred changes of policies a second, while the pod dials: every drop names the policy that was there, \
                   the last one the last, and nothing is listed again",
        needs: || None,
        agent: true,
        alone: false,
        run,
    }
}

fn run() -> Result<String> {
    let lab = Lab::new(Topology::Routed)?;
    Backend::Nft.refuse(&lab.node, "pod-api-client", Match::From(lab.client().ips), Refusal::Drop)?;
    let cluster = ApiCluster::start(&lab)?;
    let server = cluster.server();
    put(server, 0)?;
    let agent = Agent::start_on_api(&lab, cluster.kubeconfig(), &["--events", "false"])?;
    let follower = agent.follow("default/api-client")?;

    let began = Instant::now();
    let named = std::thread::scope(|scope| -> Result<Vec<u64>> {
        let changing = scope.spawn(|| change(server));
        let named: Result<Vec<u64>> = PORTS.map(|port| named_for(&lab, &follower, port)).collect();
        changing.join().map_err(|_| anyhow::anyhow!("changing policies panicked"))??;
        named
    })?;
    let took = began.elapsed();
    ensure!(named.is_sorted(), "an older policy was named after a newer one: {named:?}");
    agent.await_objects("networkpolicy", 1)?;
    let last = named_for(&lab, &follower, PORTS.end)?;
    ensure!(last == POLICIES_IN_ALL, "policy {last} is named in the end, not {POLICIES_IN_ALL}");
    let lists = server.count("list", "networkpolicies");
    ensure!(lists == 1, "policies were listed {lists} times");
    agent.terminate()?;
    let changes = 2 * POLICIES_IN_ALL;
    Ok(format!(
        "{changes} changes in {:.1} s, the policies of {} drops: {named:?}",
        took.as_secs_f64(),
        named.len()
    ))
}

/// Each policy takes its predecessor's place: at any time one of them denies.
fn change(server: &ApiServer) -> Result<()> {
    let (version, plural) = POLICIES;
    for number in 0..POLICIES_IN_ALL {
        put(server, number + 1)?;
        ensure!(server.delete(version, plural, NAMESPACE, &name(number)), "there was no {}", name(number));
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

fn put(server: &ApiServer, number: u64) -> Result<()> {
    let (version, _) = POLICIES;
    server.apply(json!({
        "apiVersion": version, "kind": "NetworkPolicy", "metadata": {"name": name(number), "namespace": NAMESPACE},
        "spec": {"podSelector": {}, "policyTypes": ["Egress"]},
    }))?;
    Ok(())
}

fn name(number: u64) -> String {
    format!("deny-{number}")
}

/// The client dials this port in vain: the newest policy that the verdict names. There may be one more, which was
/// about to go.
fn named_for(lab: &Lab, follower: &Process, port: u16) -> Result<u64> {
    let peer = format!("203.0.113.4:{port}");
    lab.run(Place::Client, &["connect", &peer, "--timeout", "0.1"])?.outcome(TOLD_WITHIN)?;
    let deadline = Instant::now() + TOLD_WITHIN;
    loop {
        let line = follower.line(deadline).with_context(|| format!("no verdict on port {port}"))?;
        let verdict: Value = serde_json::from_str(&line.text)?;
        ensure!(verdict["cause"] == "policy-drop", "{verdict}");
        if verdict["peer"]["port"] != port {
            continue;
        }
        let mut numbers: Vec<u64> = super::policies(&verdict)
            .iter()
            .filter_map(|name| name.strip_prefix("deny-")?.parse().ok())
            .collect();
        numbers.sort_unstable();
        return match numbers[..] {
            [one] => Ok(one),
            [old, new] if new == old + 1 => Ok(new),
            _ => Err(anyhow::anyhow!("policies {numbers:?} are named: {verdict}")),
        };
    }
}
