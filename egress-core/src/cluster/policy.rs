//! NetworkPolicy as the API documents it, validated and parsed.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::Labels;
use crate::protocol::Protocol;

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

/// `ipBlock`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IpBlock {
    /// `cidr`
    pub cidr: IpNet,
    /// `except`, each within `cidr`.
    pub except: Vec<IpNet>,
}

/// A port of a rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolicyPort {
    /// `protocol`, TCP by default.
    pub protocol: Protocol,
    /// `port` and `endPort`; `None`: every port of the protocol.
    pub port: Option<PortMatch>,
}

/// Which ports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PortMatch {
    /// One number.
    Number(u16),
    /// `port` to `endPort`, both included.
    Range(u16, u16),
    /// A container port's name, of the destination pod.
    Name(String),
}

/// A label selector: all of `match_labels` AND all of `expressions`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LabelSelector {
    /// `matchLabels`
    pub match_labels: Labels,
    /// `matchExpressions`
    pub expressions: Vec<Expression>,
}

/// One of `matchExpressions`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Expression {
    /// `key`
    pub key: String,
    /// `operator`
    pub operator: Operator,
    /// `values`
    pub values: Vec<String>,
}

/// `operator` of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operator {
    /// The label is one of the values.
    In,
    /// The label is absent or none of the values.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is not there.
    DoesNotExist,
}
