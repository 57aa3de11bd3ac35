//! What people install for monitoring, against a real Prometheus that scrapes a real agent.

mod dashboard;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Check;
use crate::agent::Agent;
use crate::enforce::{Backend, Match, Refusal};
use crate::lab::{Lab, Place, TcpBehaviour};
use crate::plan::{SERVER, STRIPE};
use crate::prometheus::Prometheus;
use crate::tools;
use crate::topology::Topology;

/// How far the rules look back here; minutes in a cluster.
const WINDOW: &str = "8s";
/// The agent speaks of drift once policies have been as they are for ten seconds.
const SETTLED: Duration = Duration::from_secs(11);
/// How long an alert may take to come, the agent's and Prometheus' second included.
const FIRES_WITHIN: Duration = Duration::from_secs(60);
/// How long it may take to go: the window, and what the scrapes add.
const RESOLVES_WITHIN: Duration = Duration::from_secs(90);

pub(super) fn check() -> Check {
    Check {
        name: "monitoring",
        sentence: "a real Prometheus scrapes the agent: the alert fires for a policy drop and resolves after the fix, \
                   and every panel of the dashboard shows something",
        needs: || super::super::program("prometheus").or_else(|| super::super::program("promtool")),
        agent: true,
        alone: false,
        run,
    }
}

fn run() -> Result<String> {
    let mut lab = Lab::new(Topology::Routed)?;
    lab.serve_tcp(Place::Server, &[(SERVER, 8080)], TcpBehaviour::Echo)?;
    lab.cluster.deny_all_egress()?;
    // Nobody enforces this one.
    lab.cluster.deny_all_ingress()?;
    let blocked = Match::From(lab.client().ips);
    let enforced = Backend::Nft.refuse(&lab.node, "pod-api-client", blocked, Refusal::Drop)?;
    let agent = Agent::start(&lab, &[])?;
    let prometheus = Prometheus::start(&lab.folder(), agent.metrics(), &shortened_rules()?)?;
    prometheus.await_query("up == 1", true, FIRES_WITHIN)?;
    let alert = "ALERTS{alertname=\"EgressPolicyDrop\",alertstate=\"firing\"}";
    ensure!(prometheus.query(alert)?.is_empty(), "an alert before there is a failure");

    let dial = ["connect", "203.0.113.4:443", "--timeout", "0.4", "--count", "4"];
    let outcome = lab.run(Place::Client, &dial)?.outcome(Duration::from_secs(20))?;
    ensure!(outcome.outcome == "timeout", "the blocked pod's traffic: {outcome:?}");
    let (firing, fired) = prometheus.await_query(alert, true, FIRES_WITHIN)?;
    let labels = &firing[0]["metric"];
    ensure!(
        firing.len() == 1 && labels["pod"] == "api-client" && labels["direction"] == "egress",
        "the alert: {firing:?}"
    );

    enforced.admit(&lab.node, STRIPE, 443)?;
    enforced.admit(&lab.node, SERVER, 8080)?;
    lab.cluster.remove("policy-deny-all-egress.json")?;
    let fixed = Instant::now();
    lab.run(Place::Client, &dial)?.outcome(Duration::from_secs(20))?;
    other_faults(&lab)?;
    prometheus.await_query(alert, false, RESOLVES_WITHIN)?;
    let resolved = fixed.elapsed();

    // The removed policy changed what is settled: drift is told from ten seconds after it.
    std::thread::sleep(SETTLED.saturating_sub(fixed.elapsed()));
    other_faults(&lab)?;
    drift(&lab)?;
    let panels = dashboard::check(&prometheus)?;
    let rules = prometheus.rules()?;
    let bad: Vec<_> = rules.iter().filter(|rule| rule["health"] != "ok").collect();
    ensure!(bad.is_empty(), "rules that Prometheus cannot evaluate: {bad:?}");
    lint(&lab, &agent)?;
    agent.terminate()?;
    Ok(format!(
        "fired {:.1} s after the drops, resolved {:.1} s after the fix, {panels} queries of the dashboard, {} rules",
        fired.as_secs_f64(),
        resolved.as_secs_f64(),
        rules.len()
    ))
}

/// Answered and unanswered questions, refused and unanswered connections, of the healthy pod.
fn other_faults(lab: &Lab) -> Result<()> {
    for (args, wanted) in [
        (&["lookup", "api.stripe.com"][..], "noerror"),
        (&["lookup", "no-such-name.example.com."], "nxdomain"),
        (&["lookup", "api.stripe.com.", "--dns", "203.0.113.66:53", "--dns-timeout", "0.5"], "timeout"),
        (&["connect", "203.0.113.66:443", "--timeout", "1.4"], "timeout"),
        (&["connect", "203.0.113.4:81", "--timeout", "1"], "refused"),
    ] {
        let outcome = lab.run(Place::Server, args)?.outcome(Duration::from_secs(20))?;
        ensure!(outcome.outcome == wanted, "{}: {outcome:?}, not {wanted}", args.join(" "));
    }
    Ok(())
}

/// The server is reached although a policy denies that.
fn drift(lab: &Lab) -> Result<()> {
    let args = ["connect", "10.244.1.6:8080"];
    let outcome = lab.run(Place::Client, &args)?.outcome(Duration::from_secs(20))?;
    ensure!(outcome.outcome == "connected", "{}: {outcome:?}", args.join(" "));
    Ok(())
}

/// The rules that are installed, looking back seconds instead of minutes; nothing else is changed.
fn shortened_rules() -> Result<String> {
    let path = folder().join("alerts.yaml");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let short =
        text.replace("[10m]", &format!("[{WINDOW}]")).replace("offset 10m", &format!("offset {WINDOW}"));
    ensure!(short != text, "{} looks back over other times than this test knows", path.display());
    Ok(short)
}

/// `promtool check metrics` has nothing to say about what the agent serves.
fn lint(lab: &Lab, agent: &Agent) -> Result<()> {
    let (status, metrics) = agent.get_as("/metrics", "text/plain")?;
    ensure!(status == 200, "/metrics is {status}");
    let mut promtool = Command::new("promtool");
    tools::feed(promtool.current_dir(lab.folder()), &["check", "metrics"], &metrics)
}

/// `deploy/monitoring`.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/monitoring")
}
