//! Rules.

use egress_core::cluster::calico::{Action, Icmp, Rule};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Deserialize;
use serde_json::Value;

use super::entity::{self, EntitySpec, entity};
use crate::k8s::convert::Errors;
use crate::k8s::convert::field::Field;

/// A rule as it is written. `metadata` says nothing of what it matches.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RuleSpec {
    action: Option<String>,
    ip_version: Option<i64>,
    protocol: Option<IntOrString>,
    not_protocol: Option<IntOrString>,
    icmp: Option<IcmpSpec>,
    #[serde(rename = "notICMP")]
    not_icmp: Option<IcmpSpec>,
    #[serde(default)]
    source: Option<EntitySpec>,
    #[serde(default)]
    destination: Option<EntitySpec>,
    http: Option<Value>,
}

const FIELDS: &[&str] = &[
    "action",
    "ipVersion",
    "protocol",
    "notProtocol",
    "icmp",
    "notICMP",
    "source",
    "destination",
    "http",
    "metadata",
];

#[derive(Debug, Deserialize)]
struct IcmpSpec {
    #[serde(rename = "type")]
    kind: Option<i64>,
    code: Option<i64>,
}

/// Converts a rule of a policy in `namespace`, which is empty for a GlobalNetworkPolicy.
pub(super) fn rule(value: Value, namespace: &str, at: &Field<'_>, errors: &mut Errors) -> Option<Rule> {
    let mut unknown = unknown_fields(&value, FIELDS, "");
    for end in ["source", "destination"] {
        let of_end = value.get(end).map(|value| unknown_fields(value, entity::FIELDS, &format!("{end}.")));
        unknown.extend(of_end.unwrap_or_default());
    }
    let read = serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        (path, error.into_inner().to_string())
    });
    let spec: RuleSpec = match read {
        Ok(spec) => spec,
        Err((path, message)) => {
            if path == "." {
                errors.add(at, message)
            } else {
                errors.add(&at.then(&path), message)
            }
            return None;
        }
    };
    let action = match spec.action.as_deref() {
        Some("Allow" | "allow") => Ok(Action::Allow),
        Some("Deny" | "deny") => Ok(Action::Deny),
        Some("Pass" | "pass") => Ok(Action::Pass),
        Some("Log" | "log") => Ok(Action::Log),
        Some(other) => Err(format!("\"{other}\" is none of Allow, Deny, Pass, Log")),
        None => Err("is missing".into()),
    };
    let action = errors.check(&at.then("action"), action);
    let version = spec.ip_version.map(|version| match version {
        4 => Ok(4),
        6 => Ok(6),
        other => Err(format!("{other} is neither 4 nor 6")),
    });
    let ip_version = version.and_then(|version| errors.check(&at.then("ipVersion"), version));
    let mut number = |given, name| protocol(given, &at.then(name), errors);
    let protocol = number(spec.protocol, "protocol");
    let not_protocol = number(spec.not_protocol, "notProtocol");
    let icmp_part = |given: Option<IcmpSpec>, name: &str, errors: &mut Errors| {
        given.and_then(|given| icmp(&given, &at.then(name), errors))
    };
    Some(Rule {
        action: action?,
        ip_version,
        protocol,
        not_protocol,
        icmp: icmp_part(spec.icmp, "icmp", errors),
        not_icmp: icmp_part(spec.not_icmp, "notICMP", errors),
        source: entity(spec.source, namespace, &at.then("source"), errors),
        destination: entity(spec.destination, namespace, &at.then("destination"), errors),
        http: spec.http.is_some_and(|http| !http.is_null()),
        unknown,
    })
}

/// The fields that are not among these.
fn unknown_fields(value: &Value, known: &[&str], prefix: &str) -> Vec<String> {
    let names = value.as_object().into_iter().flat_map(|fields| fields.keys());
    names.filter(|name| !known.contains(&name.as_str())).map(|name| format!("{prefix}{name}")).collect()
}

/// A protocol's number.
fn protocol(given: Option<IntOrString>, at: &Field<'_>, errors: &mut Errors) -> Option<u8> {
    let number = match given? {
        IntOrString::Int(number) => {
            u8::try_from(number).ok().filter(|number| *number > 0).ok_or(number.to_string())
        }
        IntOrString::String(name) => match name.to_ascii_lowercase().as_str() {
            "tcp" => Ok(6),
            "udp" => Ok(17),
            "icmp" => Ok(1),
            "icmpv6" => Ok(58),
            "sctp" => Ok(132),
            "udplite" => Ok(136),
            other => other.parse().ok().filter(|number| *number > 0).ok_or(name),
        },
    };
    let named = |given| {
        format!("\"{given}\" is none of TCP, UDP, SCTP, ICMP, ICMPv6, UDPLite, and no number from 1 to 255")
    };
    errors.check(at, number.map_err(named))
}

fn icmp(given: &IcmpSpec, at: &Field<'_>, errors: &mut Errors) -> Option<Icmp> {
    let mut byte = |number: Option<i64>, name| match number.map(u8::try_from) {
        None => Some(None),
        Some(Ok(number)) => Some(Some(number)),
        Some(Err(_)) => {
            errors.add(&at.then(name), "is no number from 0 to 255");
            None
        }
    };
    Some(Icmp { kind: byte(given.kind, "type")?, code: byte(given.code, "code")? })
}
