//! AdminNetworkPolicy, BaselineAdminNetworkPolicy (`policy.networking.k8s.io/v1alpha1`) and ClusterNetworkPolicy
//! (`v1alpha2`). What the CRDs leave open is left open here too: a peer or port of a field that is not known stays, as
//! such.

use egress_core::cluster::{
    LabelSelector, NamespacedPods, PolicyPort, PortMatch, Tier, TieredAction, TieredApi, TieredPeer,
    TieredPolicy, TieredPort, TieredRule,
};
use egress_core::protocol::Protocol;
use k8s_openapi::apimachinery::pkg::apis::meta::v1;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::field::Field;
use super::selector::selector;
use super::{Errors, cidr, name, port, protocol};

/// Highest priority value.
const MAX_PRIORITY: i64 = 1000;

/// Any of the three kinds.
#[derive(Debug, Deserialize)]
pub struct Tiered {
    #[serde(default)]
    metadata: v1::ObjectMeta,
    spec: Spec,
}

#[derive(Debug, Deserialize)]
struct Spec {
    tier: Option<String>,
    priority: Option<i64>,
    subject: Subject,
    #[serde(default)]
    ingress: Vec<Rule>,
    #[serde(default)]
    egress: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
struct Subject {
    namespaces: Option<v1::LabelSelector>,
    pods: Option<Pods>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pods {
    #[serde(default)]
    namespace_selector: v1::LabelSelector,
    #[serde(default)]
    pod_selector: v1::LabelSelector,
}

#[derive(Debug, Deserialize)]
struct Rule {
    #[serde(default)]
    name: String,
    action: String,
    #[serde(default)]
    from: Vec<Peer>,
    #[serde(default)]
    to: Vec<Peer>,
    #[serde(default)]
    ports: Vec<Port>,
    #[serde(default)]
    protocols: Vec<Port>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Peer {
    namespaces: Option<v1::LabelSelector>,
    pods: Option<Pods>,
    nodes: Option<v1::LabelSelector>,
    networks: Option<Vec<String>>,
    domain_names: Option<Vec<String>>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

/// A port of either version.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Port {
    port_number: Option<Number>,
    port_range: Option<Range>,
    named_port: Option<String>,
    tcp: Option<OfProtocol>,
    udp: Option<OfProtocol>,
    sctp: Option<OfProtocol>,
    destination_named_port: Option<String>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
struct Number {
    protocol: Option<String>,
    port: i32,
}

#[derive(Debug, Deserialize)]
struct Range {
    protocol: Option<String>,
    start: i32,
    end: i32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfProtocol {
    destination_port: Option<DestinationPort>,
}

#[derive(Debug, Deserialize)]
struct DestinationPort {
    number: Option<i32>,
    range: Option<Range>,
}

/// Converts an AdminNetworkPolicy.
pub fn admin_network_policy(object: Tiered, errors: &mut Errors) -> TieredPolicy {
    convert(object, TieredApi::Admin, errors)
}

/// Converts a BaselineAdminNetworkPolicy.
pub fn baseline_admin_network_policy(object: Tiered, errors: &mut Errors) -> TieredPolicy {
    convert(object, TieredApi::BaselineAdmin, errors)
}

/// Converts a ClusterNetworkPolicy.
pub fn cluster_network_policy(object: Tiered, errors: &mut Errors) -> TieredPolicy {
    convert(object, TieredApi::Cluster, errors)
}

fn convert(mut object: Tiered, api: TieredApi, errors: &mut Errors) -> TieredPolicy {
    let at = Field::root("spec");
    let spec = object.spec;
    let tier = match (api, spec.tier.as_deref()) {
        (TieredApi::Admin, _) | (TieredApi::Cluster, Some("Admin")) => Tier::Admin,
        (TieredApi::BaselineAdmin, _) | (TieredApi::Cluster, Some("Baseline")) => Tier::Baseline,
        (TieredApi::Cluster, given) => {
            let given = given.unwrap_or_default();
            errors.add(&at.then("tier"), format!("\"{given}\" is none of Admin, Baseline"));
            Tier::Admin
        }
    };
    let priority = match spec.priority {
        None if api == TieredApi::BaselineAdmin => Ok(0),
        None => Err("is missing".to_owned()),
        Some(number) => u16::try_from(number)
            .ok()
            .filter(|_| number <= MAX_PRIORITY)
            .ok_or_else(|| format!("{number} is not a priority (0 to {MAX_PRIORITY})")),
    };
    let (ingress_at, egress_at) = (at.then("ingress"), at.then("egress"));
    let rules = |given: Vec<Rule>, at: &Field<'_>, peers: &str, errors: &mut Errors| {
        let given = given.into_iter().enumerate();
        given.filter_map(|(index, given)| rule(given, api, peers, &at.item(index), errors)).collect()
    };
    TieredPolicy {
        api,
        name: name(&mut object.metadata, errors),
        tier,
        priority: errors.check(&at.then("priority"), priority).unwrap_or_default(),
        subject: subject(spec.subject, &at.then("subject"), errors),
        ingress: rules(spec.ingress, &ingress_at, "from", errors),
        egress: rules(spec.egress, &egress_at, "to", errors),
    }
}

fn subject(given: Subject, at: &Field<'_>, errors: &mut Errors) -> NamespacedPods {
    match (given.namespaces, given.pods) {
        (Some(given), None) => {
            NamespacedPods { namespaces: selector(given, &at.then("namespaces"), errors), pods: None }
        }
        (None, Some(given)) => namespaced(given, &at.then("pods"), errors),
        _ => {
            errors.add(at, "needs one of namespaces, pods");
            NamespacedPods::default()
        }
    }
}

fn namespaced(given: Pods, at: &Field<'_>, errors: &mut Errors) -> NamespacedPods {
    NamespacedPods {
        namespaces: selector(given.namespace_selector, &at.then("namespaceSelector"), errors),
        pods: Some(selector(given.pod_selector, &at.then("podSelector"), errors)),
    }
}

fn rule(
    given: Rule,
    api: TieredApi,
    peers_name: &str,
    at: &Field<'_>,
    errors: &mut Errors,
) -> Option<TieredRule> {
    let (accept, wanted) = match api {
        TieredApi::Cluster => ("Accept", "Accept, Deny, Pass"),
        TieredApi::Admin => ("Allow", "Allow, Deny, Pass"),
        TieredApi::BaselineAdmin => ("Allow", "Allow, Deny"),
    };
    let action = match given.action.as_str() {
        word if word == accept => Ok(TieredAction::Accept),
        "Deny" => Ok(TieredAction::Deny),
        "Pass" if api != TieredApi::BaselineAdmin => Ok(TieredAction::Pass),
        other => Err(format!("\"{other}\" is none of {wanted}")),
    };
    let action = errors.check(&at.then("action"), action)?;
    let (listed, peers_at) = (if peers_name == "to" { given.to } else { given.from }, at.then(peers_name));
    if listed.is_empty() {
        errors.add(&peers_at, "must have at least one peer");
    }
    let mut peers = Vec::with_capacity(listed.len());
    for (index, given) in listed.into_iter().enumerate() {
        let at = peers_at.item(index);
        if given.domain_names.is_some() && action != TieredAction::Accept {
            errors.add(&at.then("domainNames"), format!("is for rules with action {accept} only"));
        }
        peers.push(peer(given, &at, errors));
    }
    let ports_at = at.then(if api == TieredApi::Cluster { "protocols" } else { "ports" });
    let ports = if api == TieredApi::Cluster { given.protocols } else { given.ports };
    let ports = ports.into_iter().enumerate();
    let ports = ports.filter_map(|(index, given)| tiered_port(given, &ports_at.item(index), errors));
    Some(TieredRule { name: given.name, action, ports: ports.collect(), peers })
}

/// Exactly one field; one that is not known makes the peer an unknown one.
fn peer(given: Peer, at: &Field<'_>, errors: &mut Errors) -> TieredPeer {
    let mut found = Vec::new();
    if let Some(given) = given.namespaces {
        let namespaces = selector(given, &at.then("namespaces"), errors);
        found.push(TieredPeer::Pods(NamespacedPods { namespaces, pods: None }));
    }
    if let Some(given) = given.pods {
        found.push(TieredPeer::Pods(namespaced(given, &at.then("pods"), errors)));
    }
    if let Some(given) = given.nodes {
        let nodes: LabelSelector = selector(given, &at.then("nodes"), errors);
        found.push(TieredPeer::Nodes(nodes));
    }
    if let Some(given) = given.networks {
        let at = at.then("networks");
        let networks =
            given.iter().enumerate().filter_map(|(index, text)| cidr(text, &at.item(index), errors));
        found.push(TieredPeer::Networks(networks.collect()));
    }
    if let Some(names) = given.domain_names {
        found.push(TieredPeer::DomainNames(names));
    }
    found.extend(given.other.into_iter().map(|(field, _)| TieredPeer::Unknown(field)));
    if found.len() > 1 {
        errors.add(at, "can have only one field");
    }
    found.pop().unwrap_or_else(|| TieredPeer::Unknown("(no field)".into()))
}

fn tiered_port(given: Port, at: &Field<'_>, errors: &mut Errors) -> Option<TieredPort> {
    let mut found = Vec::new();
    if let Some(given) = given.port_number {
        let at = at.then("portNumber");
        let protocol = protocol(given.protocol.as_deref(), &at.then("protocol"), errors);
        let number = PortMatch::Number(port(given.port, &at.then("port"), errors)?);
        found.push(TieredPort::Number(PolicyPort { protocol, port: Some(number) }));
    }
    if let Some(given) = given.port_range {
        let at = at.then("portRange");
        let protocol = protocol(given.protocol.as_deref(), &at.then("protocol"), errors);
        let port = Some(range(&given, &at, errors)?);
        found.push(TieredPort::Number(PolicyPort { protocol, port }));
    }
    found.extend(given.named_port.or(given.destination_named_port).map(TieredPort::Name));
    let of_protocol = [
        ("tcp", given.tcp, Protocol::Tcp),
        ("udp", given.udp, Protocol::Udp),
        ("sctp", given.sctp, Protocol::Sctp),
    ];
    for (word, given, protocol) in of_protocol {
        let Some(given) = given else { continue };
        let at = at.then(word);
        let port = match given.destination_port {
            Some(given) => Some(destination_port(&given, &at.then("destinationPort"), errors)?),
            None => None,
        };
        found.push(TieredPort::Number(PolicyPort { protocol, port }));
    }
    found.extend(given.other.into_iter().map(|(field, _)| TieredPort::Unknown(field)));
    if found.len() != 1 {
        errors.add(at, "needs exactly one field");
    }
    found.pop()
}

fn destination_port(given: &DestinationPort, at: &Field<'_>, errors: &mut Errors) -> Option<PortMatch> {
    match (given.number, &given.range) {
        (Some(number), None) => Some(PortMatch::Number(port(number, &at.then("number"), errors)?)),
        (None, Some(given)) => range(given, &at.then("range"), errors),
        _ => {
            errors.add(at, "needs one of number, range");
            None
        }
    }
}

fn range(given: &Range, at: &Field<'_>, errors: &mut Errors) -> Option<PortMatch> {
    let (start_at, end_at) = (at.then("start"), at.then("end"));
    let (start, end) = (port(given.start, &start_at, errors), port(given.end, &end_at, errors));
    let (start, end) = (start?, end?);
    if end < start {
        errors.add(&end_at, format!("{end} is below start {start}"));
    }
    Some(PortMatch::Range(start, end))
}
