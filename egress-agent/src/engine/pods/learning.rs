//! Network namespaces of pods that no object names: shown by processes of the pod, or by its sockets.

use std::path::PathBuf;

use egress_common::{NETNS_POD, NetnsEntry};
use egress_core::cluster::PodRef;
use egress_core::node::NodeChange;
use egress_core::pipeline::Learned;

use super::{PodTable, Way};
use crate::cgroups::{Found, Wanted};
use crate::netlink::netns::Netns;
use crate::probe::Probe;
use crate::status::{HookState, HookStatus};

/// Times that a pod's processes are looked for in a row; then once in [`RARELY`].
const OFTEN: u32 = 5;
/// Seconds between later attempts.
const RARELY: u32 = 30;
/// Pods that are told by name.
const NAMED: usize = 3;

impl PodTable {
    /// Sockets have shown which namespace is a pod's. Gives the news, unless it is none.
    pub(in super::super) fn learn(&mut self, learned: &Learned, probe: &mut Probe) -> Option<NodeChange> {
        let told = self.told.get(&learned.pod).filter(|told| told.uid == learned.uid)?;
        if told.netns_path.is_some() || told.netns == Some(learned.netns) {
            return None;
        }
        self.name(&learned.pod, learned.netns, Way::Socket, probe)
    }

    /// A process of a pod shows its namespace.
    pub(in super::super) fn found(&mut self, found: Found, probe: &mut Probe) -> Option<NodeChange> {
        let told = self.told.get(&found.pod)?;
        let same = told.uids.contains(&found.uid);
        if !same || told.netns_path.is_some() || found.netns == self.node {
            return None;
        }
        // Sockets of the pod itself know better where the two disagree.
        if told.netns.is_some_and(|netns| netns != found.netns) {
            return None;
        }
        self.name(&found.pod, found.netns, Way::Process(found.path), probe)
    }

    fn name(&mut self, pod: &PodRef, netns: u32, way: Way, probe: &mut Probe) -> Option<NodeChange> {
        let held = |(name, told): (&PodRef, &super::Told)| name != pod && told.netns == Some(netns);
        if self.told.iter().any(held) {
            return None;
        }
        let told = self.told.get_mut(pod)?;
        let entry = NetnsEntry { kind: NETNS_POD, pod_slot: told.slot };
        if let Err(error) = probe.set_netns(netns, entry) {
            let text = format!("pod {}/{}: {error}", pod.namespace, pod.name);
            self.problems.insert(pod.clone(), text);
            return None;
        }
        if let Some(old) = told.netns.replace(netns).filter(|old| *old != netns) {
            super::removed(probe.remove_netns(old));
        }
        let opened = match &way {
            Way::Process(path) => Netns::open(path).ok().filter(|opened| opened.inode() == netns),
            Way::Named | Way::Socket => None,
        };
        told.way = way;
        let (device, mtu) = opened.and_then(|opened| opened.first_device()).unzip();
        Some(NodeChange::PodNetns {
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            netns,
            device,
            mtu: mtu.unwrap_or(0),
        })
    }

    /// Pods whose processes should be looked for.
    pub(in super::super) fn unnamed(&mut self) -> Vec<Wanted> {
        if self.closed.is_some() {
            return Vec::new();
        }
        let mut wanted = Vec::new();
        for (pod, told) in &mut self.told {
            let known = match &told.way {
                Way::Process(path) => is_there(path),
                Way::Named => told.netns.is_some() || told.netns_path.is_some(),
                Way::Socket => false,
            };
            if known {
                continue;
            }
            if told.asked < OFTEN || told.asked.is_multiple_of(RARELY) {
                wanted.push(Wanted { pod: pod.clone(), uids: told.uids.clone() });
            }
            told.asked = told.asked.wrapping_add(1);
        }
        wanted
    }

    /// The namespaces of other processes cannot be looked at.
    pub(in super::super) fn close_namespaces(&mut self, why: String) {
        self.closed = Some(why);
    }

    /// By which ways the pods' namespaces are known, and what is not seen.
    pub(in super::super) fn namespaces(&self) -> HookStatus {
        let count = |way: fn(&Way) -> bool| {
            self.told.values().filter(|told| told.netns.is_some() && way(&told.way)).count()
        };
        let ways = [
            (count(|way| *way == Way::Named), "named by their objects"),
            (count(|way| matches!(way, Way::Process(_))), "seen at a process"),
            (count(|way| *way == Way::Socket), "learned from sockets"),
        ];
        let mut words: Vec<String> = ways
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, how)| format!("{count} {how}"))
            .collect();
        let unknown: Vec<String> = self
            .told
            .iter()
            .filter(|(_, told)| told.netns.is_none())
            .map(|(pod, _)| pod.to_string())
            .collect();
        if !unknown.is_empty() {
            let more = if unknown.len() > NAMED { ", …" } else { "" };
            words.push(format!(
                "{} not known until a connection shows it ({}{more}): drops inside the pod are not seen so long",
                unknown.len(),
                unknown[..unknown.len().min(NAMED)].join(", "),
            ));
        }
        let mut state = if unknown.is_empty() { HookState::Attached } else { HookState::Degraded };
        if ways[2].0 > 0 {
            state = HookState::Degraded;
            words.push(
                "of those learned from sockets, routes, devices and filters inside are not read".to_owned(),
            );
        }
        if let Some(why) = &self.closed {
            words.push(format!("namespaces of processes cannot be opened: {why} (needs CAP_SYS_PTRACE)"));
        }
        if words.is_empty() {
            words.push("no pods yet".to_owned());
        }
        HookStatus { hook: "pods:namespaces".to_owned(), state, note: words.join("; ") }
    }
}

/// The namespace can still be reached there.
fn is_there(path: &PathBuf) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}
