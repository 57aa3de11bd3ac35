//! Names of allow policies: readable, stable, valid DNS labels.

use std::sync::Arc;

use super::ends::is_dns;
use crate::cluster::calico::CalicoPolicy;
use crate::cluster::{CiliumPolicy, NetworkPolicy, Object, ObjectKind, ObjectRef, Pod};
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
    let (pod_name, other) = (called(pod), other(peer, &pod.namespace));
    label(&format!("allow-{side}-{pod_name}-{preposition}-{other}-{}", port(flow)))
}

/// `allow-egress-api-client-to-api-stripe-com-443`.
pub(super) fn of_host(pod: &Pod, host: &str, flow: &PolicyFlow) -> String {
    label(&format!("allow-egress-{}-to-{host}-{}", called(pod), port(flow)))
}

fn port(flow: &PolicyFlow) -> String {
    match flow.protocol {
        Protocol::Tcp => flow.port.to_string(),
        _ if is_dns(flow) => flow.port.to_string(),
        protocol => format!("{}-{protocol}", flow.port),
    }
}

/// Gives the policy another name if a policy of its kind and name is there already.
pub(super) fn make_free(policy: &mut Object, index: &ClusterIndex) {
    let reference = policy.reference();
    let ObjectRef { kind, namespace, name } = &reference;
    let taken = |name: &str| match kind {
        ObjectKind::NetworkPolicy => index.policy_named::<NetworkPolicy>(*kind, namespace, name).is_some(),
        ObjectKind::CiliumNetworkPolicy => {
            index.policy_named::<CiliumPolicy>(*kind, namespace, name).is_some()
        }
        _ => index.policy_named::<CalicoPolicy>(*kind, namespace, name).is_some(),
    };
    let (tier, base) = name.rsplit_once('.').map_or(("", name.as_str()), |(tier, base)| (tier, base));
    let dot = if tier.is_empty() { "" } else { "." };
    let others = (2..100).map(|number| format!("{tier}{dot}{}", label(&format!("{base}-{number}"))));
    let Some(free) = [name.clone()].into_iter().chain(others).find(|name| !taken(name)) else { return };
    match policy {
        Object::NetworkPolicy(policy) => Arc::make_mut(policy).name = free,
        Object::CiliumPolicy(policy) => Arc::make_mut(policy).name = free,
        Object::CalicoPolicy(policy) => Arc::make_mut(policy).name = free,
        _ => {}
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
