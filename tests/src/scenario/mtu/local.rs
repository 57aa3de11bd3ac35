//! The node (or pod) itself drops what is too big.

use super::*;
use crate::plan::UPLINK;

pub(super) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "mtu-local",
            Topology::Routed,
            "the uplink takes 1400 bytes, the pods send 1500, and the node's filter drops the node's own ICMP message",
            |run| transfer(run, Family::V4, &["--up", "60000"]),
        )
        .set_up(|lab, health| {
            narrow_uplink(lab)?;
            if health == Health::Broken { mute(lab, Place::Node, "output") } else { Ok(()) }
        })
        .expect(|| Expect {
            says: &[
                ("/fix/text", "Or set the MTU of the pods' devices to 1400"),
                ("/summary", "chain inet no-icmp no-output"),
            ],
            ..local_verdict(Family::V4, &[
                ("kind", "local"),
                ("mtu", "1400"),
                ("packet_size", "1500"),
                ("device", UPLINK),
                ("icmp", "dropped"),
                ("set_mtu", "1400"),
                ("set_mss", "1360"),
            ])
        }),
    ]
}

/// The node's uplink takes 1400 bytes; the host is behind an ordinary line.
fn narrow_uplink(lab: &mut Lab) -> anyhow::Result<()> {
    lab.node.ip(&[format!("link set {UPLINK} mtu 1400")])?;
    lab.add_narrow(HOST, PORT, 1500)
}

fn local_verdict(family: Family, detail: &'static [(&'static str, &'static str)]) -> Expect {
    Expect { stage: "node", broken: ("node", "dropped"), source: None, ..verdict(family, detail) }
}
