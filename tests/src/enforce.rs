//! What a CNI (or an administrator) would install on the node: rules that let the pods' packets through or not.

pub mod iptables;
mod nft;

use anyhow::Result;

use crate::netns::Netns;
use crate::plan::{Dual, Family};

/// By which means rules are enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// An nftables table of its own, one chain a pod.
    Nft,
    /// iptables chains, in nftables underneath.
    IptablesNft,
    /// iptables chains, the legacy kernel interface.
    IptablesLegacy,
}

/// What happens to a packet that no rule admits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It vanishes.
    Drop,
    /// Its sender is told: TCP reset, or ICMP port unreachable.
    Reject,
}

/// What the rules match. Established connections pass in every case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// All that this pod opens.
    From(Dual),
    /// All that is opened to this pod.
    To(Dual),
    /// This pod's questions to port 53.
    DnsFrom(Dual),
    /// All but questions to port 53 that this pod opens.
    NotDnsFrom(Dual),
    /// All that is opened to this address outside, whoever opens it: an administrator's rule.
    Destination(Dual),
}

/// An enforced rule; its rules can be taken out again.
#[derive(Clone, Debug)]
pub struct Enforced {
    backend: Backend,
    chain: String,
}

impl Backend {
    /// Installs a refusal of both families under a chain of the given name.
    pub fn refuse(self, node: &Netns, chain: &str, what: Match, how: Refusal) -> Result<Enforced> {
        match self {
            Self::Nft => nft::refuse(node, chain, what, how)?,
            Self::IptablesNft => {
                for family in [Family::V4, Family::V6] {
                    iptables::Iptables::nft(family).refuse(node, chain, what, how)?;
                }
            }
            Self::IptablesLegacy => {
                for family in [Family::V4, Family::V6] {
                    iptables::Iptables::legacy(family).refuse(node, chain, what, how)?;
                }
            }
        }
        Ok(Enforced { backend: self, chain: chain.to_owned() })
    }
}

impl Enforced {
    /// Admits one destination before all else, as a CNI does when an allow rule is applied.
    pub fn admit(&self, node: &Netns, destination: Dual, tcp_port: u16) -> Result<()> {
        match self.backend {
            Backend::Nft => nft::admit(node, &self.chain, destination, tcp_port),
            Backend::IptablesNft => [Family::V4, Family::V6].into_iter().try_for_each(|family| {
                iptables::Iptables::nft(family).admit(node, &self.chain, destination, tcp_port)
            }),
            Backend::IptablesLegacy => [Family::V4, Family::V6].into_iter().try_for_each(|family| {
                iptables::Iptables::legacy(family).admit(node, &self.chain, destination, tcp_port)
            }),
        }
    }
}
