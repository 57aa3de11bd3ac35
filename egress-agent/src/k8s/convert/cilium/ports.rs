//! The ports of a rule, and what stands behind them.

use egress_core::cluster::{CiliumFqdn, CiliumIcmp, CiliumPort, PortMatch};
use egress_core::protocol::Protocol;
use serde::Deserialize;
use serde_json::Value;

use super::{part, peers};
use crate::k8s::convert::Errors;
use crate::k8s::convert::field::Field;

/// Names of ICMP types that stand for the echo request.
const ECHO_REQUESTS: &[&str] = &["EchoRequest", "Echo"];

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PortRule {
    #[serde(default)]
    ports: Vec<Port>,
    rules: Option<Value>,
    #[serde(rename = "terminatingTLS")]
    terminating_tls: Option<Value>,
    #[serde(rename = "originatingTLS")]
    originating_tls: Option<Value>,
    #[serde(default)]
    server_names: Vec<String>,
    listener: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Port {
    #[serde(default)]
    port: Value,
    end_port: Option<i32>,
    protocol: Option<String>,
}

#[derive(Debug, Deserialize)]
struct IcmpRule {
    #[serde(default)]
    fields: Vec<IcmpField>,
}

#[derive(Debug, Deserialize)]
struct IcmpField {
    family: Option<String>,
    #[serde(rename = "type")]
    kind: Value,
}

/// One item of `toPorts`.
pub(super) fn to_ports(given: Value, at: &Field<'_>, out: &mut Vec<CiliumPort>, errors: &mut Errors) {
    let Some(given) = part::<PortRule>(given, at, errors) else { return };
    let beyond = beyond(&given);
    let dns = dns(given.rules, &at.then("rules"), errors);
    if given.ports.is_empty() {
        out.push(CiliumPort { protocol: None, port: None, beyond, dns });
        return;
    }
    let list = at.then("ports");
    for (index, given) in given.ports.into_iter().enumerate() {
        let at = list.item(index);
        let Some(protocol) = protocol(given.protocol.as_deref(), &at.then("protocol"), errors) else {
            continue;
        };
        let Some(port) = port(&given, &at, errors) else { continue };
        out.push(CiliumPort { protocol, port, beyond: beyond.clone(), dns: dns.clone() });
    }
}

/// `rules.dns`
fn dns(rules: Option<Value>, at: &Field<'_>, errors: &mut Errors) -> Vec<CiliumFqdn> {
    let Some(Value::Array(given)) = rules.and_then(|mut rules| Some(rules.get_mut("dns")?.take())) else {
        return Vec::new();
    };
    let list = at.then("dns");
    let given = given.into_iter().enumerate();
    given.filter_map(|(index, given)| peers::fqdn(given, &list.item(index), errors)).collect()
}

/// What may refuse the traffic above the ports.
fn beyond(given: &PortRule) -> String {
    let mut words: Vec<String> = Vec::new();
    if let Some(Value::Object(rules)) = &given.rules {
        let named = |kind: &str| match kind {
            "http" => "HTTP rules".to_owned(),
            "dns" => "DNS rules".to_owned(),
            "kafka" => "Kafka rules".to_owned(),
            other => format!("{other} rules"),
        };
        words.extend(rules.keys().filter(|kind| *kind != "l7proto").map(|kind| named(kind)));
    }
    if !given.server_names.is_empty() {
        words.push("server names".into());
    }
    if given.terminating_tls.is_some() || given.originating_tls.is_some() {
        words.push("TLS interception".into());
    }
    if given.listener.is_some() {
        words.push("proxy listener".into());
    }
    words.join(" and ")
}

/// `None` within: any.
fn protocol(given: Option<&str>, at: &Field<'_>, errors: &mut Errors) -> Option<Option<Protocol>> {
    let parsed = match given.map(str::to_ascii_uppercase).as_deref() {
        None | Some("" | "ANY") => Ok(None),
        Some("TCP") => Ok(Some(Protocol::Tcp)),
        Some("UDP") => Ok(Some(Protocol::Udp)),
        Some("SCTP") => Ok(Some(Protocol::Sctp)),
        Some(other) => Err(format!("\"{other}\" is none of TCP, UDP, SCTP, ANY")),
    };
    errors.check(at, parsed)
}

/// `None` within: every port, which is what 0 stands for.
fn port(given: &Port, at: &Field<'_>, errors: &mut Errors) -> Option<Option<PortMatch>> {
    let (port_at, end_at) = (at.then("port"), at.then("endPort"));
    let text = match &given.port {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => {
            errors.add(&port_at, "is missing");
            return None;
        }
    };
    let Ok(number) = text.parse::<u32>() else {
        let named = text.bytes().any(|b| b.is_ascii_alphabetic());
        if !named || given.end_port.is_some() {
            errors.add(&port_at, format!("\"{text}\" is no port number, and a name has no endPort"));
            return None;
        }
        return Some(Some(PortMatch::Name(text.to_ascii_lowercase())));
    };
    let Ok(first) = u16::try_from(number) else {
        errors.add(&port_at, format!("{number} is not a port number (0 to 65535)"));
        return None;
    };
    match given.end_port {
        None | Some(0) if first == 0 => Some(None),
        None | Some(0) => Some(Some(PortMatch::Number(first))),
        Some(last) => match u16::try_from(last) {
            Ok(last) if last >= first => Some(Some(PortMatch::Range(first, last))),
            _ => {
                errors.add(&end_at, format!("{last} is no port from {first} on"));
                None
            }
        },
    }
}

/// One item of `icmps`.
pub(super) fn icmps(given: Value, at: &Field<'_>, out: &mut Vec<CiliumIcmp>, errors: &mut Errors) {
    let Some(given) = part::<IcmpRule>(given, at, errors) else { return };
    let list = at.then("fields");
    for (index, given) in given.fields.into_iter().enumerate() {
        let at = list.item(index);
        let v6 = match given.family.as_deref() {
            None | Some("IPv4" | "") => false,
            Some("IPv6") => true,
            Some(other) => {
                errors.add(&at.then("family"), format!("\"{other}\" is none of IPv4, IPv6"));
                continue;
            }
        };
        let kind = match &given.kind {
            Value::Number(number) => number.as_u64().and_then(|number| u8::try_from(number).ok()),
            Value::String(text) if ECHO_REQUESTS.contains(&text.as_str()) => Some(if v6 { 128 } else { 8 }),
            Value::String(text) => text.parse().ok().or(Some(u8::MAX)),
            _ => None,
        };
        match kind {
            Some(kind) => out.push(CiliumIcmp { v6, kind }),
            None => errors.add(&at.then("type"), format!("{} is no ICMP type", given.kind)),
        }
    }
}
