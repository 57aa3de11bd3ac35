//! `dns-failure`: the question got an error, or nothing.

use std::time::Duration;

use super::{Run, Scenario, await_ipv6};
use crate::expect::Expect;
use crate::plan::{DNS_SERVICE, Family};
use crate::topology::Topology;

pub(super) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "dns-nxdomain",
            Topology::Routed,
            "a name does not exist, under no suffix of the search list and in neither family",
            |run| ask(run, "nx.example.com", "nxdomain", &[]),
        )
        .quiet(Duration::from_millis(2500))
        .expect(|| Expect {
            detail: &[("outcome", "nxdomain")],
            name: Some("nx.example.com"),
            within: Duration::from_secs(3),
            ..verdict()
        }),
        Scenario::new("dns-servfail", Topology::Bridge, "the DNS server answers SERVFAIL", |run| {
            ask(run, "servfail.example.com.", "servfail", &[])
        })
        .expect(|| Expect {
            detail: &[("outcome", "servfail")],
            name: Some("servfail.example.com"),
            ..verdict()
        }),
        Scenario::new("dns-refused", Topology::Routed, "the DNS server answers REFUSED", |run| {
            ask(run, "refused.example.com.", "refused", &[])
        })
        .expect(|| Expect {
            detail: &[("outcome", "refused")],
            name: Some("refused.example.com"),
            ..verdict()
        }),
        Scenario::new(
            "dns-timeout",
            Topology::Routed,
            "the cluster's DNS server asks its own upstream, which stays silent, and so does it",
            |run| ask(run, "silent.example.com.", "timeout", &["--dns-timeout", "1.5"]),
        )
        .expect(|| Expect {
            detail: &[("outcome", "timeout")],
            broken: ("peer", "silent"),
            name: Some("silent.example.com"),
            within: Duration::from_millis(3200),
            ..verdict()
        }),
        Scenario::new(
            "dns-servfail-ipv6",
            Topology::Routed,
            "SERVFAIL from the Service's IPv6 address",
            |run| {
                let server = format!("[{}]:53", DNS_SERVICE.v6);
                ask(run, "servfail.example.com.", "servfail", &["--dns", &server])
            },
        )
        .set_up(|lab, _| await_ipv6(lab))
        .expect(|| Expect {
            detail: &[("outcome", "servfail")],
            name: Some("servfail.example.com"),
            peer: (DNS_SERVICE.of(Family::V6), 53),
            ..verdict()
        }),
    ]
}

/// The twin asks for a name that exists.
fn ask(run: &mut Run, name: &str, outcome: &str, args: &[&str]) -> anyhow::Result<()> {
    let name = if run.broken() { name } else { "api.stripe.com" };
    run.ask(name, outcome, args)
}

fn verdict() -> Expect {
    Expect {
        cause: "dns-failure",
        pod: "api-client",
        confidence: &["certain", "likely"],
        direction: "egress",
        stage: "upstream",
        affects: "dns",
        peer: (DNS_SERVICE.of(Family::V4), 53),
        kind: "service",
        name: None,
        policies: &[],
        broken: ("peer", "refused"),
        source: None,
        detail: &[],
        says: &[],
        fix: false,
        within: Duration::from_secs(2),
        shown_on_server: false,
    }
}
