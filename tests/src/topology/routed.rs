//! Pods behind one veth each, routed by the node.

use anyhow::Result;

use super::{PodNetns, quick_ipv6};
use crate::netns::Netns;
use crate::plan::{COREDNS, DNS_SERVICE, PODS_V4, PODS_V6, UPLINK};

pub(super) fn build(node: &Netns, pods: &[PodNetns]) -> Result<()> {
    let mut commands = Vec::new();
    for pod in pods {
        pod.netns.sysctl(&quick_ipv6())?;
        let (device, far) = (&pod.device, pod.netns.name());
        commands.push(format!("link add {device} type veth peer name eth0 netns {far}"));
        commands.push(format!("addr add fe80::1/64 dev {device} nodad"));
        commands.push(format!("link set {device} up"));
    }
    node.ip(&commands)?;

    for pod in pods {
        let device = &pod.device;
        node.sysctl(&[
            // The gateway 169.254.1.1 exists nowhere; the node answers for it, without the random delay.
            (format!("net/ipv4/conf/{device}/proxy_arp"), "1"),
            (format!("net/ipv4/neigh/{device}/proxy_delay"), "0"),
        ])?;
        pod.netns.ip(&[
            format!("addr add {}/32 dev eth0", pod.ips.v4),
            format!("addr add {}/128 dev eth0 nodad", pod.ips.v6),
            "link set eth0 up".to_owned(),
            "route add 169.254.1.1 dev eth0 scope link".to_owned(),
            "route add default via 169.254.1.1 dev eth0".to_owned(),
            "route add default via fe80::1 dev eth0".to_owned(),
        ])?;
    }
    // After the pods' ends are up, or the routes would be of dead links.
    let mut routes = Vec::new();
    for pod in pods {
        routes.push(format!("route add {} dev {} scope link", pod.ips.v4, pod.device));
        routes.push(format!("route add {} dev {}", pod.ips.v6, pod.device));
    }
    node.ip(&routes)?;

    node.nft(&format!(
        "table inet kube-proxy {{
           chain services {{ type nat hook prerouting priority dstnat; policy accept;
             ip daddr {s4} udp dport 53 dnat ip to {d4}:53
             ip daddr {s4} tcp dport 53 dnat ip to {d4}:53
             ip6 daddr {s6} udp dport 53 dnat ip6 to [{d6}]:53
             ip6 daddr {s6} tcp dport 53 dnat ip6 to [{d6}]:53
           }}
           chain nat-outgoing {{ type nat hook postrouting priority srcnat; policy accept;
             ip saddr {PODS_V4} ip daddr != {PODS_V4} oifname \"{UPLINK}\" masquerade
             ip6 saddr {PODS_V6} ip6 daddr != {PODS_V6} oifname \"{UPLINK}\" masquerade
           }}
         }}",
        s4 = DNS_SERVICE.v4,
        s6 = DNS_SERVICE.v6,
        d4 = COREDNS.v4,
        d6 = COREDNS.v6,
    ))
}
