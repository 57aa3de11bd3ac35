//! `upstream-reset` and the `established` kind of `upstream-timeout`: what ends connections that were up.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::tls::{TLS, handshake, serve};
use super::{Health, Run, Scenario, await_ipv6, program};
use crate::expect::Expect;
use crate::lab::{Lab, Place, TcpBehaviour};
use crate::pki::SERVER_NAME;
use crate::plan::{Dual, Family, NODE, SERVER, SLOW, STRIPE};
use crate::topology::Topology;

/// Port of servers that do not speak TLS.
const PORT: u16 = 9000;

/// More than the buffers of both ends hold.
const UPLOAD: &[&str] = &["--manner", "upload", "--bytes", "30000000", "--timeout", "10"];

pub(super) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "reset-client-hello",
            Topology::Routed,
            "the server reads the ClientHello and resets",
            |run| handshake(run, SocketAddr::new(STRIPE.of(Family::V4), TLS), &["-tls1_2"]),
        )
        .needs(|| program("openssl"))
        .set_up(|lab, health| match health {
            Health::Broken => {
                crate::pki::Pki::create(&lab.folder())?;
                lab.serve_tcp(Place::Internet, &[(STRIPE, TLS)], TcpBehaviour::Reset)
            }
            Health::Healthy => serve(lab, Place::Internet, &[]),
        })
        .expect(|| Expect {
            detail: &[
                ("after", "client-hello"),
                ("by", "remote"),
                ("sni", SERVER_NAME),
                ("received_bytes", "0"),
            ],
            says: &[("/fix/text", SERVER_NAME)],
            peer: (STRIPE.of(Family::V4), TLS),
            ..verdict(Family::V4)
        }),
        Scenario::new(
            "reset-by-firewall",
            Topology::Routed,
            "a firewall on the way answers ClientHellos with a reset: its TTL is not the server's",
            |run| handshake(run, SocketAddr::new(SLOW.of(Family::V4), TLS), &["-tls1_3"]),
        )
        .needs(|| program("openssl"))
        .set_up(|lab, health| {
            far_host(lab)?;
            serve(lab, Place::Far, &[])?;
            if health == Health::Broken {
                // The first byte behind a TCP header with time stamps: a TLS handshake record.
                lab.internet.nft(&rules(
                    "firewall",
                    &[("forward", &format!("tcp dport {TLS} @th,256,8 0x16 reject with tcp reset"))],
                ))?;
            }
            Ok(())
        })
        .expect(|| Expect {
            detail: &[
                ("after", "client-hello"),
                ("by", "middlebox"),
                ("sni", SERVER_NAME),
                ("ttl", "64"),
                ("ttl_of_syn_ack", "63"),
            ],
            says: &[("/summary", "another machine than the one that accepted it")],
            peer: (SLOW.of(Family::V4), TLS),
            ..verdict(Family::V4)
        }),
        Scenario::new(
            "reset-unanswered",
            Topology::Bridge,
            "the server reads a little and resets, without a byte in answer",
            |run| run.dial(Family::V4, STRIPE, PORT, "reset"),
        )
        .set_up(|lab, health| serve_if(lab, health, Place::Internet, STRIPE, TcpBehaviour::Reset))
        .expect(|| Expect { detail: &[("after", "data"), ("received_bytes", "0")], ..verdict(Family::V4) }),
        Scenario::new(
            "reset-mid-transfer-ipv6",
            Topology::Routed,
            "over IPv6 the server resets in the middle of a transfer",
            |run| run.dial_with(Family::V6, STRIPE, PORT, "reset", UPLOAD),
        )
        .set_up(|lab, health| {
            await_ipv6(lab)?;
            serve_if(lab, health, Place::Internet, STRIPE, TcpBehaviour::ResetLater)
        })
        .expect(|| Expect { detail: &[("after", "data"), ("by", "remote")], ..verdict(Family::V6) }),
        Scenario::new(
            "reset-by-pod",
            Topology::Routed,
            "another pod on the node resets in the middle of a transfer",
            |run| run.dial_with(Family::V4, SERVER, PORT, "reset", UPLOAD),
        )
        .set_up(|lab, health| serve_if(lab, health, Place::Server, SERVER, TcpBehaviour::ResetLater))
        .expect(|| Expect {
            detail: &[("after", "data"), ("by", "pod")],
            says: &[("/summary", "pod default/api-server")],
            peer: (SERVER.of(Family::V4), PORT),
            kind: "pod",
            broken: ("peer", "refused"),
            source: None,
            shown_on_server: true,
            ..verdict(Family::V4)
        }),
        Scenario::new(
            "reset-idle",
            Topology::Routed,
            "the other side forgets an idle connection, and answers the next data with a reset",
            |run| run.dial_with(Family::V4, STRIPE, PORT, "reset", &["--manner", "pause", "--pause", "4"]),
        )
        .set_up(|lab, health| serve_if(lab, health, Place::Internet, STRIPE, TcpBehaviour::Forget))
        .expect(|| Expect {
            detail: &[("after", "established-idle"), ("by", "remote"), ("unacknowledged_bytes", "64")],
            says: &[("/fix/text", "idle timeout")],
            within: Duration::from_secs(6),
            ..verdict(Family::V4)
        }),
        Scenario::new(
            "reset-by-node",
            Topology::Routed,
            "a rule of the node rejects the data of an established connection with a reset",
            |run| run.dial(Family::V4, STRIPE, PORT, "reset"),
        )
        .set_up(|lab, health| {
            lab.serve_tcp(Place::Internet, &[(STRIPE, PORT)], TcpBehaviour::Echo)?;
            if health == Health::Broken {
                let rule =
                    format!("tcp dport {PORT} tcp flags & (syn|fin|rst|psh) == psh reject with tcp reset");
                lab.node.nft(&rules("admin", &[("forward", &rule)]))?;
            }
            Ok(())
        })
        .expect(|| Expect {
            cause: "firewall-drop",
            stage: "node",
            broken: ("node", "dropped"),
            source: None,
            ..verdict(Family::V4)
        }),
        Scenario::new(
            "silence-established",
            Topology::Routed,
            "an established connection loses everything from its 4000th byte on, both ways",
            |run| silent(run, Family::V4),
        )
        .set_up(go_silent)
        .expect(|| silence(Family::V4)),
        Scenario::new(
            "silence-established-ipv6",
            Topology::Bridge,
            "the same over IPv6 from a bridge node",
            |run| silent(run, Family::V6),
        )
        .set_up(|lab, health| {
            await_ipv6(lab)?;
            go_silent(lab, health)
        })
        .expect(|| silence(Family::V6)),
        Scenario::new(
            "noise-reset-at-end",
            Topology::Routed,
            "20 exchanges that the server ends with a reset when all is answered",
            |run| {
                run.begin();
                let peer = format!("{}:{PORT}", STRIPE.v4);
                let args = ["connect", &peer, "--count", "20", "--manner", "await"];
                let outcome = run.must(Place::Client, &args, "connected")?;
                ensure!(outcome.count == 20, "{outcome:?}");
                Ok(())
            },
        )
        .set_up(|lab, _| lab.serve_tcp(Place::Internet, &[(STRIPE, PORT)], TcpBehaviour::ResetAtEnd)),
        Scenario::new(
            "noise-pause",
            Topology::Bridge,
            "a connection that idles for four seconds and goes on",
            |run| {
                run.begin();
                let peer = format!("{}:443", STRIPE.v4);
                run.must(Place::Client, &["connect", &peer, "--manner", "pause"], "connected").map(drop)
            },
        ),
    ]
}

/// The faulty server, or one that echoes.
fn serve_if(lab: &mut Lab, health: Health, at: Place, ips: Dual, how: TcpBehaviour) -> Result<()> {
    let how = if health == Health::Broken { how } else { TcpBehaviour::Echo };
    lab.serve_tcp(at, &[(ips, PORT)], how)
}

/// A host one hop beyond the internet's.
fn far_host(lab: &mut Lab) -> Result<()> {
    lab.add_far()?;
    let far = lab.netns(Place::Far).name().to_owned();
    lab.internet.sysctl(&[("net/ipv4/ip_forward", "1")])?;
    lab.internet.ip(&[
        format!("link add far0 type veth peer name wan0 netns {far}"),
        "addr add 192.0.2.129/30 dev far0".to_owned(),
        "link set far0 up".to_owned(),
    ])?;
    lab.netns(Place::Far).ip(&[
        "addr add 192.0.2.130/30 dev wan0".to_owned(),
        "link set wan0 up".to_owned(),
        format!("addr add {}/32 dev lo", SLOW.v4),
        "route add default via 192.0.2.129".to_owned(),
    ])?;
    lab.internet.ip(&[format!("route add {}/32 via 192.0.2.130", SLOW.v4)])
}

/// Beyond the node nothing passes any more once a connection has carried so much.
fn go_silent(lab: &mut Lab, health: Health) -> Result<()> {
    lab.serve_tcp(Place::Internet, &[(STRIPE, PORT)], TcpBehaviour::Echo)?;
    if health == Health::Broken {
        lab.internet.sysctl(&[("net/netfilter/nf_conntrack_acct", "1")])?;
        let full = "ct bytes > 4000 drop";
        let rules = rules(
            "silence",
            &[
                ("input", &format!("tcp dport {PORT} {full}")),
                ("output", &format!("tcp sport {PORT} {full}")),
            ],
        );
        lab.internet.nft(&rules)?;
    }
    Ok(())
}

/// A table with one rule for each hook.
fn rules(table: &str, chains: &[(&str, &str)]) -> String {
    let chains: Vec<String> = chains
        .iter()
        .map(|(hook, rule)| format!("chain {hook} {{\ntype filter hook {hook} priority filter\n{rule}\n}}\n"))
        .collect();
    format!("table inet {table} {{\n{}}}\n", chains.concat())
}

fn silent(run: &mut Run, family: Family) -> Result<()> {
    let args = ["--bytes", "6000", "--piece", "100", "--timeout", "8"];
    run.dial_with(family, STRIPE, PORT, "timeout", &args)
}

fn verdict(family: Family) -> Expect {
    Expect {
        stage: "upstream",
        broken: ("upstream", "refused"),
        source: Some(NODE.of(family)),
        ..Expect::of("upstream-reset", (STRIPE.of(family), PORT))
    }
}

fn silence(family: Family) -> Expect {
    Expect {
        cause: "upstream-timeout",
        confidence: &["likely", "certain"],
        broken: ("upstream", "silent"),
        detail: &[("kind", "established"), ("segment_bytes", "100"), ("of", "client")],
        says: &[("/summary", "then went silent"), ("/summary", "nothing has come back")],
        within: Duration::from_secs(8),
        ..verdict(family)
    }
}
