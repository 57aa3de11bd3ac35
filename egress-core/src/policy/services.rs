//! A Service as the destination: every backend is judged, and the answers are put together.

use std::net::{IpAddr, Ipv4Addr};

use super::evaluate::evaluate_destination;
use super::model::{BackendView, Decision, PolicyFlow, PolicyView, SideView};
use crate::identity::{ClusterIndex, Endpoint, ServiceBackend};
use crate::verdict::{PeerKind, PolicyFinding, PolicyResult};

/// What policies say to traffic for a Service. Together they say what they say for each ready backend (for each
/// one, where none is ready); where backends differ it depends on the choice, which is not ours to know.
pub(super) fn evaluate(index: &ClusterIndex, flow: &PolicyFlow) -> PolicyView {
    let backends = backends(index, &flow.to);
    let views: Vec<BackendView> = backends
        .iter()
        .map(|backend| {
            let to = index.backend_endpoint(backend, flow.to.service.as_ref());
            let view = evaluate_destination(index, flow, &to, Some(backend.port));
            BackendView {
                ip: backend.ip,
                port: backend.port,
                pod: to.pod_ref().or_else(|| backend.pod.clone()),
                ready: backend.ready,
                decision: view.decision,
                egress: view.egress,
                ingress: view.ingress,
            }
        })
        .collect();
    if let Some(view) = PolicyView::over(views) {
        return view;
    }
    // No backend at all: what can be said is what holds for any address and port.
    let nowhere = Endpoint {
        ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        kind: PeerKind::Unresolved,
        ..Endpoint::external(flow.to.ip)
    };
    let view = evaluate_destination(index, flow, &nowhere, None);
    PolicyView { backends: Some(Vec::new()), ..view }
}

impl PolicyView {
    /// One view of several destinations, any of which may be chosen: of the ready ones, or of all if none is. `None`
    /// if there are none.
    pub(crate) fn over(backends: Vec<BackendView>) -> Option<Self> {
        let any_ready = backends.iter().any(|view| view.ready);
        let chosen: Vec<&BackendView> = backends.iter().filter(|view| view.ready || !any_ready).collect();
        let decision = Decision::agreed(chosen.iter().map(|view| view.decision))?;
        let merged = |side: fn(&BackendView) -> Option<&SideView>| {
            let sides = chosen.iter().filter_map(|view| Some((*view, side(view)?))).collect();
            merge(sides)
        };
        let egress = merged(|view| view.egress.as_ref());
        let ingress = merged(|view| view.ingress.as_ref());
        Some(Self { decision, egress, ingress, undefined_protocol: false, backends: Some(backends) })
    }
}

/// The backends behind the dialled port, of the dialled family.
pub(super) fn backends(index: &ClusterIndex, to: &Endpoint) -> Vec<ServiceBackend> {
    let (Some(service), Some(port)) = (&to.service, &to.service_port) else { return Vec::new() };
    let mut backends = index.backends(service, port);
    if let Some(dialled) = to.address() {
        backends.retain(|backend| backend.ip.is_ipv4() == dialled.is_ipv4());
    }
    backends
}

/// One side over several backends.
fn merge(views: Vec<(&BackendView, &SideView)>) -> Option<SideView> {
    let decision = Decision::agreed(views.iter().map(|(_, side)| side.decision))?;
    let mut policies: Vec<PolicyFinding> = Vec::new();
    for (_, side) in &views {
        for finding in &side.policies {
            if !policies.iter().any(|known| is_same(known, finding)) {
                policies.push(finding.clone());
            }
        }
    }
    for finding in &mut policies {
        let says: Vec<_> = views
            .iter()
            .filter_map(|(backend, side)| {
                Some((backend, side.policies.iter().find(|f| is_same(f, finding))?))
            })
            .collect();
        if says.iter().any(|(_, said)| said.result != finding.result) {
            finding.result = PolicyResult::Undecidable;
            finding.why.truncate(1);
            finding.why.extend(says.iter().map(|(backend, said)| {
                let why = said.why.get(1..).unwrap_or_default().join("; ");
                format!("for backend {}: {}: {why}", socket(backend), said.result)
            }));
        } else if says.len() < views.len() {
            let backends: Vec<String> = says.iter().map(|(backend, _)| socket(backend).to_string()).collect();
            finding.why.push(format!("this concerns only backend {}", backends.join(", ")));
        }
    }
    let isolated = views.iter().any(|(_, side)| side.isolated);
    Some(SideView { isolated, decision, policies })
}

fn is_same(a: &PolicyFinding, b: &PolicyFinding) -> bool {
    a.kind == b.kind && a.namespace == b.namespace && a.name == b.name && a.side == b.side
}

fn socket(backend: &BackendView) -> std::net::SocketAddr {
    std::net::SocketAddr::new(backend.ip, backend.port)
}
