//! Where what an address is changes from one address to the next.

use ipnet::IpNet;

use super::ClusterIndex;

impl ClusterIndex {
    /// Every network, and every single address, that [`ClusterIndex::resolve`] tells from what lies around it.
    #[must_use]
    pub fn landmarks(&self) -> Vec<IpNet> {
        let pods = self.pods().flat_map(|pod| pod.own_ips());
        let services = self.services().flat_map(|one| one.cluster_ips.iter().chain(&one.external_ips));
        let nodes = self.nodes.iter().flat_map(|node| &node.ips);
        let addresses = pods.chain(services).chain(nodes).map(|ip| IpNet::from(*ip));
        let ranges = self.nodes.iter().flat_map(|node| node.pod_cidrs.iter().map(IpNet::trunc));
        addresses.chain(ranges).chain(self.services.ranges()).collect()
    }
}
