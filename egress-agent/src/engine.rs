//! The engine: one thread in the node's namespace that owns the kernel probe and the pipeline. Everything else
//! reaches it through a channel; nothing it does waits for a client, the network or a disk.

mod filtering;
mod inbox;
mod pods;
mod recorder;
mod report;
mod run;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use egress_core::cluster::PodRef;
use egress_core::explain::{ExplainError, ExplainRequest, Explanation};
use egress_core::node::NodeChange;
use egress_core::verdict::Verdict;
use tokio::sync::oneshot;

use crate::answers::{Journal, LocalPod};
use crate::cgroups::{Found, Roots};
use crate::export::events::Events;
use crate::export::metrics::Metrics;
use crate::k8s::{SourceEvent, api::PeerAsker};
use crate::netlink::conntrack::Conntrack;
use crate::netlink::netns::Netns;
use crate::netlink::reading::Reader;
use crate::probe::ProbeError;
use crate::status::AgentStatus;

pub use inbox::{Inbox, Outbox};
pub use recorder::RecordError;

/// What the engine needs to know.
#[derive(Debug)]
pub struct Options {
    /// Name of the node, empty if not known.
    pub node_name: String,
    /// The namespace treated as the node's.
    pub netns: Netns,
    /// Capture every input to this file.
    pub record: Option<PathBuf>,
    /// Use clsact filters even where TCX is there.
    pub force_clsact: bool,
    /// Attach to the chains of nftables.
    pub trace_netfilter: bool,
    /// Where cgroups are.
    pub cgroups: Roots,
}

/// What reaches the engine from elsewhere.
#[derive(Debug)]
pub enum Message {
    /// The node changed.
    Node(NodeChange),
    /// The cluster changed, or its source has problems.
    Source(SourceEvent),
    /// Whoever answers conntrack questions.
    Conntrack(Conntrack),
    /// Whoever reads states of the kernel.
    Reader(Reader),
    /// The network namespace of a pod's processes.
    PodNamespace(Found),
    /// The namespaces of other processes may not be looked at; says the kernel's error.
    NamespacesClosed(String),
    /// Whoever knows pods of other nodes.
    Peers(PeerAsker),
    /// What is going on?
    Status(oneshot::Sender<AgentStatus>),
    /// Is there such a pod?
    KnowsPod(PodRef, oneshot::Sender<bool>),
    /// Which pods are here?
    LocalPods(oneshot::Sender<Vec<LocalPod>>),
    /// What do the policies say?
    Explain(Box<ExplainRequest>, oneshot::Sender<Result<Explanation, ExplainError>>),
    /// Verdicts that an earlier run left active.
    Resume(Vec<Verdict>),
    /// Detach and end.
    Stop,
}

/// What the engine shares with the interfaces.
#[derive(Clone, Debug)]
pub struct Shared {
    /// Verdicts, and those who follow them.
    pub journal: Arc<Journal>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// Events on pods, where there is an API server and they are wanted.
    pub events: Option<Arc<Events>>,
}

/// Why the engine could not start.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The kernel side could not be set up.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// The node's namespace could not be entered.
    #[error(transparent)]
    Netns(#[from] crate::netlink::netns::NetnsError),
    /// The capture file cannot be written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A thread or a descriptor could not be had.
    #[error("cannot start the engine: {0}")]
    System(#[from] std::io::Error),
}

/// A running engine.
#[derive(Debug)]
pub struct Engine {
    /// Sends it messages.
    pub outbox: Outbox,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    /// Starts it; returns once the programs are loaded and attached to the tracepoints, or with the reason why not.
    pub fn start(options: Options, shared: Shared) -> Result<Self, EngineError> {
        let (outbox, inbox) = inbox::channel()?;
        let (started, result) = std::sync::mpsc::sync_channel(1);
        let to_self = outbox.clone();
        let thread = std::thread::Builder::new().name("engine".to_owned()).spawn(move || {
            match run::Run::start(options, shared, inbox, to_self) {
                Ok(mut run) => {
                    // The starter waits for this; if it is gone there is nobody to run for.
                    if started.send(Ok(())).is_ok() {
                        run.until_stopped();
                    }
                }
                Err(error) => drop(started.send(Err(error))),
            }
        })?;
        match result.recv() {
            Ok(Ok(())) => Ok(Self { outbox, thread: Some(thread) }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(std::io::Error::other("the engine thread ended").into()),
        }
    }

    /// Detaches everything and ends the thread.
    pub fn stop(mut self) {
        self.outbox.send(Message::Stop);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the engine thread panicked");
        }
    }

    /// The engine has ended by itself.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}
