//! Names of allow policies: readable, stable, valid DNS labels.

use super::ends::is_dns;
use crate::cluster::{NetworkPolicy, Pod};
use crate::identity::{ClusterIndex, Endpoint};
use crate::policy::PolicyFlow;
use crate::protocol::Protocol;
use crate::verdict::Side;

/// Longest DNS label (RFC 1123).
const MAX: usize = 63;

/// `allow-egress-api-client-to-203-0-113-4-443`.
pub(super) fn of(side: Side, pod: &Pod, from: &Endpoint, to: &Endpoint, flow: &PolicyFlow) -> String {
    let (preposition, peer) = match side {
        Side::Egress => ("to", to),
        Side::Ingress => ("from", from),
    };
    let port = match flow.protocol {
        Protocol::Tcp => flow.port.to_string(),
        _ if is_dns(flow) => flow.port.to_string(),
        protocol => format!("{}-{protocol}", flow.port),
    };
    label(&format!("allow-{side}-{}-{preposition}-{}-{port}", called(pod), other(peer, &pod.namespace)))
}

/// Gives the policy another name if a policy of its name is there already.
pub(super) fn make_free(policy: &mut NetworkPolicy, index: &ClusterIndex) {
    let base = policy.name.clone();
    for number in 2..100 {
        if index.network_policy(&policy.namespace, &policy.name).is_none() {
            return;
        }
        policy.name = label(&format!("{base}-{number}"));
    }
}

/// A pod's workload, or the pod.
fn called(pod: &Pod) -> &str {
    let workload = pod.workload.as_deref().and_then(|workload| workload.split_once('/'));
    workload.map_or(pod.name.as_str(), |(_, name)| name)
}

fn other(end: &Endpoint, namespace: &str) -> String {
    let (of, name) = match (&end.service, &end.pod) {
        (Some(service), _) => (&service.namespace, service.name.as_str()),
        (None, Some(pod)) => (&pod.namespace, called(pod)),
        (None, None) => return end.ip.to_string(),
    };
    if of == namespace { name.to_owned() } else { format!("{of}-{name}") }
}

/// Any text as a DNS label; what is too long ends in a hash of the whole.
fn label(text: &str) -> String {
    let text = text.to_ascii_lowercase();
    let clean: String = text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let clean = clean.trim_matches('-');
    if clean.len() <= MAX {
        return clean.to_owned();
    }
    let hash = format!("-{:08x}", fnv1a(text.as_bytes()));
    let head = clean.get(..MAX - hash.len()).unwrap_or(clean).trim_end_matches('-');
    format!("{head}{hash}")
}

/// FNV-1a, 32 bits: stable over versions and machines.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_becomes_a_dns_label() {
        let table = [
            ("allow-egress-api-client-to-203.0.113.4-443", "allow-egress-api-client-to-203-0-113-4-443"),
            ("allow-egress-a.b-to-2001:db8::1-443", "allow-egress-a-b-to-2001-db8--1-443"),
            ("allow-egress-a-to-::1-53-UDP", "allow-egress-a-to---1-53-udp"),
        ];
        for (text, expected) in table {
            assert_eq!(label(text), expected);
        }
        let (long, other) =
            (label(&format!("allow-{}-1", "x".repeat(80))), label(&format!("allow-{}-2", "x".repeat(80))));
        assert_eq!((long.len(), other.len()), (63, 63));
        assert_ne!(long, other);
    }
}
