//! The types of a verdict; their serde form is the JSON contract.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::cluster::PodRef;
use crate::protocol::Protocol;
use crate::time::Timestamp;

/// Value of [`Verdict::schema`].
pub const SCHEMA: &str = "egress.v1";

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[doc = $doc:expr])* $variant:ident = $word:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[doc = $doc])* #[serde(rename = $word)] $variant,)*
        }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word of the contract.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|v| v.as_str() == text).ok_or_else(|| {
                    let words: Vec<_> = Self::ALL.iter().map(|v| v.as_str()).collect();
                    format!("\"{text}\" is none of {}", words.join(", "))
                })
            }
        }
    };
}

words! {
    /// Why the traffic failed.
    Cause {
        /// Kubernetes policies deny it and the datapath dropped it.
        PolicyDrop = "policy-drop",
        /// The datapath dropped it and no policy explains that.
        FirewallDrop = "firewall-drop",
        /// A Service without a ready endpoint.
        ServiceNoEndpoints = "service-no-endpoints",
        /// DNS answered with an error, or not at all.
        DnsFailure = "dns-failure",
        /// It left the node with the pod's own address.
        NatMissing = "nat-missing",
        /// No source port was left for translation.
        NatExhausted = "nat-exhausted",
        /// The conntrack table is full.
        ConntrackFull = "conntrack-full",
        /// A packet was larger than the path takes.
        Mtu = "mtu",
        /// It left the node and nothing came back.
        UpstreamTimeout = "upstream-timeout",
        /// The remote answered with a reset.
        UpstreamRefused = "upstream-refused",
        /// The path answered with an ICMP error.
        UpstreamUnreachable = "upstream-unreachable",
        /// Established, then reset by the remote.
        UpstreamReset = "upstream-reset",
        /// A TLS alert ended the handshake.
        TlsFailure = "tls-failure",
        /// The node or pod has no way to route it.
        RouteDrop = "route-drop",
        /// A sidecar of the mesh refused it.
        MeshBlocked = "mesh-blocked",
        /// A buffer, queue or backlog of this machine was full.
        LocalResource = "local-resource",
        /// A real drop that none of the above explains.
        Unknown = "unknown",
    }
}

words! {
    /// Whether it still holds.
    State {
        /// Seen, and no success since.
        Active = "active",
        /// The same traffic succeeded later.
        Cleared = "cleared",
    }
}

words! {
    /// How sure the verdict is.
    Confidence {
        /// The evidence admits no other cause.
        Certain = "certain",
        /// The evidence fits, another cause is conceivable.
        Likely = "likely",
        /// One of several that fit.
        Possible = "possible",
    }
}

words! {
    /// Where it broke.
    Stage {
        /// Inside the pod's own namespace.
        Pod = "pod",
        /// In the node.
        Node = "node",
        /// On the way out of the node.
        Uplink = "uplink",
        /// Beyond the node.
        Upstream = "upstream",
    }
}

words! {
    /// What kind of traffic is harmed.
    Affects {
        /// TCP.
        Tcp = "tcp",
        /// UDP.
        Udp = "udp",
        /// SCTP.
        Sctp = "sctp",
        /// Name resolution.
        Dns = "dns",
        /// ICMP.
        Icmp = "icmp",
    }
}

words! {
    /// Whose view it is: the pod as the client, or as the destination.
    Direction {
        /// The pod opened it.
        Egress = "egress",
        /// The pod is the destination and the client is not local.
        Ingress = "ingress",
    }
}

words! {
    /// What the other end is.
    PeerKind {
        /// Outside the cluster.
        External = "external",
        /// A pod.
        Pod = "pod",
        /// A Service's virtual address.
        Service = "service",
        /// A node.
        Node = "node",
        /// In-cluster, but the object could not be found.
        Unresolved = "unresolved",
    }
}

words! {
    /// A station of the path.
    Hop {
        /// The pod itself.
        Pod = "pod",
        /// The node's routing and filtering.
        Node = "node",
        /// The device towards the outside.
        Uplink = "uplink",
        /// The network beyond.
        Upstream = "upstream",
        /// The other pod, where it is local.
        Peer = "peer",
    }
}

words! {
    /// What happened at a station.
    HopOutcome {
        /// Seen to pass.
        Passed = "passed",
        /// Seen to pass, with addresses rewritten.
        Translated = "translated",
        /// Dropped here.
        Dropped = "dropped",
        /// Refused here.
        Refused = "refused",
        /// Should have answered and did not.
        Silent = "silent",
        /// Not watched, so nothing can be said.
        Unseen = "unseen",
    }
}

words! {
    /// Which side of a connection a policy governs.
    Side {
        /// The source's egress policies.
        Egress = "egress",
        /// The destination's ingress policies.
        Ingress = "ingress",
    }
}

words! {
    /// What one policy says to one packet.
    PolicyResult {
        /// One of its rules admits it.
        Admits = "admits",
        /// It isolates the pod and none of its rules admits it.
        DoesNotAdmit = "does-not-admit",
        /// A rule denies it (kinds that can).
        Denies = "denies",
        /// It does not select the pod, or not for this direction.
        NotApplicable = "not-applicable",
        /// It cannot be decided from what is known.
        Undecidable = "undecidable",
    }
}

/// One answer to "why can this pod not reach that endpoint?".
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// [`SCHEMA`].
    pub schema: String,
    /// Stable over revisions.
    pub id: String,
    /// Whether it still holds.
    pub state: State,
    /// When the policies it was judged by were last in step with the cluster.
    pub policies_as_of: Option<Timestamp>,
    /// The local pod.
    pub pod: PodIdentity,
    /// The pod's side.
    pub direction: Direction,
    /// The other end, as the pod dialled it.
    pub peer: PeerRef,
    /// Why.
    pub cause: Cause,
    /// How sure.
    pub confidence: Confidence,
    /// Where.
    pub stage: Stage,
    /// What traffic.
    pub affects: Affects,
    /// One sentence.
    pub summary: String,
    /// Facts of this cause, by key.
    pub detail: serde_json::Map<String, serde_json::Value>,
    /// The way of the packet, the broken hop last seen.
    pub path: Vec<PathHop>,
    /// Addresses after translation.
    pub translation: Translation,
    /// Every policy that has a say.
    pub policies: Vec<PolicyFinding>,
    /// What to do.
    pub fix: Option<Fix>,
    /// Observations beside the cause.
    pub hints: Vec<String>,
    /// What was seen, in order.
    pub evidence: Vec<Evidence>,
    /// Failed attempts.
    pub count: u64,
    /// First failed attempt.
    pub first_seen: Timestamp,
    /// Last failed attempt.
    pub last_seen: Timestamp,
    /// Events lost while it was observed.
    pub lost_events: u64,
}

/// The local pod of a verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PodIdentity {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID, empty if the source has none.
    pub uid: String,
    /// The address it used.
    pub ip: IpAddr,
    /// Node, empty if unknown.
    pub node: String,
    /// Controlling workload, `Kind/name`.
    pub workload: Option<String>,
}

/// The other end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerRef {
    /// Address.
    pub ip: IpAddr,
    /// Port; 0 for protocols without.
    pub port: u16,
    /// Protocol.
    pub protocol: Protocol,
    /// Name the pod resolved to this address, or the DNS name that failed.
    pub name: Option<String>,
    /// What it is.
    pub kind: PeerKind,
    /// The pod behind it, if one.
    pub pod: Option<PodRef>,
    /// The Service it is, if one.
    pub service: Option<PodRef>,
}

/// A station and what happened there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PathHop {
    /// Which station.
    pub hop: Hop,
    /// Device, where one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// What happened.
    pub outcome: HopOutcome,
    /// Where exactly it broke.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#where: Option<String>,
}

/// Addresses after translation, `null` where none was seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Translation {
    /// Source as it left.
    pub source: Option<SocketAddress>,
    /// Destination as it was forwarded to (a Service's backend).
    pub destination: Option<SocketAddress>,
}

/// Address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SocketAddress {
    /// Address.
    pub ip: IpAddr,
    /// Port.
    pub port: u16,
}

/// What one policy says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolicyFinding {
    /// Kind of the object, as Kubernetes writes it.
    pub kind: String,
    /// Namespace, `null` for cluster-scoped kinds.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
    /// Which side it governs here.
    pub side: Side,
    /// What it says.
    pub result: PolicyResult,
    /// Why, a sentence for each rule.
    pub why: Vec<String>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fix {
    /// In words.
    pub text: String,
    /// As YAML that can be applied.
    pub manifest: Option<String>,
}

/// Something that was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// When.
    pub time: Timestamp,
    /// Where.
    pub stage: Stage,
    /// What.
    pub text: String,
}
