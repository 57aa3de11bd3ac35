//! A fix as a NetworkPolicy of Calico: by name, where `domains` are in use, or in a place where a NetworkPolicy of
//! Kubernetes cannot stand, before what decides.

use super::{Allow, Leg, ends, labels, name};
use crate::cluster::calico::{Action, CalicoPolicy, Entity, Rule, Selector};
use crate::cluster::{LabelSelector, ObjectKind, Operator, Peer, PolicyPort};
use crate::policy::kinds::Question;
use crate::policy::ladder;
use crate::policy::{PolicyFlow, SideView};
use crate::verdict::{PolicyFinding, PolicyResult, Side};

/// The order of a policy before one that comes last.
const BEFORE_LAST: f64 = 1000.0;

/// Where a policy has to stand to be asked in time.
struct Place {
    tier: String,
    /// `None`: the last of its tier.
    order: Option<f64>,
    /// Before which policy's rule, in words.
    before: Option<String>,
}

/// By the name that was last resolved to the destination. Only where some policy or network set of this cluster goes by
/// domains already: other editions of Calico leave the field out, and the rule would admit everybody.
pub(super) fn by_name(
    question: &Question<'_>,
    denying: &SideView,
    flow: &PolicyFlow,
    legs: &[Leg<'_>],
) -> Option<Allow> {
    let host = ends::host(question, flow)?;
    let place = place(question, denying)?;
    let names = |rule: &Rule| !rule.destination.domains.is_empty();
    let policies = question.policies::<CalicoPolicy>();
    let in_use = policies.iter().any(|(policy, _)| policy.egress.iter().flatten().any(names))
        || !question.index.calico_sets_of_domains().is_empty();
    if !in_use {
        return None;
    }
    let name = name::of_host(question.pod, &host, flow);
    let entity = Entity { domains: vec![host], ..Entity::default() };
    policy(question, flow, legs, place, name, vec![entity])
}

/// By labels or address, before the policy that denies it, or in the tier that ends with a denial.
pub(super) fn placed(
    question: &Question<'_>,
    denying: &SideView,
    flow: &PolicyFlow,
    legs: &[Leg<'_>],
) -> Option<Allow> {
    let place = place(question, denying)?;
    let name = name::of(question.side, question.pod, &flow.from, &flow.to, flow);
    let peers = ends::peers(question.side, flow, legs, &question.pod.namespace).ok()?;
    let entities: Option<Vec<Entity>> = peers.iter().map(entity).collect();
    policy(question, flow, legs, place, name, entities?)
}

/// The place before what decides.
fn place(question: &Question<'_>, denying: &SideView) -> Option<Place> {
    let first = |result| denying.policies.iter().find(|finding| finding.result == result);
    let Some(denies) = first(PolicyResult::Denies) else {
        let mut ending = denying.policies.iter().filter(|one| one.result == PolicyResult::DoesNotAdmit);
        let policy = ending.find_map(|finding| of_finding(question, finding))?;
        return Some(Place { tier: policy.tier.clone(), order: None, before: None });
    };
    let policy = of_finding(question, denies)?;
    let order = policy.order.map_or(BEFORE_LAST, |order| order - 1.0);
    let rule = denies.why.last().map_or("", String::as_str);
    let before = format!("{}, which denies it ({rule})", ladder::title(denies));
    Some(Place { tier: policy.tier.clone(), order: Some(order), before: Some(before) })
}

fn of_finding<'a>(question: &Question<'a>, finding: &PolicyFinding) -> Option<&'a CalicoPolicy> {
    let kinds = [ObjectKind::CalicoNetworkPolicy, ObjectKind::CalicoGlobalNetworkPolicy];
    let kind = kinds.into_iter().find(|kind| kind.as_str() == finding.kind)?;
    let namespace = finding.namespace.as_deref().unwrap_or_default();
    question.index.policy_named::<CalicoPolicy>(kind, namespace, &finding.name).map(AsRef::as_ref)
}

fn policy(
    question: &Question<'_>,
    flow: &PolicyFlow,
    legs: &[Leg<'_>],
    place: Place,
    name: String,
    peers: Vec<Entity>,
) -> Option<Allow> {
    let own = selector(&LabelSelector::of_labels(labels::lasting(question.pod)))?;
    let ports = ends::ports(question.index, flow, legs);
    let rules = peers.iter().flat_map(|peer| rules(question.side, peer, &ports)).collect();
    let in_default = place.tier == CalicoPolicy::DEFAULT_TIER;
    let mut policy = CalicoPolicy {
        namespace: question.pod.namespace.clone(),
        // Older versions demand the tier's name before the policy's.
        name: if in_default { name } else { format!("{}.{name}", place.tier) },
        tier: place.tier,
        order: place.order,
        selector: own,
        ..CalicoPolicy::default()
    };
    match question.side {
        Side::Egress => policy.egress = Some(rules),
        Side::Ingress => policy.ingress = Some(rules),
    }
    let remark = place.before.map(|before| {
        let order = policy.order.map(|order| order.to_string()).unwrap_or_default();
        format!("stands at order {order} of tier {}, before {before}", policy.tier)
    });
    Some(Allow { remark, ..Allow::of(policy) })
}

/// A rule for each protocol.
fn rules(side: Side, peer: &Entity, ports: &[PolicyPort]) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for port in ports {
        let Some(number) = port.protocol.number() else { continue };
        if let Some(rule) = rules.iter_mut().find(|rule| rule.protocol == Some(number)) {
            rule.destination.ports.extend(port.port.clone());
            continue;
        }
        let mut rule = Rule { protocol: Some(number), ..Rule::of_all(Action::Allow) };
        match side {
            Side::Egress => rule.destination = peer.clone(),
            Side::Ingress => rule.source = peer.clone(),
        }
        rule.destination.ports.extend(port.port.clone());
        rules.push(rule);
    }
    rules
}

fn entity(peer: &Peer) -> Option<Entity> {
    Some(match peer {
        Peer::IpBlock(block) => {
            Entity { nets: vec![block.cidr], not_nets: block.except.clone(), ..Entity::default() }
        }
        Peer::Pods { namespaces, pods } => Entity {
            selector: Some(selector(pods.as_ref()?)?),
            namespaces: match namespaces {
                Some(namespaces) => Some(selector(namespaces)?),
                None => None,
            },
            ..Entity::default()
        },
    })
}

/// The same in Calico's language; `None` where it cannot be said, or would select everything.
fn selector(labels: &LabelSelector) -> Option<Selector> {
    let quoted = |value: &str| format!("'{value}'");
    let equal = labels.match_labels.iter().map(|(key, value)| format!("{key} == {}", quoted(value)));
    let others = labels.expressions.iter().map(|one| {
        let values = one.values.iter().map(|value| quoted(value)).collect::<Vec<_>>().join(", ");
        match one.operator {
            Operator::In => format!("{} in {{{values}}}", one.key),
            Operator::NotIn => format!("{} not in {{{values}}}", one.key),
            Operator::Exists => format!("has({})", one.key),
            Operator::DoesNotExist => format!("!has({})", one.key),
        }
    });
    let text = equal.chain(others).collect::<Vec<_>>().join(" && ");
    if text.is_empty() { None } else { text.parse().ok() }
}
