//! Other protocols than TCP: NTP, ping, SCTP, each over IPv4 and IPv6.

use std::time::Duration;

use super::super::{Health, Run, Scenario, await_ipv6};
use super::{NTP, egress_verdict};
use crate::enforce::{Backend, Match, Refusal};
use crate::expect::Expect;
use crate::lab::{Lab, Place};
use crate::plan::{CLIENT, Family, STRIPE};
use crate::topology::Topology;

/// Port of the SCTP server: Diameter.
const DIAMETER: u16 = 3868;

pub(super) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "policy-udp-ipv6",
            Topology::Bridge,
            "a default-deny egress policy drops NTP over IPv6",
            |run| {
                enforce(run)?;
                let peer = format!("[{}]:{NTP}", STRIPE.v6);
                ask(run, &["send-udp", &peer, "--count", "2", "--answer", "1"], "answered")
            },
        )
        .set_up(|lab, _| {
            await_ipv6(lab)?;
            lab.serve_udp(Place::Internet, (STRIPE, NTP), true)
        })
        .expect(|| Expect {
            affects: "udp",
            confidence: &["certain"],
            peer: (STRIPE.of(Family::V6), NTP),
            within: Duration::from_secs(2),
            ..egress_verdict(Family::V6)
        }),
        Scenario::new(
            "policy-echo",
            Topology::Routed,
            "a default-deny egress policy, and the plugin drops ping too: policies do not define ICMP, so it is likely",
            |run| ping(run, Family::V4),
        )
        .expect(|| echo_verdict(Family::V4)),
        Scenario::new("policy-echo-ipv6", Topology::Bridge, "the same over IPv6", |run| {
            ping(run, Family::V6)
        })
        .set_up(|lab, _| await_ipv6(lab))
        .expect(|| echo_verdict(Family::V6)),
        Scenario::new(
            "policy-sctp",
            Topology::Routed,
            "a policy that admits TCP only drops the INIT of an SCTP association",
            |run| associate(run, Family::V4),
        )
        .set_up(serve)
        .expect(|| sctp_verdict(Family::V4)),
        Scenario::new("policy-sctp-ipv6", Topology::Bridge, "the same over IPv6", |run| {
            associate(run, Family::V6)
        })
        .set_up(|lab, health| {
            await_ipv6(lab)?;
            serve(lab, health)
        })
        .expect(|| sctp_verdict(Family::V6)),
    ]
}

fn enforce(run: &Run) -> anyhow::Result<()> {
    if run.broken() {
        run.lab.cluster.deny_all_egress()?;
        run.refuse(Backend::Nft, "pod-api-client", Match::From(CLIENT), Refusal::Drop)?;
        run.await_policies()?;
    }
    Ok(())
}

fn ask(run: &mut Run, args: &[&str], healthy: &str) -> anyhow::Result<()> {
    run.begin();
    let outcome = run.client(Place::Client, args)?;
    run.check(&outcome, "timeout", healthy)
}

fn ping(run: &mut Run, family: Family) -> anyhow::Result<()> {
    enforce(run)?;
    ask(run, &["echo", &STRIPE.of(family).to_string()], "answered")
}

fn associate(run: &mut Run, family: Family) -> anyhow::Result<()> {
    if run.broken() {
        run.lab.cluster.allow_only_web()?;
        run.refuse(Backend::Nft, "pod-api-client", Match::From(CLIENT), Refusal::Drop)?;
        run.await_policies()?;
    }
    let peer = std::net::SocketAddr::new(STRIPE.of(family), DIAMETER).to_string();
    ask(run, &["connect-sctp", &peer], "connected")
}

fn serve(lab: &mut Lab, _: Health) -> anyhow::Result<()> {
    lab.serve_sctp(Place::Internet, (STRIPE, DIAMETER), false)
}

fn echo_verdict(family: Family) -> Expect {
    Expect {
        affects: "icmp",
        confidence: &["likely"],
        peer: (STRIPE.of(family), 0),
        fix: false,
        within: Duration::from_secs(2),
        ..egress_verdict(family)
    }
}

fn sctp_verdict(family: Family) -> Expect {
    Expect {
        affects: "sctp",
        confidence: &["certain"],
        peer: (STRIPE.of(family), DIAMETER),
        policies: &["web-only"],
        detail: &[("packet", "INIT")],
        says: &[("/fix/manifest", "protocol: SCTP")],
        within: Duration::from_secs(2),
        ..egress_verdict(family)
    }
}
