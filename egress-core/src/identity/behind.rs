//! What stands behind the port of a Service that was dialled, and if nobody does, why.

use std::net::IpAddr;
use std::sync::Arc;

use super::{ClusterIndex, Endpoint, ServiceBackend};
use crate::cluster::{Labels, Pod, PodRef, Service, ServicePort, ServiceTarget};
use crate::protocol::Protocol;
use crate::time::Mono;

/// Pods that are told of one Service.
const PODS: usize = 10;

/// A Service as it was dialled, and who stands behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct Behind {
    /// The Service.
    pub service: Arc<Service>,
    /// The port that was dialled; `None`: it has no such port.
    pub port: Option<ServicePort>,
    /// By which address.
    pub door: Door,
    /// Endpoints that take this traffic.
    pub usable: Vec<ServiceBackend>,
    /// Endpoints that take none, because they are not ready.
    pub unready: Vec<ServiceBackend>,
    /// Why nobody takes this traffic; `None`: somebody does.
    pub lack: Option<Lack>,
    /// The pods that its selector selects, and what each lacks.
    pub selected: Vec<(PodRef, String)>,
    /// It is known from EndpointSlices, not only from what the selector selects.
    pub listed: bool,
    /// When the Service or its EndpointSlices changed last; `None`: not since they are watched.
    pub changed: Option<Mono>,
}

/// By which kind of address a Service was dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Door {
    /// A ClusterIP.
    ClusterIp,
    /// A node's address and the node port; `own`: this node's.
    NodePort {
        /// Name of the node.
        node: String,
        /// It is the node the agent runs on.
        own: bool,
    },
    /// An external address or a load balancer's.
    External,
}

/// Why no endpoint takes the traffic.
#[derive(Clone, Debug, PartialEq)]
pub enum Lack {
    /// The Service has no such port (and none for this protocol).
    NoSuchPort,
    /// It has endpoints, and none of them is ready.
    NotReady,
    /// It has no selector, and nobody made EndpointSlices for it.
    NoSelector,
    /// The selector selects no pod.
    NothingSelected {
        /// A pod that has all labels but one.
        nearly: Option<Nearly>,
        /// A namespace in which it would select a pod.
        elsewhere: Option<String>,
    },
    /// The pods it selects are over, or have no address yet.
    NoneRuns,
    /// `targetPort` is a name that no container port of the selected pods has.
    NoPortOfName {
        /// The name.
        name: String,
        /// Names that their container ports do have.
        has: Vec<String>,
    },
    /// The EndpointSlices hold no port of this name.
    NotInSlices {
        /// Names of the ports they hold.
        has: Vec<String>,
    },
    /// There are endpoints of the other address family only.
    OtherFamily,
    /// The traffic policy is `Local`, and the node that was dialled has no ready endpoint.
    NotLocal {
        /// The field of the Service.
        field: &'static str,
        /// Name of that node.
        node: String,
        /// Nodes that have one.
        elsewhere: Vec<String>,
    },
    /// Ready pods are selected that no EndpointSlice lists.
    NotListed,
}

/// A pod that a selector misses by one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nearly {
    /// The pod.
    pub pod: PodRef,
    /// The label.
    pub key: String,
    /// What the selector wants.
    pub wanted: String,
    /// What the pod has.
    pub has: Option<String>,
}

impl ClusterIndex {
    /// What stands behind the Service that is this end of a flow; `None` if it is none.
    #[must_use]
    pub fn behind(&self, dialled: &Endpoint) -> Option<Behind> {
        let service = dialled.service.as_ref()?;
        let door = self.door(service, dialled);
        let mut behind = Behind {
            port: dialled.service_port.clone(),
            usable: Vec::new(),
            unready: Vec::new(),
            lack: Some(Lack::NoSuchPort),
            selected: Vec::new(),
            listed: self.slices_of(service).next().is_some(),
            changed: self.services.changed(&service.namespace, &service.name),
            service: Arc::clone(service),
            door,
        };
        let Some(port) = &dialled.service_port else { return Some(behind) };
        let of_family = |backend: &ServiceBackend| backend.ip.is_ipv4() == dialled.ip.is_ipv4();
        let (fitting, other): (Vec<_>, Vec<_>) =
            self.backends(service, port).into_iter().partition(of_family);
        let mut fitting = fitting;
        if fitting.is_empty() && !other.is_empty() {
            // Slices of one family only: if the pods have addresses of the other, the source left those out.
            fitting = self.selected_backends(service, port);
            fitting.retain(of_family);
            behind.listed = false;
        }
        let (usable, unready) = fitting.into_iter().partition(ServiceBackend::takes_traffic);
        (behind.usable, behind.unready) = (usable, unready);
        behind.selected = self.selected_in_words(service, port);
        let local = self.local_to(&behind);
        behind.lack = match &local {
            Some((field, node)) if !behind.usable.is_empty() => {
                let here = |backend: &ServiceBackend| backend.node.as_ref() == Some(node);
                let known = behind.usable.iter().all(|backend| backend.node.is_some());
                let any = behind.usable.iter().any(here);
                let mut elsewhere: Vec<String> =
                    behind.usable.iter().filter_map(|backend| backend.node.clone()).collect();
                elsewhere.sort();
                elsewhere.dedup();
                (known && !any).then(|| Lack::NotLocal { field, node: node.clone(), elsewhere })
            }
            _ if !behind.usable.is_empty() => None,
            _ if !behind.unready.is_empty() => Some(Lack::NotReady),
            _ if !other.is_empty() => Some(Lack::OtherFamily),
            _ => Some(self.nobody(service, port)),
        };
        Some(behind)
    }

    fn door(&self, service: &Service, dialled: &Endpoint) -> Door {
        if service.cluster_ips.contains(&dialled.ip) {
            return Door::ClusterIp;
        }
        match &dialled.node {
            Some(node) if !service.external_ips.contains(&dialled.ip) => {
                Door::NodePort { node: node.name.clone(), own: node.name == self.node_name() }
            }
            _ => Door::External,
        }
    }

    /// The traffic policy that keeps this traffic on a node, and which.
    fn local_to(&self, behind: &Behind) -> Option<(&'static str, String)> {
        let service = &behind.service;
        let own = || Some(self.node_name().to_owned()).filter(|name| !name.is_empty());
        match &behind.door {
            Door::ClusterIp if service.internal_local => Some(("internalTrafficPolicy", own()?)),
            Door::NodePort { node, .. } if service.external_local => {
                Some(("externalTrafficPolicy", node.clone()))
            }
            Door::External if service.external_local => Some(("externalTrafficPolicy", own()?)),
            _ => None,
        }
    }

    /// Why a port of a Service has no endpoint at all.
    fn nobody(&self, service: &Service, port: &ServicePort) -> Lack {
        let mut listed: Vec<String> = self
            .slices_of(service)
            .filter(|slice| !slice.backends.is_empty())
            .flat_map(|slice| slice.ports.iter().map(|(name, _, _)| name.clone()))
            .collect();
        listed.sort();
        listed.dedup();
        let Some(selector) = selector_of(service) else {
            return if listed.is_empty() { Lack::NoSelector } else { Lack::NotInSlices { has: listed } };
        };
        let selected: Vec<_> =
            self.pods_in(&service.namespace).filter(|pod| selects(selector, pod)).collect();
        if selected.is_empty() {
            let nearly = self.pods_in(&service.namespace).find_map(|pod| nearly(selector, pod));
            let mut namespaces = self.pods().filter(|pod| selects(selector, pod)).map(|pod| &pod.namespace);
            return Lack::NothingSelected { nearly, elsewhere: namespaces.next().cloned() };
        }
        let running: Vec<_> = selected.iter().filter(|pod| !pod.finished && !pod.ips.is_empty()).collect();
        if running.is_empty() {
            return Lack::NoneRuns;
        }
        if let ServiceTarget::Name(name) = &port.target
            && running.iter().all(|pod| pod.named_port(name, port.protocol).is_none())
        {
            let mut has: Vec<String> =
                running.iter().flat_map(|pod| port_names(pod, port.protocol)).collect();
            has.sort();
            has.dedup();
            return Lack::NoPortOfName { name: name.clone(), has };
        }
        if !listed.is_empty() {
            return Lack::NotInSlices { has: listed };
        }
        let cluster_v4: Vec<bool> = service.cluster_ips.iter().map(IpAddr::is_ipv4).collect();
        if running.iter().all(|pod| pod.ips.iter().all(|ip| !cluster_v4.contains(&ip.is_ipv4()))) {
            return Lack::OtherFamily;
        }
        if running.iter().any(|pod| pod.ready) { Lack::NotListed } else { Lack::NotReady }
    }

    /// The selected pods, and what each of them lacks to be an endpoint.
    fn selected_in_words(&self, service: &Service, port: &ServicePort) -> Vec<(PodRef, String)> {
        let Some(selector) = selector_of(service) else { return Vec::new() };
        self.pods_in(&service.namespace)
            .filter(|pod| selects(selector, pod))
            .take(PODS)
            .map(|pod| (pod.reference(), lacks(pod, port)))
            .collect()
    }
}

fn selector_of(service: &Service) -> Option<&Labels> {
    service.selector.as_ref().filter(|selector| !selector.is_empty())
}

fn selects(selector: &Labels, pod: &Pod) -> bool {
    selector.iter().all(|(key, value)| pod.labels.get(key) == Some(value))
}

/// The one label by which a selector of two or more, or the value of one, misses a pod that could be meant.
fn nearly(selector: &Labels, pod: &Arc<Pod>) -> Option<Nearly> {
    if pod.finished {
        return None;
    }
    let mut missed = selector.iter().filter(|(key, value)| pod.labels.get(key) != Some(value));
    let (key, wanted) = missed.next()?;
    let has = pod.labels.get(key);
    // Of a single label, only a value that looks like a slip of the pen: one holds the other.
    let alone = selector.len() == 1;
    let similar = has.is_some_and(|has| has.contains(wanted) || wanted.contains(has));
    if missed.next().is_some() || (alone && !similar) {
        return None;
    }
    Some(Nearly {
        pod: pod.reference(),
        key: key.to_owned(),
        wanted: wanted.to_owned(),
        has: has.map(str::to_owned),
    })
}

fn port_names(pod: &Pod, protocol: Protocol) -> impl Iterator<Item = String> {
    let ports = pod.containers.iter().flat_map(|container| &container.ports);
    ports.filter(move |port| port.protocol == protocol).filter_map(|port| port.name.clone())
}

fn lacks(pod: &Pod, port: &ServicePort) -> String {
    let why = pod.trouble.as_deref();
    if pod.finished {
        return "has finished".to_owned();
    }
    if pod.ips.is_empty() {
        return why
            .map_or_else(|| "has no address yet".to_owned(), |why| format!("has no address yet: {why}"));
    }
    if !pod.ready {
        return why.map_or_else(|| "not ready".to_owned(), |why| format!("not ready: {why}"));
    }
    match &port.target {
        ServiceTarget::Name(name) if pod.named_port(name, port.protocol).is_none() => {
            format!("ready, but no container port is called \"{name}\"")
        }
        _ => "ready".to_owned(),
    }
}
