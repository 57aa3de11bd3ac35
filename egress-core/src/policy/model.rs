//! What is asked of the policies, and what they answer.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::cluster::PodRef;
use crate::identity::Endpoint;
use crate::protocol::Protocol;
use crate::verdict::{PolicyFinding, Side};

/// The traffic in question: one connection, from its opener's view.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyFlow {
    /// Who opens it.
    pub from: Endpoint,
    /// Whom it is for: as dialled (a Service stands for its backends) or after translation.
    pub to: Endpoint,
    /// Destination port at `to`; 0 for protocols without.
    pub port: u16,
    /// Protocol.
    pub protocol: Protocol,
    /// Names that `from` resolved to the address of `to`, as far as was seen; empty where none was.
    pub names: Vec<String>,
}

/// What policies say to some traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// They admit it, or none isolates the pod.
    Allow,
    /// One isolates the pod and none admits it.
    Deny,
    /// It depends on something that is not known (or on which backend a Service chooses).
    Undecidable,
}

impl Decision {
    /// The word of the contract.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Undecidable => "undecidable",
        }
    }

    /// Both must allow.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Deny, _) | (_, Self::Deny) => Self::Deny,
            (Self::Undecidable, _) | (_, Self::Undecidable) => Self::Undecidable,
            (Self::Allow, Self::Allow) => Self::Allow,
        }
    }

    /// The decision if all are the same, else undecidable; `None` if there are none.
    #[must_use]
    pub fn agreed(all: impl IntoIterator<Item = Self>) -> Option<Self> {
        all.into_iter().reduce(|a, b| if a == b { a } else { Self::Undecidable })
    }
}

impl std::fmt::Display for Decision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// One side of the traffic: the source's egress, or the destination's ingress.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SideView {
    /// Some policy selects the pod for this direction.
    pub isolated: bool,
    /// What they say together.
    pub decision: Decision,
    /// Every policy that selects the pod for this direction, by name.
    pub policies: Vec<PolicyFinding>,
}

/// Both sides.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyView {
    /// Both sides together; undecidable also where an end in the cluster is not known and nothing denies.
    pub decision: Decision,
    /// The source's side; `None` where the source is not a pod with an address of its own.
    pub egress: Option<SideView>,
    /// The destination's side; likewise.
    pub ingress: Option<SideView>,
    /// NetworkPolicy does not define this protocol (ICMP and others without ports) and a policy isolates a side:
    /// implementations differ, so a verdict that rests on this is at most likely.
    pub undefined_protocol: bool,
    /// The Service's backends one by one; `None` where the destination is no Service.
    pub backends: Option<Vec<BackendView>>,
}

/// The decision for one backend of a Service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackendView {
    /// Address.
    pub ip: IpAddr,
    /// Port after translation.
    pub port: u16,
    /// The pod, if it is one.
    pub pod: Option<PodRef>,
    /// It is ready, so the Service forwards to it.
    pub ready: bool,
    /// Both sides together.
    pub decision: Decision,
    /// The source's side.
    pub egress: Option<SideView>,
    /// The backend's side.
    pub ingress: Option<SideView>,
}

impl PolicyView {
    /// Policies deny it.
    #[must_use]
    pub fn denies(&self) -> bool {
        self.decision == Decision::Deny
    }

    /// Both sides, where they exist.
    pub fn sides(&self) -> impl Iterator<Item = (Side, &SideView)> {
        let egress = self.egress.iter().map(|view| (Side::Egress, view));
        egress.chain(self.ingress.iter().map(|view| (Side::Ingress, view)))
    }

    /// The sides that deny.
    pub fn denying_sides(&self) -> impl Iterator<Item = (Side, &SideView)> {
        self.sides().filter(|(_, view)| view.decision == Decision::Deny)
    }

    /// Every finding of both sides: the `policies` of a verdict.
    pub fn findings(&self) -> impl Iterator<Item = &PolicyFinding> {
        self.sides().flat_map(|(_, view)| &view.policies)
    }
}
