//! What one must know besides the decision.

use super::ExplainRequest;
use super::ends::End;
use crate::cluster::{ObjectKind, Service, ServicePort};
use crate::identity::ClusterIndex;
use crate::policy::PolicyView;

/// What is special about an end.
pub(super) fn host_network(end: &End) -> Option<String> {
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

/// What is amiss with a Service that is dialled, whatever the policies say.
pub(super) fn service_notes(
    index: &ClusterIndex,
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
    if backends.is_empty() && !index.sees(ObjectKind::EndpointSlice) {
        return Some(format!("which endpoints Service {name} has is not known"));
    }
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
