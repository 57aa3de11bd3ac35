//! `route-drop`: the node, or the pod's own namespace, has no way for a packet.

mod gateway;
mod pod;

use std::time::Duration;

use anyhow::Result;

use super::{Health, Run, Scenario, await_ipv6};
use crate::expect::Expect;
use crate::lab::{Lab, Place};
use crate::plan::{CLIENT, Family, GATEWAY, NODE, STRIPE, UPLINK};
use crate::topology::Topology;

/// The network of the servers outside.
const OUTSIDE_V4: &str = "203.0.113.0/24";
/// Likewise, IPv6.
const OUTSIDE_V6: &str = "2001:db8:113::/48";
/// An address of the uplink's network that nobody has.
const NOBODY_V4: &str = "192.0.2.77";
/// Likewise, IPv6.
const NOBODY_V6: &str = "2001:db8:0:1::77";

pub(super) fn all() -> Vec<Scenario> {
    let mut all = node();
    all.extend(gateway::all());
    all.extend(pod::all());
    all
}

fn node() -> Vec<Scenario> {
    vec![
        Scenario::new("route-none", Topology::Bridge, "the node's default route is gone", |run| {
            change(run, &[format!("route del default dev {UPLINK}")])?;
            run.dial(Family::V4, STRIPE, 443, "unreachable")
        })
        .expect(|| Expect {
            detail: &[("kind", "no-route"), ("destination", "203.0.113.4")],
            says: &[
                ("/summary", "has no route to 203.0.113.4"),
                ("/fix/text", "ip route get 203.0.113.4 from 10.244.1.5 iif cni0"),
            ],
            ..verdict(Family::V4)
        }),
        Scenario::new(
            "route-none-bridge-ipv6",
            Topology::Bridge,
            "a bridge node never had an IPv6 default route",
            |run| run.dial(Family::V6, STRIPE, 443, "unreachable"),
        )
        .set_up(|lab, health| {
            await_ipv6(lab)?;
            broken(lab, health, &[format!("route del default via {} dev {UPLINK}", GATEWAY.v6)])
        })
        .expect(|| Expect {
            detail: &[("kind", "no-route")],
            says: &[("/summary", "has no route to 2001:db8:113::4")],
            ..verdict(Family::V6)
        }),
        Scenario::new(
            "route-none-back",
            Topology::Routed,
            "the node lost its route to the pod: answers have no way",
            |run| {
                change(run, &[format!("route del {} dev cali0", CLIENT.v4)])?;
                run.dial_long(Family::V4, STRIPE, 443, "timeout")
            },
        )
        .expect(|| Expect {
            detail: &[("kind", "no-route"), ("route", "default via 192.0.2.1 dev uplink0")],
            says: &[("/fix/text", "ip route add 10.244.1.5/32 dev cali0")],
            source: Some(NODE.of(Family::V4)),
            within: Duration::from_millis(3000),
            ..verdict(Family::V4)
        }),
        Scenario::new(
            "route-blackhole",
            Topology::Routed,
            "a rule sends this pod to a table with a blackhole route",
            |run| run.dial(Family::V4, STRIPE, 443, "timeout"),
        )
        .set_up(|lab, health| {
            lab.node.ip(&[
                format!("rule add from {} lookup 100 priority 90", CLIENT.v4),
                "route add 198.18.0.0/15 via 192.0.2.1 table 100".to_owned(),
            ])?;
            broken(lab, health, &[format!("route add blackhole {OUTSIDE_V4} table 100 metric 5")])
        })
        .expect(|| Expect {
            detail: &[
                ("kind", "blackhole"),
                ("route", "blackhole 203.0.113.0/24 table 100 metric 5"),
                ("rule", "90: from 10.244.1.5/32 lookup 100"),
            ],
            says: &[("/fix/text", "ip route del blackhole 203.0.113.0/24 table 100 metric 5")],
            ..verdict(Family::V4)
        }),
        Scenario::new(
            "route-blackhole-ipv6",
            Topology::Routed,
            "an IPv6 blackhole route appears while the agent watches",
            |run| {
                change(run, &[format!("route add blackhole {OUTSIDE_V6}")])?;
                run.dial(Family::V6, STRIPE, 443, "timeout")
            },
        )
        .set_up(|lab, _| await_ipv6(lab))
        .expect(|| Expect {
            detail: &[("kind", "blackhole"), ("route", "blackhole 2001:db8:113::/48 metric 1024")],
            ..verdict(Family::V6)
        }),
        Scenario::new("route-unreachable", Topology::Routed, "an unreachable route", |run| {
            run.dial(Family::V4, STRIPE, 443, "unreachable")
        })
        .set_up(|lab, health| broken(lab, health, &[format!("route add unreachable {OUTSIDE_V4}")]))
        .expect(|| Expect {
            detail: &[("kind", "unreachable"), ("route", "unreachable 203.0.113.0/24")],
            ..verdict(Family::V4)
        }),
        Scenario::new(
            "route-prohibit-rule",
            Topology::Bridge,
            "a rule of policy routing prohibits what this pod sends",
            |run| run.dial(Family::V4, STRIPE, 443, "unreachable"),
        )
        .set_up(|lab, health| {
            broken(
                lab,
                health,
                &[format!("rule add from {} to {OUTSIDE_V4} priority 80 prohibit", CLIENT.v4)],
            )
        })
        .expect(|| Expect {
            detail: &[("kind", "prohibit"), ("rule", "80: from 10.244.1.5/32 to 203.0.113.0/24 prohibit")],
            says: &[("/fix/text", "ip rule del priority 80")],
            ..verdict(Family::V4)
        }),
        Scenario::new("route-prohibit-ipv6", Topology::Routed, "an IPv6 prohibit route", |run| {
            run.dial(Family::V6, STRIPE, 443, "error")
        })
        .set_up(|lab, health| {
            await_ipv6(lab)?;
            broken(lab, health, &[format!("route add prohibit {OUTSIDE_V6}")])
        })
        .expect(|| Expect { detail: &[("kind", "prohibit")], ..verdict(Family::V6) }),
        Scenario::new(
            "route-rp-filter",
            Topology::Routed,
            "answers come in by a second uplink whose reverse-path filter is strict",
            |run| run.dial(Family::V4, STRIPE, 443, "timeout"),
        )
        .set_up(|lab, health| {
            second_uplink(lab)?;
            let strict = if health == Health::Broken { "1" } else { "0" };
            lab.node.sysctl(&[("net/ipv4/conf/uplink1/rp_filter", strict)])
        })
        .expect(|| Expect {
            detail: &[
                ("kind", "rp-filter"),
                ("device", "uplink1"),
                ("sysctl", "net.ipv4.conf.uplink1.rp_filter=1"),
                ("packet", "SYN-ACK"),
            ],
            says: &[
                ("/fix/text", "net.ipv4.conf.uplink1.rp_filter=2"),
                ("/detail/route", "via 192.0.2.1 dev uplink0"),
            ],
            source: Some(NODE.of(Family::V4)),
            ..verdict(Family::V4)
        }),
        Scenario::new(
            "route-martian",
            Topology::Bridge,
            "the node itself has got the pod's address, too",
            |run| {
                // Address resolution first: the node does not answer the ARP of its own address either.
                run.must(Place::Client, &["connect", &format!("{}:443", STRIPE.v4)], "connected")?;
                let address = if run.broken() { CLIENT.v4.to_string() } else { "10.244.1.99".to_owned() };
                run.lab.node.ip(&[format!("addr add {address}/32 dev lo")])?;
                run.dial(Family::V4, STRIPE, 443, "timeout")
            },
        )
        .expect(|| Expect {
            detail: &[("kind", "martian"), ("source", "10.244.1.5"), ("device", "cni0")],
            ..verdict(Family::V4)
        }),
        Scenario::new("route-ttl", Topology::Routed, "the program sends with a TTL of 1", |run| {
            let ttl = if run.broken() { "1" } else { "64" };
            run.dial_with(Family::V4, STRIPE, 443, "unreachable", &["--timeout", "2.5", "--ttl", ttl])
        })
        .expect(|| ttl_verdict(Family::V4)),
        Scenario::new(
            "route-ttl-bridge-ipv6",
            Topology::Bridge,
            "the program sends IPv6 with a hop limit of 1",
            |run| {
                let ttl = if run.broken() { "1" } else { "64" };
                run.dial_with(Family::V6, STRIPE, 443, "unreachable", &["--timeout", "2.5", "--ttl", ttl])
            },
        )
        .set_up(|lab, _| await_ipv6(lab))
        .expect(|| ttl_verdict(Family::V6)),
        Scenario::new("route-neighbour", Topology::Routed, "the gateway does not answer ARP", |run| {
            run.dial_with(Family::V4, STRIPE, 443, "unreachable", &["--timeout", "5"])
        })
        .set_up(|lab, health| next_hop(lab, health, Family::V4))
        .expect(|| Expect {
            detail: &[
                ("kind", "neighbour"),
                ("gateway", "192.0.2.77"),
                ("device", UPLINK),
                ("reason", "NEIGH_FAILED"),
            ],
            says: &[("/fix/text", "ip neigh show 192.0.2.77 dev uplink0")],
            source: Some(NODE.of(Family::V4)),
            // The kernel gives up after three probes, a second each.
            within: Duration::from_millis(4000),
            ..verdict(Family::V4)
        }),
        Scenario::new(
            "route-neighbour-ipv6",
            Topology::Routed,
            "the gateway does not answer neighbour solicitation",
            |run| run.dial_with(Family::V6, STRIPE, 443, "unreachable", &["--timeout", "5"]),
        )
        .set_up(|lab, health| {
            await_ipv6(lab)?;
            next_hop(lab, health, Family::V6)
        })
        .expect(|| Expect {
            detail: &[("kind", "neighbour"), ("gateway", NOBODY_V6), ("device", UPLINK)],
            source: Some(NODE.of(Family::V6)),
            within: Duration::from_millis(4000),
            ..verdict(Family::V6)
        }),
        Scenario::new("route-link-carrier", Topology::Routed, "the uplink has lost its carrier", |run| {
            run.dial_long(Family::V4, STRIPE, 443, "unreachable")
        })
        .set_up(|lab, health| {
            if health == Health::Broken {
                lab.internet.ip(&["link set wan0 down"])?;
            }
            Ok(())
        })
        .expect(|| Expect {
            detail: &[("kind", "link-down"), ("device", UPLINK)],
            // The gateway's neighbour entry went with the carrier: the SYNs wait for it.
            confidence: &["certain", "likely"],
            within: Duration::from_millis(3000),
            ..verdict(Family::V4)
        }),
        Scenario::new(
            "route-link-down",
            Topology::Bridge,
            "the uplink is set down, and its routes go with it",
            |run| {
                change(run, &[format!("link set {UPLINK} down")])?;
                run.dial(Family::V4, STRIPE, 443, "unreachable")
            },
        )
        .expect(|| Expect {
            detail: &[
                ("kind", "link-down"),
                ("link", UPLINK),
                ("route", "default via 192.0.2.1 dev uplink0"),
            ],
            ..verdict(Family::V4)
        }),
    ]
}

/// Changes the node where the fault is there.
fn change(run: &Run, commands: &[String]) -> Result<()> {
    broken(&run.lab, run.health, commands)
}

fn broken(lab: &Lab, health: Health, commands: &[String]) -> Result<()> {
    if health == Health::Broken { lab.node.ip(commands) } else { Ok(()) }
}

/// Sends what goes outside by a gateway of its own: nobody, or the real one.
fn next_hop(lab: &Lab, health: Health, family: Family) -> Result<()> {
    let (network, nobody) = match family {
        Family::V4 => (OUTSIDE_V4, NOBODY_V4),
        Family::V6 => (OUTSIDE_V6, NOBODY_V6),
    };
    let real = GATEWAY.of(family).to_string();
    let via = if health == Health::Broken { nobody } else { &real };
    lab.node.ip(&[format!("route add {network} via {via} dev {UPLINK}")])
}

/// A second line to the internet, by which that answers.
fn second_uplink(lab: &Lab) -> Result<()> {
    lab.node.ip(&[
        format!("link add uplink1 type veth peer name wan1 netns {}", lab.internet.name()),
        "addr add 192.0.3.10/24 dev uplink1".to_owned(),
        "link set uplink1 up".to_owned(),
    ])?;
    // The node does not answer ARP of an address that it would not answer to.
    lab.internet
        .sysctl(&[("net/ipv4/conf/default/arp_announce", "2"), ("net/ipv4/conf/wan1/arp_announce", "2")])?;
    lab.internet.ip(&[
        "addr add 192.0.3.1/24 dev wan1".to_owned(),
        "link set wan1 up".to_owned(),
        format!("route add {}/32 via 192.0.3.10 dev wan1", NODE.v4),
    ])
}

fn verdict(family: Family) -> Expect {
    Expect { ..Expect::of("route-drop", (STRIPE.of(family), 443)) }
}

fn ttl_verdict(family: Family) -> Expect {
    Expect {
        detail: &[("kind", "ttl"), ("ttl", "1")],
        // A single probe with a short life is a traceroute: the second SYN, a second later, is a failure.
        within: Duration::from_millis(1500),
        ..verdict(family)
    }
}

/// The client, for the groups below this one.
fn at_client(lab: &Lab) -> &crate::netns::Netns {
    lab.netns(Place::Client)
}
