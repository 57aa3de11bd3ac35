//! A router beyond the node says that packets are too big, and the sender does not hear it.

use super::{Expect, Family, Health, Place, Scenario, Topology, mute, narrow, transfer, verdict};
use crate::scenario::await_ipv6;

pub(super) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "mtu-icmp",
            Topology::Routed,
            "a router takes 1300 bytes and says so, and the node's filter drops its ICMP messages",
            |run| transfer(run, Family::V4, &["--up", "60000"]),
        )
        .set_up(|lab, health| {
            narrow(lab)?;
            if health == Health::Broken { mute(lab, Place::Node, "forward") } else { Ok(()) }
        })
        .expect(|| Expect {
            says: &[("/fix/text", "maxseg size set 1260"), ("/summary", "chain inet no-icmp no-forward")],
            ..verdict(
                Family::V4,
                &[
                    ("kind", "icmp"),
                    ("mtu", "1300"),
                    ("packet_size", "1500"),
                    ("router", "192.0.2.1"),
                    ("icmp", "dropped"),
                ],
            )
        }),
        Scenario::new(
            "mtu-icmp-ipv6",
            Topology::Bridge,
            "the same over IPv6 from a bridge node, and a filter inside the pod drops the ICMP messages",
            |run| transfer(run, Family::V6, &["--up", "60000"]),
        )
        .set_up(|lab, health| {
            await_ipv6(lab)?;
            narrow(lab)?;
            if health == Health::Broken { mute(lab, Place::Client, "input") } else { Ok(()) }
        })
        .expect(|| Expect {
            says: &[("/summary", "inside the pod"), ("/fix/text", "maxseg size set 1240")],
            ..verdict(Family::V6, &[("kind", "icmp"), ("mtu", "1300"), ("icmp", "dropped")])
        }),
        Scenario::new(
            "mtu-icmp-raw",
            Topology::Routed,
            "the same, dropped before the node's connection tracking knows whose it is",
            |run| transfer(run, Family::V4, &["--up", "60000"]),
        )
        .set_up(|lab, health| {
            narrow(lab)?;
            if health == Health::Broken { mute_raw(lab) } else { Ok(()) }
        })
        .expect(|| verdict(Family::V4, &[("kind", "icmp"), ("mtu", "1300"), ("router", "192.0.2.1")])),
    ]
}

/// Drops ICMP messages where they come in, before connection tracking.
fn mute_raw(lab: &crate::lab::Lab) -> anyhow::Result<()> {
    lab.node.nft(
        "table inet no-icmp {
           chain raw { type filter hook prerouting priority raw; policy accept;
             icmp type destination-unreachable counter drop
           }
         }",
    )
}
