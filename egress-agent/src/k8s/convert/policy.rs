//! NetworkPolicies (`networking.k8s.io/v1`), with the defaults of the API server
//! (`pkg/apis/networking/v1/defaults.go`) and its validation (`pkg/apis/networking/validation`).

use egress_core::cluster::{IpBlock, NetworkPolicy, Peer, PolicyPort, PortMatch, Rule};
use k8s_openapi::api::networking::v1;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::field::Field;
use super::selector::selector;
use super::{Errors, cidr, compact, names, port, port_name, protocol};

/// Converts a NetworkPolicy.
pub fn network_policy(mut object: v1::NetworkPolicy, errors: &mut Errors) -> NetworkPolicy {
    let (namespace, name) = names(&mut object.metadata, errors);
    let spec = object.spec.unwrap_or_default();
    let at = Field::root("spec");
    let egress = spec.egress.unwrap_or_default();
    let (isolates_ingress, isolates_egress) = policy_types(
        &spec.policy_types.unwrap_or_default(),
        !egress.is_empty(),
        &at.then("policyTypes"),
        errors,
    );
    let (ingress_at, egress_at) = (at.then("ingress"), at.then("egress"));
    NetworkPolicy {
        namespace,
        name,
        selector: selector(spec.pod_selector.unwrap_or_default(), &at.then("podSelector"), errors),
        isolates_ingress,
        isolates_egress,
        ingress: compact(spec.ingress.unwrap_or_default().into_iter().enumerate().map(|(index, given)| {
            let at = ingress_at.item(index);
            rule(given.from, &at.then("from"), given.ports, &at.then("ports"), errors)
        })),
        egress: compact(egress.into_iter().enumerate().map(|(index, given)| {
            let at = egress_at.item(index);
            rule(given.to, &at.then("to"), given.ports, &at.then("ports"), errors)
        })),
    }
}

/// Which directions the policy isolates, ingress and egress: what `policyTypes` says; without it always ingress,
/// and egress if there are egress rules.
fn policy_types(given: &[String], egress_rules: bool, at: &Field<'_>, errors: &mut Errors) -> (bool, bool) {
    if given.is_empty() {
        return (true, egress_rules);
    }
    let (mut ingress, mut egress) = (false, false);
    for (index, word) in given.iter().enumerate() {
        match word.as_str() {
            "Ingress" => ingress = true,
            "Egress" => egress = true,
            other => errors.add(&at.item(index), format!("\"{other}\" is none of Ingress, Egress")),
        }
    }
    (ingress, egress)
}

fn rule(
    peers: Option<Vec<v1::NetworkPolicyPeer>>,
    peers_at: &Field<'_>,
    ports: Option<Vec<v1::NetworkPolicyPort>>,
    ports_at: &Field<'_>,
    errors: &mut Errors,
) -> Rule {
    let peers = peers.unwrap_or_default().into_iter().enumerate();
    let peers = compact(peers.filter_map(|(index, given)| peer(given, &peers_at.item(index), errors)));
    let ports = ports.unwrap_or_default().into_iter().enumerate();
    let ports = compact(ports.filter_map(|(index, given)| policy_port(given, &ports_at.item(index), errors)));
    Rule { peers, ports }
}

fn peer(given: v1::NetworkPolicyPeer, at: &Field<'_>, errors: &mut Errors) -> Option<Peer> {
    let selects = given.namespace_selector.is_some() || given.pod_selector.is_some();
    match given.ip_block {
        Some(_) if selects => {
            errors.add(at, "ipBlock cannot stand beside podSelector or namespaceSelector");
            None
        }
        Some(block) => ip_block(&block, &at.then("ipBlock"), errors).map(Peer::IpBlock),
        None if selects => Some(Peer::Pods {
            namespaces: given
                .namespace_selector
                .map(|given| selector(given, &at.then("namespaceSelector"), errors)),
            pods: given.pod_selector.map(|given| selector(given, &at.then("podSelector"), errors)),
        }),
        None => {
            errors.add(at, "names no peer: one of ipBlock, podSelector, namespaceSelector is needed");
            None
        }
    }
}

fn ip_block(given: &v1::IPBlock, at: &Field<'_>, errors: &mut Errors) -> Option<IpBlock> {
    let block = cidr(&given.cidr, &at.then("cidr"), errors);
    let list = at.then("except");
    let mut except = Vec::new();
    for (index, text) in given.except.iter().flatten().enumerate() {
        let at = list.item(index);
        let Some(hole) = cidr(text, &at, errors) else { continue };
        // Comparing networks of two families says no, too.
        if block.is_some_and(|block| !block.contains(&hole) || block == hole) {
            errors.add(&at, format!("\"{text}\" is not within cidr \"{}\"", given.cidr));
        }
        except.push(hole);
    }
    Some(IpBlock { cidr: block?, except: compact(except.into_iter()) })
}

fn policy_port(given: v1::NetworkPolicyPort, at: &Field<'_>, errors: &mut Errors) -> Option<PolicyPort> {
    let protocol = protocol(given.protocol.as_deref(), &at.then("protocol"), errors);
    let (port_at, end_at) = (at.then("port"), at.then("endPort"));
    let port = match (given.port, given.end_port) {
        (None, None) => None,
        (None, Some(_)) => {
            errors.add(&end_at, "needs a numeric port beside it");
            return None;
        }
        (Some(IntOrString::String(name)), end) => {
            if end.is_some() {
                errors.add(&end_at, format!("needs a numeric port beside it, not \"{name}\""));
            }
            Some(PortMatch::Name(port_name(name, &port_at, errors)?))
        }
        (Some(IntOrString::Int(first)), None) => Some(PortMatch::Number(port(first, &port_at, errors)?)),
        (Some(IntOrString::Int(first)), Some(last)) => {
            let (first, last) = (port(first, &port_at, errors), port(last, &end_at, errors));
            let (first, last) = (first?, last?);
            if last < first {
                errors.add(&end_at, format!("{last} is below port {first}"));
            }
            Some(PortMatch::Range(first, last))
        }
    };
    Some(PolicyPort { protocol, port })
}
