//! ICMP codes by name (RFC 792, 1122, 1812, 4443), and what to do about each kind.

use std::net::IpAddr;

use crate::verdict::case::Case;

/// What kind of error it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A router has no way to the network.
    Network,
    /// The last router finds nobody at the address.
    Host,
    /// The destination does not speak the protocol.
    Protocol,
    /// Nothing listens, or a filter of the destination says so.
    Port,
    /// A firewall says so.
    Prohibited,
    /// It went round until its TTL was used up.
    TtlExceeded,
    /// A router does not take this source address.
    Source,
    /// A header field that a router does not take.
    Parameter,
    /// Fragmentation: not a matter of reaching at all.
    TooBig,
    /// Any other.
    Other,
}

/// Name and kind of an error.
pub(super) const fn name(v6: bool, kind: u8, code: u8) -> (&'static str, Kind) {
    match (v6, kind, code) {
        (false, 3, 0) => ("network unreachable", Kind::Network),
        (false, 3, 1) => ("host unreachable", Kind::Host),
        (false, 3, 2) => ("protocol unreachable", Kind::Protocol),
        (false, 3, 3) | (true, 1, 4) => ("port unreachable", Kind::Port),
        (false, 3, 4) => ("fragmentation needed", Kind::TooBig),
        (false, 3, 5) => ("source route failed", Kind::Other),
        (false, 3, 6) => ("destination network unknown", Kind::Network),
        (false, 3, 7) => ("destination host unknown", Kind::Host),
        (false, 3, 8) => ("source host isolated", Kind::Source),
        (false, 3, 9) => ("network administratively prohibited", Kind::Prohibited),
        (false, 3, 10) => ("host administratively prohibited", Kind::Prohibited),
        (false, 3, 11) => ("network unreachable for this type of service", Kind::Network),
        (false, 3, 12) => ("host unreachable for this type of service", Kind::Host),
        (false, 3, 13) | (true, 1, 1) => ("communication administratively prohibited", Kind::Prohibited),
        (false, 3, 14) => ("host precedence violation", Kind::Prohibited),
        (false, 3, 15) => ("precedence cutoff in effect", Kind::Prohibited),
        (false, 11, 0) => ("time to live exceeded in transit", Kind::TtlExceeded),
        (true, 3, 0) => ("hop limit exceeded in transit", Kind::TtlExceeded),
        (false, 11, _) | (true, 3, _) => ("fragment reassembly time exceeded", Kind::TooBig),
        (true, 2, _) => ("packet too big", Kind::TooBig),
        (true, 1, 0) => ("no route to destination", Kind::Network),
        (true, 1, 2) => ("beyond scope of source address", Kind::Source),
        (true, 1, 3) => ("address unreachable", Kind::Host),
        (true, 1, 5) => ("source address failed ingress or egress policy", Kind::Source),
        (true, 1, 6) => ("reject route to destination", Kind::Network),
        (true, 1, 7) => ("error in source routing header", Kind::Parameter),
        (false, 12, _) | (true, 4, _) => ("parameter problem", Kind::Parameter),
        _ => ("destination unreachable", Kind::Other),
    }
}

impl Kind {
    /// The word of `detail.kind`.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Host => "host",
            Self::Protocol => "protocol",
            Self::Port => "port",
            Self::Prohibited => "prohibited",
            Self::TtlExceeded => "ttl-exceeded",
            Self::Source => "source",
            Self::Parameter => "parameter",
            Self::TooBig => "too-big",
            Self::Other => "other",
        }
    }

    /// What to do. `source` is the address with which the packet left the node.
    pub(super) fn advice(self, case: &Case<'_>, router: IpAddr, itself: bool, source: IpAddr) -> String {
        let to = case.translation.destination.map_or(case.event.client.destination.ip, |to| to.ip);
        let (protocol, port) = (case.protocol(), case.event.client.destination.port);
        match self {
            Self::Network => {
                format!(
                    "Look at the routing table of {router}: it has no route to {to} (ip route get {to} there)."
                )
            }
            Self::Host => format!(
                "{router} is the last router and finds nobody at {to} on its segment: the host is down, moved, or the \
                 address is wrong."
            ),
            Self::Protocol => format!("{to} does not speak {protocol}."),
            Self::Port if itself => format!(
                "Check that a server listens on {protocol} port {port} at {to}, and that its firewall does not reject \
                 {source} (REJECT answers like this)."
            ),
            Self::Port => format!("{router} rejects it in the name of {to}: look for a REJECT rule there."),
            Self::Prohibited => format!(
                "Ask whoever runs {router} to admit {source} to {to}, {protocol} port {port}: its filter says that it \
                 forbids this."
            ),
            Self::TtlExceeded => format!(
                "Look for a routing loop around {router}: traceroute -n {to} from the node shows which routers \
                 repeat; {router} and its neighbour each take the other for the next hop."
            ),
            Self::Source => format!(
                "{router} does not take packets from {source}: check the source address and its routes."
            ),
            Self::Parameter => format!(
                "{router} does not take a field of the packet's header: look at IP options and tunnels."
            ),
            Self::TooBig | Self::Other => format!("Ask whoever runs {router}."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_fragmentation_are_no_matter_of_reaching() {
        for (v6, kind, code) in [(false, 3, 4), (false, 11, 1), (true, 2, 0), (true, 3, 1)] {
            assert_eq!(name(v6, kind, code).1, Kind::TooBig);
        }
    }

    #[test]
    fn what_firewalls_say_is_told_from_what_routers_say() {
        for (v6, kind, code) in [(false, 3, 9), (false, 3, 10), (false, 3, 13), (true, 1, 1)] {
            assert_eq!(name(v6, kind, code).1, Kind::Prohibited);
        }
        assert_eq!(name(false, 3, 1).1, Kind::Host);
        assert_eq!(name(true, 1, 3).1, Kind::Host);
        assert_eq!(name(true, 1, 0).1, Kind::Network);
        assert_eq!(name(false, 11, 0).1, Kind::TtlExceeded);
        assert_eq!(name(false, 3, 99), ("destination unreachable", Kind::Other));
    }
}
