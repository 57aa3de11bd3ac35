//! `upstream-timeout` and `upstream-refused`: the node did its part.

mod unreachable;

use std::time::Duration;

use super::{Health, Run, Scenario, await_ipv6};
use crate::expect::Expect;
use crate::lab::{Place, TcpBehaviour};
use crate::plan::{Dual, Family, NODE, SERVER, SILENT, STRIPE};
use crate::topology::Topology;

/// A port on which nothing listens where the fault is there.
const CLOSED: u16 = 8443;
/// A UDP protocol that answers.
const NTP: u16 = 123;

pub(super) fn all() -> Vec<Scenario> {
    let mut all = timeouts_and_refusals();
    all.extend(unreachable::all());
    all
}

fn timeouts_and_refusals() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "timeout",
            Topology::Routed,
            "the SYN leaves the uplink with the node's address and nothing comes back",
            |run| silent(run, Family::V4),
        )
        .expect(|| timeout_verdict(Family::V4)),
        Scenario::new("timeout-ipv6", Topology::Routed, "the same over IPv6", |run| silent(run, Family::V6))
            .set_up(|lab, _| await_ipv6(lab))
            .expect(|| timeout_verdict(Family::V6)),
        Scenario::new("timeout-bridge", Topology::Bridge, "the same from a bridge node", |run| {
            silent(run, Family::V4)
        })
        .expect(|| timeout_verdict(Family::V4)),
        Scenario::new(
            "timeout-udp",
            Topology::Routed,
            "an NTP question leaves the uplink with the node's address, twice, and nothing comes back",
            |run| run.ask_udp(if run.broken() { SILENT } else { STRIPE }, NTP, "timeout"),
        )
        .set_up(|lab, _| lab.serve_udp(Place::Internet, (STRIPE, NTP), true))
        .expect(|| Expect {
            affects: "udp",
            peer: (SILENT.of(Family::V4), NTP),
            // Only the first packet of a UDP flow is reported, so a repetition is not seen: the 5 s count.
            within: Duration::from_millis(5600),
            ..timeout_verdict(Family::V4)
        }),
        Scenario::new("refused", Topology::Routed, "the remote answers the SYN with a reset", |run| {
            run.dial(Family::V4, STRIPE, CLOSED, "refused")
        })
        .set_up(|lab, health| listen_if_healthy(lab, health, Place::Internet, STRIPE))
        .expect(|| refused_verdict(STRIPE, Family::V4)),
        Scenario::new(
            "refused-bridge-ipv6",
            Topology::Bridge,
            "the same from a bridge node over IPv6",
            |run| run.dial(Family::V6, STRIPE, CLOSED, "refused"),
        )
        .set_up(|lab, health| {
            await_ipv6(lab)?;
            listen_if_healthy(lab, health, Place::Internet, STRIPE)
        })
        .expect(|| refused_verdict(STRIPE, Family::V6)),
        Scenario::new(
            "refused-by-pod",
            Topology::Routed,
            "the client dials a port of another local pod on which nothing listens",
            |run| run.dial(Family::V4, SERVER, CLOSED, "refused"),
        )
        .set_up(|lab, health| listen_if_healthy(lab, health, Place::Server, SERVER))
        .expect(|| Expect {
            kind: "pod",
            broken: ("peer", "refused"),
            source: None,
            shown_on_server: true,
            detail: &[],
            says: &[
                ("/detail/by", "pod default/api-server"),
                ("/hints", "declares port 8080 (http), not 8443"),
            ],
            ..refused_verdict(SERVER, Family::V4)
        }),
        Scenario::new(
            "refused-udp-by-pod",
            Topology::Routed,
            "the client asks a UDP port of another local pod on which nothing listens",
            |run| run.ask_udp(SERVER, NTP, "refused"),
        )
        .set_up(|lab, health| match health {
            Health::Healthy => lab.serve_udp(Place::Server, (SERVER, NTP), true),
            Health::Broken => Ok(()),
        })
        .expect(|| Expect {
            affects: "udp",
            peer: (SERVER.of(Family::V4), NTP),
            kind: "pod",
            broken: ("peer", "refused"),
            source: None,
            shown_on_server: true,
            detail: &[("code", "port unreachable")],
            ..refused_verdict(SERVER, Family::V4)
        }),
    ]
}

fn silent(run: &mut Run, family: Family) -> anyhow::Result<()> {
    let (to, port) = if run.broken() { (SILENT, 443) } else { (STRIPE, 443) };
    run.dial_long(family, to, port, "timeout")
}

fn listen_if_healthy(lab: &mut crate::lab::Lab, health: Health, at: Place, ips: Dual) -> anyhow::Result<()> {
    if health == Health::Healthy {
        lab.serve_tcp(at, &[(ips, CLOSED)], TcpBehaviour::Echo)?;
    }
    Ok(())
}

fn timeout_verdict(family: Family) -> Expect {
    Expect {
        confidence: &["certain", "likely"],
        stage: "upstream",
        broken: ("upstream", "silent"),
        source: Some(NODE.of(family)),
        // The second retransmit is sent after 2 s (tcp_syn_linear_timeouts) or 3 s (doubling).
        within: Duration::from_millis(3800),
        ..Expect::of("upstream-timeout", (SILENT.of(family), 443))
    }
}

fn refused_verdict(by: Dual, family: Family) -> Expect {
    Expect {
        cause: "upstream-refused",
        confidence: &["certain"],
        peer: (by.of(family), CLOSED),
        broken: ("upstream", "refused"),
        detail: &[("hops", "0")],
        within: Duration::from_secs(1),
        ..timeout_verdict(family)
    }
}
