//! `unknown`: a real drop that none of the causes explains is shown with the kernel's own reason.

use std::time::Duration;

use super::{Run, Scenario};
use crate::expect::Expect;
use crate::lab::{Place, TcpBehaviour};
use crate::plan::{Family, GITHUB, SERVER};
use crate::tools;
use crate::topology::Topology;

/// Port of the server pod.
const HTTP: u16 = 8080;

pub(super) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "unknown-isolated-port",
            Topology::Bridge,
            "two ports of the bridge are isolated from each other",
            isolated,
        )
        .set_up(|lab, _| lab.serve_tcp(Place::Server, &[(SERVER, HTTP)], TcpBehaviour::Echo))
        .expect(|| Expect {
            peer: (SERVER.of(Family::V4), HTTP),
            kind: "pod",
            shown_on_server: true,
            ..verdict()
        }),
        Scenario::new(
            "unknown-ipsec",
            Topology::Routed,
            "an IPsec policy of the node blocks what is forwarded to one address",
            ipsec,
        )
        .expect(verdict),
    ]
}

fn isolated(run: &mut Run) -> anyhow::Result<()> {
    // Address resolution first: isolation stops ARP too, and then no packet is ever sent.
    run.must(Place::Client, &["connect", &format!("{}:{HTTP}", SERVER.v4)], "connected")?;
    if run.broken() {
        let lab = &run.lab;
        lab.node.ip(&[
            format!("link set {} type bridge_slave isolated on", lab.client().device),
            format!("link set {} type bridge_slave isolated on", lab.server().device),
        ])?;
    }
    run.dial(Family::V4, SERVER, HTTP, "timeout")
}

fn ipsec(run: &mut Run) -> anyhow::Result<()> {
    if run.broken() {
        let to = format!("{}/32", GITHUB.v4);
        tools::run(
            &mut run.lab.node.command("ip"),
            &["xfrm", "policy", "add", "src", "0.0.0.0/0", "dst", &to, "dir", "fwd", "action", "block"],
        )?;
    }
    run.dial(Family::V4, GITHUB, 443, "timeout")
}

fn verdict() -> Expect {
    Expect {
        confidence: &["certain", "likely", "possible"],
        within: Duration::from_secs(3),
        ..Expect::of("unknown", (GITHUB.of(Family::V4), 443))
    }
}
