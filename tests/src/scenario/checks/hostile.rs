//! A pod sends malformed packets: the agent lives, counts, and says nothing about healthy traffic.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::Value;

use super::Check;
use crate::agent::Agent;
use crate::lab::{Lab, Place};
use crate::topology::Topology;

/// Malformed packets.
const COUNT: u64 = 5000;
/// The healthy peer; the malformed packets go to its neighbour.
const HEALTHY: &str = "203.0.113.4";
/// Verdicts that the malformed packets may make at most: a question that nobody can answer is one.
const VERDICTS: usize = 20;
/// How long it is watched for what falls due.
const WATCHED: Duration = Duration::from_secs(8);

pub(super) fn check() -> Check {
    Check {
        name: "hostile-packets",
        sentence: "5,000 malformed, tagged and cut packets of a pod: the agent lives and blames no healthy traffic",
        needs: || None,
        agent: true,
        alone: false,
        run,
    }
}

fn run() -> Result<String> {
    let lab = Lab::new(Topology::Routed)?;
    let agent = Agent::start(&lab, &[])?;
    let args = ["malformed", "203.0.113.5:443", "--count", &COUNT.to_string()];
    let hostile = lab.run(Place::Client, &args)?;
    let (mut connected, began) = (0, Instant::now());
    while began.elapsed() < WATCHED {
        let dial = ["connect", "203.0.113.4:443", "--timeout", "2"];
        let outcome = lab.run(Place::Client, &dial)?.outcome(Duration::from_secs(30))?;
        ensure!(outcome.outcome == "connected", "healthy traffic itself fails: {outcome:?}");
        connected += 1;
        std::thread::sleep(Duration::from_millis(500));
    }
    let sent = hostile.outcome(Duration::from_secs(30))?.count;
    ensure!(sent > COUNT / 2, "only {sent} of {COUNT} malformed packets were taken by the kernel");
    let verdicts = agent.query(&[])?;
    let wrong: Vec<&Value> = verdicts.iter().filter(|verdict| verdict["peer"]["ip"] == HEALTHY).collect();
    ensure!(wrong.is_empty(), "verdicts on healthy traffic: {wrong:?}");
    ensure!(verdicts.len() <= VERDICTS, "{} verdicts: {}", verdicts.len(), Value::from(verdicts));
    let events = agent.status()?["events"].to_string();
    agent.terminate()?;
    ensure!(events.contains("packet"), "the agent counted no packets: {events}");
    Ok(format!("{sent} sent, {} verdicts on them, {connected} healthy connections beside", verdicts.len()))
}
