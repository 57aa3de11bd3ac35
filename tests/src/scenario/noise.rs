//! Healthy traffic that looks like trouble and must make no verdict.

use std::time::Duration;

use anyhow::ensure;

use super::{Run, Scenario};
use crate::lab::{Lab, Place, TcpBehaviour};
use crate::plan::{Family, GITHUB, SERVER, SLOW, STRIPE};
use crate::topology::Topology;

pub(super) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "noise-connections",
            Topology::Routed,
            "500 quick connections, one after the other",
            |run| many(run, &["--count", "500"], 500),
        ),
        Scenario::new(
            "noise-abandoned",
            Topology::Routed,
            "100 connections begun and given up at once, as Happy Eyeballs does",
            |run| many(run, &["--count", "100", "--manner", "abandon"], 100),
        ),
        Scenario::new(
            "noise-resets",
            Topology::Bridge,
            "100 connections that the client closes with a reset after a good exchange",
            |run| many(run, &["--count", "100", "--manner", "reset"], 100),
        ),
        Scenario::new(
            "noise-server-closes",
            Topology::Routed,
            "100 connections that the server closes at once, and whose clients send nevertheless",
            |run| {
                let peer = format!("{}:8080", GITHUB.v4);
                // Data that meets a closed socket is answered by a reset, after the server's FIN.
                let args = ["connect", &peer, "--count", "100", "--manner", "late"];
                run.must(Place::Client, &args, "connected").map(drop)
            },
        )
        .set_up(|lab, _| lab.serve_tcp(Place::Internet, &[(GITHUB, 8080)], TcpBehaviour::Close)),
        Scenario::new(
            "noise-search-path",
            Topology::Routed,
            "names that do not exist under any suffix of the search list, and then do without",
            |run| {
                for name in ["api.stripe.com", "api.github.com", "api.stripe.com"] {
                    let found = run.must(Place::Client, &["lookup", name], "noerror")?;
                    ensure!(found.count == 8, "8 questions for {name}, not {}", found.count);
                }
                Ok(())
            },
        )
        .quiet(Duration::from_millis(2500)),
        Scenario::new(
            "noise-lossy",
            Topology::Routed,
            "a line that loses one data packet in ten, on which everything arrives in the end",
            |run| many(run, &["--count", "3", "--bytes", "200000", "--timeout", "20"], 3),
        )
        .set_up(lossy),
        Scenario::new(
            "noise-late-syn-ack",
            Topology::Routed,
            "a SYN-ACK that comes after 1.5 s, when the SYN was sent twice",
            |run| {
                let peer = format!("{}:443", SLOW.v4);
                let slow = run.must(Place::Client, &["connect", &peer, "--timeout", "6"], "connected")?;
                ensure!(slow.seconds > 2.9, "two round trips of 1.5 s took {} s", slow.seconds);
                Ok(())
            },
        )
        .needs(|| (!std::path::Path::new("/dev/net/tun").exists()).then(|| "no /dev/net/tun".to_owned()))
        .set_up(slow_line),
        Scenario::new(
            "noise-port-scan",
            Topology::Routed,
            "a host outside scans closed ports of a pod",
            |run| {
                for port in 9000..9040 {
                    let peer = format!("{}:{port}", SERVER.v4);
                    run.must(Place::Internet, &["connect", &peer], "refused")?;
                }
                Ok(())
            },
        )
        // The outside knows the way to the pods here, as a load balancer in the cluster's network does.
        .set_up(|lab, _| {
            lab.internet.ip(&[format!(
                "route add {} via {}",
                crate::plan::NODE_PODS_V4,
                crate::plan::NODE.v4
            )])
        }),
        Scenario::new(
            "noise-syslog",
            Topology::Routed,
            "one-way UDP: 50 syslog messages that nobody answers",
            |run| {
                let peer = format!("{}:514", STRIPE.v4);
                run.must(Place::Client, &["send-udp", &peer, "--count", "50"], "sent").map(drop)
            },
        )
        .quiet(Duration::from_secs(6))
        .set_up(|lab, _| lab.serve_udp(Place::Internet, (STRIPE, 514), false)),
        Scenario::new(
            "noise-traceroute",
            Topology::Routed,
            "pings with a short life, again and again, to see which routers are on the way",
            |run| {
                let peer = STRIPE.v4.to_string();
                for _ in 0..2 {
                    run.must(Place::Client, &["echo", &peer, "--count", "1", "--ttl", "1"], "timeout")?;
                }
                run.must(Place::Client, &["echo", &peer, "--ttl", "2"], "answered").map(drop)
            },
        )
        .quiet(Duration::from_secs(6)),
        Scenario::new("noise-echo", Topology::Bridge, "UDP that is answered, 50 times", |run| {
            let peer = format!("{}:7", STRIPE.v4);
            let args = ["send-udp", &peer, "--count", "50", "--answer", "2"];
            run.must(Place::Client, &args, "answered").map(drop)
        })
        .set_up(|lab, _| lab.serve_udp(Place::Internet, (STRIPE, 7), true)),
    ]
}

/// Connects to the web server outside; `count` connections must succeed.
fn many(run: &mut Run, args: &[&str], count: u64) -> anyhow::Result<()> {
    run.begin();
    let peer = std::net::SocketAddr::new(STRIPE.of(Family::V4), 443).to_string();
    let mut all = vec!["connect", peer.as_str()];
    all.extend(args);
    let outcome = run.must(Place::Client, &all, "connected")?;
    ensure!(outcome.count == count, "{} of {count} connections succeeded", outcome.count);
    Ok(())
}

/// Beyond the node: opening packets pass, one data packet in ten does not.
fn lossy(lab: &mut Lab, _: super::Health) -> anyhow::Result<()> {
    lab.internet.nft(
        "table inet weather {
           chain input { type filter hook input priority -10; policy accept;
             tcp flags & (syn | rst | fin) == 0 numgen random mod 10 < 1 drop
           }
         }",
    )
}

/// A host behind a line whose way back takes 1.5 s.
fn slow_line(lab: &mut Lab, _: super::Health) -> anyhow::Result<()> {
    let far = lab.add_far()?;
    lab.start(Place::Internet, &["delay-line", "--milliseconds", "1500", "--far", &far].map(str::to_owned))?;
    lab.internet.sysctl(&[("net/ipv4/ip_forward", "1")])?;
    lab.internet.ip(&["link set slow0 up".to_owned(), format!("route add {}/32 dev slow0", SLOW.v4)])?;
    lab.netns(Place::Far).ip(&[
        format!("addr add {}/32 dev lo", SLOW.v4),
        format!("addr add {}/128 dev lo nodad", SLOW.v6),
        "link set wan0 up".to_owned(),
        "route add default dev wan0".to_owned(),
    ])?;
    lab.serve_tcp(Place::Far, &[(SLOW, 443)], TcpBehaviour::Echo)
}
