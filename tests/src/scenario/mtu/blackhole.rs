//! Nobody says anything: large segments die, small ones live.

use super::*;

pub(super) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "mtu-blackhole",
            Topology::Routed,
            "a router takes 1300 bytes and drops the rest without a word; the request passed, its data does not",
            |run| transfer(run, Family::V4, &["--up", "60000", "--timeout", "5"]),
        )
        .set_up(|lab, health| {
            narrow(lab)?;
            if health == Health::Broken { mute(lab, Place::Internet, "output") } else { Ok(()) }
        })
        .expect(|| Expect {
            confidence: &["likely", "possible"],
            broken: ("upstream", "silent"),
            says: &[("/fix/text", "1280 passes everywhere")],
            within: Duration::from_millis(4000),
            ..verdict(Family::V4, &[("kind", "blackhole"), ("direction", "sent"), ("set_mtu", "1280")])
        }),
    ]
}
