//! Which mesh a listener belongs to: by its port, and by the containers of the pod.

use crate::cluster::Pod;

/// A mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mesh {
    /// Istio: sidecar, or ztunnel of the ambient mode inside the pod's namespace.
    Istio,
    /// Linkerd.
    Linkerd,
    /// Kuma.
    Kuma,
    /// Consul.
    Consul,
    /// A local proxy that is none of these.
    Unknown,
}

impl Mesh {
    /// The word of `detail.mesh`.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Istio => "istio",
            Self::Linkerd => "linkerd",
            Self::Kuma => "kuma",
            Self::Consul => "consul",
            Self::Unknown => "unknown",
        }
    }

    /// With its article, in a sentence.
    pub(super) const fn article(self) -> &'static str {
        match self {
            Self::Istio => "the Istio proxy",
            Self::Linkerd => "the Linkerd proxy",
            Self::Kuma => "the Kuma proxy",
            Self::Consul => "the Consul proxy",
            Self::Unknown => "a proxy on the pod's loopback",
        }
    }
}

/// Containers of sidecars.
const CONTAINERS: [(&str, Mesh); 5] = [
    ("istio-proxy", Mesh::Istio),
    ("linkerd-proxy", Mesh::Linkerd),
    ("kuma-sidecar", Mesh::Kuma),
    ("consul-dataplane", Mesh::Consul),
    ("envoy-sidecar", Mesh::Consul),
];

/// The sidecar of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sidecar {
    pub(super) mesh: Mesh,
    /// Its container, if the pod's spec has one.
    pub(super) container: Option<String>,
}

impl Sidecar {
    /// By the pod's containers, else by the port of the listener.
    pub(super) fn of(pod: Option<&Pod>, port: Option<u16>) -> Self {
        let containers = pod.map_or(&[][..], |pod| &pod.containers);
        let found = CONTAINERS.into_iter().find(|(name, _)| containers.iter().any(|c| c.name == *name));
        match (found, port) {
            (Some((name, mesh)), _) => Self { mesh, container: Some(name.to_owned()) },
            // Outbound, inbound and HBONE of Envoy and ztunnel.
            (None, Some(15001 | 15006 | 15008)) => Self { mesh: Mesh::Istio, container: None },
            (None, Some(4140 | 4143)) => Self { mesh: Mesh::Linkerd, container: None },
            (None, _) => Self { mesh: Mesh::Unknown, container: None },
        }
    }

    /// It is one of the known meshes.
    pub(super) fn is_known(&self) -> bool {
        self.mesh != Mesh::Unknown
    }
}
