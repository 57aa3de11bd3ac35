//! Policy routing sends a pod by an egress gateway, which drops.

use std::time::Duration;

use anyhow::Result;

use super::super::{Health, Scenario};
use super::{Expect, verdict};
use crate::lab::{Lab, Place};
use crate::plan::{CLIENT, Family, STRIPE};
use crate::topology::Topology;

/// The node's address towards the gateway.
const NEAR: &str = "192.0.4.10";
/// The gateway's addresses, towards the node and towards the internet.
const GATEWAY: [&str; 2] = ["192.0.4.50", "192.0.5.50"];

pub(super) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "gateway-drops",
            Topology::Routed,
            "a rule sends this pod by an egress gateway, whose own firewall drops it",
            |run| run.dial_long(Family::V4, STRIPE, 443, "timeout"),
        )
        .set_up(|lab, health| egress_gateway(lab, health, GATEWAY[0]))
        .expect(|| Expect {
            cause: "upstream-timeout",
            confidence: &["certain", "likely"],
            stage: "upstream",
            broken: ("upstream", "silent"),
            source: NEAR.parse().ok(),
            detail: &[("gateway", "192.0.4.50"), ("device", "egw0")],
            says: &[("/hints", "90: from 10.244.1.5/32 lookup 100")],
            within: Duration::from_millis(3800),
            ..verdict(Family::V4)
        }),
        Scenario::new(
            "gateway-dead",
            Topology::Routed,
            "the egress gateway that a rule names does not exist any more",
            |run| run.dial_with(Family::V4, STRIPE, 443, "unreachable", &["--timeout", "5"]),
        )
        .set_up(|lab, health| {
            let gateway = if health == Health::Broken { "192.0.4.51" } else { GATEWAY[0] };
            egress_gateway(lab, Health::Healthy, gateway)
        })
        .expect(|| Expect {
            detail: &[
                ("kind", "neighbour"),
                ("gateway", "192.0.4.51"),
                ("rule", "90: from 10.244.1.5/32 lookup 100"),
            ],
            says: &[("/summary", "The gateway 192.0.4.51 that policy routing chose")],
            source: NEAR.parse().ok(),
            within: Duration::from_millis(4000),
            ..verdict(Family::V4)
        }),
    ]
}

/// A gateway node beside this one, by which a rule of policy routing sends the client. Broken: it forwards nothing.
fn egress_gateway(lab: &mut Lab, health: Health, gateway: &str) -> Result<()> {
    lab.add_far()?;
    let (far, internet) = (lab.netns(Place::Far), &lab.internet);
    let [near, outer] = GATEWAY;
    lab.node.ip(&[
        format!("link add egw0 type veth peer name node0 netns {}", far.name()),
        format!("addr add {NEAR}/24 dev egw0"),
        "link set egw0 up".to_owned(),
    ])?;
    internet.ip(&[
        format!("link add wan2 type veth peer name out0 netns {}", far.name()),
        "addr add 192.0.5.1/24 dev wan2".to_owned(),
        "link set wan2 up".to_owned(),
    ])?;
    far.sysctl(&[("net/ipv4/ip_forward", "1")])?;
    far.ip(&[
        format!("addr add {near}/24 dev node0"),
        "link set node0 up".to_owned(),
        format!("addr add {outer}/24 dev out0"),
        "link set out0 up".to_owned(),
        "route add default via 192.0.5.1 dev out0".to_owned(),
    ])?;
    let verdict = if health == Health::Broken { "drop" } else { "accept" };
    far.nft(&format!(
        "table ip gateway {{
           chain nat {{ type nat hook postrouting priority srcnat; policy accept;
             oifname \"out0\" masquerade
           }}
           chain through {{ type filter hook forward priority filter; policy {verdict}; }}
         }}"
    ))?;
    lab.node.nft(&format!(
        "table ip egress-gateway {{
           chain nat {{ type nat hook postrouting priority srcnat; policy accept;
             ip saddr {} oifname \"egw0\" masquerade
           }}
         }}",
        CLIENT.v4
    ))?;
    lab.node.ip(&[
        format!("route add default via {gateway} dev egw0 table 100"),
        format!("rule add from {} lookup 100 priority 90", CLIENT.v4),
        // What is for other pods stays here.
        "rule add to 10.244.0.0/16 lookup main priority 80".to_owned(),
    ])
}
