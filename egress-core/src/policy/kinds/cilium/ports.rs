//! The ports and ICMP types of a rule.

use super::MAX_DESCRIBED;
use crate::cluster::{CiliumPort, CiliumRule, PolicyPort};
use crate::policy::kinds::Question;
use crate::policy::kinds::compare::{Comparison, compare_port, describe_ports, listed};
use crate::protocol::Protocol;
use crate::truth::Truth;

/// Types of echo requests, the only ICMP that is asked about.
const ECHO: (u8, u8) = (8, 128);

/// Any of the ports, and what may refuse the traffic behind those that match. A rule without ports is for every
/// protocol.
pub(super) fn compare<'a>(rule: &'a CiliumRule, question: &Question<'_>) -> (Comparison, Vec<&'a str>) {
    if rule.ports.is_empty() && rule.icmps.is_empty() {
        return (Comparison::new(true, ""), Vec::new());
    }
    let protocol = question.protocol;
    if protocol == Protocol::Icmp {
        return (compare_icmp(rule, question), Vec::new());
    }
    if !matches!(protocol, Protocol::Tcp | Protocol::Udp | Protocol::Sctp) {
        return (
            Comparison::new(false, format!("a rule with ports does not speak of {protocol}")),
            Vec::new(),
        );
    }
    let compared: Vec<Comparison> =
        rule.ports.iter().map(|port| compare_port(&of_protocol(port, protocol), question)).collect();
    let admitted = compared.iter().zip(&rule.ports).filter(|(one, _)| one.truth == Truth::Yes);
    let (bare, behind): (Vec<&CiliumPort>, Vec<&CiliumPort>) =
        admitted.map(|(_, port)| port).partition(|port| port.beyond.is_empty());
    let beyond =
        if bare.is_empty() { behind.iter().map(|port| port.beyond.as_str()).collect() } else { Vec::new() };
    let this = question.port.map_or_else(|| protocol.to_string(), |port| format!("{protocol} {port}"));
    let mut any = Comparison::any(compared, || format!("{this} is none of these"));
    if any.truth == Truth::Yes {
        any.words.clear();
    }
    (any, beyond)
}

/// Only echo requests are asked about.
fn compare_icmp(rule: &CiliumRule, question: &Question<'_>) -> Comparison {
    if rule.icmps.is_empty() {
        return Comparison::new(false, "a rule with ports does not speak of ICMP");
    }
    let v6 = question.peer.ip.is_ipv6();
    let echo = if v6 { ECHO.1 } else { ECHO.0 };
    let matches = rule.icmps.iter().any(|one| one.v6 == v6 && one.kind == echo);
    Comparison::new(matches, if matches { String::new() } else { "an echo request is none of these".into() })
}

fn of_protocol(port: &CiliumPort, protocol: Protocol) -> PolicyPort {
    PolicyPort { protocol: port.protocol.unwrap_or(protocol), port: port.port.clone() }
}

/// `TCP 443`, `every port`, `ICMP types 8`.
pub(super) fn describe(rule: &CiliumRule, question: &Question<'_>) -> String {
    if rule.ports.is_empty() && rule.icmps.is_empty() {
        return "every port".into();
    }
    let ports = rule.ports.iter().map(|port| {
        let one = of_protocol(port, question.protocol);
        describe_ports(std::slice::from_ref(&one), question)
    });
    let icmps =
        rule.icmps.iter().map(|one| format!("ICMP{} type {}", if one.v6 { "v6" } else { "" }, one.kind));
    let all: Vec<String> = ports.chain(icmps).collect();
    listed(all.into_iter(), MAX_DESCRIBED)
}
