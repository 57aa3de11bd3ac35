//! `explain`: what the policies say of a connection that need not have happened.

use std::path::PathBuf;
use std::time::Duration;

use egress_core::cluster::PodRef;
use egress_core::explain::{Mention, qualified};
use serde_json::Value;

use super::args::{ExplainArgs, PlainOutput, ServerArgs};
use super::commands::block_on;
use super::connect::connect;
use super::exit::Failure;
use super::query::yaml;
use super::render::cut;
use super::terminal::Ui;
use crate::answers::{ExplainRequest, Explanation};
use crate::app;
use crate::k8s::api::{Cluster, Progress, Snapshot};
use crate::k8s::reach::has_cluster;
use crate::words::clean;

/// How often progress is told.
const PROGRESS: Duration = Duration::from_secs(1);

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Files.
    Files,
    /// The API server of a cluster.
    Cluster,
    /// An agent.
    Agent,
}

/// What the flags name; else the cluster, where one is at hand; else the agent of this node.
fn way(args: &ExplainArgs, cluster_at_hand: bool) -> Way {
    let ServerArgs { server, node, context, kubeconfig, .. } = &args.server;
    if !args.cluster_state.is_empty() {
        Way::Files
    } else if server.is_some() || node.is_some() {
        Way::Agent
    } else if context.is_some() || kubeconfig.is_some() || cluster_at_hand || !args.with.is_empty() {
        Way::Cluster
    } else {
        Way::Agent
    }
}

/// Asks whoever is to be asked, and prints the answer.
pub(super) fn explain(args: &ExplainArgs, ui: &mut Ui<'_>) -> Result<(), Failure> {
    let request = request(args);
    let explanation = match way(args, has_cluster()) {
        Way::Files => {
            let paths: Vec<PathBuf> = args.cluster_state.iter().chain(&args.with).cloned().collect();
            app::explain(&paths, &request)?
        }
        Way::Cluster => {
            let snapshot = block_on(read(args, &request, ui))??;
            app::explain_snapshot(snapshot, &args.with)?
        }
        Way::Agent => {
            let answer = async {
                let mut agent = connect(&args.server, pod(&request).as_ref()).await?;
                Ok::<_, Failure>(agent.explain(&request).await?)
            };
            block_on(answer)??
        }
    };
    match args.output {
        PlainOutput::Json => {
            serde_json::to_writer_pretty(&mut *ui.out, &explanation)?;
            writeln!(ui.out)?;
        }
        PlainOutput::Yaml => ui.out.write_all(yaml(&explanation)?.as_bytes())?,
        PlainOutput::Table => {
            let text = egress_core::explain::render(&cleaned(&explanation)?, ui.width, ui.color);
            ui.out.write_all(text.as_bytes())?;
        }
    }
    Ok(())
}

/// The question, with the namespace of the flag where it names none.
fn request(args: &ExplainArgs) -> ExplainRequest {
    let (from, to, dns) = (args.from.clone(), args.to.clone(), args.dns.clone());
    let mut request = ExplainRequest { from, to, port: args.port, protocol: args.protocol, dns };
    let Some(namespace) = &args.namespace else { return request };
    // What makes no sense is told by whoever answers.
    let bare = |mention: Option<Mention>| matches!(mention, Some(Mention::Object { namespace: None, .. }));
    if bare(request.source().ok()) {
        request.from = qualified(&request.from, namespace);
    }
    if bare(request.destination().ok().and_then(|mut all| all.pop())) {
        request.to = qualified(&request.to, namespace);
    }
    request
}

/// Reads from the cluster what the question needs. On a terminal it is told how far that is, if it takes a while.
async fn read(args: &ExplainArgs, request: &ExplainRequest, ui: &mut Ui<'_>) -> Result<Snapshot, Failure> {
    let ServerArgs { kubeconfig, context, .. } = &args.server;
    let cluster = Cluster::open(kubeconfig.as_deref(), context.as_deref()).await;
    let cluster = cluster.map_err(|error| Failure::Failed(error.to_string()))?;
    let progress = Progress::default();
    let reading = cluster.read(request, &progress);
    tokio::pin!(reading);
    let mut tick = tokio::time::interval_at(tokio::time::Instant::now() + PROGRESS, PROGRESS);
    let mut told = false;
    let read = loop {
        tokio::select! {
            read = &mut reading => break read,
            _ = tick.tick(), if ui.err_live => {
                let line = cut(&format!("# reading the cluster: {progress}"), ui.width - 1);
                write!(ui.err, "\r\u{1b}[K{line}")?;
                ui.err.flush()?;
                told = true;
            }
        }
    };
    if told {
        write!(ui.err, "\r\u{1b}[K")?;
    }
    Ok(read?)
}

/// The pod that `[NS/]POD` names, to find its node.
fn pod(request: &ExplainRequest) -> Option<PodRef> {
    match request.source().ok()? {
        Mention::Object { namespace, name, workload: false } => {
            Some(PodRef { namespace: namespace.unwrap_or_else(|| "default".to_owned()), name })
        }
        _ => None,
    }
}

/// The same without what could steer a terminal: files may hold anything for a name.
fn cleaned(explanation: &Explanation) -> Result<Explanation, Failure> {
    let mut value = serde_json::to_value(explanation)?;
    clean_value(&mut value);
    let (from, to) = (clean(&explanation.from).into_owned(), clean(&explanation.to).into_owned());
    Ok(Explanation { from, to, ..serde_json::from_value(value)? })
}

fn clean_value(value: &mut Value) {
    match value {
        Value::String(text) => *text = clean(text).into_owned(),
        Value::Array(values) => values.iter_mut().for_each(clean_value),
        Value::Object(map) => map.values_mut().for_each(clean_value),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::args::{Cli, Command};
    use super::*;

    #[test]
    fn the_namespace_of_the_flag_is_that_of_what_names_none() {
        let line = "egress-agent explain -n shop --from web --to data/db --port 1";
        let Command::Explain(args) = Cli::try_parse_from(line.split(' ')).unwrap().command else { panic!() };
        let request = request(&args);
        assert_eq!((request.from.as_str(), request.to.as_str()), ("shop/web", "data/db"));
    }

    #[test]
    fn what_is_named_is_asked_then_the_cluster_at_hand_then_the_agent() {
        for (flags, at_hand, expected) in [
            ("--cluster-state a --with b", true, Way::Files),
            ("--server unix:/x", true, Way::Agent),
            ("--node n --context c", true, Way::Agent),
            ("--context c", false, Way::Cluster),
            ("--kubeconfig f --with b", false, Way::Cluster),
            ("--dns a=1.2.3.4", true, Way::Cluster),
            ("--dns a=1.2.3.4", false, Way::Agent),
        ] {
            let line = format!("egress-agent explain --from a --to b --port 1 {flags}");
            let Command::Explain(args) = Cli::try_parse_from(line.split(' ')).unwrap().command else {
                panic!()
            };
            assert_eq!(way(&args, at_hand), expected, "{flags}");
        }
        let line = "egress-agent explain --from a --to b --port 1 --with x --server unix:/x";
        assert!(Cli::try_parse_from(line.split(' ')).is_err(), "an agent takes no manifests");
    }
}
