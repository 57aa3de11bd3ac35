//! `upstream-unreachable`: routers and hosts beyond the node that say no.

use std::time::Duration;

use anyhow::Result;

use super::super::{Health, Run, Scenario, await_ipv6};
use super::{NTP, timeout_verdict};
use crate::expect::Expect;
use crate::lab::{Lab, Place};
use crate::plan::{Dual, Family};
use crate::plan::{GITHUB, NODE, STRIPE};
use crate::topology::Topology;

pub(super) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "unreachable-host",
            Topology::Routed,
            "the router beyond the uplink finds nobody at the address",
            |run| dial(run, Family::V4),
        )
        .set_up(|lab, health| refuse_route(lab, health, "unreachable"))
        .expect(|| Expect {
            detail: &[("code", "host unreachable"), ("kind", "host"), ("by", "router"), ("hops", "0")],
            ..verdict(Family::V4)
        }),
        Scenario::new("unreachable-host-ipv6", Topology::Routed, "the same over IPv6", |run| {
            dial(run, Family::V6)
        })
        .set_up(|lab, health| {
            await_ipv6(lab)?;
            refuse_route(lab, health, "unreachable")
        })
        .expect(|| Expect { detail: &[("kind", "network"), ("by", "router")], ..verdict(Family::V6) }),
        Scenario::new(
            "unreachable-prohibited",
            Topology::Bridge,
            "the router beyond the uplink says that it forbids this",
            |run| dial(run, Family::V4),
        )
        .set_up(|lab, health| refuse_route(lab, health, "prohibit"))
        .expect(|| Expect {
            detail: &[("kind", "prohibited"), ("icmp", "3/13")],
            says: &[("/summary", "a firewall there refuses it and says so"), ("/fix/text", "admit 192.0.2.10")],
            ..verdict(Family::V4)
        }),
        Scenario::new("unreachable-prohibited-ipv6", Topology::Bridge, "the same over IPv6", |run| {
            // The kernel makes EACCES of it.
            run.dial(Family::V6, GITHUB, 443, "error")
        })
        .set_up(|lab, health| {
            await_ipv6(lab)?;
            refuse_route(lab, health, "prohibit")
        })
        .expect(|| Expect { detail: &[("kind", "prohibited"), ("icmp", "1/1")], ..verdict(Family::V6) }),
        Scenario::new(
            "unreachable-loop",
            Topology::Routed,
            "two routers beyond the uplink send the packet to each other until its time to live is used up",
            |run| dial(run, Family::V4),
        )
        .set_up(|lab, health| loop_routes(lab, health, Family::V4))
        .expect(|| Expect {
            detail: &[("kind", "ttl-exceeded"), ("icmp", "11/0")],
            says: &[("/summary", "send in a circle"), ("/fix/text", "routing loop")],
            ..verdict(Family::V4)
        }),
        Scenario::new("unreachable-loop-ipv6", Topology::Routed, "the same over IPv6", |run| {
            dial(run, Family::V6)
        })
        .set_up(|lab, health| {
            await_ipv6(lab)?;
            loop_routes(lab, health, Family::V6)
        })
        .expect(|| Expect { detail: &[("kind", "ttl-exceeded"), ("icmp", "3/0")], ..verdict(Family::V6) }),
        Scenario::new(
            "unreachable-reject",
            Topology::Routed,
            "the destination's own firewall answers the SYN with port unreachable",
            |run| run.dial(Family::V4, GITHUB, 443, "refused"),
        )
        .set_up(|lab, health| match health {
            Health::Broken => lab.internet.nft(&format!(
                "insert rule inet internet input ip daddr {} tcp dport 443 reject with icmp type port-unreachable",
                GITHUB.v4
            )),
            Health::Healthy => Ok(()),
        })
        .expect(|| Expect {
            detail: &[("kind", "port"), ("by", "destination")],
            ..verdict(Family::V4)
        }),
        Scenario::new(
            "unreachable-port-udp",
            Topology::Routed,
            "nothing listens on the remote's NTP port, and it says so",
            |run| run.ask_udp(STRIPE, NTP, "refused"),
        )
        .set_up(|lab, health| match health {
            Health::Healthy => lab.serve_udp(Place::Internet, (STRIPE, NTP), true),
            Health::Broken => Ok(()),
        })
        .expect(|| Expect {
            affects: "udp",
            peer: (STRIPE.of(Family::V4), NTP),
            detail: &[("kind", "port"), ("by", "destination")],
            ..verdict(Family::V4)
        }),
    ]
}

fn dial(run: &mut Run, family: Family) -> Result<()> {
    run.dial(family, GITHUB, 443, "unreachable")
}

/// Where the host was, the router of the internet has a route that refuses.
fn refuse_route(lab: &mut Lab, health: Health, kind: &str) -> Result<()> {
    make_router(lab, Place::Internet)?;
    if health == Health::Healthy {
        return Ok(());
    }
    lab.internet.ip(&[
        format!("addr del {}/32 dev lo", GITHUB.v4),
        format!("addr del {}/128 dev lo", GITHUB.v6),
        format!("route add {kind} {}/32", GITHUB.v4),
        format!("route add {kind} {}/128", GITHUB.v6),
    ])
}

/// A second router, to which the first one sends what is for the host, and which sends it back.
fn loop_routes(lab: &mut Lab, health: Health, family: Family) -> Result<()> {
    const FIRST: Dual = Dual::local([198, 18, 0, 1], 1);
    const SECOND: Dual = Dual::local([198, 18, 0, 2], 2);
    if health == Health::Healthy {
        return Ok(());
    }
    lab.add_far()?;
    make_router(lab, Place::Internet)?;
    make_router(lab, Place::Far)?;
    let far = lab.netns(Place::Far);
    lab.internet.ip(&[
        format!("link add loop0 type veth peer name loop1 netns {}", far.name()),
        format!("addr add {}/24 dev loop0", FIRST.v4),
        format!("addr add {}/64 dev loop0 nodad", FIRST.v6),
        "link set loop0 up".to_owned(),
    ])?;
    far.ip(&[
        format!("addr add {}/24 dev loop1", SECOND.v4),
        format!("addr add {}/64 dev loop1 nodad", SECOND.v6),
        "link set loop1 up".to_owned(),
        format!("route add default via {} dev loop1", FIRST.of(family)),
    ])?;
    let bits = if family == Family::V4 { 32 } else { 128 };
    let host = GITHUB.of(family);
    lab.internet.ip(&[
        format!("addr del {host}/{bits} dev lo"),
        format!("route add {host}/{bits} via {} dev loop0", SECOND.of(family)),
    ])
}

fn make_router(lab: &Lab, place: Place) -> Result<()> {
    lab.netns(place).sysctl(&[
        ("net/ipv4/ip_forward", "1"),
        ("net/ipv6/conf/all/forwarding", "1"),
        ("net/ipv4/conf/all/rp_filter", "0"),
        ("net/ipv4/conf/default/rp_filter", "0"),
        ("net/ipv4/conf/all/send_redirects", "0"),
        ("net/ipv4/conf/default/send_redirects", "0"),
        ("net/ipv6/conf/default/accept_dad", "0"),
    ])
}

fn verdict(family: Family) -> Expect {
    Expect {
        cause: "upstream-unreachable",
        confidence: &["certain"],
        peer: (GITHUB.of(family), 443),
        broken: ("upstream", "refused"),
        source: Some(NODE.of(family)),
        within: Duration::from_secs(1),
        ..timeout_verdict(family)
    }
}
