//! Enumerations: our words and the numbers of the wire.

use std::fmt;

use egress_core::policy::Decision;
use egress_core::protocol::Protocol;
use egress_core::verdict::{
    Affects, Cause, Confidence, Direction, Hop, HopOutcome, PeerKind, PolicyResult, Side, Stage, State,
};

use super::super::proto;
use crate::status::HookState;

/// An enumeration that has a counterpart on the wire.
pub(super) trait Word: Copy {
    /// What stands for a value this build does not know: the one that claims least.
    const CAUTIOUS: Self;

    /// The number of the wire.
    fn to_proto(self) -> i32;

    /// The value of a number, if this build knows it.
    fn known(number: i32) -> Option<Self>;

    /// The word of the contract.
    fn word(self) -> &'static str;
}

macro_rules! words {
    ($($name:ident { $($variant:ident),* } cautious $cautious:ident;)*) => {
        $(impl Word for $name {
            const CAUTIOUS: Self = Self::$cautious;

            fn to_proto(self) -> i32 {
                match self { $(Self::$variant => proto::$name::$variant.into(),)* }
            }

            fn known(number: i32) -> Option<Self> {
                match proto::$name::try_from(number).ok()? {
                    proto::$name::Unspecified => None,
                    $(proto::$name::$variant => Some(Self::$variant),)*
                }
            }

            fn word(self) -> &'static str {
                self.as_str()
            }
        })*
    };
}

words! {
    Cause {
        PolicyDrop, FirewallDrop, ServiceNoEndpoints, DnsFailure, NatMissing, NatExhausted, ConntrackFull, Mtu,
        UpstreamTimeout, UpstreamRefused, UpstreamUnreachable, UpstreamReset, TlsFailure, RouteDrop, MeshBlocked,
        LocalResource, Unknown
    } cautious Unknown;
    State { Active, Cleared } cautious Active;
    Confidence { Certain, Likely, Possible } cautious Possible;
    Stage { Pod, Node, Uplink, Upstream } cautious Node;
    Affects { Tcp, Udp, Sctp, Dns, Icmp } cautious Tcp;
    Direction { Egress, Ingress } cautious Egress;
    Protocol { Tcp, Udp, Sctp, Icmp, Other } cautious Other;
    PeerKind { External, Pod, Service, Node, Unresolved } cautious Unresolved;
    Hop { Pod, Node, Uplink, Upstream, Peer } cautious Node;
    HopOutcome { Passed, Translated, Dropped, Refused, Silent, Unseen } cautious Unseen;
    Side { Egress, Ingress } cautious Egress;
    PolicyResult { Admits, DoesNotAdmit, Denies, NotApplicable, Undecidable } cautious Undecidable;
    Decision { Allow, Deny, Undecidable } cautious Undecidable;
    HookState { Attached, Degraded, Refused } cautious Degraded;
}

/// Collects what was sent and is not known.
#[derive(Debug, Default)]
pub(super) struct Unknown(Vec<String>);

impl Unknown {
    /// The value of a number; a cautious one, noted, where it is not known.
    pub(super) fn word<W: Word>(&mut self, field: &str, number: i32) -> W {
        W::known(number).unwrap_or_else(|| {
            self.note(format_args!("{field} {number}"), W::CAUTIOUS.word());
            W::CAUTIOUS
        })
    }

    /// Notes what was sent and what is shown in its place.
    pub(super) fn note(&mut self, sent: impl fmt::Display, shown: &str) {
        self.0.push(format!("the agent is newer than this client and sent {sent}; shown as \"{shown}\""));
    }

    /// The notes, as hints.
    pub(super) fn into_hints(self) -> Vec<String> {
        self.0
    }
}
