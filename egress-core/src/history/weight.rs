//! How much memory a verdict takes, about: what its texts and lists hold, with what an allocation costs.

use serde_json::Value;

use crate::verdict::{PathHop, PolicyFinding, Verdict};

/// What one allocation costs beyond its content.
const ALLOCATION: usize = 16;
/// Places of a verdict in the maps of a history.
const PLACES: usize = 400;

/// Bytes of memory that a held verdict takes, about.
pub(super) fn of(verdict: &Verdict) -> usize {
    let texts = [&verdict.schema, &verdict.id, &verdict.summary];
    let pod = &verdict.pod;
    let peer = &verdict.peer;
    size_of::<Verdict>()
        + PLACES
        + texts.into_iter().map(|own| text(own)).sum::<usize>()
        + text(&pod.namespace)
        + text(&pod.name)
        + text(&pod.uid)
        + text(&pod.node)
        + optional(pod.workload.as_ref())
        + optional(peer.name.as_ref())
        + [&peer.pod, &peer.service]
            .into_iter()
            .flatten()
            .map(|object| text(&object.namespace) + text(&object.name))
            .sum::<usize>()
        + verdict.detail.iter().map(|(key, held)| ALLOCATION + text(key) + value(held)).sum::<usize>()
        + verdict.path.iter().map(hop).sum::<usize>()
        + verdict.policies.iter().map(policy).sum::<usize>()
        + verdict.fix.as_ref().map_or(0, |fix| text(&fix.text) + optional(fix.manifest.as_ref()))
        + verdict.hints.iter().map(|hint| text(hint)).sum::<usize>()
        + verdict.evidence.iter().map(|piece| 24 + text(&piece.text)).sum::<usize>()
}

fn text(held: &str) -> usize {
    size_of::<String>() + ALLOCATION + held.len()
}

fn optional(held: Option<&String>) -> usize {
    held.map_or(0, |held| text(held))
}

fn hop(hop: &PathHop) -> usize {
    size_of::<PathHop>() + optional(hop.device.as_ref()) + optional(hop.r#where.as_ref())
}

fn policy(finding: &PolicyFinding) -> usize {
    let why: usize = finding.why.iter().map(|sentence| text(sentence)).sum();
    size_of::<PolicyFinding>()
        + text(&finding.kind)
        + text(&finding.name)
        + optional(finding.namespace.as_ref())
        + why
}

fn value(held: &Value) -> usize {
    size_of::<Value>()
        + match held {
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
            Value::String(own) => text(own),
            Value::Array(values) => values.iter().map(value).sum(),
            Value::Object(map) => map.iter().map(|(key, inner)| text(key) + value(inner)).sum(),
        }
}
