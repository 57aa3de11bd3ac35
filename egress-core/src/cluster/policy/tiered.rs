//! AdminNetworkPolicy, BaselineAdminNetworkPolicy (`policy.networking.k8s.io/v1alpha1`) and ClusterNetworkPolicy
//! (`v1alpha2`): rules in order, in a tier before or after the namespaces' own policies.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{LabelSelector, Policy, PolicyPort, Scope};
use crate::cluster::{Namespace, ObjectKind, Pod};
use crate::truth::Truth;
use crate::verdict::Side;

/// A policy of the whole cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TieredPolicy {
    /// Which of the APIs it is of.
    pub api: TieredApi,
    /// `metadata.name`
    pub name: String,
    /// Before or after the namespaces' policies.
    pub tier: Tier,
    /// `spec.priority`, 0 to 1000: the lower is asked first. 0 for a BaselineAdminNetworkPolicy.
    pub priority: u16,
    /// `spec.subject`
    pub subject: NamespacedPods,
    /// `spec.ingress`, the first rule that matches decides.
    pub ingress: Vec<TieredRule>,
    /// `spec.egress`, likewise.
    pub egress: Vec<TieredRule>,
}

/// The kinds of such policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TieredApi {
    /// AdminNetworkPolicy.
    Admin,
    /// BaselineAdminNetworkPolicy.
    BaselineAdmin,
    /// ClusterNetworkPolicy.
    Cluster,
}

/// When such policies are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// Before the policies of namespaces.
    Admin,
    /// After them, where none of them isolates the pod.
    Baseline,
}

/// Pods of namespaces.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NamespacedPods {
    /// `namespaces` or `namespaceSelector`
    pub namespaces: LabelSelector,
    /// `podSelector`; `None`: every pod.
    pub pods: Option<LabelSelector>,
}

/// A rule: any of the peers and any of the ports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TieredRule {
    /// `name`, may be empty.
    pub name: String,
    /// `action`
    pub action: TieredAction,
    /// `from` or `to`
    pub peers: Vec<TieredPeer>,
    /// `ports` or `protocols`; empty: everything.
    pub ports: Vec<TieredPort>,
}

/// What a rule does with traffic that it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TieredAction {
    /// `Allow` or `Accept`: admitted, whatever later policies say.
    Accept,
    /// Denied, whatever later policies say.
    Deny,
    /// The rest of the tier is skipped.
    Pass,
}

/// A peer of a rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TieredPeer {
    /// `namespaces` or `pods`
    Pods(NamespacedPods),
    /// `nodes`, by their labels.
    Nodes(LabelSelector),
    /// `networks`
    Networks(Vec<IpNet>),
    /// `domainNames`; `*.` in front stands for one label or more.
    DomainNames(Vec<String>),
    /// A field that is not known.
    Unknown(String),
}

/// A port of a rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TieredPort {
    /// By number, of a protocol.
    Number(PolicyPort),
    /// By the name of a container port, of whichever protocol.
    Name(String),
    /// A field that is not known.
    Unknown(String),
}

impl Policy for TieredPolicy {
    fn kind(&self) -> ObjectKind {
        match self.api {
            TieredApi::Admin => ObjectKind::AdminNetworkPolicy,
            TieredApi::BaselineAdmin => ObjectKind::BaselineAdminNetworkPolicy,
            TieredApi::Cluster => ObjectKind::ClusterNetworkPolicy,
        }
    }

    fn namespace(&self) -> &str {
        ""
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn key_labels(&self) -> Vec<(Scope, &str, &str)> {
        let mut keys = self.subject.namespaces.key_labels(Scope::Namespace);
        if let Some(pods) = &self.subject.pods {
            keys.extend(pods.key_labels(Scope::Pod));
        }
        keys
    }

    fn lines(&self, side: Side) -> Vec<IpNet> {
        let rules = match side {
            Side::Egress => &self.egress,
            Side::Ingress => &self.ingress,
        };
        let networks = rules.iter().flat_map(|rule| &rule.peers).filter_map(|peer| match peer {
            TieredPeer::Networks(networks) => Some(networks),
            _ => None,
        });
        networks.flatten().copied().collect()
    }

    fn selects(&self, pod: &Pod, namespace: Option<&Namespace>) -> Truth {
        let NamespacedPods { namespaces, pods } = &self.subject;
        let on_pod = pods.as_ref().is_none_or(|pods| pods.matches(&pod.labels));
        let on_namespace = match namespace {
            Some(namespace) => namespaces.matches(&namespace.labels).into(),
            None => namespaces.matches_name_only(&pod.namespace),
        };
        on_namespace & on_pod.into()
    }
}
