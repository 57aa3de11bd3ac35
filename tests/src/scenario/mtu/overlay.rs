//! A tunnel on the node whose header nobody has accounted for.

use std::time::Duration;

use super::{Expect, Family, HOST, Health, Lab, PORT, Place, Scenario, Topology, mute, transfer, verdict};
use crate::plan::{GATEWAY, NODE, UPLINK};

/// The tunnel's device, as Flannel names it.
const TUNNEL: &str = "flannel.1";

pub(super) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "mtu-vxlan",
            Topology::Routed,
            "the host is behind a VXLAN tunnel of 1450 bytes, the pods send 1500, and ICMP is filtered on the node",
            |run| transfer(run, Family::V4, &["--up", "60000"]),
        )
        .set_up(|lab, health| {
            tunnel(lab, 1450)?;
            if health == Health::Broken { mute(lab, Place::Node, "output") } else { Ok(()) }
        })
        .expect(|| Expect {
            stage: "node",
            broken: ("node", "dropped"),
            source: None,
            says: &[("/fix/text", "Flannel takes it from the uplink"), ("/fix/text", "to 1450")],
            ..verdict(
                Family::V4,
                &[
                    ("kind", "local"),
                    ("mtu", "1450"),
                    ("device", TUNNEL),
                    ("tunnel_kind", "vxlan"),
                    ("overhead", "50"),
                    ("underlay", UPLINK),
                    ("set_mtu", "1450"),
                ],
            )
        }),
        Scenario::new(
            "mtu-vxlan-header",
            Topology::Routed,
            "the VXLAN device takes 1500 bytes like its uplink: with its header packets are cut up, and the network \
             drops fragments",
            |run| transfer(run, Family::V4, &["--up", "60000", "--timeout", "5"]),
        )
        .set_up(|lab, health| {
            tunnel(lab, 1500)?;
            if health == Health::Broken { drop_fragments(lab) } else { Ok(()) }
        })
        .expect(|| Expect {
            confidence: &["likely"],
            broken: ("upstream", "silent"),
            source: None,
            within: Duration::from_millis(2000),
            says: &[
                ("/fix/text", "The vxlan header of flannel.1 (50 bytes) is not accounted for"),
                ("/fix/text", "ip link set flannel.1 mtu 1450"),
            ],
            ..verdict(
                Family::V4,
                &[
                    ("kind", "blackhole"),
                    ("tunnel", TUNNEL),
                    ("tunnel_mtu", "1500"),
                    ("underlay_mtu", "1500"),
                    ("set_mtu", "1450"),
                ],
            )
        }),
    ]
}

/// A VXLAN tunnel from the node to the internet's router, and the host behind that.
fn tunnel(lab: &mut Lab, mtu: u32) -> anyhow::Result<()> {
    lab.add_narrow(HOST, PORT, 1500)?;
    let ends = [(&lab.node, NODE, GATEWAY, "172.31.0.1"), (&lab.internet, GATEWAY, NODE, "172.31.0.2")];
    for (netns, from, to, address) in ends {
        netns.ip(&[
            // Bound to no device, so that the kernel does not lower its MTU.
            format!(
                "link add {TUNNEL} mtu {mtu} type vxlan id 1 local {} remote {} dstport 8472",
                from.v4, to.v4
            ),
            format!("addr add {address}/24 dev {TUNNEL}"),
            format!("link set {TUNNEL} up"),
        ])?;
    }
    // What the tunnel carries keeps the pods' addresses.
    lab.node.ip(&[format!("route add {}/32 via 172.31.0.2", HOST.v4)])?;
    lab.internet.ip(&[format!("route add {} via 172.31.0.1", crate::plan::NODE_PODS_V4)])
}

/// The network between the tunnel's ends does not carry fragments.
fn drop_fragments(lab: &Lab) -> anyhow::Result<()> {
    lab.internet.nft(
        "table netdev cloud {
           chain in { type filter hook ingress device \"wan0\" priority 0; policy accept;
             ip frag-off & 0x3fff != 0 counter drop
           }
         }",
    )
}
