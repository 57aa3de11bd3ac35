//! The engine's loop: read the kernel, take messages, let time go on, publish.

use std::sync::Arc;
use std::time::{Duration, Instant};

use egress_common::{NETNS_NODE, NetnsEntry};
use egress_core::cluster::{ClusterChange, PeerAnswer};
use egress_core::explain::explain;
use egress_core::input::Input;
use egress_core::node::{Device, DeviceRole, NodeChange, NodeNetwork, OwnerAnswer, Question, Reading};
use egress_core::pipeline::Pipeline;
use egress_core::time::{Mono, Timestamp};
use egress_core::verdict::Verdict;

use super::filtering::{self, Filtering};
use super::inbox::{Inbox, Outbox};
use super::pods::PodTable;
use super::recorder::Recorder;
use super::{EngineError, Message, Options, Shared, report};
use crate::cgroups::{Cgroups, cgroups_status};
use crate::host;
use crate::k8s::{SourceEvent, api::PeerAsker};
use crate::netlink::conntrack::Conntrack;
use crate::netlink::netns::Netns;
use crate::netlink::reading::Reader;
use crate::probe::{Probe, ProbeOptions};
use crate::status::{EventCount, HookStatus};

/// Entry of the node's own namespace.
const NODE: NetnsEntry = NetnsEntry { kind: NETNS_NODE, pod_slot: u32::MAX };
/// Longest wait for the kernel: records that do not wake us are read at this pace.
const TICK: Duration = Duration::from_millis(50);
/// Aggregates, heartbeat and the metrics' gauges are seen to at this pace.
const SECOND: Duration = Duration::from_secs(1);

/// The engine's state, on its thread.
pub(super) struct Run {
    pub(super) probe: Probe,
    pub(super) pipeline: Pipeline,
    pub(super) pods: PodTable,
    pub(super) shared: Shared,
    pub(super) inbox: Inbox,
    pub(super) source_problems: Vec<String>,
    pub(super) watching_since: Timestamp,
    pub(super) node_name: String,
    pub(super) attach_problems: Vec<(u32, String)>,
    pub(super) network: NodeNetwork,
    /// Whether cgroups name pods and containers.
    pub(super) cgroup_status: HookStatus,
    /// Events that programs counted before they were loaded anew.
    pub(super) earlier: Vec<EventCount>,
    /// When and why the programs were loaded anew, and for how long nothing was watched.
    pub(super) reloads: Vec<String>,
    probe_options: ProbeOptions,
    recorder: Option<Recorder>,
    conntrack: Option<Conntrack>,
    filtering: Filtering,
    cgroups: Cgroups,
    reader: Option<Reader>,
    peers: Option<PeerAsker>,
    /// Questions about pods of other nodes that found no room.
    pub(super) peers_unasked: u64,
    netns: Netns,
    records: Vec<Vec<u8>>,
    /// Kinds of drift that are in the log.
    drifts_told: usize,
    second: Mono,
    ready: bool,
    stopping: bool,
}

impl Run {
    /// Enters the node's namespace, loads and attaches.
    pub(super) fn start(
        options: Options,
        shared: Shared,
        inbox: Inbox,
        outbox: Outbox,
    ) -> Result<Self, EngineError> {
        options.netns.enter()?;
        let probe_options = ProbeOptions {
            force_clsact: options.force_clsact,
            trace_netfilter: options.trace_netfilter,
            ..ProbeOptions::default()
        };
        let mut probe = Probe::load(&probe_options)?;
        probe.set_netns(options.netns.inode(), NODE)?;
        let recorder = match &options.record {
            Some(path) => Some(Recorder::create(path, &options.node_name, probe.offsets())?),
            None => None,
        };
        let mut run = Self {
            pods: PodTable::new(probe_options.pod_slots, options.netns.inode()),
            probe_options,
            probe,
            earlier: Vec::new(),
            reloads: Vec::new(),
            pipeline: Pipeline::new(&options.node_name),
            shared,
            inbox,
            source_problems: Vec::new(),
            watching_since: host::wall_clock(),
            node_name: options.node_name,
            attach_problems: Vec::new(),
            network: NodeNetwork { netns: options.netns.inode(), ..NodeNetwork::default() },
            recorder,
            conntrack: None,
            filtering: Filtering::start(options.netns.duplicate()?, outbox.clone())?,
            cgroup_status: cgroups_status(&options.cgroups),
            cgroups: Cgroups::start(options.cgroups, outbox)?,
            reader: None,
            peers: None,
            peers_unasked: 0,
            netns: options.netns,
            records: Vec::new(),
            drifts_told: 0,
            second: Mono(0),
            ready: false,
            stopping: false,
        };
        run.tick();
        run.tell_names();
        Ok(run)
    }

    /// Runs until told to stop.
    pub(super) fn until_stopped(&mut self) {
        while !self.stopping {
            self.probe.wait(TICK, Some(self.inbox.fd()));
            self.read_kernel();
            self.read_inbox();
            self.tick();
            if let Some(recorder) = &mut self.recorder {
                recorder.flush();
            }
        }
    }

    /// Feeds the pipeline one input and publishes what comes of it.
    fn feed(&mut self, input: Input) {
        if let Some(recorder) = &mut self.recorder {
            recorder.add(&input);
        }
        for verdict in self.pipeline.step(input) {
            self.publish(verdict);
        }
    }

    fn publish(&mut self, verdict: Arc<Verdict>) {
        let previous = self.shared.journal.push(Arc::clone(&verdict));
        if let Some(events) = &self.shared.events {
            events.tell(&verdict);
        }
        self.shared.metrics.verdict(&verdict, previous);
    }

    fn read_kernel(&mut self) {
        let mut records = std::mem::take(&mut self.records);
        self.probe.read(&mut |bytes| records.push(bytes.to_vec()));
        for bytes in records.drain(..) {
            self.record(bytes);
        }
        self.records = records;
        self.learn();
    }

    fn record(&mut self, bytes: Vec<u8>) {
        if self.probe.resolve(&bytes) {
            self.tell_names();
        }
        self.feed(Input::Record { bytes });
    }

    /// Hands the names that the probe knows to the pipeline.
    fn tell_names(&mut self) {
        let names = self.probe.names();
        let reasons = names.reasons().map(|(number, name)| (number, name.to_owned())).collect();
        let functions = names.functions().map(|(start, end, name)| (start, end, name.to_owned())).collect();
        self.feed(Input::Names { reasons, functions });
    }

    fn read_inbox(&mut self) {
        self.inbox.rearm();
        while let Some(message) = self.inbox.take() {
            match message {
                Message::Node(change) => self.node(change),
                Message::Source(SourceEvent::Changes(changes)) => self.cluster(changes),
                Message::Source(SourceEvent::Problems(problems)) => {
                    let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
                    for problem in problems.iter().filter(|problem| !self.source_problems.contains(problem)) {
                        tracing::warn!("{problem}");
                    }
                    self.source_problems = problems;
                }
                Message::PodNamespace(found) => {
                    let change = self.pods.found(found, &mut self.probe);
                    self.named(change);
                }
                Message::NamespacesClosed(why) => self.pods.close_namespaces(why),
                Message::Conntrack(worker) => self.conntrack = Some(worker),
                Message::Reader(reader) => self.reader = Some(reader),
                Message::Peers(asker) => self.peers = Some(asker),
                // Whoever asked may have gone meanwhile.
                Message::Status(reply) => {
                    // What the status counts as aggregated, the verdicts count too.
                    self.count_aggregates();
                    drop(reply.send(report::status(self)));
                }
                Message::KnowsPod(pod, reply) => {
                    let known = self.pipeline.cluster_index().pod(&pod.namespace, &pod.name).is_some();
                    let _ = reply.send(known);
                }
                Message::LocalPods(reply) => drop(reply.send(report::local_pods(self))),
                Message::Explain(request, reply) => {
                    drop(reply.send(explain(self.pipeline.cluster_index(), &request)));
                }
                Message::Resume(verdicts) => {
                    for verdict in &verdicts {
                        self.shared.journal.resume(Arc::new(verdict.clone()));
                    }
                    self.feed(Input::Resume { verdicts });
                }
                Message::Stop => self.stopping = true,
            }
        }
    }

    fn node(&mut self, change: NodeChange) {
        let change = match change {
            NodeChange::Network(network) => NodeChange::Network(self.attach(network)),
            other => other,
        };
        self.feed(Input::Node { at: host::monotonic(), change });
    }

    /// Attaches to new devices, lets go of old ones, and notes what is watched.
    fn attach(&mut self, mut network: NodeNetwork) -> NodeNetwork {
        self.attach_problems.retain(|(index, _)| network.devices.iter().any(|d| d.index == *index));
        for old in &self.network.devices {
            let same = |d: &Device| d.index == old.index && d.name == old.name && d.role == old.role;
            if old.role != DeviceRole::Other && !network.devices.iter().any(same) {
                self.probe.detach_device(old.index);
            }
        }
        for device in network.devices.iter_mut().filter(|device| device.role != DeviceRole::Other) {
            let problem = match self.probe.attach_device(device.index, &device.name, device.role) {
                Ok(attachment) => {
                    device.watched_out = attachment.watched_out;
                    device.watched_in = attachment.watched_in;
                    device.bypass = attachment.bypass;
                    attachment.problem
                }
                Err(error) => Some(error.to_string()),
            };
            let known = self.attach_problems.iter().any(|(index, _)| *index == device.index);
            match problem {
                Some(problem) if !known => {
                    let text = format!("device {}: {problem}", device.name);
                    tracing::warn!("{text}");
                    self.attach_problems.push((device.index, text));
                }
                Some(_) => {}
                None => self.attach_problems.retain(|(index, _)| *index != device.index),
            }
        }
        self.network = network.clone();
        self.check_ready();
        network
    }

    fn cluster(&mut self, changes: Vec<ClusterChange>) {
        let at = host::monotonic();
        for change in changes {
            self.feed(Input::Cluster { at, change });
        }
        self.sync_pods();
        self.check_ready();
    }

    fn sync_pods(&mut self) {
        let now = host::monotonic();
        let changed = self.pods.sync(self.pipeline.cluster_index(), &mut self.probe);
        for change in changed.learned {
            self.feed(Input::Node { at: now, change });
        }
        for pod in changed.come {
            self.shared.metrics.pod_known(&pod.namespace, &pod.name);
        }
        for pod in changed.gone {
            self.shared.metrics.forget(&pod.namespace, &pod.name, Instant::now());
        }
    }

    /// A pod's network namespace is known now.
    fn named(&mut self, change: Option<NodeChange>) {
        if let Some(change) = change {
            self.feed(Input::Node { at: host::monotonic(), change });
        }
    }

    /// Takes what sockets have shown, and asks what they need to know.
    fn learn(&mut self) {
        for learned in self.pipeline.take_learned() {
            let change = self.pods.learn(&learned, &mut self.probe);
            self.named(change);
        }
        for query in self.pipeline.take_owner_questions() {
            if !self.cgroups.ask_owner(query) {
                let answer = OwnerAnswer { query, owner: None, by_process: false };
                self.feed(Input::Node { at: host::monotonic(), change: NodeChange::Owner(answer) });
            }
        }
    }

    fn check_ready(&mut self) {
        let cluster = self.pipeline.cluster_index().synced_at().is_some();
        let network = !self.network.devices.is_empty();
        if cluster && network && !self.ready {
            self.ready = true;
            // Types of the kernel, its symbols and the manifests were read; what that took is not needed any more.
            host::give_back_memory();
            tracing::info!("ready");
        }
    }

    fn tick(&mut self) {
        let now = host::monotonic();
        if now.since(self.second) >= SECOND {
            self.second = now;
            self.each_second();
        }
        self.feed(Input::Tick { now, offset: host::clock_offset() });
        for question in self.pipeline.take_questions() {
            if let Some(worker) = &self.conntrack {
                worker.ask(question);
            }
        }
        self.ask_filters();
        for question in self.pipeline.take_readings() {
            self.read(question);
        }
        self.ask_peers();
        self.shared.metrics.tally(&self.pipeline.take_tallies());
    }

    /// Passes on the questions who pods of other nodes are. What cannot be asked is answered: a failure waits for it.
    fn ask_peers(&mut self) {
        for question in self.pipeline.take_peer_questions() {
            let ip = question.ip;
            if !self.peers.as_ref().is_some_and(|asker| asker.ask(question)) {
                self.peers_unasked += 1;
                let change = ClusterChange::Peer { ip, answer: PeerAnswer::Unknown };
                self.feed(Input::Cluster { at: host::monotonic(), change });
            }
        }
    }

    /// Passes on the questions who filters at a place.
    fn ask_filters(&mut self) {
        for query in self.pipeline.take_filter_questions() {
            let pod = if query.netns == 0 || query.netns == self.network.netns {
                None
            } else if let Some(netns) = self.pods.netns(query.netns) {
                Some(netns)
            } else {
                continue;
            };
            self.filtering.ask(filtering::Question { query, pod, ours: self.probe.program_ids() });
        }
    }

    /// Has a state of the kernel read; where that cannot be, says so at once: a failure waits for it.
    fn read(&mut self, question: Question) {
        let netns = if question.netns() == self.netns.inode() {
            self.netns.duplicate().ok()
        } else {
            self.pods.netns(question.netns())
        };
        let asked = match (&question, &self.reader, netns) {
            // Conntrack's worker reads the node's; nobody reads a pod's.
            (Question::Table { .. } | Question::Translations { .. }, ..) => {
                let worker = self.conntrack.as_ref().filter(|_| question.netns() == self.netns.inode());
                worker.is_some_and(|worker| worker.read(question.clone()))
            }
            (_, Some(reader), Some(netns)) => reader.ask(question.clone(), netns),
            _ => false,
        };
        if !asked {
            let change = NodeChange::Reading(Reading { question, answer: None });
            self.feed(Input::Node { at: host::monotonic(), change });
        }
    }

    /// Loads the programs anew, because a kernel module has come that describes more fields. The fresh ones say
    /// nothing until they are told the namespaces, so nothing is counted twice; the gap is told.
    fn reload(&mut self) {
        let fresh = match Probe::load(&self.probe_options).and_then(|mut fresh| {
            fresh.set_netns(self.network.netns, NODE)?;
            Ok(fresh)
        }) {
            Ok(fresh) => fresh,
            Err(error) => {
                tracing::warn!("the programs stay as they are: {error}");
                return;
            }
        };
        self.read_kernel();
        self.count_aggregates();
        let began = host::monotonic();
        self.earlier = report::added(&self.earlier, &self.probe.counts());
        self.probe = fresh;
        self.pods = PodTable::new(self.probe_options.pod_slots, self.netns.inode());
        self.sync_pods();
        let network = self.attach(self.network.clone());
        self.feed(Input::Node { at: host::monotonic(), change: NodeChange::Network(network) });
        self.tell_names();
        let gap = host::monotonic().since(began).as_millis();
        let text = format!(
            "programs loaded anew for the types of a kernel module; nothing was watched for {gap} ms"
        );
        tracing::info!("{text}");
        self.reloads.push(format!("{}: {text}", host::wall_clock()));
    }

    /// Logs the first sign that the network plugin and the policies disagree; `status` and the metrics go on counting.
    fn tell_drift(&mut self) {
        let drifts = self.pipeline.drifts();
        if drifts.len() > self.drifts_told {
            self.drifts_told = drifts.len();
            drifts.iter().for_each(|drift| tracing::warn!("{drift}"));
        }
    }

    /// Takes what the kernel only counted, and what it lost.
    fn count_aggregates(&mut self) {
        let mut counted = Vec::new();
        self.probe.poll_aggregates(host::monotonic().0, &mut |bytes| counted.push(bytes.to_vec()));
        for bytes in counted {
            self.record(bytes);
        }
    }

    fn each_second(&mut self) {
        self.probe.heartbeat();
        self.count_aggregates();
        // A pod's namespace may have appeared since.
        self.sync_pods();
        for wanted in self.pods.unnamed() {
            self.cgroups.ask_namespace(wanted);
        }
        self.tell_drift();
        if self.probe.is_outdated() {
            self.reload();
        }
    }
}
