//! `run` and `record`: start the engine, its watchers and the servers; stop them in the opposite order.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::answer::EngineAnswers;
use super::pace::{Fresh, Pace};
use super::{node_name, node_netns, source};
use crate::answers::Journal;
use crate::cgroups::Roots;
use crate::cli::args::{RecordArgs, RunArgs, Sources};
use crate::engine::{Engine, Message, Options, Outbox, Shared};
use crate::export::events::Events;
use crate::export::grpc::{self, Listener, ServerTls};
use crate::export::http::{self, HttpListener};
use crate::export::metrics::{self, Metrics};
use crate::host;
use crate::k8s::{Source, SourceEvent, SourceWatch};
use crate::netlink::conntrack::{Conntrack, ConntrackTable};
use crate::netlink::reading::Reader;
use crate::netlink::{filters, network};
use crate::probe;
use crate::store::{Earlier, Store};

/// Verdicts that a follower may be late.
const BACKLOG: usize = 4096;
/// How often the engine is looked after.
const CARE: Duration = Duration::from_millis(500);

/// What follows the node and the cluster; ends when dropped.
struct Watches {
    _network: network::NetworkWatch,
    _filters: Option<filters::FilterWatch>,
    _source: SourceWatch,
}

/// A started engine with everything that feeds it.
struct Started {
    engine: Engine,
    shared: Shared,
    /// Tells how full the node's conntrack table is; `None` where it cannot be asked.
    table: Arc<Mutex<Option<ConntrackTable>>>,
    _watches: Watches,
}

/// `run`
pub(super) fn run(args: &RunArgs) -> Result<()> {
    log();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    // What is missing or taken is told before anything is attached.
    probe::require_privileges()?;
    let listeners = runtime.block_on(bind(args))?;
    let history = args.history().map(|options| Store::open(options, host::wall_clock())).transpose()?;
    let started =
        start(&args.sources, args.record.clone(), args.metrics_pod_label(), args.events(), history)?;
    let result = runtime.block_on(serve(listeners, &started, args.web()));
    started.engine.stop();
    started.shared.journal.flush();
    result
}

/// `record`
pub(super) fn record(args: &RecordArgs) -> Result<()> {
    log();
    probe::require_privileges()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let started = start(&args.sources, Some(args.file.clone()), true, false, None)?;
    let result = runtime.block_on(async {
        let limit = args.duration.unwrap_or(Duration::MAX);
        match tokio::time::timeout(limit, until_stopped(&started.engine)).await {
            Ok(ended) => ended,
            Err(_) => Ok(()),
        }
    });
    started.engine.stop();
    tracing::info!("capture written to {}", args.file.display());
    result
}

fn start(
    sources: &Sources,
    record: Option<PathBuf>,
    pod_label: bool,
    events: bool,
    history: Option<(Store, Earlier)>,
) -> Result<Started> {
    let (store, earlier) = history.unzip();
    let node_name = node_name(sources.node_name.as_deref());
    let source = source(sources, &node_name)?;
    let netns = node_netns(sources.netns.as_deref())?;
    let watched = node_netns(sources.netns.as_deref())?;
    let shared = Shared {
        journal: Arc::new(Journal::new(store, BACKLOG)),
        metrics: Arc::new(Metrics::new(pod_label)),
        events: writer(&source, events, &node_name),
    };
    let options = Options {
        node_name,
        netns,
        record,
        force_clsact: false,
        trace_netfilter: sources.trace_netfilter,
        cgroups: Roots::find(sources.cgroup_root.as_deref()),
    };
    let engine = Engine::start(options, shared.clone())?;
    let outbox = &engine.outbox;
    if let Some(earlier) = earlier.filter(|earlier| !earlier.active.is_empty()) {
        outbox.deliver(Message::Resume(earlier.active));
    }
    let network = network::watch(&watched, sources.uplink.clone(), to_engine(outbox))
        .context("cannot follow the node's devices and routes")?;
    let filters = filters::watch(&watched, to_engine(outbox))
        .inspect_err(|error| tracing::warn!("the node's packet filters are not read: {error}"))
        .ok();
    match Conntrack::start(&watched, to_engine(outbox)) {
        Ok(conntrack) => drop(outbox.deliver(Message::Conntrack(conntrack))),
        Err(error) => tracing::warn!("translations are not looked up: {error}"),
    }
    match Reader::start(to_engine(outbox)) {
        Ok(reader) => drop(outbox.deliver(Message::Reader(reader))),
        Err(error) => tracing::warn!("queues, sysctls and routes of pods are not read: {error}"),
    }
    outbox.deliver(Message::Source(SourceEvent::Changes(source.changes())));
    let to_source = outbox.clone();
    let source = source
        .watch(move |event| {
            to_source.deliver(Message::Source(event));
        })
        .context("cannot follow the cluster state")?;
    if let Some(asker) = source.asker() {
        outbox.deliver(Message::Peers(asker));
    }
    let watches = Watches { _network: network, _filters: filters, _source: source };
    let table = ConntrackTable::open(&watched).ok();
    Ok(Started { engine, shared, table: Arc::new(Mutex::new(table)), _watches: watches })
}

fn to_engine(outbox: &Outbox) -> impl Fn(egress_core::node::NodeChange) + Send + 'static {
    let outbox = outbox.clone();
    move |change| {
        outbox.deliver(Message::Node(change));
    }
}

/// Writes Events on pods, if they are wanted and there is an API server to take them.
fn writer(source: &Source, wanted: bool, node_name: &str) -> Option<Arc<Events>> {
    let config = source.api().filter(|_| wanted)?;
    Events::start(config.clone(), node_name)
        .inspect_err(|error| tracing::warn!("no Events are written: {error}"))
        .ok()
        .map(Arc::new)
}

async fn bind(args: &RunArgs) -> Result<(Vec<Listener>, HttpListener)> {
    let tls = args.grpc_tls().map(ServerTls::load).transpose()?.map(Arc::new);
    let mut listeners = Vec::new();
    for address in args.grpc_addresses() {
        listeners.push(Listener::bind_with(&address, tls.as_ref()).await?);
    }
    Ok((listeners, HttpListener::bind(&args.metrics_address()).await?))
}

async fn serve(
    (listeners, pages): (Vec<Listener>, HttpListener),
    started: &Started,
    web: bool,
) -> Result<()> {
    for listener in &listeners {
        tracing::info!("gRPC on {}", listener.address());
    }
    tracing::info!("metrics on http://{}/metrics", pages.local_addr()?);
    let answers = Arc::new(EngineAnswers {
        journal: Arc::clone(&started.shared.journal),
        outbox: started.engine.outbox.clone(),
        statuses: Fresh::default(),
        pace: Pace::default(),
    });
    let (stop, stopped) = watch::channel(false);
    let server = tokio::spawn(grpc::serve(listeners, Arc::clone(&answers), stopped.clone()));
    let metrics = Arc::clone(&started.shared.metrics);
    let table = Arc::clone(&started.table);
    let pages = tokio::spawn(http::serve(pages, answers, metrics, move || usage(&table), web, stopped));
    let ended = until_stopped(&started.engine).await;
    // The servers may be gone already; then there is nobody to tell.
    let _ = stop.send(true);
    server.await.context("the gRPC server panicked")??;
    pages.await.context("the HTTP server panicked")?;
    ended
}

fn usage(table: &Mutex<Option<ConntrackTable>>) -> Option<metrics::Conntrack> {
    let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
    let usage = table.as_mut()?.usage().ok()?;
    Some(metrics::Conntrack { entries: usage.entries.into(), limit: usage.limit.into() })
}

/// Until SIGTERM or SIGINT, or the engine ends by itself.
async fn until_stopped(engine: &Engine) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut care = tokio::time::interval(CARE);
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = care.tick() => {
                if engine.ended() {
                    bail!("the engine ended unexpectedly");
                }
            }
        }
    }
}

/// Log lines on standard error; `RUST_LOG` chooses which.
fn log() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    // A second initialisation (in tests) keeps the first.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(ansi)
        .with_writer(std::io::stderr)
        .try_init();
}
