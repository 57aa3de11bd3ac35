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
use crate::topology::Topology;

/// The second node.
const OTHER: &str = "worker-2";
/// The pod on it.
const OTHER_POD: &str = "api-client-2";

pub(super) fn check() -> Check {
    Check {
        name: "reach",
        sentence: "through the API server: a pod on either of two nodes, a Deployment across both, a pod that is gone; \
                   with a node down a partial answer and exit status 5",
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
