//! What kube-proxy programs on a node for a Service: a translation to its backend, or what it does without one.

use anyhow::Result;

use crate::enforce::iptables::Iptables;
use crate::netns::Netns;
use crate::plan::{Dual, Family};

/// kube-proxy's mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `nftables`
    Nftables,
    /// `iptables`, over nftables.
    Iptables,
    /// `iptables`, the legacy interface.
    IptablesLegacy,
}

/// What becomes of traffic to a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarding {
    /// To this backend.
    To(Dual, u16),
    /// There is no endpoint: ICMP port unreachable.
    Reject,
    /// There is no endpoint on this node, and the traffic policy is Local: dropped.
    Drop,
}

/// A Service's port, as kube-proxy sees it.
#[derive(Clone, Copy, Debug)]
pub struct ServicePort {
    /// `NAMESPACE/NAME:PORT`, for comments.
    pub name: &'static str,
    /// ClusterIP.
    pub ip: Dual,
    /// `tcp` or `udp`.
    pub protocol: &'static str,
    /// Port.
    pub port: u16,
    /// Node port, if any, and the node's address.
    pub node_port: Option<(Dual, u16)>,
}

impl Mode {
    /// Programs one port of a Service on a node, both families.
    pub fn program(self, node: &Netns, service: &ServicePort, forwarding: Forwarding) -> Result<()> {
        match self {
            Self::Nftables => node.nft(&nftables(service, forwarding)),
            Self::Iptables | Self::IptablesLegacy => {
                [Family::V4, Family::V6].into_iter().try_for_each(|family| {
                    let program =
                        if self == Self::Iptables { Iptables::nft(family) } else { Iptables::legacy(family) };
                    program.restore(node, &iptables(service, forwarding, family))
                })
            }
        }
    }

    /// Rejects other ports of a ClusterIP, as the nftables mode does.
    pub fn reject_other_ports(node: &Netns, ip: Dual) -> Result<()> {
        node.nft(&format!(
            "table inet kube-proxy {{
               chain cluster-ips-check {{ ip daddr {v4} reject; ip6 daddr {v6} reject; }}
               chain filter-forward {{ type filter hook forward priority -110; policy accept;
                 ct state new jump cluster-ips-check; }}
             }}",
            v4 = ip.v4,
            v6 = ip.v6
        ))
    }
}

/// The nftables mode: translation in prerouting, a check before that of who has no endpoint in the filter hooks.
fn nftables(service: &ServicePort, forwarding: Forwarding) -> String {
    let ServicePort { ip, protocol, port, node_port, .. } = service;
    let mut matches = vec![
        (format!("ip daddr {} {protocol} dport {port}", ip.v4), true),
        (format!("ip6 daddr {} {protocol} dport {port}", ip.v6), false),
    ];
    if let Some((node, number)) = node_port {
        matches.push((format!("ip daddr {} {protocol} dport {number}", node.v4), true));
        matches.push((format!("ip6 daddr {} {protocol} dport {number}", node.v6), false));
    }
    let action = match forwarding {
        Forwarding::To(to, number) => {
            let rules: String = matches
                .iter()
                .map(|(condition, v4)| {
                    let to = if *v4 {
                        format!("ip to {}:{number}", to.v4)
                    } else {
                        format!("ip6 to [{}]:{number}", to.v6)
                    };
                    format!("{condition} dnat {to}\n")
                })
                .collect();
            return format!(
                "table inet kube-proxy {{
                   chain nat-prerouting {{ type nat hook prerouting priority dstnat; policy accept;
                     {rules} }}
                 }}"
            );
        }
        Forwarding::Reject => "reject",
        Forwarding::Drop => "drop",
    };
    let rules: String = matches.iter().map(|(condition, _)| format!("{condition} {action}\n")).collect();
    format!(
        "table inet kube-proxy {{
           chain service-endpoints-check {{
             {rules} }}
           chain filter-forward {{ type filter hook forward priority -110; policy accept;
             ct state new jump service-endpoints-check; }}
           chain filter-input {{ type filter hook input priority -110; policy accept;
             ct state new jump service-endpoints-check; }}
           chain filter-output {{ type filter hook output priority -110; policy accept;
             ct state new jump service-endpoints-check; }}
         }}"
    )
}

/// The iptables mode: `KUBE-SERVICES` in nat and in filter, `KUBE-EXTERNAL-SERVICES` for node ports.
fn iptables(service: &ServicePort, forwarding: Forwarding, family: Family) -> String {
    let ServicePort { name, ip, protocol, port, node_port } = service;
    let ip = ip.of(family);
    let condition = format!("-d {ip} -p {protocol} -m {protocol} --dport {port}");
    let node_port = node_port.map(|(_, number)| {
        format!("-p {protocol} -m addrtype --dst-type LOCAL -m {protocol} --dport {number}")
    });
    let action = match (forwarding, family) {
        (Forwarding::To(to, number), family) => {
            let to = std::net::SocketAddr::new(to.of(family), number);
            let mut rules = format!(
                "*nat\n:KUBE-SERVICES - [0:0]\n-A PREROUTING -j KUBE-SERVICES\n\
                 -A KUBE-SERVICES {condition} -j DNAT --to-destination {to}\n"
            );
            if let Some(condition) = node_port {
                rules.push_str(&format!("-A KUBE-SERVICES {condition} -j DNAT --to-destination {to}\n"));
            }
            rules.push_str("COMMIT\n");
            return rules;
        }
        (Forwarding::Reject, Family::V4) => "REJECT --reject-with icmp-port-unreachable",
        (Forwarding::Reject, Family::V6) => "REJECT --reject-with icmp6-port-unreachable",
        (Forwarding::Drop, _) => "DROP",
    };
    let comment = if forwarding == Forwarding::Drop { "no local endpoints" } else { "no endpoints" };
    let comment = format!("-m comment --comment \"{name} has {comment}\"");
    let mut rules = format!(
        "*filter\n:KUBE-SERVICES - [0:0]\n:KUBE-EXTERNAL-SERVICES - [0:0]\n\
         -A FORWARD -m conntrack --ctstate NEW -j KUBE-SERVICES\n\
         -A OUTPUT -m conntrack --ctstate NEW -j KUBE-SERVICES\n\
         -A INPUT -m conntrack --ctstate NEW -j KUBE-EXTERNAL-SERVICES\n\
         -A KUBE-SERVICES {condition} {comment} -j {action}\n"
    );
    if let Some(condition) = node_port {
        rules.push_str(&format!("-A KUBE-EXTERNAL-SERVICES {condition} {comment} -j {action}\n"));
    }
    rules.push_str("COMMIT\n");
    rules
}
