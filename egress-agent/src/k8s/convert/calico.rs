//! Calico's objects: `projectcalico.org/v3`, and `crd.projectcalico.org/v1`, under which the same is stored.
//!
//! Fields of a rule that are not known here make that rule undecidable: they may narrow what it matches.

mod entity;
mod rule;
#[cfg(test)]
mod tests;

use egress_core::cluster::calico::{CalicoPolicy, Forwarded, NetworkSet, Selector, Tier};
use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_json::Value;

use super::field::Field;
use super::{Errors, name, names};

/// An object of Calico.
#[derive(Debug, Deserialize)]
pub struct CalicoObject<S> {
    #[serde(default)]
    metadata: ObjectMeta,
    spec: Option<S>,
}

/// `spec` of a policy.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicySpec {
    tier: Option<String>,
    order: Option<f64>,
    selector: Option<String>,
    namespace_selector: Option<String>,
    service_account_selector: Option<String>,
    types: Option<Vec<String>>,
    ingress: Option<Vec<Value>>,
    egress: Option<Vec<Value>>,
    apply_on_forward: Option<bool>,
    do_not_track: Option<bool>,
    #[serde(rename = "preDNAT")]
    pre_dnat: Option<bool>,
}

/// `spec` of a network set.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SetSpec {
    nets: Option<Vec<String>>,
    allowed_egress_domains: Option<Vec<String>>,
}

/// `spec` of a tier.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TierSpec {
    order: Option<f64>,
    default_action: Option<String>,
}

/// Converts a NetworkPolicy of Calico. `stored`: as `crd.projectcalico.org/v1`.
pub fn calico_policy(
    mut object: CalicoObject<PolicySpec>,
    stored: bool,
    errors: &mut Errors,
) -> CalicoPolicy {
    let (namespace, name) = names(&mut object.metadata, errors);
    let spec = object.spec.unwrap_or_default();
    CalicoPolicy { name, ..policy(spec, namespace, stored, errors) }
}

/// Converts a GlobalNetworkPolicy.
pub fn calico_global_policy(
    mut object: CalicoObject<PolicySpec>,
    stored: bool,
    errors: &mut Errors,
) -> CalicoPolicy {
    let name = name(&mut object.metadata, errors);
    let mut spec = object.spec.unwrap_or_default();
    let at = Field::root("spec");
    let namespaces = optional(spec.namespace_selector.take(), &at.then("namespaceSelector"), errors);
    let forwarded = forwarded(&spec);
    CalicoPolicy { name, namespaces, forwarded, ..policy(spec, String::new(), stored, errors) }
}

/// Converts a NetworkSet.
pub fn calico_network_set(mut object: CalicoObject<SetSpec>, errors: &mut Errors) -> NetworkSet {
    let (namespace, name) = names(&mut object.metadata, errors);
    network_set(object, namespace, name, errors)
}

/// Converts a GlobalNetworkSet.
pub fn calico_global_network_set(mut object: CalicoObject<SetSpec>, errors: &mut Errors) -> NetworkSet {
    let name = name(&mut object.metadata, errors);
    network_set(object, String::new(), name, errors)
}

/// Converts a Tier.
pub fn calico_tier(mut object: CalicoObject<TierSpec>, errors: &mut Errors) -> Tier {
    let name = name(&mut object.metadata, errors);
    let spec = object.spec.unwrap_or_default();
    let passes = match spec.default_action.as_deref() {
        None | Some("" | "Deny") => false,
        Some("Pass") => true,
        Some(other) => {
            let at = Field::root("spec");
            errors.add(&at.then("defaultAction"), format!("\"{other}\" is none of Deny, Pass"));
            false
        }
    };
    Tier { name, order: spec.order, passes }
}

fn policy(spec: PolicySpec, namespace: String, stored: bool, errors: &mut Errors) -> CalicoPolicy {
    let at = Field::root("spec");
    let (ingress, egress) = types(&spec, stored, &at.then("types"), errors);
    let mut rules = |given: Option<Vec<Value>>, name: &str| {
        let at = at.then(name);
        let given = given.unwrap_or_default().into_iter().enumerate();
        given.filter_map(|(index, value)| rule::rule(value, &namespace, &at.item(index), errors)).collect()
    };
    let (inward, outward) = (rules(spec.ingress, "ingress"), rules(spec.egress, "egress"));
    CalicoPolicy {
        name: String::new(),
        tier: spec.tier.filter(|tier| !tier.is_empty()).unwrap_or_else(|| CalicoPolicy::DEFAULT_TIER.into()),
        order: spec.order,
        selector: selector(spec.selector.as_deref().unwrap_or_default(), &at.then("selector"), errors)
            .unwrap_or_default(),
        namespaces: None,
        service_accounts: optional(spec.service_account_selector, &at.then("serviceAccountSelector"), errors),
        ingress: ingress.then_some(inward),
        egress: egress.then_some(outward),
        forwarded: None,
        namespace,
    }
}

/// Which directions the policy governs, ingress and egress. Without `types` the API fills in those of its rules, and
/// ingress if it has none (`PolicyTypes` of the API); what was stored without passing the API governs both
/// (`ExtractPolicyMetadata` of `felix/calc/policy_sorter.go`).
fn types(spec: &PolicySpec, stored: bool, at: &Field<'_>, errors: &mut Errors) -> (bool, bool) {
    let given = spec.types.as_deref().unwrap_or_default();
    if given.is_empty() {
        let rules = |rules: &Option<Vec<Value>>| rules.as_ref().is_some_and(|rules| !rules.is_empty());
        let (ingress, egress) = (rules(&spec.ingress), rules(&spec.egress));
        return if stored { (true, true) } else { (ingress || !egress, egress) };
    }
    let (mut ingress, mut egress) = (false, false);
    for (index, word) in given.iter().enumerate() {
        match word.to_ascii_lowercase().as_str() {
            "ingress" => ingress = true,
            "egress" => egress = true,
            _ => errors.add(&at.item(index), format!("\"{word}\" is none of Ingress, Egress")),
        }
    }
    (ingress, egress)
}

fn forwarded(spec: &PolicySpec) -> Option<Forwarded> {
    let set = |flag: Option<bool>| flag.unwrap_or(false);
    if set(spec.do_not_track) {
        Some(Forwarded::DoNotTrack)
    } else if set(spec.pre_dnat) {
        Some(Forwarded::PreDnat)
    } else {
        set(spec.apply_on_forward).then_some(Forwarded::Forwarded)
    }
}

fn network_set(
    object: CalicoObject<SetSpec>,
    namespace: String,
    name: String,
    errors: &mut Errors,
) -> NetworkSet {
    let spec = object.spec.unwrap_or_default();
    let at = Field::root("spec");
    NetworkSet {
        namespace,
        name,
        labels: object.metadata.labels.unwrap_or_default().into(),
        nets: nets(spec.nets, &at.then("nets"), errors),
        domains: spec.allowed_egress_domains.unwrap_or_default(),
    }
}

/// A selector; an empty one selects everything.
fn selector(text: &str, at: &Field<'_>, errors: &mut Errors) -> Option<Selector> {
    let parsed = text.parse::<Selector>();
    errors.check(at, parsed.map_err(|error| format!("{text:?} is no selector: {error}")))
}

/// A selector that is not there where it is empty.
fn optional(text: Option<String>, at: &Field<'_>, errors: &mut Errors) -> Option<Selector> {
    selector(&text.filter(|text| !text.trim().is_empty())?, at, errors)
}

/// CIDRs, or addresses alone; bits beyond the prefix are cleared.
fn nets(given: Option<Vec<String>>, at: &Field<'_>, errors: &mut Errors) -> Vec<IpNet> {
    let mut nets = Vec::new();
    for (index, text) in given.unwrap_or_default().iter().enumerate() {
        let parsed = text.parse::<IpNet>().map(|net| net.trunc());
        let parsed = parsed.or_else(|_| text.parse().map(|ip: std::net::IpAddr| IpNet::from(ip)));
        let parsed = parsed.map_err(|_| format!("\"{text}\" is neither a CIDR nor an IP address"));
        nets.extend(errors.check(&at.item(index), parsed));
    }
    nets
}
