//! A lab to look at by hand.

use anyhow::Result;

use crate::lab::Lab;
use crate::topology::Topology;

/// Which lab.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Pods on a bridge instead of routed ones.
    #[arg(long)]
    pub bridge: bool,
    /// Install a default-deny egress policy for the client, and enforce it by nftables.
    #[arg(long)]
    pub deny: bool,
}

/// Builds it, says where everything is, and waits for a signal.
pub fn run(args: &Args) -> Result<()> {
    let lab = Lab::new(if args.bridge { Topology::Bridge } else { Topology::Routed })?;
    if args.deny {
        use crate::enforce::{Backend, Match, Refusal};
        lab.cluster.deny_all_egress()?;
        Backend::Nft.refuse(&lab.node, "pod-api-client", Match::From(lab.client().ips), Refusal::Drop)?;
    }
    println!("node       ip netns exec {}", lab.node.name());
    println!("internet   ip netns exec {}", lab.internet.name());
    for pod in &lab.pods {
        println!("{:10} ip netns exec {}   {} {}", pod.name, pod.netns.name(), pod.ips.v4, pod.ips.v6);
    }
    println!("objects    {}", lab.cluster.folder().display());
    println!("Ctrl-C takes it down.");
    loop {
        std::thread::park();
    }
}
