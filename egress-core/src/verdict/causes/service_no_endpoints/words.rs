//! The words of `service-no-endpoints`.

use super::sight::Sight;
use crate::cluster::{Labels, PodRef};
use crate::decode::Tap;
use crate::flow::Outcome;
use crate::identity::{Behind, Door, Lack, Nearly};
use crate::protocol::Protocol;
use crate::verdict::case::Case;
use crate::verdict::causes::place;

/// The word of the contract.
pub(super) const fn kind(lack: Option<&Lack>) -> &'static str {
    match lack {
        None => "not-programmed",
        Some(Lack::NoSuchPort) => "no-such-port",
        Some(Lack::NotReady) => "not-ready",
        Some(_) => "no-endpoints",
    }
}

/// `app=web,tier=front`
pub(super) fn labels(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(",")
}

/// Nobody takes the traffic.
pub(super) fn lacking(case: &Case<'_>, behind: &Behind, lack: &Lack, sight: &Sight<'_>) -> String {
    format!(
        "Service {} {}: {}; {}.",
        name(case, behind),
        what(lack),
        why(case, behind, lack),
        seen(case, behind, sight)
    )
}

/// Somebody would take it.
pub(super) fn not_programmed(case: &Case<'_>, behind: &Behind, sight: &Sight<'_>) -> String {
    format!(
        "Service {} has {} ({}), but the node did not forward to any: {}.",
        name(case, behind),
        many(behind.usable.len(), "ready endpoint"),
        backends(behind),
        seen(case, behind, sight)
    )
}

/// Where it broke, for the path.
pub(super) fn place(case: &Case<'_>, behind: &Behind, sight: &Sight<'_>) -> String {
    let service = behind.service.reference();
    match sight {
        Sight::Left(left) => {
            let device = case.node.device_name(left.ifindex).unwrap_or_else(|| "the uplink".to_owned());
            format!("left by {device} without translation, Service {service}")
        }
        _ => format!("Service {service} without endpoints"),
    }
}

/// What to do.
pub(super) fn fix(case: &Case<'_>, behind: &Behind) -> String {
    let PodRef { namespace, name } = behind.service.reference();
    let slices = format!("kubectl get endpointslices -n {namespace} -l kubernetes.io/service-name={name}");
    let Some(lack) = &behind.lack else {
        return format!(
            "The endpoints are there ({slices}), so look at kube-proxy (or the CNI that replaces it) on node {}: is \
             it running, and does it sync? kubectl get pods -n kube-system -l k8s-app=kube-proxy -o wide",
            case.pod.node.as_ref().map_or("of the pod", |node| node.name.as_str())
        );
    };
    match lack {
        Lack::NoSuchPort if case.protocol() == Protocol::Icmp => {
            format!(
                "Test the Service with a connection to one of its ports ({}), not with ping.",
                ports(behind)
            )
        }
        Lack::NoSuchPort => format!(
            "Dial a port that it has ({}), or add port {} to the Service: kubectl edit service -n {namespace} {name}",
            ports(behind),
            dialled(case)
        ),
        Lack::NotReady => format!(
            "Make the pods ready: kubectl describe pod -n {namespace} {}; then {slices}",
            first_pod(behind).unwrap_or_else(|| format!("-l {}", selector(behind)))
        ),
        Lack::NoneRuns => format!(
            "Get its pods running: kubectl get pods -n {namespace} -l {}; then {slices}",
            selector(behind)
        ),
        Lack::NoSelector => format!(
            "Give the Service a selector, or make EndpointSlices with the label kubernetes.io/service-name={name}; \
             check with {slices}"
        ),
        Lack::NothingSelected { nearly: Some(near), .. } => format!(
            "Make {} the same in the Service's selector ({}) and in the pods' labels ({}): kubectl edit service -n \
             {namespace} {name}; then {slices}",
            near.key,
            near.wanted,
            near.has.as_deref().unwrap_or("not set")
        ),
        Lack::NothingSelected { .. } => format!(
            "Fix the selector {} (kubectl get pods -n {namespace} --show-labels), or start the pods that it should \
             select; then {slices}",
            selector(behind)
        ),
        Lack::NoPortOfName { name: port, .. } => format!(
            "Make targetPort of the Service and the name of the container port the same (\"{port}\" now): kubectl \
             edit service -n {namespace} {name}; then {slices}"
        ),
        Lack::NotInSlices { .. } => {
            format!(
                "Give the port the same name in the Service and in its EndpointSlices; see {slices} -o yaml"
            )
        }
        Lack::OtherFamily => format!(
            "Dial the Service by its other address family, or give the pods addresses of this one; see {slices}"
        ),
        Lack::NotLocal { field, node, .. } => format!(
            "Run a pod of the Service on node {node}, or set {field} to Cluster: kubectl edit service -n {namespace} \
             {name}"
        ),
        Lack::NotListed => format!("Look at kube-controller-manager: it makes the EndpointSlices; {slices}"),
    }
}

fn what(lack: &Lack) -> &'static str {
    match lack {
        Lack::NoSuchPort => "does not take this",
        Lack::NotReady => "has no ready endpoint",
        Lack::NotLocal { .. } => "has no endpoint on the node that was dialled",
        _ => "has no endpoints",
    }
}

fn why(case: &Case<'_>, behind: &Behind, lack: &Lack) -> String {
    let namespace = &behind.service.namespace;
    match lack {
        Lack::NoSuchPort if case.protocol() == Protocol::Icmp => {
            format!("a ClusterIP forwards only its ports ({}), it does not answer ping", ports(behind))
        }
        Lack::NoSuchPort => format!("it has no port {} (it has {})", dialled(case), ports(behind)),
        Lack::NotReady if behind.selected.is_empty() => {
            format!("{} listed, none ready", many(behind.unready.len(), "endpoint"))
        }
        Lack::NotReady => format!("its selector {} selects {}", selector(behind), selected(behind)),
        Lack::NoneRuns => format!("its selector {} selects {}", selector(behind), selected(behind)),
        Lack::NoSelector => "it has no selector, and no EndpointSlice belongs to it".to_owned(),
        Lack::NothingSelected { nearly, elsewhere } => {
            let hint = match (nearly, elsewhere) {
                (Some(near), _) => format!(", {}", nearly_words(near)),
                (None, Some(other)) => format!(", though it would in namespace {other}"),
                (None, None) => String::new(),
            };
            format!("its selector {} selects no pod of namespace {namespace}{hint}", selector(behind))
        }
        Lack::NoPortOfName { name, has } => {
            let has = if has.is_empty() {
                "none has a name".to_owned()
            } else {
                format!("there is {}", quoted(has))
            };
            format!(
                "its targetPort is \"{name}\", and no container port of the pods it selects is called so ({has})"
            )
        }
        Lack::NotInSlices { has } => {
            let port = behind.port.as_ref().and_then(|port| port.name.clone()).unwrap_or_default();
            format!("its EndpointSlices hold no port named \"{port}\" (they hold {})", quoted(has))
        }
        Lack::OtherFamily => "all of its endpoints are of the other address family".to_owned(),
        Lack::NotLocal { field, node, elsewhere } => {
            format!(
                "{field} is Local, and its ready endpoints are on {}, not on {node}",
                elsewhere.join(", ")
            )
        }
        Lack::NotListed => format!(
            "its selector {} selects {}, but no EndpointSlice lists them",
            selector(behind),
            selected(behind)
        ),
    }
}

fn nearly_words(near: &Nearly) -> String {
    let Nearly { pod, key, wanted, has } = near;
    let has = match has {
        Some(has) => format!("{key}={has}"),
        None => format!("no label {key}"),
    };
    format!("but pod {pod} has all of it except that it has {has} where the selector wants {key}={wanted}")
}

fn seen(case: &Case<'_>, behind: &Behind, sight: &Sight<'_>) -> String {
    let packet = case.packet_word();
    match sight {
        Sight::Dropped(drop) => format!("the node refused the {packet} at {}", place::words(case, drop)),
        Sight::Unroutable(_) => {
            format!("the {packet} was not translated, and the node has no way to the Service's own address")
        }
        Sight::Told => format!("the node answered the {packet} with an ICMP error"),
        Sight::Refused => format!("the node answered the {packet} with a reset"),
        Sight::Left(left) => {
            let device = case.node.device_name(left.ifindex).unwrap_or_else(|| "the uplink".to_owned());
            let what = match &behind.door {
                Door::NodePort { own: false, node } => {
                    format!("the {packet} went to node {node} by {device}")
                }
                Door::External => format!("the {packet} left by {device}"),
                _ => format!("the {packet} left by {device} with the Service's address untranslated"),
            };
            let answer = match &case.event.outcome {
                Outcome::Refused { .. } => "was refused there",
                Outcome::Unreachable { .. } => "came back unreachable",
                _ if case.event.journey.answer(Tap::UplinkIn).is_some() => "the answer did not reach the pod",
                _ => "nothing came back",
            };
            format!("{what} and {answer}")
        }
        Sight::Vanished => format!("the {packet} left the pod and was seen nowhere after"),
    }
}

/// `default/web (10.96.0.20:80/TCP)`
fn name(case: &Case<'_>, behind: &Behind) -> String {
    format!("{} ({})", behind.service.reference(), case.target())
}

fn dialled(case: &Case<'_>) -> String {
    format!("{}/{}", case.event.client.destination.port, case.protocol())
}

fn ports(behind: &Behind) -> String {
    let ports: Vec<String> =
        behind.service.ports.iter().map(|port| format!("{}/{}", port.port, port.protocol)).collect();
    if ports.is_empty() { "no port".to_owned() } else { ports.join(", ") }
}

fn selector(behind: &Behind) -> String {
    behind.service.selector.as_ref().map(labels).unwrap_or_default()
}

fn selected(behind: &Behind) -> String {
    let pods: Vec<String> =
        behind.selected.iter().map(|(pod, why)| format!("pod {} ({why})", pod.name)).collect();
    pods.join(", ")
}

fn first_pod(behind: &Behind) -> Option<String> {
    behind.selected.iter().find(|(_, why)| why.starts_with("not ready")).map(|(pod, _)| pod.name.clone())
}

fn backends(behind: &Behind) -> String {
    let mut text: Vec<String> = behind
        .usable
        .iter()
        .take(3)
        .map(|backend| std::net::SocketAddr::new(backend.ip, backend.port).to_string())
        .collect();
    if behind.usable.len() > text.len() {
        text.push("…".to_owned());
    }
    text.join(", ")
}

fn many(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn quoted(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    names.join(", ")
}
