//! `source` or `destination` of a rule against one end of the traffic.

use ipnet::IpNet;

use super::end::{End, Selection, in_domain};
use super::{Question, ports};
use crate::cluster::ObjectKind;
use crate::cluster::calico::{CalicoPolicy, Entity, NamespaceLabels, PodLabels};
use crate::policy::kinds::compare::{Comparison, listed};
use crate::truth::Truth;
use crate::verdict::PeerKind;

/// How many values of a list are written out.
const MAX_DESCRIBED: usize = 4;

/// All that the entity says of this end.
pub(super) fn compare(
    entity: &Entity,
    policy: &CalicoPolicy,
    end: &End<'_>,
    question: &Question<'_>,
) -> Comparison {
    let parts = [
        selected(entity, policy, end),
        not_selected(entity, end),
        nets(&entity.nets, end),
        not_nets(&entity.not_nets, end),
        service(entity, end, question),
        domains(entity, end, question),
        ports::compare(entity, end, question),
    ];
    Comparison::all(&parts.iter().collect::<Vec<_>>())
}

fn holds() -> Comparison {
    Comparison::new(true, "")
}

/// What the rule's selectors select. In a namespaced policy any of them restricts it to the policy's namespace
/// (`GetEntityRuleSelector` of `libcalico-go`), a `notSelector`, too.
fn selected(entity: &Entity, policy: &CalicoPolicy, end: &End<'_>) -> Comparison {
    let Entity { selector, not_selector, namespaces, service_accounts, .. } = entity;
    let own = Some(policy.namespace.as_str()).filter(|namespace| !namespace.is_empty());
    let given = selector.is_some() || namespaces.is_some() || service_accounts.is_some();
    if !given && (not_selector.is_none() || own.is_none()) {
        return holds();
    }
    let selection = Selection {
        selector: selector.as_ref(),
        namespaces: namespaces.as_ref(),
        own,
        accounts: service_accounts.as_ref(),
    };
    let truth = end.selected_by(selection);
    let words = match truth {
        Truth::Yes => match (end.pod, end.sets.first()) {
            (Some(pod), _) => format!("pod {} is one", pod.reference()),
            (None, Some(_)) => format!("{} is in a network set of these", name(end)),
            (None, None) => String::new(),
        },
        Truth::No => mismatch(selection, end),
        Truth::Unknown => unknown(end),
    };
    Comparison::new(truth, words)
}

/// What the end has instead of what the selection asks for.
fn mismatch(selection: Selection<'_>, end: &End<'_>) -> String {
    let Some(pod) = end.pod else {
        return match end.kind {
            PeerKind::Node => format!("{} is a node", name(end)),
            _ if end.sets.is_empty() => format!("{} is no pod, and no network set holds it", name(end)),
            _ => format!("{} is no pod, and no network set of these holds it", name(end)),
        };
    };
    let reference = pod.reference();
    if let (None, Some(own)) = (selection.namespaces, selection.own)
        && pod.namespace != own
    {
        return format!("pod {reference} is not in namespace {own}");
    }
    if let Some(has) = selection.selector.and_then(|selector| selector.mismatch(&PodLabels(pod))) {
        return format!("pod {reference} {has}");
    }
    let labels = NamespaceLabels { name: Some(&pod.namespace), object: end.namespace };
    if let Some(has) = selection.namespaces.and_then(|selector| selector.mismatch(&labels)) {
        return format!("namespace {} {has}", pod.namespace);
    }
    format!("pod {reference} runs as service account {}", pod.service_account)
}

fn not_selected(entity: &Entity, end: &End<'_>) -> Comparison {
    let Some(selector) = &entity.not_selector else { return holds() };
    let selection = Selection { selector: Some(selector), namespaces: None, own: None, accounts: None };
    match end.selected_by(selection) {
        Truth::Yes => Comparison::new(false, format!("{} is selected by {selector}", name(end))),
        Truth::Unknown => Comparison::new(Truth::Unknown, unknown(end)),
        Truth::No => holds(),
    }
}

fn nets(nets: &[IpNet], end: &End<'_>) -> Comparison {
    if nets.is_empty() {
        return holds();
    }
    let Some(ip) = end.ip else { return unknown_address(end) };
    if nets.iter().any(|net| net.contains(&ip)) {
        return Comparison::new(true, format!("{ip} is inside"));
    }
    let words = match nets {
        [only] if only.addr().is_ipv4() != ip.is_ipv4() => {
            format!("{ip} is {}", if ip.is_ipv4() { "IPv4" } else { "IPv6" })
        }
        [_] => format!("{ip} is outside"),
        _ => format!("{ip} is in none of these"),
    };
    Comparison::new(false, words)
}

fn not_nets(nets: &[IpNet], end: &End<'_>) -> Comparison {
    if nets.is_empty() {
        return holds();
    }
    let Some(ip) = end.ip else { return unknown_address(end) };
    match nets.iter().find(|net| net.contains(&ip)) {
        Some(net) => Comparison::new(false, format!("{ip} is in the excepted {net}")),
        None => holds(),
    }
}

/// The endpoints of a Service: their addresses and, of a destination, their ports.
fn service(entity: &Entity, end: &End<'_>, question: &Question<'_>) -> Comparison {
    let Some(named) = &entity.service else { return holds() };
    let Some(service) = question.index.service(&named.namespace, &named.name) else {
        return Comparison::new(Truth::Unknown, format!("Service {named} is not known"));
    };
    let Some(ip) = end.ip else { return unknown_address(end) };
    if !question.index.sees(ObjectKind::EndpointSlice) {
        return Comparison::new(Truth::Unknown, format!("the endpoints of Service {named} are not known"));
    }
    let mut truth = Truth::No;
    for slice in question.index.slices_of(service) {
        let on_port = !end.dialled
            || slice
                .ports
                .iter()
                .any(|(_, port, protocol)| question.port == Some(*port) && *protocol == question.protocol);
        let backends = slice.backends.iter().filter(|backend| on_port && backend.ip == ip);
        // Whether Calico counts endpoints that are not ready depends on its version.
        let found = backends.map(|backend| if backend.ready { Truth::Yes } else { Truth::Unknown });
        truth = truth.max(Truth::any(found));
    }
    let words = match truth {
        Truth::Yes => format!("{ip} is one of its endpoints"),
        Truth::No => format!("{} is none of its endpoints", name(end)),
        Truth::Unknown => format!("its endpoint {ip} is not ready"),
    };
    Comparison::new(truth, words)
}

/// Names, from what the source was seen to resolve.
fn domains(entity: &Entity, end: &End<'_>, question: &Question<'_>) -> Comparison {
    if entity.domains.is_empty() {
        return holds();
    }
    let names = question.names;
    let Some(ip) = end.ip else { return unknown_address(end) };
    let in_one = |name: &&String| entity.domains.iter().any(|domain| in_domain(domain, name));
    if let Some(name) = names.iter().find(in_one) {
        return Comparison::new(true, format!("{ip} is {name}"));
    }
    match (end.pod, names) {
        (Some(pod), _) => Comparison::new(false, format!("{ip} is pod {}", pod.reference())),
        (None, []) => {
            Comparison::new(Truth::Unknown, format!("which names the source resolved to {ip} was not seen"))
        }
        (None, names) => Comparison::new(false, format!("{ip} is {}", names.join(", "))),
    }
}

fn unknown(end: &End<'_>) -> String {
    match (end.kind, end.ip) {
        (PeerKind::Node, Some(ip)) => format!("whether node {ip} has a HostEndpoint of these is not known"),
        (PeerKind::Unresolved, Some(ip)) => format!("what {ip} is in the cluster is not known"),
        (_, Some(ip)) => format!("not all labels of {ip} that count are known"),
        (_, None) => "there is no endpoint to compare".into(),
    }
}

fn unknown_address(end: &End<'_>) -> Comparison {
    Comparison::new(Truth::Unknown, format!("the address of {} is not known", name(end)))
}

/// The end, as a person calls it.
pub(super) fn name(end: &End<'_>) -> String {
    match (end.pod, end.ip) {
        (Some(pod), Some(ip)) => format!("pod {} ({ip})", pod.reference()),
        (Some(pod), None) => format!("pod {}", pod.reference()),
        (None, Some(ip)) => ip.to_string(),
        (None, None) => "the destination".into(),
    }
}

/// `10.0.0.0/8 except 10.1.0.0/16`, `endpoints app == "db" in namespace shop`, `anyone`.
pub(in crate::policy) fn describe(entity: &Entity, policy: &CalicoPolicy) -> String {
    let Entity {
        nets, not_nets, selector, not_selector, namespaces, service_accounts, service, domains, ..
    } = entity;
    let mut words = Vec::new();
    let mut endpoints = Vec::new();
    if let Some(selector) = selector {
        endpoints.push(format!("endpoints {selector}"));
    }
    match namespaces {
        Some(selector) if selector.to_string() == "all()" => endpoints.push("in any namespace".into()),
        Some(selector) if selector.to_string() == "global()" => endpoints.push("in no namespace".into()),
        Some(selector) => endpoints.push(format!("in namespaces {selector}")),
        None if policy.namespace.is_empty() => {}
        None if selector.is_some() || not_selector.is_some() || service_accounts.is_some() => {
            endpoints.push(format!("in namespace {}", policy.namespace));
        }
        None => {}
    }
    if let Some(accounts) = service_accounts {
        let names = accounts.names.join(", ");
        let selector = accounts.selector.as_ref().map(|one| format!(" {one}")).unwrap_or_default();
        endpoints.push(format!("with service account {names}{selector}"));
    }
    if !endpoints.is_empty() {
        words.push(endpoints.join(" "));
    }
    if !nets.is_empty() {
        words.push(listed(nets.iter().map(ToString::to_string), MAX_DESCRIBED));
    }
    if let Some(service) = service {
        words.push(format!("Service {service}"));
    }
    if !domains.is_empty() {
        words.push(listed(domains.iter().cloned(), MAX_DESCRIBED));
    }
    let mut whom = if words.is_empty() { "anyone".to_owned() } else { words.join(" and ") };
    let mut except = Vec::new();
    if let Some(selector) = not_selector {
        except.push(format!("endpoints {selector}"));
    }
    if !not_nets.is_empty() {
        except.push(listed(not_nets.iter().map(ToString::to_string), MAX_DESCRIBED));
    }
    if !except.is_empty() {
        whom.push_str(&format!(" except {}", except.join(", ")));
    }
    whom
}
