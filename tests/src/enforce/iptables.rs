//! Enforcement by iptables, in either of its two kernel interfaces.

use anyhow::Result;

use super::{Match, Refusal};
use crate::netns::Netns;
use crate::plan::{Dual, Family};
use crate::tools;

/// One of the four iptables programs.
#[derive(Clone, Copy, Debug)]
pub struct Iptables {
    family: Family,
    legacy: bool,
}

impl Iptables {
    /// The one that writes nftables.
    pub const fn nft(family: Family) -> Self {
        Self { family, legacy: false }
    }

    /// The legacy one.
    pub const fn legacy(family: Family) -> Self {
        Self { family, legacy: true }
    }

    /// Loads rules in `iptables-save` format beside those that are there.
    pub fn restore(self, node: &Netns, rules: &str) -> Result<()> {
        let program = match (self.family, self.legacy) {
            (Family::V4, false) => "iptables-nft-restore",
            (Family::V6, false) => "ip6tables-nft-restore",
            (Family::V4, true) => "iptables-legacy-restore",
            (Family::V6, true) => "ip6tables-legacy-restore",
        };
        tools::feed(&mut node.command(program), &["--noflush", "--wait"], rules)
    }

    pub(super) fn refuse(self, node: &Netns, chain: &str, what: Match, how: Refusal) -> Result<()> {
        let actions: &[&str] = match how {
            Refusal::Drop => &["-j DROP"],
            Refusal::Reject => &["-p tcp -j REJECT --reject-with tcp-reset", "-j REJECT"],
        };
        let mut rules = format!(
            "*filter\n:{chain} - [0:0]\n-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\n"
        );
        for condition in self.conditions(what) {
            rules.push_str(&format!("-A FORWARD {condition} -j {chain}\n"));
        }
        for action in actions {
            rules.push_str(&format!("-A {chain} {action}\n"));
        }
        rules.push_str("COMMIT\n");
        self.restore(node, &rules)
    }

    pub(super) fn admit(self, node: &Netns, chain: &str, destination: Dual, tcp_port: u16) -> Result<()> {
        let ip = destination.of(self.family);
        self.restore(
            node,
            &format!("*filter\n-I {chain} 1 -d {ip} -p tcp --dport {tcp_port} -j ACCEPT\nCOMMIT\n"),
        )
    }

    fn conditions(self, what: Match) -> Vec<String> {
        let ip = |ips: Dual| ips.of(self.family);
        match what {
            Match::From(ips) => vec![format!("-s {}", ip(ips))],
            Match::To(ips) | Match::Destination(ips) => vec![format!("-d {}", ip(ips))],
            Match::DnsFrom(ips) => {
                ["udp", "tcp"].iter().map(|p| format!("-s {} -p {p} --dport 53", ip(ips))).collect()
            }
            Match::NotDnsFrom(ips) => {
                ["udp", "tcp"].iter().map(|p| format!("-s {} -p {p} ! --dport 53", ip(ips))).collect()
            }
        }
    }
}
