//! The tour: a pod that cannot reach `api.stripe.com`, from the first SYN to the fix that works.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::agent::{self, Agent};
use crate::client::Outcome;
use crate::enforce::{Backend, Enforced, Match, Refusal};
use crate::lab::{Lab, Place};
use crate::plan::{Family, NODE_NAME, STRIPE};
use crate::topology::Topology;
use crate::{cleanup, tools};

/// What someone applies that evening.
const POLICY: &str = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: deny-all-egress
  namespace: default
spec:
  podSelector:
    matchLabels:
      app: firewall-test
  policyTypes: [Egress]
";
/// The address and port that the pods dial.
const PEER: &str = "203.0.113.4:443";
/// The verdict of a local drop is due within this time.
const VERDICT_WITHIN: Duration = Duration::from_secs(1);

/// Runs the tour. Needs root.
pub fn run() -> Result<()> {
    // SAFETY: a plain system call.
    ensure!(unsafe { libc::geteuid() } == 0, "the demo builds network namespaces: run it as root");
    let began = Instant::now();
    cleanup::sweep();
    let tag = tour()?;
    let left = cleanup::left_of(&tag);
    ensure!(left.is_empty(), "left behind: {}", left.join(", "));
    println!("\nEverything is taken down again. The tour took {:.1} s.", began.elapsed().as_secs_f64());
    Ok(())
}

/// Returns the tag of the lab it used, which is gone by then.
fn tour() -> Result<String> {
    title("A small cluster out of network namespaces, on this kernel");
    let lab = Lab::new(Topology::Routed)?;
    for pod in &lab.pods {
        say(&format!("pod {}/{}  {}", pod.namespace, pod.name, pod.ips.v4));
    }
    say(&format!("node {NODE_NAME}, masquerading; outside: api.stripe.com is {}", STRIPE.of(Family::V4)));

    title("The agent watches the node");
    let start = Instant::now();
    let agent = Agent::start(&lab, &[])?;
    shown(&format!(
        "egress-agent run --node-name {NODE_NAME} --netns /run/netns/{} --cluster-state {}",
        lab.node.name(),
        lab.cluster.folder().display()
    ));
    say(&format!("ready after {:.2} s", start.elapsed().as_secs_f64()));

    title("Both pods reach api.stripe.com");
    for (place, name) in [(Place::Client, "api-client"), (Place::Server, "api-server")] {
        ensure!(
            dial(&lab, place, name, "api.stripe.com:443")?.outcome == "connected",
            "{name} cannot connect"
        );
    }

    title("Someone applies a policy; the node's nftables enforce it");
    shown("kubectl apply -f deny-all-egress.yaml");
    print!("{}", indented(POLICY));
    let enforced = deny(&lab, &agent)?;

    title("2 AM: the pod hangs, in-cluster and on the node all is well");
    fail_and_time(&lab, &agent)?;
    ensure!(
        dial(&lab, Place::Server, "api-server", PEER)?.outcome == "connected",
        "api-server cannot connect"
    );
    ensure!(dial(&lab, Place::Node, "node", PEER)?.outcome == "connected", "the node cannot connect");

    title("Why?");
    ask(&agent, &["-n", "default", "api-client"])?;
    title("And the pod that works?");
    ask(&agent, &["-n", "default", "api-server"])?;
    ensure!(agent.query(&["default/api-server"])?.is_empty(), "a verdict on the healthy pod");

    title("The fix it offers, applied");
    apply_fix(&lab, &agent, &enforced)?;
    ensure!(dial(&lab, Place::Client, "api-client", PEER)?.outcome == "connected", "the fix does not work");
    await_cleared(&agent)?;
    ask(&agent, &["-n", "default", "api-client"])?;

    agent.terminate()?;
    Ok(lab.tag().to_owned())
}

/// Writes the policy as `kubectl apply` would, and installs what a CNI would.
fn deny(lab: &Lab, agent: &Agent) -> Result<Enforced> {
    lab.cluster.write_text("policy-deny-all-egress.yaml", POLICY)?;
    agent.await_objects("networkpolicy", 1)?;
    Backend::Nft.refuse(&lab.node, "pod-api-client", Match::From(lab.client().ips), Refusal::Drop)
}

/// The client fails, and the first verdict arrives at a follower long before the client gives up.
fn fail_and_time(lab: &Lab, agent: &Agent) -> Result<()> {
    let follower = agent.follow("default/api-client")?;
    shown_in("api-client", &format!("egress-lab connect {PEER}"));
    let start = Instant::now();
    let client = lab.run(Place::Client, &["connect", PEER, "--timeout", "5"])?;
    let line = follower
        .line(start + Duration::from_secs(10))
        .with_context(|| format!("no verdict: {} {}", follower.errors(), agent.errors()))?;
    let delay = line.at.saturating_duration_since(start);
    let verdict: Value = serde_json::from_str(&line.text)?;
    say(&format!(
        "(first SYN → verdict: {:.2} s, {}; the pod still waits)",
        delay.as_secs_f64(),
        verdict["cause"].as_str().unwrap_or("?"),
    ));
    let outcome = client.outcome(Duration::from_secs(20))?;
    say(&told(&outcome));
    ensure!(outcome.outcome == "timeout", "the client ended as {outcome:?}");
    ensure!(verdict["cause"] == "policy-drop", "the verdict is {verdict}");
    let mut policies = verdict["policies"].as_array().into_iter().flatten();
    let named =
        policies.any(|policy| policy["namespace"] == "default" && policy["name"] == "deny-all-egress");
    ensure!(named, "the verdict does not name default/deny-all-egress: {verdict}");
    ensure!(delay <= VERDICT_WITHIN, "the verdict took {:.2} s", delay.as_secs_f64());
    Ok(())
}

/// `query --fix | kubectl apply -f -`: the manifest goes to the cluster, and the CNI admits what it admits.
fn apply_fix(lab: &Lab, agent: &Agent, enforced: &Enforced) -> Result<()> {
    shown("egress-agent query -n default api-client --fix | kubectl apply -f -");
    let mut query = agent::command()?;
    query.args(["query", "--server", agent.server()]);
    let manifest = tools::output(&mut query, &["-n", "default", "api-client", "--fix"])?;
    ensure!(manifest.contains("kind: NetworkPolicy"), "the fix is no manifest: {manifest}");
    print!("{}", indented(&manifest));
    lab.cluster.write_text("policy-fix.yaml", &manifest)?;
    agent.await_objects("networkpolicy", 2)?;
    enforced.admit(&lab.node, STRIPE, 443)
}

/// The same traffic succeeded: the verdict is cleared.
fn await_cleared(agent: &Agent) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let verdicts = agent.query(&["default/api-client"])?;
        if verdicts.iter().all(|v| v["state"] == "cleared") {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("the verdict is still active after the fix: {}", Value::from(verdicts));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Runs a client in a place, and shows both.
fn dial(lab: &Lab, place: Place, name: &str, peer: &str) -> Result<Outcome> {
    shown_in(name, &format!("egress-lab connect {peer}"));
    let outcome = lab.run(place, &["connect", peer])?.outcome(Duration::from_secs(20))?;
    say(&told(&outcome));
    Ok(outcome)
}

/// Asks as a person does: the agent itself writes to the terminal.
fn ask(agent: &Agent, args: &[&str]) -> Result<()> {
    shown(&format!("egress-agent query {}", args.join(" ")));
    let mut query = Command::new(agent::binary()?);
    query.args(["query", "--server", agent.server()]).args(args).stdin(Stdio::null());
    let status = query.status().context("starting egress-agent query")?;
    ensure!(status.success(), "egress-agent query ended with {status}");
    Ok(())
}

fn told(outcome: &Outcome) -> String {
    match outcome.outcome.as_str() {
        "connected" => format!("connected, {:.0} ms", outcome.seconds * 1000.0),
        "timeout" => format!("Connection timed out after {:.1} s", outcome.seconds),
        other => format!("{other} (errno {})", outcome.errno),
    }
}

fn title(text: &str) {
    println!("\n== {text}");
}

fn say(text: &str) {
    println!("   {text}");
}

fn shown(command: &str) {
    println!(" $ {command}");
}

fn shown_in(place: &str, command: &str) {
    println!(" {place}$ {command}");
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("     {line}\n")).collect()
}
