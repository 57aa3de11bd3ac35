//! A router beyond the node says that packets are too big, and the sender does not hear it.

use super::*;

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
    ]
}
