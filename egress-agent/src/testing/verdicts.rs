//! Verdicts, each as the JSON contract writes it.

use egress_core::verdict::Verdict;

fn read(json: &str) -> Verdict {
    serde_json::from_str(json).unwrap()
}

/// Two policies isolate the pod and neither admits it.
pub(crate) fn policy_drop() -> Verdict {
    read(include_str!("verdicts/policy-drop.json"))
}

/// Rejected by a firewall that no policy explains.
pub(crate) fn firewall_drop() -> Verdict {
    read(include_str!("verdicts/firewall-drop.json"))
}

/// SYNs leave the uplink translated, nothing comes back.
pub(crate) fn upstream_timeout() -> Verdict {
    read(include_str!("verdicts/upstream-timeout.json"))
}

/// A reset from the remote.
pub(crate) fn upstream_refused() -> Verdict {
    read(include_str!("verdicts/upstream-refused.json"))
}

/// A name that does not exist.
pub(crate) fn dns_failure() -> Verdict {
    read(include_str!("verdicts/dns-failure.json"))
}

/// A drop that nothing explains.
pub(crate) fn unknown() -> Verdict {
    read(include_str!("verdicts/unknown.json"))
}

/// A policy drop of an ingress policy of the other pod, cleared since, with events lost meanwhile.
pub(crate) fn cleared() -> Verdict {
    read(include_str!("verdicts/cleared.json"))
}

/// The story of the first page: one default-deny policy.
pub(crate) fn story() -> Verdict {
    read(include_str!("verdicts/story.json"))
}

/// All the others, oldest first.
pub(crate) fn verdicts() -> Vec<Verdict> {
    let mut all = vec![
        cleared(),
        unknown(),
        upstream_refused(),
        dns_failure(),
        upstream_timeout(),
        firewall_drop(),
        policy_drop(),
    ];
    all.sort_by_key(|verdict| verdict.last_seen);
    all
}
