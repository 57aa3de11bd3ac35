//! CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy (`cilium.io/v2`): rules that allow, rules that deny.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Expression, IpBlock, Operator, Policy, PortMatch, Scope};
use crate::cluster::{Labels, NAMESPACE_NAME, Namespace, ObjectKind, Pod};
use crate::protocol::Protocol;
use crate::truth::Truth;
use crate::verdict::Side;

/// The label under which Cilium knows a pod's namespace.
pub const CILIUM_NAMESPACE: &str = "io.kubernetes.pod.namespace";
/// In front of a label of the pod's namespace.
pub const CILIUM_NAMESPACE_LABELS: &str = "io.cilium.k8s.namespace.labels.";
/// The label of the pod's service account.
const SERVICE_ACCOUNT: &str = "io.cilium.k8s.policy.serviceaccount";
/// In front of the labels of what is no pod: `reserved:host`.
pub const CILIUM_RESERVED: &str = "reserved:";
/// Labels that make up a pod's identity although their beginning is left out otherwise.
const KEPT: &[&str] = &["app.kubernetes.io"];
/// Beginnings of labels that Cilium leaves out of identities by default (`pkg/labelsfilter`).
const LEFT_OUT: &[&str] = &[
    "io.kubernetes",
    "kubernetes.io",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
    "batch.kubernetes.io/job-completion-index",
    "k8s.io",
    "pod-template-generation",
    "pod-template-hash",
    "controller-revision-hash",
    "annotation",
    "etcd_node",
];

/// A policy of Cilium's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CiliumPolicy {
    /// `metadata.namespace`; empty: it is clusterwide.
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// `spec` and `specs`, without those for nodes.
    pub specs: Vec<CiliumSpec>,
}

/// One `spec`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CiliumSpec {
    /// `endpointSelector`
    pub selector: CiliumSelector,
    /// What no policy admits is denied on ingress: `enableDefaultDeny.ingress`, by default where there are rules.
    pub isolates_ingress: bool,
    /// Likewise on egress.
    pub isolates_egress: bool,
    /// `ingress`
    pub ingress: Vec<CiliumRule>,
    /// `ingressDeny`
    pub ingress_deny: Vec<CiliumRule>,
    /// `egress`
    pub egress: Vec<CiliumRule>,
    /// `egressDeny`
    pub egress_deny: Vec<CiliumRule>,
}

/// A rule: any of the peers and any of the ports.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CiliumRule {
    /// Whom it speaks of; `None`: it does not say, which is anyone if it has ports, else nobody.
    pub peers: Option<Vec<CiliumPeer>>,
    /// `toPorts`
    pub ports: Vec<CiliumPort>,
    /// `icmps`
    pub icmps: Vec<CiliumIcmp>,
    /// What may refuse the traffic afterwards (`mutual authentication`).
    pub beyond: Vec<String>,
    /// Fields that are not evaluated.
    pub unknown: Vec<String>,
}

/// Whom a rule speaks of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CiliumPeer {
    /// `fromEndpoints`, `toEndpoints`; the namespace they are limited to is one of the requirements.
    Endpoints(CiliumSelector),
    /// `fromCIDR`, `toCIDR`, `fromCIDRSet`, `toCIDRSet`
    Cidr(IpBlock),
    /// `cidrGroupRef`, `cidrGroupSelector` of `fromCIDRSet` and `toCIDRSet`
    CidrGroups {
        /// Which groups.
        groups: CidrGroups,
        /// `except`, which versions that do not know it here leave out.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        except: Vec<IpNet>,
    },
    /// `fromEntities`, `toEntities`
    Entity(String),
    /// `toServices`, by name.
    Service {
        /// Namespace, empty if not given.
        namespace: String,
        /// Name.
        name: String,
    },
    /// `toServices`, by labels.
    Services {
        /// Namespace, empty: any.
        namespace: String,
        /// `selector`
        selector: super::LabelSelector,
    },
    /// `toFQDNs`
    Fqdn(CiliumFqdn),
    /// `fromNodes`, `toNodes`
    Nodes(super::LabelSelector),
    /// `fromGroups`, `toGroups`
    Groups(String),
}

/// Sets of ranges that stand in objects of their own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CidrGroups {
    /// The group of this name.
    Named(String),
    /// Those with these labels.
    Selected(super::LabelSelector),
}

/// A CiliumCIDRGroup.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CiliumCidrGroup {
    /// `metadata.name`
    pub name: String,
    /// `metadata.labels`
    pub labels: Labels,
    /// `spec.externalCIDRs`
    pub cidrs: Vec<IpNet>,
}

/// A name of the outside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CiliumFqdn {
    /// `matchName`
    Name(String),
    /// `matchPattern`
    Pattern(String),
}

/// A port of a rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CiliumPort {
    /// `protocol`; `None`: any that has ports.
    pub protocol: Option<Protocol>,
    /// `port` and `endPort`; `None`: every port.
    pub port: Option<PortMatch>,
    /// What may refuse the traffic afterwards (`HTTP rules`); empty: nothing.
    pub beyond: String,
    /// `rules.dns`: the questions that it lets through. Cilium sees their answers, and learns from them what `toFQDNs`
    /// stands for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<CiliumFqdn>,
}

/// A type of ICMP messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CiliumIcmp {
    /// `family` is IPv6.
    pub v6: bool,
    /// `type`
    pub kind: u8,
}

/// A selector of identities: all requirements hold. Keys without `k8s:` and `any:`; other sources stay in front.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CiliumSelector {
    /// `matchLabels` and `matchExpressions`
    pub requirements: Vec<Expression>,
}

impl CiliumFqdn {
    /// Whether it means this name: `*` is any run of letters, digits, `-` and `_` within a label; `*` alone is every
    /// name; `**.` in front is one label or more (`pkg/fqdn/matchpattern`).
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let clean = |text: &str| text.trim().trim_end_matches('.').to_ascii_lowercase();
        let name = clean(name);
        match self {
            Self::Name(wanted) => clean(wanted) == name,
            Self::Pattern(pattern) => {
                let pattern = clean(pattern);
                match pattern.strip_prefix("**.") {
                    _ if pattern == "*" || pattern == "**" => true,
                    Some(parent) => name.match_indices('.').any(|(dot, _)| {
                        dot > 0 && name.get(dot + 1..).is_some_and(|rest| is_glob(parent, rest))
                    }),
                    None => is_glob(&pattern, &name),
                }
            }
        }
    }
}

fn is_glob(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(after) = name.strip_prefix(head) else { return false };
    let within = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let run = after.find(|c| !within(c)).unwrap_or(after.len());
    (0..=run).any(|taken| after.get(taken..).is_some_and(|left| is_glob(rest, left)))
}

impl CiliumSelector {
    /// Of these labels, those that are part of a pod's identity as Cilium is delivered.
    pub(crate) fn counted(labels: &Labels) -> impl Iterator<Item = (&str, &str)> {
        labels.iter().filter(|(key, _)| !key.starts_with("io.cilium.") && !is_left_out(key))
    }

    /// Whether a pod's identity matches, of which not everything may be known.
    pub(crate) fn matches_pod(&self, pod: &Pod, namespace: Option<&Namespace>) -> Truth {
        self.requirements.iter().map(|one| one.matches_pod(pod, namespace)).min().unwrap_or(Truth::Yes)
    }
}

impl Expression {
    /// Whether a pod's identity meets this requirement of a [`CiliumSelector`].
    pub(crate) fn matches_pod(&self, pod: &Pod, namespace: Option<&Namespace>) -> Truth {
        let key = self.key.as_str();
        let value = if key == CILIUM_NAMESPACE {
            Some(pod.namespace.as_str())
        } else if let Some(label) = key.strip_prefix(CILIUM_NAMESPACE_LABELS) {
            match namespace {
                Some(namespace) => namespace.labels.get(label),
                None if label == NAMESPACE_NAME => Some(pod.namespace.as_str()),
                None => return Truth::Unknown,
            }
        } else if key == SERVICE_ACCOUNT && !pod.service_account.is_empty() {
            Some(pod.service_account.as_str())
        } else if key.starts_with(CILIUM_RESERVED) {
            None
        } else if key.contains(':') || key.starts_with("io.cilium.") || is_left_out(key) {
            return Truth::Unknown;
        } else {
            pod.labels.get(key)
        };
        self.matches_value(value).into()
    }

    /// Whether this value meets the requirement; `None`: there is no such label.
    pub(crate) fn matches_value(&self, value: Option<&str>) -> bool {
        let listed = value.map(|value| self.values.iter().any(|one| one == value));
        match self.operator {
            Operator::In => listed == Some(true),
            Operator::NotIn => listed != Some(true),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

/// Cilium leaves this label out of identities, unless it is configured otherwise.
fn is_left_out(key: &str) -> bool {
    !KEPT.iter().any(|kept| key.starts_with(kept))
        && (LEFT_OUT.iter().any(|left_out| key.starts_with(left_out)) || key.contains("beta.kubernetes.io"))
}

impl Policy for CiliumPolicy {
    fn kind(&self) -> ObjectKind {
        if self.namespace.is_empty() {
            ObjectKind::CiliumClusterwideNetworkPolicy
        } else {
            ObjectKind::CiliumNetworkPolicy
        }
    }

    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn key_labels(&self) -> Vec<(Scope, &str, &str)> {
        let [spec] = self.specs.as_slice() else { return Vec::new() };
        let certain = spec.selector.requirements.iter().filter(|one| {
            one.operator == Operator::In
                && !one.key.contains(':')
                && !one.key.starts_with("io.")
                && !is_left_out(&one.key)
        });
        certain
            .filter_map(|one| match one.values.as_slice() {
                [value] => Some((Scope::Pod, one.key.as_str(), value.as_str())),
                _ => None,
            })
            .collect()
    }

    fn lines(&self, side: Side) -> Vec<IpNet> {
        let rules = self.specs.iter().flat_map(|spec| match side {
            Side::Egress => [&spec.egress, &spec.egress_deny],
            Side::Ingress => [&spec.ingress, &spec.ingress_deny],
        });
        let blocks =
            rules.flatten().flat_map(|rule| rule.peers.iter().flatten()).filter_map(|peer| match peer {
                CiliumPeer::Cidr(block) => Some(block),
                _ => None,
            });
        blocks.flat_map(|block| block.except.iter().chain([&block.cidr])).copied().collect()
    }

    fn selects(&self, pod: &Pod, namespace: Option<&Namespace>) -> Truth {
        if !self.namespace.is_empty() && self.namespace != pod.namespace {
            return Truth::No;
        }
        Truth::any(self.specs.iter().map(|spec| spec.selector.matches_pod(pod, namespace)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_patterns_match_as_documented() {
        let name = |text: &str| CiliumFqdn::Name(text.into());
        let pattern = |text: &str| CiliumFqdn::Pattern(text.into());
        let table = [
            (name("api.example.com"), "API.example.com.", true),
            (name("API.example.com."), "api.example.com", true),
            (name("example.com"), "api.example.com", false),
            (pattern("*"), "a.b.example.com", true),
            (pattern("*.example.com"), "api.example.com", true),
            (pattern("*.Example.com."), "API.example.com.", true),
            (pattern("*.example.com"), "example.com", false),
            (pattern("*.example.com"), "a.b.example.com", false),
            (pattern("**.example.com"), "a.b.example.com", true),
            (pattern("**.example.com"), "example.com", false),
            (pattern("api-*.example.com"), "api-eu.example.com", true),
            (pattern("api*"), "api.example.com", false),
            (pattern("sub*.ex*ple.com"), "sub1.example.com", true),
        ];
        for (fqdn, text, expected) in table {
            assert_eq!(fqdn.matches(text), expected, "{fqdn:?} {text}");
        }
    }
}
