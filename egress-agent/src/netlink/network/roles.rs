//! What each device is to us: a pod's host side, an uplink, or neither.

use std::collections::HashSet;

use egress_core::node::{Device, DeviceRole, LinkState, Route};

use super::links::Link;

/// Kinds of `IFLA_INFO_KIND` through which packets to other nodes leave, with or without a default route.
const TUNNELS: &[&str] = &[
    "vxlan",
    "geneve",
    "wireguard",
    "ipip",
    "sit",
    "ip6tnl",
    "gre",
    "gretap",
    "ip6gre",
    "ip6gretap",
    "erspan",
    "ip6erspan",
    "vti",
    "vti6",
    "xfrm",
];

/// Kinds whose other end is in a pod.
const POD_KINDS: &[&str] = &["veth", "netkit"];

/// The devices with their roles. `uplinks` names the uplinks; if it is empty they are the devices of the default
/// routes of all tables, and every tunnel that is up.
pub(super) fn devices(links: &[Link], routes: &[Route], uplinks: &[String]) -> Vec<Device> {
    let defaults: HashSet<u32> = routes
        .iter()
        .filter(|route| route.destination.prefix_len() == 0 && route.kind == "unicast")
        .map(|route| route.device)
        .collect();
    let is_uplink = |link: &Link| {
        if link.loopback {
            false
        } else if uplinks.is_empty() {
            defaults.contains(&link.index) || (link.up && TUNNELS.contains(&link.kind.as_str()))
        } else {
            uplinks.contains(&link.name)
        }
    };
    let mut devices: Vec<Device> = links
        .iter()
        .map(|link| Device {
            index: link.index,
            name: link.name.clone(),
            kind: link.kind.clone(),
            mtu: link.mtu,
            master: link.master,
            role: if is_uplink(link) {
                DeviceRole::Uplink
            } else if link.crosses_netns && POD_KINDS.contains(&link.kind.as_str()) {
                DeviceRole::Pod
            } else {
                DeviceRole::Other
            },
            link: match (link.up, link.carrier) {
                (false, _) => LinkState::Down,
                (true, false) => LinkState::NoCarrier,
                (true, true) => LinkState::Up,
            },
            ..Device::default()
        })
        .collect();
    devices.sort_unstable_by_key(|device| device.index);
    devices
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, name: &str, kind: &str) -> Link {
        Link {
            index,
            name: name.to_owned(),
            kind: kind.to_owned(),
            mtu: 1500,
            queue: 0,
            master: 0,
            up: true,
            carrier: true,
            loopback: name == "lo",
            crosses_netns: kind == "veth" || kind == "netkit",
        }
    }

    fn default_route(device: u32, table: u32, kind: &str) -> Route {
        Route {
            table,
            destination: "0.0.0.0/0".parse().unwrap(),
            kind: kind.to_owned(),
            device,
            gateway: None,
            priority: 0,
        }
    }

    fn roles(links: &[Link], routes: &[Route], uplinks: &[String]) -> Vec<(String, DeviceRole)> {
        devices(links, routes, uplinks).into_iter().map(|d| (d.name, d.role)).collect()
    }

    #[test]
    fn uplinks_are_the_devices_of_the_default_routes_of_all_tables_and_the_tunnels() {
        use DeviceRole::{Other, Pod, Uplink};
        let mut idle_tunnel = link(8, "tunl0", "ipip");
        idle_tunnel.up = false;
        // Two ends of one pair in the node itself (such as cilium_host and cilium_net) lead to no pod.
        let mut inner = link(9, "cilium_net", "veth");
        inner.crosses_netns = false;
        let links = [
            link(1, "lo", ""),
            link(2, "eth0", "veth"),
            link(3, "eth1", ""),
            link(4, "veth4", "veth"),
            link(5, "nk5", "netkit"),
            link(6, "cni0", "bridge"),
            link(7, "flannel.1", "vxlan"),
            idle_tunnel,
            inner,
            link(10, "tun0", "tun"),
        ];
        let routes = [
            default_route(2, 254, "unicast"),
            default_route(3, 1001, "unicast"),
            default_route(1, 254, "unreachable"),
        ];
        let expected = [
            ("lo", Other),
            ("eth0", Uplink),
            ("eth1", Uplink),
            ("veth4", Pod),
            ("nk5", Pod),
            ("cni0", Other),
            ("flannel.1", Uplink),
            ("tunl0", Other),
            ("cilium_net", Other),
            ("tun0", Other),
        ];
        let expected: Vec<_> = expected.into_iter().map(|(name, role)| (name.to_owned(), role)).collect();
        assert_eq!(roles(&links, &routes, &[]), expected);
    }

    #[test]
    fn named_uplinks_replace_the_found_ones() {
        use DeviceRole::{Other, Uplink};
        let links = [link(2, "eth0", ""), link(3, "eth1", ""), link(7, "flannel.1", "vxlan")];
        let found = roles(&links, &[default_route(2, 254, "unicast")], &["eth1".to_owned()]);
        let expected = [("eth0", Other), ("eth1", Uplink), ("flannel.1", Other)];
        let expected: Vec<_> = expected.into_iter().map(|(name, role)| (name.to_owned(), role)).collect();
        assert_eq!(found, expected);
    }
}
