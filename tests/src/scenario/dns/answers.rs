//! Answers that do not help: errors, nothing, too late, one of two.

use std::time::Duration;

use super::{ask, of_server, verdict};
use crate::expect::Expect;
use crate::plan::{DNS_SERVICE, Family, RESOLVER};
use crate::scenario::{Scenario, await_ipv6};
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
            detail: &[("outcome", "nxdomain"), ("rcode", "NXDOMAIN")],
            name: Some("nx.example.com"),
            within: Duration::from_secs(3),
            ..verdict()
        }),
        Scenario::new(
            "dns-nxdomain-search",
            Topology::Bridge,
            "a short name does not exist under the node's own search list, nor as it stands",
            |run| {
                let search = ["--search", "corp.example.com,lab.example.com", "--ndots", "1"];
                ask(run, "nx", "nxdomain", &search)
            },
        )
        .quiet(Duration::from_millis(2500))
        .expect(|| Expect {
            detail: &[("outcome", "nxdomain")],
            says: &[
                ("/detail/asked", "nx.corp.example.com"),
                ("/detail/asked", "nx.lab.example.com"),
                ("/summary", "also with the search path (3 names asked)"),
            ],
            name: Some("nx"),
            within: Duration::from_secs(3),
            ..verdict()
        }),
        Scenario::new("dns-servfail", Topology::Bridge, "the DNS server answers SERVFAIL", |run| {
            ask(run, "servfail.example.com.", "servfail", &[])
        })
        .expect(|| Expect {
            detail: &[
                ("outcome", "servfail"),
                ("rcode", "SERVFAIL"),
                ("upstream", "198.51.100.53"),
                ("upstream_outcome", "servfail"),
            ],
            name: Some("servfail.example.com"),
            ..verdict()
        })
        .also(|| vec![of_server(RESOLVER.of(Family::V4), &[("outcome", "servfail")])]),
        Scenario::new("dns-refused", Topology::Routed, "the DNS server answers REFUSED", |run| {
            ask(run, "refused.example.com.", "refused", &[])
        })
        .expect(|| Expect {
            detail: &[("outcome", "refused"), ("upstream_outcome", "refused")],
            name: Some("refused.example.com"),
            ..verdict()
        })
        .also(|| vec![of_server(RESOLVER.of(Family::V4), &[("outcome", "refused")])]),
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
            detail: &[("outcome", "servfail"), ("upstream", "198.51.100.53")],
            name: Some("servfail.example.com"),
            peer: (DNS_SERVICE.of(Family::V6), 53),
            ..verdict()
        })
        .also(|| vec![of_server(RESOLVER.of(Family::V4), &[("outcome", "servfail")])]),
        Scenario::new(
            "dns-formerr",
            Topology::Routed,
            "the DNS server does not understand the question",
            |run| ask(run, "formerr.cluster.local.", "servfail", &[]),
        )
        .expect(|| Expect {
            detail: &[("outcome", "servfail"), ("rcode", "FORMERR")],
            name: Some("formerr.cluster.local"),
            ..verdict()
        }),
        Scenario::new(
            "dns-nodata",
            Topology::Routed,
            "the name exists, as an alias that leads to no address",
            |run| ask(run, "alias.cluster.local.", "nodata", &[]),
        )
        .quiet(Duration::from_millis(2500))
        .expect(|| Expect {
            detail: &[("outcome", "nodata")],
            name: Some("alias.cluster.local"),
            ..verdict()
        }),
        Scenario::new(
            "dns-pair",
            Topology::Routed,
            "A is answered, AAAA from the same socket never is: the resolver asks again",
            |run| ask(run, "half.cluster.local.", "timeout", &["--dns-timeout", "1.2"]),
        )
        .expect(|| Expect {
            detail: &[
                ("outcome", "timeout"),
                ("kind", "pair"),
                ("answered_types", "[\"A\"]"),
                ("unanswered_types", "[\"AAAA\"]"),
                ("reached", "server-pod"),
            ],
            says: &[("/fix/text", "single-request-reopen")],
            broken: ("peer", "silent"),
            name: Some("half.cluster.local"),
            within: Duration::from_millis(2500),
            ..verdict()
        }),
        Scenario::new(
            "dns-slow",
            Topology::Routed,
            "the answer comes after two seconds, when the question was asked again",
            |run| {
                let name = if run.broken() { "slow20.cluster.local." } else { "slow7.cluster.local." };
                run.ask(name, "noerror", &["--dns-timeout", "1.2", "--attempts", "3"])
            },
        )
        .expect(|| Expect {
            detail: &[("outcome", "timeout"), ("kind", "slow")],
            says: &[("/state", "cleared"), ("/detail/slow_seconds", "2"), ("/summary", "answered after 2")],
            broken: ("peer", "silent"),
            name: Some("slow20.cluster.local"),
            within: Duration::from_millis(3500),
            ..verdict()
        }),
        Scenario::new(
            "dns-gave-up",
            Topology::Bridge,
            "the client asks once and gives up before the answer comes",
            |run| {
                let name = if run.broken() { "slow20.cluster.local." } else { "slow7.cluster.local." };
                run.ask(name, "timeout", &["--dns-timeout", "1.2", "--attempts", "1"])
            },
        )
        .expect(|| Expect {
            detail: &[("outcome", "timeout"), ("kind", "slow")],
            says: &[("/detail/late_seconds", "2"), ("/summary", "when the pod had given up")],
            broken: ("peer", "silent"),
            name: Some("slow20.cluster.local"),
            within: Duration::from_millis(3500),
            ..verdict()
        }),
        Scenario::new(
            "dns-other-identifier",
            Topology::Routed,
            "answers carry another identifier than their questions",
            |run| ask(run, "otherid.cluster.local.", "timeout", &["--dns-timeout", "1.2"]),
        )
        .expect(|| Expect {
            detail: &[("outcome", "timeout"), ("kind", "stray-answer"), ("answer_identifier", "other")],
            broken: ("peer", "silent"),
            name: Some("otherid.cluster.local"),
            within: Duration::from_millis(2500),
            ..verdict()
        }),
    ]
}
