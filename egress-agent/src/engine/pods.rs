//! Keeps the kernel's filter maps in step with the local pods: their addresses and namespaces, each pod a slot.

mod learning;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use egress_common::{NETNS_POD, NetnsEntry};
use egress_core::cluster::{Pod, PodRef};
use egress_core::identity::ClusterIndex;
use egress_core::node::NodeChange;

use crate::netlink::netns::Netns;
use crate::probe::{Probe, ProbeError};

/// What the kernel was told of one pod.
#[derive(Debug)]
struct Told {
    uid: String,
    /// UIDs by which the runtime may call it.
    uids: Vec<String>,
    slot: u32,
    ips: Vec<IpAddr>,
    /// The path that the pod's object names.
    netns_path: Option<String>,
    netns: Option<u32>,
    /// How its namespace became known.
    way: Way,
    /// Times that its processes were asked for.
    asked: u32,
}

/// How a pod's namespace became known.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Way {
    /// Its object names the path, or nothing is known.
    Named,
    /// A process of the pod shows it, here.
    Process(PathBuf),
    /// Sockets showed it.
    Socket,
}

/// What bringing the kernel in step showed.
#[derive(Debug)]
pub(super) struct Changed {
    /// Namespaces of pods.
    pub(super) learned: Vec<NodeChange>,
    /// Pods that are new.
    pub(super) come: Vec<PodRef>,
    /// Pods that are gone.
    pub(super) gone: Vec<PodRef>,
}

/// The pods the kernel knows.
#[derive(Debug)]
pub(super) struct PodTable {
    told: BTreeMap<PodRef, Told>,
    free: BTreeSet<u32>,
    problems: HashMap<PodRef, String>,
    /// Why other processes' namespaces cannot be looked at.
    closed: Option<String>,
    /// The node's own namespace.
    node: u32,
}

impl PodTable {
    /// A table with this many slots.
    pub(super) fn new(slots: u32, node: u32) -> Self {
        Self {
            told: BTreeMap::new(),
            free: (0..slots).collect(),
            problems: HashMap::new(),
            closed: None,
            node,
        }
    }

    /// What is wrong with single pods, in words.
    pub(super) fn problems(&self) -> impl Iterator<Item = &String> {
        self.problems.values()
    }

    /// The namespace of a pod, by its inode number, if it can be opened.
    pub(super) fn netns(&self, inode: u32) -> Option<Netns> {
        let told = self.told.values().find(|told| told.netns == Some(inode))?;
        let path = match &told.way {
            Way::Named => told.netns_path.as_deref().map(Path::new)?,
            Way::Process(path) => path,
            Way::Socket => return None,
        };
        Netns::open(path).ok().filter(|netns| netns.inode() == inode)
    }

    /// Brings the kernel in step with the index.
    pub(super) fn sync(&mut self, index: &ClusterIndex, probe: &mut Probe) -> Changed {
        let local: BTreeMap<PodRef, &Pod> = index
            .local_pods()
            .filter(|pod| !pod.host_network && !pod.finished)
            .map(|pod| (PodRef { namespace: pod.namespace.clone(), name: pod.name.clone() }, &**pod))
            .collect();
        let gone: Vec<PodRef> = self.told.keys().filter(|pod| !local.contains_key(*pod)).cloned().collect();
        for pod in &gone {
            self.forget(pod, probe);
        }
        // Another pod under the same name has another namespace.
        for (name, pod) in &local {
            if self.told.get(name).is_some_and(|told| told.uid != pod.uid) {
                self.forget(name, probe);
            }
        }
        let come = local.keys().filter(|pod| !self.told.contains_key(*pod)).cloned().collect();
        let mut learned = Vec::new();
        for (name, pod) in local {
            self.tell(name, pod, probe, &mut learned);
        }
        Changed { learned, come, gone }
    }

    fn forget(&mut self, pod: &PodRef, probe: &mut Probe) {
        self.problems.remove(pod);
        let Some(told) = self.told.remove(pod) else { return };
        for ip in told.ips {
            // Another pod may have taken the address over meanwhile.
            if !self.told.values().any(|other| other.ips.contains(&ip)) {
                removed(probe.remove_pod_ip(ip));
            }
        }
        if let Some(netns) = told.netns {
            removed(probe.remove_netns(netns));
        }
        self.free.insert(told.slot);
    }

    fn tell(&mut self, name: PodRef, pod: &Pod, probe: &mut Probe, learned: &mut Vec<NodeChange>) {
        if !self.told.contains_key(&name) {
            let Some(slot) = self.free.pop_first() else {
                let text =
                    format!("pod {}/{}: more pods than slots, it is not watched", name.namespace, name.name);
                self.problems.insert(name, text);
                return;
            };
            let told = Told {
                uid: pod.uid.clone(),
                uids: std::iter::once(pod.uid.clone()).chain(pod.static_uid.clone()).collect(),
                slot,
                ips: Vec::new(),
                netns_path: None,
                netns: None,
                way: Way::Named,
                asked: 0,
            };
            self.told.insert(name.clone(), told);
        }
        let Some(told) = self.told.get_mut(&name) else { return };
        let mut problem = None;
        for ip in pod.ips.iter().filter(|ip| !told.ips.contains(ip)) {
            if let Err(error) = probe.set_pod_ip(*ip, told.slot) {
                problem = Some(error.to_string());
            }
        }
        for ip in told.ips.iter().filter(|ip| !pod.ips.contains(ip)) {
            removed(probe.remove_pod_ip(*ip));
        }
        // A new sandbox: whatever showed the old namespace says nothing of it.
        let moved = !told.ips.is_empty() && !told.ips.iter().any(|ip| pod.ips.contains(ip));
        if moved && told.way != Way::Named {
            told.way = Way::Named;
            told.asked = 0;
            if let Some(old) = told.netns.take() {
                removed(probe.remove_netns(old));
            }
        }
        told.ips.clone_from(&pod.ips);
        if told.netns_path != pod.netns_path || (told.netns.is_none() && pod.netns_path.is_some()) {
            if let Some(old) = told.netns.take() {
                removed(probe.remove_netns(old));
            }
            told.netns_path.clone_from(&pod.netns_path);
            told.way = Way::Named;
            if let Some(path) = &pod.netns_path {
                match Netns::open(Path::new(path)) {
                    Ok(netns) => {
                        let entry = NetnsEntry { kind: NETNS_POD, pod_slot: told.slot };
                        match probe.set_netns(netns.inode(), entry) {
                            Ok(()) => told.netns = Some(netns.inode()),
                            Err(error) => problem = Some(error.to_string()),
                        }
                        let (device, mtu) = netns.first_device().unzip();
                        learned.push(NodeChange::PodNetns {
                            namespace: name.namespace.clone(),
                            name: name.name.clone(),
                            netns: netns.inode(),
                            device,
                            mtu: mtu.unwrap_or(0),
                        });
                    }
                    Err(error) => problem = Some(error.to_string()),
                }
            }
        }
        match problem {
            Some(problem) => {
                let text = format!("pod {}/{}: {problem}", name.namespace, name.name);
                self.problems.insert(name, text);
            }
            None => drop(self.problems.remove(&name)),
        }
    }
}

/// What cannot be removed stays in a filter map and lets too much through, which user space ignores.
fn removed(result: Result<(), ProbeError>) {
    if let Err(error) = result {
        tracing::warn!("{error}");
    }
}
