//! Policies, validated and parsed: what all kinds have in common. Each kind has its file.

mod cilium;
mod networkpolicy;
mod other;
mod tiered;

pub use cilium::{
    CILIUM_NAMESPACE, CILIUM_NAMESPACE_LABELS, CILIUM_RESERVED, CidrGroups, CiliumCidrGroup, CiliumFqdn,
    CiliumIcmp, CiliumPeer, CiliumPolicy, CiliumPort, CiliumRule, CiliumSelector, CiliumSpec,
};
pub use networkpolicy::{NetworkPolicy, Peer, Rule};
pub use other::OtherPolicy;
pub use tiered::{
    NamespacedPods, Tier, TieredAction, TieredApi, TieredPeer, TieredPolicy, TieredPort, TieredRule,
};

use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Labels, Namespace, ObjectKind, Pod};
use crate::protocol::Protocol;
use crate::truth::Truth;
use crate::verdict::Side;

/// What the index needs to know of a policy to find those that select a pod without looking at the rest.
pub(crate) trait Policy {
    /// Its kind.
    fn kind(&self) -> ObjectKind;
    /// The namespace whose pods alone it can select; empty: any pod's.
    fn namespace(&self) -> &str;
    /// `metadata.name`
    fn name(&self) -> &str;
    /// Labels that everything it selects has, on the pod or on its namespace: it is filed under one of them.
    fn key_labels(&self) -> Vec<(Scope, &str, &str)>;
    /// Every network that its rules for this side name: between two addresses that none of them tells apart, it makes no
    /// difference.
    fn lines(&self, side: Side) -> Vec<IpNet>;
    /// It selects this pod; not known where that depends on a Namespace object that is missing.
    fn selects(&self, pod: &Pod, namespace: Option<&Namespace>) -> Truth;
}

/// Whose labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    /// The pod's.
    Pod,
    /// Its namespace's.
    Namespace,
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

/// `443`, `8000-8080` or a name.
impl fmt::Display for PortMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Range(low, high) => write!(f, "{low}-{high}"),
            Self::Name(name) => f.write_str(name),
        }
    }
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
