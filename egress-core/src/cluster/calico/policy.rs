//! NetworkPolicy and GlobalNetworkPolicy of Calico.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{NamespaceLabels, PodLabels, Rule, Selector, ServiceAccountLabels};
use crate::cluster::{Namespace, ObjectKind, Pod, Policy, Scope};
use crate::truth::Truth;
use crate::verdict::Side;

/// A NetworkPolicy or, without a namespace, a GlobalNetworkPolicy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CalicoPolicy {
    /// `metadata.namespace`; empty: a GlobalNetworkPolicy.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// `spec.tier`, `default` by default.
    pub tier: String,
    /// `spec.order`, lower first; `None`: after all others of its tier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<f64>,
    /// `spec.selector`
    pub selector: Selector,
    /// `spec.namespaceSelector` of a GlobalNetworkPolicy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Selector>,
    /// `spec.serviceAccountSelector`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_accounts: Option<Selector>,
    /// `spec.ingress`; `None` where `spec.types` has no Ingress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<Vec<Rule>>,
    /// `spec.egress`; `None` where `spec.types` has no Egress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<Vec<Rule>>,
    /// `spec.applyOnForward` and what needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarded: Option<Forwarded>,
}

/// What a GlobalNetworkPolicy does at the HostEndpoints that it selects besides governing the node's own traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Forwarded {
    /// `applyOnForward`: it governs forwarded traffic, too.
    Forwarded,
    /// `doNotTrack`: it governs traffic before connection tracking, and no pods.
    DoNotTrack,
    /// `preDNAT`: it governs traffic before its destination is translated, and no pods.
    PreDnat,
}

impl Forwarded {
    /// The field that says so.
    #[must_use]
    pub const fn field(self) -> &'static str {
        match self {
            Self::Forwarded => "applyOnForward",
            Self::DoNotTrack => "doNotTrack",
            Self::PreDnat => "preDNAT",
        }
    }
}

impl CalicoPolicy {
    /// The tier of policies that name none.
    pub const DEFAULT_TIER: &'static str = "default";

    /// `metadata.name` without the name of its tier, which older versions demand before it.
    #[must_use]
    pub fn short_name(&self) -> &str {
        let rest = self.name.strip_prefix(&*self.tier).and_then(|rest| rest.strip_prefix('.'));
        rest.unwrap_or(&self.name)
    }

    /// It governs pods at all.
    pub(crate) fn governs_pods(&self) -> bool {
        !matches!(self.forwarded, Some(Forwarded::DoNotTrack | Forwarded::PreDnat))
    }

    /// It governs this pod.
    pub(crate) fn selects_pod(&self, pod: &Pod, namespace: Option<&Namespace>) -> Truth {
        if !self.namespace.is_empty() && self.namespace != pod.namespace {
            return Truth::No;
        }
        let labels = NamespaceLabels { name: Some(&pod.namespace), object: namespace };
        let by_namespace = self.namespaces.as_ref().map(|selector| selector.matches(&labels));
        let account = ServiceAccountLabels { name: &pod.service_account };
        let by_account = self.service_accounts.as_ref().map(|selector| selector.matches(&account));
        Truth::from(self.selector.matches(&PodLabels(pod)))
            & by_namespace.map_or(Truth::Yes, Truth::from)
            & by_account.map_or(Truth::Yes, Truth::from)
    }
}

impl Policy for CalicoPolicy {
    fn kind(&self) -> ObjectKind {
        if self.namespace.is_empty() {
            ObjectKind::CalicoGlobalNetworkPolicy
        } else {
            ObjectKind::CalicoNetworkPolicy
        }
    }

    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn key_labels(&self) -> Vec<(Scope, &str, &str)> {
        // What governs forwarded traffic may matter to every pod.
        if self.forwarded.is_some() {
            return Vec::new();
        }
        let of_pod = self.selector.required().filter(|(key, _)| !key.starts_with(super::labels::OWN));
        let of_namespace = self.namespaces.as_ref().and_then(Selector::required);
        let of_namespace = of_namespace.filter(|(key, _)| !key.starts_with(super::labels::OWN));
        let of_pod = of_pod.map(|(key, value)| (Scope::Pod, key, value));
        let of_namespace = of_namespace.map(|(key, value)| (Scope::Namespace, key, value));
        of_pod.into_iter().chain(of_namespace).collect()
    }

    fn lines(&self, side: Side) -> Vec<IpNet> {
        let rules = match side {
            Side::Egress => &self.egress,
            Side::Ingress => &self.ingress,
        };
        let ends = rules.iter().flatten().flat_map(|rule| [&rule.source, &rule.destination]);
        ends.flat_map(|end| end.nets.iter().chain(&end.not_nets)).copied().collect()
    }

    /// Not known also where it governs what the pod's node forwards.
    fn selects(&self, pod: &Pod, namespace: Option<&Namespace>) -> Truth {
        let selects = self.selects_pod(pod, namespace);
        if selects == Truth::No && self.forwarded.is_some() { Truth::Unknown } else { selects }
    }
}
