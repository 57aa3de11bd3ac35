//! How things stand, as `status` and the metrics tell it.

use egress_core::cluster::PodRef;
use egress_core::node::DeviceRole;

use super::run::Run;
use crate::answers::LocalPod;
use crate::host;
use crate::status::{AgentStatus, EventCount, HistoryStatus};
use crate::store::Facts;

/// One screen of what the engine sees.
pub(super) fn status(run: &Run) -> AgentStatus {
    let index = run.pipeline.cluster_index();
    let devices = run
        .network
        .devices
        .iter()
        .filter(|device| device.watched_in || device.watched_out)
        .map(|device| {
            let role = if device.role == DeviceRole::Uplink { "uplink" } else { "pod" };
            let ways = match (device.watched_out, device.watched_in) {
                (true, true) => "both ways",
                (true, false) => "out only",
                _ => "in only",
            };
            match &device.bypass {
                Some(bypass) => format!("{} ({role}, {ways}; {bypass})", device.name),
                None => format!("{} ({role}, {ways})", device.name),
            }
        })
        .collect();
    let mut hooks = run.probe.hooks();
    hooks.push(run.pods.namespaces());
    hooks.push(run.cgroup_status.clone());
    hooks.extend(run.shared.events.as_ref().map(|events| events.status()));
    let mut problems = run.source_problems.clone();
    problems.extend(run.pods.problems().cloned());
    problems.extend(run.attach_problems.iter().map(|(_, text)| text.clone()));
    problems.extend(run.reloads.iter().cloned());
    problems.extend(run.pipeline.drifts());
    let kept = run.shared.journal.facts();
    problems.extend(kept.iter().flat_map(Facts::problems));
    AgentStatus {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        node: run.node_name.clone(),
        kernel: host::kernel_release(),
        watching_since: run.watching_since.to_string(),
        pods: index.local_pods().count() as u64,
        verdicts: run.shared.journal.len(),
        hooks,
        events: events(run),
        devices,
        policies_as_of: index.synced_at().map_or(String::new(), |at| at.to_string()),
        objects: index.counts().iter().map(|(kind, count)| (format!("{kind:?}"), *count as u64)).collect(),
        problems,
        history: kept.map(history),
    }
}

fn history(facts: Facts) -> HistoryStatus {
    HistoryStatus {
        folder: facts.folder.display().to_string(),
        verdicts: facts.verdicts,
        bytes: facts.bytes,
        oldest: facts.oldest.map_or(String::new(), |at| at.to_string()),
        gaps: facts.gaps.iter().map(|gap| (gap.from.to_string(), gap.until.to_string())).collect(),
    }
}

/// The pods of this node.
pub(super) fn local_pods(run: &Run) -> Vec<LocalPod> {
    let local = run.pipeline.cluster_index().local_pods().map(|pod| LocalPod {
        pod: PodRef { namespace: pod.namespace.clone(), name: pod.name.clone() },
        workload: pod.workload.clone(),
    });
    local.collect()
}

/// Events by kind, with the losses of user space beside those of the kernel.
fn events(run: &Run) -> Vec<EventCount> {
    let mut counts = added(&run.earlier, &run.probe.counts());
    let lost: Vec<(String, u64)> = [
        ("decode", run.pipeline.undecoded()),
        ("flow-table", run.pipeline.forgotten()),
        ("queue", run.inbox.lost()),
        ("events", run.shared.events.as_ref().map_or(0, |events| events.lost())),
        ("history", run.shared.journal.lost()),
        ("peer-questions", run.peers_unasked),
        ("subscriber", run.shared.journal.missed()),
    ]
    .into_iter()
    .filter(|(_, count)| *count > 0)
    .map(|(stage, count)| (stage.to_owned(), count))
    .collect();
    if !lost.is_empty() {
        counts.push(EventCount { kind: "pipeline".to_owned(), delivered: 0, aggregated: 0, lost });
    }
    counts
}

/// Counts of the same kinds, added up.
pub(super) fn added(earlier: &[EventCount], now: &[EventCount]) -> Vec<EventCount> {
    let mut sum = now.to_vec();
    for old in earlier {
        let Some(count) = sum.iter_mut().find(|count| count.kind == old.kind) else {
            sum.push(old.clone());
            continue;
        };
        count.delivered += old.delivered;
        count.aggregated += old.aggregated;
        for (stage, lost) in &old.lost {
            match count.lost.iter_mut().find(|(known, _)| known == stage) {
                Some((_, known)) => *known += lost,
                None => count.lost.push((stage.clone(), *lost)),
            }
        }
    }
    sum
}
