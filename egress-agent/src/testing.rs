//! What tests of the interfaces share: verdicts as the engine makes them, and an engine that only answers.

mod engine;
mod verdicts;

pub(crate) use engine::FakeEngine;
pub(crate) use verdicts::{
    cleared, dns_failure, firewall_drop, policy_drop, story, unknown, upstream_refused, upstream_timeout,
    verdicts,
};

use egress_core::explain::PartView;
use egress_core::policy::{BackendView, Decision, SideView};
use egress_core::verdict::{Fix, PolicyFinding, PolicyResult, Side};

use crate::answers::Explanation;
use crate::status::{AgentStatus, EventCount, HistoryStatus, HookState, HookStatus};

/// A status with something of everything.
pub(crate) fn status() -> AgentStatus {
    let hook = |hook: &str, state, note: &str| HookStatus { hook: hook.into(), state, note: note.into() };
    let events = |kind: &str, delivered, aggregated, lost: &[(&str, u64)]| EventCount {
        kind: kind.into(),
        delivered,
        aggregated,
        lost: lost.iter().map(|(stage, count)| ((*stage).to_owned(), *count)).collect(),
    };
    AgentStatus {
        version: "0.1.0".into(),
        node: "worker-1".into(),
        kernel: "6.18.0".into(),
        watching_since: "2025-11-20T01:00:00.000000Z".into(),
        pods: 12,
        verdicts: 3,
        hooks: vec![
            hook("skb:kfree_skb", HookState::Attached, "tp_btf"),
            hook(
                "tc:pod",
                HookState::Degraded,
                "clsact, no TCX: filters survive a kill until the next start",
            ),
            hook("nf:nf_hook_slow", HookState::Refused, "fexit: operation not permitted (EPERM)"),
        ],
        events: vec![
            events("drop", 41, 199_800, &[]),
            events("packet", 1200, 0, &[("ring", 7)]),
            events("retransmit", 6, 0, &[]),
        ],
        devices: vec!["veth-a (pod, out and in)".into(), "eth0 (uplink, out and in)".into()],
        policies_as_of: "2025-11-20T02:00:00.000000Z".into(),
        objects: vec![("pods".into(), 12), ("networkpolicies".into(), 1)],
        problems: vec![
            "networkpolicy default/broken: spec.egress[0].to[0].ipBlock.cidr: \"10.0.0.0/40\"".into(),
        ],
        history: Some(HistoryStatus {
            folder: "/var/lib/egress-agent".into(),
            verdicts: 1234,
            bytes: 5 * 1024 * 1024,
            oldest: "2025-11-13T01:00:00.000000Z".into(),
            gaps: vec![("2025-11-19T23:59:58.000000Z".into(), "2025-11-20T01:00:00.000000Z".into())],
        }),
    }
}

/// An explanation with both sides and backends.
pub(crate) fn explanation() -> Explanation {
    let finding = PolicyFinding {
        kind: "NetworkPolicy".into(),
        namespace: Some("default".into()),
        name: "deny-all-egress".into(),
        side: Side::Egress,
        result: PolicyResult::DoesNotAdmit,
        why: vec!["it has no egress rules".into()],
    };
    let egress = SideView { isolated: true, decision: Decision::Deny, policies: vec![finding] };
    let ingress = SideView { isolated: false, decision: Decision::Allow, policies: vec![] };
    let part = PartView {
        nets: vec!["10.0.0.0/8".parse().unwrap()],
        decision: Decision::Deny,
        egress: Some(egress.clone()),
        ingress: None,
    };
    Explanation {
        decision: Decision::Deny,
        egress: Some(egress.clone()),
        ingress: Some(ingress.clone()),
        fix: Some(Fix { text: "Allow it explicitly".into(), manifest: None }),
        backends: Some(vec![BackendView {
            ip: "10.244.2.7".parse().unwrap(),
            port: 8080,
            pod: None,
            ready: true,
            decision: Decision::Deny,
            egress: Some(egress),
            ingress: Some(ingress),
        }]),
        parts: Some(vec![part]),
        notes: vec!["the Service forwards to 1 backend".into()],
        from: "pod default/api-client".into(),
        to: "Service default/shop".into(),
    }
}
