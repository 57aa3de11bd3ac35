//! `ports` and `notPorts` of a rule's end.

use super::Question;
use super::end::End;
use crate::cluster::PortMatch;
use crate::cluster::calico::Entity;
use crate::policy::kinds::compare::{Comparison, listed};
use crate::protocol::Protocol;
use crate::truth::Truth;
use crate::verdict::PeerKind;

/// How many ports are written out.
const MAX_DESCRIBED: usize = 6;

/// Both lists against the port of this end.
pub(super) fn compare(entity: &Entity, end: &End<'_>, question: &Question<'_>) -> Comparison {
    let Entity { ports, not_ports, .. } = entity;
    if ports.is_empty() && not_ports.is_empty() {
        return Comparison::new(true, "");
    }
    let (Protocol::Tcp | Protocol::Udp | Protocol::Sctp) = question.protocol else {
        return Comparison::new(false, format!("a rule with ports does not speak of {}", question.protocol));
    };
    let any = |ports: &[PortMatch]| Truth::any(ports.iter().map(|one| matches(one, end, question)));
    let (on, off) = (any(ports), any(not_ports));
    let this = match question.port {
        Some(port) if end.dialled => format!("port {port}"),
        _ => "the port".into(),
    };
    if !ports.is_empty() && on == Truth::No {
        return Comparison::new(false, refusal(ports, &this, end, question));
    }
    if off == Truth::Yes {
        return Comparison::new(false, format!("{this} is excepted"));
    }
    if (!ports.is_empty() && on == Truth::Unknown) || off == Truth::Unknown {
        return Comparison::new(Truth::Unknown, unknown(end, question));
    }
    Comparison::new(true, "")
}

fn matches(one: &PortMatch, end: &End<'_>, question: &Question<'_>) -> Truth {
    let every = matches!(one, PortMatch::Range(0 | 1, u16::MAX));
    let Some(port) = question.port.filter(|_| end.dialled) else {
        // The client's own port is any.
        return if every { Truth::Yes } else { Truth::Unknown };
    };
    match one {
        PortMatch::Number(number) => (port == *number).into(),
        PortMatch::Range(low, high) => (*low..=*high).contains(&port).into(),
        PortMatch::Name(name) => match end.pod {
            Some(pod) => (pod.named_port(name, question.protocol) == Some(port)).into(),
            None if end.kind == PeerKind::Unresolved => Truth::Unknown,
            None => Truth::No,
        },
    }
}

fn refusal(ports: &[PortMatch], this: &str, end: &End<'_>, question: &Question<'_>) -> String {
    match (ports, end.pod) {
        ([PortMatch::Number(number)], _) => format!("{this} is not {number}"),
        ([PortMatch::Range(low, high)], _) => format!("{this} is outside {low}-{high}"),
        ([PortMatch::Name(name)], Some(pod)) => match pod.named_port(name, question.protocol) {
            Some(number) => format!("{this} is not {number}"),
            None => format!("pod {} declares no {} port named {name}", pod.reference(), question.protocol),
        },
        ([PortMatch::Name(_)], None) => {
            format!("only pods have named ports and {} is none", super::entity::name(end))
        }
        _ => format!("{this} is none of these"),
    }
}

fn unknown(end: &End<'_>, question: &Question<'_>) -> String {
    match (end.dialled, question.port) {
        (false, _) => "the client's own port is not known".into(),
        (true, None) => "the Service has no endpoint, so there is no port to compare".into(),
        (true, Some(_)) => "the pod that gives the port its number is not known".into(),
    }
}

/// ` 443, 8000-8080`, or nothing.
pub(super) fn describe(entity: &Entity, end: &End<'_>, question: &Question<'_>) -> String {
    let word = |port: &PortMatch| match port {
        PortMatch::Name(name) => match end.pod.and_then(|pod| pod.named_port(name, question.protocol)) {
            Some(number) => format!("{name} (here {number})"),
            None => name.clone(),
        },
        numbers => numbers.to_string(),
    };
    let mut words = String::new();
    if !entity.ports.is_empty() {
        words.push_str(&format!(" {}", listed(entity.ports.iter().map(word), MAX_DESCRIBED)));
    }
    if !entity.not_ports.is_empty() {
        words.push_str(&format!(" except {}", listed(entity.not_ports.iter().map(word), MAX_DESCRIBED)));
    }
    words
}
