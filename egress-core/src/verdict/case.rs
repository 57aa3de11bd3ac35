//! All that a cause is decided from: the flow's failure, who the ends are, what policies say, and the node.

use super::causes::place;
use super::{Affects, Direction, Fix, Translation};
use crate::decode::{DropSeen, DropSite, Tap};
use crate::flow::{DropRole, FlowEvent, Outcome};
use crate::identity::{Behind, ClusterIndex, Endpoint};
use crate::node::{Attribution, NodeState, Readings};
use crate::policy::{Decision, PolicyView};
use crate::protocol::Protocol;
use crate::time::Timestamp;

/// A failure, with everything that is known about it.
#[derive(Debug)]
pub struct Case<'a> {
    /// The failure.
    pub event: &'a FlowEvent,
    /// Whose view.
    pub direction: Direction,
    /// The local pod.
    pub pod: &'a Endpoint,
    /// The other end, as it was dialled (or as it dialled).
    pub peer: &'a Endpoint,
    /// What stands behind the Service that was dialled, if it was one.
    pub behind: Option<&'a Behind>,
    /// What policies say to the flow after destination translation.
    pub policy: &'a PolicyView,
    /// Policies as of.
    pub policies_as_of: Option<Timestamp>,
    /// The smallest rule that would admit it, where policies deny it.
    pub fix: Option<Fix>,
    /// The node.
    pub node: &'a NodeState,
    /// The cluster, for the names of further addresses.
    pub cluster: &'a ClusterIndex,
    /// States of the kernel that were read for it.
    pub readings: &'a Readings,
    /// Network namespace of the local pod, if known.
    pub pod_netns: Option<u32>,
    /// Network namespace of the other end, where that is a local pod too.
    pub peer_netns: Option<u32>,
    /// Addresses after translation, from conntrack or from sightings.
    pub translation: Translation,
    /// Events lost while it was observed.
    pub lost: u64,
    /// Name of the device inside the pod.
    pub pod_device: Option<String>,
    /// MTU of that device, where it is known.
    pub pod_mtu: Option<u32>,
    /// Name the pod resolved to the peer's address.
    pub name: Option<String>,
}

impl Case<'_> {
    /// `203.0.113.4:443/TCP`, with the name in front if one is known.
    #[must_use]
    pub fn target(&self) -> String {
        let (address, protocol) = (self.address(), self.protocol());
        match &self.name {
            Some(name) => format!("{name} ({address}/{protocol})"),
            None => format!("{address}/{protocol}"),
        }
    }

    /// `203.0.113.4:443`, or `[2001:db8::4]:443`; without the port where there is none.
    #[must_use]
    pub fn address(&self) -> String {
        let to = self.event.client.destination;
        let port = if self.protocol() == Protocol::Icmp { 0 } else { to.port };
        match (to.ip, port) {
            (ip, 0) => format!("{ip}"),
            (std::net::IpAddr::V6(ip), port) => format!("[{ip}]:{port}"),
            (ip, port) => format!("{ip}:{port}"),
        }
    }

    /// The pod is on the host's network: it has the node's addresses and no device of its own.
    #[must_use]
    pub const fn is_on_host(&self) -> bool {
        self.pod.pod.is_none()
    }

    /// Transport protocol of the flow.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.event.client.transport()
    }

    /// What traffic is harmed.
    #[must_use]
    pub fn affects(&self) -> Affects {
        match self.protocol() {
            _ if self.event.client.destination.port == 53 => Affects::Dns,
            Protocol::Udp => Affects::Udp,
            Protocol::Sctp => Affects::Sctp,
            Protocol::Icmp => Affects::Icmp,
            Protocol::Tcp | Protocol::Other => Affects::Tcp,
        }
    }

    /// The drop, if one was seen.
    #[must_use]
    pub fn dropped(&self) -> Option<(&DropSeen, DropRole)> {
        match &self.event.outcome {
            Outcome::Dropped { drop, role, .. } => Some((drop, *role)),
            _ => None,
        }
    }

    /// A packet filter of this machine dropped it.
    #[must_use]
    pub fn filtered(&self) -> Option<&DropSeen> {
        self.dropped().map(|(drop, _)| drop).filter(|drop| matches!(drop.site, DropSite::Filter(_)))
    }

    /// It is known which table or chain dropped it.
    #[must_use]
    pub fn attributed(&self) -> bool {
        self.filtered().is_some_and(|drop| place::attribution(self, drop) != Attribution::Unknown)
    }

    /// Policies deny it.
    #[must_use]
    pub fn denied(&self) -> bool {
        self.policy.decision == Decision::Deny
    }

    /// It left the pod and was seen nowhere after, although it had to pass a watched place, and nothing tells
    /// of a drop.
    #[must_use]
    pub fn vanished(&self) -> bool {
        let journey = &self.event.journey;
        matches!(self.event.outcome, Outcome::Unanswered)
            && journey.request(Tap::PodOut).is_some()
            && journey.request(Tap::UplinkOut).is_none()
            && journey.request(Tap::PodIn).is_none()
            && journey.answer(Tap::UplinkIn).is_none()
    }

    /// What to call the packet that was lost.
    #[must_use]
    pub fn packet_word(&self) -> &'static str {
        self.word(self.dropped().map(|(_, role)| role))
    }

    /// What to call the packet that opened the flow, or asked.
    #[must_use]
    pub fn request_word(&self) -> &'static str {
        match self.dropped() {
            Some((_, DropRole::Reply)) => self.word(None),
            _ => self.packet_word(),
        }
    }

    /// `answer (SYN-ACK)`, where its own name says more.
    #[must_use]
    pub fn answer_words(&self) -> String {
        match self.packet_word() {
            "answer" => "answer".to_owned(),
            word => format!("answer ({word})"),
        }
    }

    fn word(&self, role: Option<DropRole>) -> &'static str {
        match (self.protocol(), role) {
            (Protocol::Tcp, Some(DropRole::Reply)) => "SYN-ACK",
            (Protocol::Tcp, Some(DropRole::Data)) => "segment",
            (Protocol::Tcp, _) if matches!(self.event.outcome, Outcome::TooBig(_)) => "segment",
            (Protocol::Tcp, _) => "SYN",
            (Protocol::Udp, Some(DropRole::Reply)) if self.affects() == Affects::Dns => "DNS answer",
            (Protocol::Udp, _) if self.affects() == Affects::Dns => "DNS question",
            (Protocol::Icmp, Some(DropRole::Reply)) => "echo reply",
            (Protocol::Icmp, _) => "echo request",
            (Protocol::Sctp, _) => "INIT",
            (_, Some(DropRole::Reply)) => "answer",
            _ => "packet",
        }
    }
}
