//! What an Event says: a sentence and what to do, for whoever reads `kubectl describe pod`.

use egress_core::time::Timestamp;
use egress_core::verdict::{Cause, Confidence, Verdict};
use serde_json::{Value, json};

use super::ledger::Due;

/// Bytes of a message that the API server takes.
const MESSAGE: usize = 1024;
/// Characters of a pod's name that an Event's name keeps: it has 253, and 17 are for the verdict.
const POD_NAME: usize = 230;
/// Who writes.
const COMPONENT: &str = "egress-agent";

/// Whether the verdict makes an Event at all: a name that does not exist is everyday life, and a pod without a UID
/// cannot be told from its successor.
pub(super) fn is_told(verdict: &Verdict) -> bool {
    let outcome = verdict.detail.get("outcome").and_then(Value::as_str);
    let plain = verdict.cause == Cause::DnsFailure && outcome == Some("nxdomain");
    !plain && !verdict.pod.uid.is_empty()
}

/// Name of the Event: the same after a restart of the agent, as the verdict's id is.
pub(super) fn name(verdict: &Verdict) -> String {
    let pod: String = verdict.pod.name.chars().take(POD_NAME).collect();
    format!("{}.{}", pod.trim_end_matches(['-', '.']), verdict.id)
}

/// The Event.
pub(super) fn event(due: &Due, node: &str) -> Value {
    let pod = &due.verdict.pod;
    json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"namespace": pod.namespace, "name": due.name},
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", "namespace": pod.namespace, "name": pod.name,
                           "uid": pod.uid},
        "type": "Warning",
        "reason": reason(due.verdict.cause),
        "message": message(&due.verdict),
        "count": count(due.count),
        "firstTimestamp": seconds(due.first),
        "lastTimestamp": seconds(due.verdict.last_seen),
        "source": {"component": COMPONENT, "host": node},
        "reportingComponent": COMPONENT,
        "reportingInstance": node,
    })
}

/// What changes when it is counted up.
pub(super) fn update(due: &Due) -> Value {
    json!({
        "message": message(&due.verdict),
        "count": count(due.count),
        "lastTimestamp": seconds(due.verdict.last_seen),
    })
}

/// `EgressPolicyDrop`
fn reason(cause: Cause) -> String {
    let words = cause.as_str().split('-').map(|word| {
        let mut letters = word.chars();
        letters
            .next()
            .map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
    });
    std::iter::once("Egress".to_owned()).chain(words).collect()
}

/// The sentence, how sure it is where it is not, what to do, and how to see more; on one line and never too long.
fn message(verdict: &Verdict) -> String {
    let mut text = verdict.summary.clone();
    if verdict.confidence != Confidence::Certain {
        text.push_str(&format!(" ({}.)", verdict.confidence));
    }
    if let Some(fix) = &verdict.fix {
        text.push_str(" Fix: ");
        text.push_str(&fix.text);
    }
    let text: Vec<&str> = text.split_whitespace().collect();
    let pod = &verdict.pod;
    let more = format!(" More: kubectl egress query -n {} {}", pod.namespace, pod.name);
    let text = cut(&text.join(" "), MESSAGE.saturating_sub(more.len()));
    format!("{text}{more}")
}

/// At most so many bytes; what is left out is marked.
fn cut(text: &str, most: usize) -> String {
    const MARK: &str = "…";
    if text.len() <= most {
        return text.to_owned();
    }
    let mut end = most.saturating_sub(MARK.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{MARK}", text[..end].trim_end())
}

fn count(count: u64) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// `2025-11-20T01:00:00Z`: the API has whole seconds.
fn seconds(at: Timestamp) -> String {
    let text = at.to_string();
    match text.split_once('.') {
        Some((whole, _)) => format!("{whole}Z"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::policy_drop as verdict;

    #[test]
    fn the_reason_is_the_cause() {
        assert_eq!(reason(Cause::PolicyDrop), "EgressPolicyDrop");
        assert_eq!(reason(Cause::ServiceNoEndpoints), "EgressServiceNoEndpoints");
        assert_eq!(reason(Cause::Mtu), "EgressMtu");
    }

    #[test]
    fn a_message_is_one_line_and_never_too_long() {
        let mut verdict = verdict();
        let text = message(&verdict);
        assert!(
            text.starts_with(&verdict.summary[..20]) && text.contains("kubectl egress query -n "),
            "{text}"
        );
        verdict.summary = "ä\n".repeat(2000);
        let text = message(&verdict);
        assert!(text.len() <= MESSAGE && !text.contains('\n') && text.contains('…'), "{}", text.len());
    }

    #[test]
    fn a_plain_nxdomain_and_a_pod_without_uid_are_not_told() {
        let mut verdict = verdict();
        verdict.pod.uid = "u".to_owned();
        assert!(is_told(&verdict));
        verdict.cause = Cause::DnsFailure;
        verdict.detail.insert("outcome".to_owned(), "servfail".into());
        assert!(is_told(&verdict));
        verdict.detail.insert("outcome".to_owned(), "nxdomain".into());
        assert!(!is_told(&verdict));
        verdict.cause = Cause::PolicyDrop;
        verdict.pod.uid.clear();
        assert!(!is_told(&verdict));
    }

    #[test]
    fn a_name_stays_a_name() {
        let mut verdict = verdict();
        verdict.pod.name = format!("{}-x", "a".repeat(229));
        let name = name(&verdict);
        assert!(name.len() <= 253 && !name.contains("-."), "{name}");
    }
}
