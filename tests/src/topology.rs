//! How pods reach their node. Both kinds share the node's uplink, masquerade and the internet behind it.

mod bridge;
mod routed;

use anyhow::Result;

use crate::netns::Netns;
use crate::plan::{self, Dual, UPLINK};

/// A way to build the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// Each pod a /32 (and /128) behind its own veth, the gateway answered by proxy ARP; Services and masquerade
    /// by nftables. Calico's way.
    Routed,
    /// Pods on a bridge that is their gateway; Services and masquerade by iptables. The bridge plugin's way.
    Bridge,
}

impl std::fmt::Display for Topology {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Routed => "routed",
            Self::Bridge => "bridge",
        })
    }
}

/// A pod of a lab.
#[derive(Debug)]
pub struct PodNetns {
    /// Name of the pod.
    pub name: &'static str,
    /// Namespace of the pod.
    pub namespace: &'static str,
    /// Its addresses.
    pub ips: Dual,
    /// Its network namespace; its device inside is `eth0`.
    pub netns: Netns,
    /// Its device on the node's side.
    pub device: String,
}

impl Topology {
    /// Connects the pods to the node and makes the node route, masquerade and translate Services.
    pub(crate) fn build(self, node: &Netns, pods: &[PodNetns]) -> Result<()> {
        match self {
            Self::Routed => routed::build(node, pods),
            Self::Bridge => bridge::build(node, pods),
        }
    }

    /// Name of the node's device of the `n`th pod.
    pub(crate) fn device(self, n: usize) -> String {
        match self {
            Self::Routed => format!("cali{n}"),
            Self::Bridge => format!("veth{n}"),
        }
    }
}

/// Joins the node to the internet, which knows the node's address but no pod's.
pub(crate) fn join_internet(node: &Netns, internet: &Netns) -> Result<()> {
    let far = internet.name();
    node.sysctl(&node_settings())?;
    internet.sysctl(&quick_ipv6())?;
    node.ip(&[
        format!("link add {UPLINK} type veth peer name wan0 netns {far}"),
        format!("addr add {}/24 dev {UPLINK}", plan::NODE.v4),
        format!("addr add {}/64 dev {UPLINK} nodad", plan::NODE.v6),
        format!("link set {UPLINK} up"),
    ])?;
    let mut commands = vec![
        format!("addr add {}/24 dev wan0", plan::GATEWAY.v4),
        format!("addr add {}/64 dev wan0 nodad", plan::GATEWAY.v6),
        "link set wan0 up".to_owned(),
    ];
    for host in [plan::STRIPE, plan::GITHUB, plan::SILENT, plan::RESOLVER] {
        commands.push(format!("addr add {}/32 dev lo", host.v4));
        commands.push(format!("addr add {}/128 dev lo nodad", host.v6));
    }
    internet.ip(&commands)?;
    node.ip(&[
        format!("route add default via {} dev {UPLINK}", plan::GATEWAY.v4),
        format!("route add default via {} dev {UPLINK}", plan::GATEWAY.v6),
    ])?;
    let (v4, v6) = (plan::SILENT.v4, plan::SILENT.v6);
    internet.nft(&format!(
        "table inet internet {{
           chain input {{ type filter hook input priority filter; policy accept;
             ip daddr {v4} drop
             ip6 daddr {v6} drop
           }}
         }}"
    ))
}

/// Joins a host beyond the internet to it by a line that takes `mtu` bytes towards the host. The host itself knows
/// nothing of that and announces segments of a full Ethernet packet.
pub(crate) fn join_narrow(internet: &Netns, far: &Netns, host: Dual, mtu: u32) -> Result<()> {
    far.sysctl(&quick_ipv6())?;
    internet.sysctl(&[("net/ipv4/ip_forward", "1"), ("net/ipv6/conf/all/forwarding", "1")])?;
    internet.ip(&[
        format!("link add narrow0 type veth peer name wan0 netns {}", far.name()),
        "addr add 198.18.0.1/30 dev narrow0".to_owned(),
        "addr add 2001:db8:7::1/64 dev narrow0 nodad".to_owned(),
        format!("link set narrow0 mtu {mtu} up"),
    ])?;
    far.ip(&[
        format!("addr add {}/32 dev lo", host.v4),
        format!("addr add {}/128 dev lo nodad", host.v6),
        "addr add 198.18.0.2/30 dev wan0".to_owned(),
        "addr add 2001:db8:7::2/64 dev wan0 nodad".to_owned(),
        "link set wan0 up".to_owned(),
        format!("route add default via 198.18.0.1 src {}", host.v4),
        format!("route add default via 2001:db8:7::1 src {}", host.v6),
    ])?;
    internet.ip(&[
        format!("route add {}/32 via 198.18.0.2", host.v4),
        format!("route add {}/128 via 2001:db8:7::2", host.v6),
    ])
}

/// A router, without the waits that only matter on shared links.
fn node_settings() -> Vec<(&'static str, &'static str)> {
    let mut settings = quick_ipv6();
    settings.extend([
        ("net/ipv4/ip_forward", "1"),
        ("net/ipv6/conf/all/forwarding", "1"),
        ("net/ipv4/conf/all/rp_filter", "0"),
        ("net/ipv4/conf/default/rp_filter", "0"),
    ]);
    settings
}

/// Addresses are usable at once: no duplicate detection, no router solicitation.
fn quick_ipv6() -> Vec<(&'static str, &'static str)> {
    vec![
        ("net/ipv6/conf/default/accept_dad", "0"),
        ("net/ipv6/conf/default/router_solicitations", "0"),
        ("net/ipv6/conf/default/accept_ra", "0"),
    ]
}
