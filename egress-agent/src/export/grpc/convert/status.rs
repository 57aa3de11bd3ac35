//! The agent's status.

use super::super::proto;
use super::words::{Unknown, Word as _};
use super::{time_from_proto, time_to_proto};
use crate::status::{AgentStatus, EventCount, HistoryStatus, HookStatus};

pub(in super::super) fn status_to_proto(status: &AgentStatus) -> proto::GetStatusResponse {
    let time = |text: &str| text.parse().ok().map(time_to_proto);
    proto::GetStatusResponse {
        version: status.version.clone(),
        node: status.node.clone(),
        kernel: status.kernel.clone(),
        watching_since: time(&status.watching_since),
        pods: status.pods,
        verdicts: status.verdicts,
        hooks: status.hooks.iter().map(hook_to_proto).collect(),
        events: status.events.iter().map(count_to_proto).collect(),
        devices: status.devices.clone(),
        policies_as_of: time(&status.policies_as_of),
        objects: named_to_proto(&status.objects),
        problems: status.problems.clone(),
        history: status.history.as_ref().map(history_to_proto),
    }
}

pub(in super::super) fn status_from_proto(from: proto::GetStatusResponse) -> AgentStatus {
    let time = |at: Option<prost_types::Timestamp>| at.map(|at| time_from_proto(at).to_string());
    let mut unknown = Unknown::default();
    let mut status = AgentStatus {
        version: from.version,
        node: from.node,
        kernel: from.kernel,
        watching_since: time(from.watching_since).unwrap_or_default(),
        pods: from.pods,
        verdicts: from.verdicts,
        hooks: from.hooks.into_iter().map(|hook| hook_from_proto(hook, &mut unknown)).collect(),
        events: from.events.into_iter().map(count_from_proto).collect(),
        devices: from.devices,
        policies_as_of: time(from.policies_as_of).unwrap_or_default(),
        objects: named_from_proto(from.objects),
        problems: from.problems,
        history: from.history.map(history_from_proto),
    };
    status.problems.extend(unknown.into_hints());
    status
}

fn history_to_proto(history: &HistoryStatus) -> proto::HistoryStatus {
    let time = |text: &str| text.parse().ok().map(time_to_proto);
    let gap = |(from, until): &(String, String)| proto::Gap { from: time(from), until: time(until) };
    proto::HistoryStatus {
        folder: history.folder.clone(),
        verdicts: history.verdicts,
        bytes: history.bytes,
        oldest: time(&history.oldest),
        gaps: history.gaps.iter().map(gap).collect(),
    }
}

fn history_from_proto(from: proto::HistoryStatus) -> HistoryStatus {
    let time = |at: Option<prost_types::Timestamp>| at.map(|at| time_from_proto(at).to_string());
    let gap = |gap: proto::Gap| (time(gap.from).unwrap_or_default(), time(gap.until).unwrap_or_default());
    HistoryStatus {
        folder: from.folder,
        verdicts: from.verdicts,
        bytes: from.bytes,
        oldest: time(from.oldest).unwrap_or_default(),
        gaps: from.gaps.into_iter().map(gap).collect(),
    }
}

fn hook_to_proto(hook: &HookStatus) -> proto::HookStatus {
    proto::HookStatus { hook: hook.hook.clone(), state: hook.state.to_proto(), note: hook.note.clone() }
}

fn hook_from_proto(from: proto::HookStatus, unknown: &mut Unknown) -> HookStatus {
    HookStatus { state: unknown.word("hooks.state", from.state), hook: from.hook, note: from.note }
}

fn count_to_proto(count: &EventCount) -> proto::EventCount {
    proto::EventCount {
        kind: count.kind.clone(),
        delivered: count.delivered,
        aggregated: count.aggregated,
        lost: named_to_proto(&count.lost),
    }
}

fn count_from_proto(from: proto::EventCount) -> EventCount {
    EventCount {
        kind: from.kind,
        delivered: from.delivered,
        aggregated: from.aggregated,
        lost: named_from_proto(from.lost),
    }
}

fn named_to_proto(counts: &[(String, u64)]) -> Vec<proto::NamedCount> {
    counts.iter().map(|(name, count)| proto::NamedCount { name: name.clone(), count: *count }).collect()
}

fn named_from_proto(from: Vec<proto::NamedCount>) -> Vec<(String, u64)> {
    from.into_iter().map(|named| (named.name, named.count)).collect()
}
