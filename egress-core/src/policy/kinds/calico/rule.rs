//! One rule against the traffic.

use super::end::{End, Ends};
use super::{Question, entity, ports};
use crate::cluster::calico::{Action, CalicoPolicy, Icmp, Rule};
use crate::policy::kinds::compare::Comparison;
use crate::policy::outcomes::Outcomes;
use crate::protocol::Protocol;
use crate::truth::Truth;
use crate::verdict::Side;

const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// What becomes of traffic that the rule matches; `None`: the next rule is asked.
pub(super) const fn outcome(rule: &Rule) -> Option<Outcomes> {
    match rule.action {
        Action::Allow => Some(Outcomes::ACCEPT),
        Action::Deny => Some(Outcomes::DENY),
        Action::Pass => Some(Outcomes::PASS),
        Action::Log => None,
    }
}

/// Everything that the rule says, and the values compared.
pub(super) fn compare(
    policy: &CalicoPolicy,
    number: usize,
    rule: &Rule,
    ends: &Ends<'_>,
    question: &Question<'_>,
) -> Comparison {
    let Ends { source, destination } = ends;
    let from = entity::compare(&rule.source, policy, source, question);
    let to = entity::compare(&rule.destination, policy, destination, question);
    let (peer, own) = match question.side {
        Side::Egress => (to, from),
        Side::Ingress => (from, to),
    };
    let parts = [
        protocol(rule, question),
        version(rule, destination, source),
        peer,
        own,
        icmp(rule, question),
        unknown(rule),
    ];
    let compared = Comparison::all(&parts.iter().collect::<Vec<_>>());
    let mut compared = compared.after(describe(policy, number, rule, question, source, destination));
    if rule.http && compared.truth != Truth::No {
        compared.words.push_str("; its http rules may still refuse the request");
    }
    compared
}

/// `egress rule 2 admits TCP 443 to 10.0.0.0/8`
fn describe(
    policy: &CalicoPolicy,
    number: usize,
    rule: &Rule,
    question: &Question<'_>,
    source: &End<'_>,
    destination: &End<'_>,
) -> String {
    let what = match (rule.protocol, rule.not_protocol) {
        (Some(protocol), _) => called(protocol),
        (None, Some(other)) => format!("everything but {}", called(other)),
        (None, None) => "everything".into(),
    };
    let ports = ports::describe(&rule.destination, destination, question);
    let from = entity::describe(&rule.source, policy);
    let from_ports = ports::describe(&rule.source, source, question);
    let from_ports = if from_ports.is_empty() { String::new() } else { format!(" from port{from_ports}") };
    let to = entity::describe(&rule.destination, policy);
    let ends = match question.side {
        Side::Egress if rule.source.is_anyone() => format!("to {to}"),
        Side::Egress => format!("to {to} from {from}"),
        Side::Ingress if to == "anyone" => format!("from {from}"),
        Side::Ingress => format!("from {from} to {to}"),
    };
    let side = question.side;
    let verb = rule.action.verb();
    format!("{side} rule {} {verb} {what}{ports}{from_ports} {ends}", number + 1)
}

fn called(protocol: u8) -> String {
    match protocol {
        TCP => "TCP".into(),
        UDP => "UDP".into(),
        SCTP => "SCTP".into(),
        ICMP => "ICMP".into(),
        ICMPV6 => "ICMPv6".into(),
        other => format!("protocol {other}"),
    }
}

/// The flow's protocols: which one of ICMP depends on the family.
fn is(protocol: u8, question: &Question<'_>) -> Truth {
    let v4 = question.peer.address().or_else(|| question.destination.address()).map(|ip| ip.is_ipv4());
    match (question.protocol, protocol) {
        (Protocol::Tcp, TCP) | (Protocol::Udp, UDP) | (Protocol::Sctp, SCTP) => Truth::Yes,
        (Protocol::Icmp, ICMP) => v4.map_or(Truth::Unknown, Truth::from),
        (Protocol::Icmp, ICMPV6) => v4.map_or(Truth::Unknown, |v4| Truth::from(!v4)),
        (Protocol::Other, TCP | UDP | SCTP | ICMP | ICMPV6) => Truth::No,
        (Protocol::Other, _) => Truth::Unknown,
        _ => Truth::No,
    }
}

fn protocol(rule: &Rule, question: &Question<'_>) -> Comparison {
    let this = match question.port {
        Some(port) if question.protocol != Protocol::Icmp => format!("{} {port}", question.protocol),
        _ => question.protocol.to_string(),
    };
    let wanted = rule.protocol.map_or(Truth::Yes, |protocol| is(protocol, question));
    let refused = rule.not_protocol.map_or(Truth::No, |protocol| is(protocol, question));
    if let (Truth::No, Some(protocol)) = (wanted, rule.protocol) {
        return Comparison::new(false, format!("{this} is not {}", called(protocol)));
    }
    if refused == Truth::Yes {
        return Comparison::new(false, format!("{this} is excepted"));
    }
    if wanted == Truth::Unknown || refused == Truth::Unknown {
        return Comparison::new(Truth::Unknown, "the protocol of this traffic is not known");
    }
    Comparison::new(true, "")
}

fn version(rule: &Rule, destination: &End<'_>, source: &End<'_>) -> Comparison {
    let Some(version) = rule.ip_version else { return Comparison::new(true, "") };
    match destination.ip.or(source.ip) {
        None => Comparison::new(Truth::Unknown, "the addresses are not known"),
        Some(ip) if ip.is_ipv4() == (version == 4) => Comparison::new(true, ""),
        Some(ip) => Comparison::new(false, format!("{ip} is not IPv{version}")),
    }
}

/// A flow of ICMP is an echo request: type 8, or 128 of ICMPv6, code 0.
fn icmp(rule: &Rule, question: &Question<'_>) -> Comparison {
    if question.protocol != Protocol::Icmp {
        return Comparison::new(true, "");
    }
    let echo = if question.peer.ip.is_ipv4() { 8 } else { 128 };
    let is_echo =
        |icmp: &Icmp| icmp.kind.is_none_or(|kind| kind == echo) && icmp.code.is_none_or(|code| code == 0);
    if rule.icmp.as_ref().is_some_and(|icmp| !is_echo(icmp)) {
        return Comparison::new(false, format!("an echo request is type {echo}"));
    }
    if rule.not_icmp.as_ref().is_some_and(is_echo) {
        return Comparison::new(false, format!("type {echo} is excepted"));
    }
    Comparison::new(true, "")
}

/// Fields that are not known here.
fn unknown(rule: &Rule) -> Comparison {
    if rule.unknown.is_empty() {
        return Comparison::new(true, "");
    }
    Comparison::new(Truth::Unknown, format!("what {} means is not known", rule.unknown.join(", ")))
}
