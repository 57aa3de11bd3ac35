//! Which nodes a question concerns, and what is to be asked there.

use std::collections::{BTreeMap, BTreeSet};

use egress_core::cluster::PodRef;
use egress_core::history::PodFilter;
use egress_core::verdict::Verdict;

use crate::cli::args::QueryArgs;
use crate::cli::exit::Failure;
use crate::cli::target::{self, Asked, Target};
use crate::k8s::reach::{AgentPod, Found, Reach, ReachError};

/// What is asked of whom.
pub(in crate::cli) struct Plan {
    /// The question to each agent, and in words.
    pub(in crate::cli) asked: Asked,
    /// Of what the agents answer, this is meant.
    pub(in crate::cli) keep: Keep,
    /// The nodes that are asked, each with its agent if one runs there.
    pub(in crate::cli) nodes: BTreeMap<String, Option<AgentPod>>,
    /// The cluster has what was asked for, so that an agent which does not know it is no answer.
    pub(in crate::cli) exists: bool,
    /// Pods whose names look like one that the cluster has not.
    pub(in crate::cli) similar: Vec<String>,
}

/// Which verdicts are meant.
pub(in crate::cli) enum Keep {
    /// All.
    All,
    /// Those of a workload, by what verdicts say, and of its pods.
    Workload(String, BTreeSet<PodRef>),
}

impl Keep {
    /// Whether a verdict is meant.
    pub(in crate::cli) fn wants(&self, verdict: &Verdict) -> bool {
        match self {
            Self::All => true,
            Self::Workload(workload, pods) => {
                verdict.pod.workload.as_ref() == Some(workload)
                    || workload.strip_prefix("Job/").is_some_and(|job| is_run(verdict, job))
                    || egress_core::history::pods_of(verdict).any(|pod| pods.contains(&pod))
            }
        }
    }
}

/// Of a Job for which its CronJob stands, pods that are gone are known by their names alone.
fn is_run(verdict: &Verdict, job: &str) -> bool {
    let random = verdict.pod.name.strip_prefix(job).and_then(|rest| rest.strip_prefix('-'));
    let by_cron = verdict.pod.workload.as_ref().is_some_and(|workload| workload.starts_with("CronJob/"));
    by_cron && random.is_some_and(|random| !random.contains('-'))
}

impl Plan {
    /// Finds out.
    pub(in crate::cli) async fn make(reach: &Reach, args: &QueryArgs) -> Result<Self, Failure> {
        let namespace = args.namespace.as_deref().unwrap_or(reach.namespace());
        let agents = reach.agents(args.server.agent_namespace.as_deref()).await?;
        let every: BTreeSet<String> = agents.keys().cloned().collect();
        let mut keep = Keep::All;
        let mut similar = Vec::new();
        let (asked, nodes, exists) = match &args.target {
            Some(Target::Workload { workload, name }) => {
                let found = reach.pods_of(*workload, namespace, name).await?;
                let pods = found.iter().map(|found| found.pod.clone()).collect();
                keep = Keep::Workload(format!("{}/{name}", workload.kind()), pods);
                let words = format!("any pod of {} {namespace}/{name}", workload.kind());
                let asked = Asked { pods: PodFilter::Namespace(namespace.to_owned()), words };
                (asked, or_every(nodes(found), every), true)
            }
            target => {
                let without = target.is_none() && args.server.node.is_some() && args.namespace.is_none();
                let asked = if args.all_namespaces && args.server.node.is_none() {
                    Asked { pods: PodFilter::All, words: "any pod of the cluster".to_owned() }
                } else if without {
                    Asked { pods: PodFilter::All, words: "any pod of the node".to_owned() }
                } else {
                    target::asked(
                        target.as_ref(),
                        Some(namespace).filter(|_| takes_default(target.as_ref(), args)),
                    )
                    .map_err(Failure::Usage)?
                };
                let (nodes, exists) = match (&asked.pods, &args.server.node) {
                    // The node is given: whether the pod is there is for its agent to say.
                    (_, Some(node)) => ([node.clone()].into(), false),
                    (PodFilter::Pod(pod), None) => of_pod(reach, pod, every, &mut similar).await?,
                    (PodFilter::Namespace(namespace), None) => {
                        (or_every(nodes(reach.pods_in(namespace).await?), every), true)
                    }
                    (PodFilter::All, None) => (every, true),
                };
                (asked, nodes, exists)
            }
        };
        let nodes = match &args.server.node {
            Some(node) => [node.clone()].into(),
            None => nodes,
        };
        if nodes.is_empty() {
            return Err(Failure::NoAgent("no agent runs in this cluster".to_owned()));
        }
        let nodes = nodes.into_iter().map(|node| {
            let agent = agents.get(&node).cloned();
            (node, agent)
        });
        Ok(Self { asked, keep, nodes: nodes.collect(), exists, similar })
    }
}

/// Whether the namespace of the context is meant where none is given: not if the target brings its own.
fn takes_default(target: Option<&Target>, args: &QueryArgs) -> bool {
    args.namespace.is_some()
        || !matches!(target, Some(Target::Namespace(_) | Target::Pod { namespace: Some(_), .. }))
}

/// The node of a pod; if it is gone the one its events tell of, else every node: some agent may remember it.
async fn of_pod(
    reach: &Reach,
    pod: &PodRef,
    every: BTreeSet<String>,
    similar: &mut Vec<String>,
) -> Result<(BTreeSet<String>, bool), Failure> {
    if let Some(found) = reach.pod(pod).await? {
        return match found.node {
            Some(node) => Ok(([node].into(), true)),
            None => Err(Failure::Failed(format!(
                "pod {}/{} is not on any node yet: it has sent nothing",
                pod.namespace, pod.name
            ))),
        };
    }
    // No help is no failure.
    if let Ok(others) = reach.pods_in(&pod.namespace).await {
        let names = others.iter().map(|found| found.pod.name.as_str());
        let alike = egress_core::similar::similar(&pod.name, names);
        similar.extend(alike.into_iter().map(str::to_owned));
    }
    match reach.node_of_gone(pod).await {
        Ok(Some(node)) => Ok(([node].into(), false)),
        // Without the right to read events, every agent is asked.
        Ok(None) | Err(ReachError::Forbidden(_)) => Ok((every, false)),
        Err(error) => Err(error.into()),
    }
}

fn nodes(found: Vec<Found>) -> BTreeSet<String> {
    found.into_iter().filter_map(|found| found.node).collect()
}

/// Where no pod is left, any agent may remember one.
fn or_every(nodes: BTreeSet<String>, every: BTreeSet<String>) -> BTreeSet<String> {
    if nodes.is_empty() { every } else { nodes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_its_cron_job_stands_for_has_the_pods_of_its_name() {
        let mut verdict: Verdict =
            serde_json::from_str(include_str!("../../testing/verdicts/policy-drop.json")).unwrap();
        let keep = Keep::Workload("Job/backup-29384756".into(), BTreeSet::new());
        for (pod, workload, wanted) in [
            ("backup-29384756-x7k2p", "CronJob/backup", true),
            ("backup-29384756-x7k2p", "Job/backup-29384756", true),
            ("backup-29384756-x7k2p", "Deployment/backup-29384756", false),
            ("backup-29384757-x7k2p", "CronJob/backup", false),
            ("backup-29384756-29384757-x7k2p", "CronJob/backup-29384756", false),
        ] {
            (verdict.pod.name, verdict.pod.workload) = (pod.into(), Some(workload.into()));
            assert_eq!(keep.wants(&verdict), wanted, "{pod} of {workload}");
        }
    }
}
