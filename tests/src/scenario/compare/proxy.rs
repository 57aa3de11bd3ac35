//! The proxy of the pod's spec: gone around, or dead itself.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::super::{Health, Run, Scenario, await_ipv6};
use super::timeout;
use crate::expect::Expect;
use crate::lab::{Lab, Place, TcpBehaviour};
use crate::plan::{Family, GITHUB, NODE, SILENT, STRIPE};
use crate::topology::Topology;

/// Where the proxy listens.
const PROXY: u16 = 3128;

pub(super) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "proxy-around",
            Topology::Routed,
            "the pod's spec sets HTTPS_PROXY, and the program dials its target directly, which the network swallows",
            |run| {
                let to = if run.broken() { SILENT } else { STRIPE };
                run.dial_long(Family::V4, to, 443, "timeout")
            },
        )
        .set_up(|lab, _| set(lab, "http://me:s3cret@proxy.corp:3128", ".svc,10.0.0.0/8"))
        .expect(|| Expect {
            detail: &[("proxy_role", "bypassed"), ("proxy", "http://proxy.corp:3128"), ("no_proxy", "unknown")],
            says: &[("/hints", "sets HTTPS_PROXY=http://proxy.corp:3128, and this connection went around it")],
            ..timeout()
        }),
        Scenario::new(
            "proxy-exempt",
            Topology::Bridge,
            "the same, and NO_PROXY covers the target",
            |run| {
                let to = if run.broken() { SILENT } else { STRIPE };
                run.dial_long(Family::V4, to, 443, "timeout")
            },
        )
        .set_up(|lab, _| set(lab, "http://proxy.corp:3128", ".svc,203.0.113.0/24"))
        .expect(|| Expect {
            detail: &[("proxy_role", "bypassed"), ("no_proxy", "covers")],
            says: &[("/hints", "NO_PROXY covers it")],
            ..timeout()
        }),
        Scenario::new(
            "proxy-dead",
            Topology::Routed,
            "the pod dials the proxy that its spec names, by name, and nothing listens there",
            |run| dial_proxy(run, "refused"),
        )
        .set_up(|lab, health| {
            await_ipv6(lab)?;
            set(lab, "http://api.github.com:3128", "")?;
            match health {
                Health::Healthy => lab.serve_tcp(Place::Internet, &[(GITHUB, PROXY)], TcpBehaviour::Echo),
                Health::Broken => Ok(()),
            }
        })
        .expect(|| dead(Family::V4))
        .also(|| vec![dead(Family::V6)]),
        Scenario::new(
            "proxy-of-others",
            Topology::Routed,
            "the pod's spec sets no proxy, and another pod of the node goes out by one",
            |run| {
                let to = if run.broken() { SILENT } else { STRIPE };
                run.dial_long(Family::V4, to, 443, "timeout")
            },
        )
        .set_up(|lab, _| {
            lab.cluster.change_pod("api-server", |pod| {
                let env = json!([{"name": "https_proxy", "value": "http://proxy.corp:3128"}]);
                pod["spec"]["containers"][0]["env"] = env;
            })
        })
        .expect(|| Expect {
            says: &[("/hints", "pod default/api-server on this node goes out by one")],
            ..timeout()
        }),
    ]
}

/// Sets the client's proxy.
fn set(lab: &Lab, proxy: &str, exempt: &str) -> Result<()> {
    let variable = |name: &str, value: &str| json!({"name": name, "value": value});
    let env: Vec<Value> = vec![variable("HTTPS_PROXY", proxy), variable("NO_PROXY", exempt)];
    lab.cluster.change_pod("api-client", |pod| pod["spec"]["containers"][0]["env"] = env.into())
}

fn dial_proxy(run: &mut Run, broken: &str) -> Result<()> {
    run.begin();
    let outcome = run.client(Place::Client, &["connect", "api.github.com:3128"])?;
    run.check(&outcome, broken, "connected")
}

fn dead(family: Family) -> Expect {
    Expect {
        cause: "upstream-refused",
        confidence: &["certain"],
        peer: (GITHUB.of(family), PROXY),
        name: Some("api.github.com"),
        source: Some(NODE.of(family)),
        broken: ("upstream", "refused"),
        detail: &[("proxy_role", "dialled"), ("proxy", "http://api.github.com:3128")],
        says: &[("/hints", "this is the proxy that HTTPS_PROXY of container api-client names")],
        within: Duration::from_secs(1),
        ..timeout()
    }
}
