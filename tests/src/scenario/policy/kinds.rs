//! Policies of kinds that come with a CustomResourceDefinition, enforced as their network plugins do. The twin has the
//! same policy and the same enforcement for another destination.

use anyhow::Result;
use serde_json::{Value, json};

use super::super::{Health, Run, Scenario};
use crate::bpf::{Hook, Shot};
use crate::enforce::{Backend, Match, Refusal};
use crate::expect::Expect;
use crate::lab::{Lab, Place};
use crate::plan::{CLIENT, Dual, Family, GITHUB, STRIPE};
use crate::topology::Topology;

pub(super) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "policy-admin",
            Topology::Routed,
            "an AdminNetworkPolicy denies one address, and a NetworkPolicy that admits it is not asked",
            dial,
        )
        .set_up(|lab, health| {
            lab.cluster.allow_only_web()?;
            apply(lab, "admin.json", &admin(refused(health)))?;
            enforce(lab, health)
        })
        .expect(|| denied("AdminNetworkPolicy")),
        Scenario::new(
            "policy-cluster",
            Topology::Bridge,
            "the same by a ClusterNetworkPolicy of the admin tier, on a bridge node",
            dial,
        )
        .set_up(|lab, health| {
            lab.cluster.allow_only_web()?;
            apply(lab, "cluster.json", &cluster(refused(health)))?;
            enforce(lab, health)
        })
        .expect(|| denied("ClusterNetworkPolicy")),
        Scenario::new(
            "policy-cilium",
            Topology::Routed,
            "a CiliumNetworkPolicy admits another name than the one the pod resolved, and Cilium's program drops the SYN",
            dial,
        )
        .set_up(|lab, health| {
            let admitted = if health == Health::Broken { "api.github.com" } else { "api.stripe.com" };
            apply(lab, "cilium.json", &cilium(admitted))?;
            let device = lab.client().device.clone();
            let to = refused(health).of(Family::V4);
            lab.keep(Shot::attach(&lab.node, &device, Hook::TcxIngress, "cil_from_container", to)?);
            Ok(())
        })
        .expect(|| Expect {
            confidence: &["certain"],
            policies: &["github-only"],
            detail: &[("owner", "Cilium")],
            says: &[
                ("/policies/0/kind", "CiliumNetworkPolicy"),
                ("/policies/0/why", "api.github.com"),
                ("/summary", "CiliumNetworkPolicy default/github-only"),
            ],
            fix: true,
            ..verdict()
        }),
        Scenario::new(
            "policy-calico",
            Topology::Routed,
            "a GlobalNetworkPolicy of Calico denies one address before any NetworkPolicy is asked",
            dial,
        )
        .set_up(|lab, health| {
            lab.cluster.allow_only_web()?;
            let to = refused(health);
            apply(lab, "calico.json", &calico(to))?;
            lab.node.nft(&format!(
                "table ip filter {{
                   chain cali-pi-no-payments {{ ip daddr {} counter drop; }}
                   chain cali-FORWARD {{
                     type filter hook forward priority filter; policy accept;
                     ct state established,related accept
                     ip saddr {} jump cali-pi-no-payments
                   }}
                 }}",
                to.v4, CLIENT.v4
            ))
        })
        .expect(|| Expect {
            confidence: &["certain"],
            detail: &[("owner", "Calico")],
            // One that stands before it.
            fix: true,
            ..denied("GlobalNetworkPolicy")
        }),
    ]
}

fn dial(run: &mut Run) -> Result<()> {
    run.must(Place::Client, &["lookup", "api.stripe.com"], "noerror")?;
    run.dial(Family::V4, STRIPE, 443, "timeout")
}

/// The address that policy and node refuse.
fn refused(health: Health) -> Dual {
    if health == Health::Broken { STRIPE } else { GITHUB }
}

fn apply(lab: &Lab, file: &str, object: &Value) -> Result<()> {
    lab.cluster.write(file, object)
}

fn enforce(lab: &Lab, health: Health) -> Result<()> {
    Backend::Nft
        .refuse(&lab.node, "no-payments", Match::Destination(refused(health)), Refusal::Drop)
        .map(drop)
}

fn admin(to: Dual) -> Value {
    json!({"apiVersion": "policy.networking.k8s.io/v1alpha1", "kind": "AdminNetworkPolicy",
           "metadata": {"name": "no-payments"},
           "spec": {"priority": 10, "subject": {"namespaces": {"matchLabels": {"kubernetes.io/metadata.name": "default"}}},
                    "egress": [{"name": "payments", "action": "Deny",
                                "to": [{"networks": [format!("{}/32", to.v4)]}]}]}})
}

fn cluster(to: Dual) -> Value {
    json!({"apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy",
           "metadata": {"name": "no-payments"},
           "spec": {"tier": "Admin", "priority": 10,
                    "subject": {"namespaces": {"matchLabels": {"kubernetes.io/metadata.name": "default"}}},
                    "egress": [{"name": "payments", "action": "Deny",
                                "to": [{"networks": [format!("{}/32", to.v4)]}]}]}})
}

fn cilium(name: &str) -> Value {
    json!({"apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy",
           "metadata": {"name": "github-only", "namespace": "default"},
           "spec": {"endpointSelector": {"matchLabels": {"app": "firewall-test"}},
                    "egress": [
                        {"toFQDNs": [{"matchName": name}],
                         "toPorts": [{"ports": [{"port": "443", "protocol": "TCP"}]}]},
                        {"toEndpoints": [{"matchLabels": {"k8s:io.kubernetes.pod.namespace": "kube-system",
                                                          "k8s-app": "coredns"}}],
                         "toPorts": [{"ports": [{"port": "53", "protocol": "ANY"}],
                                      "rules": {"dns": [{"matchPattern": "*"}]}}]}]}})
}

fn calico(to: Dual) -> Value {
    json!({"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy",
           "metadata": {"name": "no-payments"},
           "spec": {"order": 100, "selector": "app == 'firewall-test'", "types": ["Egress"],
                    "egress": [{"action": "Deny", "destination": {"nets": [format!("{}/32", to.v4)]}},
                               {"action": "Allow"}]}})
}

fn verdict() -> Expect {
    Expect {
        confidence: &["certain", "likely"],
        name: Some("api.stripe.com"),
        ..Expect::of("policy-drop", (STRIPE.of(Family::V4), 443))
    }
}

/// A rule of this policy denies.
fn denied(kind: &'static str) -> Expect {
    Expect { denied_by: Some((kind, "no-payments")), ..verdict() }
}
