//! `source` and `destination` of a rule.

use egress_core::cluster::calico::{Entity, ServiceAccounts};
use egress_core::cluster::{PodRef, PortMatch};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Deserialize;

use super::{nets, optional};
use crate::k8s::convert::Errors;
use crate::k8s::convert::field::Field;

/// One end as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EntitySpec {
    nets: Option<Vec<String>>,
    not_nets: Option<Vec<String>>,
    selector: Option<String>,
    not_selector: Option<String>,
    namespace_selector: Option<String>,
    ports: Option<Vec<IntOrString>>,
    not_ports: Option<Vec<IntOrString>>,
    services: Option<ServiceSpec>,
    service_accounts: Option<AccountsSpec>,
    domains: Option<Vec<String>>,
}

pub(super) const FIELDS: &[&str] = &[
    "nets",
    "notNets",
    "selector",
    "notSelector",
    "namespaceSelector",
    "ports",
    "notPorts",
    "services",
    "serviceAccounts",
    "domains",
];

#[derive(Debug, Deserialize)]
struct ServiceSpec {
    name: Option<String>,
    namespace: Option<String>,
}

#[derive(Debug, Deserialize)]
struct AccountsSpec {
    names: Option<Vec<String>>,
    selector: Option<String>,
}

/// Converts one end of a rule.
pub(super) fn entity(
    given: Option<EntitySpec>,
    namespace: &str,
    at: &Field<'_>,
    errors: &mut Errors,
) -> Entity {
    let spec = given.unwrap_or_default();
    let service = spec.services.and_then(|given| service(given, namespace, &at.then("services"), errors));
    let accounts_at = at.then("serviceAccounts");
    let service_accounts = spec.service_accounts.and_then(|given| {
        let names = given.names.unwrap_or_default();
        let selector = optional(given.selector, &accounts_at.then("selector"), errors);
        (!names.is_empty() || selector.is_some()).then_some(ServiceAccounts { names, selector })
    });
    Entity {
        nets: nets(spec.nets, &at.then("nets"), errors),
        not_nets: nets(spec.not_nets, &at.then("notNets"), errors),
        selector: optional(spec.selector, &at.then("selector"), errors),
        not_selector: optional(spec.not_selector, &at.then("notSelector"), errors),
        namespaces: optional(spec.namespace_selector, &at.then("namespaceSelector"), errors),
        service_accounts,
        service,
        ports: ports(spec.ports, &at.then("ports"), errors),
        not_ports: ports(spec.not_ports, &at.then("notPorts"), errors),
        domains: spec.domains.unwrap_or_default(),
    }
}

fn service(given: ServiceSpec, namespace: &str, at: &Field<'_>, errors: &mut Errors) -> Option<PodRef> {
    let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
    let name = errors.check(&at.then("name"), filled(given.name).ok_or_else(|| "is missing".into()))?;
    let own = Some(namespace.to_owned()).filter(|own| !own.is_empty());
    let namespace = filled(given.namespace).or(own).ok_or_else(|| "is missing".into());
    Some(PodRef { namespace: errors.check(&at.then("namespace"), namespace)?, name })
}

fn ports(given: Option<Vec<IntOrString>>, at: &Field<'_>, errors: &mut Errors) -> Vec<PortMatch> {
    let given = given.unwrap_or_default().into_iter().enumerate();
    given.filter_map(|(index, given)| port(given, &at.item(index), errors)).collect()
}

/// A number, `FIRST:LAST`, or the name of a container port.
fn port(given: IntOrString, at: &Field<'_>, errors: &mut Errors) -> Option<PortMatch> {
    let parsed = match given {
        IntOrString::Int(number) => {
            u16::try_from(number).map(PortMatch::Number).map_err(|_| format!("{number} is not a port number"))
        }
        IntOrString::String(text) => match text.split_once(':') {
            Some((first, last)) => match (first.trim().parse::<u16>(), last.trim().parse::<u16>()) {
                (Ok(first), Ok(last)) if first <= last => Ok(PortMatch::Range(first, last)),
                (Ok(first), Ok(last)) => Err(format!("{last} is below {first}")),
                _ => Err(format!("\"{text}\" is not a range of ports such as 8000:8080")),
            },
            None if text.is_empty() => Err("is empty".into()),
            None => Ok(text.parse().map_or(PortMatch::Name(text), PortMatch::Number)),
        },
    };
    errors.check(at, parsed)
}
