//! The node (or the pod's own pair of devices) drops what is too big.

use super::{
    Dual, Expect, Family, HOST, Health, Lab, PORT, Place, Run, Scenario, Topology, ask_large, mute, transfer,
    verdict,
};
use crate::plan::{GATEWAY, SERVER, UPLINK};
use crate::scenario::await_ipv6;

/// MTU of the narrow uplink.
const UPLINK_TAKES: u32 = 1400;

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
            ..local(
                Family::V4,
                &[
                    ("kind", "local"),
                    ("mtu", "1400"),
                    ("packet_size", "1500"),
                    ("device", UPLINK),
                    ("icmp", "dropped"),
                    ("set_mtu", "1400"),
                    ("set_mss", "1360"),
                ],
            )
        }),
        Scenario::new(
            "mtu-local-bridge-ipv6",
            Topology::Bridge,
            "the same over IPv6 from a bridge node, and a filter inside the pod drops the ICMP message",
            |run| transfer(run, Family::V6, &["--up", "60000"]),
        )
        .set_up(|lab, health| {
            await_ipv6(lab)?;
            narrow_uplink(lab)?;
            if health == Health::Broken { mute(lab, Place::Client, "input") } else { Ok(()) }
        })
        .expect(|| Expect {
            says: &[("/summary", "inside the pod")],
            ..local(
                Family::V6,
                &[("kind", "local"), ("mtu", "1400"), ("device", UPLINK), ("icmp", "dropped"), ("set_mss", "1340")],
            )
        }),
        Scenario::new(
            "mtu-veth",
            Topology::Routed,
            "the node's end of the pod's pair takes 1400 bytes, the pod's end sends 1500: dropped without a word",
            |run| transfer(run, Family::V4, &["--up", "1440", "--at-once"]),
        )
        .set_up(|lab, health| {
            lab.add_narrow(HOST, PORT, 1500)?;
            let device = lab.client().device.clone();
            let mtu = if health == Health::Broken { 1400 } else { 1500 };
            lab.node.ip(&[format!("link set {device} mtu {mtu}")])
        })
        .expect(|| Expect {
            stage: "pod",
            broken: ("pod", "dropped"),
            ..local(
                Family::V4,
                &[("kind", "local"), ("mtu", "1400"), ("device", "cali0"), ("icmp", "not-seen"), ("set_mtu", "1400")],
            )
        }),
        Scenario::new(
            "mtu-answer",
            Topology::Bridge,
            "a pod answers a client outside with more than the uplink takes, and the ICMP message is filtered on the node",
            |run| {
                let peer = format!("{}:{PORT}", SERVER.v4);
                run.begin();
                let outcome = run.client(Place::Internet, &["transfer", &peer, "--down", "60000"])?;
                run.check(&outcome, "timeout", "transferred")
            },
        )
        .set_up(|lab, health| {
            narrow(lab)?;
            // The outside knows the way to the pods here, as a load balancer in the cluster's network does.
            lab.internet.ip(&[format!("route add {} via {}", crate::plan::NODE_PODS_V4, crate::plan::NODE.v4)])?;
            lab.serve_transfer(Place::Server, SERVER, PORT)?;
            if health == Health::Broken { mute(lab, Place::Node, "output") } else { Ok(()) }
        })
        .expect(|| Expect {
            pod: "api-server",
            direction: "ingress",
            peer: (GATEWAY.of(Family::V4), PORT),
            ..local(Family::V4, &[("kind", "local"), ("mtu", "1400"), ("device", UPLINK), ("icmp", "dropped")])
        }),
        Scenario::new(
            "mtu-udp",
            Topology::Routed,
            "datagrams of 1450 bytes that must not be fragmented, again and again, over an uplink of 1400",
            |run| ask_large(run, Family::V4, 1422),
        )
        .set_up(|lab, health| {
            lab.serve_udp(Place::Internet, (UDP, PORT), true)?;
            if health == Health::Broken {
                narrow(lab)?;
                mute(lab, Place::Node, "output")?;
            }
            Ok(())
        })
        .expect(|| Expect {
            affects: "udp",
            peer: (UDP.of(Family::V4), PORT),
            ..local(
                Family::V4,
                &[("kind", "local"), ("mtu", "1400"), ("packet_size", "1450"), ("icmp", "dropped")],
            )
        }),
        Scenario::new(
            "mtu-ping-ipv6",
            Topology::Bridge,
            "echo requests of 1480 bytes over IPv6, which never fragments on the way, over an uplink of 1400",
            ping,
        )
        .needs(|| crate::scenario::program("ping"))
        .set_up(|lab, health| {
            await_ipv6(lab)?;
            if health == Health::Broken { narrow(lab) } else { Ok(()) }
        })
        .expect(|| Expect {
            affects: "icmp",
            peer: (UDP.of(Family::V6), 0),
            within: std::time::Duration::from_millis(5600),
            ..local(Family::V6, &[("kind", "local"), ("mtu", "1400"), ("packet_size", "1480")])
        }),
    ]
}

/// A host on the internet.
const UDP: Dual = crate::plan::STRIPE;

/// The node's uplink takes 1400 bytes; the host is behind an ordinary line.
fn narrow_uplink(lab: &mut Lab) -> anyhow::Result<()> {
    narrow(lab)?;
    lab.add_narrow(HOST, PORT, 1500)
}

fn narrow(lab: &Lab) -> anyhow::Result<()> {
    lab.node.ip(&[format!("link set {UPLINK} mtu {UPLINK_TAKES}")])
}

/// Echo requests as people send them to find the path MTU: the second one is refused by the pod itself.
fn ping(run: &mut Run) -> anyhow::Result<()> {
    run.begin();
    let address = UDP.of(Family::V6).to_string();
    let mut ping = run.lab.netns(Place::Client).command("ping");
    let args = ["-6", "-c", "2", "-i", "0.5", "-W", "1", "-s", "1432", "-M", "do", &address];
    let answered = ping.args(args).output()?.status.success();
    anyhow::ensure!(answered != run.broken(), "ping was answered: {answered}");
    Ok(())
}

fn local(family: Family, detail: &'static [(&'static str, &'static str)]) -> Expect {
    Expect { stage: "node", broken: ("node", "dropped"), source: None, ..verdict(family, detail) }
}
