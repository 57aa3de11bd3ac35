//! Enforcement by nftables: table `inet cni`, one base chain in forward, one chain a rule.

use anyhow::Result;

use super::{Match, Refusal};
use crate::netns::Netns;
use crate::plan::Dual;

pub(super) fn refuse(node: &Netns, chain: &str, what: Match, how: Refusal) -> Result<()> {
    let action = match how {
        Refusal::Drop => "counter drop".to_owned(),
        // Reject is not a verdict of its own for every protocol: TCP gets a reset, the rest ICMP.
        Refusal::Reject => "meta l4proto tcp counter reject with tcp reset\n    counter reject".to_owned(),
    };
    let mut jumps = String::new();
    for condition in conditions(what) {
        jumps.push_str(&format!("    {condition} jump {chain}\n"));
    }
    node.nft(&format!(
        "table inet cni {{
  chain {chain} {{
    {action}
  }}
  chain forwarding {{
    type filter hook forward priority filter; policy accept;
    ct state established,related accept
{jumps}  }}
}}
"
    ))
}

pub(super) fn admit(node: &Netns, chain: &str, destination: Dual, tcp_port: u16) -> Result<()> {
    node.nft(&format!(
        "insert rule inet cni {chain} ip daddr {} tcp dport {tcp_port} accept\n\
         insert rule inet cni {chain} ip6 daddr {} tcp dport {tcp_port} accept\n",
        destination.v4, destination.v6
    ))
}

fn conditions(what: Match) -> Vec<String> {
    let (key, ips, tails): (_, _, &[&str]) = match what {
        Match::From(ips) => ("saddr", ips, &[""]),
        Match::To(ips) | Match::Destination(ips) => ("daddr", ips, &[""]),
        Match::DnsFrom(ips) => ("saddr", ips, &["udp dport 53 ", "tcp dport 53 "]),
        Match::NotDnsFrom(ips) => ("saddr", ips, &["th dport != 53 "]),
    };
    tails
        .iter()
        .flat_map(|tail| [format!("ip {key} {} {tail}", ips.v4), format!("ip6 {key} {} {tail}", ips.v6)])
        .collect()
}
