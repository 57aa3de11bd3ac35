//! Tunnels: what their headers leave for the packets inside.

use crate::decode::Tap;
use crate::flow::{SizeKind, TooBig};
use crate::node::{Device, NodeState};
use crate::verdict::case::Case;
use crate::verdict::judge::Judgement;

/// A tunnel that carries the flow, and the device that carries the tunnel.
pub(super) struct Overlay {
    /// Name of the tunnel's device.
    pub(super) tunnel: String,
    /// Its kind, as `ip -d link` writes it.
    pub(super) kind: String,
    /// Its MTU.
    pub(super) mtu: u32,
    /// Name of the device below.
    pub(super) underlay: String,
    /// MTU of that.
    pub(super) underlay_mtu: u32,
    /// Bytes that the tunnel adds to a packet.
    pub(super) overhead: u32,
}

impl Overlay {
    /// The largest packet that fits with the tunnel's header.
    pub(super) const fn room(&self) -> u32 {
        self.underlay_mtu.saturating_sub(self.overhead)
    }

    /// The tunnel's device takes more than fits: its own header is not accounted for.
    pub(super) const fn is_too_wide(&self) -> bool {
        self.mtu > self.room()
    }

    pub(super) fn facts(&self, judgement: Judgement) -> Judgement {
        judgement
            .with("tunnel", self.tunnel.clone())
            .with("tunnel_kind", self.kind.clone())
            .with("tunnel_mtu", self.mtu)
            .with("overhead", self.overhead)
            .with("underlay", self.underlay.clone())
            .with("underlay_mtu", self.underlay_mtu)
    }
}

/// The tunnel by which the flow leaves the node, if it leaves by one.
pub(super) fn of(case: &Case<'_>, found: &TooBig) -> Option<Overlay> {
    let by_drop = match &found.kind {
        SizeKind::Here(drop) if drop.dst_ifindex != 0 => Some(drop.dst_ifindex),
        _ => None,
    };
    let by_packet = || case.event.journey.request(Tap::UplinkOut).map(|seen| seen.ifindex);
    let to = case.translation.destination.map_or(case.event.client.destination.ip, |to| to.ip);
    let index = by_drop.or_else(by_packet).or_else(|| case.node.route_to(to).map(|route| route.device))?;
    let tunnel = case.node.device(index)?;
    let underlay = underlay(case.node, &tunnel.kind)?;
    let overhead = overhead(&tunnel.kind, underlay.1)?;
    Some(Overlay {
        tunnel: tunnel.name.clone(),
        kind: tunnel.kind.clone(),
        mtu: tunnel.mtu,
        underlay: underlay.0.name.clone(),
        underlay_mtu: underlay.0.mtu,
        overhead,
    })
}

/// The device that carries tunnels (of the default route, IPv4 first, that is no tunnel itself), and whether it does
/// so over IPv6.
fn underlay<'a>(node: &'a NodeState, kind: &str) -> Option<(&'a Device, bool)> {
    overhead(kind, false)?;
    let by_default = |v6: bool| {
        let any = if v6 { "::".parse() } else { "0.0.0.0".parse() }.ok()?;
        let device = node.device(node.default_device(any)?)?;
        overhead(&device.kind, false).is_none().then_some((device, v6))
    };
    by_default(false).or_else(|| by_default(true))
}

/// Bytes that a kind of tunnel adds, outer header included; `None` for what is no tunnel with a known size.
const fn overhead(kind: &str, v6: bool) -> Option<u32> {
    let ip = if v6 { 40 } else { 20 };
    // Outer IP and what follows it: UDP 8, VXLAN and Geneve 8, inner Ethernet 14; GRE 4; WireGuard 8 + 32.
    Some(match kind.as_bytes() {
        b"vxlan" | b"geneve" => ip + 30,
        b"ipip" | b"sit" => 20,
        b"ip6tnl" => 48,
        b"gre" => 24,
        b"ip6gre" => 44,
        b"gretap" => 38,
        b"ip6gretap" => 58,
        b"wireguard" => ip + 40,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::overhead;

    #[test]
    fn the_headers_of_tunnels_are_counted_as_their_drivers_do() {
        let kinds =
            [("vxlan", 50, 70), ("geneve", 50, 70), ("wireguard", 60, 80), ("ipip", 20, 20), ("gre", 24, 24)];
        for (kind, v4, v6) in kinds {
            assert_eq!((overhead(kind, false), overhead(kind, true)), (Some(v4), Some(v6)), "{kind}");
        }
        assert_eq!(overhead("veth", false), None);
    }
}
