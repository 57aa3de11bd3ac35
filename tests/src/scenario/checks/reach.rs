//! A session at a laptop: the API server, two nodes, and the rights of whoever asks.

use std::fs;
use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use egress_apiserver::{Access, ApiServer, Rules, Target};
use serde_json::{Value, json};

use super::Check;
use crate::agent::{self, Agent};
use crate::enforce::{Backend, Match, Refusal};
use crate::lab::{Lab, Place};
use crate::plan::NODE_NAME;
use crate::process::Process;
use crate::topology::Topology;

/// The second node.
const OTHER: &str = "worker-2";
/// The pod on it.
const OTHER_POD: &str = "api-client-2";
/// A node that goes away, and its pod.
const GOING: &str = "worker-3";
const GOING_POD: &str = "api-client-3";

pub(super) fn check() -> Check {
    Check {
        name: "reach",
        sentence: "through the API server: a pod on either of two nodes, a Deployment across both, a pod that is gone; \
                   status and explain; several nodes followed while one is mute and one goes away; with a node down a \
                   partial answer and exit status 5",
        needs: || None,
        agent: true,
        alone: false,
        run,
    }
}

fn run() -> Result<String> {
    let (first, second) = (node(NODE_NAME, "api-client")?, node(OTHER, OTHER_POD)?);
    let server = ApiServer::builder().start_on_thread()?;
    for (node, pod, at) in [(NODE_NAME, "api-client", &first), (OTHER, OTHER_POD, &second)] {
        server.apply(pod_object("default", pod, node, &json!({"app": "web"})))?;
        let agent = format!("agent-{node}");
        let label = json!({"app.kubernetes.io/name": "egress-agent"});
        server.apply(pod_object("monitoring", &agent, node, &label))?;
        let socket = at.1.server().trim_start_matches("unix:");
        server.forward("monitoring", &agent, 50051, Target::Unix(PathBuf::from(socket)));
    }
    server.apply(json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": "web"}},
                 "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}}},
    }))?;
    let session = Session { config: first.0.folder().join("kubeconfig") };
    fs::write(&session.config, server.kubeconfig(""))?;

    session.expect(&["api-client"], 0, &[NODE_NAME])?;
    session.expect(&["default/api-client-2"], 0, &[OTHER])?;
    session.expect(&["deploy/web"], 0, &[NODE_NAME, OTHER])?;
    session.expect(&["ns/default", "--cause", "policy-drop"], 0, &[NODE_NAME, OTHER])?;
    session.expect(&["--node", OTHER], 0, &[OTHER])?;
    session.expect(&["default/nobody"], 3, &[])?;

    others(&session, &server)?;
    followed(&session, &server, &first)?;

    // Gone from the cluster: where it was is told by its events, or found out by asking everybody.
    ensure!(server.delete("v1", "pods", "default", OTHER_POD), "there was no such pod");
    session.expect(&[OTHER_POD], 0, &[OTHER])?;
    server.apply(json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e1", "namespace": "default"},
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": OTHER_POD}, "reason": "Scheduled",
        "message": format!("Successfully assigned default/{OTHER_POD} to {OTHER}"),
    }))?;
    session.expect(&[OTHER_POD], 0, &[OTHER])?;
    server.apply(pod_object("default", OTHER_POD, OTHER, &json!({"app": "web"})))?;

    // Whoever may read pods but not forward ports.
    let reader = Rules::of_cluster_role("reader", READER)?;
    server.set_access(Access::default().user("t", "jane", reader));
    fs::write(&session.config, server.kubeconfig("t"))?;
    let output = session.expect(&["api-client"], 4, &[])?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(told.contains("pods/portforward") && told.contains("namespace monitoring"), "it says: {told}");
    server.set_access(Access::default());
    fs::write(&session.config, server.kubeconfig(""))?;

    // One node down.
    second.1.terminate()?;
    let output = session.expect(&["deploy/web"], 5, &[NODE_NAME])?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(told.contains("partial answer") && told.contains(OTHER), "it says: {told}");
    session.expect(&[OTHER_POD], 4, &[])?;
    first.1.terminate()?;
    Ok(String::new())
}

/// What else is asked of an agent through the API server, and of the API server itself.
fn others(session: &Session, server: &ApiServer) -> Result<()> {
    let status = session.ask(&["status", "-o", "json", "--node", OTHER], 0)?;
    ensure!(status["node"] == OTHER, "the status is of another node: {status}");
    let question =
        ["explain", "--from", "default/api-client", "--to", "203.0.113.4", "--port", "443", "-o", "json"];
    // The agent of the node knows the policies of its cluster, of which the API server has none so far.
    let of_agent = session.ask(&[&question[..], &["--node", NODE_NAME]].concat(), 0)?;
    ensure!(of_agent["decision"] == "deny", "the agent explains: {of_agent}");
    let of_cluster = session.ask(&question, 0)?;
    ensure!(of_cluster["decision"] == "allow", "the cluster explains: {of_cluster}");
    let policy = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"namespace": "default", "name": "closed"}, "spec": {"podSelector": {}, "policyTypes": ["Egress"]}});
    let file = session.config.with_file_name("closed.json");
    fs::write(&file, policy.to_string())?;
    let file = file.display().to_string();
    let checked = session.ask(&[&question[..], &["--with", &file]].concat(), 0)?;
    ensure!(checked["decision"] == "deny", "before it is applied: {checked}");
    server.apply(policy)?;
    let applied = session.ask(&question, 0)?;
    ensure!(applied["decision"] == "deny" && applied["egress"] == checked["egress"], "after: {applied}");
    session.ask(&["explain", "--from", "default/nobody", "--to", "203.0.113.4", "--port", "443"], 3)?;
    server
        .delete("networking.k8s.io/v1", "networkpolicies", "default", "closed")
        .then_some(())
        .context("no policy")
}

/// Both nodes are followed while a third does not answer; one of them goes away and the other goes on.
fn followed(session: &Session, server: &ApiServer, first: &(Lab, Agent)) -> Result<()> {
    let (lab, agent) = node(GOING, GOING_POD)?;
    let label = json!({"app.kubernetes.io/name": "egress-agent"});
    for (name, node) in [("agent-going", GOING), ("agent-mute", "worker-4")] {
        server.apply(pod_object("monitoring", name, node, &label))?;
    }
    server.apply(pod_object("default", GOING_POD, GOING, &json!({"app": "web"})))?;
    server.apply(pod_object("default", "mute", "worker-4", &json!({"app": "web"})))?;
    let socket = agent.server().trim_start_matches("unix:");
    server.forward("monitoring", "agent-going", 50051, Target::Unix(PathBuf::from(socket)));
    // Takes connections and says nothing.
    let mute = std::net::TcpListener::bind("127.0.0.1:0")?;
    server.forward("monitoring", "agent-mute", 50051, Target::Tcp(mute.local_addr()?));

    let mut follower = session.follow("deploy/web")?;
    let nodes = |lines: Vec<String>| -> Result<Vec<String>> {
        let mut nodes = Vec::new();
        for line in lines {
            let verdict: Value = serde_json::from_str(&line)?;
            nodes.push(verdict["pod"]["node"].as_str().unwrap_or_default().to_owned());
        }
        nodes.sort_unstable();
        Ok(nodes)
    };
    let mut history = Vec::new();
    while history.len() < 3 {
        let line = follower.line(Instant::now() + Duration::from_secs(40));
        history.push(line.with_context(|| format!("no history: {}", follower.errors()))?.text);
    }
    ensure!(nodes(history)? == [NODE_NAME, OTHER, GOING], "{}", follower.errors());
    let told = follower.errors();
    ensure!(told.contains("# 3 of 4 nodes have answered"), "no progress is told: {told}");
    ensure!(told.contains("# node worker-4 does not answer: "), "it says: {told}");

    agent.terminate()?;
    await_error(&follower, &format!("# node {GOING} does not answer any more: "))?;
    first
        .0
        .run(Place::Client, &["connect", "203.0.113.5:443", "--timeout", "0.5"])?
        .outcome(Duration::from_secs(10))?;
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let line = follower.line(deadline).with_context(|| format!("nothing more: {}", follower.errors()))?;
        let verdict: Value = serde_json::from_str(&line.text)?;
        if verdict["peer"]["ip"] == "203.0.113.5" {
            break;
        }
    }
    follower.kill();
    for (namespace, name) in [
        ("monitoring", "agent-going"),
        ("monitoring", "agent-mute"),
        ("default", GOING_POD),
        ("default", "mute"),
    ] {
        ensure!(server.delete("v1", "pods", namespace, name), "there is no {name}");
    }
    drop(lab);
    Ok(())
}

/// Waits until this is on standard error.
fn await_error(process: &Process, text: &str) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !process.errors().contains(text) {
        ensure!(Instant::now() < deadline, "it does not say \"{text}\": {}", process.errors());
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

const READER: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reader}
rules:
- {apiGroups: [''], resources: [pods, events], verbs: [get, list]}
";

/// A node with an agent that has seen one pod's traffic denied.
fn node(name: &str, pod: &str) -> Result<(Lab, Agent)> {
    let lab = Lab::new(Topology::Routed)?;
    lab.cluster.change_pod("api-client", |object| object["metadata"]["name"] = pod.into())?;
    for pod in [pod, "api-server", "coredns"] {
        lab.cluster.change_pod(pod, |object| object["spec"]["nodeName"] = name.into())?;
    }
    lab.cluster.deny_all_egress()?;
    Backend::Nft.refuse(&lab.node, "pod-api-client", Match::From(lab.client().ips), Refusal::Drop)?;
    let agent = Agent::start_as(&lab, name, &[])?;
    let follower = agent.follow(&format!("default/{pod}"))?;
    lab.run(Place::Client, &["connect", "203.0.113.4:443", "--timeout", "0.5"])?
        .outcome(Duration::from_secs(30))?;
    let line = follower.line(Instant::now() + Duration::from_secs(30));
    line.with_context(|| format!("no verdict on {name}: {}", agent.errors()))?;
    Ok((lab, agent))
}

fn pod_object(namespace: &str, name: &str, node: &str, labels: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"nodeName": node, "containers": []}, "status": {"phase": "Running"},
    })
}

/// Somebody with a kubeconfig.
struct Session {
    config: PathBuf,
}

impl Session {
    /// Asks something else than `query`, and checks the exit status; the JSON that comes.
    fn ask(&self, args: &[&str], code: i32) -> Result<Value> {
        let mut command = agent::command()?;
        let output = command.args(args).arg("--kubeconfig").arg(&self.config).output()?;
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            output.status.code() == Some(code),
            "{}: {}, not {code}: {errors}",
            args.join(" "),
            output.status
        );
        if code != 0 {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&output.stdout).with_context(|| format!("{} printed no JSON", args.join(" ")))
    }

    /// Follows, one JSON object a line.
    fn follow(&self, target: &str) -> Result<Process> {
        let mut command = agent::command()?;
        command.args(["query", "-o", "json", "--follow", target, "--kubeconfig"]).arg(&self.config);
        Process::start(command, "egress-agent query --follow")
    }

    /// Asks, and checks the exit status and the nodes of the verdicts.
    fn expect(&self, args: &[&str], code: i32, nodes: &[&str]) -> Result<Output> {
        let mut command = agent::command()?;
        command.args(["query", "-o", "json", "--kubeconfig"]).arg(&self.config).args(args);
        let output = command.output().context("starting egress-agent query")?;
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            output.status.code() == Some(code),
            "query {}: {}, not {code}: {errors}",
            args.join(" "),
            output.status
        );
        if code == 0 || code == 5 {
            let verdicts: Vec<Value> = serde_json::from_slice(&output.stdout)?;
            let mut found: Vec<&str> =
                verdicts.iter().filter_map(|verdict| verdict["pod"]["node"].as_str()).collect();
            found.sort_unstable();
            found.dedup();
            ensure!(
                found == nodes,
                "query {}: verdicts of {found:?}, not {nodes:?}: {errors}",
                args.join(" ")
            );
        }
        Ok(output)
    }
}
