//! Whom a rule speaks of.

use egress_core::cluster::{
    CILIUM_NAMESPACE, CILIUM_NAMESPACE_LABELS, CILIUM_RESERVED, CidrGroups, CiliumFqdn, CiliumPeer,
    CiliumSelector, Expression, IpBlock, Operator,
};
use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1;
use serde::Deserialize;
use serde_json::Value;

use super::part;
use crate::k8s::convert::Errors;
use crate::k8s::convert::field::Field;
use crate::k8s::convert::selector::selector as labels;

/// Entities that Cilium knows.
const ENTITIES: &[&str] = &[
    "all",
    "world",
    "world-ipv4",
    "world-ipv6",
    "cluster",
    "host",
    "init",
    "ingress",
    "unmanaged",
    "remote-node",
    "health",
    "none",
    "kube-apiserver",
];

/// Where a rule stands: what limits its selectors.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    /// Of the policy; empty: it is clusterwide.
    pub(super) namespace: &'a str,
    /// The policy is for pods that have no labels yet.
    pub(super) matches_init: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CidrRule {
    cidr: Option<String>,
    cidr_group_ref: Option<String>,
    cidr_group_selector: Option<v1::LabelSelector>,
    #[serde(default)]
    except: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServiceRule {
    k8s_service: Option<NamedService>,
    k8s_service_selector: Option<SelectedServices>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NamedService {
    #[serde(default)]
    service_name: String,
    #[serde(default)]
    namespace: String,
}

#[derive(Debug, Deserialize)]
struct SelectedServices {
    selector: v1::LabelSelector,
    #[serde(default)]
    namespace: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fqdn {
    match_name: Option<String>,
    match_pattern: Option<String>,
}

/// A field that names peers.
pub(super) fn is_known(field: &str) -> bool {
    let what = field.strip_prefix("from").or_else(|| field.strip_prefix("to"));
    what.is_some_and(|what| {
        ["Endpoints", "CIDR", "CIDRSet", "Entities", "Services", "FQDNs", "Nodes", "Groups"].contains(&what)
    })
}

/// One item of such a field.
pub(super) fn peer(
    field: &str,
    given: Value,
    scope: Scope<'_>,
    at: &Field<'_>,
    errors: &mut Errors,
) -> Option<CiliumPeer> {
    match field.trim_start_matches("from").trim_start_matches("to") {
        "Endpoints" => {
            let selected = selector(part(given, at, errors)?, at, errors);
            Some(CiliumPeer::Endpoints(limited(selected, scope)))
        }
        "CIDR" => {
            let text: String = part(given, at, errors)?;
            Some(CiliumPeer::Cidr(IpBlock { cidr: network(&text, at, errors)?, except: Vec::new() }))
        }
        "CIDRSet" => cidr_rule(part(given, at, errors)?, at, errors),
        "Entities" => {
            let entity: String = part(given, at, errors)?;
            if !ENTITIES.contains(&entity.as_str()) {
                errors.add(at, format!("\"{entity}\" is none of {}", ENTITIES.join(", ")));
            }
            Some(CiliumPeer::Entity(entity))
        }
        "Services" => {
            let given: ServiceRule = part(given, at, errors)?;
            match (given.k8s_service, given.k8s_service_selector) {
                (Some(service), None) => {
                    Some(CiliumPeer::Service { namespace: service.namespace, name: service.service_name })
                }
                (None, Some(given)) => Some(CiliumPeer::Services {
                    selector: labels(given.selector, &at.then("k8sServiceSelector").then("selector"), errors),
                    namespace: given.namespace,
                }),
                _ => {
                    errors.add(at, "needs one of k8sService, k8sServiceSelector");
                    None
                }
            }
        }
        "FQDNs" => fqdn(given, at, errors).map(CiliumPeer::Fqdn),
        "Nodes" => Some(CiliumPeer::Nodes(labels(part(given, at, errors)?, at, errors))),
        _ => Some(CiliumPeer::Groups(field.to_owned())),
    }
}

/// A name or a pattern of names.
pub(super) fn fqdn(given: Value, at: &Field<'_>, errors: &mut Errors) -> Option<CiliumFqdn> {
    let given: Fqdn = part(given, at, errors)?;
    match (given.match_name, given.match_pattern) {
        (Some(name), None) => Some(CiliumFqdn::Name(name)),
        (None, Some(pattern)) => Some(CiliumFqdn::Pattern(pattern)),
        _ => {
            errors.add(at, "needs one of matchName, matchPattern");
            None
        }
    }
}

fn cidr_rule(given: CidrRule, at: &Field<'_>, errors: &mut Errors) -> Option<CiliumPeer> {
    let list = at.then("except");
    let holes = given.except.iter().enumerate();
    let holes: Vec<(usize, IpNet)> =
        holes.filter_map(|(index, hole)| Some((index, network(hole, &list.item(index), errors)?))).collect();
    let except = || -> Vec<IpNet> { holes.iter().map(|(_, hole)| *hole).collect() };
    let groups = match (given.cidr, given.cidr_group_ref, given.cidr_group_selector) {
        (Some(text), None, None) => {
            let cidr = network(&text, &at.then("cidr"), errors)?;
            for (index, hole) in holes.iter().filter(|(_, hole)| !cidr.contains(hole)) {
                errors.add(&list.item(*index), format!("\"{hole}\" is not within cidr \"{text}\""));
            }
            return Some(CiliumPeer::Cidr(IpBlock { cidr, except: except() }));
        }
        (None, Some(name), None) => CidrGroups::Named(name),
        (None, None, Some(selector)) => {
            CidrGroups::Selected(labels(selector, &at.then("cidrGroupSelector"), errors))
        }
        _ => {
            errors.add(at, "needs one of cidr, cidrGroupRef, cidrGroupSelector");
            return None;
        }
    };
    Some(CiliumPeer::CidrGroups { groups, except: except() })
}

/// A CIDR, or an address alone.
pub(super) fn network(text: &str, at: &Field<'_>, errors: &mut Errors) -> Option<IpNet> {
    match text.parse() {
        Ok(ip) => Some(IpNet::from(std::net::IpAddr::to_canonical(&ip))),
        Err(_) => crate::k8s::convert::cidr(text, at, errors),
    }
}

/// A selector without the sources that mean what no source means.
pub(super) fn selector(given: v1::LabelSelector, at: &Field<'_>, errors: &mut Errors) -> CiliumSelector {
    let given = labels(given, at, errors);
    let plain =
        |key: &str| key.strip_prefix("k8s:").or_else(|| key.strip_prefix("any:")).unwrap_or(key).to_owned();
    let equal = given.match_labels.iter().map(|(key, value)| {
        let key = plain(key);
        if key.starts_with(CILIUM_RESERVED) {
            Expression { key, operator: Operator::Exists, values: Default::default() }
        } else {
            Expression { key, operator: Operator::In, values: [value.to_owned()].into_iter().collect() }
        }
    });
    let mut requirements: Vec<Expression> = equal.collect();
    requirements
        .extend(given.expressions.iter().map(|one| Expression { key: plain(&one.key), ..one.clone() }));
    CiliumSelector { requirements }
}

/// Limited to the policy's namespace, or to what has one (`getEndpointSelector` of `pkg/k8s/apis/cilium.io/utils`).
fn limited(mut selected: CiliumSelector, scope: Scope<'_>) -> CiliumSelector {
    let has = |what: &dyn Fn(&str) -> bool| selected.requirements.iter().any(|one| what(&one.key));
    if has(&|key| key.starts_with(CILIUM_RESERVED)) || has(&|key| key == CILIUM_NAMESPACE) {
        return selected;
    }
    let (operator, values) = if scope.namespace.is_empty() {
        (Operator::Exists, None)
    } else {
        (Operator::In, Some(scope.namespace.to_owned()))
    };
    let applies = match operator {
        Operator::Exists => !scope.matches_init,
        _ => !has(&|key| key.starts_with(CILIUM_NAMESPACE_LABELS)),
    };
    if applies {
        let values = values.into_iter().collect();
        selected.requirements.push(Expression { key: CILIUM_NAMESPACE.to_owned(), operator, values });
    }
    selected
}
