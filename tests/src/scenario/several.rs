//! Several faults at once stay apart, and are shown in the order in which one would fix them.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{Health, Run, Scenario};
use crate::client::Outcome;
use crate::enforce::{Backend, Match, Refusal};
use crate::expect::Expect;
use crate::lab::{Lab, Place};
use crate::plan::{CLIENT, DNS_SERVICE, Dual, Family, GITHUB, STRIPE};
use crate::topology::Topology;

/// How long a verdict is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "several-pods",
            Topology::Routed,
            "two pods dial the same host: one is denied by policy, the other by an administrator's rule",
            same_host,
        )
        .expect(policy)
        .also(|| vec![Expect { pod: "api-server", fix: false, ..firewall(GITHUB) }]),
        Scenario::new(
            "several-ports",
            Topology::Bridge,
            "one host, two ports: a policy drops the one, the host itself refuses the other",
            ports,
        )
        .set_up(web_for_all)
        .expect(|| Expect {
            policies: &["not-8443"],
            peer: (GITHUB.of(Family::V4), 8443),
            ..policy()
        })
        .also(|| {
            vec![Expect {
                cause: "upstream-refused",
                confidence: &["certain"],
                stage: "upstream",
                peer: (GITHUB.of(Family::V4), 8080),
                policies: &[],
                broken: ("upstream", "refused"),
                fix: false,
                ..policy()
            }]
        }),
        Scenario::new(
            "several-dns-first",
            Topology::Routed,
            "a policy blocks a pod's DNS and the port it dials: both are told, DNS first, although it failed before",
            dns_and_port,
        )
        .expect(|| Expect { peer: (STRIPE.of(Family::V4), 443), ..policy() })
        .also(|| vec![dns()]),
        Scenario::new(
            "several-one-after-the-other",
            Topology::Routed,
            "DNS is admitted and its verdict clears; then the next fault shows: the port is still denied",
            one_after_the_other,
        )
        .expect(|| Expect {
            peer: (STRIPE.of(Family::V4), 443),
            name: Some("api.stripe.com"),
            policies: &["deny-all-egress", "dns-only"],
            says: &[("/state", "active")],
            ..policy()
        })
        .also(|| vec![Expect { says: &[("/state", "cleared")], ..dns() }]),
    ]
}

/// What each pod did, side by side.
fn both(run: &mut Run, args: [&[&str]; 2]) -> Result<[Outcome; 2]> {
    run.begin();
    let client = run.lab.run(Place::Client, args[0])?;
    let server = run.lab.run(Place::Server, args[1])?;
    Ok([client.outcome(Duration::from_secs(60))?, server.outcome(Duration::from_secs(60))?])
}

fn same_host(run: &mut Run) -> Result<()> {
    if run.broken() {
        run.lab.cluster.deny_all_egress()?;
        run.refuse(Backend::Nft, "pod-api-client", Match::From(CLIENT), Refusal::Drop)?;
        run.refuse(Backend::Nft, "blocklist", Match::Destination(GITHUB), Refusal::Drop)?;
        run.await_policies()?;
    }
    let peer = format!("{}:443", GITHUB.v4);
    let dial: &[&str] = &["connect", &peer, "--timeout", "1.4"];
    for outcome in both(run, [dial, dial])? {
        run.check(&outcome, "timeout", "connected")?;
    }
    Ok(())
}

/// A policy that admits everything but the one port, and the rule that enforces it.
fn web_for_all(lab: &mut Lab, health: Health) -> Result<()> {
    if health == Health::Healthy {
        let listen = [(GITHUB, 8443), (GITHUB, 8080)];
        return lab.serve_tcp(Place::Internet, &listen, crate::lab::TcpBehaviour::Echo);
    }
    lab.cluster.policy(
        "not-8443",
        json!({"podSelector": {"matchLabels": {"app": "firewall-test"}}, "policyTypes": ["Egress"],
               "egress": [{"ports": [{"protocol": "UDP", "port": 53},
                                     {"protocol": "TCP", "port": 1, "endPort": 8442}]}]}),
    )?;
    lab.node.nft(&format!(
        "table inet cni {{
           chain forwarding {{
             type filter hook forward priority filter; policy accept;
             ip saddr {} tcp dport 8443 drop
           }}
         }}",
        CLIENT.v4
    ))
}

fn ports(run: &mut Run) -> Result<()> {
    run.await_policies()?;
    run.dial(Family::V4, GITHUB, 8443, "timeout")?;
    let began = run.began;
    run.dial(Family::V4, GITHUB, 8080, "refused")?;
    run.began = began;
    Ok(())
}

fn dns_and_port(run: &mut Run) -> Result<()> {
    deny_all(run)?;
    run.ask("api.stripe.com", "timeout", &["--dns-timeout", "1"])?;
    // The application knows the address from before.
    run.dial(Family::V4, STRIPE, 443, "timeout")?;
    if run.broken() {
        let found = await_verdicts(run, 2)?;
        ensure!(found[0]["affects"] == "dns", "DNS is not told first: {}", Value::from(found));
    }
    Ok(())
}

fn one_after_the_other(run: &mut Run) -> Result<()> {
    deny_all(run)?;
    run.ask("api.stripe.com", "timeout", &["--dns-timeout", "1"])?;
    if run.broken() {
        await_verdicts(run, 1)?;
        run.lab.cluster.allow_only_dns()?;
        run.lab.node.nft("insert rule inet cni pod-api-client udp dport 53 accept\n")?;
        run.await_policies()?;
    }
    run.must(Place::Client, &["lookup", "api.stripe.com"], "noerror")?;
    run.dial(Family::V4, STRIPE, 443, "timeout")?;
    if run.broken() {
        let found = await_verdicts(run, 2)?;
        ensure!(found[0]["state"] == "active", "what is over is told first: {}", Value::from(found));
    }
    Ok(())
}

fn deny_all(run: &Run) -> Result<()> {
    if run.broken() {
        run.lab.cluster.deny_all_egress()?;
        run.refuse(Backend::Nft, "pod-api-client", Match::From(CLIENT), Refusal::Drop)?;
        run.await_policies()?;
    }
    Ok(())
}

/// The client's verdicts as `query` shows them, once there are as many.
fn await_verdicts(run: &Run, count: usize) -> Result<Vec<Value>> {
    let Some(agent) = &run.agent else { return Ok(vec![json!({"affects": "dns", "state": "active"})]) };
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = agent.query(&["default/api-client"])?;
        if found.len() >= count {
            return Ok(found);
        }
        ensure!(Instant::now() < deadline, "{} verdicts, not {count}: {}", found.len(), Value::from(found));
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn policy() -> Expect {
    Expect { peer: (GITHUB.of(Family::V4), 443), ..super::policy::egress_verdict(Family::V4) }
}

fn dns() -> Expect {
    Expect {
        affects: "dns",
        peer: (DNS_SERVICE.of(Family::V4), 53),
        kind: "service",
        within: Duration::from_secs(2),
        ..policy()
    }
}

fn firewall(to: Dual) -> Expect {
    Expect { cause: "firewall-drop", peer: (to.of(Family::V4), 443), policies: &[], ..policy() }
}
