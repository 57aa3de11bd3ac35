//! `policy-drop`: Kubernetes policies deny it, and the node's rules drop it.

mod changing;
mod enforced;
mod inbound;
mod kinds;
mod protocols;

use std::time::Duration;

use serde_json::json;

use super::{Health, Run, Scenario, await_ipv6, program};
use crate::enforce::{Backend, Match, Refusal};
use crate::expect::Expect;
use crate::lab::{Lab, Place, TcpBehaviour};
use crate::plan::{CLIENT, DNS_SERVICE, Family, SERVER, STRIPE};
use crate::topology::Topology;

/// Port of the server pod.
const HTTP: u16 = 8080;
/// A UDP protocol that answers.
const NTP: u16 = 123;

pub(super) fn all() -> Vec<Scenario> {
    let groups = [basic(), enforced::all(), protocols::all(), inbound::all(), kinds::all(), changing::all()];
    groups.into_iter().flatten().collect()
}

fn basic() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "policy-egress-nft",
            Topology::Routed,
            "a default-deny egress policy, enforced by nftables, drops the pod's SYN to a name it resolved before",
            |run| egress(run, Family::V4, Backend::Nft, Refusal::Drop),
        )
        .set_up(admitting)
        .expect(|| Expect { name: Some("api.stripe.com"), ..egress_verdict(Family::V4) }),
        Scenario::new(
            "policy-egress-nft-ipv6",
            Topology::Routed,
            "the same over IPv6",
            |run| egress(run, Family::V6, Backend::Nft, Refusal::Drop),
        )
        .set_up(admitting_ipv6)
        .expect(|| Expect { name: Some("api.stripe.com"), ..egress_verdict(Family::V6) }),
        Scenario::new(
            "policy-egress-iptables",
            Topology::Bridge,
            "a default-deny egress policy, enforced by iptables on a bridge node, drops the pod's SYN",
            |run| egress(run, Family::V4, Backend::IptablesNft, Refusal::Drop),
        )
        .set_up(admitting)
        .needs(|| program("iptables-nft"))
        .expect(|| egress_verdict(Family::V4)),
        Scenario::new(
            "policy-egress-iptables-ipv6",
            Topology::Bridge,
            "the same over IPv6",
            |run| egress(run, Family::V6, Backend::IptablesNft, Refusal::Drop),
        )
        .set_up(admitting_ipv6)
        .needs(|| program("ip6tables-nft"))
        .expect(|| egress_verdict(Family::V6)),
        Scenario::new(
            "policy-egress-legacy",
            Topology::Routed,
            "a default-deny egress policy, enforced by iptables-legacy, whose drops look like conntrack's",
            |run| egress(run, Family::V4, Backend::IptablesLegacy, Refusal::Drop),
        )
        .set_up(admitting)
        .needs(|| program("iptables-legacy"))
        .expect(|| egress_verdict(Family::V4)),
        Scenario::new(
            "policy-egress-reject",
            Topology::Routed,
            "a default-deny egress policy is enforced by REJECT: the client sees a reset that no remote sent",
            |run| egress(run, Family::V4, Backend::Nft, Refusal::Reject),
        )
        .set_up(admitting)
        .expect(|| egress_verdict(Family::V4)),
        Scenario::new(
            "policy-egress-two",
            Topology::Routed,
            "two policies isolate the pod, neither admits it, and both are named",
            |run| {
                if run.broken() {
                    run.lab.cluster.allow_only_dns()?;
                }
                egress(run, Family::V4, Backend::Nft, Refusal::Drop)
            },
        )
        .set_up(admitting)
        .expect(|| Expect {
            policies: &["deny-all-egress", "dns-only"],
            ..egress_verdict(Family::V4)
        }),
        Scenario::new(
            "policy-egress-udp",
            Topology::Routed,
            "a default-deny egress policy drops NTP: the question is repeated after a second",
            |run| {
                if run.broken() {
                    run.lab.cluster.deny_all_egress()?;
                    run.refuse(Backend::Nft, "pod-api-client", Match::From(CLIENT), Refusal::Drop)?;
                    run.await_policies()?;
                }
                run.ask_udp(STRIPE, NTP, "timeout")
            },
        )
        .set_up(|lab, _| lab.serve_udp(Place::Internet, (STRIPE, NTP), true))
        .expect(|| Expect {
            affects: "udp",
            peer: (STRIPE.of(Family::V4), NTP),
            within: Duration::from_secs(2),
            ..egress_verdict(Family::V4)
        }),
        Scenario::new(
            "policy-ingress",
            Topology::Routed,
            "a default-deny ingress policy of the server pod drops the client pod's SYN",
            |run| ingress(run, Family::V4, Backend::Nft),
        )
        .set_up(server_admitting)
        .expect(|| ingress_verdict(Family::V4)),
        Scenario::new(
            "policy-ingress-bridge",
            Topology::Bridge,
            "the same between two ports of a bridge, by iptables, over IPv6",
            |run| ingress(run, Family::V6, Backend::IptablesNft),
        )
        .set_up(server_admitting_ipv6)
        .needs(|| program("ip6tables-nft"))
        .expect(|| ingress_verdict(Family::V6)),
        Scenario::new(
            "policy-dns",
            Topology::Routed,
            "an egress policy that admits only the web drops the pod's DNS questions to the DNS Service",
            |run| dns(run, Backend::Nft),
        )
        .expect(dns_verdict),
        Scenario::new(
            "policy-dns-bridge",
            Topology::Bridge,
            "the same on a bridge node, by iptables",
            |run| dns(run, Backend::IptablesNft),
        )
        .needs(|| program("iptables-nft"))
        .expect(dns_verdict),
    ]
}

/// The twin has a policy too, one that admits the traffic.
fn admitting(lab: &mut Lab, health: Health) -> anyhow::Result<()> {
    if health == Health::Healthy {
        lab.cluster.policy(
            "allow-web",
            json!({"podSelector": {}, "policyTypes": ["Egress"],
                   "egress": [{"ports": [{"protocol": "TCP", "port": 443}, {"protocol": "UDP", "port": 53}]}]}),
        )?;
        Backend::Nft.refuse(&lab.node, "pod-api-server", Match::From(crate::plan::GITHUB), Refusal::Drop)?;
    }
    Ok(())
}

fn admitting_ipv6(lab: &mut Lab, health: Health) -> anyhow::Result<()> {
    await_ipv6(lab)?;
    admitting(lab, health)
}

fn server_admitting(lab: &mut Lab, health: Health) -> anyhow::Result<()> {
    lab.serve_tcp(Place::Server, &[(SERVER, HTTP)], TcpBehaviour::Echo)?;
    if health == Health::Healthy {
        lab.cluster.policy(
            "allow-http",
            json!({"podSelector": {"matchLabels": {"app": "api-server"}}, "policyTypes": ["Ingress"],
                   "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "firewall-test"}}}],
                                "ports": [{"protocol": "TCP", "port": "http"}]}]}),
        )?;
    }
    Ok(())
}

fn server_admitting_ipv6(lab: &mut Lab, health: Health) -> anyhow::Result<()> {
    await_ipv6(lab)?;
    server_admitting(lab, health)
}

fn egress(run: &mut Run, family: Family, backend: Backend, how: Refusal) -> anyhow::Result<()> {
    run.must(Place::Client, &["lookup", "api.stripe.com"], "noerror")?;
    if run.broken() {
        run.lab.cluster.deny_all_egress()?;
        run.refuse(backend, "pod-api-client", Match::From(CLIENT), how)?;
        run.await_policies()?;
    }
    let outcome = if how == Refusal::Drop { "timeout" } else { "refused" };
    run.dial(family, STRIPE, 443, outcome)
}

fn ingress(run: &mut Run, family: Family, backend: Backend) -> anyhow::Result<()> {
    if run.broken() {
        run.lab.cluster.deny_all_ingress()?;
        run.refuse(backend, "pod-api-server", Match::To(SERVER), Refusal::Drop)?;
        run.await_policies()?;
    }
    run.dial(family, SERVER, HTTP, "timeout")
}

fn dns(run: &mut Run, backend: Backend) -> anyhow::Result<()> {
    if run.broken() {
        run.lab.cluster.allow_only_web()?;
        run.refuse(backend, "pod-api-client", Match::DnsFrom(CLIENT), Refusal::Drop)?;
        run.await_policies()?;
    }
    run.ask("api.stripe.com", "timeout", &["--dns-timeout", "1"])
}

/// The verdict of a default-deny egress policy.
pub(super) fn egress_verdict(family: Family) -> Expect {
    Expect {
        confidence: &["certain", "likely"],
        policies: &["deny-all-egress"],
        fix: true,
        ..Expect::of("policy-drop", (STRIPE.of(family), 443))
    }
}

fn ingress_verdict(family: Family) -> Expect {
    Expect {
        peer: (SERVER.of(family), HTTP),
        kind: "pod",
        policies: &["deny-all-ingress"],
        shown_on_server: true,
        ..egress_verdict(family)
    }
}

fn dns_verdict() -> Expect {
    Expect {
        affects: "dns",
        peer: (DNS_SERVICE.of(Family::V4), 53),
        kind: "service",
        policies: &["web-only"],
        // A question is unanswered when it is repeated, here after 1 s.
        within: Duration::from_secs(2),
        ..egress_verdict(Family::V4)
    }
}
