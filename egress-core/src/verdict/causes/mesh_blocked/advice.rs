//! What to do about a sidecar that refuses.

use super::sidecar::{Mesh, Sidecar};
use crate::flow::{DivertedEnd, DivertedFailure};
use crate::verdict::case::Case;
use crate::verdict::{Fix, PeerKind};

/// Ports whose traffic begins with a TLS handshake, by custom.
const TLS: [u16; 8] = [443, 636, 853, 993, 995, 5671, 6443, 8443];
/// Ports of plain HTTP, by custom.
const HTTP: [u16; 4] = [80, 8000, 8080, 8888];

pub(super) fn fix(case: &Case<'_>, failure: &DivertedFailure, sidecar: &Sidecar) -> Fix {
    if failure.end == DivertedEnd::Refused {
        return Fix { text: not_listening(case, failure, sidecar), manifest: None };
    }
    let outside = case.peer.kind == PeerKind::External;
    match (sidecar.mesh, outside) {
        (Mesh::Istio, true) => service_entry(case),
        (Mesh::Istio, false) => Fix { text: istio_inside(case), manifest: None },
        (Mesh::Linkerd, true) => Fix {
            text: format!(
                "If the mesh forbids traffic to outside (kubectl get egressnetworks -A shows trafficPolicy: Deny), add a \
                 TLSRoute, HTTPRoute or TCPRoute for {} to that EgressNetwork, or exempt the port with the pod \
                 annotation config.linkerd.io/skip-outbound-ports: \"{}\". kubectl logs {} -c linkerd-proxy says why \
                 it closed.",
                name(case),
                case.event.client.destination.port,
                pod(case)
            ),
            manifest: None,
        },
        (Mesh::Linkerd, false) => Fix {
            text: format!(
                "Look at linkerd diagnostics endpoints for {}, and at the Server and AuthorizationPolicy of its port (linkerd \
                 viz authz): the proxy finds no endpoint, or may not talk to it. kubectl logs {} -c linkerd-proxy says \
                 why it closed.",
                case.address(),
                pod(case)
            ),
            manifest: None,
        },
        _ => Fix {
            text: format!(
                "Look at the log and the configuration of the proxy inside the pod ({}): it took the connection \
                 and ended it.",
                sidecar.container.as_deref().unwrap_or("who listens there shows ss -ltnp in the pod")
            ),
            manifest: None,
        },
    }
}

/// The destination's sidecar refuses.
pub(super) fn inbound(case: &Case<'_>, sidecar: &Sidecar, pod_word: &str) -> String {
    let port = case.translation.destination.unwrap_or(case.event.client.destination).port;
    match sidecar.mesh {
        Mesh::Linkerd => format!(
            "Bring this pod into the mesh (annotation linkerd.io/inject: enabled), or admit unauthenticated clients to port \
             {port} of {pod_word} by a Server and an AuthorizationPolicy."
        ),
        _ => format!(
            "If a PeerAuthentication demands mutual TLS there (mode STRICT: kubectl get peerauthentication -A), bring this pod \
             into the mesh (label sidecar.istio.io/inject: \"true\"), or set portLevelMtls {port}: mode: PERMISSIVE for \
             {pod_word}; else look at the AuthorizationPolicies that select it."
        ),
    }
}

fn not_listening(case: &Case<'_>, failure: &DivertedFailure, sidecar: &Sidecar) -> String {
    let port = failure
        .listener
        .map_or_else(String::new, |at| format!(" on {}", std::net::SocketAddr::new(at.ip, at.port)));
    let start = match sidecar.mesh {
        Mesh::Istio => {
            "start it before the application (native sidecars, or annotation proxy.istio.io/config: \
             '{ \"holdApplicationUntilProxyStarts\": true }')"
        }
        Mesh::Linkerd => {
            "start it before the application (config.linkerd.io/proxy-await: enabled, or native sidecars)"
        }
        _ => "start it before the application",
    };
    let log = match &sidecar.container {
        Some(container) => format!("kubectl logs {} -c {container} says whether it runs", pod(case)),
        None => {
            "the pod's spec has no such container: was the rule left behind, or the sidecar not injected?"
                .to_owned()
        }
    };
    format!("The pod's own rules send everything to a proxy{port} that is not there: {start}; {log}.")
}

fn istio_inside(case: &Case<'_>) -> String {
    format!(
        "The sidecar has no working route to {}: istioctl proxy-config clusters {} shows whether it knows the destination. \
         Check Sidecar resources (egress.hosts), exportTo of its Service and VirtualServices, and AuthorizationPolicies \
         of the destination; istioctl x describe pod {} names those that apply.",
        case.target(),
        pod(case),
        pod(case)
    )
}

/// The mesh does not know the destination: `outboundTrafficPolicy: REGISTRY_ONLY` sends it to `BlackHoleCluster`.
fn service_entry(case: &Case<'_>) -> Fix {
    let to = case.event.client.destination;
    let (protocol, word) = match to.port {
        port if TLS.contains(&port) => ("TLS", "tls"),
        port if HTTP.contains(&port) => ("HTTP", "http"),
        _ => ("TCP", "tcp"),
    };
    let namespace = case.pod.pod.as_ref().map_or("default", |pod| pod.namespace.as_str());
    let (host, object, addresses, resolution) = match &case.name {
        Some(name) => {
            let host = name.trim_end_matches('.').to_ascii_lowercase();
            let object = host.replace('.', "-");
            // By name alone, plain TCP of several hosts could not be told apart.
            let addresses =
                if protocol == "TCP" { format!("  addresses: [\"{}\"]\n", to.ip) } else { String::new() };
            (host, object, addresses, "DNS")
        }
        None => {
            let dashed = to.ip.to_string().replace(['.', ':'], "-");
            let object = format!("external-{}", dashed.trim_matches('-'));
            (format!("{object}.invalid"), object, format!("  addresses: [\"{}\"]\n", to.ip), "NONE")
        }
    };
    // Without a name there is no SNI or Host header to match.
    let (protocol, word) = if case.name.is_none() { ("TCP", "tcp") } else { (protocol, word) };
    let manifest = format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata:\n  name: {object}-{port}\n  namespace: \
         {namespace}\nspec:\n  hosts: [\"{host}\"]\n{addresses}  location: MESH_EXTERNAL\n  ports:\n  - number: {port}\n    \
         name: {word}\n    protocol: {protocol}\n  resolution: {resolution}\n",
        port = to.port
    );
    Fix {
        text: format!(
            "The mesh lets out only what it knows (outboundTrafficPolicy REGISTRY_ONLY does this): add a ServiceEntry for \
             {}, port {}, protocol {protocol}. istioctl proxy-config listeners {} --port {} shows where the sidecar \
             sends it now (BlackHoleCluster).",
            name(case),
            to.port,
            pod(case),
            to.port
        ),
        manifest: Some(manifest),
    }
}

fn name(case: &Case<'_>) -> String {
    case.name.clone().unwrap_or_else(|| case.event.client.destination.ip.to_string())
}

fn pod(case: &Case<'_>) -> String {
    case.pod.pod.as_ref().map_or_else(String::new, |pod| format!("-n {} {}", pod.namespace, pod.name))
}
