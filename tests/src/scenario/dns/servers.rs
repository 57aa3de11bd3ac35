//! The wrong server, or none.

use std::time::Duration;

use super::verdict;
use crate::expect::Expect;
use crate::lab::{Lab, Place};
use crate::plan::{COREDNS, DNS_SERVICE, Family, RESOLVER, SERVER, SILENT, STRIPE};
use crate::scenario::{Health, Run, Scenario};
use crate::topology::Topology;

pub(super) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "dns-wrong-server",
            Topology::Bridge,
            "the pod's nameserver is an address outside that answers nothing",
            |run| {
                let server = if run.broken() { SILENT } else { RESOLVER };
                ask_at(run, &format!("{}:53", server.v4), "timeout")
            },
        )
        .expect(|| Expect {
            detail: &[("outcome", "timeout"), ("reached", "left-node")],
            says: &[("/hints/0", "the cluster's DNS is Service kube-system/kube-dns at 10.96.0.10")],
            peer: (SILENT.of(Family::V4), 53),
            kind: "external",
            broken: ("upstream", "silent"),
            within: Duration::from_millis(3200),
            ..verdict()
        }),
        Scenario::new(
            "dns-not-listening",
            Topology::Routed,
            "the pod's nameserver is another pod, in which nothing listens on port 53",
            |run| {
                let server = if run.broken() { SERVER } else { COREDNS };
                ask_at(run, &format!("{}:53", server.v4), "refused")
            },
        )
        .expect(|| Expect {
            detail: &[
                ("outcome", "refused"),
                ("kind", "not-listening"),
                ("refused_by", "10.244.1.6"),
                ("reason", "NO_SOCKET"),
            ],
            peer: (SERVER.of(Family::V4), 53),
            kind: "pod",
            shown_on_server: true,
            ..verdict()
        }),
        Scenario::new(
            "dns-not-listening-outside",
            Topology::Routed,
            "the pod's nameserver is a host outside without a DNS server",
            |run| {
                let server = if run.broken() { STRIPE } else { RESOLVER };
                ask_at(run, &format!("{}:53", server.v4), "refused")
            },
        )
        .expect(|| Expect {
            detail: &[("outcome", "refused"), ("kind", "not-listening"), ("refused_by", "203.0.113.4")],
            peer: (STRIPE.of(Family::V4), 53),
            kind: "external",
            broken: ("upstream", "refused"),
            ..verdict()
        }),
        Scenario::new(
            "dns-no-nameserver",
            Topology::Routed,
            "resolv.conf names no server: the resolver asks the pod's own loopback, where nothing listens",
            |run| {
                let server = if run.broken() { "127.0.0.1".to_owned() } else { DNS_SERVICE.v4.to_string() };
                ask_at(run, &format!("{server}:53"), "refused")
            },
        )
        .expect(|| Expect {
            stage: "pod",
            detail: &[("outcome", "refused"), ("kind", "no-nameserver"), ("reason", "NO_SOCKET")],
            says: &[("/fix/text", "dnsPolicy ClusterFirst (the cluster's DNS is 10.96.0.10)")],
            peer: (std::net::IpAddr::from([127, 0, 0, 1]), 53),
            kind: "pod",
            broken: ("pod", "dropped"),
            ..verdict()
        }),
        Scenario::new(
            "dns-second-server",
            Topology::Routed,
            "the first of two nameservers is silent: every name takes a second longer",
            |run| {
                let first = if run.broken() { SILENT } else { RESOLVER };
                let servers = format!("{}:53,{}:53", first.v4, RESOLVER.v4);
                run.ask("api.stripe.com.", "noerror", &["--dns", &servers, "--dns-timeout", "1.2"])
            },
        )
        .expect(|| Expect {
            detail: &[("outcome", "timeout"), ("reached", "left-node")],
            peer: (SILENT.of(Family::V4), 53),
            kind: "external",
            broken: ("upstream", "silent"),
            name: Some("api.stripe.com"),
            within: Duration::from_millis(3200),
            ..verdict()
        }),
        Scenario::new(
            "dns-stray-answer",
            Topology::Routed,
            "the DNS server answers with another address than the one that was asked",
            |run| {
                let server = format!("{}:53", SERVER.v4);
                let args = ["--dns", server.as_str(), "--dns-timeout", "1.2"];
                let name = if run.broken() { "stray.example.com." } else { "slow1.example.com." };
                run.ask(name, "timeout", &args)
            },
        )
        .set_up(two_addresses)
        .expect(|| Expect {
            detail: &[("outcome", "timeout"), ("kind", "stray-answer"), ("answer_from", "10.244.1.66")],
            peer: (SERVER.of(Family::V4), 53),
            kind: "pod",
            broken: ("peer", "silent"),
            name: Some("stray.example.com"),
            within: Duration::from_millis(2500),
            shown_on_server: true,
            ..verdict()
        }),
    ]
}

fn ask_at(run: &mut Run, server: &str, broken: &str) -> anyhow::Result<()> {
    run.ask("api.stripe.com.", broken, &["--dns", server, "--dns-timeout", "1.5"])
}

/// A DNS server in the server pod that answers `stray` names with a second address.
fn two_addresses(lab: &mut Lab, _: Health) -> anyhow::Result<()> {
    let other = "10.244.1.66";
    lab.server().netns.ip(&[format!("addr add {other}/32 dev eth0")])?;
    lab.node.ip(&[format!("route add {other} dev {} scope link", lab.server().device)])?;
    let args = ["serve-dns".to_owned(), format!("{}:53", SERVER.v4), format!("--stray={other}:53")];
    lab.start(Place::Server, &args)
}
