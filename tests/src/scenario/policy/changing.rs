//! The cluster comes from an API server and changes while traffic flows; the capture holds the changes, and the answer
//! to who a pod of another node is.

use anyhow::Result;
use serde_json::{Value, json};

use super::super::{Health, Run, Scenario};
use super::{HTTP, egress_verdict};
use crate::enforce::{Backend, Match, Refusal};
use crate::expect::Expect;
use crate::lab::{Lab, Place, TcpBehaviour};
use crate::plan::{CLIENT, Dual, Family, GITHUB, NAMESPACE, NODE, NODE_PODS_V4, STRIPE};
use crate::topology::Topology;

/// A pod of another node, beyond the uplink.
const FAR_POD: Dual = Dual::local([10, 244, 2, 7], 0x27);

pub(super) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "policy-changing",
            Topology::Routed,
            "on an API server one policy takes another's place while traffic flows, then the pod dials a pod of another \
             node: each drop names the policy of its time, and who the other pod is has been asked",
            changing,
        )
        .on_api()
        .set_up(|lab, health| {
            far_pod(lab)?;
            if health == Health::Healthy {
                return lab.cluster.policy("allow-all", everything());
            }
            lab.cluster.deny_all_egress()?;
            Backend::Nft.refuse(&lab.node, "pod-api-client", Match::From(CLIENT), Refusal::Drop).map(drop)
        })
        .expect(|| egress_verdict(Family::V4))
        .also(|| {
            vec![
                Expect {
                    peer: (GITHUB.of(Family::V4), 443),
                    policies: &["deny-more"],
                    ..egress_verdict(Family::V4)
                },
                Expect {
                    peer: (FAR_POD.of(Family::V4), HTTP),
                    kind: "pod",
                    policies: &["deny-more"],
                    says: &[("/peer/pod/name", "web-far"), ("/fix/manifest", "podSelector")],
                    ..egress_verdict(Family::V4)
                },
            ]
        }),
    ]
}

fn changing(run: &mut Run) -> Result<()> {
    let word = if run.broken() { "timeout" } else { "connected" };
    run.dial(Family::V4, STRIPE, 443, "timeout")?;
    let began = run.began;
    let flowing = ["connect", "203.0.113.4:443", "--count", "12", "--manner", "pause", "--pause", "0.3"];
    let flow = run.lab.run(Place::Server, &flowing)?;
    // The new one comes before the old one goes, as when somebody renames a policy.
    let (old, spec) = if run.broken() {
        ("deny-all-egress", json!({"podSelector": {}, "policyTypes": ["Egress"]}))
    } else {
        ("allow-all", everything())
    };
    run.apply(json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                     "metadata": {"name": "deny-more", "namespace": NAMESPACE}, "spec": spec}))?;
    run.await_known("networkpolicy", 2)?;
    anyhow::ensure!(
        run.api()?.server().delete("networking.k8s.io/v1", "networkpolicies", NAMESPACE, old),
        "there was no {old}"
    );
    run.await_known("networkpolicy", 1)?;
    run.must(Place::Client, &["connect", "203.0.113.5:443", "--timeout", "1.4"], word)?;
    // Time for the answer: what is not known at the first SYN is known at a later one.
    run.must(Place::Client, &["connect", "10.244.2.7:8080", "--timeout", "3.6"], word)?;
    let outcome = flow.outcome(std::time::Duration::from_secs(60))?;
    anyhow::ensure!(outcome.outcome == "connected", "the other pod's traffic: {outcome:?}");
    run.began = began;
    Ok(())
}

/// A policy that isolates every pod and admits all.
fn everything() -> Value {
    json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": [{}]})
}

/// A pod of worker-2, reached over the uplink without translation.
fn far_pod(lab: &mut Lab) -> Result<()> {
    lab.internet.ip(&[
        format!("addr add {}/32 dev lo", FAR_POD.v4),
        format!("addr add {}/128 dev lo", FAR_POD.v6),
        format!("route add {NODE_PODS_V4} via {}", NODE.v4),
    ])?;
    lab.serve_tcp(Place::Internet, &[(FAR_POD, HTTP)], TcpBehaviour::Echo)?;
    let status = json!({"phase": "Running", "podIP": FAR_POD.v4, "podIPs": [{"ip": FAR_POD.v4}],
                        "conditions": [{"type": "Ready", "status": "True"}]});
    lab.cluster.pod_elsewhere("web-far", json!({"app": "web"}), json!([]), status)?;
    lab.cluster.write(
        "node-worker-2.json",
        &json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "worker-2"},
                "spec": {"podCIDR": "10.244.2.0/24", "podCIDRs": ["10.244.2.0/24"]},
                "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.11"}]}}),
    )
}
