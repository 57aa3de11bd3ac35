//! What stands behind a Service's port.

use std::net::IpAddr;
use std::sync::Arc;

use super::{ClusterIndex, Endpoint};
use crate::cluster::{ObjectKind, Pod, PodRef, Service, ServicePort, ServiceTarget};
use crate::protocol::Protocol;
use crate::time::Mono;
use crate::verdict::PeerKind;

/// One address and port that a Service forwards to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceBackend {
    /// Address.
    pub ip: IpAddr,
    /// Port, after translation.
    pub port: u16,
    /// `conditions.ready`
    pub ready: bool,
    /// `conditions.serving`
    pub serving: bool,
    /// The pod, where the EndpointSlice names one.
    pub pod: Option<PodRef>,
    /// Name of its node, if known.
    pub node: Option<String>,
}

impl ServiceBackend {
    /// kube-proxy sends traffic there: to a ready endpoint, or to one that still serves while it terminates.
    #[must_use]
    pub const fn takes_traffic(&self) -> bool {
        self.ready || self.serving
    }
}

impl ClusterIndex {
    /// The backends of a Service's port, of both families, ready or not, by address.
    ///
    /// They come from the EndpointSlices. The control plane keeps at least one for every Service with a selector;
    /// where there is none at all the source left them out, and the pods that the selector selects stand in. Where they
    /// cannot be seen, none is known.
    #[must_use]
    pub fn backends(&self, service: &Service, port: &ServicePort) -> Vec<ServiceBackend> {
        let name = port.name.as_deref().unwrap_or_default();
        let mut slices = self.slices_of(service).peekable();
        let mut backends: Vec<ServiceBackend> = if slices.peek().is_none() {
            if !self.sees(ObjectKind::EndpointSlice) {
                return Vec::new();
            }
            self.selected_backends(service, port)
        } else {
            slices
                .flat_map(|slice| {
                    let found =
                        slice.ports.iter().find(|(n, _, protocol)| n == name && *protocol == port.protocol);
                    let backends = found.map(|(_, number, _)| (number, &slice.backends));
                    backends.into_iter().flat_map(|(number, backends)| {
                        backends.iter().map(|backend| ServiceBackend {
                            ip: backend.ip,
                            port: *number,
                            ready: backend.ready,
                            serving: backend.serving,
                            pod: backend.pod.clone(),
                            node: backend.node.clone(),
                        })
                    })
                })
                .collect()
        };
        backends.sort_by_key(|backend| (backend.ip, backend.port));
        backends.dedup_by_key(|backend| (backend.ip, backend.port));
        backends
    }

    /// A backend as an end of a flow, now. An address that its EndpointSlice calls a pod is never external.
    #[must_use]
    pub fn backend_endpoint(&self, backend: &ServiceBackend, service: Option<&Arc<Service>>) -> Endpoint {
        let named = backend.pod.as_ref().and_then(|pod| self.pod(&pod.namespace, &pod.name));
        let mut endpoint = match named {
            Some(pod) if pod.ips.contains(&backend.ip) => self.pod_endpoint(pod, backend.ip),
            _ => self.resolve(backend.ip, 0, Protocol::Other, Mono(u64::MAX)),
        };
        if backend.pod.is_some() && endpoint.kind == PeerKind::External {
            endpoint.kind = PeerKind::Unresolved;
        }
        endpoint.service = service.cloned();
        endpoint
    }

    /// What the EndpointSlices of a port would hold, by the pods that the selector selects.
    pub(super) fn selected_backends(&self, service: &Service, port: &ServicePort) -> Vec<ServiceBackend> {
        let Some(selector) = service.selector.as_ref().filter(|selector| !selector.is_empty()) else {
            return Vec::new();
        };
        let selects = |pod: &&Arc<Pod>| {
            !pod.finished && selector.iter().all(|(key, value)| pod.labels.get(key) == Some(value))
        };
        let families: Vec<bool> = service.cluster_ips.iter().map(IpAddr::is_ipv4).collect();
        let serves = |ip: &&IpAddr| families.is_empty() || families.contains(&ip.is_ipv4());
        self.pods_in(&service.namespace)
            .filter(selects)
            .filter_map(|pod| {
                let number = match &port.target {
                    ServiceTarget::Number(number) => Some(*number),
                    ServiceTarget::Name(name) => pod.named_port(name, port.protocol),
                };
                Some((pod, number?))
            })
            .flat_map(|(pod, number)| {
                pod.ips.iter().filter(serves).map(move |ip| ServiceBackend {
                    ip: *ip,
                    port: number,
                    ready: pod.ready || service.publish_not_ready,
                    serving: pod.ready || service.publish_not_ready,
                    pod: Some(pod.reference()),
                    node: (!pod.node.is_empty()).then(|| pod.node.clone()),
                })
            })
            .collect()
    }
}

impl Pod {
    /// Number of the container port of this name and protocol; the first one that declares it.
    #[must_use]
    pub fn named_port(&self, name: &str, protocol: Protocol) -> Option<u16> {
        let ports = self.containers.iter().flat_map(|container| &container.ports);
        ports
            .filter(|port| port.protocol == protocol)
            .find(|port| port.name.as_deref() == Some(name))
            .map(|port| port.port)
    }
}
