//! Wiring: what each command that needs the engine does.

mod answer;
mod pace;
mod serve;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use egress_core::capture::Capture;
use egress_core::cluster::ClusterChange;
use egress_core::history::in_order_of_repair;
use egress_core::identity::ClusterIndex;
use egress_core::time::Mono;
use egress_core::verdict::Verdict;

use crate::answers::{ExplainError, ExplainRequest, Explanation};
use crate::cgroups::{self, Roots};
use crate::cli::args::{CleanupArgs, DoctorArgs, RecordArgs, ReplayArgs, RunArgs, Sources};
use crate::host;
use crate::k8s::{
    Problem, Source,
    api::{ApiSource, Snapshot},
    files::FileSource,
};
use crate::netlink::netns::Netns;
use crate::probe::{self, ProbeOptions};
use crate::status::AgentStatus;

/// `run`: watches until it is told to stop.
///
/// # Errors
///
/// What kept it from starting, or ended it.
pub fn run(args: &RunArgs) -> Result<()> {
    serve::run(args)
}

/// `record`: like `run`, with every input of the pipeline written to a file.
///
/// # Errors
///
/// What kept it from starting, or ended it.
pub fn record(args: &RecordArgs) -> Result<()> {
    serve::record(args)
}

/// `replay`: the verdicts of a capture as they stand at its end, in the order in which one would fix them.
///
/// # Errors
///
/// The capture cannot be read.
pub fn replay(args: &ReplayArgs) -> Result<Vec<Verdict>> {
    let path = args.file.display();
    let text = std::fs::read_to_string(&args.file).with_context(|| format!("cannot read capture {path}"))?;
    let capture = Capture::parse(&text).with_context(|| format!("capture {path}"))?;
    let mut verdicts: Vec<Verdict> = capture.replay().iter().map(|verdict| Verdict::clone(verdict)).collect();
    verdicts.sort_by_key(|verdict| std::cmp::Reverse(verdict.last_seen));
    in_order_of_repair(&mut verdicts, None);
    Ok(verdicts)
}

/// `doctor`: what a running agent would see here. Attaches and detaches every hook.
///
/// # Errors
///
/// Nothing can be said about this machine.
pub fn doctor(args: &DoctorArgs) -> Result<AgentStatus> {
    let mut problems = Vec::new();
    let netns = Netns::of_node(args.netns.as_deref());
    match &netns {
        Ok((_, note)) => problems.extend(note.clone()),
        Err(error) => problems.push(error.to_string()),
    }
    let options = ProbeOptions { trace_netfilter: true, ..ProbeOptions::default() };
    let inside = || probe::diagnose(&options);
    let hooks = match netns {
        Ok((netns, _)) => netns.run(inside).unwrap_or_else(|error| {
            problems.push(error.to_string());
            inside()
        }),
        Err(_) => inside(),
    };
    let hooks =
        hooks.into_iter().chain(cgroups::diagnose(&Roots::find(args.cgroup_root.as_deref()))).collect();
    Ok(AgentStatus {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: host::kernel_release(),
        hooks,
        problems,
        ..AgentStatus::default()
    })
}

/// `cleanup`: removes what a killed agent left in the kernel; a line for each thing removed.
///
/// # Errors
///
/// Something of ours could not be removed.
pub fn cleanup(args: &CleanupArgs) -> Result<Vec<String>> {
    let (netns, _) = Netns::of_node(args.netns.as_deref())?;
    let removed = netns.run(probe::cleanup)??;
    Ok(if removed == 0 { Vec::new() } else { vec![format!("{removed} TC filters of ours")] })
}

/// `explain` from files: what their policies say.
///
/// # Errors
///
/// The files cannot be read, or the question cannot be answered from them.
pub fn explain(cluster_state: &[PathBuf], request: &ExplainRequest) -> Result<Explanation, ExplainError> {
    let files = FileSource::load(cluster_state).map_err(|problems| unreadable(&problems))?;
    let mut index = ClusterIndex::new("");
    for change in files.changes() {
        index.apply(change, Mono(0));
    }
    answer::explain(&index, request)
}

/// `explain` from what was read of a cluster, as if the manifests `with` had been applied to it.
///
/// # Errors
///
/// The manifests cannot be read, or the question cannot be answered.
pub fn explain_snapshot(snapshot: Snapshot, with: &[PathBuf]) -> Result<Explanation, ExplainError> {
    let Snapshot { mut index, request, unseen } = snapshot;
    let changed = FileSource::objects(with).map_err(|problems| unreadable(&problems))?;
    let names: Vec<String> = changed.iter().map(|object| object.reference().to_string()).collect();
    for object in changed {
        index.apply(ClusterChange::Apply { object }, Mono(0));
    }
    let mut explanation = answer::explain(&index, &request)?;
    let applied = (!with.is_empty()).then(|| format!("as if these were applied: {}", names.join(", ")));
    let notes = applied.into_iter().chain(unseen).chain(std::mem::take(&mut explanation.notes)).collect();
    Ok(Explanation { notes, ..explanation })
}

fn unreadable(problems: &[Problem]) -> ExplainError {
    ExplainError::Failed(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

/// The source of cluster state: the files that the flags name, else the API server of the cluster or the kubeconfig.
fn source(sources: &Sources, node_name: &str) -> Result<Source> {
    if sources.cluster_state.is_empty() {
        return Ok(Source::Api(Box::new(ApiSource::find(node_name)?)));
    }
    match FileSource::load(&sources.cluster_state) {
        Ok(files) => Ok(Source::Files(files)),
        Err(problems) => {
            bail!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        }
    }
}

/// Name of this node: the flag, the variable, the host's name.
fn node_name(flag: Option<&str>) -> String {
    let variable = || std::env::var("NODE_NAME").ok().filter(|name| !name.is_empty());
    flag.map(str::to_owned).or_else(variable).unwrap_or_else(host::host_name)
}

/// The node's network namespace, with a warning where the default could not be had.
fn node_netns(path: Option<&Path>) -> Result<Netns> {
    let (netns, note) = Netns::of_node(path)?;
    if let Some(note) = note {
        tracing::warn!("{note}");
    }
    Ok(netns)
}
