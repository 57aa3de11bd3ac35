//! Cgroups: whose they are, and where the network namespace of a pod's processes is. Read on demand, by a thread of
//! its own: container runtimes put the pod's UID and the container's id into the names of the directories.

mod path;
mod process;
mod root;
mod tree;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use egress_core::cluster::PodRef;
use egress_core::node::{NodeChange, OwnerAnswer, OwnerQuery};

use crate::engine::{Message, Outbox};
use crate::netlink::netns::{Netns, NetnsError};
use crate::netlink::worker::Worker;
use crate::status::{HookState, HookStatus};
use process::Processes;
use tree::Tree;

pub use path::owner as owner_of_path;
pub use root::Roots;

/// Questions that may wait.
const QUEUE: usize = 512;
/// The tree is read anew at most this often: a reading takes milliseconds.
const PACE: Duration = Duration::from_millis(50);
/// Processes of a pod that are asked for their namespace.
const ASKED: usize = 8;

/// What can be asked.
#[derive(Debug)]
enum Question {
    /// Whose is a socket?
    Owner(OwnerQuery),
    /// In which network namespace does a pod run?
    Namespace(Wanted),
}

/// A pod whose network namespace is not known.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The pod.
    pub pod: PodRef,
    /// UIDs by which the runtime may call it.
    pub uids: Vec<String>,
}

/// The network namespace of a pod's processes.
#[derive(Debug)]
pub struct Found {
    /// The pod.
    pub pod: PodRef,
    /// UID by which the runtime calls it.
    pub uid: String,
    /// Inode number of the namespace.
    pub netns: u32,
    /// Where it can be opened as long as that process lives.
    pub path: PathBuf,
}

/// What can be told of pods here, for `doctor`.
#[must_use]
pub fn diagnose(roots: &Roots) -> Vec<HookStatus> {
    let status = |hook: &str, state, note| HookStatus { hook: hook.to_owned(), state, note };
    let namespaces = match Netns::open("/proc/1/ns/net") {
        Ok(_) => status("pods:namespaces", HookState::Attached, "seen at the pods' processes".to_owned()),
        Err(error) => status(
            "pods:namespaces",
            HookState::Degraded,
            format!(
                "learned from the pods' sockets, so drops inside a pod are seen from its first connection on, and its \
                 routes, devices and filters are not read: {error}"
            ),
        ),
    };
    vec![namespaces, cgroups_status(roots)]
}

/// Whether cgroups name pods and containers.
#[must_use]
pub fn cgroups_status(roots: &Roots) -> HookStatus {
    let (state, loss) = match (&roots.unified, &roots.legacy) {
        (Some(_), _) => (HookState::Attached, ""),
        (None, _) => (
            HookState::Degraded,
            ": only processes tell whose a socket is, and those that end at once do not",
        ),
    };
    HookStatus { hook: "pods:cgroups".to_owned(), state, note: format!("{}{loss}", roots.words()) }
}

/// Answers whose cgroups are until it is dropped.
#[derive(Debug)]
pub struct Cgroups(Worker<Question>);

impl Cgroups {
    /// Starts answering: owners as [`NodeChange::Owner`], namespaces as [`Message::PodNamespace`].
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(roots: Roots, outbox: Outbox) -> std::io::Result<Self> {
        Worker::start("cgroups", QUEUE, move |questions: Receiver<Question>| {
            let mut answerer = Answerer::new(roots);
            let send = |message| outbox.send(message);
            while let Ok(first) = questions.recv() {
                // What waits is answered by one reading.
                let all: Vec<Question> = std::iter::once(first).chain(questions.try_iter()).collect();
                answerer.answer(all, &send);
            }
        })
        .map(Self)
    }

    /// Asks whose a socket is. `false` if too many questions are waiting.
    pub fn ask_owner(&self, query: OwnerQuery) -> bool {
        self.0.ask(Question::Owner(query))
    }

    /// Asks for a pod's network namespace. No answer comes if it cannot be told.
    pub fn ask_namespace(&self, wanted: Wanted) -> bool {
        self.0.ask(Question::Namespace(wanted))
    }
}

/// The tree as it was read last, and what processes tell.
struct Answerer {
    tree: Tree,
    processes: Processes,
    read: Option<Instant>,
    /// Namespaces of other processes may not be looked at; it has been told.
    refused: bool,
}

impl Answerer {
    fn new(roots: Roots) -> Self {
        Self { tree: Tree::new(roots), processes: Processes::new(), read: None, refused: false }
    }

    fn answer(&mut self, questions: Vec<Question>, send: &impl Fn(Message) -> bool) {
        let unknown = questions.iter().any(|question| match question {
            Question::Owner(query) => query.cgroup != 0 && !self.tree.knows(query.cgroup),
            Question::Namespace(wanted) => !wanted.uids.iter().any(|uid| self.tree.has_pod(uid)),
        });
        if unknown {
            self.read_anew();
        }
        for question in questions {
            match question {
                Question::Owner(query) => {
                    send(Message::Node(NodeChange::Owner(self.owner(query))));
                }
                Question::Namespace(wanted) => {
                    if let Some(message) = self.namespace(wanted) {
                        send(message);
                    }
                }
            }
        }
    }

    fn read_anew(&mut self) {
        if let Some(read) = self.read {
            std::thread::sleep(PACE.saturating_sub(read.elapsed()));
        }
        self.tree.read();
        self.read = Some(Instant::now());
    }

    fn owner(&self, query: OwnerQuery) -> OwnerAnswer {
        let of_cgroup = self.tree.owner(query.cgroup);
        let (owner, by_process) = match of_cgroup {
            Some(owner) => (Some(owner.clone()), false),
            // A cgroup below the root that is no pod's says so for its processes as well.
            None if query.cgroup != 0 && self.tree.is_below_root(query.cgroup) => (None, false),
            None => (self.processes.owner(query.pid, query.at), true),
        };
        OwnerAnswer { query, owner, by_process }
    }

    /// The namespace in which the pod's processes agree to be.
    fn namespace(&mut self, wanted: Wanted) -> Option<Message> {
        if self.refused || !self.processes.are_the_hosts() {
            return None;
        }
        let uid = wanted.uids.into_iter().find(|uid| self.tree.has_pod(uid))?;
        let mut pids = self.tree.processes_of(&uid);
        // The sandbox's own process is the first, and lives as long as the pod.
        pids.sort_unstable();
        let (mut seen, mut first, mut denied) = (HashSet::new(), None, None);
        for pid in pids.into_iter().take(ASKED) {
            match Netns::open(format!("/proc/{pid}/ns/net")) {
                Ok(netns) => {
                    seen.insert(netns.inode());
                    first.get_or_insert(netns);
                }
                Err(NetnsError::Open { source, .. })
                    if source.kind() == std::io::ErrorKind::PermissionDenied =>
                {
                    denied = Some(source);
                }
                // It has ended meanwhile.
                Err(_) => {}
            }
        }
        if let Some(denied) = denied.filter(|_| seen.is_empty()) {
            self.refused = true;
            return Some(Message::NamespacesClosed(denied.to_string()));
        }
        let netns = first.filter(|_| seen.len() == 1)?;
        let (netns, path) = (netns.inode(), netns.path().to_owned());
        Some(Message::PodNamespace(Found { pod: wanted.pod, uid, netns, path }))
    }
}
