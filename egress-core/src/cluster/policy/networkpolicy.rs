//! NetworkPolicy as the API documents it, validated and parsed.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{IpBlock, LabelSelector, Policy, PolicyPort, Scope};
use crate::cluster::{Namespace, ObjectKind, Pod};
use crate::truth::Truth;
use crate::verdict::Side;

/// A `networking.k8s.io/v1` NetworkPolicy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NetworkPolicy {
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// `spec.podSelector`; empty selects every pod of the namespace.
    pub selector: LabelSelector,
    /// The policy isolates for ingress: `policyTypes` has it (or defaults to it).
    pub isolates_ingress: bool,
    /// The policy isolates for egress: `policyTypes` has it (or defaults to it: there are egress rules).
    pub isolates_egress: bool,
    /// `spec.ingress`
    pub ingress: Vec<Rule>,
    /// `spec.egress`
    pub egress: Vec<Rule>,
}

/// One rule: any of the peers AND any of the ports; an empty list is "any".
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// `from` or `to`
    pub peers: Vec<Peer>,
    /// `ports`
    pub ports: Vec<PolicyPort>,
}

/// A peer of a rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Peer {
    /// `ipBlock`
    IpBlock(IpBlock),
    /// `namespaceSelector` and/or `podSelector`; without the first, pods of the policy's own namespace.
    Pods {
        /// `namespaceSelector`
        namespaces: Option<LabelSelector>,
        /// `podSelector`
        pods: Option<LabelSelector>,
    },
}

impl Policy for NetworkPolicy {
    fn kind(&self) -> ObjectKind {
        ObjectKind::NetworkPolicy
    }

    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn key_labels(&self) -> Vec<(Scope, &str, &str)> {
        self.selector.key_labels(Scope::Pod)
    }

    fn lines(&self, side: Side) -> Vec<IpNet> {
        let rules = match side {
            Side::Egress => &self.egress,
            Side::Ingress => &self.ingress,
        };
        let blocks = rules.iter().flat_map(|rule| &rule.peers).filter_map(|peer| match peer {
            Peer::IpBlock(block) => Some(block),
            Peer::Pods { .. } => None,
        });
        blocks.flat_map(|block| block.except.iter().chain([&block.cidr])).copied().collect()
    }

    fn selects(&self, pod: &Pod, _namespace: Option<&Namespace>) -> Truth {
        (self.namespace == pod.namespace && self.selector.matches(&pod.labels)).into()
    }
}
