//! Nobody says anything: large segments die, small ones live.

use std::time::Duration;

use super::{
    Expect, Family, HOST, Health, Lab, NARROW, PORT, Place, Scenario, Topology, mute, narrow, transfer,
    verdict,
};

pub(super) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "mtu-blackhole",
            Topology::Routed,
            "a router takes 1300 bytes and drops the rest without a word; smaller segments between them arrive",
            |run| transfer(run, Family::V4, &["--up", "60000", "--timeout", "5"]),
        )
        .set_up(silent_router)
        .expect(|| Expect {
            confidence: &["likely"],
            says: &[("/fix/text", "1280 passes everywhere"), ("/summary", "path-MTU black hole")],
            ..sent()
        }),
        Scenario::new(
            "mtu-blackhole-retry",
            Topology::Bridge,
            "the same with large segments only: that small packets live shows when the client tries again",
            |run| transfer(run, Family::V4, &["--up", "14400", "--at-once", "--timeout", "2", "--count", "3"]),
        )
        .set_up(silent_router)
        .expect(|| Expect { confidence: &["likely"], within: Duration::from_millis(5000), ..sent() }),
        Scenario::new(
            "mtu-blackhole-download",
            Topology::Routed,
            "an answer of 4000 bytes whose large segments die on the way back: only its end arrives, and the server's FIN",
            |run| transfer(run, Family::V4, &["--down", "4000", "--timeout", "5"]),
        )
        .set_up(narrow_way_back)
        .expect(received),
        Scenario::new(
            "mtu-blackhole-download-held",
            Topology::Bridge,
            "the same from a server that keeps the connection open, as TLS and HTTP do, until the client gives up",
            |run| transfer(run, Family::V4, &["--down", "4000", "--hold", "--timeout", "3"]),
        )
        .set_up(narrow_way_back)
        .expect(received),
    ]
}

/// A router that drops what is too big without a word.
fn silent_router(lab: &mut Lab, health: Health) -> anyhow::Result<()> {
    narrow(lab)?;
    if health == Health::Broken { mute(lab, Place::Internet, "output") } else { Ok(()) }
}

/// The line from the internet to the node takes 1300 bytes; the router in front of it says so, or not.
fn narrow_way_back(lab: &mut Lab, health: Health) -> anyhow::Result<()> {
    lab.add_narrow(HOST, PORT, 1500)?;
    lab.internet.ip(&[format!("link set wan0 mtu {NARROW}")])?;
    if health == Health::Broken { mute(lab, Place::Internet, "output") } else { Ok(()) }
}

fn sent() -> Expect {
    Expect {
        broken: ("upstream", "silent"),
        within: Duration::from_millis(2000),
        ..verdict(Family::V4, &[("kind", "blackhole"), ("direction", "sent"), ("set_mtu", "1280")])
    }
}

fn received() -> Expect {
    Expect {
        confidence: &["possible"],
        broken: ("upstream", "silent"),
        within: Duration::from_millis(4000),
        ..verdict(Family::V4, &[("kind", "blackhole"), ("direction", "received"), ("set_mtu", "1280")])
    }
}
