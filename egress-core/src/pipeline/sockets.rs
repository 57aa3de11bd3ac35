//! What sockets tell of pods: which network namespace is whose, which process dialled, and what a pod on the host's
//! network dialled.

use std::sync::Arc;

use super::Pipeline;
use crate::cluster::{Pod, PodRef};
use crate::decode::{Observation, RetransmitSeen, Seen, SockStateSeen, Tap, TcpState, Tuple};
use crate::flow::{FlowEvent, Outcome, Own};
use crate::identity::Ownership;
use crate::node::{OwnerAnswer, OwnerQuery};
use crate::sockets::Dialled;
use crate::time::Mono;

/// Learned namespaces kept at most until they are taken.
const LEARNED: usize = 256;

/// Which network namespace sockets have shown to be a pod's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Learned {
    /// The pod.
    pub pod: PodRef,
    /// `metadata.uid` of it.
    pub uid: String,
    /// Inode number of the namespace.
    pub netns: u32,
    /// How it shows.
    pub witness: Witness,
}

/// How it shows that a namespace is a pod's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Witness {
    /// A socket in it has the pod's address and is in a cgroup of the pod.
    Cgroup,
    /// It was shown before.
    Known,
    /// A socket in it has the pod's address and the sequence number of a SYN that came out of the pod's device.
    Sequence,
}

/// What a record of a socket has that may tell whose it is.
struct Sign {
    tuple: Tuple,
    cgroup: u64,
    pid: u32,
    /// Initial sequence number, as far as it is known: one of the two.
    isn: Option<[u32; 2]>,
}

impl Sign {
    fn of_state(state: &SockStateSeen) -> Self {
        let pid = if state.dialler { state.pid } else { 0 };
        let isn = state.una.map(|una| [una, una.wrapping_sub(1)]);
        Self { tuple: state.tuple, cgroup: state.cgroup, pid, isn }
    }

    const fn of_retransmit(again: &RetransmitSeen) -> Self {
        let isn = if again.syn { Some([again.seq, again.seq]) } else { None };
        Self { tuple: again.tuple, cgroup: again.cgroup, pid: 0, isn }
    }
}

impl Pipeline {
    /// Namespaces that sockets have shown to be pods' since the last call; those that are accepted come back as
    /// [`NodeChange::PodNetns`](crate::node::NodeChange::PodNetns).
    pub fn take_learned(&mut self) -> Vec<Learned> {
        std::mem::take(&mut self.learned)
    }

    /// Cgroups whose pods should be known; answers come back as [`NodeChange::Owner`](crate::node::NodeChange::Owner).
    pub fn take_owner_questions(&mut self) -> Vec<OwnerQuery> {
        self.owners.take_questions()
    }

    /// An answer: what waited for it is judged.
    pub(super) fn owned(&mut self, answer: OwnerAnswer, at: Mono) {
        self.owners.note(answer, at);
        self.judge_waiting();
    }

    /// Takes what a record tells of its socket. False: the record is not to be used any further, because it is not
    /// known whose it is.
    pub(super) fn note_socket(&mut self, seen: &Observation) -> bool {
        match &seen.seen {
            Seen::SockState(state) => {
                if state.dialler {
                    self.sockets.dials(seen, state);
                } else if state.old == TcpState::SynSent {
                    self.sockets.ended(state);
                }
                if state.by_address {
                    return self.is_known_by_address(seen, &Sign::of_state(state));
                }
                self.ask_owner(seen, state);
                if seen.netns == self.node.netns() {
                    self.reach.note_node_socket(state, seen.at);
                    let event = if self.has_host_pods { self.own.ended(seen, state) } else { None };
                    self.judge_own(event);
                    return !state.dialler;
                }
                true
            }
            Seen::Retransmit(again) => {
                self.sockets.again(again);
                if again.by_address {
                    return self.is_known_by_address(seen, &Sign::of_retransmit(again));
                }
                if seen.netns == self.node.netns() && self.has_host_pods {
                    let event = self.own.retransmit(seen, again);
                    self.judge_own(event);
                }
                true
            }
            _ => true,
        }
    }

    /// The answer will be wanted should it fail.
    fn ask_owner(&mut self, seen: &Observation, state: &SockStateSeen) {
        let wanted = seen.netns != self.node.netns() || self.has_host_pods;
        if state.dialler && wanted {
            let _ = self.owners.of(state.cgroup, state.pid, seen.at);
        }
    }

    /// A socket with a local pod's address in a namespace that nobody has named. It is the pod's if its cgroup says so, or
    /// if its own SYN came out of the pod's device; a cgroup of another pod denies it.
    fn is_known_by_address(&mut self, seen: &Observation, sign: &Sign) -> bool {
        let ip = sign.tuple.source.ip;
        let Some(pod) = self.index.pod_by_ip(ip, seen.at).filter(|pod| self.index.is_local(pod)) else {
            return false;
        };
        if seen.netns == 0 || seen.netns == self.node.netns() {
            return false;
        }
        if let Some(holder) = self.index.pod_by_netns(seen.netns, seen.at) {
            let known = holder.is_same(&pod);
            if known {
                // The kernel does not know yet, or not any more.
                self.push_learned(&pod, seen.netns, Witness::Known);
            }
            return known;
        }
        let witness = match self.owners.of(sign.cgroup, sign.pid, seen.at) {
            Ownership::Pod(owner) if pod.is_called(&owner.pod_uid) => Witness::Cgroup,
            Ownership::Pod(_) => return false,
            Ownership::Nobody | Ownership::Asked => {
                let isn = sign.isn.and_then(|either| {
                    either.into_iter().find(|isn| self.tracker.left_pod(&sign.tuple, *isn, Tap::PodOut))
                });
                if isn.is_none() {
                    return false;
                }
                Witness::Sequence
            }
        };
        // A pod that has moved shows it by its own device: inside its namespace others may be nested.
        if witness != Witness::Cgroup || self.index.netns_of(&pod.reference()).is_none() {
            self.push_learned(&pod, seen.netns, witness);
        }
        false
    }

    fn push_learned(&mut self, pod: &Pod, netns: u32, witness: Witness) {
        let learned = Learned { pod: pod.reference(), uid: pod.uid.clone(), netns, witness };
        if self.learned.len() < LEARNED && !self.learned.contains(&learned) {
            self.learned.push(learned);
        }
    }

    /// Judges what a socket of the node itself has met: it may be a pod's on the host's network.
    fn judge_own(&mut self, event: Option<FlowEvent>) {
        let Some(event) = event else { return };
        if !matches!(event.outcome, Outcome::Succeeded) {
            // A drop that was seen, towards another pod, says more.
            if !self.tracker.explains(&event.client) {
                self.judge_informed(event);
            }
        } else if !self.book.is_empty()
            && let Some(frame) = self.frame(&event.client, None, event.at).filter(|frame| frame.on_host)
        {
            let cleared = self.book.clear_opening(&frame.subject(&event.client, None));
            self.out.extend(cleared);
        }
    }

    /// The failure is told by the node's own sockets, if it is a host-network pod's.
    pub(super) fn is_told_by_socket(&self, event: &FlowEvent) -> bool {
        let by_silence_or_refusal = matches!(
            event.outcome,
            Outcome::Unanswered | Outcome::Refused { .. } | Outcome::Unreachable { .. }
        );
        by_silence_or_refusal
            && self.has_host_pods
            && !Own::is_own(event)
            && self.host_pod(&event.client, event.at).is_some()
    }

    /// The pod on the host's network whose socket this is: only its cgroup can tell.
    pub(super) fn host_pod(&self, client: &Tuple, at: Mono) -> Option<Arc<Pod>> {
        if !self.has_host_pods || !self.node.is_own(client.source.ip) {
            return None;
        }
        let dialled = self.sockets.of(client, at, |netns| netns == self.node.netns())?;
        let Ownership::Pod(owner) = self.owners.known(dialled.cgroup, dialled.pid, dialled.at)? else {
            return None;
        };
        let pod = self.index.pod_by_uid(&owner.pod_uid)?;
        (pod.host_network && self.index.is_local(pod)).then(|| Arc::clone(pod))
    }

    /// Who dialled a flow of this pod.
    pub(super) fn dialled(&self, pod: &Pod, event: &FlowEvent) -> Option<Dialled> {
        let netns =
            if pod.host_network { self.node.netns() } else { self.index.netns_of(&pod.reference())? };
        self.sockets.of(&event.client, event.first, |of| of == netns)
    }

    /// Name of the container that dialled.
    pub(super) fn container(&self, pod: &Pod, dialled: &Dialled) -> Option<String> {
        let Ownership::Pod(owner) = self.owners.known(dialled.cgroup, dialled.pid, dialled.at)? else {
            return None;
        };
        let id = owner.container.as_deref().filter(|_| pod.is_called(&owner.pod_uid))?;
        let container = pod.containers.iter().find(|container| container.id.as_deref() == Some(id))?;
        Some(container.name.clone())
    }

    /// Whose the socket is has been asked, and is about to be known.
    pub(super) fn awaits_owner(&self, event: &FlowEvent) -> bool {
        let dialled = self.sockets.of(&event.client, event.first, |_| true);
        dialled.is_some_and(|dialled| self.owners.is_awaited(dialled.cgroup, dialled.pid, dialled.at))
    }
}
