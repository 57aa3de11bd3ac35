//! Ingress policies of a destination on this node: a client from elsewhere, a Service in between, both sides at once.

use std::net::SocketAddr;

use serde_json::json;

use super::super::{Health, Run, Scenario};
use super::{HTTP, ingress_verdict, server_admitting};
use crate::enforce::{Backend, Match, Refusal};
use crate::expect::Expect;
use crate::lab::{Lab, Place};
use crate::plan::{CLIENT, Dual, Family, NODE, NODE_PODS_V4, SERVER, SERVICE};
use crate::topology::Topology;

/// Port of the Service in front of the server pod.
const WEB: u16 = 80;

pub(super) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "policy-ingress-remote",
            Topology::Routed,
            "a client outside dials a pod of this node whose ingress policy admits nobody: the verdict is the pod's",
            |run| {
                deny_ingress(run)?;
                dial_from_outside(run)
            },
        )
        .set_up(|lab, health| {
            lab.internet.ip(&[format!("route add {NODE_PODS_V4} via {}", NODE.v4)])?;
            open_to_all(lab, health)
        })
        .expect(|| Expect {
            pod: "api-server",
            confidence: &["certain"],
            direction: "ingress",
            // The route to the node gives the client its own address on the link.
            peer: (crate::plan::GATEWAY.of(Family::V4), HTTP),
            kind: "external",
            shown_on_server: false,
            ..ingress_verdict(Family::V4)
        }),
        Scenario::new(
            "policy-ingress-service",
            Topology::Routed,
            "the same pod through its Service: the policy names a port, and applies after translation",
            |run| {
                deny_ingress(run)?;
                run.dial(Family::V4, SERVICE, WEB, "timeout")
            },
        )
        .set_up(|lab, health| {
            service(lab)?;
            server_admitting(lab, health)
        })
        .expect(|| Expect {
            confidence: &["certain"],
            peer: (SERVICE.of(Family::V4), WEB),
            kind: "service",
            says: &[("/translation/destination/ip", "10.244.1.6"), ("/peer/pod/name", "api-server")],
            ..ingress_verdict(Family::V4)
        }),
        Scenario::new(
            "policy-both-sides",
            Topology::Routed,
            "the client's egress and the server's ingress both deny it: both are told, and the fix has both",
            |run| {
                if run.broken() {
                    run.lab.cluster.deny_all_egress()?;
                    run.refuse(Backend::Nft, "pod-api-client", Match::From(CLIENT), Refusal::Drop)?;
                }
                deny_ingress(run)?;
                run.dial(Family::V4, SERVER, HTTP, "timeout")
            },
        )
        .set_up(server_admitting)
        .expect(|| Expect {
            confidence: &["certain"],
            policies: &["deny-all-egress", "deny-all-ingress"],
            detail: &[("side", "both")],
            says: &[
                ("/summary", "default/deny-all-egress"),
                ("/summary", "default/deny-all-ingress"),
                ("/summary", "Both sides have to allow it"),
                ("/fix/manifest", "- Egress"),
                ("/fix/manifest", "- Ingress"),
            ],
            ..ingress_verdict(Family::V4)
        }),
    ]
}

fn deny_ingress(run: &Run) -> anyhow::Result<()> {
    if run.broken() {
        run.lab.cluster.deny_all_ingress()?;
        run.refuse(Backend::Nft, "pod-api-server", Match::To(SERVER), Refusal::Drop)?;
        run.await_policies()?;
    }
    Ok(())
}

fn dial_from_outside(run: &mut Run) -> anyhow::Result<()> {
    let peer = SocketAddr::new(SERVER.of(Family::V4), HTTP).to_string();
    run.begin();
    let outcome = run.client(Place::Internet, &["connect", &peer, "--timeout", "1.4"])?;
    run.check(&outcome, "timeout", "connected")
}

/// The twin's policy admits clients from anywhere.
fn open_to_all(lab: &mut Lab, health: Health) -> anyhow::Result<()> {
    server_admitting(lab, Health::Broken)?;
    if health == Health::Healthy {
        lab.cluster.policy(
            "allow-all",
            json!({"podSelector": {"matchLabels": {"app": "api-server"}}, "policyTypes": ["Ingress"],
                   "ingress": [{"ports": [{"protocol": "TCP", "port": "http"}]}]}),
        )?;
    }
    Ok(())
}

/// Service `web` in front of the server pod: its object, and the translation that kube-proxy would make.
fn service(lab: &Lab) -> anyhow::Result<()> {
    let Dual { v4: vip, .. } = SERVICE;
    let backend = SERVER.v4;
    lab.cluster.write(
        "service-web.json",
        &json!({"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"},
             "spec": {"clusterIP": vip, "clusterIPs": [vip], "type": "ClusterIP",
                      "selector": {"app": "api-server"},
                      "ports": [{"name": "http", "port": WEB, "targetPort": "http", "protocol": "TCP"}]}},
            {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
             "metadata": {"name": "web-x", "namespace": "default",
                          "labels": {"kubernetes.io/service-name": "web"}},
             "addressType": "IPv4",
             "endpoints": [{"addresses": [backend], "conditions": {"ready": true},
                            "targetRef": {"kind": "Pod", "namespace": "default", "name": "api-server"}}],
             "ports": [{"name": "http", "port": HTTP, "protocol": "TCP"}]}]}),
    )?;
    lab.node.nft(&format!(
        "table ip web {{ chain services {{
           type nat hook prerouting priority dstnat - 1; policy accept;
           ip daddr {vip} tcp dport {WEB} dnat to {backend}:{HTTP};
         }}
         }}"
    ))
}
