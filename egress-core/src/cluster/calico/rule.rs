//! The rules of a policy.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::Selector;
use crate::cluster::{PodRef, PortMatch};

/// A rule: it matches where all that it says holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// `action`
    pub action: Action,
    /// `ipVersion`: 4 or 6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_version: Option<u8>,
    /// `protocol`, by number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<u8>,
    /// `notProtocol`, by number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_protocol: Option<u8>,
    /// `icmp`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp: Option<Icmp>,
    /// `notICMP`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_icmp: Option<Icmp>,
    /// `source`
    #[serde(default, skip_serializing_if = "Entity::is_anyone")]
    pub source: Entity,
    /// `destination`
    #[serde(default, skip_serializing_if = "Entity::is_anyone")]
    pub destination: Entity,
    /// It has `http`: a proxy looks at the requests of what it admits.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub http: bool,
    /// Fields that are not known here, by their names: whether they hold cannot be said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
}

/// What is done with traffic that a rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// It is admitted.
    Allow,
    /// It is denied.
    Deny,
    /// The next tier decides.
    Pass,
    /// The next rule decides.
    Log,
}

impl Action {
    /// What the rule does, in words.
    #[must_use]
    pub const fn verb(self) -> &'static str {
        match self {
            Self::Allow => "admits",
            Self::Deny => "denies",
            Self::Pass => "passes on",
            Self::Log => "logs",
        }
    }
}

/// `icmp`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Icmp {
    /// `type`
    pub kind: Option<u8>,
    /// `code`
    pub code: Option<u8>,
}

/// One end of the traffic; all that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Entity {
    /// `nets`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nets: Vec<IpNet>,
    /// `notNets`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_nets: Vec<IpNet>,
    /// `selector`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
    /// `notSelector`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_selector: Option<Selector>,
    /// `namespaceSelector`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Selector>,
    /// `serviceAccounts`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_accounts: Option<ServiceAccounts>,
    /// `services`, with its namespace filled in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<PodRef>,
    /// `ports`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortMatch>,
    /// `notPorts`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_ports: Vec<PortMatch>,
    /// `domains` (not in the open-source edition), which may begin or end with `*` or have it for a whole label.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub domains: Vec<String>,
}

/// `serviceAccounts`: both must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceAccounts {
    /// `names`; empty: any.
    pub names: Vec<String>,
    /// `selector`
    pub selector: Option<Selector>,
}

impl Entity {
    /// It says nothing.
    #[must_use]
    pub fn is_anyone(&self) -> bool {
        *self == Self::default()
    }
}

impl Rule {
    /// The rule that does this with all traffic.
    #[must_use]
    pub fn of_all(action: Action) -> Self {
        Self {
            action,
            ip_version: None,
            protocol: None,
            not_protocol: None,
            icmp: None,
            not_icmp: None,
            source: Entity::default(),
            destination: Entity::default(),
            http: false,
            unknown: Vec::new(),
        }
    }
}
