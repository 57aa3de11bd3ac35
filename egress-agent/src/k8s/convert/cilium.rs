//! CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy (`cilium.io/v2`), validated as Cilium does
//! (`pkg/policy/api/rule_validation.go`). Fields that are not evaluated stay, by name.

mod group;
mod peers;
mod ports;

pub use group::cilium_cidr_group;

use egress_core::cluster::{CILIUM_NAMESPACE, CiliumPolicy, CiliumRule, CiliumSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::field::Field;
use super::{Errors, name, names};
use peers::{Scope, selector};

/// Either kind.
#[derive(Debug, Deserialize)]
pub struct Cilium {
    #[serde(default)]
    metadata: v1::ObjectMeta,
    spec: Option<Spec>,
    #[serde(default)]
    specs: Vec<Spec>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    endpoint_selector: Option<v1::LabelSelector>,
    node_selector: Option<v1::LabelSelector>,
    #[serde(default)]
    enable_default_deny: DefaultDeny,
    #[serde(default)]
    ingress: Vec<Rule>,
    #[serde(default)]
    ingress_deny: Vec<Rule>,
    #[serde(default)]
    egress: Vec<Rule>,
    #[serde(default)]
    egress_deny: Vec<Rule>,
}

#[derive(Debug, Default, Deserialize)]
struct DefaultDeny {
    ingress: Option<bool>,
    egress: Option<bool>,
}

/// A rule as it is written: its fields one by one, so that none is passed over.
type Rule = Map<String, Value>;

/// Converts a CiliumNetworkPolicy.
pub fn cilium_network_policy(mut object: Cilium, errors: &mut Errors) -> CiliumPolicy {
    let (namespace, name) = names(&mut object.metadata, errors);
    convert(object, namespace, name, errors)
}

/// Converts a CiliumClusterwideNetworkPolicy.
pub fn cilium_clusterwide_network_policy(mut object: Cilium, errors: &mut Errors) -> CiliumPolicy {
    let name = name(&mut object.metadata, errors);
    convert(object, String::new(), name, errors)
}

fn convert(object: Cilium, namespace: String, name: String, errors: &mut Errors) -> CiliumPolicy {
    let (one, many) = (Field::root("spec"), Field::root("specs"));
    if object.spec.is_none() && object.specs.is_empty() {
        errors.add(&one, "is missing (or specs)");
    }
    let mut specs = Vec::new();
    specs.extend(object.spec.and_then(|given| spec(given, &namespace, &one, errors)));
    for (index, given) in object.specs.into_iter().enumerate() {
        specs.extend(spec(given, &namespace, &many.item(index), errors));
    }
    CiliumPolicy { namespace, name, specs }
}

/// `None` for nodes: such a spec selects no pod.
fn spec(given: Spec, namespace: &str, at: &Field<'_>, errors: &mut Errors) -> Option<CiliumSpec> {
    let endpoints = match (given.endpoint_selector, given.node_selector) {
        (Some(endpoints), None) => endpoints,
        (None, Some(_)) => return None,
        _ => {
            errors.add(at, "needs one of endpointSelector, nodeSelector");
            return None;
        }
    };
    let mut selected = selector(endpoints, &at.then("endpointSelector"), errors);
    if !namespace.is_empty() {
        // It selects pods of its own namespace, whatever it says.
        selected.requirements.retain(|one| one.key != CILIUM_NAMESPACE);
    }
    let scope =
        Scope { namespace, matches_init: selected.requirements.iter().any(|one| one.key == "reserved:init") };
    let isolates = |given: Option<bool>, allow: &[Rule], deny: &[Rule]| {
        given.unwrap_or(!allow.is_empty() || !deny.is_empty())
    };
    let mut rules = |given: Vec<Rule>, list: &str| {
        let at = at.then(list);
        let given = given.into_iter().enumerate();
        given.map(|(index, given)| rule(given, scope, &at.item(index), errors)).collect()
    };
    Some(CiliumSpec {
        selector: selected,
        isolates_ingress: isolates(given.enable_default_deny.ingress, &given.ingress, &given.ingress_deny),
        isolates_egress: isolates(given.enable_default_deny.egress, &given.egress, &given.egress_deny),
        ingress: rules(given.ingress, "ingress"),
        ingress_deny: rules(given.ingress_deny, "ingressDeny"),
        egress: rules(given.egress, "egress"),
        egress_deny: rules(given.egress_deny, "egressDeny"),
    })
}

fn rule(given: Rule, scope: Scope<'_>, at: &Field<'_>, errors: &mut Errors) -> CiliumRule {
    let mut rule = CiliumRule::default();
    for (field, value) in given {
        let at = at.then(&field);
        let Value::Array(list) = value else {
            match field.as_str() {
                "authentication" if value.get("mode").and_then(Value::as_str) != Some("required") => {}
                "authentication" => rule.beyond.push("mutual authentication".into()),
                _ if value.is_null() => {}
                _ => rule.unknown.push(field),
            }
            continue;
        };
        match field.as_str() {
            "toPorts" => {
                for (index, given) in list.into_iter().enumerate() {
                    ports::to_ports(given, &at.item(index), &mut rule.ports, errors);
                }
            }
            "icmps" => {
                for (index, given) in list.into_iter().enumerate() {
                    ports::icmps(given, &at.item(index), &mut rule.icmps, errors);
                }
            }
            known if peers::is_known(known) => {
                let peers = rule.peers.get_or_insert_default();
                for (index, given) in list.into_iter().enumerate() {
                    peers.extend(peers::peer(known, given, scope, &at.item(index), errors));
                }
            }
            _ => rule.unknown.push(field),
        }
    }
    if !rule.ports.is_empty() && !rule.icmps.is_empty() {
        errors.add(&at.then("icmps"), "cannot stand beside toPorts");
    }
    rule
}

/// A part of a rule in its own type.
fn part<T: serde::de::DeserializeOwned>(given: Value, at: &Field<'_>, errors: &mut Errors) -> Option<T> {
    errors.check(at, serde_json::from_value(given).map_err(|error| error.to_string()))
}
