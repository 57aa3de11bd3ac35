//! Pods as a real node has them: no object names their network namespace, and some are on the host's network. Sockets
//! and cgroups tell whose they are.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::{Health, Run, Scenario};
use crate::cgroup;
use crate::expect::Expect;
use crate::lab::{Lab, Place};
use crate::plan::{CLIENT, Dual, Family, GITHUB, NODE, SILENT, STRIPE};
use crate::topology::Topology;

/// Id of the container that dials.
const CONTAINER: &str = "5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e";
/// A port on which nothing listens.
const CLOSED: u16 = 8443;

pub(super) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "identity-cgroup",
            Topology::Routed,
            "nobody names the pod's namespace: its socket's cgroup does, and a drop inside the pod is told",
            |run| {
                if run.broken() {
                    drop_inside(run)?;
                }
                let folder = run.lab.cgroup_of("api-client", CONTAINER)?;
                run.dial_with(Family::V4, GITHUB, 443, "timeout", &["--timeout", "3.6", "--cgroup", &folder])
            },
        )
        .needs(cgroup::missing)
        .set_up(|lab, _| unnamed(lab))
        .expect(|| Expect {
            detail: &[("process", "egress-lab"), ("container", "api-client")],
            says: &[("/evidence", "container api-client) dialled 203.0.113.5:443")],
            ..inside()
        }),
        Scenario::new(
            "identity-sequence",
            Topology::Bridge,
            "no cgroup tells either: the number of the pod's own SYN shows its namespace",
            |run| {
                let peer = SocketAddr::new(STRIPE.of(Family::V4), 443).to_string();
                run.must(Place::Client, &["connect", &peer], "connected")?;
                if run.broken() {
                    drop_inside(run)?;
                }
                run.dial_long(Family::V4, GITHUB, 443, "timeout")
            },
        )
        .set_up(|lab, _| unnamed(lab))
        .expect(inside),
        Scenario::new(
            "identity-stranger",
            Topology::Routed,
            "another namespace of the machine has the pod's address, and its failures are not the pod's",
            |run| {
                let far = run.lab.run(Place::Far, &["connect", "203.0.113.4:443", "--timeout", "3.6"])?;
                run.dial(Family::V4, STRIPE, 443, "connected")?;
                let outcome = far.outcome(Duration::from_secs(10))?;
                anyhow::ensure!(outcome.outcome == "timeout", "the stranger got through: {outcome:?}");
                Ok(())
            },
        )
        .set_up(|lab, _| {
            unnamed(lab)?;
            stranger(lab)
        }),
        Scenario::new(
            "host-network-timeout",
            Topology::Routed,
            "a pod on the host's network gets no answer, and a process of the node itself gets none either",
            |run| {
                let node = [&SocketAddr::new(SILENT.of(Family::V4), CLOSED).to_string(), "--timeout", "2.6"];
                run.must(Place::Node, &[&["connect"], &node[..]].concat(), "timeout")?;
                dial_on_host(run, if run.broken() { SILENT } else { STRIPE }, 443, "timeout")
            },
        )
        .needs(cgroup::missing)
        .set_up(|lab, _| on_host(lab))
        .expect(|| Expect {
            peer: (SILENT.of(Family::V4), 443),
            broken: ("upstream", "silent"),
            detail: &[("process", "egress-lab"), ("container", "api-server"), ("source", "192.0.2.10")],
            within: Duration::from_millis(3800),
            ..host("upstream-timeout")
        }),
        Scenario::new(
            "host-network-refused",
            Topology::Bridge,
            "a pod on the host's network is refused by the remote",
            |run| dial_on_host(run, STRIPE, CLOSED, "refused"),
        )
        .needs(cgroup::missing)
        .set_up(|lab, health| {
            on_host(lab)?;
            match health {
                Health::Healthy => {
                    lab.serve_tcp(Place::Internet, &[(STRIPE, CLOSED)], crate::lab::TcpBehaviour::Echo)
                }
                Health::Broken => Ok(()),
            }
        })
        .expect(|| Expect {
            peer: (STRIPE.of(Family::V4), CLOSED),
            broken: ("upstream", "refused"),
            ..host("upstream-refused")
        }),
    ]
}

/// No pod's object names its namespace, and the client is a container of its own.
fn unnamed(lab: &mut Lab) -> Result<()> {
    for pod in ["api-client", "api-server", "coredns"] {
        lab.change_identity(pod, CONTAINER, |pod| {
            if let Some(annotations) = pod["metadata"]["annotations"].as_object_mut() {
                annotations.clear();
            }
        })?;
    }
    Ok(())
}

/// The server's object becomes one on the host's network.
fn on_host(lab: &mut Lab) -> Result<()> {
    lab.change_identity("api-server", CONTAINER, |pod| {
        pod["spec"]["hostNetwork"] = json!(true);
        pod["metadata"]["annotations"] = json!({});
        pod["status"]["podIP"] = json!(NODE.v4);
        pod["status"]["podIPs"] = json!([{"ip": NODE.v4}, {"ip": NODE.v6}]);
    })
}

/// Inside the client's namespace everything to one address is dropped, before it leaves.
fn drop_inside(run: &Run) -> Result<()> {
    run.lab.client().netns.nft(&format!(
        "table inet sidecar {{
           chain output {{ type filter hook output priority filter; policy accept;
             ip daddr {} drop
           }}
         }}",
        GITHUB.v4
    ))
}

/// A namespace with the client's address whose way out leads nowhere.
fn stranger(lab: &mut Lab) -> Result<()> {
    lab.add_far()?;
    lab.netns(Place::Far).ip(&[
        format!("addr add {}/32 dev lo", CLIENT.v4),
        "link add out0 type veth peer name nobody0".to_owned(),
        "link set out0 up".to_owned(),
        "link set nobody0 up".to_owned(),
        format!("route add default dev out0 src {}", CLIENT.v4),
        format!("neigh add {} dev out0 lladdr 02:00:00:00:00:66 nud permanent", STRIPE.v4),
    ])
}

fn dial_on_host(run: &mut Run, to: Dual, port: u16, broken: &str) -> Result<()> {
    let folder = run.lab.cgroup_of("api-server", CONTAINER)?;
    let peer = SocketAddr::new(to.of(Family::V4), port).to_string();
    run.begin();
    let outcome = run.client(Place::Node, &["connect", &peer, "--timeout", "3.6", "--cgroup", &folder])?;
    run.check(&outcome, broken, "connected")
}

fn inside() -> Expect {
    Expect {
        confidence: &["certain", "likely"],
        stage: "pod",
        broken: ("pod", "dropped"),
        says: &[("/summary", "inside the pod's own network namespace")],
        // The first SYN is gone by the time its namespace is known; the next comes a second later.
        within: Duration::from_millis(2400),
        ..Expect::of("firewall-drop", (GITHUB.of(Family::V4), 443))
    }
}

fn host(cause: &'static str) -> Expect {
    Expect {
        pod: "api-server",
        confidence: &["certain", "likely"],
        stage: "upstream",
        ..Expect::of(cause, (STRIPE.of(Family::V4), 443))
    }
}
