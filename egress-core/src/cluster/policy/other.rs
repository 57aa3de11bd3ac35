//! Policies of kinds that are not evaluated: that they are there is all that is known of them.

use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Policy, Scope};
use crate::cluster::{Namespace, ObjectKind, Pod};
use crate::truth::Truth;
use crate::verdict::Side;

/// A policy whose kind is not evaluated. What it says of pods that it may select is not decidable.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OtherPolicy {
    /// `apiVersion`
    pub api_version: String,
    /// `kind`. In the tagged form of an object that name is taken.
    #[serde(rename = "policy_kind")]
    pub kind: String,
    /// `metadata.namespace`, empty if it has none: then it may select pods of any namespace.
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// What names it among all policies of kinds that are not evaluated: `apiVersion/kind/name`.
    pub key: String,
    /// The kind is known, but the policy (without a name: none of its kind) could be read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unread: bool,
    /// Why it could not be read, where whoever read it says so; else `status` does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

impl OtherPolicy {
    /// The policy of this type and name.
    #[must_use]
    pub fn new(api_version: &str, kind: &str, namespace: &str, name: &str) -> Self {
        Self {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            key: format!("{api_version}/{kind}/{name}"),
            unread: false,
            reason: String::new(),
        }
    }

    /// Stands for a policy that could not be read; without a name, for all of its kind.
    #[must_use]
    pub fn unread(api_version: &str, kind: &str, namespace: &str, name: &str) -> Self {
        Self { unread: true, ..Self::new(api_version, kind, namespace, name) }
    }
}

/// `CiliumNetworkPolicy shop/deny`
impl fmt::Display for OtherPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, namespace, name, .. } = self;
        let name = if name.is_empty() { "(no name)" } else { name };
        if namespace.is_empty() { write!(f, "{kind} {name}") } else { write!(f, "{kind} {namespace}/{name}") }
    }
}

impl Policy for OtherPolicy {
    fn kind(&self) -> ObjectKind {
        ObjectKind::OtherPolicy
    }

    fn namespace(&self) -> &str {
        &self.namespace
    }

    #[expect(clippy::misnamed_getters, reason = "policies of several types share this kind")]
    fn name(&self) -> &str {
        &self.key
    }

    fn key_labels(&self) -> Vec<(Scope, &str, &str)> {
        Vec::new()
    }

    fn lines(&self, _side: Side) -> Vec<IpNet> {
        // Nothing is known of any address.
        Vec::new()
    }

    fn selects(&self, pod: &Pod, _namespace: Option<&Namespace>) -> Truth {
        if self.namespace.is_empty() || self.namespace == pod.namespace { Truth::Unknown } else { Truth::No }
    }
}
