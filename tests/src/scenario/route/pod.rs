//! Routes that are missing, or refuse, inside the pod: the kernel drops no packet, for there is none.

use std::time::Duration;

use anyhow::{Result, bail};

use super::super::{Run, Scenario, await_ipv6};
use super::{Expect, at_client, verdict};
use crate::lab::Place;
use crate::plan::{Family, STRIPE};
use crate::topology::Topology;

pub(super) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new("route-pod-none", Topology::Routed, "the pod has no default route", |run| {
            inside(run, "route del default via 169.254.1.1")?;
            run.dial(Family::V4, STRIPE, 443, "unreachable")
        })
        .needs(lookups)
        .expect(|| Expect {
            detail: &[("kind", "no-route"), ("destination", "203.0.113.4")],
            says: &[("/summary", "own network namespace has no route to 203.0.113.4")],
            ..of_pod(Family::V4)
        }),
        Scenario::new(
            "route-pod-none-ipv6",
            Topology::Bridge,
            "a pod with an IPv6 address has no IPv6 default route, and wants nothing else",
            |run| {
                inside(run, "route del default via fd00:10:244:1::1")?;
                run.dial(Family::V6, STRIPE, 443, "unreachable")
            },
        )
        .needs(lookups)
        .set_up(|lab, _| await_ipv6(lab))
        .expect(|| Expect { detail: &[("kind", "no-route")], ..of_pod(Family::V6) }),
        Scenario::new(
            "route-pod-blackhole",
            Topology::Bridge,
            "somebody put a blackhole route into the pod",
            |run| {
                inside(run, "route add blackhole 203.0.113.0/24")?;
                run.dial(Family::V4, STRIPE, 443, "error")
            },
        )
        .needs(lookups)
        .expect(|| Expect {
            detail: &[("kind", "blackhole"), ("route", "blackhole 203.0.113.0/24")],
            ..of_pod(Family::V4)
        }),
        Scenario::new("route-pod-down", Topology::Routed, "the pod's device is down", |run| {
            inside(run, "link set eth0 down")?;
            run.dial(Family::V4, STRIPE, 443, "unreachable")
        })
        .needs(lookups)
        .expect(|| Expect { detail: &[("kind", "link-down"), ("device", "eth0")], ..of_pod(Family::V4) }),
        Scenario::new(
            "noise-other-family",
            Topology::Routed,
            "a pod without an IPv6 route tries IPv6 first and then IPv4, as programs do",
            other_family,
        ),
    ]
}

/// Changes the pod where the fault is there.
fn inside(run: &Run, command: &str) -> Result<()> {
    if run.broken() { at_client(&run.lab).ip(&[command]) } else { Ok(()) }
}

fn other_family(run: &mut Run) -> Result<()> {
    at_client(&run.lab).ip(&["route del default via fe80::1 dev eth0"])?;
    run.begin();
    for _ in 0..3 {
        let v6 = run.client(Place::Client, &["connect", &format!("[{}]:443", STRIPE.v6)])?;
        if v6.outcome != "unreachable" {
            bail!("the IPv6 route is there: {v6:?}");
        }
        run.must(Place::Client, &["connect", &format!("{}:443", STRIPE.v4)], "connected")?;
    }
    Ok(())
}

/// Only the tracepoints of route look-ups tell of this.
fn lookups() -> Option<String> {
    let types = std::fs::read("/sys/kernel/btf/vmlinux").unwrap_or_default();
    let name = b"__bpf_trace_fib_table_lookup";
    let there = types.windows(name.len()).any(|window| window == name);
    (!there).then(|| "the kernel has no tracepoint fib:fib_table_lookup".to_owned())
}

fn of_pod(family: Family) -> Expect {
    Expect {
        stage: "pod",
        broken: ("pod", "dropped"),
        within: Duration::from_millis(1300),
        ..verdict(family)
    }
}
