//! `firewall-drop`: the node drops it and no policy explains that.

mod local;

use super::{Run, Scenario, await_ipv6, program};
use crate::enforce::{Backend, Match, Refusal};
use crate::expect::Expect;
use crate::plan::{Family, GITHUB, NODE, UPLINK};
use crate::tools;
use crate::topology::Topology;

pub(super) fn all() -> Vec<Scenario> {
    let mut all = basic();
    all.extend(local::all());
    all
}

fn basic() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "firewall-nft",
            Topology::Routed,
            "an administrator's nftables rule drops everything to one address, and no policy says so",
            |run| rule(run, Family::V4, Backend::Nft, Refusal::Drop),
        )
        .expect(|| verdict(Family::V4)),
        Scenario::new("firewall-nft-ipv6", Topology::Routed, "the same over IPv6", |run| {
            rule(run, Family::V6, Backend::Nft, Refusal::Drop)
        })
        .set_up(|lab, _| await_ipv6(lab))
        .expect(|| verdict(Family::V6)),
        Scenario::new(
            "firewall-iptables",
            Topology::Bridge,
            "an administrator's iptables rule drops everything to one address on a bridge node",
            |run| rule(run, Family::V4, Backend::IptablesNft, Refusal::Drop),
        )
        .needs(|| program("iptables-nft"))
        .expect(|| verdict(Family::V4)),
        Scenario::new(
            "firewall-reject",
            Topology::Routed,
            "an administrator's rule rejects: the reset comes from the node, not from the remote",
            |run| rule(run, Family::V4, Backend::Nft, Refusal::Reject),
        )
        .expect(|| verdict(Family::V4)),
        Scenario::new(
            "firewall-tc",
            Topology::Routed,
            "a tc program of another agent on the pod's device drops its SYN",
            |run| {
                let device = run.lab.client().device.clone();
                tc(run, &device, "ingress")
            },
        )
        .needs(|| program("tc"))
        .expect(|| verdict(Family::V4)),
        Scenario::new(
            "firewall-tc-uplink",
            Topology::Bridge,
            "a tc program on the uplink drops the SYN after it was masqueraded: it carries the node's address",
            |run| tc(run, UPLINK, "egress"),
        )
        .needs(|| program("tc"))
        .expect(|| Expect { source: Some(NODE.of(Family::V4)), ..verdict(Family::V4) }),
    ]
}

fn rule(run: &mut Run, family: Family, backend: Backend, how: Refusal) -> anyhow::Result<()> {
    if run.broken() {
        run.refuse(backend, "blocklist", Match::Destination(GITHUB), how)?;
    }
    let outcome = if how == Refusal::Drop { "timeout" } else { "refused" };
    run.dial(family, GITHUB, 443, outcome)
}

fn tc(run: &mut Run, device: &str, way: &str) -> anyhow::Result<()> {
    // Classic BPF: an IPv4 packet to 203.0.113.5 is shot (2), all else goes on (-1).
    let program = if run.broken() {
        "6,40 0 0 12,21 0 3 2048,32 0 0 30,21 0 1 3405803781,6 0 0 2,6 0 0 4294967295"
    } else {
        "1,6 0 0 4294967295"
    };
    let node = &run.lab.node;
    tools::run(&mut node.command("tc"), &["qdisc", "add", "dev", device, "clsact"])?;
    tools::run(
        &mut node.command("tc"),
        &["filter", "add", "dev", device, way, "bpf", "da", "bytecode", program],
    )?;
    run.dial(Family::V4, GITHUB, 443, "timeout")
}

fn verdict(family: Family) -> Expect {
    Expect { confidence: &["certain", "likely"], ..Expect::of("firewall-drop", (GITHUB.of(family), 443)) }
}
