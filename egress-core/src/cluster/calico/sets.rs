//! What policies refer to: sets of networks, and tiers.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::cluster::Labels;

/// A NetworkSet or, without a namespace, a GlobalNetworkSet: networks that selectors select by its labels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NetworkSet {
    /// `metadata.namespace`; empty: a GlobalNetworkSet.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// `metadata.labels`
    pub labels: Labels,
    /// `spec.nets`
    pub nets: Vec<IpNet>,
    /// `spec.allowedEgressDomains` (not in the open-source edition).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub domains: Vec<String>,
}

/// A tier of policies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tier {
    /// `metadata.name`
    pub name: String,
    /// `spec.order`, lower first; `None`: after all others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<f64>,
    /// `spec.defaultAction` is Pass: what its policies do not speak of is for the next tier. Otherwise it is denied.
    pub passes: bool,
}

impl Tier {
    /// The order of the default tier, `DefaultTierOrder` of Calico's API.
    pub const DEFAULT_ORDER: f64 = 1_000_000.0;
    /// The order of the tier of AdminNetworkPolicies, `AdminNetworkPolicyTierOrder` of Calico's API.
    pub const ADMIN_ORDER: f64 = 1_000.0;

    /// The default tier, which is there without an object.
    #[must_use]
    pub fn default_tier() -> Self {
        Self {
            name: super::CalicoPolicy::DEFAULT_TIER.into(),
            order: Some(Self::DEFAULT_ORDER),
            passes: false,
        }
    }
}
