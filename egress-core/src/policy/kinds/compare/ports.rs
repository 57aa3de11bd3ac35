//! The ports of a rule against the port of the flow.

use super::Comparison;
use super::peers::listed;
use crate::cluster::{PolicyPort, PortMatch};
use crate::policy::kinds::Question;
use crate::protocol::Protocol;
use crate::truth::Truth;
use crate::verdict::PeerKind;

/// How many ports are written out.
const MAX_DESCRIBED: usize = 6;

/// Any of the ports; an empty list is every port of every protocol.
pub(in crate::policy::kinds) fn compare(ports: &[PolicyPort], question: &Question<'_>) -> Comparison {
    if ports.is_empty() {
        return Comparison::new(true, "");
    }
    if !matches!(question.protocol, Protocol::Tcp | Protocol::Udp | Protocol::Sctp) {
        let words = format!("a rule with ports does not speak of {}", question.protocol);
        return Comparison::new(false, words);
    }
    let mut compared: Vec<Comparison> = ports.iter().map(|port| compare_one(port, question)).collect();
    let truth = Truth::any(compared.iter().map(|one| one.truth));
    match (truth, compared.pop()) {
        (Truth::Yes, _) => Comparison::new(true, ""),
        (_, Some(only)) if compared.is_empty() => only,
        (Truth::Unknown, _) => Comparison::new(truth, unknown_port(question)),
        (Truth::No, _) => Comparison::new(truth, format!("{} is none of these", this(question))),
    }
}

pub(in crate::policy::kinds) fn compare_one(rule: &PolicyPort, question: &Question<'_>) -> Comparison {
    let protocol = question.protocol;
    if rule.protocol != protocol {
        return Comparison::new(false, format!("{} is not {}", this(question), rule.protocol));
    }
    let Some(matched) = &rule.port else { return Comparison::new(true, "") };
    let Some(port) = question.port else { return Comparison::new(Truth::Unknown, unknown_port(question)) };
    match matched {
        PortMatch::Number(number) => Comparison::new(port == *number, format!("port {port} is not {number}")),
        PortMatch::Range(low, high) => {
            Comparison::new((*low..=*high).contains(&port), format!("port {port} is outside {low}-{high}"))
        }
        PortMatch::Name(name) => match named(name, protocol, question) {
            Named::Number(number) => Comparison::new(port == number, format!("port {port} is not {number}")),
            Named::Nothing => {
                let destination = question.destination;
                let words = match destination.pod_ref() {
                    Some(pod) => format!("pod {pod} declares no {protocol} port named {name}"),
                    None => format!("only pods have named ports and {} is none", destination.ip),
                };
                Comparison::new(false, words)
            }
            Named::Unknown => Comparison::new(Truth::Unknown, unknown_port(question)),
        },
    }
}

/// What a port's name means at the destination.
enum Named {
    Number(u16),
    Nothing,
    Unknown,
}

fn named(name: &str, protocol: Protocol, question: &Question<'_>) -> Named {
    match &question.destination.pod {
        Some(pod) => pod.named_port(name, protocol).map_or(Named::Nothing, Named::Number),
        None if question.destination.kind == PeerKind::Unresolved => Named::Unknown,
        None => Named::Nothing,
    }
}

fn this(question: &Question<'_>) -> String {
    match question.port {
        Some(port) => format!("{} {port}", question.protocol),
        None => question.protocol.to_string(),
    }
}

fn unknown_port(question: &Question<'_>) -> String {
    match (question.port, question.destination.address()) {
        (None, _) => "the Service has no endpoint, so there is no port to compare".into(),
        (_, Some(ip)) => format!("the pod at {ip}, which gives the port its number, is not known"),
        (_, None) => "the pod that gives the port its number is not known".into(),
    }
}

/// `TCP 443`, `every port`, `TCP 80, UDP 53`.
pub(in crate::policy::kinds) fn describe(ports: &[PolicyPort], question: &Question<'_>) -> String {
    if ports.is_empty() {
        return "every port".into();
    }
    listed(ports.iter().map(|port| describe_one(port, question)), MAX_DESCRIBED)
}

fn describe_one(port: &PolicyPort, question: &Question<'_>) -> String {
    let protocol = port.protocol;
    match &port.port {
        None => format!("every {protocol} port"),
        Some(PortMatch::Name(name)) => match named(name, protocol, question) {
            Named::Number(number) => format!("{protocol} {name} (here {number})"),
            Named::Nothing | Named::Unknown => format!("{protocol} {name}"),
        },
        Some(numbers) => format!("{protocol} {numbers}"),
    }
}
