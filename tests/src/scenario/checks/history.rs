//! The history outlives a killed agent, and its verdicts go on.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{Check, denied_lab};
use crate::agent::{self, Agent};
use crate::lab::{Lab, Place};
use crate::plan;

/// How long something that must come may take.
const WITHIN: Duration = Duration::from_secs(30);

pub(super) fn check() -> Check {
    Check {
        name: "history",
        sentence: "kill -9 with --history: the next agent answers with what the last one saw, says that nobody watched, \
                   and clears it under its id when the connection succeeds; two agents on one folder are refused",
        needs: || None,
        agent: true,
        alone: false,
        run,
    }
}

fn run() -> Result<String> {
    let (lab, enforced) = denied_lab()?;
    let folder = lab.folder().join("history");
    let folder = folder.display().to_string();
    let keep = ["--history", folder.as_str()];
    let agent = Agent::start(&lab, &keep)?;
    lab.run(Place::Client, &["connect", "203.0.113.4:443", "--timeout", "0.5"])?.outcome(WITHIN)?;
    await_stored(&agent)?;
    let before = only(&agent)?;
    agent.kill();

    let agent = Agent::start(&lab, &keep)?;
    let after = only(&agent)?;
    ensure!(after["id"] == before["id"] && after["count"] == before["count"], "it became {after}");
    ensure!(after["state"] == "active", "it is {} although nothing succeeded", after["state"]);
    let hints = after["hints"].to_string();
    ensure!(hints.contains("not watched from"), "nothing says that nobody watched: {hints}");
    refuse_second(&lab, &keep)?;

    // The rule goes, and so does the failure.
    enforced.admit(&lab.node, plan::STRIPE, 443)?;
    lab.cluster.remove("policy-deny-all-egress.json")?;
    lab.run(Place::Client, &["connect", "203.0.113.4:443"])?.outcome(WITHIN)?;
    let deadline = Instant::now() + WITHIN;
    loop {
        let now = only(&agent)?;
        ensure!(now["id"] == before["id"], "another verdict: {now}");
        if now["state"] == "cleared" {
            break;
        }
        if Instant::now() > deadline {
            bail!("still {now}: {}", agent.errors());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    agent.terminate()?;
    Ok(String::new())
}

/// Another agent with the same folder does not start.
fn refuse_second(lab: &Lab, keep: &[&str]) -> Result<()> {
    let mut second = agent::command()?;
    second.arg("run").arg("--cluster-state").arg(lab.cluster.folder()).arg("--netns").arg(lab.node.path());
    let socket = format!("unix:{}", lab.folder().join("second.sock").display());
    second.args(["--grpc-listen", &socket, "--metrics-listen", "127.0.0.1:0"]).args(keep);
    let output = second.output().context("starting egress-agent")?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        output.status.code() == Some(1) && told.contains("in use by another agent"),
        "{}: {told}",
        output.status
    );
    Ok(())
}

/// The one verdict there is.
fn only(agent: &Agent) -> Result<Value> {
    let mut verdicts = agent.query(&["default/api-client", "--since", "6h"])?;
    ensure!(verdicts.len() == 1, "{} verdicts: {}", verdicts.len(), agent.errors());
    Ok(verdicts.remove(0))
}

/// Waits until the verdict is on disk.
fn await_stored(agent: &Agent) -> Result<()> {
    let deadline = Instant::now() + WITHIN;
    loop {
        let status = agent.status()?;
        if status["history"]["verdicts"].as_u64().unwrap_or(0) > 0 {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("nothing was written: {status}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
