//! The answer.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ends::{self, End};
use super::notes::{host_network, service_notes};
use super::range::{self, PartView};
use super::{ExplainError, workload};
use crate::cluster::Pod;
use crate::identity::{ClusterIndex, Endpoint};
use crate::policy::{BackendView, Decision, PolicyFlow, PolicyView, SideView, evaluate, fix};
use crate::protocol::Protocol;
use crate::time::Mono;
use crate::verdict::Fix;

/// The question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainRequest {
    /// `[NS/]POD`, `TYPE/[NS/]NAME`, an address or a range of them.
    pub from: String,
    /// `[NS/]POD`, `[NS/]SERVICE`, `TYPE/[NS/]NAME`, an address, a range of them, or a name of `dns`.
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
    /// Where an end is a range of addresses: its parts, and what each of them gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<Vec<PartView>>,
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
    match (&source, &target) {
        (End::Range(from), End::Range(to)) => {
            Err(ExplainError::TwoRanges { from: from.to_string(), to: to.to_string() })
        }
        (End::Range(_), _) | (_, End::Range(_)) => range::explain(index, request, &source, &target),
        (End::Workload(name, pods), _) => {
            workload::explain(name, pods, |pod| between(index, request, &End::Pod(pod), &target))
        }
        _ => between(index, request, &source, &target),
    }
}

/// The answer for one source.
fn between(
    index: &ClusterIndex,
    request: &ExplainRequest,
    source: &End,
    target: &End,
) -> Result<Explanation, ExplainError> {
    let Some((from_ip, to_ip)) = ends::pair(source.ips(), target.ips()) else {
        return Err(ExplainError::NoCommonFamily { from: source.name(), to: target.name() });
    };
    let from = endpoint(index, source, from_ip, request);
    let flow_to = |to| PolicyFlow {
        from: from.clone(),
        to,
        port: request.port,
        protocol: request.protocol,
        names: target.resolved_names(&request.dns),
    };
    let flow = flow_to(endpoint(index, target, to_ip, request));
    let mut notes = [host_network(source), host_network(target)].into_iter().flatten().collect::<Vec<_>>();
    let same_family = |ip: &IpAddr| ip.is_ipv4() == to_ip.is_ipv4();
    let several: Vec<Endpoint> = match target {
        End::Name(_, ips) => {
            let ips = ips.iter().copied().filter(same_family);
            ips.map(|ip| endpoint(index, target, ip, request)).collect()
        }
        End::Workload(_, pods) => {
            let at =
                |pod: &Arc<Pod>| Some(index.pod_endpoint(pod, *pod.ips.iter().find(|ip| same_family(ip))?));
            pods.iter().filter_map(at).collect()
        }
        _ => Vec::new(),
    };
    let (view, fix) = if several.len() > 1 {
        let flows: Vec<PolicyFlow> = several.into_iter().map(flow_to).collect();
        over_addresses(index, &flows)
    } else {
        let view = evaluate(index, &flow);
        let fix = fix(index, &flow, &view);
        (view, fix)
    };
    if let Some(service) = &flow.to.service {
        notes.extend(service_notes(index, service, flow.to.service_port.as_ref(), request, &view));
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
        parts: None,
        notes,
        from: in_words(source, &from, None),
        to: in_words(target, &flow.to, Some((request.port, request.protocol))),
    })
}

/// An end at one of its addresses.
pub(super) fn endpoint(index: &ClusterIndex, end: &End, ip: IpAddr, request: &ExplainRequest) -> Endpoint {
    match end {
        End::Ip(_) | End::Name(..) | End::Range(_) => {
            index.resolve(ip, request.port, request.protocol, Mono(u64::MAX))
        }
        End::Pod(pod) => index.pod_endpoint(pod, ip),
        End::Workload(_, pods) => match pods.first() {
            Some(pod) => index.pod_endpoint(pod, ip),
            None => Endpoint::external(ip),
        },
        End::Service(service) => {
            let mut ports = service.ports.iter();
            let port = ports.find(|port| port.port == request.port && port.protocol == request.protocol);
            index.service_endpoint(service, port, ip)
        }
    }
}

/// A name with several addresses, or a workload with several pods: the client may take any.
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
    let manifests = once(fixes.iter().filter_map(|fix| fix.manifest.as_deref()));
    let texts = once(fixes.iter().map(|fix| fix.text.as_str()));
    let fix = fixes.first().map(|_| Fix {
        text: texts.join("\n"),
        manifest: (!manifests.is_empty()).then(|| manifests.join("---\n")),
    });
    (view, fix)
}

/// Each of them once: a rule by name is the same for all addresses of the name.
fn once<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut all = Vec::new();
    for text in texts {
        if !all.contains(&text) {
            all.push(text);
        }
    }
    all
}

/// `default/api-client (10.244.1.5)`, `10.0.0.0/8 port 443/TCP`, `api.stripe.com (203.0.113.4):443/TCP`.
pub(super) fn in_words(end: &End, endpoint: &Endpoint, port: Option<(u16, Protocol)>) -> String {
    let known = match end {
        End::Ip(_) => endpoint
            .pod_ref()
            .map(|pod| pod.to_string())
            .or_else(|| endpoint.service.as_ref().map(|service| format!("Service {}", service.reference())))
            .or_else(|| endpoint.node.as_ref().map(|node| format!("node {}", node.name))),
        named => Some(named.name()),
    };
    let suffix = port.map_or_else(String::new, |(port, protocol)| format!(":{port}/{protocol}"));
    if let (End::Range(range), Some((port, protocol))) = (end, port) {
        return format!("{range} port {port}/{protocol}");
    }
    match (known, endpoint.address(), port) {
        (Some(name), Some(ip), _) if !matches!(end, End::Range(_)) => format!("{name} ({ip}){suffix}"),
        (Some(name), _, _) => format!("{name}{suffix}"),
        (None, _, Some((port, protocol))) => format!("{}/{protocol}", SocketAddr::new(endpoint.ip, port)),
        (None, _, None) => endpoint.ip.to_string(),
    }
}
