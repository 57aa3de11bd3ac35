//! The smallest allow rules that admit exactly the traffic that was denied, as policies that can be applied. By name
//! where a kind that isolates the pod can name hosts, else a NetworkPolicy, else a policy that stands before the one
//! that decides.

mod calico;
mod cilium;
mod cut_off;
mod ends;
mod labels;
mod manifest;
mod name;
mod network;
mod yaml;

#[cfg(test)]
pub(super) use labels::lasting;

use super::kinds::{self, Question};
use super::ladder;
use super::model::{Decision, PolicyFlow, PolicyView, SideView};
use super::services;
use crate::cluster::{Object, ObjectKind, Pod};
use crate::identity::{ClusterIndex, Endpoint};
use crate::verdict::{Fix, PolicyResult, Side};

/// A policy that admits the traffic.
#[derive(Clone, Debug, PartialEq)]
struct Allow {
    object: Object,
    /// What to know before it is applied.
    remark: Option<String>,
}

impl Allow {
    fn of(object: impl Into<Object>) -> Self {
        Self { object: object.into(), remark: None }
    }

    fn is_for_ingress(&self) -> bool {
        match &self.object {
            Object::NetworkPolicy(policy) => policy.isolates_ingress,
            Object::CalicoPolicy(policy) => policy.ingress.is_some(),
            _ => false,
        }
    }
}

/// What to do about denied traffic; `None` if no side denies it. The manifest is there only if its policies were
/// found to admit the traffic on every side that denies it.
#[must_use]
pub fn fix(index: &ClusterIndex, flow: &PolicyFlow, view: &PolicyView) -> Option<Fix> {
    match allows(index, flow, view) {
        Ok(allows) if allows.is_empty() => None,
        Ok(allows) => Some(Fix {
            text: manifest::text(&allows, flow.from.pod.as_deref()),
            manifest: Some(manifest::yaml(&allows)),
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
) -> Result<Vec<Object>, String> {
    let allows = allows(index, flow, view)?;
    Ok(allows.into_iter().map(|allow| allow.object).collect())
}

fn allows(index: &ClusterIndex, flow: &PolicyFlow, view: &PolicyView) -> Result<Vec<Allow>, String> {
    let legs = Leg::of(index, flow, view);
    if legs.is_empty() && view.denies() {
        return Err("the Service has no endpoint: there is no address to allow yet".into());
    }
    let mut allows: Vec<Allow> = Vec::new();
    for leg in &legs {
        for (question, denying) in leg.denials(index, flow) {
            if let Some(why) = isolates_anew(denying) {
                return Err(why);
            }
            let allow = allow(&question, denying, flow, &legs)?;
            if !allows.contains(&allow) {
                allows.push(allow);
            }
        }
    }
    allows.sort_by_key(Allow::is_for_ingress);
    for allow in &mut allows {
        name::make_free(&mut allow.object, index);
    }
    Ok(allows)
}

/// What admits the flow on one side: the first of the candidates that is found to.
fn allow(
    question: &Question<'_>,
    denying: &SideView,
    flow: &PolicyFlow,
    legs: &[Leg<'_>],
) -> Result<Allow, String> {
    let admits = |allow: &Allow| {
        let added = std::slice::from_ref(&allow.object);
        kinds::judge(&Question { added, ..*question }).decision == Decision::Allow
    };
    let is_clean = |allow: &Allow| admits(allow) && cut_off::by(question, &allow.object).is_none();
    let by_name = cilium::by_name(question, denying, flow).into_iter();
    let mut by_name = by_name.chain(calico::by_name(question, denying, flow, legs));
    if let Some(allow) = by_name.find(is_clean) {
        return Ok(allow);
    }
    let plain = network::allow(question, denying, flow, legs).map(Allow::of).and_then(|allow| {
        if !admits(&allow) {
            return Err(stands(denying));
        }
        let cut_off = if network::is_within(denying) { None } else { cut_off::by(question, &allow.object) };
        cut_off.map_or(Ok(allow), Err)
    });
    plain.or_else(|reason| {
        let placed = calico::placed(question, denying, flow, legs);
        placed.filter(is_clean).ok_or(reason)
    })
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
