//! `mesh-blocked`: sidecars that refuse what their pod sends.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::{Health, Run, Scenario, await_ipv6};
use crate::expect::Expect;
use crate::lab::{Lab, Place, TcpBehaviour};
use crate::plan::{Dual, Family, GITHUB, SERVER, STRIPE};
use crate::topology::Topology;
use crate::traffic::sidecar::MARK;

/// Where Istio's sidecar takes what its pod sends.
const ISTIO: u16 = 15001;
/// Where Linkerd's does.
const LINKERD: u16 = 4140;
/// Where Istio's takes what comes to its pod.
const INBOUND: u16 = 15006;
/// Port of the server pod's application.
const WEB: u16 = 8080;
/// A port whose server closes at once.
const BRIEF: u16 = 8443;

pub(super) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "mesh-istio-reset",
            Topology::Routed,
            "Istio's sidecar takes the connection to a name that the mesh does not know, and resets it",
            |run| {
                run.begin();
                let outcome = run.client(Place::Client, &["connect", "api.stripe.com:443"])?;
                run.check(&outcome, "reset", "connected")
            },
        )
        .set_up(|lab, health| {
            await_ipv6(lab)?;
            inject(lab, "istio-proxy", ISTIO, Some(behaviour(health, "reset")))
        })
        .expect(|| Expect {
            name: Some("api.stripe.com"),
            detail: &[
                ("kind", "reset"),
                ("mesh", "istio"),
                ("container", "istio-proxy"),
                ("listener", "127.0.0.1:15001"),
            ],
            says: &[
                (
                    "/summary",
                    "diverted to the Istio proxy (container istio-proxy, 127.0.0.1:15001), which reset it",
                ),
                ("/fix/manifest", "hosts: [\"api.stripe.com\"]"),
                ("/fix/manifest", "protocol: TLS"),
            ],
            fix: true,
            ..verdict(STRIPE, Family::V4)
        })
        .also(|| {
            vec![Expect {
                name: Some("api.stripe.com"),
                detail: &[("listener", "[::1]:15001")],
                ..verdict(STRIPE, Family::V6)
            }]
        }),
        Scenario::new(
            "mesh-istio-close",
            Topology::Bridge,
            "Istio's sidecar closes the connection at once and connects nowhere",
            dial_and_watch,
        )
        .set_up(|lab, health| inject(lab, "istio-proxy", ISTIO, Some(behaviour(health, "close"))))
        .expect(|| Expect {
            detail: &[("kind", "closed"), ("mesh", "istio")],
            fix: true,
            ..verdict(GITHUB, Family::V4)
        }),
        Scenario::new(
            "mesh-istio-refused",
            Topology::Routed,
            "the pod's rules divert to Istio's sidecar, and nothing listens there",
            |run| run.dial(Family::V4, STRIPE, 443, "refused"),
        )
        .set_up(|lab, health| {
            let sidecar = (health == Health::Healthy).then_some("proxy");
            inject(lab, "istio-proxy", ISTIO, sidecar)
        })
        .expect(|| Expect {
            detail: &[("kind", "refused"), ("listener", "127.0.0.1:15001")],
            says: &[("/fix/text", "holdApplicationUntilProxyStarts")],
            ..verdict(STRIPE, Family::V4)
        }),
        Scenario::new(
            "mesh-linkerd",
            Topology::Routed,
            "Linkerd's sidecar resets the connection over IPv6",
            |run| run.dial(Family::V6, STRIPE, 443, "reset"),
        )
        .set_up(|lab, health| {
            await_ipv6(lab)?;
            inject(lab, "linkerd-proxy", LINKERD, Some(behaviour(health, "reset")))
        })
        .expect(|| Expect {
            detail: &[("kind", "reset"), ("mesh", "linkerd"), ("listener", "[::1]:4140")],
            says: &[("/fix/text", "EgressNetwork")],
            ..verdict(STRIPE, Family::V6)
        }),
        Scenario::new(
            "mesh-inbound",
            Topology::Routed,
            "the sidecar of the pod that is dialled resets what is no mutual TLS, and never asks its application",
            |run| run.dial(Family::V4, SERVER, WEB, "reset"),
        )
        .set_up(|lab, health| {
            lab.serve_tcp(Place::Server, &[(SERVER, WEB)], TcpBehaviour::Echo)?;
            guard(lab, behaviour(health, "reset"))
        })
        .expect(|| Expect {
            confidence: &["likely"],
            stage: "upstream",
            peer: (SERVER.of(Family::V4), WEB),
            kind: "pod",
            broken: ("peer", "refused"),
            shown_on_server: true,
            detail: &[("kind", "reset"), ("side", "inbound"), ("mesh", "istio"), ("container", "istio-proxy")],
            says: &[
                ("/summary", "taken by the Istio proxy (10.244.1.6:15006) in pod default/api-server"),
                ("/fix/text", "PeerAuthentication"),
            ],
            within: Duration::from_secs(2),
            ..verdict(SERVER, Family::V4)
        }),
        Scenario::new(
            "noise-mesh-brief",
            Topology::Routed,
            "a server behind a healthy sidecar closes every connection at once: that is no fault of the mesh",
            |run| {
                let peer = std::net::SocketAddr::new(STRIPE.of(Family::V4), BRIEF).to_string();
                run.begin();
                run.must(
                    Place::Client,
                    &["connect", &peer, "--manner", "watch", "--count", "20"],
                    "connected",
                )
                .map(drop)
            },
        )
        .set_up(|lab, _| {
            lab.serve_tcp(Place::Internet, &[(STRIPE, BRIEF)], TcpBehaviour::Close)?;
            inject(lab, "istio-proxy", ISTIO, Some("proxy"))
        }),
        Scenario::new(
            "noise-mesh-busy",
            Topology::Bridge,
            "many short connections through a healthy sidecar, and some that the client itself resets",
            |run| {
                let peer = std::net::SocketAddr::new(STRIPE.of(Family::V4), 443).to_string();
                run.begin();
                run.must(Place::Client, &["connect", &peer, "--count", "50"], "connected")?;
                run.must(
                    Place::Client,
                    &["connect", &peer, "--count", "10", "--manner", "reset"],
                    "connected",
                )?;
                run.must(Place::Client, &["connect", &peer, "--count", "5", "--manner", "close"], "connected")
                    .map(drop)
            },
        )
        .set_up(|lab, _| inject(lab, "istio-proxy", ISTIO, Some("proxy"))),
    ]
}

fn behaviour(health: Health, broken: &'static str) -> &'static str {
    if health == Health::Broken { broken } else { "proxy" }
}

/// Gives the client's pod a sidecar: the container in its spec, the rules in its namespace, and the process, which is
/// started unless nothing shall listen.
fn inject(lab: &mut Lab, container: &str, port: u16, behaviour: Option<&str>) -> Result<()> {
    lab.cluster.change_pod("api-client", |pod| {
        if let Some(containers) = pod["spec"]["containers"].as_array_mut() {
            containers.push(json!({"name": container, "image": "example.com/proxy:1"}));
        }
    })?;
    if let Some(behaviour) = behaviour {
        let args = ["serve-sidecar", &port.to_string(), "--behaviour", behaviour].map(str::to_owned);
        lab.start(Place::Client, &args)?;
    }
    lab.client().netns.nft(&format!(
        "table inet mesh {{
           chain output {{ type nat hook output priority -100; policy accept;
             meta mark {MARK} return
             oifname \"lo\" return
             meta l4proto tcp redirect to :{port}
           }}
         }}"
    ))
}

/// Gives the server's pod a sidecar that takes what comes in.
fn guard(lab: &mut Lab, behaviour: &str) -> Result<()> {
    lab.cluster.change_pod("api-server", |pod| {
        if let Some(containers) = pod["spec"]["containers"].as_array_mut() {
            containers.push(json!({"name": "istio-proxy", "image": "example.com/proxy:1"}));
        }
    })?;
    let port = INBOUND.to_string();
    let args = ["serve-sidecar", &port, "--inbound", "--behaviour", behaviour].map(str::to_owned);
    lab.start(Place::Server, &args)?;
    lab.server().netns.nft(&format!(
        "table inet mesh {{
           chain input {{ type nat hook prerouting priority dstnat; policy accept;
             iifname \"eth0\" meta l4proto tcp redirect to :{INBOUND}
           }}
         }}"
    ))
}

/// Dials and waits for the other side to close: with the fault it does so without a byte.
fn dial_and_watch(run: &mut Run) -> Result<()> {
    let peer = std::net::SocketAddr::new(GITHUB.of(Family::V4), 443).to_string();
    run.begin();
    let manner = if run.broken() { "watch" } else { "talk" };
    run.must(Place::Client, &["connect", &peer, "--manner", manner], "connected").map(drop)
}

fn verdict(to: Dual, family: Family) -> Expect {
    Expect { stage: "pod", broken: ("pod", "refused"), ..Expect::of("mesh-blocked", (to.of(family), 443)) }
}
