//! The answer.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::ExplainError;
use super::ends::{self, End};
use crate::cluster::{Service, ServicePort};
use crate::identity::{ClusterIndex, Endpoint};
use crate::policy::{BackendView, Decision, PolicyFlow, PolicyView, SideView, evaluate, fix};
use crate::protocol::Protocol;
use crate::time::Mono;
use crate::verdict::Fix;

/// The question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainRequest {
    /// `[NS/]POD` or an address.
    pub from: String,
    /// `[NS/]POD`, `[NS/]SERVICE`, an address, or a name of `dns`.
    pub to: String,
    /// Destination port; of a Service, the Service's.
    pub port: u16,
    /// Protocol.
    pub protocol: Protocol,
    /// Names of the outside and their addresses.
    #[serde(default)]
    pub dns: Vec<(String, IpAddr)>,
}

/// The answer. Its serde form is a contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// Both sides together.
    pub decision: Decision,
    /// The source's side; `null` where the source is not a pod with an address of its own.
    pub egress: Option<SideView>,
    /// The destination's side; likewise.
    pub ingress: Option<SideView>,
    /// What would admit it, if it is denied.
    pub fix: Option<Fix>,
    /// One by one, where the destination stands for several: a Service's backends, a name's addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backends: Option<Vec<BackendView>>,
    /// What else one must know to read this.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The source in words, for the terminal; empty in an answer that was read back.
    #[serde(skip)]
    pub from: String,
    /// The destination in words, likewise.
    #[serde(skip)]
    pub to: String,
}

/// Answers the question from the cluster as it is known now.
///
/// # Errors
/// If an end of the question names nothing, or several things, or the ends share no address family.
pub fn explain(index: &ClusterIndex, request: &ExplainRequest) -> Result<Explanation, ExplainError> {
    let source = ends::source(index, &request.from)?;
    let target = ends::destination(index, &request.to, &request.dns)?;
    let Some((from_ip, to_ip)) = ends::pair(source.ips(), target.ips()) else {
        return Err(ExplainError::NoCommonFamily { from: source.name(), to: target.name() });
    };
    let from = endpoint(index, &source, from_ip, request);
    let flow_to = |ip| PolicyFlow {
        from: from.clone(),
        to: endpoint(index, &target, ip, request),
        port: request.port,
        protocol: request.protocol,
        names: target.resolved_name().into_iter().collect(),
    };
    let flow = flow_to(to_ip);
    let mut notes = [host_network(&source), host_network(&target)].into_iter().flatten().collect::<Vec<_>>();
    let several: Vec<IpAddr> =
        target.ips().iter().copied().filter(|ip| ip.is_ipv4() == to_ip.is_ipv4()).collect();
    let (view, fix) = match &target {
        End::Name(..) if several.len() > 1 => {
            let flows: Vec<PolicyFlow> = several.into_iter().map(flow_to).collect();
            over_addresses(index, &flows)
        }
        _ => {
            let view = evaluate(index, &flow);
            let fix = fix(index, &flow, &view);
            (view, fix)
        }
    };
    if let Some(service) = &flow.to.service {
        notes.extend(service_notes(service, flow.to.service_port.as_ref(), request, &view));
    }
    if view.undefined_protocol {
        notes.push(format!("NetworkPolicy does not define {}: network plugins differ", request.protocol));
    }
    Ok(Explanation {
        decision: view.decision,
        egress: view.egress,
        ingress: view.ingress,
        fix,
        backends: view.backends,
        notes,
        from: in_words(&source, &from, None),
        to: in_words(&target, &flow.to, Some((request.port, request.protocol))),
    })
}

fn endpoint(index: &ClusterIndex, end: &End, ip: IpAddr, request: &ExplainRequest) -> Endpoint {
    match end {
        End::Ip(_) | End::Name(..) => index.resolve(ip, request.port, request.protocol, Mono(u64::MAX)),
        End::Pod(pod) => index.pod_endpoint(pod, ip),
        End::Service(service) => {
            let mut ports = service.ports.iter();
            let port = ports.find(|port| port.port == request.port && port.protocol == request.protocol);
            index.service_endpoint(service, port, ip)
        }
    }
}

/// A name with several addresses: the client may take any.
fn over_addresses(index: &ClusterIndex, flows: &[PolicyFlow]) -> (PolicyView, Option<Fix>) {
    let judged: Vec<(&PolicyFlow, PolicyView)> =
        flows.iter().map(|flow| (flow, evaluate(index, flow))).collect();
    let fixes: Vec<Fix> = judged.iter().filter_map(|(flow, view)| fix(index, flow, view)).collect();
    let undefined_protocol = judged.iter().any(|(_, view)| view.undefined_protocol);
    let views = judged
        .into_iter()
        .map(|(flow, view)| BackendView {
            ip: flow.to.ip,
            port: flow.port,
            pod: flow.to.pod_ref(),
            ready: true,
            decision: view.decision,
            egress: view.egress,
            ingress: view.ingress,
        })
        .collect();
    let nothing = PolicyView {
        decision: Decision::Undecidable,
        egress: None,
        ingress: None,
        undefined_protocol,
        backends: None,
    };
    let view = PolicyView::over(views).map_or(nothing, |view| PolicyView { undefined_protocol, ..view });
    let manifests: Vec<&str> = fixes.iter().filter_map(|fix| fix.manifest.as_deref()).collect();
    let fix = fixes.first().map(|_| Fix {
        text: fixes.iter().map(|fix| fix.text.as_str()).collect::<Vec<_>>().join("\n"),
        manifest: (!manifests.is_empty()).then(|| manifests.join("---\n")),
    });
    (view, fix)
}

fn host_network(end: &End) -> Option<String> {
    match end {
        End::Pod(pod) if pod.host_network => Some(format!(
            "pod {} is on the host's network: policies see its node, and none of them selects it",
            pod.reference()
        )),
        End::Pod(pod) if pod.finished => Some(format!("pod {} has finished", pod.reference())),
        End::Pod(pod) if pod.ips.is_empty() => {
            Some(format!("pod {} has no address yet: rules by address cannot be decided", pod.reference()))
        }
        _ => None,
    }
}

fn service_notes(
    service: &Service,
    port: Option<&ServicePort>,
    request: &ExplainRequest,
    view: &PolicyView,
) -> Option<String> {
    let name = service.reference();
    if port.is_none() {
        let has: Vec<String> =
            service.ports.iter().map(|port| format!("{} {}", port.protocol, port.port)).collect();
        let has = if has.is_empty() { "none".into() } else { has.join(", ") };
        return Some(format!(
            "Service {name} has no port {} {} (it has {has}): nothing answers there, whatever the policies say",
            request.protocol, request.port
        ));
    }
    let backends = view.backends.as_deref().unwrap_or_default();
    let selector = || match &service.selector {
        Some(selector) => {
            let labels: Vec<String> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("its selector is {}", labels.join(","))
        }
        None => "it has no selector".into(),
    };
    if backends.is_empty() {
        return Some(format!(
            "Service {name} has no endpoints ({}): nothing answers there, whatever the policies say",
            selector()
        ));
    }
    (!backends.iter().any(|backend| backend.ready)).then(|| {
        format!("none of the {} endpoints of Service {name} is ready ({})", backends.len(), selector())
    })
}

/// `default/api-client (10.244.1.5)`, `api.stripe.com (203.0.113.4):443/TCP`.
fn in_words(end: &End, endpoint: &Endpoint, port: Option<(u16, Protocol)>) -> String {
    let known = match end {
        End::Ip(_) => endpoint
            .pod_ref()
            .map(|pod| pod.to_string())
            .or_else(|| endpoint.service.as_ref().map(|service| format!("Service {}", service.reference())))
            .or_else(|| endpoint.node.as_ref().map(|node| format!("node {}", node.name))),
        named => Some(named.name()),
    };
    let suffix = port.map_or_else(String::new, |(port, protocol)| format!(":{port}/{protocol}"));
    match (known, endpoint.address(), port) {
        (Some(name), Some(ip), _) => format!("{name} ({ip}){suffix}"),
        (Some(name), None, _) => format!("{name}{suffix}"),
        (None, _, Some((port, protocol))) => format!("{}/{protocol}", SocketAddr::new(endpoint.ip, port)),
        (None, _, None) => endpoint.ip.to_string(),
    }
}
