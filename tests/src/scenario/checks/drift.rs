//! Policies say one thing and the node does another: told in `status`, log, metrics and verdicts, once policies have been
//! as they are for ten seconds.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::Check;
use crate::agent::Agent;
use crate::lab::{Lab, Place, TcpBehaviour};
use crate::plan::{GITHUB, SERVER};
use crate::process::Process;
use crate::topology::Topology;

/// For what must be told, the ten seconds included.
const TOLD_WITHIN: Duration = Duration::from_secs(60);

pub(super) fn check() -> Check {
    Check {
        name: "drift",
        sentence: "a connection that policies deny is opened, a SYN that they deny leaves the node, the plugin drops what \
                   they allow: each is said, and what node and policies agree on is not",
        needs: || None,
        agent: true,
        alone: false,
        run,
    }
}

fn run() -> Result<String> {
    let mut lab = Lab::new(Topology::Routed)?;
    lab.serve_tcp(Place::Server, &[(SERVER, 8080)], TcpBehaviour::Echo)?;
    // Nobody enforces these two.
    lab.cluster.deny_all_ingress()?;
    lab.cluster.policy(
        "web",
        json!({"podSelector": {"matchLabels": {"app": "firewall-test"}}, "policyTypes": ["Egress"],
               "egress": [{"ports": [{"protocol": "TCP", "port": 443}, {"protocol": "TCP", "port": 8080}]}]}),
    )?;
    // And this the plugin has left behind.
    lab.node.nft(&format!(
        "table ip cali-filter {{
           chain cali-FORWARD {{
             type filter hook forward priority filter; policy accept;
             ip daddr {} drop
           }}
         }}",
        GITHUB.v4
    ))?;
    let agent = Agent::start(&lab, &[])?;
    let follower = agent.follow("default/api-client")?;

    // Comparing begins when policies have settled; until then it is not known whether the plugin follows.
    let told = await_drift(&agent, "does not enforce", || {
        dial(&lab, Place::Client, "10.244.1.6:8080", "connected")
    })?;
    let wanted = "1 connection was opened that they deny, last default/api-client and 10.244.1.6 port 8080, which \
                  NetworkPolicy default/deny-all-ingress does not admit";
    ensure!(told.contains(wanted), "{told}");

    // What both agree on.
    dial(&lab, Place::Client, "203.0.113.4:443", "connected")?;
    dial(&lab, Place::Server, "203.0.113.4:443", "connected")?;

    dial(&lab, Place::Client, "203.0.113.5:443", "timeout")?;
    let dropped = verdict_on(&follower, "203.0.113.5")?;
    ensure!(dropped["cause"] == "firewall-drop" && dropped["detail"]["owner"] == "Calico", "{dropped}");
    let fix = dropped["fix"]["text"].to_string();
    ensure!(fix.contains("Calico drops what the NetworkPolicies allow"), "{fix}");
    let told = await_drift(&agent, "drops what policies allow", || Ok(()))?;
    ensure!(told.contains("last default/api-client and 203.0.113.5:443, dropped by Calico"), "{told}");
    let verdicts = agent.query(&["default/api-client"])?;
    let failures =
        verdicts.iter().find(|verdict| verdict["id"] == dropped["id"]).map(|verdict| &verdict["count"]);
    let failures = failures.and_then(Value::as_u64).unwrap_or_default();
    ensure!(told.contains(&format!("allow: {failures} failure")), "{told}, of {failures}");

    dial(&lab, Place::Client, "203.0.113.66:8443", "timeout")?;
    let left = verdict_on(&follower, "203.0.113.66")?;
    ensure!(left["cause"] == "upstream-timeout", "{left}");
    let hints = left["hints"].to_string();
    ensure!(hints.contains("the CNI lets through what policy denies") && hints.contains("web"), "{hints}");

    // All in all nothing else.
    let drifts = drifts(&agent)?;
    ensure!(drifts.len() == 2 && drifts.iter().any(|told| told.contains(wanted)), "{drifts:?}");
    let (_, metrics) = agent.get("/metrics")?;
    let mut series: Vec<&str> =
        metrics.lines().filter(|l| l.starts_with("egress_policy_drift_total{")).collect();
    series.sort_unstable();
    let counted = [("allowed-but-dropped", failures), ("denied-but-passed", 1)];
    ensure!(series.len() == 2, "{series:?}");
    for (line, (kind, count)) in series.iter().zip(counted) {
        let holds = line.contains(&format!("kind=\"{kind}\"")) && line.ends_with(&format!(" {count}"));
        ensure!(holds, "{kind} is not {count}: {series:?}");
    }
    let log = agent.errors();
    for words in ["does not enforce what policies say", "drops what policies allow"] {
        ensure!(log.contains(words), "the log says nothing of it: {log}");
    }
    agent.terminate()?;
    Ok(String::new())
}

fn dial(lab: &Lab, from: Place, peer: &str, wanted: &str) -> Result<()> {
    let patience = if wanted == "timeout" { "3.6" } else { "10" };
    let outcome = lab.run(from, &["connect", peer, "--timeout", patience])?.outcome(TOLD_WITHIN)?;
    ensure!(outcome.outcome == wanted, "{peer}: {outcome:?}, not {wanted}");
    Ok(())
}

/// The first verdict on this destination that has a cause.
fn verdict_on(follower: &Process, peer: &str) -> Result<Value> {
    let deadline = Instant::now() + TOLD_WITHIN;
    loop {
        let line = follower.line(deadline).with_context(|| format!("no verdict on {peer}"))?;
        let verdict: Value = serde_json::from_str(&line.text)?;
        if verdict["peer"]["ip"] == peer {
            return Ok(verdict);
        }
    }
}

/// What `status` says of drift.
fn drifts(agent: &Agent) -> Result<Vec<String>> {
    let status = agent.status()?;
    let problems = status["problems"].as_array().into_iter().flatten().filter_map(Value::as_str);
    Ok(problems.filter(|problem| problem.starts_with("drift: ")).map(str::to_owned).collect())
}

/// Does something until this drift is told.
fn await_drift(agent: &Agent, words: &str, mut meanwhile: impl FnMut() -> Result<()>) -> Result<String> {
    let deadline = Instant::now() + TOLD_WITHIN;
    while Instant::now() < deadline {
        meanwhile()?;
        if let Some(told) = drifts(agent)?.into_iter().find(|told| told.contains(words)) {
            return Ok(told);
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    bail!("no drift is told: {}", agent.status()?)
}
