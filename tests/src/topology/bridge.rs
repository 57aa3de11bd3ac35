//! Pods as ports of a bridge, which is their gateway.

use anyhow::Result;

use super::{PodNetns, quick_ipv6};
use crate::enforce::iptables::Iptables;
use crate::netns::Netns;
use crate::plan::{BRIDGE, COREDNS, DNS_SERVICE, Family, PODS_V4, PODS_V6, UPLINK};

pub(super) fn build(node: &Netns, pods: &[PodNetns]) -> Result<()> {
    let mut commands = vec![
        "link add cni0 type bridge".to_owned(),
        format!("addr add {}/24 dev cni0", BRIDGE.v4),
        format!("addr add {}/64 dev cni0 nodad", BRIDGE.v6),
        "link set cni0 up".to_owned(),
    ];
    for pod in pods {
        pod.netns.sysctl(&quick_ipv6())?;
        let (device, far) = (&pod.device, pod.netns.name());
        commands.push(format!("link add {device} type veth peer name eth0 netns {far}"));
        commands.push(format!("link set {device} master cni0 up"));
    }
    node.ip(&commands)?;
    for pod in pods {
        pod.netns.ip(&[
            format!("addr add {}/24 dev eth0", pod.ips.v4),
            format!("addr add {}/64 dev eth0 nodad", pod.ips.v6),
            "link set eth0 up".to_owned(),
            format!("route add default via {} dev eth0", BRIDGE.v4),
            format!("route add default via {} dev eth0", BRIDGE.v6),
        ])?;
    }
    // A pod that reaches another pod of the bridge by a Service needs its answers translated back.
    node.sysctl(&[
        ("net/bridge/bridge-nf-call-iptables", "1"),
        ("net/bridge/bridge-nf-call-ip6tables", "1"),
    ])?;

    for family in [Family::V4, Family::V6] {
        let (service, server) = (DNS_SERVICE.of(family), COREDNS.of(family));
        let (all, to) = match family {
            Family::V4 => (PODS_V4, format!("{server}:53")),
            Family::V6 => (PODS_V6, format!("[{server}]:53")),
        };
        Iptables::nft(family).restore(
            node,
            &format!(
                "*nat\n\
                 :KUBE-SERVICES - [0:0]\n\
                 -A PREROUTING -j KUBE-SERVICES\n\
                 -A KUBE-SERVICES -d {service} -p udp --dport 53 -j DNAT --to-destination {to}\n\
                 -A KUBE-SERVICES -d {service} -p tcp --dport 53 -j DNAT --to-destination {to}\n\
                 -A POSTROUTING -s {all} ! -d {all} -o {UPLINK} -j MASQUERADE\n\
                 COMMIT\n"
            ),
        )?;
    }
    Ok(())
}
