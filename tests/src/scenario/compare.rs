//! Hints: what the node and other pods reach, which ports are dead, and the proxy that the pod's spec names.

mod proxy;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;

use super::{Health, Run, Scenario};
use crate::enforce::{Backend, Match, Refusal};
use crate::expect::Expect;
use crate::lab::{Lab, Place, TcpBehaviour};
use crate::plan::{Dual, Family, GITHUB, NODE, SILENT, STRIPE, UPLINK};
use crate::topology::Topology;

/// With this address the client leaves where it has an egress address of its own.
const EGRESS: Dual = Dual::local([192, 0, 2, 20], 20);
/// A port that is dead where the host is alive.
const DEAD: u16 = 8443;

pub(super) fn all() -> Vec<Scenario> {
    let mut all = vec![
        Scenario::new(
            "compare-allow-list",
            Topology::Routed,
            "the remote admits the node's address and not the client's egress address: node and other pod get through",
            |run| {
                others_dial(run, STRIPE, 443, "connected")?;
                run.dial_long(Family::V4, STRIPE, 443, "timeout")
            },
        )
        .set_up(egress_address)
        .expect(|| Expect {
            peer: (STRIPE.of(Family::V4), 443),
            source: Some(EGRESS.of(Family::V4)),
            detail: &[("scope", "this-pod"), ("source", "192.0.2.20")],
            says: &[
                ("/hints", "the node itself connected to 203.0.113.4:443"),
                ("/hints", "pod default/api-server on this node reaches 203.0.113.4:443"),
                ("/fix/text", "as 192.0.2.10, this pod leaves as 192.0.2.20"),
            ],
            ..timeout()
        }),
        Scenario::new(
            "compare-nobody",
            Topology::Routed,
            "the node and another pod time out as well: the remote is down",
            |run| {
                let (to, word) = if run.broken() { (SILENT, "timeout") } else { (STRIPE, "connected") };
                others_dial(run, to, 443, word)?;
                run.dial_long(Family::V4, to, 443, "timeout")
            },
        )
        .expect(|| Expect {
            detail: &[("scope", "every-client")],
            says: &[
                ("/hints", "the node itself could not connect to 203.0.113.66:443 either"),
                ("/hints", "no pod of this node reaches 203.0.113.66:443: 2 tried"),
            ],
            ..timeout()
        })
        .also(|| vec![Expect { pod: "api-server", ..timeout() }]),
        Scenario::new(
            "compare-port",
            Topology::Bridge,
            "the host answers on 443 and swallows what comes to 8443",
            |run| {
                let peer = SocketAddr::new(STRIPE.of(Family::V4), 443).to_string();
                run.must(Place::Client, &["connect", &peer], "connected")?;
                run.dial_long(Family::V4, STRIPE, DEAD, "timeout")
            },
        )
        .set_up(|lab, health| {
            lab.serve_tcp(Place::Internet, &[(STRIPE, DEAD)], TcpBehaviour::Echo)?;
            match health {
                Health::Broken => lab.internet.nft(&format!("insert rule inet internet input tcp dport {DEAD} drop")),
                Health::Healthy => Ok(()),
            }
        })
        .expect(|| Expect {
            peer: (STRIPE.of(Family::V4), DEAD),
            detail: &[("scope", "this-port")],
            says: &[("/hints", "203.0.113.4 answers on port 443"), ("/hints", "only 8443 is dead")],
            ..timeout()
        }),
        Scenario::new(
            "compare-firewall",
            Topology::Routed,
            "an administrator's rule drops the client's SYN, and the node itself gets through",
            |run| {
                let peer = SocketAddr::new(GITHUB.of(Family::V4), 443).to_string();
                run.must(Place::Node, &["connect", &peer], "connected")?;
                if run.broken() {
                    run.refuse(Backend::Nft, "blocklist", Match::Destination(GITHUB), Refusal::Drop)?;
                }
                run.dial(Family::V4, GITHUB, 443, "timeout")
            },
        )
        .expect(|| Expect {
            cause: "firewall-drop",
            stage: "node",
            peer: (GITHUB.of(Family::V4), 443),
            broken: ("node", "dropped"),
            source: None,
            detail: &[("scope", "this-pod")],
            says: &[("/hints", "the node itself connected to 203.0.113.5:443")],
            within: Duration::from_secs(1),
            ..timeout()
        }),
    ];
    all.extend(proxy::all());
    all
}

/// The node and the other pod dial first.
fn others_dial(run: &Run, to: Dual, port: u16, word: &str) -> Result<()> {
    let peer = SocketAddr::new(to.of(Family::V4), port).to_string();
    for place in [Place::Node, Place::Server] {
        run.must(place, &["connect", &peer, "--timeout", "3.6"], word)?;
    }
    Ok(())
}

/// The client leaves with an address of its own, which the remote does not admit where it is broken.
fn egress_address(lab: &mut Lab, health: Health) -> Result<()> {
    lab.node.ip(&[format!("addr add {}/24 dev {UPLINK}", EGRESS.v4)])?;
    lab.node.nft(&format!(
        "table ip egress {{
           chain own {{ type nat hook postrouting priority srcnat - 10; policy accept;
             ip saddr {} oifname \"{UPLINK}\" snat to {}
           }}
         }}",
        lab.client().ips.v4,
        EGRESS.v4
    ))?;
    if health == Health::Broken {
        let (host, from) = (STRIPE.v4, EGRESS.v4);
        lab.internet.nft(&format!("insert rule inet internet input ip daddr {host} ip saddr {from} drop"))?;
    }
    Ok(())
}

fn timeout() -> Expect {
    Expect {
        confidence: &["certain", "likely"],
        stage: "upstream",
        broken: ("upstream", "silent"),
        source: Some(NODE.of(Family::V4)),
        within: Duration::from_millis(3800),
        ..Expect::of("upstream-timeout", (SILENT.of(Family::V4), 443))
    }
}
