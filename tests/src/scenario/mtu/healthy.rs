//! Path-MTU discovery that works, on both ways and side by side.

use std::time::Duration;

use super::{Family, HOST, Lab, NARROW, PORT, Scenario, Topology, narrow, transfer};
use crate::scenario::await_ipv6;

pub(super) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "noise-pmtud",
            Topology::Routed,
            "20 uploads side by side over a hop of 1300 bytes, twice",
            |run| transfer(run, Family::V4, &["--up", "60000", "--parallel", "20", "--count", "2"]),
        )
        .quiet(Duration::from_secs(4))
        .set_up(|lab, _| narrow(lab)),
        Scenario::new("noise-pmtud-ipv6", Topology::Bridge, "the same over IPv6", |run| {
            transfer(run, Family::V6, &["--up", "60000", "--parallel", "20", "--count", "2"])
        })
        .quiet(Duration::from_secs(4))
        .set_up(|lab, _| {
            await_ipv6(lab)?;
            narrow(lab)
        }),
        Scenario::new(
            "noise-pmtud-download",
            Topology::Routed,
            "20 downloads side by side over a way back of 1300 bytes",
            |run| transfer(run, Family::V4, &["--down", "60000", "--parallel", "20", "--count", "2"]),
        )
        .quiet(Duration::from_secs(4))
        .set_up(|lab, _| narrow_way_back(lab)),
    ]
}

fn narrow_way_back(lab: &mut Lab) -> anyhow::Result<()> {
    lab.add_narrow(HOST, PORT, 1500)?;
    lab.internet.ip(&[format!("link set wan0 mtu {NARROW}")])
}
