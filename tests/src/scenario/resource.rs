//! `local-resource`: a queue or a buffer is full.

use std::time::Duration;

use anyhow::Result;

use super::{Health, Run, Scenario, await_ipv6};
use crate::expect::Expect;
use crate::lab::{Lab, Place, TcpBehaviour};
use crate::plan::{Family, NODE, SERVER, STRIPE, UPLINK};
use crate::tools;
use crate::topology::Topology;

/// Port of the server pod.
const HTTP: u16 = 8080;
/// A UDP protocol that answers.
const NTP: u16 = 123;

pub(super) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "resource-listen",
            Topology::Routed,
            "the other pod's server accepts nothing, and its queue of connections is full",
            |run| overflow(run, Family::V4),
        )
        .set_up(|lab, health| stuck_server(lab, health, Place::Server))
        .expect(|| listen_verdict(Family::V4)),
        Scenario::new(
            "resource-listen-bridge-ipv6",
            Topology::Bridge,
            "the same over IPv6 on a bridge",
            |run| overflow(run, Family::V6),
        )
        .set_up(|lab, health| {
            await_ipv6(lab)?;
            stuck_server(lab, health, Place::Server)
        })
        .expect(|| listen_verdict(Family::V6)),
        Scenario::new(
            "resource-udp-buffer",
            Topology::Routed,
            "the other pod's UDP server does not read, and its receive buffer is full",
            |run| {
                let peer = format!("{}:{NTP}", SERVER.v4);
                // Two fill the buffer; nobody waits for these.
                let word = if run.broken() { "sent" } else { "answered" };
                let answer = if run.broken() { "0" } else { "1" };
                run.must(Place::Server, &["send-udp", &peer, "--count", "2", "--answer", answer], word)?;
                run.ask_udp(SERVER, NTP, "timeout")
            },
        )
        .set_up(|lab, health| {
            if health == Health::Broken {
                lab.start(
                    Place::Server,
                    &["serve-udp", "--deaf", &format!("{}:{NTP}", SERVER.v4)].map(str::to_owned),
                )
            } else {
                lab.serve_udp(Place::Server, (SERVER, NTP), true)
            }
        })
        .expect(|| Expect {
            affects: "udp",
            stage: "upstream",
            peer: (SERVER.of(Family::V4), NTP),
            kind: "pod",
            broken: ("peer", "dropped"),
            source: None,
            detail: &[("queue", "receive-buffer"), ("limit", "SO_RCVBUF"), ("reason", "SOCKET_RCVBUFF")],
            says: &[("/detail/current", "2304"), ("/summary", "in pod default/api-server")],
            shown_on_server: true,
            ..verdict()
        }),
        Scenario::new(
            "resource-qdisc",
            Topology::Routed,
            "a token bucket on the uplink takes no packet as large as a SYN",
            |run| run.dial_long(Family::V4, STRIPE, 443, "timeout"),
        )
        .set_up(|lab, health| {
            let burst = if health == Health::Broken { "60" } else { "15400" };
            tools::run(
                &mut lab.node.command("tc"),
                &[
                    "qdisc", "add", "dev", UPLINK, "root", "tbf", "rate", "80mbit", "burst", burst, "limit",
                    "30000",
                ],
            )
        })
        .needs(|| super::program("tc"))
        .expect(verdict),
    ]
}

/// A listener whose program never accepts, with a queue of one connection: two fit. Healthy: one that accepts.
fn stuck_server(lab: &mut Lab, health: Health, at: Place) -> Result<()> {
    if health == Health::Healthy {
        return lab.serve_tcp(at, &[(SERVER, HTTP)], TcpBehaviour::Echo);
    }
    lab.start(at, &["serve-tcp", "--deaf", &format!("[::]:{HTTP}")].map(str::to_owned))
}

fn overflow(run: &mut Run, family: Family) -> Result<()> {
    if run.broken() {
        // Connections that are never accepted: the kernel completes them, up to the backlog and one.
        let peer = std::net::SocketAddr::new(SERVER.of(family), HTTP).to_string();
        for _ in 0..2 {
            run.must(Place::Server, &["connect", &peer, "--manner", "open"], "connected")?;
        }
    }
    run.dial_long(family, SERVER, HTTP, "timeout")
}

fn listen_verdict(family: Family) -> Expect {
    Expect {
        peer: (SERVER.of(family), HTTP),
        kind: "pod",
        stage: "upstream",
        broken: ("peer", "dropped"),
        source: None,
        detail: &[("queue", "listen-queue"), ("limit", "listen backlog"), ("current", "1"), ("queued", "2")],
        says: &[("/summary", "in pod default/api-server"), ("/fix/text", "net.core.somaxconn")],
        // The second retransmit, as for any SYN without an answer.
        within: Duration::from_millis(3800),
        shown_on_server: true,
        ..verdict()
    }
}

fn verdict() -> Expect {
    Expect {
        source: Some(NODE.of(Family::V4)),
        detail: &[("queue", "qdisc"), ("qdisc", "tbf"), ("device", UPLINK), ("reason", "QDISC_DROP")],
        says: &[("/fix/text", "tc -s qdisc show dev uplink0")],
        // A queue that drops one SYN may take the next: the second drop is a failure.
        within: Duration::from_millis(1500),
        ..Expect::of("local-resource", (STRIPE.of(Family::V4), 443))
    }
}
