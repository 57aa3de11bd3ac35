//! What is to be read: a request each.

use std::net::IpAddr;

use egress_core::cluster::ObjectKind;

use crate::k8s::api::body::encoded;
use crate::k8s::api::kinds::Resource;

/// A list that is wanted. A namespace of `None` is all of them.
#[derive(Clone, Debug)]
pub(super) enum Want {
    /// The pods of a namespace.
    Pods(Option<String>),
    /// Pods of this name, wherever.
    PodsNamed(String),
    /// The pods that have this address as their first.
    Holders(IpAddr),
    /// Namespaces: one, or all.
    Namespaces(Option<String>),
    /// All nodes.
    Nodes,
    /// The Services of a namespace.
    Services(Option<String>),
    /// Services of this name, wherever.
    ServicesNamed(String),
    /// The EndpointSlices of a Service, by namespace and name, or all.
    Slices(Option<(String, String)>),
    /// The NetworkPolicies of a namespace.
    Policies(Option<String>),
    /// The objects of a custom resource.
    Custom(Resource, Option<String>),
}

impl Want {
    /// The resource, as every server has it where it is no custom one.
    pub(super) fn resource(&self) -> Option<Resource> {
        Resource::built_in(match self {
            Self::Pods(_) | Self::PodsNamed(_) | Self::Holders(_) => ObjectKind::Pod,
            Self::Namespaces(_) => ObjectKind::Namespace,
            Self::Nodes => ObjectKind::Node,
            Self::Services(_) | Self::ServicesNamed(_) => ObjectKind::Service,
            Self::Slices(_) => ObjectKind::EndpointSlice,
            Self::Policies(_) => ObjectKind::NetworkPolicy,
            Self::Custom(resource, _) => return Some(*resource),
        })
    }

    /// The namespace that is listed.
    pub(super) fn namespace(&self) -> Option<&str> {
        match self {
            Self::Pods(namespace)
            | Self::Services(namespace)
            | Self::Policies(namespace)
            | Self::Custom(_, namespace) => namespace.as_deref(),
            Self::Slices(service) => service.as_ref().map(|(namespace, _)| namespace.as_str()),
            Self::PodsNamed(_)
            | Self::Holders(_)
            | Self::Namespaces(_)
            | Self::Nodes
            | Self::ServicesNamed(_) => None,
        }
    }

    /// Which of its objects, as a query says it.
    pub(super) fn selector(&self) -> Option<String> {
        let field = |text: &str| Some(format!("fieldSelector={}", encoded(text)));
        match self {
            Self::PodsNamed(name) | Self::ServicesNamed(name) | Self::Namespaces(Some(name)) => {
                field(&format!("metadata.name={name}"))
            }
            Self::Holders(ip) => field(&format!("status.podIP={ip}")),
            Self::Slices(Some((_, service))) => {
                Some(format!("labelSelector={}", encoded(&format!("kubernetes.io/service-name={service}"))))
            }
            _ => None,
        }
    }
}
