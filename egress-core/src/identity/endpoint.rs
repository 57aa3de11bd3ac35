//! One end of a flow, with all the cluster knows of its address.

use std::net::IpAddr;
use std::sync::Arc;

use super::ClusterIndex;
use crate::cluster::{Namespace, Node, ObjectKind, Pod, PodRef, Service, ServicePort};
use crate::protocol::Protocol;
use crate::time::Mono;
use crate::verdict::{PeerKind, PeerRef};

/// One end of a flow.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// Address; unspecified (`0.0.0.0`, `::`) where none is known (a pod without an address yet).
    pub ip: IpAddr,
    /// What the address is.
    pub kind: PeerKind,
    /// The pod that holds the address; with a Service, none.
    pub pod: Option<Arc<Pod>>,
    /// The pod's namespace, if its object is known.
    pub namespace: Option<Arc<Namespace>>,
    /// The Service that is dialled.
    pub service: Option<Arc<Service>>,
    /// The port of that Service that is dialled; `None`: it has no such port.
    pub service_port: Option<ServicePort>,
    /// The pod's node, or the node that has the address.
    pub node: Option<Arc<Node>>,
}

impl Endpoint {
    /// An address outside the cluster.
    #[must_use]
    pub fn external(ip: IpAddr) -> Self {
        Self::of_kind(ip, PeerKind::External)
    }

    fn of_kind(ip: IpAddr, kind: PeerKind) -> Self {
        Self { ip, kind, pod: None, namespace: None, service: None, service_port: None, node: None }
    }

    /// The address, if one is known.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        (!self.ip.is_unspecified()).then_some(self.ip)
    }

    /// As a verdict names it. `name`: what the pod resolved to reach it.
    #[must_use]
    pub fn peer_ref(&self, port: u16, protocol: Protocol, name: Option<String>) -> PeerRef {
        PeerRef {
            ip: self.ip,
            port,
            protocol,
            name,
            kind: self.kind,
            pod: self.pod.as_ref().map(|pod| pod.reference()),
            service: self.service.as_ref().map(|service| service.reference()),
        }
    }

    /// Namespace and name of the pod, if it is one.
    #[must_use]
    pub fn pod_ref(&self) -> Option<PodRef> {
        self.pod.as_ref().map(|pod| pod.reference())
    }
}

impl ClusterIndex {
    /// What this address was at that time: a pod, a Service, a node, something in the cluster that is not known,
    /// or something outside. `port` and `protocol` find node ports and the port of a Service.
    #[must_use]
    pub fn resolve(&self, ip: IpAddr, port: u16, protocol: Protocol, at: Mono) -> Endpoint {
        let ip = ip.to_canonical();
        if let Some(pod) = self.pods.by_ip(ip, at) {
            return self.pod_endpoint(pod, ip);
        }
        let node = self.nodes.by_ip(ip);
        let service = self.services.at(ip, port, protocol);
        if let Some((service, Some(service_port))) = service {
            return self.service_endpoint(service, Some(service_port), ip);
        }
        if let Some(node) = node {
            let mut endpoint = match self.services.at_node_port(port, protocol) {
                Some((service, service_port)) => self.service_endpoint(service, Some(service_port), ip),
                // It may be a node port.
                None if port != 0 && !self.sees(ObjectKind::Service) => {
                    Endpoint::of_kind(ip, PeerKind::Unresolved)
                }
                None => Endpoint::of_kind(ip, PeerKind::Node),
            };
            endpoint.node = Some(Arc::clone(node));
            return endpoint;
        }
        if let Some((service, None)) = service {
            return self.service_endpoint(service, None, ip);
        }
        if let Some(pod) = self.peers.pod(ip, at) {
            return self.pod_endpoint(pod, ip);
        }
        let known = self.sees_addresses();
        let inside = !known || self.nodes.by_pod_ip(ip).is_some() || self.services.in_service_range(ip);
        Endpoint::of_kind(ip, if inside { PeerKind::Unresolved } else { PeerKind::External })
    }

    /// What the source of a connection was at that time: its port says nothing, least of all a node port.
    #[must_use]
    pub fn resolve_client(&self, ip: IpAddr, at: Mono) -> Endpoint {
        self.resolve(ip, 0, Protocol::Other, at)
    }

    /// A pod at one of its addresses. On the host's network it is its node.
    #[must_use]
    pub fn pod_endpoint(&self, pod: &Arc<Pod>, ip: IpAddr) -> Endpoint {
        let node = self.nodes.get(&pod.node).or_else(|| self.nodes.by_ip(ip)).cloned();
        if pod.host_network {
            return Endpoint { node, ..Endpoint::of_kind(ip, PeerKind::Node) };
        }
        Endpoint {
            pod: Some(Arc::clone(pod)),
            namespace: self.namespace(&pod.namespace).cloned(),
            node,
            ..Endpoint::of_kind(ip, PeerKind::Pod)
        }
    }

    /// A Service at one of its addresses.
    #[must_use]
    pub fn service_endpoint(
        &self,
        service: &Arc<Service>,
        port: Option<&ServicePort>,
        ip: IpAddr,
    ) -> Endpoint {
        Endpoint {
            service: Some(Arc::clone(service)),
            service_port: port.cloned(),
            ..Endpoint::of_kind(ip, PeerKind::Service)
        }
    }
}
