//! What the correlation needs to know of pods that ask for names: their search lists.

use super::Pipeline;
use crate::cluster::{ClusterChange, Object, ObjectKind, Pod, PodRef};
use crate::identity::ClusterIndex;

/// Which pods a change of the cluster concerns.
pub(super) enum AskersChange {
    /// None.
    None,
    /// This one is new or changed.
    Pod(PodRef),
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
            AskersChange::Pod(pod) => {
                self.index.pod(&pod.namespace, &pod.name).cloned().into_iter().collect()
            }
            AskersChange::All => self.index.local_pods().cloned().collect::<Vec<_>>(),
        };
        for pod in pods.iter().filter(|pod| !pod.host_network) {
            let domains = search_domains(pod);
            for ip in &pod.ips {
                self.tracker.know_pod(*ip, &pod.namespace, &domains);
            }
            if let (Some(ip), Some(netns)) = (pod.ips.first(), self.index.netns_of(&pod.reference())) {
                self.tracker.know_netns(*ip, netns);
            }
        }
    }
}

/// What the pod's object says of its search list; the cluster's domain and the node's list show when they are used.
fn search_domains(pod: &Pod) -> Vec<String> {
    pod.dns.searches.clone()
}
