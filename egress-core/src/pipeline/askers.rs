//! What the correlation needs to know of pods that ask for names: their search lists.

use std::net::IpAddr;

use super::Pipeline;
use crate::cluster::{ClusterChange, Object, ObjectKind, PodRef};
use crate::identity::ClusterIndex;

/// Which pods a change of the cluster concerns.
pub(super) enum AskersChange {
    /// None.
    None,
    /// This one is new or changed.
    Pod(PodRef),
    /// These addresses have no pod any more.
    Gone(Vec<IpAddr>),
    /// All.
    All,
}

impl AskersChange {
    /// Reads it off a change before that is applied.
    pub(super) fn of(change: &ClusterChange, index: &ClusterIndex) -> Self {
        match change {
            ClusterChange::Apply { object: Object::Pod(pod) } if index.is_local(pod) => {
                Self::Pod(pod.reference())
            }
            ClusterChange::Delete { object } if object.kind == ObjectKind::Pod => {
                let pod = index.pod(&object.namespace, &object.name).filter(|pod| index.is_local(pod));
                pod.map_or(Self::None, |pod| Self::Gone(pod.own_ips().to_vec()))
            }
            ClusterChange::Reset { kind: ObjectKind::Pod, .. } => Self::All,
            _ => Self::None,
        }
    }
}

impl Pipeline {
    /// Tells the correlation, after the change is applied. Pods that are gone are forgotten with their lookups.
    pub(super) fn know_askers(&mut self, change: AskersChange) {
        let pods = match change {
            AskersChange::None => return,
            AskersChange::Gone(ips) => return ips.iter().for_each(|ip| self.tracker.forget_pod(*ip)),
            AskersChange::Pod(pod) => {
                self.index.pod(&pod.namespace, &pod.name).cloned().into_iter().collect()
            }
            AskersChange::All => self.index.local_pods().cloned().collect::<Vec<_>>(),
        };
        for pod in pods.iter().filter(|pod| !pod.own_ips().is_empty()) {
            // The cluster's domain and the node's own list show when they are used.
            self.tracker.know_pod(&pod.ips, &pod.namespace, &pod.dns.searches);
            if let (Some(ip), Some(netns)) = (pod.ips.first(), self.index.netns_of(&pod.reference())) {
                self.tracker.know_netns(*ip, netns);
            }
        }
    }
}
