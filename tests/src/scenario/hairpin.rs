//! A pod dials a Service that chooses the pod itself: what a node must have for that, and what happens without it.

use anyhow::Result;

use super::{Health, Run, Scenario, program};
use crate::expect::Expect;
use crate::lab::{Lab, Place, TcpBehaviour};
use crate::plan::{CLIENT, Family, SERVICE};
use crate::tools;
use crate::topology::Topology;

const PORT: u16 = 80;
/// Port of the pod's own server.
const TARGET: u16 = 8080;

pub(super) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "hairpin-bridge",
            Topology::Bridge,
            "a Service leads the pod back to itself, and its port of the bridge is not in hairpin mode",
            |run| dial(run, "timeout"),
        )
        .needs(|| program("bridge"))
        .set_up(bridged)
        .expect(|| Expect {
            confidence: &["possible"],
            detail: &[("kind", "hairpin"), ("device", "veth0")],
            says: &[("/fix/text", "bridge link set dev veth0 hairpin on")],
            ..Expect::of("unknown", (SERVICE.of(Family::V4), PORT))
        }),
        Scenario::new(
            "hairpin-source",
            Topology::Routed,
            "a Service leads the pod back to itself, and nobody masquerades what returns to its sender",
            |run| dial(run, "timeout"),
        )
        .set_up(routed)
        .expect(|| Expect {
            stage: "pod",
            broken: ("pod", "dropped"),
            detail: &[("kind", "martian"), ("source", "10.244.1.5"), ("destination", "10.244.1.5")],
            says: &[("/fix/text", "KUBE-MARK-MASQ")],
            ..Expect::of("route-drop", (SERVICE.of(Family::V4), PORT))
        }),
    ]
}

fn dial(run: &mut Run, broken: &str) -> Result<()> {
    run.dial(Family::V4, SERVICE, PORT, broken)
}

fn bridged(lab: &mut Lab, health: Health) -> Result<()> {
    serve(lab, "ip saddr 10.244.1.5 ip daddr 10.244.1.5 masquerade")?;
    if health == Health::Healthy {
        let device = lab.client().device.clone();
        let mut bridge = lab.node.command("bridge");
        tools::run(&mut bridge, &["link", "set", "dev", &device, "hairpin", "on"])?;
    }
    Ok(())
}

fn routed(lab: &mut Lab, health: Health) -> Result<()> {
    let rule = "ip saddr 10.244.1.5 ip daddr 10.244.1.5 masquerade";
    serve(lab, if health == Health::Healthy { rule } else { "" })
}

/// The pod's own server, and a Service in front of it.
fn serve(lab: &mut Lab, masquerade: &str) -> Result<()> {
    lab.serve_tcp(Place::Client, &[(CLIENT, TARGET)], TcpBehaviour::Echo)?;
    lab.node.nft(&format!(
        "table ip services {{
           chain forward_to {{
             type nat hook prerouting priority dstnat - 10; policy accept;
             ip daddr {} tcp dport {PORT} dnat to {}:{TARGET}
           }}
           chain leave {{
             type nat hook postrouting priority srcnat - 10; policy accept;
             {masquerade}
           }}
         }}",
        SERVICE.v4, CLIENT.v4
    ))
}
