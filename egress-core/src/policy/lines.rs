//! Where the policies of an end draw lines between addresses.

use std::sync::Arc;

use ipnet::IpNet;

use super::{kinds, services};
use crate::cluster::Pod;
use crate::identity::{ClusterIndex, Endpoint};
use crate::verdict::{PeerKind, Side};

/// Every network that the policies of this end tell apart for traffic of that side: within a part that none of them
/// cuts, all addresses of one kind get the same answer. For a Service, those of its backends.
#[must_use]
pub fn lines(index: &ClusterIndex, end: &Endpoint, side: Side) -> Vec<IpNet> {
    let mut pods: Vec<Arc<Pod>> = end.pod.clone().into_iter().collect();
    if end.kind == PeerKind::Service {
        let backends = services::backends(index, end);
        pods.extend(backends.iter().filter_map(|one| index.backend_endpoint(one, None).pod));
    }
    pods.iter().flat_map(|pod| kinds::lines(index, pod, side)).collect()
}
