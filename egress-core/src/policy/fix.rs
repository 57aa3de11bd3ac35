//! The smallest allow rules that admit exactly the traffic that was denied, as policies that can be applied.

mod ends;
mod labels;
mod manifest;
mod name;
mod yaml;

#[cfg(test)]
pub(super) use labels::lasting;

use super::kinds::{self, Question};
use super::ladder;
use super::model::{Decision, PolicyFlow, PolicyView, SideView};
use super::services;
use crate::cluster::{NetworkPolicy, Object, ObjectKind, Pod, Rule};
use crate::identity::{ClusterIndex, Endpoint};
use crate::protocol::Protocol;
use crate::verdict::{Fix, PolicyFinding, PolicyResult, Side};

/// What to do about denied traffic; `None` if no side denies it. The manifest is there only if its policies were
/// found to admit the traffic on every side that denies it.
#[must_use]
pub fn fix(index: &ClusterIndex, flow: &PolicyFlow, view: &PolicyView) -> Option<Fix> {
    match fix_policies(index, flow, view) {
        Ok(policies) if policies.is_empty() => None,
        Ok(policies) => Some(Fix {
            text: manifest::text(&policies, flow.from.pod.as_deref()),
            manifest: Some(manifest::yaml(&policies)),
        }),
        Err(reason) => Some(Fix { text: reason, manifest: None }),
    }
}

/// The policies of [`fix`]; empty if no side denies the traffic.
///
/// # Errors
/// In words, why no policy can admit exactly this traffic, and what to do instead.
pub fn fix_policies(
    index: &ClusterIndex,
    flow: &PolicyFlow,
    view: &PolicyView,
) -> Result<Vec<NetworkPolicy>, String> {
    let legs = Leg::of(index, flow, view);
    if legs.is_empty() && view.denies() {
        return Err("the Service has no endpoint: there is no address to allow yet".into());
    }
    let mut policies: Vec<NetworkPolicy> = Vec::new();
    for leg in &legs {
        for (question, denying) in leg.denials(index, flow) {
            if let Some(why) = isolates_anew(denying) {
                return Err(why);
            }
            let policy = allow(&question, denying, flow, &legs)?;
            let by_network_policy =
                |finding: &PolicyFinding| finding.kind == ObjectKind::NetworkPolicy.as_str();
            if !denying.policies.iter().any(by_network_policy)
                && let Some(reason) = isolated_anew(&question, &policy)
            {
                return Err(reason);
            }
            let added = [Object::from(policy.clone())];
            if kinds::judge(&Question { added: &added, ..question }).decision != Decision::Allow {
                return Err(stands(denying));
            }
            if !policies.contains(&policy) {
                policies.push(policy);
            }
        }
    }
    policies.sort_by_key(|policy| policy.isolates_ingress);
    for policy in &mut policies {
        name::make_free(policy, index);
    }
    Ok(policies)
}

/// One destination as the policies see it: the flow's own, or a backend that its Service may choose.
struct Leg<'a> {
    to: Endpoint,
    port: u16,
    egress: Option<&'a SideView>,
    ingress: Option<&'a SideView>,
}

impl<'a> Leg<'a> {
    fn of(index: &ClusterIndex, flow: &PolicyFlow, view: &'a PolicyView) -> Vec<Self> {
        let Some(views) = &view.backends else {
            let (egress, ingress) = (view.egress.as_ref(), view.ingress.as_ref());
            return vec![Self { to: flow.to.clone(), port: flow.port, egress, ingress }];
        };
        let any_ready = views.iter().any(|view| view.ready);
        services::backends(index, &flow.to)
            .iter()
            .zip(views)
            .filter(|(_, view)| view.ready || !any_ready)
            .map(|(backend, view)| Self {
                to: index.backend_endpoint(backend, flow.to.service.as_ref()),
                port: view.port,
                egress: view.egress.as_ref(),
                ingress: view.ingress.as_ref(),
            })
            .collect()
    }

    /// The sides that deny, with the question they denied.
    fn denials(&'a self, index: &'a ClusterIndex, flow: &'a PolicyFlow) -> Vec<(Question<'a>, &'a SideView)> {
        let question = |side, pod: &'a Pod, peer| Question {
            index,
            side,
            pod,
            peer,
            destination: &self.to,
            port: Some(self.port),
            protocol: flow.protocol,
            names: &flow.names,
            added: &[],
        };
        let egress = self.egress.zip(flow.from.pod.as_deref());
        let ingress = self.ingress.zip(self.to.pod.as_deref());
        let egress = egress.map(|(view, pod)| (question(Side::Egress, pod, &self.to), view));
        let ingress = ingress.map(|(view, pod)| (question(Side::Ingress, pod, &flow.from), view));
        egress.into_iter().chain(ingress).filter(|(_, view)| view.decision == Decision::Deny).collect()
    }
}

/// Nothing isolates the pod yet, a rule of the baseline tier denies: a NetworkPolicy would deny everything else.
fn isolates_anew(view: &SideView) -> Option<String> {
    if view.policies.iter().any(|finding| finding.result == PolicyResult::DoesNotAdmit) {
        return None;
    }
    let denying = view.policies.iter().find(|finding| {
        finding.result == PolicyResult::Denies
            && finding.why.iter().any(|why| why.contains("(baseline tier)"))
    })?;
    Some(format!(
        "{} denies it ({}): allow it there, or write a NetworkPolicy with everything this pod needs, which is asked \
         before it",
        ladder::title(denying),
        denying.why.last().map_or("", String::as_str),
    ))
}

/// Why a policy more does not help.
fn stands(view: &SideView) -> String {
    match view.policies.iter().find(|finding| finding.result == PolicyResult::Denies) {
        Some(denying) => format!(
            "{} denies it, which no NetworkPolicy can override: that rule has to change ({})",
            ladder::title(denying),
            denying.why.last().map_or("", String::as_str),
        ),
        None => match view.policies.iter().find(|finding| finding.result == PolicyResult::DoesNotAdmit) {
            Some(refusing) if refusing.kind != ObjectKind::NetworkPolicy.as_str() => format!(
                "{} governs the pod and admits nothing of this, and a NetworkPolicy does not change that: a rule for \
                 this traffic has to stand in it",
                ladder::title(refusing),
            ),
            _ => "no single allow rule admits exactly this traffic".into(),
        },
    }
}

/// Another pod that the policy would select and that nothing isolates on this side so far: it would be cut off.
fn isolated_anew(question: &Question<'_>, policy: &NetworkPolicy) -> Option<String> {
    let selected =
        question.index.pods_in(&policy.namespace).filter(|pod| policy.selector.matches(&pod.labels));
    let mut others = selected.filter(|pod| !pod.is_same(question.pod) && !pod.host_network && !pod.finished);
    let free = others.find(|pod| !kinds::judge(&Question { pod, ..*question }).isolated)?;
    Some(format!(
        "a policy for pods {} would cut off pod {}, which no policy governs so far: give pod {} a label of its own, then \
         allow this traffic for it",
        policy.selector,
        free.reference(),
        question.pod.reference()
    ))
}

/// The policy that admits the flow on one side. For a Service: to all its backends.
fn allow(
    question: &Question<'_>,
    denying: &SideView,
    flow: &PolicyFlow,
    legs: &[Leg<'_>],
) -> Result<NetworkPolicy, String> {
    if !matches!(flow.protocol, Protocol::Tcp | Protocol::Udp | Protocol::Sctp) {
        return Err(format!(
            "NetworkPolicy knows no {}: what a rule without ports admits besides TCP, UDP and SCTP is up to the \
             network plugin",
            flow.protocol
        ));
    }
    let pod = question.pod;
    let selector = labels::subject(question.index, pod, denying)?;
    let ports = ends::ports(question.index, flow, legs);
    let side = question.side;
    let peers = match side {
        Side::Egress => ends::destinations(flow, legs, &pod.namespace)?,
        Side::Ingress => vec![ends::peer(&flow.from, &pod.namespace)?],
    };
    let name = name::of(side, pod, &flow.from, &flow.to, flow);
    let mut policy =
        NetworkPolicy { namespace: pod.namespace.clone(), name, selector, ..NetworkPolicy::default() };
    let rules = vec![Rule { peers, ports }];
    match side {
        Side::Egress => (policy.isolates_egress, policy.egress) = (true, rules),
        Side::Ingress => (policy.isolates_ingress, policy.ingress) = (true, rules),
    }
    Ok(policy)
}
