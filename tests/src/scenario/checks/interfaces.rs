//! The ways to ask, on one real failure: filters, exit statuses, the table, the metrics.

use std::process::Output;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{Check, denied_lab};
use crate::agent::{self, Agent};
use crate::lab::{Lab, Place};

pub(super) fn check() -> Check {
    Check {
        name: "interfaces",
        sentence: "query with its filters and exit statuses, explain, status, doctor, metrics and health",
        needs: || None,
        agent: true,
        alone: false,
        run,
    }
}

fn run() -> Result<String> {
    let (lab, _) = denied_lab()?;
    let agent = Agent::start(&lab, &[])?;
    let follower = agent.follow("default/api-client")?;
    let dial = ["connect", "203.0.113.4:443", "--timeout", "0.5"];
    lab.run(Place::Client, &dial)?.outcome(Duration::from_secs(30))?;
    let first = follower.line(Instant::now() + Duration::from_secs(20));
    first.with_context(|| format!("no verdict: {}", agent.errors()))?;

    filters(&agent)?;
    statuses(&lab, &agent)?;
    table(&agent)?;
    explain(&agent)?;
    http(&agent)?;
    agent.terminate()?;
    Ok(String::new())
}

/// Each filter finds it or leaves it out.
fn filters(agent: &Agent) -> Result<()> {
    let pod = ["-n", "default", "api-client"];
    for (args, found) in [
        (&["--cause", "policy-drop"][..], 1),
        (&["--cause", "dns-failure"], 0),
        (&["--cause", "dns-failure", "--cause", "policy-drop"], 1),
        (&["--to", "203.0.113.4"], 1),
        (&["--to", "203.0.113.4:443"], 1),
        (&["--to", "203.0.113.4:80"], 0),
        (&["--to", "203.0.113.5"], 0),
        (&["--since", "15m"], 1),
    ] {
        let verdicts = agent.query(&[&pod[..], args].concat())?;
        ensure!(
            verdicts.len() == found,
            "query {}: {} verdicts, not {found}",
            args.join(" "),
            verdicts.len()
        );
    }
    Ok(())
}

/// 0 answered, 2 usage, 3 no such pod, 4 agent unreachable.
fn statuses(lab: &Lab, agent: &Agent) -> Result<()> {
    let nowhere = format!("unix:{}", lab.folder().join("nobody.sock").display());
    for (args, code) in [
        (&["query", "--server", agent.server(), "default/api-server"][..], 0),
        (&["query", "--server", agent.server(), "default/no-such-pod"], 3),
        (&["query", "--server", &nowhere, "default/api-client"], 4),
        (&["query", "--no-such-flag"], 2),
        (&["status", "--server", agent.server()], 0),
        (&["doctor", "--netns", &lab.node.path().display().to_string()], 0),
    ] {
        let output = ask(args)?;
        ensure!(
            output.status.code() == Some(code),
            "{}: {}, not {code}: {}",
            args.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

/// Readable at 80 columns, without colour where nobody sees it, cause and policy and fix in it.
fn table(agent: &Agent) -> Result<()> {
    let output = ask(&["query", "--server", agent.server(), "-n", "default", "api-client"])?;
    let text = String::from_utf8(output.stdout)?;
    for word in ["policy-drop", "deny-all-egress", "api-client", "203.0.113.4", "Fix"] {
        ensure!(text.contains(word), "the table does not say {word}:\n{text}");
    }
    ensure!(!text.contains('\u{1b}'), "the table is coloured although it is no terminal:\n{text}");
    // A command to copy stays whole.
    let prose = text.lines().filter(|line| !line.contains("egress-agent query"));
    let widest = prose.map(|line| line.chars().count()).max().unwrap_or(0);
    ensure!(widest <= 80, "the table is {widest} columns wide:\n{text}");
    Ok(())
}

fn explain(agent: &Agent) -> Result<()> {
    let args = ["explain", "--server", agent.server(), "--from", "default/api-client", "--to", "203.0.113.4"];
    let output = ask(&[&args[..], &["--port", "443", "-o", "json"]].concat())?;
    let text = String::from_utf8(output.stdout)?;
    let answer: serde_json::Value =
        serde_json::from_str(&text).with_context(|| format!("explain: {text}"))?;
    ensure!(answer["decision"] == "deny" && answer["egress"]["isolated"] == true, "explain: {answer}");
    Ok(())
}

fn http(agent: &Agent) -> Result<()> {
    ensure!(agent.get("/healthz")?.0 == 200, "/healthz is not 200");
    let (status, metrics) = agent.get("/metrics")?;
    ensure!(status == 200, "/metrics is {status}");
    let line = |name: &str, label: &str| {
        metrics
            .lines()
            .any(|line| line.starts_with(name) && line.contains(label) && line.contains("api-client"))
    };
    ensure!(line("egress_verdicts_total", "cause=\"policy-drop\""), "no verdict is counted:\n{metrics}");
    ensure!(line("egress_dropped_packets_total", "NETFILTER_DROP"), "no drop is counted:\n{metrics}");
    ensure!(!metrics.contains("203.0.113.4"), "an address became a label:\n{metrics}");
    Ok(())
}

fn ask(args: &[&str]) -> Result<Output> {
    agent::command()?.args(args).output().context("starting egress-agent")
}
