//! `dns-failure`: the question got an error, or nothing.

mod answers;
mod chain;
mod servers;
mod tcp;

use std::time::Duration;

use super::{Run, Scenario};
use crate::expect::Expect;
use crate::plan::{DNS_SERVICE, Family};

pub(super) fn all() -> Vec<Scenario> {
    [answers::all(), chain::all(), servers::all(), tcp::all()].into_iter().flatten().collect()
}

/// The twin asks for a name that exists.
fn ask(run: &mut Run, name: &str, outcome: &str, args: &[&str]) -> anyhow::Result<()> {
    let name = if run.broken() { name } else { "api.stripe.com" };
    run.ask(name, outcome, args)
}

fn verdict() -> Expect {
    Expect {
        confidence: &["certain", "likely"],
        stage: "upstream",
        affects: "dns",
        kind: "service",
        broken: ("peer", "refused"),
        within: Duration::from_secs(2),
        ..Expect::of("dns-failure", (DNS_SERVICE.of(Family::V4), 53))
    }
}

/// What the DNS server's own pod shows of its upstream.
fn of_server(peer: std::net::IpAddr, outcome: &'static [(&'static str, &'static str)]) -> Expect {
    Expect {
        pod: "coredns",
        peer: (peer, 53),
        kind: "external",
        broken: ("upstream", "refused"),
        detail: outcome,
        ..verdict()
    }
}
