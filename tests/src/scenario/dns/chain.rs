//! The DNS server asks its own upstream in vain.

use std::time::Duration;

use super::{ask, of_server, verdict};
use crate::enforce::{Backend, Match, Refusal};
use crate::expect::Expect;
use crate::lab::{Lab, Place};
use crate::plan::{COREDNS, Family, RESOLVER, SERVER};
use crate::scenario::{Health, Scenario};
use crate::topology::Topology;

/// Where NodeLocal DNSCache listens.
const NODE_CACHE: &str = "169.254.20.10";

pub(super) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "dns-timeout",
            Topology::Routed,
            "the cluster's DNS server asks its own upstream, which stays silent, and so does it",
            |run| ask(run, "silent.example.com.", "timeout", &["--dns-timeout", "1.5"]),
        )
        .expect(|| Expect {
            detail: &[
                ("outcome", "timeout"),
                ("reached", "server-pod"),
                ("server_pod", "kube-system/coredns"),
                ("kind", "upstream"),
                ("upstream", "198.51.100.53"),
                ("upstream_outcome", "timeout"),
            ],
            says: &[("/translation/destination/ip", "10.244.1.10"), ("/fix/text", "198.51.100.53")],
            broken: ("peer", "silent"),
            name: Some("silent.example.com"),
            within: Duration::from_millis(3200),
            ..verdict()
        })
        .also(|| vec![silent_upstream()]),
        Scenario::new(
            "dns-silent-server",
            Topology::Bridge,
            "the cluster's DNS server asks nobody and stays silent",
            |run| ask(run, "silent.cluster.local.", "timeout", &["--dns-timeout", "1.5"]),
        )
        .expect(|| Expect {
            detail: &[("outcome", "timeout"), ("reached", "server-pod"), ("server_pod", "kube-system/coredns")],
            says: &[("/fix/text", "Look at pod kube-system/coredns")],
            broken: ("peer", "silent"),
            name: Some("silent.cluster.local"),
            within: Duration::from_millis(3200),
            ..verdict()
        }),
        Scenario::new(
            "dns-servfail-upstream",
            Topology::Routed,
            "a DNS server answers SERVFAIL when its upstream was silent for two seconds; it asks by identifiers of \
             its own",
            |run| {
                let server = format!("{}:53", SERVER.v4);
                ask(run, "silent.example.com.", "servfail", &["--dns", &server])
            },
        )
        .set_up(forwarder)
        .expect(|| Expect {
            detail: &[
                ("outcome", "servfail"),
                ("kind", "upstream"),
                ("upstream", "198.51.100.53"),
                ("upstream_outcome", "timeout"),
                ("server_pod", "default/api-server"),
            ],
            says: &[("/summary", "pod default/api-server asked 198.51.100.53 for the same name and got no answer")],
            peer: (SERVER.of(Family::V4), 53),
            kind: "pod",
            name: Some("silent.example.com"),
            within: Duration::from_millis(4500),
            shown_on_server: true,
            ..verdict()
        })
        .also(|| {
            vec![Expect {
                pod: "api-server",
                says: &[("/detail/reached", "left-node")],
                ..silent_upstream()
            }]
        }),
        Scenario::new(
            "dns-upstream-dropped",
            Topology::Routed,
            "a rule of the node drops the DNS server's own questions",
            |run| {
                if run.broken() {
                    run.refuse(Backend::Nft, "admin", Match::DnsFrom(COREDNS), Refusal::Drop)?;
                }
                run.ask("api.stripe.com.", "timeout", &["--dns-timeout", "1.5"])
            },
        )
        .expect(|| Expect {
            detail: &[("outcome", "timeout"), ("kind", "upstream"), ("upstream_outcome", "dropped")],
            says: &[("/hints/0", "pod kube-system/coredns has a verdict of its own")],
            broken: ("peer", "silent"),
            name: Some("api.stripe.com"),
            within: Duration::from_millis(3200),
            ..verdict()
        })
        .also(|| {
            vec![Expect {
                cause: "firewall-drop",
                stage: "node",
                broken: ("node", "dropped"),
                ..of_server(RESOLVER.of(Family::V4), &[])
            }]
        }),
        Scenario::new(
            "dns-node-cache",
            Topology::Routed,
            "a DNS cache on the node itself asks an upstream that stays silent",
            |run| {
                let server = format!("{NODE_CACHE}:53");
                ask(run, "silent.example.com.", "timeout", &["--dns", &server, "--dns-timeout", "1.5"])
            },
        )
        .set_up(node_cache)
        .expect(|| Expect {
            detail: &[
                ("outcome", "timeout"),
                ("reached", "node"),
                ("upstream", "198.51.100.53"),
                ("upstream_outcome", "timeout"),
            ],
            peer: (std::net::IpAddr::from([169, 254, 20, 10]), 53),
            kind: "external",
            broken: ("upstream", "silent"),
            name: Some("silent.example.com"),
            within: Duration::from_millis(3200),
            ..verdict()
        }),
    ]
}

/// The server's own verdict.
fn silent_upstream() -> Expect {
    Expect {
        broken: ("upstream", "silent"),
        ..of_server(RESOLVER.of(Family::V4), &[("outcome", "timeout"), ("reached", "left-node")])
    }
}

/// A DNS server in the server pod that gives up on its upstream.
fn forwarder(lab: &mut Lab, _: Health) -> anyhow::Result<()> {
    let args = [
        "serve-dns".to_owned(),
        format!("{}:53", SERVER.v4),
        format!("--forward={}:53", RESOLVER.v4),
        "--give-up=2".to_owned(),
        "--own-identifier".to_owned(),
    ];
    lab.start(Place::Server, &args)
}

fn node_cache(lab: &mut Lab, _: Health) -> anyhow::Result<()> {
    lab.node.ip(&[format!("addr add {NODE_CACHE}/32 dev lo")])?;
    let args = ["serve-dns".to_owned(), format!("{NODE_CACHE}:53"), format!("--forward={}:53", RESOLVER.v4)];
    lab.start(Place::Node, &args)
}
