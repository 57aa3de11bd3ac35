//! Answers that do not fit: cut and asked again over TCP, or lost in fragments.

use std::time::Duration;

use super::{ask, verdict};
use crate::expect::Expect;
use crate::lab::{Lab, Place};
use crate::plan::{Family, RESOLVER, SERVER};
use crate::scenario::{Health, Run, Scenario};
use crate::topology::Topology;

pub(super) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "dns-cut-tcp-dropped",
            Topology::Routed,
            "the answer is cut and TCP 53 is dropped by a rule of the node",
            |run| {
                if run.broken() {
                    run.lab.node.nft(
                        "table inet admin {
                           chain forwarding { type filter hook forward priority filter; policy accept;
                             tcp dport 53 counter drop
                           }
                         }",
                    )?;
                }
                run.ask("cut.cluster.local.", "timeout", &["--dns-timeout", "1.5", "--attempts", "1"])
            },
        )
        .expect(|| Expect {
            detail: &[("outcome", "truncated"), ("tcp", "dropped")],
            says: &[("/summary", "the connection to port 53 was dropped on this node (NETFILTER_DROP)")],
            name: Some("cut.cluster.local"),
            ..verdict()
        })
        .also(|| {
            vec![Expect { cause: "firewall-drop", stage: "node", broken: ("node", "dropped"), ..verdict() }]
        }),
        Scenario::new(
            "dns-cut-tcp-refused",
            Topology::Routed,
            "the answer is cut and the server does not listen on TCP 53",
            |run| {
                let server = format!("{}:53", SERVER.v4);
                let name = if run.broken() { "cut.cluster.local." } else { "slow1.cluster.local." };
                run.ask(name, "refused", &["--dns", &server])
            },
        )
        .set_up(|lab, _| {
            let args = ["serve-dns".to_owned(), format!("{}:53", SERVER.v4), "--udp-only".to_owned()];
            lab.start(Place::Server, &args)
        })
        .expect(|| Expect {
            detail: &[("outcome", "truncated"), ("tcp", "refused")],
            says: &[("/fix/text", "listen on TCP 53")],
            peer: (SERVER.of(Family::V4), 53),
            kind: "pod",
            name: Some("cut.cluster.local"),
            shown_on_server: true,
            ..verdict()
        })
        .also(|| {
            vec![Expect {
                cause: "upstream-refused",
                peer: (SERVER.of(Family::V4), 53),
                kind: "pod",
                shown_on_server: true,
                ..verdict()
            }]
        }),
        Scenario::new(
            "dns-over-tcp",
            Topology::Bridge,
            "a client that asks over TCP alone, both questions in one segment, gets SERVFAIL",
            |run| ask(run, "servfail.cluster.local.", "servfail", &["--tcp"]),
        )
        .expect(|| Expect {
            detail: &[("outcome", "servfail"), ("transport", "tcp"), ("types", "[\"A\",\"AAAA\"]")],
            name: Some("servfail.cluster.local"),
            ..verdict()
        }),
        Scenario::new(
            "dns-fragments",
            Topology::Routed,
            "large answers come in fragments, of which all but the first are lost on their way to the node",
            |run| fragmented(run, "timeout"),
        )
        .set_up(|lab, health| lose_fragments(lab, health, "0x1fff"))
        .expect(|| Expect {
            confidence: &["likely"],
            detail: &[("outcome", "timeout"), ("kind", "answer-size"), ("fragment_seen", "true")],
            says: &[("/fix/text", "1232")],
            ..size_verdict()
        }),
        Scenario::new(
            "dns-large-answers",
            Topology::Bridge,
            "large answers come in fragments, all of which are lost; small ones live",
            |run| fragmented(run, "timeout"),
        )
        .set_up(|lab, health| lose_fragments(lab, health, "0x3fff"))
        .expect(size_verdict),
        Scenario::new(
            "noise-dns-tcp",
            Topology::Routed,
            "answers that are cut are asked again over TCP and come; large ones come in fragments",
            |run| {
                run.must(Place::Client, &["lookup", "cut.cluster.local."], "noerror")?;
                run.must(Place::Client, &["lookup", "big.cluster.local."], "noerror")?;
                run.must(Place::Client, &["lookup", "big.cluster.local.", "--edns", "4096"], "noerror")?;
                run.must(Place::Client, &["lookup", "api.stripe.com", "--tcp"], "noerror").map(drop)
            },
        )
        .quiet(Duration::from_millis(2500)),
    ]
}

fn size_verdict() -> Expect {
    Expect {
        confidence: &["possible"],
        detail: &[("outcome", "timeout"), ("kind", "answer-size"), ("edns_size", "4096")],
        says: &[("/fix/text", "1232")],
        peer: (RESOLVER.of(Family::V4), 53),
        kind: "external",
        broken: ("upstream", "silent"),
        name: Some("big.example.com"),
        within: Duration::from_millis(3500),
        ..verdict()
    }
}

/// A small answer, then a large one, of a server outside.
fn fragmented(run: &mut Run, broken: &str) -> anyhow::Result<()> {
    let server = format!("{}:53", RESOLVER.v4);
    let small = ["lookup", "api.stripe.com.", "--dns", &server];
    run.must(Place::Client, &small, "noerror")?;
    let args = ["--dns", &server, "--edns", "4096", "--dns-timeout", "1.5", "--both", "false"];
    run.ask("big.example.com.", broken, &args)
}

/// Beyond the node: packets of whose fragment field one of these bits is set are lost.
fn lose_fragments(lab: &mut Lab, health: Health, bits: &str) -> anyhow::Result<()> {
    if health == Health::Healthy {
        return Ok(());
    }
    lab.internet.nft(&format!(
        "table netdev weather {{
           chain leaving {{
             type filter hook egress device \"wan0\" priority 0; policy accept;
             ip frag-off & {bits} != 0 drop
           }}
         }}"
    ))
}
