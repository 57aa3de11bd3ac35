//! `nat-missing` and `nat-exhausted`: the node's source translation.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Health, Run, Scenario, await_ipv6, program};
use crate::enforce::iptables::Iptables;
use crate::expect::Expect;
use crate::lab::{Lab, Place};
use crate::plan::{Dual, Family, GITHUB, NODE, NODE_PODS_V4, NODE_PODS_V6, SILENT, STRIPE, UPLINK};
use crate::topology::Topology;

/// A UDP protocol that answers.
const NTP: u16 = 123;

pub(super) fn all() -> Vec<Scenario> {
    [missing(), back(), exhausted()].into_iter().flatten().collect()
}

fn missing() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "nat-missing",
            Topology::Routed,
            "the masquerade rule leaves one address out: the SYN leaves with the pod's own address, others do not",
            |run| untranslated(run, Family::V4),
        )
        .set_up(|lab, health| exempt(lab, health, STRIPE))
        .expect(|| missing_verdict(Family::V4)),
        Scenario::new("nat-missing-ipv6", Topology::Routed, "the same over IPv6", |run| {
            untranslated(run, Family::V6)
        })
        .set_up(|lab, health| {
            await_ipv6(lab)?;
            exempt(lab, health, STRIPE)
        })
        .expect(|| missing_verdict(Family::V6)),
        Scenario::new(
            "nat-missing-udp",
            Topology::Routed,
            "the same for an NTP question",
            |run| {
                run.must(Place::Server, &["connect", "203.0.113.5:443"], "connected")?;
                run.ask_udp(STRIPE, NTP, "timeout")
            },
        )
        .set_up(|lab, health| {
            lab.serve_udp(Place::Internet, (STRIPE, NTP), true)?;
            exempt(lab, health, STRIPE)
        })
        .expect(|| Expect {
            affects: "udp",
            peer: (STRIPE.of(Family::V4), NTP),
            within: Duration::from_millis(5600),
            ..missing_verdict(Family::V4)
        }),
        Scenario::new(
            "nat-missing-bridge",
            Topology::Bridge,
            "a bridge node does not masquerade at all, and nobody outside knows the pods: only possible",
            |run| run.dial_long(Family::V4, STRIPE, 443, "timeout"),
        )
        .needs(|| program("iptables-nft"))
        .set_up(|lab, health| {
            if health == Health::Healthy {
                return Ok(());
            }
            Iptables::nft(Family::V4).restore(&lab.node, "*nat\n-F POSTROUTING\nCOMMIT\n")
        })
        .expect(|| Expect {
            confidence: &["possible"],
            says: &[("/summary", "no rule of this node translates sources")],
            ..missing_verdict(Family::V4)
        }),
        Scenario::new(
            "nat-vpc",
            Topology::Routed,
            "the network routes the pods' addresses: an untranslated SYN without an answer is the remote's silence",
            |run| {
                run.must(Place::Client, &["connect", "203.0.113.5:443"], "connected")?;
                run.dial_long(Family::V4, if run.broken() { SILENT } else { STRIPE }, 443, "timeout")
            },
        )
        .set_up(|lab, _| {
            lab.node.nft("flush chain inet kube-proxy nat-outgoing\n")?;
            lab.internet.ip(&[
                format!("route add {NODE_PODS_V4} via {}", NODE.v4),
                format!("route add {NODE_PODS_V6} via {}", NODE.v6),
            ])
        })
        .expect(|| Expect {
            cause: "upstream-timeout",
            confidence: &["certain", "likely"],
            stage: "upstream",
            peer: (SILENT.of(Family::V4), 443),
            detail: &[("source", "10.244.1.5")],
            says: &[],
            ..missing_verdict(Family::V4)
        }),
    ]
}

fn back() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "answer-lost",
            Topology::Routed,
            "the SYN leaves translated, and its answer is exempt from tracking: it stays in the node",
            |run| run.dial_long(Family::V4, STRIPE, 443, "timeout"),
        )
        .set_up(|lab, health| {
            if health == Health::Healthy {
                return Ok(());
            }
            lab.node.nft(&format!(
                "table ip raw {{
                   chain prerouting {{ type filter hook prerouting priority raw; policy accept;
                     iifname \"{UPLINK}\" ip saddr {} notrack
                   }}
                 }}",
                STRIPE.v4
            ))
        })
        .expect(|| Expect {
            cause: "unknown",
            confidence: &["possible"],
            stage: "node",
            broken: ("node", "dropped"),
            source: Some(NODE.of(Family::V4)),
            detail: &[("kind", "answer-lost"), ("answer_by", UPLINK), ("answer_from", "203.0.113.4:443")],
            says: &[("/summary", "came in by uplink0 but was not delivered to the pod")],
            ..missing_verdict(Family::V4)
        }),
    ]
}

fn exhausted() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "nat-exhausted",
            Topology::Routed,
            "masquerade has two ports towards the destination, and another pod holds both",
            |run| used_up(run, Family::V4),
        )
        .set_up(|lab, health| {
            if health == Health::Healthy {
                return Ok(());
            }
            lab.node.nft(&format!(
                "insert rule inet kube-proxy nat-outgoing oifname \"{UPLINK}\" meta l4proto tcp masquerade to :61000-61001\n"
            ))
        })
        .expect(|| Expect {
            says: &[
                ("/summary", "2 of the 2 ports 61000-61001 of 192.0.2.10 are in use"),
                ("/detail/holders", "default/api-server: 2"),
                ("/detail/translation_rule", "inet kube-proxy nat-outgoing"),
            ],
            ..exhausted_verdict(Family::V4)
        }),
        Scenario::new(
            "nat-exhausted-ipv6",
            Topology::Bridge,
            "the same over IPv6 with ip6tables on a bridge node",
            |run| used_up(run, Family::V6),
        )
        .needs(|| program("ip6tables-nft"))
        .set_up(|lab, health| {
            await_ipv6(lab)?;
            if health == Health::Healthy {
                return Ok(());
            }
            Iptables::nft(Family::V6).restore(
                &lab.node,
                &format!("*nat\n-I POSTROUTING 1 -o {UPLINK} -p tcp -j MASQUERADE --to-ports 61000-61001\nCOMMIT\n"),
            )
        })
        .expect(|| Expect {
            says: &[
                ("/summary", "2 of the 2 ports 61000-61001"),
                ("/detail/holders", "default/api-server: 2"),
            ],
            ..exhausted_verdict(Family::V6)
        }),
    ]
}

/// Another pod reaches another address, translated; the client's SYN leaves untranslated.
fn untranslated(run: &mut Run, family: Family) -> Result<()> {
    let other = SocketAddr::new(GITHUB.of(family), 443).to_string();
    run.must(Place::Server, &["connect", &other], "connected")?;
    run.dial_long(family, STRIPE, 443, "timeout")
}

/// A rule in front of the masquerade lets this destination out as it is.
fn exempt(lab: &mut Lab, health: Health, destination: Dual) -> Result<()> {
    if health == Health::Healthy {
        return Ok(());
    }
    lab.node.nft(&format!(
        "insert rule inet kube-proxy nat-outgoing ip daddr {} accept\n\
         insert rule inet kube-proxy nat-outgoing ip6 daddr {} accept\n",
        destination.v4, destination.v6
    ))
}

/// The server pod keeps two connections; the client wants one.
fn used_up(run: &mut Run, family: Family) -> Result<()> {
    let peer = SocketAddr::new(STRIPE.of(family), 443);
    let held = run.lab.server().netns.enter(|| {
        (0..2)
            .map(|_| {
                TcpStream::connect_timeout(&peer, Duration::from_secs(5)).context("holding a connection")
            })
            .collect::<Result<Vec<_>>>()
    })?;
    run.dial(family, STRIPE, 443, "timeout")?;
    drop(held);
    Ok(())
}

fn missing_verdict(family: Family) -> Expect {
    Expect {
        stage: "uplink",
        broken: ("upstream", "silent"),
        detail: match family {
            Family::V4 => &[("source", "10.244.1.5"), ("device", UPLINK)],
            Family::V6 => &[("source", "fd00:10:244:1::5"), ("device", UPLINK)],
        },
        says: &[("/summary", "with the pod's own address"), ("/fix/text", "must translate what leaves from")],
        within: Duration::from_millis(3800),
        ..Expect::of("nat-missing", (STRIPE.of(family), 443))
    }
}

fn exhausted_verdict(family: Family) -> Expect {
    Expect {
        cause: "nat-exhausted",
        stage: "node",
        broken: ("node", "dropped"),
        source: Some(NODE.of(family)),
        detail: &[("ports_in_use", "2"), ("range", "61000-61001"), ("function", "nf_hook_slow")],
        within: Duration::from_secs(1),
        ..missing_verdict(family)
    }
}
